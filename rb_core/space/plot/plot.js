// Draws the data of size_plot(). Gradio provides: element, server. Every text from the data goes through esc() or textContent.
// Numbers are fractions; null: unknown. Points are requested when the tab is first opened, one board at a time.
const find = (selector) => element.querySelector(selector);
const { address, esc, percent, plural, size, showAddress } = window.rb;
const MAX_MODELS = 4; // in the profile: more colours and shapes cannot be told apart
const small = matchMedia('(max-width: 720px)');
const NEAR = 24; // pixels: the largest distance of the pointer from its point

// Okabe-Ito colours, each with its own shape, so that no kind is shown by colour alone. Paths are centred on the origin.
const SHAPES = {
  circle: 'M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z', square: 'M-4.5 -4.5H4.5V4.5H-4.5Z', triangle: 'M0 -6L5.6 4.2H-5.6Z',
  diamond: 'M0 -6.4L6.4 0L0 6.4L-6.4 0Z', down: 'M0 6L5.6 -4.2H-5.6Z', star: 'M0 -7L1.8 -2.3L6.8 -2.2L2.8 .9L4.2 5.7L0 2.9L-4.2 5.7L-2.8 .9L-6.8 -2.2L-1.8 -2.3Z',
  cross: 'M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z', hexagon: 'M0 -6L5.2 -3V3L0 6L-5.2 3V-3Z',
  pentagon: 'M0 -6L5.7 -1.9L3.5 4.9H-3.5L-5.7 -1.9Z', bar: 'M-6.5 -2.5H6.5V2.5H-6.5Z',
};
const KINDS = {
  'Sequence classifier': ['#0072B2', 'circle'], 'Custom classifier': ['#56B4E9', 'diamond'], 'Implicit (DPO)': ['#E69F00', 'triangle'],
  'Token probability': ['#D55E00', 'hexagon'],
  Generative: ['#009E73', 'square'], Baseline: ['#CC79A7', 'cross'], Function: ['#F0E442', 'star'],
  Ensemble: ['#8C6BB1', 'down'], 'Process reward': ['#6B4C1E', 'pentagon'],
};
const OTHER = ['#999999', 'bar'];
const LINES = [['#0072B2', 'circle', ''], ['#D55E00', 'square', '7 3'], ['#009E73', 'triangle', '2 3'], ['#CC79A7', 'diamond', '9 3 2 3']];
// Mixed with the text colour: darker on a light ground, lighter on a dark one.
const stroke = (colour) => `style="stroke:color-mix(in srgb, ${colour} 75%, var(--rb-ink))"`;
const mark = ([colour, shape]) => `<path d="${SHAPES[shape]}" fill="${colour}" class="rb-mark-shape"/>`;
const swatch = (look) => `<svg viewBox="-8 -8 16 16" width="16" height="16" aria-hidden="true">${mark(look)}</svg>`;
const look = (kind) => KINDS[kind] || OTHER;

const state = { board: null, chosen: null, active: null };
const cache = new Map();
let data, drawn, width = 0, lastRequest = 0;

const interval = (p) => (p.low === null || p.high === null ? 'unknown interval' : `95% interval ${percent(p.low)} to ${percent(p.high)}`);
const rankInterval = (p) => (p.range && p.range[0] !== p.range[1] ? `, rank interval ${p.range[0]} to ${p.range[1]}` : '');
const words = (p) => `${p.model}: score ${percent(p.score)}, ${interval(p)}; ${size(p.parameters)} parameters; ${p.kind}; rank ${p.rank}${rankInterval(p)}${p.front ? '; best of its size or smaller' : ''}`;
const chosen = () => state.chosen ?? data.points.filter((p) => p.rank !== null).slice(0, 2).map((p) => p.model);
const page = (model) => `?${new URLSearchParams({ tab: 'model', model })}`;

// ---- the plot

function scales(height) {
  const margin = { left: 50, right: 14, top: 12, bottom: 44 };
  const sizes = drawn.map((p) => Math.log10(p.parameters));
  const [first, last] = [Math.min(...sizes) - 0.1, Math.max(...sizes) + 0.12];
  const ends = drawn.map((p) => p.score);
  const least = Math.max(0, Math.floor(Math.min(...ends) * 20 - 0.4) / 20), most = Math.min(1, Math.ceil(Math.max(...ends) * 20 + 0.4) / 20);
  return { margin, height, least, most, first, last,
    x: (n) => margin.left + (Math.log10(n) - first) / (last - first) * (width - margin.left - margin.right),
    y: (v) => margin.top + (most - v) / (most - least || 1) * (height - margin.top - margin.bottom) };
}

function axes(s) {
  const parts = [];
  const step = s.most - s.least > 0.35 ? 0.1 : 0.05, bottom = s.height - s.margin.bottom, right = width - s.margin.right;
  for (let v = Math.ceil(s.least / step - 1e-9) * step; v <= s.most + 1e-9; v += step) {
    parts.push(`<line class="rb-grid" x1="${s.margin.left}" x2="${right}" y1="${s.y(v)}" y2="${s.y(v)}"/>`
      + `<text x="${s.margin.left - 8}" y="${s.y(v) + 4}" text-anchor="end">${Math.round(v * 100)}</text>`);
  }
  const decades = s.last - s.first;
  const between = decades > 4 ? [1] : decades > 2.2 ? [1, 3] : [1, 2, 3, 5, 7];
  let labelFrom = -Infinity;
  for (let e = Math.floor(s.first); e <= s.last; e += 1) {
    for (const m of between) {
      const n = m * 10 ** e;
      if (Math.log10(n) < s.first || Math.log10(n) > s.last || s.x(n) < labelFrom) continue;
      labelFrom = s.x(n) + 38;
      parts.push(`<line class="rb-grid" x1="${s.x(n)}" x2="${s.x(n)}" y1="${s.margin.top}" y2="${bottom}"/>`
        + `<text x="${s.x(n)}" y="${bottom + 18}" text-anchor="middle">${size(n)}</text>`);
    }
  }
  parts.push(`<text class="rb-axis-name" x="${(s.margin.left + right) / 2}" y="${s.height - 6}" text-anchor="middle">Parameters (logarithmic)</text>`);
  parts.push(`<text class="rb-axis-name" transform="translate(15 ${(s.margin.top + bottom) / 2}) rotate(-90)" text-anchor="middle">Score (%)</text>`);
  return `<g aria-hidden="true">${parts.join('')}</g>`;
}

// The best score up to each size, as steps: no known model between two steps is better than the smaller one.
function frontLine(s) {
  const front = drawn.filter((p) => p.front).sort((a, b) => a.parameters - b.parameters);
  if (!front.length) return '';
  const steps = front.map((p, i) => (i ? `H${s.x(p.parameters)}V${s.y(p.score)}` : `M${s.x(p.parameters)} ${s.y(p.score)}`));
  return `<path class="rb-front" aria-hidden="true" d="${steps.join('')}H${width - s.margin.right}"/>${frontNames(s, front)}`;
}

// Names of the front's models, highest first, where there is room; every name is in the table.
function frontNames(s, front) {
  if (width < 700) return '';
  const taken = [];
  return [...front].reverse().map((p) => {
    const name = p.model.split('/').pop(), labelWidth = name.length * 6.6 + 8;
    const x = s.x(p.parameters) - 13, y = s.y(p.score) - 8; // outside the ring of a chosen point
    const box = [x - labelWidth, y - 13, x, y + 2];
    if (box[0] < s.margin.left || taken.some((t) => box[0] < t[2] && box[2] > t[0] && box[1] < t[3] && box[3] > t[1])) return '';
    taken.push(box);
    return `<text class="rb-front-name" aria-hidden="true" x="${x}" y="${y}" text-anchor="end">${esc(name)}</text>`;
  }).join('');
}

function drawPlot() {
  const height = width < 560 ? 380 : 480, s = scales(height), picked = chosen();
  const nodes = drawn.map((p, i) => `<g class="rb-point${picked.includes(p.model) ? ' rb-picked' : ''}" data-i="${i}" role="button" tabindex="-1"`
    + ` aria-pressed="${picked.includes(p.model)}" aria-label="${esc(words(p))}" transform="translate(${s.x(p.parameters).toFixed(1)} ${s.y(p.score).toFixed(1)})">`
    + (p.low === null || p.high === null ? '' : `<line class="rb-error" y1="${s.y(p.low) - s.y(p.score)}" y2="${s.y(p.high) - s.y(p.score)}"/>`)
    + `<circle class="rb-ring" r="11"/>${mark(look(p.kind))}</g>`);
  find('.rb-canvas').innerHTML = `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="group" aria-labelledby="rb-plot-t rb-plot-d">`
    + `<title id="rb-plot-t">Score against number of parameters on ${esc(data.title)}</title>`
    + `<desc id="rb-plot-d">${esc(summary())}</desc>${axes(s)}${frontLine(s)}${nodes.join('')}</svg>`;
  find('.rb-canvas svg > title').textContent = `Score against number of parameters on ${data.title}`;
  activate(Math.max(0, drawn.findIndex((p) => p.model === state.active)), false);
}

function summary() {
  const front = drawn.filter((p) => p.front).map((p) => `${p.model} (${size(p.parameters)}, ${percent(p.score)})`);
  return `${plural(drawn.length, 'model')} of ${data.points.length} shown. Best of each size, smallest first: ${front.reverse().join('; ')}.`;
}

// One point is in the tab order; the arrow keys move to the others.
function activate(i, show) {
  const nodes = [...element.querySelectorAll('.rb-point')];
  nodes.forEach((node, n) => { node.setAttribute('tabindex', n === i ? '0' : '-1'); node.classList.toggle('rb-active', show && n === i); });
  const card = find('.rb-card'), p = drawn[i];
  card.hidden = !show;
  if (!show || !p) return;
  state.active = p.model;
  card.innerHTML = `<b>${esc(p.model)}</b><span>Score ${percent(p.score)}, ${esc(interval(p))}</span>`
    + `<span>${size(p.parameters)} parameters · ${esc(p.kind)}</span><span>Rank ${p.rank}${esc(rankInterval(p))}${p.front ? ' · best of its size or smaller' : ''}</span>`;
  card.removeAttribute('style');
  if (small.matches) return; // the style sheet places it below the plot
  const frame = find('.rb-figure').getBoundingClientRect(), box = nodes[i].querySelector('.rb-mark-shape').getBoundingClientRect();
  const left = box.left - frame.left + 18, over = left + card.offsetWidth > frame.width;
  card.style.left = `${Math.max(0, Math.min(frame.width - card.offsetWidth, over ? box.left - frame.left - card.offsetWidth - 8 : left))}px`;
  const above = box.top - frame.top - card.offsetHeight - 10;
  card.style.top = `${above < 0 ? box.bottom - frame.top + 10 : above}px`;
}

function step(i, key) {
  const [by, then] = key === 'ArrowUp' || key === 'ArrowDown' ? ['score', 'parameters'] : ['parameters', 'score'];
  const order = drawn.map((_, n) => n).sort((a, b) => drawn[a][by] - drawn[b][by] || drawn[a][then] - drawn[b][then] || a - b);
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

// ---- the tables

function drawTable() {
  const rows = [...data.points].sort((a, b) => (a.rank ?? Infinity) - (b.rank ?? Infinity) || a.model.localeCompare(b.model));
  const dash = '<span aria-hidden="true">–</span><span class="rb-hidden">unknown</span>';
  find('.rb-plot-body > .rb-table .rb-sheet').innerHTML = '<table><caption class="rb-hidden">Scores and sizes of all models of the board</caption><thead><tr>'
    + ['Model', 'Kind', 'Score', '95% interval', 'Parameters', 'In the plot'].map((h) => `<th scope="col">${h}</th>`).join('') + '</tr></thead><tbody>'
    + rows.map((p) => `<tr><th scope="row"><a href="${esc(page(p.model))}">${esc(p.model)}</a></th><td>${esc(p.kind)}</td>`
      + `<td class="rb-num">${p.score === null ? dash : percent(p.score)}</td>`
      + `<td class="rb-num">${p.low === null || p.high === null ? dash : `${percent(p.low)} to ${percent(p.high)}`}</td>`
      + `<td class="rb-num">${p.parameters === null ? dash : size(p.parameters)}</td>`
      + `<td>${p.why ? `no: ${esc(p.why)}` : p.front ? 'best of its size or smaller' : 'yes'}</td></tr>`).join('') + '</tbody></table>';
}

function drawStatus() {
  const reasons = new Map();
  data.points.filter((p) => p.why).forEach((p) => reasons.set(p.why, (reasons.get(p.why) || 0) + 1));
  const notShown = [...reasons].map(([why, n]) => `${n} ${why}`).join(', ');
  find('.rb-plot-status').textContent = `${drawn.length} of ${plural(data.points.length, 'model')} shown.`
    + (notShown ? ` ${data.points.length - drawn.length} not shown (${notShown}). See table.` : '');
  const counts = new Map();
  drawn.forEach((p) => counts.set(p.kind, (counts.get(p.kind) || 0) + 1));
  find('.rb-legend').innerHTML = [...counts].map(([kind, n]) => `<li>${swatch(look(kind))}<span>${esc(kind)} <span class="rb-n">${n}</span></span></li>`).join('')
    + (drawn.length ? '<li><svg viewBox="0 0 24 16" width="24" height="16" aria-hidden="true"><path class="rb-front" d="M1 12H12V4H23"/></svg><span>Best score up to each size; close steps may be noise</span></li>' : '');
}

// ---- the profile

function drawProfile(message = '') {
  const names = chosen(), models = names.map((name) => data.points.find((p) => p.model === name)).filter(Boolean);
  const unknown = names.filter((name) => !data.points.some((p) => p.model === name));
  find('.rb-chosen').innerHTML = models.map((p, i) => `<li>${swatch(LINES[i])}<a href="${esc(page(p.model))}">${esc(p.model)}</a>`
    + `<button type="button" data-remove="${esc(p.model)}" aria-label="Remove ${esc(p.model)} from the profile">×</button></li>`).join('');
  const notes = [message, unknown.length ? `Not on this board: ${unknown.join(', ')}.` : '',
    models.length ? '' : `Choose up to ${MAX_MODELS} models, in the plot or above.`,
    models.length && state.chosen === null ? `Showing the top ${models.length === 1 ? 'model' : 'two'}. Pick others above.` : ''];
  find('.rb-profile-note').textContent = notes.filter(Boolean).join(' ');
  find('.rb-profile-canvas').innerHTML = models.length && data.sections.length ? profileSvg(models) : '';
  find('.rb-profile .rb-table').hidden = !models.length;
  find('.rb-profile .rb-sheet').innerHTML = models.length ? profileTable(models) : '';
}

// One row per section, one line per model; every score with its interval.
function profileSvg(models) {
  const total = Math.min(width, 900), narrow = total < 560, left = narrow ? 8 : 150, right = 14;
  const gap = 13, row = models.length * gap + (narrow ? 34 : 20), top = 8, height = top + row * data.sections.length + 30;
  const ends = models.flatMap((p) => p.sections.flatMap((c) => (c ? c.filter((v) => v !== null) : [])));
  const least = Math.max(0, Math.floor(Math.min(...ends) * 10) / 10), most = Math.min(1.001, Math.ceil(Math.max(...ends) * 10) / 10);
  const x = (v) => left + (v - least) / (most - least || 1) * (total - left - right);
  const y = (s, m) => top + s * row + (narrow ? 28 : 10) + (m + 0.5) * gap;
  const grid = [];
  for (let v = Math.round(least * 10); v <= most * 10 + 1e-9; v += 1) {
    if (narrow && v % 2) continue;
    grid.push(`<line class="rb-grid" x1="${x(v / 10)}" x2="${x(v / 10)}" y1="${top}" y2="${height - 26}"/><text x="${x(v / 10)}" y="${height - 10}" text-anchor="middle">${v * 10}</text>`);
  }
  const labels = data.sections.map((name, s) => (s ? `<line class="rb-grid" x1="0" x2="${total}" y1="${top + s * row}" y2="${top + s * row}"/>` : '')
    + (narrow ? `<text class="rb-axis-name" x="${left}" y="${top + s * row + 20}">${esc(name)}</text>`
      : `<text class="rb-axis-name" x="${left - 12}" y="${top + s * row + row / 2 + 4}" text-anchor="end">${esc(name)}</text>`));
  const marks = models.map((p, m) => {
    const at = p.sections.map((c, s) => (c ? [x(c[0]), y(s, m), c] : null)).filter(Boolean);
    const line = `<polyline class="rb-line" points="${at.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join(' ')}" ${stroke(LINES[m][0])} stroke-dasharray="${LINES[m][2]}"/>`;
    const none = p.sections.map((c, s) => (c ? '' : `<text x="${left + 6}" y="${y(s, m) + 4}">not evaluated</text>`)).join('');
    return none + line + at.map(([a, b, [, low, high]]) => (low === null || high === null ? '' : `<line class="rb-bar-line" ${stroke(LINES[m][0])} x1="${x(low)}" x2="${x(high)}" y1="${b}" y2="${b}"/>`)
      + `<g transform="translate(${a.toFixed(1)} ${b.toFixed(1)})">${mark(LINES[m])}</g>`).join('');
  });
  return `<svg viewBox="0 0 ${total} ${height}" width="${total}" height="${height}" role="img" aria-labelledby="rb-profile-t rb-profile-d">`
    + `<title id="rb-profile-t">Scores of ${esc(models.map((p) => p.model).join(', '))} over the sections of ${esc(data.title)}</title>`
    + `<desc id="rb-profile-d">One row per section; scores in percent with 95% intervals. The table below has the numbers.</desc>`
    + `<g>${grid.join('')}${labels.join('')}</g>${marks.join('')}</svg>`;
}

function profileTable(models) {
  const cell = (c) => (!c ? '<td class="rb-num"><span aria-hidden="true">–</span><span class="rb-hidden">not evaluated</span></td>'
    : `<td class="rb-num">${percent(c[0])}${c[1] === null || c[2] === null ? '' : ` (${percent(c[1])} to ${percent(c[2])})`}</td>`);
  return '<table><caption class="rb-hidden">Scores over the sections, with 95% intervals</caption><thead><tr><th scope="col">Section</th>'
    + models.map((p) => `<th scope="col">${esc(p.model)}</th>`).join('') + '</tr></thead><tbody>'
    + data.sections.map((name, s) => `<tr><th scope="row">${esc(name)}</th>${models.map((p) => cell(p.sections[s])).join('')}</tr>`).join('') + '</tbody></table>';
}

function toggle(model) {
  const current = chosen();
  let message = '';
  if (current.includes(model)) state.chosen = current.filter((name) => name !== model);
  else if (state.chosen === null) state.chosen = [model]; // the first choice replaces the default
  else if (current.length >= MAX_MODELS) message = `The profile holds ${MAX_MODELS} models; remove one first.`;
  else state.chosen = [...current, model];
  const picked = chosen();
  element.querySelectorAll('.rb-point').forEach((node) => {
    const on = picked.includes(drawn[node.dataset.i].model);
    node.setAttribute('aria-pressed', on);
    node.classList.toggle('rb-picked', on);
  });
  drawProfile(message);
  remember();
}

// ---- data and state

function draw() {
  drawn = data.points.filter((p) => p.why === null);
  drawStatus();
  find('.rb-figure').hidden = find('.rb-hint').hidden = !drawn.length;
  width = Math.floor(find('.rb-plot-body').clientWidth);
  if (drawn.length && width) drawPlot();
  drawTable();
  drawProfile();
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
  find('.rb-plot-board').innerHTML = answer.boards.map((b) => `<option value="${esc(b.id)}"${b.id === data.id ? ' selected' : ''}>${esc(b.title)}</option>`).join('');
  find('.rb-plot-body').hidden = false;
  find('#rb-plot-models').innerHTML = data.points.map((p) => `<option value="${esc(p.model)}"></option>`).join('');
  draw();
}

function recall() {
  const query = new URLSearchParams(location.search), named = query.get('models');
  state.chosen = named === null ? null : named.split(',').filter(Boolean).slice(0, MAX_MODELS);
  return query.get('board');
}

function remember() {
  const url = address();
  url.searchParams.set('board', state.board);
  if (state.chosen === null) url.searchParams.delete('models');
  else url.searchParams.set('models', state.chosen.join(','));
  showAddress(url);
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
const canvas = find('.rb-canvas');
canvas.addEventListener('pointermove', (event) => { const i = nearest(event); activate(i ?? focused(), i !== null); });
canvas.addEventListener('pointerleave', () => activate(focused(), false));
canvas.addEventListener('click', (event) => { const i = nearest(event); if (i !== null) { activate(i, true); toggle(drawn[i].model); } });
canvas.addEventListener('focusin', (event) => { const node = event.target.closest('.rb-point'); if (node) activate(Number(node.dataset.i), true); });
canvas.addEventListener('focusout', () => activate(focused(), false));
const focused = () => Math.max(0, [...element.querySelectorAll('.rb-point')].findIndex((node) => node.getAttribute('tabindex') === '0'));
canvas.addEventListener('keydown', (event) => {
  const node = event.target.closest('.rb-point');
  if (!node) return;
  const i = Number(node.dataset.i);
  if (event.key === 'Escape') { activate(i, false); return; }
  if (event.key === 'Enter' || event.key === ' ') toggle(drawn[i].model);
  else if (['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown', 'Home', 'End'].includes(event.key)) {
    const to = step(i, event.key);
    activate(to, true);
    canvas.querySelector(`[data-i="${to}"]`).focus({ preventScroll: true });
  } else return;
  event.preventDefault();
});
find('.rb-add').addEventListener('input', (event) => {
  const model = data.points.find((p) => p.model === event.target.value);
  if (!model) return;
  event.target.value = '';
  state.chosen ??= [];
  if (!state.chosen.includes(model.model)) toggle(model.model);
});
find('.rb-chosen').addEventListener('click', (event) => {
  const button = event.target.closest('[data-remove]');
  if (!button) return;
  toggle(button.dataset.remove);
  (find('.rb-chosen button') || find('.rb-add')).focus();
});

window.rb.onAddress('plot', onVisible);
new IntersectionObserver((entries) => { if (entries.at(-1).isIntersecting) onVisible(); }).observe(find('.rb-plot'));
new ResizeObserver(() => { if (data && Math.floor(find('.rb-plot-body').clientWidth) !== width) draw(); }).observe(find('.rb-plot-body'));
