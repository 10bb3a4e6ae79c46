// A visitor says what is needed; the server recommends a group of models. Gradio provides: element, server.
// Names go through textContent; only the answer comes as HTML, escaped by the server.
const find = (selector) => element.querySelector(selector);
const form = find('form'), weights = find('.rb-ch-weights'), status = find('.rb-ch-status'), body = find('.rb-ch-body');
const FIELDS = ['use', 'board', 'min_size', 'max_size', 'licence', 'openness'];
const MAX_WEIGHT = 5, WAIT = 250; // ms after the last move of a slider
let choices, shown = null, lastRequest = 0, timer;

const option = (value, textContent) => Object.assign(document.createElement('option'), { value, textContent });
const fill = (select, entries) => select.replaceChildren(...entries.map(([value, label]) => option(value, label)));
const state = () => {
  const query = new URLSearchParams(location.search);
  return { fields: Object.fromEntries(FIELDS.map((name) => [name, query.get(name) ?? ''])), weights: query.getAll('weight') };
};
const board = () => choices.boards.find(({ id }) => id === form.board.value) ?? choices.boards[0];

// ---- the form

function slider({ name, description, weight }, number) {
  const row = document.createElement('div');
  const label = Object.assign(document.createElement('label'), { htmlFor: `rb-ch-weight-${number}`, textContent: name, title: description });
  const input = Object.assign(document.createElement('input'), { id: label.htmlFor, type: 'range', min: 0, max: MAX_WEIGHT, step: 1 });
  const output = Object.assign(document.createElement('output'), { htmlFor: label.htmlFor });
  input.value = weight;
  input.dataset.section = name;
  row.append(label, input, output);
  return row;
}

const sliders = () => [...weights.querySelectorAll('input')];
function drawWeights() {
  const total = sliders().reduce((sum, { value }) => sum + Number(value), 0);
  weights.querySelectorAll('output').forEach((output) => {
    const value = Number(output.previousElementSibling.value);
    output.textContent = total ? `${Math.round(100 * value / total)}%` : '0%';
    output.previousElementSibling.setAttribute('aria-valuetext', output.textContent);
  });
}

function drawForm({ fields, weights: chosen }) {
  FIELDS.forEach((name) => { form[name].value = fields[name]; });
  if (!form.use.value) form.use.selectedIndex = 0;
  if (!form.board.value) form.board.selectedIndex = 0;
  const byName = Object.fromEntries(chosen.map((text) => [text.slice(0, text.lastIndexOf(':')), text.slice(text.lastIndexOf(':') + 1)]));
  weights.replaceChildren(...board().sections.map((section, n) => slider({ ...section, weight: byName[section.name] ?? section.weight }, n)));
  drawWeights();
}

// ---- the answer

async function show() {
  const request = ++lastRequest;
  shown = JSON.stringify(state());
  body.setAttribute('aria-busy', 'true');
  const number = (name) => (form[name].value === '' ? null : Number(form[name].value));
  const wish = { use: form.use.value, benchmark: form.board.value, licence: form.licence.value, openness: form.openness.value,
    min_size: number('min_size'), max_size: number('max_size'),
    weights: Object.fromEntries(sliders().map(({ dataset, value }) => [dataset.section, Number(value)])) };
  try {
    const answer = await server.choose_request(wish);
    if (request !== lastRequest) return; // the visitor has changed the wish meanwhile
    body.innerHTML = answer.html; // rendered by the server, where every text is escaped
    status.textContent = answer.status;
  } catch (error) {
    if (request !== lastRequest) return;
    shown = null;
    body.replaceChildren(Object.assign(document.createElement('p'), { textContent: `The server did not answer (${error?.message || error}). Change the wish to try again.` }));
  }
  body.removeAttribute('aria-busy');
}

function changed() {
  const url = window.rb.address();
  url.searchParams.set('tab', 'choose');
  const defaults = { use: form.use.options[0].value, board: choices.boards[0].id };
  FIELDS.forEach((name) => {
    const { value } = form[name];
    if (value && value !== defaults[name]) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  });
  url.searchParams.delete('weight');
  sliders().forEach(({ dataset, value }, n) => {
    if (Number(value) !== board().sections[n].weight) url.searchParams.append('weight', `${dataset.section}:${value}`);
  });
  window.rb.showAddress(url);
  show();
}

async function onVisible() {
  if (JSON.stringify(state()) === shown) return;
  try {
    choices ??= await server.choose_choices(null);
  } catch (error) {
    body.textContent = `The choices could not be loaded (${error?.message || error}).`;
    return;
  }
  if (!choices.boards.length) { body.textContent = 'There are no results yet.'; return; }
  if (!form.use.length) {
    fill(form.use, Object.entries(choices.uses));
    fill(form.licence, Object.entries(choices.licences));
    fill(form.openness, Object.entries(choices.openness));
    fill(form.board, choices.boards.map(({ id, title }) => [id, title]));
  }
  drawForm(state());
  show();
}

form.addEventListener('submit', (event) => event.preventDefault());
form.addEventListener('change', ({ target }) => {
  if (target.name === 'board') {
    weights.replaceChildren(...board().sections.map(slider));
    drawWeights();
  }
  if (target.type !== 'range') changed();
});
form.addEventListener('input', ({ target }) => {
  if (target.type !== 'range') return;
  drawWeights();
  clearTimeout(timer);
  timer = setTimeout(changed, WAIT);
});
body.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  status.textContent = await window.rb.copy(button.parentElement.querySelector('code'));
});
window.rb.onAddress('choose', onVisible);
new IntersectionObserver((entries) => { if (entries.at(-1).isIntersecting) onVisible(); }).observe(find('.rb-choose'));
