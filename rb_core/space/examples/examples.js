// A visitor chooses a part of a benchmark and a filter; the server renders the items. Gradio provides: element, server.
// Names go through textContent; only the answer comes as HTML, escaped by the server.
const find = (selector) => element.querySelector(selector);
const form = find('form'), status = find('.rb-ex-status'), body = find('.rb-ex-body');
const FIELDS = ['board', 'subset', 'filter', 'a', 'b', 'page', 'item'];
const MODELS_NEEDED = { wrong: 1, 'only-a': 2, 'only-b': 2, both: 2, neither: 2 };
let benchmarks, shown = null, lastRequest = 0;

const option = (value, textContent) => Object.assign(document.createElement('option'), { value, textContent });
const parameters = () => {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(FIELDS.map((name) => [name, query.get(name) ?? '']));
};

// ---- the form

function drawParts(benchmark) {
  const groups = benchmark.sections.map(({ name, subsets }) => {
    const group = Object.assign(document.createElement('optgroup'), { label: name || 'In no section' });
    if (name && !subsets.includes(name)) group.append(option(name, `All of ${name}`));
    group.append(...subsets.map((subset) => option(subset, subset)));
    return group;
  });
  form.subset.replaceChildren(option('', 'Whole benchmark'), ...groups);
}

function drawModels(needed) {
  form.a.parentElement.hidden = needed < 1;
  form.b.parentElement.hidden = needed < 2;
}

function drawForm(state, { filters = {}, models = [] } = {}) {
  const benchmark = benchmarks.find(({ id }) => id === state.board) ?? benchmarks[0];
  form.board.value = benchmark.id;
  drawParts(benchmark);
  form.subset.value = state.subset;
  if (Object.keys(filters).length) {
    form.filter.replaceChildren(...Object.entries(filters).map(([name, label]) => option(name, label)));
    find('datalist').replaceChildren(...models.map((value) => option(value, '')));
  }
  form.filter.value = state.filter || 'all';
  form.a.value = state.a;
  form.b.value = state.b;
  drawModels(MODELS_NEEDED[state.filter] ?? 0);
}

// ---- the items

async function show(state, keepPlace = false) {
  const request = ++lastRequest;
  shown = JSON.stringify(state);
  if (!keepPlace) status.textContent = 'Loading …';
  body.setAttribute('aria-busy', 'true');
  try {
    const answer = await server.examples_request({ ...state, benchmark: state.board || benchmarks[0].id, page: Number(state.page) || 1 });
    if (request !== lastRequest) return; // the visitor has changed the choice meanwhile
    body.innerHTML = answer.html; // rendered by the server, where every text is escaped
    status.textContent = answer.status;
    drawForm(state, answer);
    if (answer.loading) setTimeout(() => { if (request === lastRequest) show(state, true); }, 1000);
  } catch (error) {
    if (request !== lastRequest) return;
    shown = null;
    status.textContent = `The examples could not be loaded (${error?.message || error}). Choose again.`;
  }
  body.removeAttribute('aria-busy');
}

function choose(changes) {
  const state = { ...parameters(), board: form.board.value, item: '', ...changes };
  const url = window.rb.address();
  url.searchParams.set('tab', 'examples');
  FIELDS.forEach((name) => (state[name] ? url.searchParams.set(name, state[name]) : url.searchParams.delete(name)));
  window.rb.showAddress(url);
  const needed = MODELS_NEEDED[state.filter] ?? 0;
  drawModels(needed);
  if ([state.a, state.b].slice(0, needed).every(Boolean)) show(parameters());
  else status.textContent = `Choose model A${needed > 1 ? ' and model B' : ''}.`;
}

async function onVisible() {
  const state = parameters();
  if (JSON.stringify(state) === shown) return;
  try {
    benchmarks ??= await server.example_choices(null);
  } catch (error) {
    status.textContent = `The list of benchmarks could not be loaded (${error?.message || error}).`;
    return;
  }
  if (!benchmarks.length) { status.textContent = 'There are no results yet.'; return; }
  if (!form.board.length) form.board.replaceChildren(...benchmarks.map(({ id, title }) => option(id, title)));
  drawForm(state);
  show(state);
}

form.addEventListener('submit', (event) => event.preventDefault());
form.addEventListener('change', ({ target }) => {
  if (target.name === 'board') choose({ subset: '', filter: '', a: '', b: '', page: '' });
  else choose({ [target.name]: target.value, page: '' });
});
// A name that is picked from the list needs no change event.
form.addEventListener('input', ({ target }) => {
  if (target.list && [...target.list.options].some(({ value }) => value === target.value)) choose({ [target.name]: target.value, page: '' });
});
window.rb.onAddress('examples', onVisible);
new IntersectionObserver((entries) => { if (entries.at(-1).isIntersecting) onVisible(); }).observe(find('.rb-examples'));
