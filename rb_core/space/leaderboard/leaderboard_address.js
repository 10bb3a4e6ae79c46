// The state in the address: every name is of this tab alone, but `board`, which tabs share. Others are left as they are.
const LISTS = { kinds: 'kinds', orgs: 'orgs', sizes: 'sizes', origins: 'origin', hide: 'hide', off: 'off', pins: 'pins' };

function recall() {
  const asked = new URLSearchParams(location.search);
  state.board = asked.get('board');
  const sort = asked.get('sort') || 'rank';
  state.down = sort.startsWith('-');
  state.sort = sort.replace(/^-/, '');
  state.view = asked.get('view') === 'subsets' ? 'subsets' : 'sections';
  Object.entries(LISTS).forEach(([name, key]) => { state[name] = new Set(asked.getAll(key).filter(Boolean)); });
  query.value = asked.get('q') || '';
}

// The address of what is shown. A list is a name that is repeated, since a section may be called anything.
function address() {
  const url = new URL(location), { searchParams } = url;
  const set = (key, value) => (value ? searchParams.set(key, value) : searchParams.delete(key));
  set('board', board === props.value.boards[0] ? '' : board.id);
  set('q', query.value.trim());
  set('sort', state.sort === 'rank' && !state.down ? '' : (state.down ? '-' : '') + state.sort);
  set('view', state.view === 'subsets' ? 'subsets' : '');
  Object.entries(LISTS).forEach(([name, key]) => {
    searchParams.delete(key);
    state[name].forEach((each) => searchParams.append(key, each));
  });
  return url;
}

let timer;
function remember() {
  clearTimeout(timer);
  timer = setTimeout(() => window.rb.showAddress(address()), 200);
}
