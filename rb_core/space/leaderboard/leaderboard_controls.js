// The controls around the table beside filters.js: switches, weights and columns.
Object.assign(MENUS, {
  weights: { title: 'Weights', items: () => [], panel: weightsPanel, there: canRescore, chosen: () => '', active: isCustom },
  columns: { title: 'Columns', items: columnItems, chosen: () => (state.hide.size ? `${state.hide.size} hidden` : ''),
    active: () => state.hide.size + state.show.size > 0 },
});

function columnItems() {
  const subsets = state.view === 'subsets' ? grouped().filter((c) => c.role === 'subset') : [];
  const heads = ['tier', 'range', 'headline', 'bounds', 'coverage', 'kind', 'parameters', 'organisation', 'fact', 'section', 'trait', 'consistency', 'status'];
  const fixed = heads.flatMap((role) => withRole(role).filter(canHide));
  return [...fixed, ...subsets].map((c) => ({ value: c.key, text: label(c), checked: isShown(c), group: c.group ? `Subsets: ${c.group}` : '' }));
}

function segment(name, value, text, checked) {
  return `<label><input type="radio" name="${name}" value="${esc(value)}"${checked ? ' checked' : ''}><span>${esc(text)}</span></label>`;
}

function drawControls() {
  find('.rb-boards').innerHTML = '<legend class="rb-hidden">Benchmark</legend>'
    + window.rb.results.boards.map((b) => segment('rb-board', b.id, b.title, b.id === board.id)).join('');
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
