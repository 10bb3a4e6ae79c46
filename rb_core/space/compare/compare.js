// A visitor chooses a benchmark and models; the server compares them. Gradio provides: element, server.
// Every text from the data goes through textContent; only the comparison comes as HTML, escaped by the server.
const find = (selector) => element.querySelector(selector);
const MAX_MODELS = 4, MAX_OPTIONS = 60;
const HINT = 'Up to four. The first is compared with each of the others.';

const select = find('select'), query = find('input'), list = find('#rb-cmp-options'), chosen = find('ol'), result = find('.rb-cmp-result');
// For the eye the result itself says that it has arrived.
const setStatus = (text, heardOnly = false) => { find('.rb-cmp-status').textContent = text; find('.rb-cmp-status').classList.toggle('rb-hidden', heardOnly); };
let boards = [], board = null, models = [], isDefault = false, address = null, active = -1, lastRequest = 0;

const make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};
const modelPage = (name) => `?${new URLSearchParams({ tab: 'model', model: name, board: board.id })}`;

// ---- choosing

// The models that the visitor has chosen: none while the best two are shown.
const picked = () => (isDefault ? [] : models);

function matches() {
  const isMatch = window.rb.search(query.value);
  return board.models.filter(({ name }) => !picked().includes(name) && isMatch(name));
}

function drawOptions() {
  const matching = matches();
  active = Math.min(active, matching.length - 1, MAX_OPTIONS - 1);
  const options = matching.slice(0, MAX_OPTIONS).map(({ name, score, items }, n) => {
    const note = `${score === null ? 'no score' : window.rb.percent(score)}${items ? '' : ' · score only'}`;
    const option = make('li', { id: `rb-cmp-option-${n}` }, make('span', { textContent: name }), make('small', { textContent: note }));
    option.setAttribute('role', 'option');
    option.setAttribute('aria-selected', n === active);
    option.dataset.model = name;
    return option;
  });
  const rest = matching.length - options.length;
  const words = matching.length ? rest > 0 && `${rest} more: type to narrow them down` : 'No such model';
  if (words) {
    const note = make('li', { className: 'rb-cmp-more', textContent: words });
    note.setAttribute('role', 'option');
    note.setAttribute('aria-disabled', 'true');
    options.push(note);
  }
  list.replaceChildren(...options);
  list.hidden = false;
  query.setAttribute('aria-expanded', 'true');
  if (active < 0) query.removeAttribute('aria-activedescendant');
  else {
    query.setAttribute('aria-activedescendant', `rb-cmp-option-${active}`);
    list.children[active].scrollIntoView({ block: 'nearest' });
  }
}

function closeOptions() {
  list.hidden = true;
  active = -1;
  query.setAttribute('aria-expanded', 'false');
  query.removeAttribute('aria-activedescendant');
}

function add(name) {
  pick([...picked(), name].slice(0, MAX_MODELS));
  query.value = '';
  closeOptions();
}

function drawChosen() {
  chosen.replaceChildren(...models.map((name, n) => {
    const link = make('a', { href: modelPage(name), textContent: name });
    const remove = make('button', { type: 'button', className: 'rb-cmp-remove', textContent: '×' });
    remove.setAttribute('aria-label', `Remove ${name}`);
    remove.dataset.remove = name;
    if (n === 0) return make('li', {}, make('b', { textContent: 'First' }), link, remove);
    const first = make('button', { type: 'button', className: 'rb-cmp-first', textContent: 'Put first' });
    first.setAttribute('aria-label', `Put first: ${name}`);
    first.dataset.first = name;
    return make('li', {}, link, first, remove);
  }));
  const full = models.length === MAX_MODELS;
  query.disabled = full;
  query.placeholder = full ? 'Four models chosen: remove one first' : 'Type part of its name';
}

// ---- the comparison

// The comparison that the address asks for comes with the document, or is requested before the list of models is known.
const early = new Map();
const brought = document.querySelector('#rb-first .rb-cmp-result');
if (brought) early.set(brought.dataset.key, { html: brought.innerHTML, status: brought.dataset.status });
function ask(id, names) {
  const key = [id, ...names].join(' '), answer = early.get(key);
  early.delete(key);
  return answer ?? server.compare_request({ board: id, models: names });
}

async function draw() {
  const request = ++lastRequest;
  drawChosen();
  find('.rb-cmp-empty').hidden = models.length > 1;
  if (models.length < 2) {
    result.replaceChildren();
    result.removeAttribute('aria-busy');
    setStatus(models.length ? 'One model chosen: add another.' : '');
    return;
  }
  setStatus('Comparing …');
  result.setAttribute('aria-busy', 'true');
  const answer = await ask(board.id, models);
  if (request !== lastRequest) return; // the visitor has changed the choice meanwhile
  result.removeAttribute('aria-busy');
  if (answer) {
    result.innerHTML = answer.html;
    setStatus(answer.status, true);
    return;
  }
  const alert = make('div', { className: 'rb-message' }, make('p', { textContent: 'The server did not answer. Change the choice or reload the page.' }));
  alert.setAttribute('role', 'alert');
  result.replaceChildren(alert);
  setStatus('');
}

// ---- state in the address

const parameters = () => {
  const query = new URLSearchParams(location.search);
  return [query.get('board') || '', query.get('models') || ''];
};

function recall() {
  const [id, names] = parameters();
  address = `${id} ${names}`;
  board = boards.find((b) => b.id === id) || boards[0];
  select.value = board.id;
  keepKnown(names.split(',').filter(Boolean));
  draw();
}

// Keeps the names that the board has, and names the missing ones in the hint; the best two without any names.
function keepKnown(names) {
  isDefault = !names.length && board.default_models.length > 1;
  if (isDefault) names = board.default_models;
  const known = new Set(board.models.map(({ name }) => name));
  models = [...new Set(names)].filter((name) => known.has(name)).slice(0, MAX_MODELS);
  const missing = names.filter((name) => !known.has(name));
  find('#rb-cmp-hint').textContent = missing.length ? `Not on ${board.title}, left out: ${missing.join(', ')}.`
    : isDefault ? 'Showing the top two. Pick others above.' : HINT;
}

function changed() {
  const url = window.rb.address();
  url.searchParams.set('tab', 'compare');
  url.searchParams.set('board', board.id);
  if (picked().length) url.searchParams.set('models', models.join(','));
  else url.searchParams.delete('models');
  window.rb.showAddress(url);
  address = parameters().join(' ');
  draw();
}

function pick(names) {
  [models, isDefault] = [names, false];
  find('#rb-cmp-hint').textContent = HINT;
  changed();
}

async function start() {
  setStatus('Loading the models …');
  const [id, names] = parameters(), wanted = names.split(',').filter(Boolean);
  if (!brought && element.offsetParent && id && wanted.length > 1) early.set([id, ...wanted].join(' '), ask(id, wanted));
  const choices = await server.compare_choices({});
  setStatus('');
  boards = choices?.boards ?? [];
  if (!boards.length) {
    find('.rb-cmp-pick').hidden = true;
    setStatus(choices ? 'There are no results to compare yet.' : 'The server did not answer. Reload the page.');
    return;
  }
  select.replaceChildren(...boards.map((b) => make('option', { value: b.id, textContent: b.title })));
  recall();
  window.rb.onAddress('compare', () => { if (parameters().join(' ') !== address) recall(); });
  // Another tab may have changed the address while this one was hidden.
  new IntersectionObserver(([{ isIntersecting }]) => {
    if (isIntersecting && parameters().join(' ') !== address) recall();
  }).observe(element);
}

// ---- events

select.addEventListener('change', () => {
  board = boards.find((b) => b.id === select.value);
  keepKnown(picked());
  changed();
});
query.addEventListener('input', () => { active = query.value.trim() ? 0 : -1; drawOptions(); });
query.addEventListener('click', drawOptions);
query.addEventListener('blur', closeOptions);
query.addEventListener('keydown', (event) => {
  const count = Math.min(matches().length, MAX_OPTIONS);
  const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (move) {
    event.preventDefault();
    active = count ? (active < 0 ? (move > 0 ? 0 : count - 1) : (active + move + count) % count) : -1;
    drawOptions();
  } else if (event.key === 'Enter' && !list.hidden && active >= 0) {
    event.preventDefault();
    add(list.children[active].dataset.model);
  } else if (event.key === 'Escape' && !list.hidden) {
    event.preventDefault();
    closeOptions();
  }
});
// mousedown, because the field then loses the focus, which closes the list.
list.addEventListener('mousedown', (event) => {
  event.preventDefault();
  const option = event.target.closest('[data-model]');
  if (option) add(option.dataset.model);
});
chosen.addEventListener('click', (event) => {
  const { remove, first } = event.target.closest('button')?.dataset ?? {};
  if (!remove && !first) return;
  pick(remove ? models.filter((name) => name !== remove) : [first, ...models.filter((name) => name !== first)]);
  if (remove) query.focus();
  else chosen.querySelector('a').focus();
});

start();
