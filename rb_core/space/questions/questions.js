// Shows one report, which the server renders. Gradio provides: element, server. Titles go through textContent.
const find = (selector) => element.querySelector(selector);
const list = find('.rb-question-list'), status = find('.rb-question-status'), body = find('.rb-question-body');
let titles, shown = null, lastRequest = 0;

async function show(audit) {
  const request = ++lastRequest;
  status.textContent = 'Loading …';
  try {
    const html = await server.question_html(audit);
    if (request !== lastRequest) return; // the visitor has chosen another question meanwhile
    body.innerHTML = html; // rendered by the server, where every text is escaped
    status.textContent = '';
    shown = audit;
    list.querySelectorAll('button').forEach((button) => button.setAttribute('aria-pressed', String(button.dataset.audit === audit)));
  } catch (error) {
    if (request === lastRequest) status.textContent = `This question could not be loaded (${error?.message || error}). Choose it again.`;
  }
}

function button({ audit, title }) {
  const item = document.createElement('li');
  item.append(Object.assign(document.createElement('button'), { type: 'button', className: 'rb-button', textContent: title }));
  item.firstChild.dataset.audit = audit;
  item.firstChild.setAttribute('aria-pressed', 'false');
  return item;
}

async function onVisible() {
  try {
    titles ??= await server.question_list(null);
  } catch (error) {
    status.textContent = `The list of questions could not be loaded (${error?.message || error}).`;
    return;
  }
  if (!list.children.length) list.replaceChildren(...titles.map(button));
  if (!titles.length) { status.textContent = 'These results have no reports yet: python -m rb_core audit --help lists the audits.'; return; }
  const wanted = new URLSearchParams(location.search).get('question');
  const audit = titles.some((entry) => entry.audit === wanted) ? wanted : shown ?? titles[0].audit;
  if (audit !== shown) show(audit);
}

list.addEventListener('click', (event) => {
  const chosen = event.target.closest('button');
  if (!chosen) return;
  const url = window.rb.address();
  url.searchParams.set('question', chosen.dataset.audit);
  window.rb.showAddress(url);
  show(chosen.dataset.audit);
});

window.rb.onAddress('questions', onVisible);
new IntersectionObserver((entries) => { if (entries.at(-1).isIntersecting) onVisible(); }).observe(find('.rb-questions'));
