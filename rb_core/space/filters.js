// Search and filters, which the leaderboard and the plot share: menus, chips that remove what is chosen, and the address.
// The first of the scripts that tab.py joins. Gradio provides: element. Later scripts provide: state, which begins with
// noFilters(); rows, each with model, kind, text and filterFields(); and filterRows(), which draws the rows that pass.
// Every text from the data goes through esc() or textContent.
const find = (selector) => element.querySelector(selector);
const { esc, percent, plural, size } = window.rb;
const NO_ORGANISATION = '(none)'; // no name of an organisation has brackets
const NOT_KNOWN = 'not known';
const ORIGINS = new Map([['run', 'Evaluated here'], ['published', 'As published']]);
// name in `state` -> its title, the name in a row, and the one in the address
const FILTERS = { kinds: { title: 'Kind', key: 'kind', parameter: 'kinds' },
  orgs: { title: 'Organisation', key: 'org', parameter: 'orgs', search: 'Find an organisation' },
  openness: { title: 'Openness', key: 'openness', parameter: 'openness' }, licences: { title: 'Licence', key: 'licence', parameter: 'licence' },
  years: { title: 'Released', key: 'year', parameter: 'released' }, origins: { title: 'Origin', key: 'origin', parameter: 'origin' } };
const MENUS = {
  ...Object.fromEntries(Object.entries(FILTERS).map(([name, { title, search }]) => [name, { title, search,
    items: () => facetItems(name), chosen: () => state[name].size || '', active: () => state[name].size > 0 }])),
  size: { title: 'Size', items: () => [], panel: sizePanel, there: () => sizeEnds() !== null, chosen: () => (hasSizeFilter() ? sizeText() : ''), active: () => hasSizeFilter() },
};
find('.rb-more').prepend(...find('.rb-more').dataset.filters.split(' ').map((name) => {
  const menu = Object.assign(document.createElement('div'), { className: 'rb-menu' });
  menu.dataset.menu = name;
  return menu;
}));
const query = find('.rb-query');
const isSearching = () => query.value.trim() !== '';

// The chosen values of each filter, empty for all. size: bounds in billions of parameters, or null.
function noFilters() {
  return { ...Object.fromEntries(Object.keys(FILTERS).map((name) => [name, new Set()])), size: { from: null, to: null, unknown: false } };
}

// What the filters read of a model.
function filterFields(organisation, parameters, status, facts) {
  return { org: organisation ?? NO_ORGANISATION, billions: parameters === null ? null : shownBillions(parameters),
    openness: facts.openness ?? NOT_KNOWN, licence: facts.licence ?? NOT_KNOWN, year: facts.released?.slice(0, 4) ?? NOT_KNOWN,
    origin: status === 'published' ? 'published' : 'run' };
}

// Billions of parameters with the digits that the table shows, so that "up to 8B" includes a model of 8.03B.
const shownBillions = (n) => (n >= 9.95e9 ? Math.round(n / 1e9) : n >= 0.95e9 ? Math.round(n / 1e8) / 10 : n / 1e9);

function sizeEnds() {
  const sizes = rows.map((r) => r.billions).filter((v) => v > 0);
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
  return most > least ? [least, most] : null;
}
const hasSizeFilter = () => state.size.from !== null || state.size.to !== null;
function hasSize(r) {
  if (!hasSizeFilter()) return true;
  return r.billions === null ? state.size.unknown : r.billions >= (state.size.from ?? 0) && r.billions <= (state.size.to ?? Infinity);
}
const isFiltered = () => hasSizeFilter() || Object.keys(FILTERS).some((name) => state[name].size);
const passes = (r) => hasSize(r) && Object.entries(FILTERS).every(([name, { key }]) => !state[name].size || state[name].has(r[key]));

// Drops values from the address or of another board that no model has.
function dropUnknownFilters() {
  Object.entries(FILTERS).forEach(([name, { key }]) => {
    const there = new Set(rows.map((r) => r[key]));
    state[name].forEach((value) => { if (!there.has(value)) state[name].delete(value); });
  });
}

// ---- the address

function recallFilters(parameters) {
  query.value = parameters.get('q') || '';
  Object.entries(FILTERS).forEach(([name, { parameter }]) => { state[name] = new Set(parameters.getAll(parameter).filter(Boolean)); });
  const [from, to] = (parameters.get('size') ?? '').split('-').map((v) => (v && Number(v) >= 0 ? Number(v) : null));
  state.size = { from: from ?? null, to: to ?? null, unknown: parameters.has('unsized') };
}

function writeFilters(parameters) {
  const set = (key, value) => (value ? parameters.set(key, value) : parameters.delete(key));
  set('q', query.value.trim());
  set('size', hasSizeFilter() ? `${state.size.from ?? ''}-${state.size.to ?? ''}` : '');
  set('unsized', hasSizeFilter() && state.size.unknown ? '1' : '');
  Object.entries(FILTERS).forEach(([name, { parameter }]) => {
    parameters.delete(parameter);
    state[name].forEach((value) => parameters.append(parameter, value));
  });
}

// ---- a menu: a button that opens a panel

// The values of a filter with their numbers of models, the most frequent first; values that are not known last.
function facetItems(name) {
  const { key } = FILTERS[name], numbers = [...counts(key)];
  if (numbers.length < 2) return [];
  const order = name === 'years' ? ([a], [b]) => b.localeCompare(a) : (a, b) => b[1] - a[1] || a[0].localeCompare(b[0]);
  return numbers.sort((a, b) => (a[0] === NOT_KNOWN) - (b[0] === NOT_KNOWN) || order(a, b))
    .map(([value, n]) => ({ value, text: ORIGINS.get(value) ?? value, n, checked: state[name].has(value) }));
}

function counts(key) {
  const rowsByValue = new Map();
  rows.forEach((r) => rowsByValue.set(r[key], (rowsByValue.get(r[key]) || 0) + 1));
  return rowsByValue;
}

const checkbox = (name, item) => `<label><input type="checkbox" name="${name}" value="${esc(item.value)}"${item.checked ? ' checked' : ''}`
  + `><span>${esc(item.text)}${item.n === undefined ? '' : ` <span class="rb-n">${esc(item.n)}</span>`}</span></label>`;

function drawMenu(menu) {
  const { menu: name } = menu.dataset, { title, search, panel } = MENUS[name];
  const id = `${find('section').className}-${name}`, searchField = search ? `<input type="search" class="rb-find rb-field" aria-label="${search}" placeholder="${search}" autocomplete="off">` : '';
  menu.innerHTML = `<button type="button" class="rb-open rb-pill" aria-expanded="false" aria-controls="${id}"></button>`
    + `<div class="rb-panel rb-pop" id="${id}" role="group" aria-label="${title}" hidden>${searchField}${panel ? panel() : ''}`
    + '<div class="rb-choices"></div><p class="rb-aside rb-nobody" role="status"></p></div>';
  drawChoices(menu);
}

// Draws the checkboxes of a menu, and what is chosen on its button. The focused box keeps the focus.
function drawChoices(menu) {
  const { menu: name } = menu.dataset, { title, items, chosen, active, there } = MENUS[name], choices = items();
  menu.hidden = there ? !there() : !choices.length;
  menu.querySelector('.rb-open').innerHTML = `${title}${chosen() ? ` <span class="rb-n">${esc(chosen())}</span>` : ''}<span class="rb-caret" aria-hidden="true">▾</span>`;
  menu.querySelector('.rb-open').classList.toggle('rb-active', active());
  const focused = menu.contains(document.activeElement) && document.activeElement.type === 'checkbox' ? document.activeElement.value : null;
  const groups = new Map();
  choices.forEach((item) => groups.set(item.group || '', [...(groups.get(item.group || '') || []), item]));
  menu.querySelector('.rb-choices').innerHTML = [...groups].map(([group, members]) =>
    `<div${group ? ` role="group" aria-label="${esc(group)}"` : ''}>${group ? `<span class="rb-group" aria-hidden="true">${esc(group)}</span>` : ''}`
    + `${members.map((item) => checkbox(`rb-${name}`, item)).join('')}</div>`).join('');
  narrowMenu(menu);
  if (focused !== null) menu.querySelector(`[value="${CSS.escape(focused)}"]`)?.focus();
}

// Shows only the choices that the menu's search field asks for.
function narrowMenu(menu) {
  const matches = window.rb.search(menu.querySelector('.rb-find')?.value ?? '');
  const labels = [...menu.querySelectorAll('.rb-choices label')];
  labels.forEach((label) => { label.hidden = !matches(label.querySelector('input').value); });
  menu.querySelector('.rb-nobody').textContent = labels.length && labels.every((label) => label.hidden) ? 'No such name' : '';
}

// ---- size: a slider with two ends, in steps of equal ratio, and the bounds as fields in billions of parameters

const STEPS_OF_SIZE = 40;
const sizeAt = (step, [least, most]) => least * (most / least) ** (step / STEPS_OF_SIZE);
const stepOf = (billions, [least, most]) => Math.round((STEPS_OF_SIZE * Math.log(billions / least)) / Math.log(most / least));
const rounded = (billions) => Number(billions.toPrecision(2));

function sizePanel() {
  const ends = sizeEnds();
  if (!ends) return '';
  const [from, to] = [state.size.from ?? ends[0], state.size.to ?? ends[1]], missing = rows.filter((r) => r.billions === null).length;
  const range = (name, words, value) => `<input type="range" class="rb-${name}" min="0" max="${STEPS_OF_SIZE}" value="${stepOf(value, ends)}"`
    + ` aria-label="${words} size" aria-valuetext="${rounded(value)} billion parameters">`;
  const field = (name, words, value) => `<label>${words} <input type="number" class="rb-${name} rb-field" min="0" step="any" value="${value ?? ''}"`
    + ` placeholder="${rounded(name === 'least' ? ends[0] : ends[1])}">B</label>`;
  return `<div class="rb-slider">${range('from', 'Smallest', from)}${range('to', 'Largest', to)}</div>`
    + `<div class="rb-bounds rb-row">${field('least', 'From', state.size.from)}${field('most', 'to', state.size.to)}</div>`
    + (missing ? `<label class="rb-check"><input type="checkbox" name="rb-unsized"${state.size.unknown ? ' checked' : ''}>`
      + `<span>Also the ${plural(missing, 'model')} of unknown size</span></label>` : '');
}

// Takes the ends from the slider or the fields; an end of the slider is no bound.
function readSize(target) {
  const panel = target.closest('.rb-panel'), value = (name) => panel.querySelector(`.rb-${name}`).valueAsNumber, ends = sizeEnds();
  if (target.type === 'range') {
    const [low, high] = [Math.min(value('from'), value('to')), Math.max(value('from'), value('to'))];
    state.size.from = low > 0 ? rounded(sizeAt(low, ends)) : null;
    state.size.to = high < STEPS_OF_SIZE ? rounded(sizeAt(high, ends)) : null;
    [['least', state.size.from], ['most', state.size.to]].forEach(([name, bound]) => { panel.querySelector(`.rb-${name}`).value = bound ?? ''; });
  } else if (target.type === 'number') {
    [state.size.from, state.size.to] = ['least', 'most'].map((name) => (value(name) >= 0 ? value(name) : null));
    const step = (bound, end) => Math.min(STEPS_OF_SIZE, Math.max(0, stepOf(bound || end, ends)));
    [['from', step(state.size.from, ends[0])], ['to', step(state.size.to ?? ends[1], ends[1])]].forEach(([name, at]) => { panel.querySelector(`.rb-${name}`).value = at; });
  }
  [['from', state.size.from ?? ends[0]], ['to', state.size.to ?? ends[1]]].forEach(([name, bound]) => {
    panel.querySelector(`.rb-${name}`).setAttribute('aria-valuetext', `${rounded(bound)} billion parameters`);
  });
}

const sizeText = () => {
  const { from, to, unknown } = state.size;
  const words = from !== null && to !== null ? `${from}B to ${to}B` : from !== null ? `from ${from}B` : `up to ${to}B`;
  return words + (unknown ? ', or unknown' : '');
};

function openMenu(menu, open) {
  const button = menu.querySelector('.rb-open'), panel = menu.querySelector('.rb-panel');
  button.setAttribute('aria-expanded', String(open));
  panel.hidden = !open;
  panel.style.left = '0';
  if (open) panel.style.left = `${Math.min(0, document.documentElement.clientWidth - 12 - panel.getBoundingClientRect().right)}px`;
}

const closeMenus = (except) => element.querySelectorAll('.rb-menu:has([aria-expanded="true"])').forEach((menu) => { if (menu !== except) openMenu(menu, false); });

// ---- what is chosen: a chip for each value, which removes it

function drawChips() {
  const values = Object.entries(FILTERS).flatMap(([name, { title }]) => [...state[name]].map((value) => [name, value, `${title}: ${ORIGINS.get(value) ?? value}`]));
  if (hasSizeFilter()) values.push(['size', '', `Size: ${sizeText()}`]);
  find('.rb-chips').innerHTML = values.map(([name, value, words]) => `<button type="button" class="rb-pill" data-filter="${name}" data-value="${esc(value)}"`
    + ` aria-label="Remove ${esc(words)}">${esc(words)} <span aria-hidden="true">×</span></button>`).join('');
  find('.rb-clear').hidden = !isSearching() && !isFiltered();
  find('.rb-fold').innerHTML = `Filters${values.length ? ` <span class="rb-n">${values.length}</span>` : ''}`;
}

// ---- events

const toggle = (name, value, on) => { if (on) state[name].add(value); else state[name].delete(value); };
function redrawMenu(name) {
  const menu = find(`[data-menu="${name}"]`);
  if (menu) drawChoices(menu);
}

element.addEventListener('change', ({ target }) => {
  const name = target.name === 'rb-unsized' ? 'size' : target.name.replace('rb-', '');
  if (name === 'size') state.size.unknown = target.checked;
  else if (FILTERS[name]) toggle(name, target.value, target.checked);
  else return;
  redrawMenu(name);
  filterRows();
});
element.addEventListener('input', ({ target }) => {
  if (target.matches('.rb-find')) narrowMenu(target.closest('.rb-menu'));
  if (target.matches('[data-menu="size"] :is([type="range"], [type="number"])')) { readSize(target); redrawMenu('size'); filterRows(); }
});
find('.rb-clear').addEventListener('click', () => {
  query.value = '';
  Object.assign(state, noFilters());
  element.querySelectorAll('.rb-menu').forEach(drawMenu);
  filterRows();
  query.focus();
});
find('.rb-chips').addEventListener('click', (event) => {
  const chip = event.target.closest('[data-filter]');
  if (!chip) return;
  const { filter, value } = chip.dataset, next = [...find('.rb-chips').children].indexOf(chip), menu = find(`[data-menu="${filter}"]`);
  if (filter === 'size') state.size = noFilters().size; else state[filter].delete(value);
  if (menu) drawMenu(menu);
  filterRows();
  ([...find('.rb-chips').children].at(Math.max(0, next - 1)) ?? query).focus();
});
find('.rb-fold').addEventListener('click', ({ currentTarget }) => {
  currentTarget.setAttribute('aria-expanded', String(currentTarget.getAttribute('aria-expanded') === 'false'));
});
element.addEventListener('click', (event) => {
  const button = event.target.closest('.rb-open');
  if (!button) return;
  const menu = button.closest('.rb-menu');
  openMenu(menu, button.getAttribute('aria-expanded') === 'false');
});
document.addEventListener('pointerdown', (event) => closeMenus(event.target.closest?.('.rb-menu')));
// A redrawn checkbox loses the focus for a moment: only a focus elsewhere closes its menu.
element.addEventListener('focusin', (event) => closeMenus(event.target.closest('.rb-menu')));
element.addEventListener('keydown', (event) => {
  const menu = event.key === 'Escape' && event.target.closest('.rb-menu');
  if (!menu || !menu.querySelector('[aria-expanded="true"]')) return;
  openMenu(menu, false);
  menu.querySelector('.rb-open').focus();
});
