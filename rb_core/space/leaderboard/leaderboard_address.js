// The state in the address, whose `board` and filters other tabs share; names that only they use stay as they are.
const LISTS = { hide: 'hide', show: 'show', pins: 'pins', sweeps: 'sweep' };

function recall() {
  const parameters = new URLSearchParams(location.search);
  state.board = parameters.get('board');
  const sort = parameters.get('sort') || 'rank';
  state.down = sort.startsWith('-');
  state.sort = sort.replace(/^-/, '');
  state.view = parameters.get('view') ?? 'sections';
  Object.entries(LISTS).forEach(([name, key]) => { state[name] = new Set(parameters.getAll(key).filter(Boolean)); });
  recallFilters(parameters);
  // Chat:2 is a weight; a section's name may have a colon.
  state.weights = new Map(parameters.getAll('weight').map((pair) => [pair.slice(0, pair.lastIndexOf(':')), Number(pair.slice(pair.lastIndexOf(':') + 1))])
    .filter(([, weight]) => weight >= 0));
}

// The address of the current view. A list is a repeated name, because a section's name may contain any separator.
function address() {
  const url = window.rb.address(), { searchParams } = url;
  const set = (key, value) => (value ? searchParams.set(key, value) : searchParams.delete(key));
  set('board', board.id === window.rb.results.boards[0].id ? '' : board.id);
  set('sort', state.sort === 'rank' && !state.down ? '' : (state.down ? '-' : '') + state.sort);
  set('view', state.view === 'sections' ? '' : state.view);
  writeFilters(searchParams);
  searchParams.delete('weight');
  state.weights.forEach((weight, name) => searchParams.append('weight', `${name}:${weight}`));
  Object.entries(LISTS).forEach(([name, key]) => {
    searchParams.delete(key);
    state[name].forEach((value) => searchParams.append(key, value));
  });
  return url;
}

// While another tab is open, the address is that tab's.
const isOpen = () => (window.rb.address().searchParams.get('tab') ?? 'leaderboard') === 'leaderboard';
const remember = () => { if (isOpen()) window.rb.showAddressSoon(address); };
const choices = (url) => [...url.searchParams].filter(([name]) => name !== 'tab').map(String).sort().join('&');
