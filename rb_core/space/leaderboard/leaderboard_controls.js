// The controls around the table: switches, filters and menus. A menu is a button that opens a group of checkboxes.
const MENUS = {
  columns: { title: 'Columns', label: 'Columns to show', items: columnItems, chosen: () => state.hide.size && `${state.hide.size} hidden` },
  sections: { title: 'Score from', label: 'Sections in the score', items: sectionItems,
    chosen: () => (isCustom() ? `${counted().length} of ${sections().length}` : 'all sections'),
    note: 'Switch sections off to rank by a custom score. The weights stay the benchmark\'s.' },
  orgs: { title: 'Organisation', label: 'Organisation', search: 'Find an organisation', chosen: () => state.orgs.size,
    items: () => items('orgs', [...counts('org')].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).map(([org, n]) => [org, org, n])) },
  sizes: { title: 'Size', label: 'Size in parameters', chosen: () => state.sizes.size,
    items: () => (place.parameters ? items('sizes', SIZES.map(([id, name]) => [id, name, counts('size').get(id) || 0])) : []) },
  origins: { title: 'Origin', label: 'Origin', chosen: () => state.origins.size,
    items: () => items('origins', ORIGINS.map(([id, name]) => [id, name, counts('origin').get(id) || 0])) },
};

const items = (name, options) => options.map(([value, text, n]) => ({ value, text, n, checked: state[name].has(value), disabled: !n }));

function columnItems() {
  const subsets = state.view === 'subsets' ? grouped().filter((c) => c.role === 'subset') : [];
  const heads = ['tier', 'range', 'headline', 'bounds', 'coverage', 'kind', 'parameters', 'organisation', 'fact', 'section', 'trait', 'consistency', 'status'];
  const fixed = heads.flatMap((role) => withRole(role).filter(canHide));
  return [...fixed, ...subsets].map((c) => ({ value: c.key, text: label(c), checked: isShown(c),
    group: c.group ? `Subsets: ${c.group}` : '' }));
}

function sectionItems() {
  if (!canRescore()) return [];
  const total = counted().reduce((sum, c) => sum + c.weight, 0);
  const share = (c) => (state.off.has(c.key) ? 'not counted' : `${Math.round((100 * c.weight) / total)}%`);
  return sections().map((c) => ({ value: c.key, text: c.label, n: share(c), checked: !state.off.has(c.key),
    disabled: counted().length === 1 && !state.off.has(c.key) }));
}

function segment(name, value, text, checked) {
  return `<label><input type="radio" name="${name}" value="${esc(value)}"${checked ? ' checked' : ''}><span>${esc(text)}</span></label>`;
}

const box = (name, item) => `<label><input type="checkbox" name="${name}" value="${esc(item.value)}"${item.checked ? ' checked' : ''}`
  + `${item.disabled ? ' disabled' : ''}><span>${esc(item.text)}${item.n === undefined ? '' : ` <span class="rb-n">${esc(item.n)}</span>`}</span></label>`;

function drawControls() {
  find('.rb-boards').innerHTML = '<legend class="rb-hidden">Benchmark</legend>'
    + props.value.boards.map((b) => segment('rb-board', b.id, b.title, b === board)).join('');
  find('.rb-view').innerHTML = '<legend class="rb-hidden">Columns</legend>'
    + views().map(([view, words]) => segment('rb-view', view, words, state.view === view)).join('');
  find('.rb-view').hidden = views().length === 1;
  find('.rb-kinds').innerHTML = '<legend>Kind</legend>'
    + items('kinds', [...counts('kind')].map(([kind, n]) => [kind, kind, n])).map((item) => box('rb-kinds', item)).join('');
  element.querySelectorAll('.rb-menu').forEach(drawMenu);
  const title = find('h2');
  title.className = 'rb-hidden'; // for screen readers: the switch above shows it
  title.textContent = `Leaderboard of ${board.title}`;
  const dataset = board.url
    ? ` <a href="${esc(board.url)}" target="_blank" rel="noopener">Dataset${hidden(' (opens in a new tab)')}</a>` : '';
  find('.rb-lead').innerHTML = esc(board.description) + dataset;
}

function drawMenu(menu) {
  const { menu: name } = menu.dataset, { label: words, search, note } = MENUS[name];
  const id = `rb-panel-${name}`, searchField = search ? `<input type="search" class="rb-find" aria-label="${search}" placeholder="${search}" autocomplete="off">` : '';
  menu.innerHTML = `<button type="button" class="rb-open" aria-expanded="false" aria-controls="${id}"></button>`
    + `<div class="rb-panel" id="${id}" role="group" aria-label="${words}" hidden>${searchField}`
    + `${note ? `<p class="rb-aside">${esc(note)}</p>` : ''}<div class="rb-choices"></div><p class="rb-aside rb-nobody" role="status"></p></div>`;
  drawChoices(menu);
}

// Draws the checkboxes of a menu, and the number of chosen ones on its button. The focused box keeps the focus.
function drawChoices(menu) {
  const { menu: name } = menu.dataset, { title, items: makeItems, chosen } = MENUS[name], choices = makeItems();
  menu.hidden = !choices.length;
  const open = menu.querySelector('.rb-open'), n = chosen();
  open.innerHTML = `${title}${n ? ` <span class="rb-n">${esc(n)}</span>` : ''}<span class="rb-caret" aria-hidden="true">▾</span>`;
  open.classList.toggle('rb-active', name in FILTERS ? state[name].size > 0 : name === 'sections' ? isCustom() : state.hide.size > 0);
  const focused = menu.contains(document.activeElement) && document.activeElement.type === 'checkbox' ? document.activeElement.value : null;
  const groups = new Map();
  choices.forEach((item) => groups.set(item.group || '', [...(groups.get(item.group || '') || []), item]));
  menu.querySelector('.rb-choices').innerHTML = [...groups].map(([group, members]) =>
    `<div${group ? ` role="group" aria-label="${esc(group)}"` : ''}>${group ? `<b aria-hidden="true">${esc(group)}</b>` : ''}`
    + `${members.map((item) => box(`rb-${name}`, item)).join('')}</div>`).join('');
  narrowMenu(menu);
  if (focused !== null) menu.querySelector(`[value="${CSS.escape(focused)}"]`)?.focus();
}

// Shows only the choices that the menu's search field asks for.
function narrowMenu(menu) {
  const matches = window.rb.search(menu.querySelector('.rb-find')?.value ?? '');
  const labels = [...menu.querySelectorAll('.rb-choices label')];
  labels.forEach((label) => { label.hidden = !matches(label.querySelector('input').value); });
  menu.querySelector('.rb-nobody').textContent = labels.every((label) => label.hidden) ? 'No such name' : '';
}

function openMenu(menu, open) {
  const button = menu.querySelector('.rb-open'), panel = menu.querySelector('.rb-panel');
  button.setAttribute('aria-expanded', String(open));
  panel.hidden = !open;
  panel.style.left = '0';
  if (open) panel.style.left = `${Math.min(0, document.documentElement.clientWidth - 12 - panel.getBoundingClientRect().right)}px`;
}

const closeMenus = (except) => element.querySelectorAll('.rb-menu:has([aria-expanded="true"])').forEach((menu) => { if (menu !== except) openMenu(menu, false); });

function rankingState() {
  if (ranking?.rows) return 'Its intervals, rank intervals and tiers are computed as those of the benchmark’s score.';
  return ranking?.message ? `Its intervals and rank intervals are not available: ${ranking.message}.`
    : 'Its intervals and rank intervals are being computed …';
}

// Says which scores have a section that others lack, with a button that ranks by those that all have.
function unevenNote() {
  const even = sections().filter((c) => !uneven().includes(c)).map((c) => c.label);
  return `<span><strong>+: with ${esc(list(uneven().map((c) => c.label)))}.</strong> ${esc(board.uneven_text)} </span>`
    + `<button type="button" class="rb-even rb-button">Rank by ${esc(list(even))}</button>`;
}

function drawCustom() {
  const note = find('.rb-custom');
  note.hidden = !isCustom() && !uneven().length;
  if (!isCustom()) { note.innerHTML = note.hidden ? '' : unevenNote(); return; }
  const off = sections().filter((c) => state.off.has(c.key)).map((c) => c.label);
  note.innerHTML = `<span><strong>Custom score.</strong> Without ${esc(list(off))}: the mean of ${esc(list(counted().map((c) => c.label)))} by the benchmark’s weights. `
    + `Models are re-ranked. This is not the benchmark’s score. ${esc(rankingState())}</span> `
    + '<button type="button" class="rb-official rb-button">Back to the benchmark’s score</button>';
}
