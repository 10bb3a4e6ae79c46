// Draws the table: headers, cells, and the rows in their order.
const thead = find('thead'), pinnedBody = find('.rb-pinned'), restBody = find('.rb-rest'), tip = find('.rb-tip');
// Screen readers read the words; the style sheet shows a dash instead. One element only: half of all cells may be missing.
const bands = new Map(); // tier -> its row
const missing = (kind, words = 'not evaluated') => `<td class="${kind} rb-missing">${words}</td>`;
const PIN = '<svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true"><path d="M5 2h6l-1 5 3 3H3l3-3zM8 10v4" '
  + 'stroke="currentColor" stroke-width="1.4" stroke-linejoin="round" stroke-linecap="round"/></svg>';

const fileLabel = (column) => (column.role === 'headline' && isCustom() ? 'Custom score' : column.label);
// On the page the column has short sizes, such as 8B; in a file it has numbers of parameters.
const label = (column) => (column.role === 'parameters' ? 'Size' : fileLabel(column));
const isOff = (column) => column.role === 'section' && weightOf(column) === 0;
const inGroup = (column) => column.role === 'section' && column.group;
const headText = (column) => (inGroup(column) ? 'Section' : label(column));

function tooltip(column) {
  const parts = [column.description, column.count ? plural(column.count, 'example') : ''];
  if (column.role === 'section' || column.role === 'subset') parts.push(board.licence ? `Licence: ${board.licence}` : '');
  if (column.role === 'section' && column.weight) parts.push(`Weight in the score: ${weightOf(column)}`);
  if (column.role === 'headline') {
    if (isCustom()) parts[0] = `Custom score: the weighted mean of ${list(counted().map((c) => c.label))}`;
    if (baseline) parts.push(`Dashed line: the best baseline, ${baseline.model}, ${percent(score(baseline))}`);
  }
  if (chance(column) !== null) parts.push(`Random choice: ${percent(chance(column))}`);
  return parts.filter(Boolean).join(' · ');
}

const SHARES = ['coverage', 'consistency'], NUMBERS = [...SHARES, 'parameters', 'bounds', 'tier', 'trait'];
const kindOf = (c) => (c.role === 'rank' ? 'rb-rank rb-num' : c.score || NUMBERS.includes(c.role) ? `rb-num${c.group ? ' rb-part' : ''}` : 'rb-text');

function headerCell(column, rowspan) {
  const sorted = column.key === state.sort, off = isOff(column);
  const kind = ['model', 'headline', 'range', 'trait'].includes(column.role) ? `rb-${column.role}` : kindOf(column).replace('rb-text', '');
  const words = (inGroup(column) ? hidden(column.label + ': ') : '') + esc(headText(column)).replace(/[-_]/g, '$&<wbr>');
  const description = tooltip(column);
  const arrow = `<span class="rb-arrow" aria-hidden="true">${sorted ? (state.down ? '▼' : '▲') : ''}</span>`;
  const axis = { headline: axisOf('score'), trait: axisOf(column.key), range: axisOf('rank'), rank: narrow.matches ? axisOf('rank') : '' }[column.role] ?? '';
  return `<th scope="col" class="${kind}${column.group ? ' rb-sub' : ''}${off ? ' rb-off' : ''}"${rowspan > 1 ? ` rowspan="${rowspan}"` : ''}`
    + `${sorted ? ` aria-sort="${state.down ? 'descending' : 'ascending'}"` : ''}>`
    + `<button type="button" data-key="${esc(column.key)}"${description ? ` data-tip="${esc(description)}"` : ''}>`
    + `<span class="rb-label">${words}${arrow}</span>${off ? hidden(', not in the custom score') : ''}${axis}</button></th>`;
}

function drawHead() {
  if (!shownColumns.some((c) => c.group)) {
    thead.innerHTML = `<tr>${shownColumns.map((c) => headerCell(c, 1)).join('')}</tr>`;
    return;
  }
  const width = (group) => shownColumns.filter((c) => c.group === group).length;
  const upper = shownColumns.map((c, n) => {
    if (!c.group) return headerCell(c, 2);
    if (shownColumns[n - 1].group === c.group) return '';
    return `<th scope="colgroup" colspan="${width(c.group)}" style="grid-column: span ${width(c.group)}"><span>${esc(c.group)}</span></th>`;
  });
  thead.innerHTML = `<tr class="rb-groups">${upper.join('')}</tr><tr>${shownColumns.filter((c) => c.group).map((c) => headerCell(c, 1)).join('')}</tr>`;
}

// ---- cells

const rankBar = (r) => (r.range ? bar('rank', r.cells[place.rank.i], ...r.range.slice(0, 2)) : '');

function rankCell(r) {
  const pinned = state.pins.has(r.model), v = r.cells[place.rank.i];
  const text = v === null ? '<span class="rb-missing">not ranked</span>' : `<span>${v}</span>`;
  return `<td class="rb-rank rb-num"><div><button type="button" class="rb-pin" aria-pressed="${pinned}" aria-label="Pin ${esc(r.model)}">`
    + `${PIN}</button>${text}</div>${narrow.matches ? rankBar(r) : ''}</td>`;
}

const TAGS = { below: ['≤ baseline', 'does not beat the best baseline'],
  near: ['≈ baseline', 'not significantly better than the best baseline'] };

// Where the table is narrow, organisation, kind and size stand below the name.
function factsLine(r) {
  const parameters = place.parameters ? r.cells[place.parameters.i] : null;
  return `<small class="rb-facts">${esc([r.model.split('/').slice(0, -1).join('/'), r.kind, parameters === null ? '' : size(parameters)].filter(Boolean).join(' · '))}</small>`;
}

function modelCell(r) {
  const name = r.model, cut = name.indexOf('/') + 1;
  const text = `<span class="rb-org">${esc(name.slice(0, cut))}</span><span class="rb-name">${esc(name.slice(cut))}</span>`;
  const out = r.link
    ? ` <a class="rb-out" href="${esc(r.link)}" target="_blank" rel="noopener" aria-label="${esc(name)} on the hub, opens in a new tab"></a>` : '';
  const inner = `<a href="?tab=model&amp;model=${esc(encodeURIComponent(name))}">${text}</a>${out}`;
  const [mark, words] = r === baseline ? ['best baseline', ''] : TAGS[baselineRelation(r)] || [];
  const tag = mark ? ` <span class="rb-tag"${words ? ` title="${words}" aria-hidden="true"` : ''}>${mark}</span>${words ? hidden(`, ${words}`) : ''}` : '';
  // The label is read out before each cell of the row, so it leaves out the second link.
  const label = name + (words ? `, ${words}` : mark ? ` ${mark}` : '');
  return `<th scope="row" class="rb-model" aria-label="${esc(label)}">${inner}${tag}${compact.matches ? factsLine(r) : ''}</th>`;
}

const points = (v) => (v === null ? null : Number((100 * v).toFixed(3)));

function headlineCell(r, column) {
  const [v, low, high] = [column, place.low, place.high].map((c) => r.cells[c.i]);
  if (v === null) return missing('rb-headline');
  const included = includedIn(r);
  const words = (low !== null && high !== null ? `95% interval ${percent(low)} to ${percent(high)}` : 'unknown interval')
    + (included.length ? `, with ${list(included)}` : '');
  return `<td class="rb-headline" title="${percent(v)}, ${words}"><div><b${included.length ? ' class="rb-with"' : ''}>${percent(v)}</b>`
    + `${bar('score', points(v), points(low), points(high))}${hidden(', ' + words)}</div></td>`;
}

const span = ([best, worst]) => (best === worst ? best : `${best}–${worst}`);
const indistinct = (r) => r.range[1] - r.cells[place.rank.i]; // number of lower-ranked models that are not significantly worse

// range: [best, worst, method]. The method is 'items' (examples that both models scored) or 'intervals' (fewer differences).
function rangeCell(r) {
  if (!r.range) return missing('rb-text rb-range', 'unknown');
  const [best, worst, method] = r.range, rough = method !== 'items', next = indistinct(r);
  const place = best === worst ? `this model is number ${best}` : `this model may stand anywhere from number ${best} to ${worst}`;
  const lead = next > 0 ? `not significantly better than ${next === 1 ? 'the next model' : `the next ${next}`}`
    : 'significantly better than every model below';
  const from = rough ? 'from the scores’ intervals alone' : 'from the examples that both models scored';
  return `<td class="rb-text rb-range" title="${esc(`${place}; ${lead} (${from})`)}"><div><span>${rough ? `<span class="rb-rough" aria-hidden="true">~</span>${hidden('about ')}` : ''}`
    + `${span(r.range)}${hidden(`, ${lead}`)}</span>${rankBar(r)}</div></td>`;
}

// The score if all unscored examples had failed, and if all had passed; the score where nothing is unscored.
function boundsCell(r) {
  const [floor, ceiling] = boundsOf(r);
  if (floor === null) return missing('rb-num', 'unknown');
  return `<td class="rb-num"${floor === ceiling ? '' : ` title="${percent(floor)} if all unscored examples had failed, ${percent(ceiling)} if all had passed"`}>`
    + `${esc(boundsText(r))}</td>`;
}

const boundsOf = (r) => [place.floor, place.ceiling].map((c) => r.cells[c.i]);
function boundsText(r) {
  const [floor, ceiling] = boundsOf(r);
  return floor === null ? '' : floor === ceiling ? percent(floor) : `${percent(floor)}–${percent(ceiling)}`;
}

const TIER_ONE = 'cannot be told apart from the best';
function tierCell(r) {
  const tier = r.cells[place.tier.i];
  if (tier === null) return missing('rb-num', 'unknown');
  return `<td class="rb-num rb-tier" title="Tier ${tier}: ${tier === 1 ? TIER_ONE : 'cannot be told apart from the first model of this tier'}">${tier}</td>`;
}

const signed = (column, v) => `${['lift', 'length-gap'].includes(column.key) && v > 0 ? '+' : ''}${percent(v)}`.replace('-', '−');

function traitCell(r, column) {
  const { value, low, high, reason } = r.traits[column.key];
  if (value === null) return `<td class="rb-trait rb-missing" title="${esc(reason)}">${esc(reason)}</td>`;
  const words = low === null ? '' : `95% interval ${percent(low)} to ${percent(high)}`;
  const axis = ['from', 'span'].map((part) => `--${part}:var(--rb-${column.key}-${part},1)`).join(';');
  return `<td class="rb-trait" title="${signed(column, value)}${words ? `, ${words}` : ''}"><div><span>${signed(column, value)}</span>`
    + `${bar('trait', points(value), points(low), points(high), axis)}${hidden(words && `, ${words}`)}</div></td>`;
}

function cell(r, column) {
  if (column.role === 'rank') return rankCell(r);
  if (column.role === 'model') return modelCell(r);
  if (column.role === 'headline') return headlineCell(r, column);
  if (column.role === 'range') return rangeCell(r);
  if (column.role === 'bounds') return boundsCell(r);
  if (column.role === 'tier') return tierCell(r);
  if (column.role === 'trait') return traitCell(r, column);
  const v = r.cells[column.i], kind = kindOf(column);
  if (v === null) return missing(kind, { parameters: 'unknown', consistency: 'unknown' }[column.role]);
  if (SHARES.includes(column.role)) return `<td class="${kind}">${percent(v)}</td>`;
  if (column.role === 'parameters') return `<td class="${kind}" title="${esc(plural(v, 'parameter'))}">${size(v)}</td>`;
  if (!column.score) return `<td class="${kind}">${esc(column.role === 'status' ? STATUS_WORDS[v] ?? v : v)}</td>`;
  const warmth = column.best > column.from ? Math.max(0, (v - column.from) / (column.best - column.from)) : 0;
  const marks = `${v === column.best ? ' rb-best' : ''}${isOff(column) ? ' rb-off' : ''}`;
  return `<td class="${kind} rb-heat${marks}" style="--h:${(warmth ** 2).toFixed(2)}">${percent(v)}</td>`;
}

// ---- widths of the columns

const pen = document.createElement('canvas').getContext('2d');

function widest(texts, font) {
  pen.font = `${font} ${getComputedStyle(element).getPropertyValue('--rb-sans')}`;
  return Math.max(0, ...[...new Set(texts)].map((text) => pen.measureText(text).width));
}

function cellTexts(column) {
  if (column.score) return [percent(column.best ?? 0)];
  if (SHARES.includes(column.role)) return [percent(1)];
  if (column.role === 'range') return rows.flatMap((r) => [r.officialRange, r.range]).map((range) => (range ? `~${span(range)}` : ''));
  if (column.role === 'bounds') return rows.map(boundsText);
  if (column.role === 'status') return rows.map((r) => STATUS_WORDS[r.cells[column.i]] ?? '');
  return rows.map((r) => r.cells[column.i] ?? '').map((v) => (typeof v === 'number' ? size(v) : v));
}

// The width of the longest cell or of the longest word of the label; the style sheet sets some widths.
function columnWidth(column) {
  if (column.role === 'rank') return 'var(--rb-rank)';
  if (column.role === 'model') return 'var(--rb-name)';
  if (column.role === 'headline') return 'calc(68px + var(--rb-bar))';
  if (column.role === 'trait') return '148px';
  if (column.role === 'range') return `calc(${Math.ceil(widest(cellTexts(column), '13px'))}px + 24px + var(--rb-rank-bar))`;
  if (column.group) return '42px';
  const head = widest(headText(column).split(/\s|(?<=[-_])/), '13px');
  const body = widest(cellTexts(column), column.score ? '14px' : `${kindOf(column) === 'rb-text' ? 13 : 14}px`);
  return `${Math.ceil(Math.max(head, body)) + 16}px`;
}

// ---- rows

function build() {
  shownColumns = visibleColumns();
  const table = find('.rb-scroll');
  table.classList.toggle('rb-lined', baseline !== null);
  table.classList.toggle('rb-own-score', isCustom() && !answered()?.rows);
  const widths = shownColumns.map(columnWidth);
  table.style.setProperty('--rb-width', `calc(${widths.join(' + ')})`);
  const tracks = widths.map((w) => (w === 'var(--rb-name)' ? `minmax(${w}, 1fr)` : w)); // names take the remaining width
  table.style.setProperty('--rb-columns', tracks.join(' '));
  if (baseline) table.style.setProperty('--rb-baseline', points(score(baseline)));
  bands.clear();
  rows.forEach((r) => { r.element = null; });
  drawHead();
  draw();
}

const standing = (r) => `${r.cells[place.rank.i]} ${r.range}`;

// The row's element, made when the row is first shown; its ranks may have changed since then.
function elementOf(r) {
  if (!r.element) {
    r.element = document.createElement('tr');
    r.element.className = baselineRelation(r) === 'below' ? 'rb-weak' : '';
    r.element.innerHTML = shownColumns.map((c) => cell(r, c)).join('');
  } else if (r.standing !== standing(r)) {
    shownColumns.forEach((c, n) => { if (['rank', 'range', 'tier'].includes(c.role)) r.element.children[n].outerHTML = cell(r, c); });
  }
  r.standing = standing(r);
  return r.element;
}

// Moves as few rows as possible: a row that stays in place need not be laid out again.
function arrange(body, wanted) {
  const kept = new Set(wanted);
  [...body.children].forEach((tr) => { if (!kept.has(tr)) tr.remove(); });
  let next = body.firstElementChild;
  wanted.forEach((tr) => {
    if (tr === next) next = next.nextElementSibling;
    else body.insertBefore(tr, next);
  });
}

// One line for each sweep with matching checkpoints: their number, their scores, and a button that opens or folds them.
function drawSweeps(shown, folded) {
  const names = isSearching() ? [] : [...new Set([...shown, ...folded].map((r) => r.sweep).filter((name) => name !== null))];
  find('.rb-sweeps').innerHTML = names.map((name) => {
    const members = [...shown, ...folded].filter((r) => r.sweep === name), open = members.some((r) => shown.includes(r));
    const scores = members.map(score).filter((v) => v !== null).sort((a, b) => a - b);
    const span = scores.length ? `, scores ${percent(scores[0])} to ${percent(scores.at(-1))}` : '';
    return `<button type="button" class="rb-sweep" data-sweep="${esc(name)}" aria-expanded="${open}">`
      + `<span aria-hidden="true">${open ? '▾' : '▸'}</span> ${esc(name)}: ${plural(members.length, 'checkpoint')}${span}, not ranked</button>`;
  }).join('');
}

// Of thousands of rows only the first are laid out, and more when the visitor scrolls to them.
const ROWS_AT_ONCE = 300;
let mostRows = ROWS_AT_ONCE;

function drawFromTop() {
  mostRows = ROWS_AT_ONCE;
  frame.scrollTop = 0;
  draw();
}

function draw() {
  const { pinned, rest, folded } = chosenRows();
  arrange(pinnedBody, pinned.map(elementOf));
  matching = rest.length;
  drawn = rest.slice(0, mostRows);
  arrange(restBody, withBands(drawn));
  drawSweeps(rest, folded);
  const count = pinned.length + rest.length;
  find('.rb-count').textContent = `${count} of ${plural(rows.length, 'model')}${isFiltered() ? ', ranked among themselves' : ''}${pinned.length ? `, ${pinned.length} pinned on top` : ''}`
    + `${folded.length ? `, ${plural(folded.length, 'development checkpoint')} folded` : ''}`;
  const none = find('.rb-none');
  none.hidden = rest.length > 0 || folded.length > 0 || count === rows.length;
  none.textContent = none.hidden ? '' : `No ${pinned.length ? 'other ' : ''}model matches. Clear the search or the filters.`;
  find('.rb-scroll').hidden = !count && !folded.length;
  drawChips();
  drawPair();
  holdPins();
  fitAxes();
  remember();
}

// A link that compares the pinned models.
const MOST_COMPARED = 4;
function drawPair() {
  const models = [...state.pins].slice(0, MOST_COMPARED), link = find('.rb-pair');
  link.hidden = models.length < 2;
  link.textContent = `Compare ${models.length} pinned`;
  link.href = `?${new URLSearchParams({ tab: 'compare', board: board.id, models: models.join(',') })}`;
}

// The rows with a line above each tier, while they are in the order of their ranks.
function withBands(rest) {
  const elements = rest.map(elementOf);
  if (!place.tier || state.sort !== 'rank' || state.down) return elements;
  const tier = (r) => r.cells[place.tier.i];
  if (rest.every((r) => tier(r) === null)) return elements;
  return rest.flatMap((r, n) => (n > 0 && tier(r) === tier(rest[n - 1]) ? [r.element] : [band(tier(r)), r.element]));
}

function band(tier) {
  if (!bands.has(tier)) {
    const words = tier === null ? 'Not ranked' : `Tier ${tier}: no clear difference from ${tier === 1 ? 'the best' : 'its first model'}`;
    const tr = document.createElement('tr');
    tr.className = 'rb-band';
    tr.innerHTML = `<td colspan="${shownColumns.length}"><span>${words}</span></td>`;
    bands.set(tier, tr);
  }
  return bands.get(tier);
}

// Pinned rows stay below the header while the others scroll, unless they would take more than half of the height.
function holdPins() {
  const pinned = [...pinnedBody.rows], box = find('.rb-scroll');
  if (!pinned.length) return;
  let top = thead.offsetHeight;
  const tops = pinned.map((tr) => { const at = top; top += tr.offsetHeight; return at; });
  const fits = top < box.clientHeight / 2;
  pinned.forEach((tr, n) => { tr.style.setProperty('--rb-top', fits ? `${tops[n]}px` : 'auto'); });
}
