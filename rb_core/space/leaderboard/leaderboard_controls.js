// The controls around the table: switches, filters, weights and columns. A menu is a button that opens a panel.
const MENUS = {
  ...Object.fromEntries(Object.entries(FILTERS).map(([name, { title, search }]) => [name, { title, search,
    items: () => facetItems(name), chosen: () => state[name].size || '', active: () => state[name].size > 0 }])),
  size: { title: 'Size', items: () => [], panel: sizePanel, there: () => sizeEnds() !== null, chosen: () => (hasSizeFilter() ? sizeText() : ''), active: hasSizeFilter },
  weights: { title: 'Weights', items: () => [], panel: weightsPanel, there: canRescore, chosen: () => '', active: isCustom },
  columns: { title: 'Columns', items: columnItems, chosen: () => (state.hide.size ? `${state.hide.size} hidden` : ''),
    active: () => state.hide.size + state.show.size > 0 },
};

// The values of a filter with their numbers of models, the most frequent first; values that are not known last.
function facetItems(name) {
  const { key } = FILTERS[name], numbers = [...counts(key)];
  if (numbers.length < 2) return [];
  const order = name === 'years' ? ([a], [b]) => b.localeCompare(a) : (a, b) => b[1] - a[1] || a[0].localeCompare(b[0]);
  return numbers.sort((a, b) => (a[0] === NOT_KNOWN) - (b[0] === NOT_KNOWN) || order(a, b))
    .map(([value, n]) => ({ value, text: ORIGINS.get(value) ?? value, n, checked: state[name].has(value) }));
}

function columnItems() {
  const subsets = state.view === 'subsets' ? grouped().filter((c) => c.role === 'subset') : [];
  const heads = ['tier', 'range', 'headline', 'bounds', 'coverage', 'kind', 'parameters', 'organisation', 'fact', 'section', 'trait', 'consistency', 'status'];
  const fixed = heads.flatMap((role) => withRole(role).filter(canHide));
  return [...fixed, ...subsets].map((c) => ({ value: c.key, text: label(c), checked: isShown(c), group: c.group ? `Subsets: ${c.group}` : '' }));
}

function segment(name, value, text, checked) {
  return `<label><input type="radio" name="${name}" value="${esc(value)}"${checked ? ' checked' : ''}><span>${esc(text)}</span></label>`;
}

const box = (name, item) => `<label><input type="checkbox" name="${name}" value="${esc(item.value)}"${item.checked ? ' checked' : ''}`
  + `><span>${esc(item.text)}${item.n === undefined ? '' : ` <span class="rb-n">${esc(item.n)}</span>`}</span></label>`;

function drawControls() {
  find('.rb-boards').innerHTML = '<legend class="rb-hidden">Benchmark</legend>'
    + props.value.boards.map((b) => segment('rb-board', b.id, b.title, b === board)).join('');
  find('.rb-view').innerHTML = '<legend class="rb-hidden">Columns</legend>'
    + views().map(([view, words]) => segment('rb-view', view, words, state.view === view)).join('');
  find('.rb-view').hidden = views().length === 1;
  element.querySelectorAll('.rb-menu').forEach(drawMenu);
  const title = find('h2');
  title.className = 'rb-hidden'; // for screen readers: the switch above shows it
  title.textContent = `Leaderboard of ${board.title}`;
  const dataset = board.url
    ? ` <a href="${esc(board.url)}" target="_blank" rel="noopener">Dataset${hidden(' (opens in a new tab)')}</a>` : '';
  find('.rb-lead').innerHTML = esc(board.description) + dataset;
}

function drawMenu(menu) {
  const { menu: name } = menu.dataset, { title, search, panel } = MENUS[name];
  const id = `rb-panel-${name}`, searchField = search ? `<input type="search" class="rb-find rb-field" aria-label="${search}" placeholder="${search}" autocomplete="off">` : '';
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
    + `${members.map((item) => box(`rb-${name}`, item)).join('')}</div>`).join('');
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

// ---- weights of the sections

function weightsPanel() {
  if (!canRescore()) return '';
  const most = 2 * Math.max(...sections().map((c) => c.weight));
  return '<p class="rb-aside">Rank by your own mean of the sections.</p><div class="rb-weights">'
    + sections().map((c) => `<label><span>${esc(c.label)}</span><input type="range" min="0" max="${most}" step="${most / 20}" value="${weightOf(c)}" data-weight="${esc(c.key)}" tabindex="-1" aria-hidden="true">`
      + `<input type="number" class="rb-field" min="0" max="1000000" step="any" value="${weightOf(c)}" data-weight="${esc(c.key)}" aria-label="Weight of ${esc(c.label)}">`
      + `<output>${shareText(c)}</output></label>`).join('')
    + '</div><button type="button" class="rb-official rb-quiet">Reset weights</button>';
}

const shareText = (c) => `${Math.round((100 * weightOf(c)) / sections().reduce((sum, s) => sum + weightOf(s), 0))}%`;

// Takes a weight from a slider or a field; the last section that counts keeps its weight.
function readWeight(target) {
  const column = sections().find((c) => c.key === target.dataset.weight), value = target.valueAsNumber;
  const isLast = counted().length === 1 && counted()[0] === column;
  if (!(value >= 0) || (isLast && value === 0)) return;
  if (value === column.weight) state.weights.delete(column.label); else state.weights.set(column.label, value);
  showWeights(target);
}

function showWeights(changed) {
  element.querySelectorAll('[data-weight]').forEach((input) => {
    const column = sections().find((c) => c.key === input.dataset.weight);
    if (input !== changed) input.value = weightOf(column);
    input.closest('label').querySelector('output').textContent = shareText(column);
  });
}

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
  find('.rb-fold').innerHTML = `Filters${values.length ? ` <span class="rb-n">${values.length}</span>` : ''}`;
}

// ---- a score of the visitor's own

function rankingState() {
  if (answered()?.rows) return 'Intervals, rank intervals and tiers are computed as those of the benchmark’s score.';
  return answered() ? `Intervals and rank intervals are not available: ${ranking.message}.` : 'Intervals and rank intervals are being computed …';
}

// Says which scores have a section that others lack, with a button that ranks by those that all have.
function unevenNote() {
  const even = sections().filter((c) => !uneven().includes(c)).map((c) => c.label);
  return `<span>+ includes ${esc(list(uneven().map((c) => c.label)))}: ${esc(board.uneven_text)} </span>`
    + `<button type="button" class="rb-even rb-quiet">Rank by ${esc(list(even))}</button>`;
}

function drawCustom() {
  const note = find('.rb-custom');
  note.hidden = !isCustom() && !uneven().length;
  if (!isCustom()) { note.innerHTML = note.hidden ? '' : unevenNote(); return; }
  const shares = sections().map((c) => (weightOf(c) ? `${c.label} ${shareText(c)}` : `without ${c.label}`));
  note.innerHTML = `<span><strong>Custom score</strong>: ${esc(list(shares))}. This is not the benchmark’s score. ${esc(rankingState())}</span> `
    + '<button type="button" class="rb-official rb-quiet">Back to the benchmark’s score</button>';
}
