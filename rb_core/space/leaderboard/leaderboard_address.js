// The state in the address. Only this tab uses these names, except `board`, which tabs share; other names stay as they are.
const LISTS = { kinds: 'kinds', orgs: 'orgs', openness: 'openness', licences: 'licence', years: 'released', origins: 'origin', hide: 'hide', show: 'show',
  pins: 'pins', sweeps: 'sweep' };

function recall() {
  const parameters = new URLSearchParams(location.search);
  state.board = parameters.get('board');
  const sort = parameters.get('sort') || 'rank';
  state.down = sort.startsWith('-');
  state.sort = sort.replace(/^-/, '');
  state.view = parameters.get('view') ?? 'sections';
  Object.entries(LISTS).forEach(([name, key]) => { state[name] = new Set(parameters.getAll(key).filter(Boolean)); });
  query.value = parameters.get('q') || '';
  const [from, to] = (parameters.get('size') ?? '').split('-').map((v) => (v && Number(v) >= 0 ? Number(v) : null));
  state.size = { from: from ?? null, to: to ?? null, unknown: parameters.has('unsized') };
  // Chat:2 is a weight; a section's name may have a colon.
  state.weights = new Map(parameters.getAll('weight').map((pair) => [pair.slice(0, pair.lastIndexOf(':')), Number(pair.slice(pair.lastIndexOf(':') + 1))])
    .filter(([, weight]) => weight >= 0));
}

// The address of the current view. A list is a repeated name, because a section's name may contain any separator.
function address() {
  const url = window.rb.address(), { searchParams } = url;
  const set = (key, value) => (value ? searchParams.set(key, value) : searchParams.delete(key));
  set('board', board === props.value.boards[0] ? '' : board.id);
  set('q', query.value.trim());
  set('sort', state.sort === 'rank' && !state.down ? '' : (state.down ? '-' : '') + state.sort);
  set('view', state.view === 'sections' ? '' : state.view);
  set('size', hasSizeFilter() ? `${state.size.from ?? ''}-${state.size.to ?? ''}` : '');
  set('unsized', hasSizeFilter() && state.size.unknown ? '1' : '');
  searchParams.delete('weight');
  state.weights.forEach((weight, name) => searchParams.append('weight', `${name}:${weight}`));
  Object.entries(LISTS).forEach(([name, key]) => {
    searchParams.delete(key);
    state[name].forEach((value) => searchParams.append(key, value));
  });
  return url;
}

const remember = () => window.rb.showAddressSoon(address);
