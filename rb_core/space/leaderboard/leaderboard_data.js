// The data of the table before it is drawn: columns, rows, the custom score, order. It follows filters.js.
// Gradio provides: element, server.
// Every text from the data goes through esc() or textContent. Numbers are fractions; null: not evaluated.
const hidden = (text) => `<span class="rb-hidden">${esc(text)}</span>`;
const list = (words) => new Intl.ListFormat('en').format(words);
const QUARTER = 0.25; // the lowest quarter of a column gets no colour: people compare the best models
const FACTS = { licence: ['Licence', 'Licence of the weights, where known'], openness: ['Openness', 'What can be downloaded, where known'],
  released: ['Released', 'Date of the release, where known'], base_model: ['Base model', 'Language model that it was trained from, where known'] };
const STATUS_WORDS = { run: 'here', 'partial run': 'here, in part', 'other data': 'other data', published: 'published' }; // short: the column is narrow

// weights: those of the custom score by section, where they are not the benchmark's.
const state = { ...noFilters(), board: null, sort: 'rank', down: false, view: 'sections', weights: new Map(), hide: new Set(), show: new Set(),
  pins: new Set(), sweeps: new Set() };
const RANKED = ['rank', 'tier', 'headline', 'stderr', 'low', 'high', 'floor', 'ceiling']; // what a custom score changes
let board, columns, place, shownColumns, rows, baseline;
let ranking = null; // the server's answer for a custom score, with the key of that score

function prepare() {
  place = {};
  columns = board.columns.map((c, i) => ({ ...c, i, score: ['headline', 'section', 'subset'].includes(c.role) }));
  columns = columns.filter((c) => !['best', 'worst', 'includes'].includes(c.role)); // the rank interval and a mark have them
  columns.forEach((c) => { place[c.role] ??= c; });
  place.range = { key: 'range', label: 'Rank interval', role: 'range', i: board.columns.length, score: false,
    description: 'The ranks that this model may have by the data' };
  place.bounds = { key: 'bounds', label: 'Bounds', role: 'bounds', i: board.columns.length + 1, score: false,
    description: 'The score if all unscored examples had failed, and if all had passed. The rank counts them as failed' };
  columns.splice(columns.indexOf(place.headline) + 1, 0, place.range, place.bounds);
  const more = [...Object.entries(FACTS).map(([key, [label, description]]) => ({ key, label, role: 'fact', description })),
    ...board.traits.map((trait) => ({ ...trait, role: 'trait' }))];
  more.forEach((c, n) => columns.push({ ...c, i: board.columns.length + 2 + n, score: false }));
  rows = board.rows.map(row);
  dropUnknownChoices();
}

function row(cells, n) {
  const model = cells[place.model.i], kind = cells[place.kind.i], status = cells[place.status.i];
  return {
    official: [...cells, board.ranges[n]?.[0] ?? null, cells[place.floor.i], ...Object.keys(FACTS).map((fact) => board.facts[n][fact] ?? null),
      ...board.traits.map((trait) => traitOf(trait, n).value)],
    traits: Object.fromEntries(board.traits.map((trait) => [trait.key, traitOf(trait, n)])),
    officialRange: board.ranges[n] ?? null, link: board.links[n], model, kind,
    sweep: place.sweep ? cells[place.sweep.i] : null,
    ...filterFields(cells[place.organisation.i], place.parameters ? cells[place.parameters.i] : null, status, board.facts[n]),
    comparable: ['run', 'published'].includes(status) && !(place.sweep && cells[place.sweep.i]),
    text: `${model} ${kind} ${status}`,
  };
}

// A trait's value with its interval, or the reason for none.
function traitOf(trait, n) {
  const cell = trait.cells[n];
  return typeof cell === 'string' ? { value: null, reason: cell } : { value: cell[0], low: cell[1], high: cell[2] };
}

// Drops choices from the address or another board that this board does not have.
function dropUnknownChoices() {
  if (!columns.some((c) => c.key === state.sort)) { state.sort = 'rank'; state.down = false; }
  if (!views().some(([view]) => view === state.view)) state.view = 'sections';
  dropUnknownFilters();
  const keep = (name, allowed) => state[name].forEach((value) => { if (!allowed.has(value)) state[name].delete(value); });
  ['hide', 'show'].forEach((name) => keep(name, new Set(columns.filter(canHide).map((c) => c.key))));
  keep('sweeps', new Set(rows.map((r) => r.sweep)));
  const weighted = new Set(canRescore() ? sections().map((c) => c.label) : []);
  [...state.weights.keys()].forEach((name) => { if (!weighted.has(name)) state.weights.delete(name); });
  if (!counted().length) state.weights.clear();
}

const sections = () => columns.filter((c) => c.role === 'section');
const withRole = (role) => columns.filter((c) => c.role === role);
const hasTraits = () => withRole('trait').length > 0 || rows.some((r) => place.consistency && r.official[place.consistency.i] !== null);
const views = () => [['sections', 'Sections', true], ['subsets', 'All subsets', withRole('subset').length > 0], ['traits', 'Traits', hasTraits()]].filter(([, , there]) => there);
const canHide = (c) => !['rank', 'model', 'low', 'high'].includes(c.role) && isInformative(c);
const hasUnscored = () => rows.some((r) => r.official[place.floor.i] !== r.official[place.ceiling.i]);

// A coverage that no row has, an origin that all rows share and bounds that equal the scores are not shown.
function isInformative(column) {
  if (column.role === 'bounds') return hasUnscored();
  const values = new Set(rows.map((r) => r.official[column.i]));
  if (['coverage', 'fact', 'consistency'].includes(column.role)) return values.size > 1 || !values.has(null);
  return column.role !== 'status' || values.size > 1;
}
const canRescore = () => sections().length > 1 && sections().every((c) => typeof c.weight === 'number');
const weightOf = (c) => state.weights.get(c.label) ?? c.weight;
const isCustom = () => state.weights.size > 0;
const counted = () => sections().filter((c) => weightOf(c) !== 0);

// Sections that are part of some scores and not of others, and those that are part of this row's score.
const uneven = () => counted().filter((c) => (board.uneven ?? []).includes(c.label));
const includedIn = (r) => (score(r) === null ? [] : uneven().filter((c) => r.official[c.i] !== null).map((c) => c.label));

// ---- the custom score

// The benchmark's rule over the remaining sections: their weighted mean; null if a required one is missing.
function customScore(r, used) {
  if (used.some((c) => c.required && r.official[c.i] === null)) return null;
  const scored = used.filter((c) => r.official[c.i] !== null);
  const total = scored.reduce((sum, c) => sum + weightOf(c), 0);
  const sum = scored.reduce((partial, c) => partial + weightOf(c) * r.official[c.i], 0);
  return total > 0 ? Math.round((sum / total) * 1e5) / 1e5 : null; // the digits of the benchmark's scores
}

// Replaces the benchmark's score and rank by the custom ones: those of the server, or until it has answered the scores alone.
function rescore() {
  rerank();
  columns.forEach(heat);
  baseline = bestBaseline();
}

function rerank() {
  rows.forEach((r) => { r.cells = r.official; r.range = r.officialRange; });
  if (answered()?.rows) rows.forEach(takeRanking);
  else {
    if (isCustom()) scoreWithoutErrors();
    if (isFiltered()) rankAmong();
  }
}

function takeRanking(r) {
  const cells = ranking.rows[r.model] ?? {}; // a model may be newer than the server's results
  r.cells = [...r.official];
  RANKED.forEach((role) => { if (place[role]) r.cells[place[role].i] = cells[role] ?? null; });
  r.range = ranking.ranges[r.model] ?? null;
  r.cells[place.range.i] = r.range?.[0] ?? null;
  r.cells[place.bounds.i] = r.cells[place.floor.i];
}

function scoreWithoutErrors() {
  const used = counted();
  rows.forEach((r) => {
    r.cells = [...r.official];
    [...RANKED, 'range', 'bounds'].forEach((role) => { if (place[role]) r.cells[place[role].i] = null; });
    r.cells[place.headline.i] = customScore(r, used);
    r.range = null;
  });
  const ranked = rows.filter((r) => r.comparable && score(r) !== null);
  const sorted = ranked.map(score).sort((a, b) => b - a);
  ranked.forEach((r) => { r.cells[place.rank.i] = sorted.indexOf(score(r)) + 1; });
}

// Ranks the models that pass the filters among themselves, by the ranks of all; the server has their rank intervals.
function rankAmong() {
  const ranked = rows.filter((r) => passes(r) && r.cells[place.rank.i] !== null).sort((a, b) => a.cells[place.rank.i] - b.cells[place.rank.i]);
  let rank = 0, last = null;
  const among = new Map(ranked.map((r, n) => {
    const of = r.cells[place.rank.i];
    if (of !== last) [rank, last] = [n + 1, of];
    return [r, rank];
  }));
  rows.forEach((r) => {
    r.cells = [...r.cells];
    r.cells[place.rank.i] = among.get(r) ?? null;
    ['tier', 'range'].forEach((role) => { if (place[role]) r.cells[place[role].i] = null; });
    r.range = null;
  });
}

// What the server is asked for: the weights of a custom score, and the models that pass the filters; null for none.
function rankingKey() {
  const weights = isCustom() ? counted().map((c) => [c.label, weightOf(c)]) : null;
  return weights || isFiltered() ? JSON.stringify([board.id, weights, isFiltered() ? rows.filter(passes).map((r) => r.model) : null]) : null;
}

// The server's answer to what is chosen now; null while there is none.
const answered = () => (ranking?.key === rankingKey() ? ranking : null);

// Asks the server for the errors and ranks of the custom score and of the chosen models, and draws them when they arrive.
let asking;
function requestRanking() {
  clearTimeout(asking);
  const key = rankingKey();
  if (key === null || answered()) return;
  asking = setTimeout(() => askForRanking(key), 150);
}

async function askForRanking(key) {
  const [id, weights, models] = JSON.parse(key), request = { board: id };
  if (weights) request.weights = Object.fromEntries(weights);
  if (models) request.models = models;
  const answer = await Promise.resolve(server.custom_ranking?.(request)).catch(() => null);
  if (key !== rankingKey()) return; // the visitor has chosen something else meanwhile
  ranking = { key, ...(answer ?? { message: 'the server did not answer' }) };
  if (ranking.rows) redraw(); else drawCustom();
}

const score = (r) => r.cells[place.headline.i];

// Expected score of random choice in a column; null if it is not known.
function chance(column) {
  if (column.role !== 'headline' || !isCustom()) return column.chance ?? null;
  const used = counted(), total = used.reduce((sum, c) => sum + weightOf(c), 0);
  return used.some((c) => typeof c.chance !== 'number') ? null : used.reduce((sum, c) => sum + weightOf(c) * c.chance, 0) / total;
}

function bestBaseline() {
  const ranked = rows.filter((r) => r.kind === 'Baseline' && r.official[place.rank.i] !== null);
  return ranked.reduce((best, r) => (best === null || score(r) > score(best) ? r : best), null);
}

// Relation to the best baseline: 'below', 'near' (the interval reaches down to it), or '' (clearly above, or unknown).
function baselineRelation(r) {
  if (!baseline || r.kind === 'Baseline' || score(r) === null) return '';
  if ((r.cells[place.floor.i] ?? score(r)) <= score(baseline)) return 'below'; // unscored examples count as failed
  const low = r.cells[place.low.i];
  return low !== null && low <= score(baseline) ? 'near' : '';
}

function heat(column) {
  const values = rows.map((r) => r.cells[column.i]).filter((v) => typeof v === 'number').sort((a, b) => a - b);
  column.best = values.at(-1);
  column.from = values[Math.floor(values.length * QUARTER)];
}

// ---- which columns and rows

const compact = matchMedia('(max-width: 1200px)'); // kind and size stand below the name
const narrow = matchMedia('(max-width: 840px)'); // the rank interval stands below the rank
// Columns that are shown when they are chosen; lines between the rows name the tiers.
const onRequest = (c) => ['tier', 'fact', 'organisation'].includes(c.role) || (c.role === 'trait' && state.view !== 'traits');
const isShown = (c) => (onRequest(c) ? state.show.has(c.key) : !state.hide.has(c.key));

// If all rows are judges, the consistency of their verdicts takes the place of their kind.
const onlyJudges = () => place.consistency && [...(state.kinds.size ? state.kinds : counts('kind').keys())].every((kind) => kind === 'Generative');

function visibleColumns() {
  const withRoles = (...roles) => roles.flatMap((role) => withRole(role).filter(isInformative));
  const kind = onlyJudges() ? 'consistency' : 'kind';
  const beside = hasUnscored() ? ['bounds', 'coverage'] : []; // score, bounds and coverage stand together
  const facts = [kind, 'parameters'];
  const front = withRoles('rank', 'tier', ...(narrow.matches ? [] : ['range']), 'model', 'headline', ...beside, ...(compact.matches || state.view === 'subsets' ? [] : facts));
  const back = withRoles('range', ...facts, 'organisation', 'fact', 'trait', 'status', 'coverage').filter((c) => !front.includes(c));
  const middle = { sections, subsets: grouped, traits: () => withRoles('trait', 'consistency') }[state.view]();
  return [...new Set([...front, ...middle, ...back])].filter(isShown);
}

function grouped() {
  const subsets = columns.filter((c) => c.role === 'subset');
  const names = new Set(sections().map((s) => s.label));
  return [
    ...sections().flatMap((s) => [s, ...subsets.filter((c) => c.parent === s.label)].map((c) => ({ ...c, group: s.label }))),
    ...subsets.filter((c) => !names.has(c.parent)).map((c) => ({ ...c, group: c.parent ?? 'Outside the sections' })),
  ];
}

// Development checkpoints are folded into one row for each sweep until it is opened, or a search asks for them.
const isFolded = (r) => r.sweep !== null && !state.sweeps.has(r.sweep) && !isSearching() && !state.pins.has(r.model);

// The rows in their order: pinned ones, whatever the filters say, and those that match. folded: those that a sweep hides.
function chosenRows() {
  const matches = window.rb.search(query.value);
  const { i } = columns.find((c) => c.key === state.sort);
  const sign = state.down ? -1 : 1;
  const sorted = [...rows].sort((a, b) => {
    const [x, y] = [a.cells[i], b.cells[i]];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (typeof x === 'string' ? x.localeCompare(y) : x - y);
  });
  const pinned = sorted.filter((r) => state.pins.has(r.model));
  const matching = sorted.filter((r) => !state.pins.has(r.model) && passes(r) && matches(r.text));
  const rest = matching.filter((r) => !isFolded(r));
  return { pinned, rest, folded: matching.filter(isFolded) };
}
