// The axes of the intervals: of scores, ranks and traits. All span the rows in view, so that intervals of neighbours can be
// compared; CSS places the bars by the variables that are set here, so that no cell is drawn again.
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 25, 50, 100, 200, 500];
const frame = find('.rb-scroll');
let drawn = []; // rows below the pinned ones, in their order
let matching = 0; // their number, with those that are not drawn yet

// The ends of an axis and the distance of its grid lines, for values from least to most.
function ticks(least, most, smallest) {
  const step = STEPS.find((s) => s >= smallest && (most - least) / s <= 4) ?? STEPS.at(-1);
  const from = Math.floor(least / step) * step;
  return { from, to: Math.max(from + step, Math.ceil(most / step) * step), step };
}

function rowsInView() {
  const { top, bottom } = frame.getBoundingClientRect(), upper = top + thead.offsetHeight;
  const rects = (n) => drawn[n].element.getBoundingClientRect();
  // First row that ends below the upper edge; rows are in order, so half of them can be left out at each step.
  let first = 0, last = drawn.length;
  while (first < last) {
    const middle = (first + last) >> 1;
    if (rects(middle).bottom > upper) last = middle; else first = middle + 1;
  }
  let end = first;
  while (end < drawn.length && rects(end).top < bottom) end += 1;
  return [...rows.filter((r) => state.pins.has(r.model)), ...drawn.slice(first, Math.max(end, first + 1))];
}

function fitAxes() {
  if (!shownColumns || !frame.clientHeight) return;
  const inView = rowsInView(), known = (values) => values.filter((v) => typeof v === 'number');
  const scores = known(inView.flatMap((r) => [place.headline, place.low, place.high].map((c) => points(r.cells[c.i]))));
  const ranks = known(inView.flatMap((r) => (r.range ?? [r.cells[place.rank.i]]).slice(0, 2)));
  if (scores.length) setAxis('score', ticks(Math.min(...scores), Math.max(...scores), 0.5));
  if (ranks.length) {
    const ends = ticks(Math.min(...ranks) - 1, Math.max(...ranks), 1);
    setAxis('rank', ends, ends.from + 1);
  }
  shownColumns.filter((c) => c.role === 'trait').forEach(({ key }) => {
    const values = known(inView.flatMap((r) => ['value', 'low', 'high'].map((part) => points(r.traits[key][part] ?? null))));
    setAxis(key, ticks(Math.min(0, ...values), Math.max(0, ...values), 1));
  });
}

// A rank covers one unit, which ends at its number: the rank axis begins below its first rank.
function setAxis(name, { from, to, step }, first = from) {
  frame.style.setProperty(`--rb-${name}-from`, from);
  frame.style.setProperty(`--rb-${name}-span`, to - from);
  frame.style.setProperty(`--rb-${name}-step`, `${(100 * step) / (to - from)}%`);
  const text = (v) => String(Number(v.toFixed(1))).replace('-', '−');
  thead.querySelectorAll(`.rb-axis-${name}`).forEach((axis) => { axis.innerHTML = `<i>${text(first)}</i><i>${text(to)}</i>`; });
}

const axisOf = (name) => `<span class="rb-axis rb-axis-${name}" aria-hidden="true"></span>`;

// An interval with a mark at its value; without an interval the mark alone.
function bar(name, value, low, high, axis = '') {
  const mark = typeof value === 'number' ? `<i class="rb-dot" style="--at:${value}"></i>` : '';
  const whisker = typeof low === 'number' && typeof high === 'number' ? `<i class="rb-whisker" style="--low:${low};--high:${high}"></i>` : '';
  return `<span class="rb-interval rb-${name}-bar"${axis ? ` style="${axis}"` : ''} aria-hidden="true">${whisker}${mark}</span>`;
}

let fitting;
frame.addEventListener('scroll', () => {
  clearTimeout(fitting);
  fitting = setTimeout(fitAxes, 60);
  if (drawn.length < matching && frame.scrollHeight - frame.scrollTop < 3 * frame.clientHeight) {
    mostRows += ROWS_AT_ONCE;
    draw();
  }
}, { passive: true });
new ResizeObserver(() => fitAxes()).observe(frame);
