// Lets a visitor choose a benchmark and models, and shows what the server says of them. Gradio gives: element, server.
// Every text of the data goes through textContent; only the comparison itself comes as HTML, escaped by the server.
const find = (selector) => element.querySelector(selector);
const MOST = 4, LISTED = 60;

const select = find('select'), query = find('input'), list = find('#rb-cmp-options'), chosen = find('ol'), result = find('.rb-cmp-result');
const say = (text) => { find('.rb-cmp-status').textContent = text; };
let boards = [], board = null, models = [], address = null, active = -1, asked = 0;

const make = (tag, properties = {}, ...inside) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...inside);
  return made;
};
const modelPage = (name) => `?${new URLSearchParams({ tab: 'model', model: name, board: board.id })}`;

// ---- choosing

function matches() {
  const terms = query.value.toLowerCase().split(/\s+/).filter(Boolean);
  return board.models.filter(({ name }) => !models.includes(name) && terms.every((t) => name.toLowerCase().includes(t)));
}

function drawOptions() {
  const found = matches();
  active = Math.min(active, found.length - 1, LISTED - 1);
  const options = found.slice(0, LISTED).map(({ name, score, items }, n) => {
    const note = `${score === null ? 'no score' : window.rb.percent(score)}${items ? '' : ' · score only'}`;
    const option = make('li', { id: `rb-cmp-option-${n}` }, make('span', { textContent: name }), make('small', { textContent: note }));
    option.setAttribute('role', 'option');
    option.setAttribute('aria-selected', n === active);
    option.dataset.model = name;
    return option;
  });
  const rest = found.length - options.length;
  const words = found.length ? rest > 0 && `${rest} more: type to narrow them down` : 'No such model here';
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
  models = [...models, name].slice(0, MOST);
  query.value = '';
  closeOptions();
  changed();
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
  const full = models.length === MOST;
  query.disabled = full;
  query.placeholder = full ? 'Four are chosen: remove one first' : 'Type a part of its name';
}

// ---- what the server says

async function draw() {
  const turn = ++asked;
  drawChosen();
  find('.rb-cmp-empty').hidden = models.length > 1;
  if (models.length < 2) {
    result.replaceChildren();
    result.removeAttribute('aria-busy');
    say(models.length ? 'One model is chosen: add another.' : '');
    return;
  }
  say('Comparing …');
  result.setAttribute('aria-busy', 'true');
  const answer = await server.compare_models({ board: board.id, models });
  if (turn !== asked) return; // the visitor has chosen something else since
  result.removeAttribute('aria-busy');
  if (answer) {
    result.innerHTML = answer.html;
    say(answer.status);
    return;
  }
  const alert = make('div', { className: 'rb-message' }, make('p', { textContent: 'The server did not answer. Change the choice, or load the page again.' }));
  alert.setAttribute('role', 'alert');
  result.replaceChildren(alert);
  say('');
}

// ---- state in the address

const parameters = () => {
  const found = new URLSearchParams(location.search);
  return [found.get('board') || '', found.get('models') || ''];
};

function recall() {
  const [id, names] = parameters();
  address = `${id} ${names}`;
  board = boards.find((b) => b.id === id) || boards[0];
  select.value = board.id;
  drawExample();
  keep(names.split(',').filter(Boolean));
  draw();
}

// Keeps of these names the ones that the board has, and says which it has not.
function keep(names) {
  const known = new Set(board.models.map(({ name }) => name));
  models = [...new Set(names)].filter((name) => known.has(name)).slice(0, MOST);
  const missing = names.filter((name) => !known.has(name));
  find('#rb-cmp-hint').textContent = missing.length ? `Not on ${board.title}, and left out: ${missing.join(', ')}.`
    : 'Up to four. The others are compared with the first.';
}

function changed() {
  const url = new URL(location);
  url.searchParams.set('tab', 'compare');
  url.searchParams.set('board', board.id);
  if (models.length) url.searchParams.set('models', models.join(','));
  else url.searchParams.delete('models');
  window.rb.showAddress(url);
  address = parameters().join(' ');
  draw();
}

function drawExample() {
  const line = find('.rb-cmp-example');
  line.replaceChildren();
  if (board.example.length < 2) return;
  const [a, b] = board.example;
  const button = make('button', { type: 'button', className: 'rb-cmp-button', textContent: `Compare ${a} with ${b}` });
  button.addEventListener('click', () => { models = [a, b]; changed(); query.focus(); });
  line.append('For example, the best two here: ', button);
}

async function start() {
  say('Loading the models …');
  const found = await server.compare_choices({});
  say('');
  boards = found?.boards ?? [];
  if (!boards.length) {
    find('.rb-cmp-pick').hidden = true;
    say(found ? 'There are no results to compare yet.' : 'The server did not answer. Load the page again.');
    return;
  }
  select.replaceChildren(...boards.map((b) => make('option', { value: b.id, textContent: b.title })));
  recall();
  // Another tab may have changed the address while this one was out of sight.
  new IntersectionObserver(([{ isIntersecting }]) => {
    if (isIntersecting && parameters().join(' ') !== address) recall();
  }).observe(element);
}

// ---- what a visitor does

select.addEventListener('change', () => {
  board = boards.find((b) => b.id === select.value);
  drawExample();
  keep(models);
  changed();
});
query.addEventListener('input', () => { active = query.value.trim() ? 0 : -1; drawOptions(); });
query.addEventListener('click', drawOptions);
query.addEventListener('blur', closeOptions);
query.addEventListener('keydown', (event) => {
  const count = Math.min(matches().length, LISTED);
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
// Before the field loses the focus, which closes the list.
list.addEventListener('mousedown', (event) => {
  event.preventDefault();
  const option = event.target.closest('[data-model]');
  if (option) add(option.dataset.model);
});
chosen.addEventListener('click', (event) => {
  const { remove, first } = event.target.closest('button')?.dataset ?? {};
  if (!remove && !first) return;
  models = remove ? models.filter((name) => name !== remove) : [first, ...models.filter((name) => name !== first)];
  changed();
  if (remove) query.focus();
  else chosen.querySelector('a').focus();
});

start();
