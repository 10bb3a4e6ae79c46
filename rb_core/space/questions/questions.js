// Shows the index, or the page of the question in the address; the server renders both. Gradio provides: element, server.
const find = (selector) => element.querySelector(selector);
const status = find('.rb-question-status'), body = find('.rb-question-body');
let shown = null, lastRequest = 0;

async function draw() {
  const question = new URLSearchParams(location.search).get('question') ?? '';
  if (question === shown) return;
  const request = ++lastRequest;
  status.textContent = 'Loading …';
  try {
    const html = await server.question_html(question);
    if (request !== lastRequest) return; // the visitor has chosen another question meanwhile
    body.innerHTML = html; // rendered by the server, where every text is escaped
    status.textContent = '';
    shown = question;
    const place = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (place) place.scrollIntoView();
  } catch (error) {
    if (request === lastRequest) status.textContent = `This question could not be loaded (${error?.message || error}). Choose it again.`;
  }
}

// A column of numbers starts with the largest, one of words with A; cells without a value are last.
function sortBy(header) {
  const table = header.closest('table'), rows = [...table.tBodies[0].rows], column = header.cellIndex;
  const numeric = header.classList.contains('rb-num');
  const ascending = header.ariaSort ? header.ariaSort === 'descending' : !numeric;
  const value = (row) => (numeric ? Number(row.cells[column].dataset.value ?? NaN) : row.cells[column].textContent.trim());
  const isMissing = (v) => Number.isNaN(v) || v === '-';
  rows.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (isMissing(x) || isMissing(y)) return isMissing(x) - isMissing(y);
    return (ascending ? 1 : -1) * (numeric ? x - y : x.localeCompare(y));
  });
  for (const cell of header.parentElement.cells) cell.removeAttribute('aria-sort');
  header.ariaSort = ascending ? 'ascending' : 'descending';
  const visible = rows.filter((row) => !row.hidden).length;
  rows.forEach((row, place) => { row.hidden = place >= visible; });
  table.tBodies[0].append(...rows);
}

body.addEventListener('click', ({ target }) => {
  const header = target.closest('th'), more = target.closest('.rb-q-more');
  if (header && target.closest('button')) sortBy(header);
  if (!more) return;
  more.previousElementSibling.querySelectorAll('tr[hidden]').forEach((row) => { row.hidden = false; });
  more.remove();
});

window.rb.onAddress('questions', draw);
new IntersectionObserver((entries) => { if (entries.at(-1).isIntersecting) draw(); }).observe(find('.rb-questions'));
