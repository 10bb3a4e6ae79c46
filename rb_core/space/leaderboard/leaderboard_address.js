// The state in the address. Only this tab uses these names, except `board`, which tabs share; other names stay as they are.
const LISTS = { kinds: 'kinds', orgs: 'orgs', sizes: 'sizes', origins: 'origin', hide: 'hide', show: 'show', off: 'off', pins: 'pins', sweeps: 'sweep' };

function recall() {
  const parameters = new URLSearchParams(location.search);
  state.board = parameters.get('board');
  const sort = parameters.get('sort') || 'rank';
  state.down = sort.startsWith('-');
  state.sort = sort.replace(/^-/, '');
  state.view = parameters.get('view') ?? 'sections';
  Object.entries(LISTS).forEach(([name, key]) => { state[name] = new Set(parameters.getAll(key).filter(Boolean)); });
  query.value = parameters.get('q') || '';
}

// The address of the current view. A list is a repeated name, because a section's name may contain any separator.
function address() {
  const url = window.rb.address(), { searchParams } = url;
  const set = (key, value) => (value ? searchParams.set(key, value) : searchParams.delete(key));
  set('board', board === props.value.boards[0] ? '' : board.id);
  set('q', query.value.trim());
  set('sort', state.sort === 'rank' && !state.down ? '' : (state.down ? '-' : '') + state.sort);
  set('view', state.view === 'sections' ? '' : state.view);
  Object.entries(LISTS).forEach(([name, key]) => {
    searchParams.delete(key);
    state[name].forEach((value) => searchParams.append(key, value));
  });
  return url;
}

let timer;
function remember() {
  clearTimeout(timer);
  timer = setTimeout(() => window.rb.showAddress(address()), 200);
}
