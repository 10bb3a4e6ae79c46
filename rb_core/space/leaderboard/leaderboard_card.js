// A card with what is known of a row's model: beside its name for a mouse or the focus, at the bottom after a tap. It
// repeats what the row and the model's page say, so screen readers are spared it.
const card = find('.rb-card');
const WAIT = 250; // ms, so that a mouse on its way opens nothing
let cardRow = null, cardTimer;

const rowOf = (target) => rows.find((r) => r.element && r.element === target.closest?.('.rb-scroll tbody tr'));

function cardLines(r) {
  const parameters = place.parameters ? r.cells[place.parameters.i] : null;
  const known = [r.org === NO_ORGANISATION ? null : r.org, r.kind, parameters === null ? 'size not known' : `${size(parameters)} parameters`,
    r.openness === NOT_KNOWN ? null : r.openness.toLowerCase(), `licence ${r.licence}`, factOf(r, 'released') && `released ${factOf(r, 'released')}`,
    factOf(r, 'base_model') && `from ${factOf(r, 'base_model')}`];
  const v = score(r), [low, high] = [place.low, place.high].map((c) => r.cells[c.i]);
  const rank = r.cells[place.rank.i], span = r.range && (r.range[0] === r.range[1] ? `number ${r.range[0]}` : `anywhere from ${r.range[0]} to ${r.range[1]}`);
  const among = isFiltered() ? ' of those shown' : '';
  return [known.filter(Boolean).join(' · '),
    v === null ? 'No score' : `Score ${percent(v)}${low === null || high === null ? '' : `, 95% interval ${percent(low)} to ${percent(high)}`}`,
    rank === null ? 'Not ranked' : `Rank ${rank}${among}${span ? `; by the data ${span}` : ''}`];
}

const factOf = (r, key) => r.cells[columns.find((c) => c.key === key).i];

// Score in a section, and its rank among all models with one.
function cardSection(r, column) {
  const v = r.cells[column.i], others = rows.map((other) => other.cells[column.i]).filter((other) => other !== null);
  if (v === null) return `<tr><th>${esc(column.label)}</th><td>–</td><td>not evaluated</td></tr>`;
  return `<tr><th>${esc(column.label)}</th><td>${percent(v)}</td><td>${others.filter((other) => other > v).length + 1} of ${others.length}</td></tr>`;
}

function cardTrait(r, column) {
  const { value, low, reason, high } = r.traits[column.key];
  if (value === null) return `<tr><th>${esc(column.label)}</th><td>–</td><td>${esc(reason)}</td></tr>`;
  return `<tr><th>${esc(column.label)}</th><td>${signed(column, value)}</td><td>${low === null ? '' : `${percent(low)} to ${percent(high)}`.replaceAll('-', '−')}</td></tr>`;
}

function showCard(r, anchor) {
  cardRow = r;
  const body = [...sections().map((c) => cardSection(r, c)), ...withRole('trait').map((c) => cardTrait(r, c))];
  card.innerHTML = `<strong>${esc(r.model)}</strong>${cardLines(r).map((line) => `<p>${esc(line)}</p>`).join('')}<table><tbody>${body.join('')}</tbody></table>`;
  card.hidden = false;
  card.classList.toggle('rb-sheet-card', !anchor);
  if (!anchor) return;
  const at = anchor.getBoundingClientRect(), below = at.bottom + 4, fits = below + card.offsetHeight < innerHeight;
  card.style.left = `${Math.max(8, Math.min(at.left + 24, innerWidth - card.offsetWidth - 8))}px`;
  card.style.top = `${fits ? below : Math.max(8, at.top - card.offsetHeight - 4)}px`;
}

function hideCard() {
  clearTimeout(cardTimer);
  cardRow = null;
  card.hidden = true;
}

const later = (act) => { clearTimeout(cardTimer); cardTimer = setTimeout(act, WAIT); };

find('table').addEventListener('pointerover', (event) => {
  if (event.pointerType !== 'mouse') return;
  const name = event.target.closest('tbody .rb-model'), r = name && rowOf(name);
  if (r && r !== cardRow) later(() => showCard(r, name));
  else if (!r && cardRow) later(hideCard);
  else if (!r) clearTimeout(cardTimer);
});
find('table').addEventListener('pointerleave', () => later(hideCard));
card.addEventListener('pointerenter', () => clearTimeout(cardTimer));
card.addEventListener('pointerleave', () => later(hideCard));
find('table').addEventListener('focusin', ({ target }) => {
  const name = target.matches(':focus-visible') && target.closest('tbody .rb-model');
  if (name) showCard(rowOf(name), name); else hideCard();
});
find('table').addEventListener('focusout', hideCard);
frame.addEventListener('scroll', hideCard, { passive: true });
// A tap beside the links of a row opens its card, and a tap anywhere else closes it.
document.addEventListener('click', (event) => {
  if (!narrow.matches) return;
  const r = event.target.closest?.('.rb-scroll tbody') && !event.target.closest('a, button') ? rowOf(event.target) : null;
  if (r && r !== cardRow) showCard(r, null); else hideCard();
});
