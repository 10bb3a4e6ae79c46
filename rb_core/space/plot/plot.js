// Draws the data of plot_data(). Gradio provides: element, server. Every text from the data goes through esc() or textContent.
// Data are requested when the tab is first opened, one board at a time.
const MAX_MODELS = 4; // chosen: as many as a comparison has
const small = matchMedia('(max-width: 720px)');
const NEAR = 24; // pixels: the largest distance of the pointer from its point

// Each kind has a colour and a shape of its own, so that none is shown by colour alone. Paths are centred on the origin.
const SHAPES = {
  circle: 'M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z', arrow: 'M-6 4.2H-1.4L0 1.4L1.4 4.2H6L0 -6Z', square: 'M-4.5 -4.5H4.5V4.5H-4.5Z', triangle: 'M0 -6L5.6 4.2H-5.6Z',
  diamond: 'M0 -6.4L6.4 0L0 6.4L-6.4 0Z', down: 'M0 6L5.6 -4.2H-5.6Z', star: 'M0 -7L1.8 -2.3L6.8 -2.2L2.8 .9L4.2 5.7L0 2.9L-4.2 5.7L-2.8 .9L-6.8 -2.2L-1.8 -2.3Z',
  cross: 'M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z', hexagon: 'M0 -6L5.2 -3V3L0 6L-5.2 3V-3Z',
  pentagon: 'M0 -6L5.7 -1.9L3.5 4.9H-3.5L-5.7 -1.9Z', bar: 'M-6.5 -2.5H6.5V2.5H-6.5Z',
};
const KINDS = {
  'Sequence classifier': ['#0072B2', 'circle'], 'Custom classifier': ['#F0E442', 'diamond'], 'Implicit (DPO)': ['#E69F00', 'triangle'],
  'Implicit (DPO), reference-free': ['#56B4E9', 'arrow'],
  'Token probability': ['#D55E00', 'hexagon'],
  Generative: ['#009E73', 'square'], Baseline: ['#CC79A7', 'cross'], Function: ['#9BD770', 'star'],
  Ensemble: ['#8C6BB1', 'down'], 'Process reward': ['#6B4C1E', 'pentagon'],
};
const OTHER = ['#999999', 'bar'];
const mark = ([colour, shape]) => `<path d="${SHAPES[shape]}" fill="${colour}" class="rb-mark-shape"/>`;
const swatch = (look) => `<svg viewBox="-8 -8 16 16" width="16" height="16" aria-hidden="true">${mark(look)}</svg>`;
const look = (kind) => KINDS[kind] || OTHER;

const state = { ...noFilters(), board: null, x: 'size', y: 'score', chosen: [], active: null };
const cache = new Map();
let data, axes, rows, drawn, width = 0, lastRequest = 0;

const page = (model) => `?${new URLSearchParams({ tab: 'model', model })}`;
const rankText = (p) => (p.rank === null ? '' : `rank ${p.rank}${p.range && p.range[0] !== p.range[1] ? `, rank interval ${p.range[0]} to ${p.range[1]}` : ''}`);
const words = (p) => [`${p.model}: ${axes.y.label.toLowerCase()} ${valueText(axes.y, p.cellY)}`, axes.x.kind === 'size' ? valueText(axes.x, p.cellX) : `${axes.x.label.toLowerCase()} ${valueText(axes.x, p.cellX)}`,
  p.kind, rankText(p), p.front ? frontWords() : ''].filter(Boolean).join('; ');
const hasFront = () => ['size', 'date'].includes(axes.x.kind) && axes.y.kind === 'score';
const frontWords = () => (axes.x.kind === 'size' ? 'best of its size or smaller' : 'best so far');

// ---- which models are drawn

// Sets `rows`, one for each model of the board with the reason for which it is not drawn, and `drawn`.
function prepare() {
  const axis = (key, fallback) => data.axes.find((a) => a.key === key) ?? data.axes.find((a) => a.key === fallback) ?? data.axes[0];
  axes = { x: axis(state.x, 'size'), y: axis(state.y, 'score') };
  const isMatch = window.rb.search(query.value);
  rows = data.models.map((model, i) => {
    const p = { ...model, ...filterFields(model.organisation, model.parameters, model.status, model.facts), cellX: axes.x.cells[i], cellY: axes.y.cells[i] };
    p.filtered = !isMatch(`${p.model} ${p.kind} ${p.status}`) || !passes(p);
    p.why = p.why ?? (p.cellY === null ? axes.y.missing : p.cellX === null ? axes.x.missing : null);
    return p;
  });
  drawn = rows.filter((p) => !p.filtered && !p.why);
  if (hasFront()) front(drawn.map((p) => numberOf(axes.x, p.cellX)), drawn.map((p) => numberOf(axes.y, p.cellY))).forEach((i) => { drawn[i].front = true; });
}

// ---- the plot

function drawPlot() {
  const height = width < 560 ? 420 : Math.max(440, Math.min(Math.round(width * 0.46), innerHeight - 350));
  const box = [54, 12, width - 14, height - 46];
  const x = scale(axes.x, drawn.map((p) => numberOf(axes.x, p.cellX)), box[0], box[2]);
  const y = scale(axes.y, drawn.map((p) => numberOf(axes.y, p.cellY)), box[3], box[1]);
  drawn.forEach((p) => { p.x = x(numberOf(axes.x, p.cellX)); p.y = y(numberOf(axes.y, p.cellY)); });
  const steps = frontLine(box), best = drawn.filter((p) => p.front).sort((a, b) => a.x - b.x).map(({ x: left, y: top }) => [left, top]);
  const frontBoxes = (right) => best.flatMap(([left, top], i) => {
    const [nextLeft, nextTop] = best[i + 1] ?? [right, top];
    return [[left, top - 1, nextLeft, top + 1], [nextLeft - 1, nextTop, nextLeft + 1, top]];
  });
  if (['size', 'date'].includes(axes.x.kind)) spread(drawn);
  const named = drawn.filter((p) => state.chosen.includes(p.model)).concat(width < 560 ? [] : drawn.filter((p) => p.front && !state.chosen.includes(p.model)).sort((a, b) => a.y - b.y));
  const labels = placeLabels(named.map((p) => label(p.x, p.y, p.model.split('/').pop())), drawn, frontBoxes(box[2]), box);
  const nodes = drawn.map((p, i) => {
    const picked = state.chosen.includes(p.model), span = spanOf(axes.y, p.cellY);
    return `<g class="rb-point${picked ? ' rb-picked' : ''}" data-i="${i}" role="button" tabindex="-1" aria-pressed="${picked}" aria-label="${esc(words(p))}" transform="translate(${p.x.toFixed(1)} ${p.y.toFixed(1)})">`
      + (span ? `<line class="rb-error" y1="${(y(span[0]) - p.y).toFixed(1)}" y2="${(y(span[1]) - p.y).toFixed(1)}"/>` : '')
      + `<circle class="rb-ring" r="10"/>${mark(look(p.kind))}</g>`;
  });
  const title = `${axes.y.label} against ${axes.x.kind === 'size' ? 'number of parameters' : axes.x.label.toLowerCase()} on ${data.title}`;
  find('.rb-canvas').innerHTML = `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="group" aria-labelledby="rb-plot-t rb-plot-d">`
    + `<title id="rb-plot-t">${esc(title)}</title><desc id="rb-plot-d">${esc(summary())}</desc>${grid(x, y, box, height)}${steps}${nodes.join('')}`
    + `<g aria-hidden="true">${labels.map((l) => `<text class="rb-point-name" x="${l.left.toFixed(1)}" y="${l.base.toFixed(1)}">${esc(l.text)}</text>`).join('')}</g></svg>`;
  activate(Math.max(0, drawn.findIndex((p) => p.model === state.active)), false);
}

const ruler = document.createElement('canvas').getContext('2d');
function label(x, y, text) {
  ruler.font = '13px system-ui, sans-serif';
  return { x, y, text, width: ruler.measureText(text).width };
}

function grid(x, y, box, height) {
  const [left, top, right, bottom] = box;
  let from = -Infinity;
  const across = ticks(axes.x, x.low, x.high, width / 90).filter(([n]) => x(n) >= from && ((from = x(n) + 48), true));
  const lines = ticks(axes.y, y.low, y.high, 9).map(([v, text]) => `<line class="rb-grid" x1="${left}" x2="${right}" y1="${y(v)}" y2="${y(v)}"/><text x="${left - 8}" y="${y(v) + 4}" text-anchor="end">${text}</text>`)
    .concat(across.map(([v, text]) => `<line class="rb-grid" x1="${x(v)}" x2="${x(v)}" y1="${top}" y2="${bottom}"/><text x="${x(v)}" y="${bottom + 18}" text-anchor="middle">${text}</text>`));
  return `<g aria-hidden="true">${lines.join('')}<text class="rb-axis-name" x="${(left + right) / 2}" y="${height - 6}" text-anchor="middle">${esc(axisName(axes.x))}</text>`
    + `<text class="rb-axis-name" transform="translate(15 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">${esc(axisName(axes.y))}</text></g>`;
}

// The best score up to each number across, as steps.
function frontLine(box) {
  const best = drawn.filter((p) => p.front).sort((a, b) => a.x - b.x);
  if (!best.length) return '';
  const steps = best.map((p, i) => (i ? `H${p.x.toFixed(1)}V${p.y.toFixed(1)}` : `M${p.x.toFixed(1)} ${p.y.toFixed(1)}`));
  return `<path class="rb-front" aria-hidden="true" d="${steps.join('')}H${box[2]}"/>`;
}

function summary() {
  const best = drawn.filter((p) => p.front).map((p) => p.model);
  return `${plural(drawn.length, 'model')} of ${rows.length} shown.${best.length ? ` Dashed line: ${frontWords()}: ${best.join('; ')}.` : ''}`;
}

// One point is in the tab order; the arrow keys move to the others.
function activate(i, show) {
  const nodes = [...element.querySelectorAll('.rb-point')];
  nodes.forEach((node, n) => { node.setAttribute('tabindex', n === i ? '0' : '-1'); node.classList.toggle('rb-active', show && n === i); });
  const card = find('.rb-plot-card'), p = drawn[i];
  card.hidden = !show;
  if (!show || !p) return;
  state.active = p.model;
  const lines = [axes.y, axes.x].map((axis, n) => `${axis.kind === 'size' ? '' : `${axis.label} `}${valueText(axis, n ? p.cellX : p.cellY)}`);
  card.innerHTML = `<b>${esc(p.model)}</b>${[...lines, p.kind, rankText(p).replace(/^r/, 'R') + (p.front ? ` · ${frontWords()}` : '')].filter(Boolean).map((line) => `<span>${esc(line)}</span>`).join('')}`;
  card.removeAttribute('style');
  if (small.matches) return; // the style sheet places it below the plot
  const frame = find('.rb-figure').getBoundingClientRect(), box = nodes[i].querySelector('.rb-mark-shape').getBoundingClientRect();
  const left = box.left - frame.left + 18, over = left + card.offsetWidth > frame.width;
  card.style.left = `${Math.max(0, Math.min(frame.width - card.offsetWidth, over ? box.left - frame.left - card.offsetWidth - 8 : left))}px`;
  const above = box.top - frame.top - card.offsetHeight - 10;
  card.style.top = `${above < 0 ? box.bottom - frame.top + 10 : above}px`;
}

function step(i, key) {
  const upDown = key === 'ArrowUp' || key === 'ArrowDown';
  const by = (p) => (upDown ? -p.y : p.x), then = (p) => (upDown ? p.x : -p.y);
  const order = drawn.map((_, n) => n).sort((a, b) => by(drawn[a]) - by(drawn[b]) || then(drawn[a]) - then(drawn[b]) || a - b);
  if (key === 'Home') return order[0];
  if (key === 'End') return order.at(-1);
  const to = order.indexOf(i) + (key === 'ArrowRight' || key === 'ArrowUp' ? 1 : -1);
  return order[Math.max(0, Math.min(order.length - 1, to))];
}

function nearest(event) {
  let closest = null, smallest = NEAR;
  element.querySelectorAll('.rb-point').forEach((node) => {
    const box = node.querySelector('.rb-mark-shape').getBoundingClientRect();
    const distance = Math.hypot(event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2);
    if (distance < smallest) { smallest = distance; closest = Number(node.dataset.i); }
  });
  return closest;
}

// ---- around the plot

function drawTable() {
  const dash = '<span aria-hidden="true">–</span><span class="rb-hidden">unknown</span>';
  const shown = rows.filter((p) => !p.filtered).sort((a, b) => (a.rank ?? Infinity) - (b.rank ?? Infinity) || a.model.localeCompare(b.model));
  const cell = (axis, value) => `<td class="rb-num">${value === null ? dash : esc(valueText(axis, value))}</td>`;
  find('.rb-plot-sheet').innerHTML = `<table class="rb-plain"><caption class="rb-hidden">All models of the plot</caption><thead><tr>`
    + ['Model', 'Kind', axes.y.label, axes.x.label, 'In the plot'].map((h) => `<th scope="col">${esc(h)}</th>`).join('') + '</tr></thead><tbody>'
    + shown.map((p) => `<tr><th scope="row"><a href="${esc(page(p.model))}">${esc(p.model)}</a></th><td>${esc(p.kind)}</td>${cell(axes.y, p.cellY)}${cell(axes.x, p.cellX)}`
      + `<td>${p.why ? `no: ${esc(p.why)}` : p.front ? frontWords() : 'yes'}</td></tr>`).join('') + '</tbody></table>';
}

function drawStatus() {
  const reasons = new Map(), matching = rows.filter((p) => !p.filtered);
  matching.filter((p) => p.why).forEach((p) => reasons.set(p.why, (reasons.get(p.why) || 0) + 1));
  const notShown = [...reasons].map(([why, n]) => `${n} ${why}`).join(', ');
  find('.rb-plot-status').textContent = `${drawn.length} of ${plural(matching.length, 'model')} shown.`
    + (notShown ? ` ${matching.length - drawn.length} not shown (${notShown}). See table.` : '')
    + (matching.length < rows.length ? ` ${rows.length - matching.length} filtered out.` : '');
  const moved = ['size', 'date'].includes(axes.x.kind) ? ' Models that would cover each other are moved sideways.' : '';
  find('.rb-hint').textContent = `Hover, or tab to a point and move with the arrow keys. Click or press Enter to choose a model.${moved}${hasFront() ? ` Dashed: ${frontWords()}; close steps may be noise.` : ''}`;
}

// Kinds as filters: none pressed shows all.
function drawLegend() {
  const counts = new Map();
  rows.filter((p) => !p.why).forEach((p) => counts.set(p.kind, (counts.get(p.kind) || 0) + 1));
  find('.rb-legend').innerHTML = [...counts].sort((a, b) => b[1] - a[1]).map(([kind, n]) => `<button type="button" data-kind="${esc(kind)}" aria-pressed="${state.kinds.has(kind)}"`
    + `${state.kinds.size && !state.kinds.has(kind) ? ' class="rb-off"' : ''}>${swatch(look(kind))}${esc(kind)} <span class="rb-n">${n}</span></button>`).join('');
}

function drawChosen(message = '') {
  const there = state.chosen.filter((name) => rows.some((p) => p.model === name)), missing = state.chosen.filter((name) => !there.includes(name));
  find('.rb-chosen').innerHTML = there.map((name) => `<li><a href="${esc(page(name))}">${esc(name)}</a><button type="button" data-remove="${esc(name)}" aria-label="Remove ${esc(name)}">×</button></li>`).join('')
    + [message, missing.length ? `Not on this board: ${missing.join(', ')}.` : ''].filter(Boolean).map((text) => `<li class="rb-note" role="status">${esc(text)}</li>`).join('');
  const compare = find('.rb-plot-compare');
  compare.hidden = there.length < 2;
  compare.setAttribute('href', `?${new URLSearchParams({ tab: 'compare', board: data.id, models: there.join(',') })}`);
}

const options = (values, chosen) => values.map(([value, text]) => `<option value="${esc(value)}"${value === chosen ? ' selected' : ''}>${esc(text)}</option>`).join('');

function drawControls() {
  const groups = [...new Set(data.axes.map((a) => a.group))];
  const list = (chosen) => groups.map((group) => `<optgroup label="${esc(group)}">${options(data.axes.filter((a) => a.group === group).map((a) => [a.key, a.label]), chosen)}</optgroup>`).join('');
  find('.rb-plot-x').innerHTML = list(axes.x.key);
  find('.rb-plot-y').innerHTML = list(axes.y.key);
  drawChips();
}

function choose(model) {
  let message = '';
  if (state.chosen.includes(model)) state.chosen = state.chosen.filter((name) => name !== model);
  else if (state.chosen.length >= MAX_MODELS) message = `${MAX_MODELS} models are chosen; remove one first.`;
  else state.chosen = [...state.chosen, model];
  state.active = model;
  draw(message);
  remember();
}

// ---- saving

// The drawing as a file of its own: with the rules and colours that it has here.
function svgText() {
  const svg = find('.rb-canvas svg').cloneNode(true), style = getComputedStyle(find('.rb-plot'));
  const rules = [...document.styleSheets].flatMap((sheet) => { try { return [...sheet.cssRules]; } catch { return []; } })
    .filter((rule) => rule.selectorText?.includes('.rb-plot ') && /svg|rb-(grid|front|mark|point|ring|error|picked)/.test(rule.selectorText));
  const css = rules.map((rule) => rule.cssText.replaceAll('.gradio-container ', '').replaceAll('.rb-plot ', '')).join('\n')
    .replace(/var\((--rb-[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  svg.setAttribute('style', `color:${style.color};background:${style.getPropertyValue('--rb-surface')}`);
  const node = document.createElementNS('http://www.w3.org/2000/svg', 'style');
  node.textContent = css;
  svg.prepend(node);
  return new XMLSerializer().serializeToString(svg);
}

async function save(type) {
  const name = `${data.id}-${axes.y.key}-${axes.x.key}.${type}`.replace(/[^\w.-]+/g, '-'), text = svgText();
  if (type === 'svg') { window.rb.save(text, 'image/svg+xml', name); return; }
  const image = new Image(), canvas = document.createElement('canvas'), svg = find('.rb-canvas svg');
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  [canvas.width, canvas.height] = [2 * svg.clientWidth, 2 * svg.clientHeight];
  const context = canvas.getContext('2d');
  context.fillStyle = getComputedStyle(find('.rb-plot')).getPropertyValue('--rb-surface');
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.toBlob((blob) => window.rb.save(blob, 'image/png', name));
}

// ---- data and state

function draw(message) {
  prepare();
  drawControls();
  drawStatus();
  drawLegend();
  find('.rb-figure').hidden = find('.rb-hint').hidden = find('.rb-plot-export').hidden = !drawn.length;
  width = Math.floor(find('.rb-plot-body').clientWidth);
  if (drawn.length && width) drawPlot();
  if (find('.rb-table').open) drawTable();
  drawChosen(message);
}

// If there is no board of that id, the server answers with the first one.
async function open(id) {
  const request = ++lastRequest;
  const answer = cache.get(id) ?? await server.plot_of(id);
  if (request !== lastRequest) return; // the visitor has chosen another board meanwhile
  if (!answer.plot) { find('.rb-plot-status').textContent = 'There are no results yet.'; return; }
  data = answer.plot;
  state.board = data.id;
  cache.set(data.id, answer);
  find('.rb-plot-board').innerHTML = options(answer.boards.map((b) => [b.id, b.title]), data.id);
  find('.rb-plot-body').hidden = false;
  prepare();
  dropUnknownFilters();
  element.querySelectorAll('.rb-menu').forEach(drawMenu);
  draw();
}

function recall() {
  const parameters = new URLSearchParams(location.search);
  recallFilters(parameters);
  Object.assign(state, { x: parameters.get('x') ?? 'size', y: parameters.get('y') ?? 'score', chosen: (parameters.get('models') ?? '').split(',').filter(Boolean).slice(0, MAX_MODELS) });
  return parameters.get('board');
}

function address() {
  const url = window.rb.address(), set = (key, value) => (value ? url.searchParams.set(key, value) : url.searchParams.delete(key));
  set('board', state.board);
  set('x', state.x === 'size' ? '' : state.x);
  set('y', state.y === 'score' ? '' : state.y);
  set('models', state.chosen.join(','));
  writeFilters(url.searchParams);
  return url;
}
const remember = () => window.rb.showAddress(address());

// Draws the models that pass the filters.
function filterRows() {
  draw();
  window.rb.showAddressSoon(address);
}

async function onVisible() {
  try {
    await open(recall() ?? state.board ?? '');
  } catch (error) { failed(error); }
}

function failed(error) {
  find('.rb-plot-status').textContent = `The plot could not be loaded (${error?.message || error}). Open this tab again to retry.`;
}

// ---- events

find('.rb-plot-board').addEventListener('change', (event) => {
  state.board = event.target.value;
  remember();
  open(state.board).catch(failed);
});
const change = (selector, apply) => find(selector).addEventListener('change', (event) => { apply(event.target.value); draw(); remember(); });
change('.rb-plot-x', (value) => { state.x = value; });
change('.rb-plot-y', (value) => { state.y = value; });
query.addEventListener('input', filterRows);
find('.rb-legend').addEventListener('click', (event) => {
  const kind = event.target.closest('[data-kind]')?.dataset.kind;
  if (!kind) return;
  toggle('kinds', kind, !state.kinds.has(kind));
  draw();
  remember();
  [...element.querySelectorAll('[data-kind]')].find((button) => button.dataset.kind === kind).focus();
});
const canvas = find('.rb-canvas');
const focused = () => Math.max(0, [...element.querySelectorAll('.rb-point')].findIndex((node) => node.getAttribute('tabindex') === '0'));
canvas.addEventListener('pointermove', (event) => { const i = nearest(event); activate(i ?? focused(), i !== null); });
canvas.addEventListener('pointerleave', () => activate(focused(), false));
canvas.addEventListener('click', (event) => { const i = nearest(event); if (i !== null) choose(drawn[i].model); });
canvas.addEventListener('focusin', (event) => { const node = event.target.closest('.rb-point'); if (node) activate(Number(node.dataset.i), true); });
canvas.addEventListener('focusout', () => activate(focused(), false));
canvas.addEventListener('keydown', (event) => {
  const node = event.target.closest('.rb-point');
  if (!node) return;
  const i = Number(node.dataset.i);
  if (event.key === 'Escape') { activate(i, false); return; }
  let to = i;
  if (event.key === 'Enter' || event.key === ' ') choose(drawn[i].model);
  else if (['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown', 'Home', 'End'].includes(event.key)) to = step(i, event.key);
  else return;
  event.preventDefault();
  activate(to, true);
  canvas.querySelector(`[data-i="${to}"]`).focus({ preventScroll: true });
});
find('.rb-chosen').addEventListener('click', (event) => {
  const button = event.target.closest('[data-remove]');
  if (!button) return;
  choose(button.dataset.remove);
  (find('.rb-chosen button') || query).focus();
});
find('.rb-table').addEventListener('toggle', () => { if (find('.rb-table').open && rows) drawTable(); });
find('.rb-plot-export').addEventListener('click', (event) => {
  const type = event.target.closest('[data-save]')?.dataset.save;
  if (type) save(type).catch((error) => drawChosen(`The picture could not be made (${error?.message || error}).`));
});

window.rb.onAddress('plot', onVisible);
new IntersectionObserver((entries) => { if (entries.at(-1).isIntersecting) onVisible(); }).observe(find('.rb-plot'));
new ResizeObserver(() => { if (data && Math.floor(find('.rb-plot-body').clientWidth) !== width) draw(); }).observe(find('.rb-plot-body'));
