// Scales, ticks, the places of marks and of labels: geometry without the document. Numbers
// are fractions, numbers of parameters or days; pixels are those of the drawing.
const DAY = 864e5;
const MARK = 10; // pixels: the least distance of two marks side by side
const MOST_SPREAD = 2.5; // marks to each side

// The number that an axis draws for a cell of its data.
const numberOf = (axis, cell) => (cell === null ? null : axis.kind === 'date' ? Date.parse(cell) / DAY : axis.kind === 'size' ? cell : cell[0]);
const spanOf = (axis, cell) => (Array.isArray(cell) && cell[1] !== null && cell[2] !== null ? cell.slice(1) : null);
const minus = (text) => text.replace('-', '−');
const valueText = (axis, cell) => (axis.kind === 'size' ? `${size(cell)} parameters` : axis.kind === 'date' ? cell
  : `${minus(percent(cell[0]))}${spanOf(axis, cell) ? `, 95% interval ${minus(percent(cell[1]))} to ${minus(percent(cell[2]))}` : ''}`);
const axisName = (axis) => axis.label + (axis.kind === 'size' ? ' (logarithmic)' : axis.kind === 'score' ? ' (%)' : axis.kind === 'trait' ? ' (points)' : '');

const STEPS = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
const range = (first, last, step) => Array.from({ length: Math.max(0, Math.floor((last - first) / step + 1e-9) + 1) }, (_, n) => first + n * step);

// Labelled numbers between two numbers of an axis.
function ticks(axis, low, high, most) {
  if (axis.kind === 'size') {
    const between = Math.log10(high / low) > 2.2 ? [1, 3] : [1, 2, 3, 5, 7];
    return range(Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)), 1).flatMap((e) => between.map((m) => m * 10 ** e))
      .filter((n) => n >= low && n <= high).map((n) => [n, size(n)]);
  }
  if (axis.kind === 'date') {
    const from = new Date(low * DAY), months = range(from.getUTCFullYear() * 12 + from.getUTCMonth(), high / 30.44 + 1970 * 12, 1);
    const every = [1, 3, 6, 12].find((n) => months.length / n <= most) ?? 12;
    return months.filter((m) => m % every === 0).map((m) => [Date.UTC(Math.floor(m / 12), m % 12) / DAY, `${Math.floor(m / 12)}-${String(m % 12 + 1).padStart(2, '0')}`])
      .filter(([day]) => day >= low && day <= high);
  }
  const step = STEPS.find((s) => (high - low) / s <= most) ?? 0.5, digits = step < 0.01 ? 1 : 0;
  return range(Math.ceil(low / step - 1e-9) * step, high, step).map((v) => [v, minus((100 * v).toFixed(digits).replace(/^-(0(\.0)?)$/, '$1'))]);
}

// A scale from the numbers drawn to pixels from `start` to `end`, with a margin for the marks at both ends.
function scale(axis, numbers, start, end) {
  const to = axis.kind === 'size' ? Math.log10 : (v) => v, back = axis.kind === 'size' ? (v) => 10 ** v : (v) => v;
  let [low, high] = [Math.min(...numbers.map(to)), Math.max(...numbers.map(to))];
  const margin = Math.max((high - low) * 0.05, { size: 0.08, date: 20 }[axis.kind] ?? 0.005);
  [low, high] = [low - margin, high + margin];
  if (axis.kind === 'score') high = Math.min(high, Math.max(1.004, high - margin)); // nothing lies far above 100%
  const at = (v) => start + (to(v) - low) / (high - low) * (end - start);
  return Object.assign(at, { low: back(low), high: back(high) });
}

// Moves marks sideways that would cover each other, for axes on which many models share a number. Changes x of the marks.
function spread(marks) {
  const placed = [];
  [...marks].sort((a, b) => a.y - b.y).forEach((mark) => {
    const offsets = range(0, MOST_SPREAD * 2, 1).map((n) => Math.ceil(n / 2) * (n % 2 ? 1 : -1) * MARK);
    const near = placed.filter((p) => Math.abs(p.y - mark.y) < MARK && Math.abs(p.x - mark.x) < MARK * 8);
    const free = offsets.find((dx) => near.every((p) => Math.hypot(p.x - mark.x - dx, p.y - mark.y) >= MARK - 1)) ?? 0;
    mark.x += free;
    placed.push(mark);
  });
}

// Places labels (x, y, text, width) beside their marks so that none touches another label, a mark, one of the
// lines (boxes) or the edge; returns those that have room.
function placeLabels(wanted, marks, lines, box) {
  const touches = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
  const taken = [...lines];
  // a name beside another mark would be read as that mark's
  const nearMark = (mark, b) => marks.some(({ x, y }) => {
    const room = x === mark.x && y === mark.y ? 6 : 18;
    return touches([x - room, y - 6, x + room, y + 6], b);
  });
  return wanted.flatMap((mark) => {
    const w = mark.width + 6, sides = [[-w - 6, -24], [-w - 10, -9], [-w / 2, -28], [6, -24], [10, -9], [-w / 2, 10], [6, 6], [-w - 6, 6]];
    const boxes = sides.map(([dx, dy]) => [mark.x + dx, mark.y + dy, mark.x + dx + w, mark.y + dy + 18]);
    const free = boxes.find((b) => b[0] >= box[0] && b[1] >= box[1] && b[2] <= box[2] && b[3] <= box[3] && !taken.some((t) => touches(t, b)) && !nearMark(mark, b));
    if (!free) return [];
    taken.push(free);
    return [{ ...mark, left: free[0] + 3, base: free[1] + 13 }];
  });
}

// The indices of the marks that no mark with a smaller or equal number across exceeds in the number up.
function front(across, up) {
  const order = across.map((_, i) => i).sort((a, b) => across[a] - across[b] || up[b] - up[a]);
  let best = -Infinity;
  return order.filter((i) => up[i] > best && ((best = up[i]), true));
}
