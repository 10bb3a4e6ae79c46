// Events, downloads, copying, and the start. The last of the scripts.
function drawNotes() {
  const sources = board.sources.length ? `Published results from ${board.sources.map(esc).join(' and ')}. ` : '';
  const newest = board.newest ? `Newest result: <time datetime="${esc(board.newest)}">${esc(board.newest)}</time>. ` : '';
  const { refused: count } = window.rb.results;
  const refused = count ? `<p class="rb-refused">${plural(count, 'result file')} could not be read and ${count === 1 ? 'is' : 'are'} left out.</p>` : '';
  const cite = board.citation
    ? `<blockquote class="rb-cite"><cite>${esc(board.citation)}</cite></blockquote><button type="button" class="rb-copy rb-quiet">Copy citation</button>` : '';
  const facts = [['Source', sources + newest], ['Licence', board.licence ? esc(board.licence) : ''], ['Cite as', cite]];
  const against = baseline ? `<p>The dashed line is the best baseline, ${esc(baseline.model)} (${percent(score(baseline))}), which reads no meaning.
    <em>≤ baseline</em>: the model does not beat it. <em>≈ baseline</em>: the model's interval reaches down to it.</p>` : '';
  const judges = place.consistency ? `<p>Choose only the kind <em>Generative</em> to see how often each judge gives the same verdict when the
    completions change places. A judge with a low value prefers a position.</p>` : '';
  const detectable = isCustom() ? answered()?.detectable_text : board.detectable_text;
  const unscored = hasUnscored() ? `<p>Unscored examples count as failed in the <em>rank</em>, so that a model gains nothing by leaving
    them out; the score is the mean of the others. <em>Bounds</em>: the score if all of them had failed, and if all had passed.</p>` : '';
  find('.rb-notes').innerHTML = `<div class="rb-reading"><h3>How to read this</h3>
    <p>Scores are percentages. The bar beside a score is its 95% interval: how far the score could move with other prompts of the
    same kind. <strong>Close ranks may be noise.</strong> The <em>rank interval</em> “2–9” means that this model may stand anywhere
    from second to ninth. Models of one <em>tier</em> cannot be told apart from its first; those of tier 1, from the best. All rank
    intervals of a table hold together with 95% confidence. They compare models on the examples that both scored. <em>~</em>: outcomes
    of single examples are unknown, so the rank interval comes from the models’ intervals alone, which finds fewer differences.
    ${esc(detectable ?? '')}</p>${unscored}${against}${judges}
    <p>Darker cells are higher within their column; the best is bold; – means not evaluated. Pinned rows stay on top in any order
    and with any filter.</p></div>
    <div><h3>About this table</h3><dl>${facts.filter(([, v]) => v).map(([k, v]) => `<dt>${k}</dt><dd>${v}</dd>`).join('')}</dl>${refused}</div>`;
}

function drawChance() {
  const known = [place.headline, ...sections()].filter((c) => chance(c) !== null);
  const line = find('.rb-chance');
  line.hidden = !known.length;
  line.textContent = `Expected of random choice: ${known.map((c) => `${fileLabel(c)} ${percent(chance(c))}`).join(', ')}.`;
}

const PARTS = '.rb-boards, .rb-bar, .rb-more, .rb-tally, .rb-scroll';

function drawEmpty() {
  Object.assign(find('h2'), { className: 'rb-title', textContent: 'No results yet' });
  find('.rb-lead').innerHTML = 'Score a benchmark with <code>python -m rb_core evaluate --model builtin/tiny-rm --benchmark starter</code>'
    + ' and open this page again.';
  const { refused } = window.rb.results;
  if (refused) find('.rb-lead').append(` (${plural(refused, 'result file')} could not be read.)`);
}

const showParts = (shown) => element.querySelectorAll(PARTS).forEach((part) => { part.hidden = !shown; });

async function start() {
  const { boards } = window.rb.results, { id } = boards.find((b) => b.id === state.board) ?? boards[0] ?? {};
  if (!id) { drawEmpty(); return; }
  state.board = id;
  const answer = await window.rb.board(id);
  if (state.board !== id) return; // the visitor has chosen another one meanwhile
  if (!answer) {
    Object.assign(find('h2'), { className: 'rb-title', textContent: 'The server did not answer. Reload the page.' });
    return;
  }
  board = answer;
  prepare();
  showParts(true);
  drawControls();
  redraw();
  requestRanking();
}

// Draws everything that depends on the score.
function redraw() {
  rescore();
  drawCustom();
  build();
  drawNotes();
  drawChance();
}

// ---- sorting, pinning, filtering

let quiet;
function say(text) {
  find('.rb-said').textContent = text;
  clearTimeout(quiet);
  quiet = setTimeout(() => { find('.rb-said').textContent = ''; }, 6000);
}

thead.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  const { key } = button.dataset;
  const column = columns.find((c) => c.key === key);
  state.down = key === state.sort ? !state.down : column.score || NUMBERS.includes(column.role);
  state.sort = key;
  drawHead();
  drawFromTop();
  thead.querySelector(`[data-key="${CSS.escape(key)}"]`).focus({ preventScroll: true });
});

find('table').addEventListener('click', (event) => {
  const button = event.target.closest('.rb-pin');
  if (!button) return;
  const r = rows.find((row) => row.element?.contains(button)), pinned = !state.pins.has(r.model);
  if (pinned) state.pins.add(r.model); else state.pins.delete(r.model);
  button.setAttribute('aria-pressed', String(pinned));
  draw();
  if (button.isConnected) button.focus({ preventScroll: true });
  else find('.rb-scroll').focus({ preventScroll: true }); // unpinned and filtered out
  say(pinned ? `${r.model} is pinned on top` : `${r.model} is no longer pinned`);
});

find('.rb-sweeps').addEventListener('click', (event) => {
  const button = event.target.closest('.rb-sweep');
  if (!button) return;
  toggle('sweeps', button.dataset.sweep, button.getAttribute('aria-expanded') === 'false');
  draw();
  find(`[data-sweep="${CSS.escape(button.dataset.sweep)}"]`)?.focus({ preventScroll: true });
});

function setWeights() {
  redraw();
  ['weights', 'columns'].forEach(redrawMenu);
  requestRanking();
}

// Draws the rows that pass the filters, with their ranks among themselves.
function filterRows() {
  rerank();
  if (place.consistency) build(); else drawFromTop();
  requestRanking();
}

const CHANGES = {
  'rb-board': (value) => {
    state.board = value;
    state.weights.clear(); // another benchmark's sections may have the same names
    start().then(() => { if (document.activeElement === document.body) find('[name="rb-board"]:checked')?.focus(); });
  },
  'rb-view': (value) => { state.view = value; redrawMenu('columns'); build(); },
  'rb-columns': (value, checked) => {
    const asked = onRequest(columns.find((c) => c.key === value));
    toggle(asked ? 'show' : 'hide', value, asked === checked);
    redrawMenu('columns');
    build();
  },
};
element.addEventListener('change', ({ target }) => CHANGES[target.name]?.(target.value, target.checked));
query.addEventListener('input', drawFromTop);
element.addEventListener('input', ({ target }) => {
  if (target.dataset.weight) { readWeight(target); setWeights(); }
});

element.addEventListener('click', (event) => {
  if (!event.target.closest('.rb-official, .rb-even')) return;
  const off = event.target.closest('.rb-even') ? uneven().map((c) => [c.label, 0]) : [];
  state.weights = new Map(off);
  showWeights();
  setWeights();
  find('[data-menu="weights"] .rb-open').focus();
});
element.addEventListener('keydown', ({ key }) => {
  if (key !== 'Escape') return;
  hideTip();
  hideCard();
});

// ---- downloads and copying

function save(text, type, name, message) {
  window.rb.save(text, type, name);
  say(message);
}

// The shown rows in their order, and all columns except hidden ones; the bounds are those named floor and ceiling.
function downloadContent() {
  const { pinned, rest } = chosenRows();
  return { rows: [...pinned, ...rest], columns: columns.filter((c) => !state.hide.has(c.key) && c.role !== 'bounds') };
}

find('.rb-csv').addEventListener('click', () => {
  const { rows: shown, columns: kept } = downloadContent();
  const name = (c) => (c.role === 'subset' && c.parent ? `${c.parent} / ${c.label}` : fileLabel(c));
  const value = (r, c) => (c.role === 'range' ? (r.range ? r.range.slice(0, 2).join(' to ') : '') : r.cells[c.i]);
  const lines = [kept.map((c) => window.rb.csvCell(name(c))), ...shown.map((r) => kept.map((c) => window.rb.csvCell(value(r, c))))];
  save(lines.map((l) => l.join(',')).join('\r\n') + '\r\n', 'text/csv', `${board.id}.csv`, `${plural(shown.length, 'row')} saved as CSV`);
});

find('.rb-json').addEventListener('click', () => {
  const { rows: shown, columns: kept } = downloadContent();
  const range = (r) => (r.range ? { best: r.range[0], worst: r.range[1], from: r.range[2] ?? 'intervals' } : null);
  const content = {
    board: board.id, title: board.title, url: board.url, licence: board.licence, citation: board.citation, sources: board.sources,
    newest: board.newest, address: address().href, score: isCustom() ? { custom: true, sections: counted().map((c) => c.label) } : { custom: false },
    columns: kept.map((c) => ({ key: c.key, label: fileLabel(c), role: c.role, parent: c.parent ?? null, count: c.count ?? null, weight: c.weight ?? null, random_choice: chance(c) })),
    rows: shown.map((r) => Object.fromEntries(kept.map((c) => [c.key, c.role === 'range' ? range(r) : r.cells[c.i]]))),
  };
  save(JSON.stringify(content, null, 1) + '\n', 'application/json', `${board.id}.json`, `${plural(shown.length, 'row')} saved as JSON`);
});

// A frame may have no access to the clipboard: then the browser's older command is tried, and finally the text is shown.
async function copyText(text, name) {
  const written = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  say(written || copyBySelection(text) ? `${name} copied` : `This browser does not let the page copy. ${name}: ${text}`);
}

function copyBySelection(text) {
  const focused = document.activeElement;
  const field = Object.assign(document.createElement('textarea'), { value: text, className: 'rb-hidden' });
  element.append(field);
  field.select();
  const done = document.execCommand('copy');
  field.remove();
  focused?.focus();
  return done;
}
find('.rb-link').addEventListener('click', () => copyText(address().href, 'Link'));
find('.rb-notes').addEventListener('click', (event) => {
  if (event.target.closest('.rb-copy')) copyText([board.citation, board.url].filter(Boolean).join('\n'), 'Citation');
});

// ---- a column's description, for mouse and keyboard

function showTip(event) {
  const button = event.target.closest?.('[data-tip]');
  if (!button) return;
  tip.textContent = button.dataset.tip;
  tip.hidden = false;
  button.setAttribute('aria-describedby', tip.id);
  placeTip(button);
}
function placeTip(button) {
  const at = button.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${at.bottom + 6}px`;
}
function hideTip() {
  tip.hidden = true;
  thead.querySelector('[aria-describedby]')?.removeAttribute('aria-describedby');
}
for (const [on, off] of [['mouseover', 'mouseout'], ['focusin', 'focusout']]) {
  thead.addEventListener(on, showTip);
  thead.addEventListener(off, hideTip);
}
// Focusing a header outside the view scrolls the table: its description moves with it.
find('.rb-scroll').addEventListener('scroll', () => {
  const described = !tip.hidden && thead.querySelector('[aria-describedby]');
  if (described && described === document.activeElement) placeTip(described); else hideTip();
});
[compact, narrow].forEach((media) => media.addEventListener('change', () => { if (board) build(); }));

showParts(false);
recall();
start();
window.rb.onAddress('leaderboard', () => { recall(); start(); });
// Another tab may have changed the benchmark or a filter.
new IntersectionObserver((entries) => {
  if (board && isOpen() && entries.at(-1).isIntersecting && choices(address()) !== choices(window.rb.address())) { recall(); start(); }
}).observe(find('.rb-board'));
