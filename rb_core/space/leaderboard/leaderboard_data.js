// What is shown, before it is drawn: columns, rows, the visitor's own score, filters and order. First of the files that
// leaderboard.py puts together into one script. Gradio gives: element, props, watch.
// Every text of the data goes through esc() or textContent. Numbers are fractions; null is not evaluated.
const find = (selector) => element.querySelector(selector);
const { esc, percent, plural, size } = window.rb;
const hidden = (text) => `<span class="rb-hidden">${esc(text)}</span>`;
const list = (words) => new Intl.ListFormat('en').format(words);
const QUARTER = 0.25; // the lowest quarter of a column stays without colour, and off the axis: the best are what people compare
const NO_ORGANISATION = '(none)'; // no name of an organisation has brackets
const SIZES = [['0-3', 'Under 3B', 0, 3e9], ['3-10', '3B to 10B', 3e9, 10e9], ['10-40', '10B to 40B', 10e9, 40e9],
  ['40-', '40B and more', 40e9, Infinity], ['unknown', 'Unknown', null, null]];
const ORIGINS = [['run', 'Own run'], ['published', 'Published']];

const query = find('.rb-query');
// The filters hold what is chosen, none meaning all; `off` the keys of sections that the visitor's own score leaves out.
const state = { board: null, sort: 'rank', down: false, view: 'sections', kinds: new Set(), orgs: new Set(),
  sizes: new Set(), origins: new Set(), hide: new Set(), off: new Set(), pins: new Set() };
const FILTERS = { kinds: 'kind', orgs: 'org', sizes: 'size', origins: 'origin' }; // name in `state` -> name in a row
let board, columns, place, shownColumns, rows, scale, baseline;

function prepare() {
  const value = props.value || { boards: [], refused: 0 };
  board = value.boards.find((b) => b.id === state.board) || value.boards[0];
  if (!board) return;
  state.board = board.id;
  place = {};
  columns = board.columns.map((c, i) => ({ ...c, i, score: ['headline', 'section', 'subset'].includes(c.role) }));
  columns.forEach((c) => { place[c.role] ??= c; });
  place.range = { key: 'range', label: 'Range', role: 'range', i: columns.length, score: false,
    description: 'Ranks that noise leaves open. ≈ 7: not significantly better than the next 7 models' };
  columns.splice(columns.indexOf(place.headline) + 1, 0, place.range);
  rows = board.rows.map(row);
  forget();
  rescore();
}

function row(cells, n) {
  const model = cells[place.model.i], kind = cells[place.kind.i], status = cells[place.status.i];
  return {
    official: [...cells, board.ranges[n]?.[0] ?? null], officialRange: board.ranges[n] ?? null, link: board.links[n], model, kind,
    org: model.includes('/') ? model.slice(0, model.indexOf('/')) : NO_ORGANISATION,
    size: sizeOf(place.parameters ? cells[place.parameters.i] : null),
    origin: status === 'published' ? 'published' : 'run', partial: status === 'partial run',
    text: `${model} ${kind} ${status}`.toLowerCase(),
  };
}

const sizeOf = (n) => (n === null ? 'unknown' : SIZES.find(([, , from, to]) => from !== null && n >= from && n < to)[0]);

// What the address or another board asked for and this board does not have.
function forget() {
  if (!columns.some((c) => c.key === state.sort)) { state.sort = 'rank'; state.down = false; }
  if (!hasSubsets()) state.view = 'sections';
  const keep = (name, known) => state[name].forEach((each) => { if (!known.has(each)) state[name].delete(each); });
  Object.entries(FILTERS).forEach(([name, key]) => keep(name, new Set(rows.map((r) => r[key]))));
  keep('hide', new Set(columns.filter(canHide).map((c) => c.key)));
  keep('off', new Set(canRescore() ? sections().map((c) => c.key) : []));
  if (state.off.size === sections().length) state.off.clear();
}

const sections = () => columns.filter((c) => c.role === 'section');
const hasSubsets = () => columns.some((c) => c.role === 'subset');
const canHide = (c) => !['rank', 'model', 'low', 'high'].includes(c.role) && tells(c);

// A coverage that no row has, or an origin that all rows share, tells nothing. The files to download have them anyway.
function tells(column) {
  const values = new Set(rows.map((r) => r.official[column.i]));
  if (column.role === 'coverage') return values.size > 1 || !values.has(null);
  return column.role !== 'status' || values.size > 1;
}
const canRescore = () => sections().length > 1 && sections().every((c) => typeof c.weight === 'number');
const isCustom = () => state.off.size > 0;
const counted = () => sections().filter((c) => !state.off.has(c.key));

// ---- the visitor's own score

// The record's rule over the sections that are left: their weighted mean, absent where a required one is.
function ownScore(r, used) {
  if (used.some((c) => c.required && r.official[c.i] === null)) return null;
  const there = used.filter((c) => r.official[c.i] !== null);
  const total = there.reduce((sum, c) => sum + c.weight, 0);
  const sum = there.reduce((all, c) => all + c.weight * r.official[c.i], 0);
  return total > 0 ? Math.round((sum / total) * 1e5) / 1e5 : null; // to the digits of the scores that are sent
}

// Puts the visitor's own score, and ranks by it, in the place of the benchmark's. Its interval and range are not known.
function rescore() {
  rows.forEach((r) => { r.cells = r.official; r.range = r.officialRange; });
  if (isCustom()) {
    const used = counted();
    rows.forEach((r) => {
      r.cells = [...r.official];
      r.cells[place.headline.i] = ownScore(r, used);
      [place.low, place.high, place.range, place.rank].forEach((c) => { r.cells[c.i] = null; });
      r.range = null;
    });
    const ranked = rows.filter((r) => !r.partial && score(r) !== null);
    const sorted = ranked.map(score).sort((a, b) => b - a);
    ranked.forEach((r) => { r.cells[place.rank.i] = sorted.indexOf(score(r)) + 1; });
  }
  columns.forEach(heat);
  baseline = bestBaseline();
  scale = axis();
}

const score = (r) => r.cells[place.headline.i];

function bestBaseline() {
  const ranked = rows.filter((r) => r.kind === 'Baseline' && r.cells[place.rank.i] !== null);
  return ranked.reduce((best, r) => (best === null || score(r) > score(best) ? r : best), null);
}

// How a model stands to the best baseline: 'below' it, 'near' it where its interval reaches down to it, or clear of it.
function standing(r) {
  if (!baseline || r.kind === 'Baseline' || score(r) === null) return '';
  if (score(r) <= score(baseline)) return 'below';
  const low = r.cells[place.low.i];
  return low !== null && low <= score(baseline) ? 'near' : '';
}

function heat(column) {
  const values = rows.map((r) => r.cells[column.i]).filter((v) => typeof v === 'number').sort((a, b) => a - b);
  column.best = values.at(-1);
  column.from = values[Math.floor(values.length * QUARTER)];
}

// The axis of the interval bars, in steps of five points. It reaches down to the best baseline unless that would more
// than double it; then the baseline's line stands at its lower end.
function axis() {
  const ends = rows.flatMap((r) => [place.headline, place.high].map((c) => r.cells[c.i])).filter((v) => v !== null);
  const down = (v) => Math.floor(v * 20) / 20;
  const first = down(place.headline.from ?? 0), most = Math.max(first + 0.05, Math.ceil(Math.max(...ends, 0) * 20) / 20);
  const wanted = baseline ? Math.min(first, down(score(baseline))) : first;
  const least = most - wanted <= 2 * (most - first) ? wanted : first;
  return { least, most, at: (v) => 100 * Math.min(1, Math.max(0, (v - least) / (most - least))) };
}

// ---- which columns and rows

function counts(key) {
  const found = new Map();
  rows.forEach((r) => found.set(r[key], (found.get(r[key]) || 0) + 1));
  return found;
}

const narrow = matchMedia('(max-width: 720px)'); // a small screen shows the score beside the name

// Where all rows are judges, how far they keep to their verdicts stands in the place of their kind.
const judgesAlone = () => place.consistency && [...(state.kinds.size ? state.kinds : counts('kind').keys())].every((kind) => kind === 'Generative');

function visibleColumns() {
  const of = (...roles) => roles.flatMap((role) => columns.filter((c) => c.role === role && tells(c)));
  const kind = judgesAlone() ? 'consistency' : 'kind';
  const front = narrow.matches ? of('rank', 'model', 'headline', 'range')
    : of('rank', 'range', 'model', kind, 'parameters', 'headline');
  const back = narrow.matches ? of(kind, 'parameters', 'status', 'coverage') : of('status', 'coverage');
  const middle = state.view === 'subsets' ? grouped() : sections();
  return [...front, ...middle, ...back].filter((c) => !state.hide.has(c.key));
}

function grouped() {
  const subsets = columns.filter((c) => c.role === 'subset');
  const names = new Set(sections().map((s) => s.label));
  return [
    ...sections().flatMap((s) => [s, ...subsets.filter((c) => c.parent === s.label)].map((c) => ({ ...c, group: s.label }))),
    ...subsets.filter((c) => !names.has(c.parent)).map((c) => ({ ...c, group: 'Outside the sections' })),
  ];
}

const terms = () => query.value.toLowerCase().split(',').map((t) => t.trim()).filter(Boolean);

// The rows to show in their order: those that are pinned, whatever the filters say, and those that match.
function chosenRows() {
  const wanted = terms(), filters = Object.entries(FILTERS).filter(([name]) => state[name].size);
  const { i } = columns.find((c) => c.key === state.sort);
  const sign = state.down ? -1 : 1;
  const sorted = [...rows].sort((a, b) => {
    const [x, y] = [a.cells[i], b.cells[i]];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (typeof x === 'string' ? x.localeCompare(y) : x - y);
  });
  const pinned = sorted.filter((r) => state.pins.has(r.model));
  const rest = sorted.filter((r) => !state.pins.has(r.model) && filters.every(([name, key]) => state[name].has(r[key]))
    && (!wanted.length || wanted.some((t) => r.text.includes(t))));
  return { pinned, rest };
}
