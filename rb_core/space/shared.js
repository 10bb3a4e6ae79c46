// Functions for the scripts of several tabs, as window.rb. In the document's head, so it runs before them.
(() => {
window.rb = {
  // Every text from the data goes through this or through textContent.
  esc: (text) => String(text).replace(/[&<>"'`]/g, (c) => `&#${c.charCodeAt(0)};`),

  // Rounded to five digits first: 0.72349999 is 0.7235, so 72.4 and not 72.3.
  percent: (fraction) => (Math.round(fraction * 1e5) / 1e3).toFixed(1),

  plural: (n, noun) => `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}`,

  // Returns the test of a text by a search: each word occurs in it, in any order; a comma means or. Case, accents and
  // punctuation are ignored, and llama3 is Llama-3. A number is found at its beginning only: 3b does not find 13B.
  search(query) {
    const fold = (text) => text.normalize('NFKD').replace(/\p{M}+/gu, '').toLowerCase().replace(/[^\p{L}\p{N}]+/gu, ' ').trim();
    const pattern = (word) => new RegExp((/^\d/.test(word) ? '(?<!\\d)' : '') + word.replace(/(?<=\p{L})(?=\d)/gu, ' ?'), 'u');
    const alternatives = query.split(',').map((part) => part.split(/\s+/).map(fold).filter(Boolean).map(pattern));
    const wanted = alternatives.filter((patterns) => patterns.length);
    return (text) => {
      const folded = fold(text);
      return !wanted.length || wanted.some((patterns) => patterns.every((p) => p.test(folded)));
    };
  },

  // 8030261248 is 8B, as in models' names.
  size(n) {
    const [unit, factor] = [['T', 1e12], ['B', 1e9], ['M', 1e6], ['K', 1e3]].find(([, minimum]) => n >= minimum) || ['', 1];
    const v = n / factor;
    return `${v >= 9.95 ? Math.round(v) : Math.round(v * 10) / 10}${unit}`;
  },

  // The address of the current view, without the token that the hub gives a visitor of a private Space.
  address() {
    const url = new URL(location);
    url.searchParams.delete('__sign');
    return url;
  },

  // Names the view in the window's title, which the browser's history and bookmarks show. `tabs` comes from page.py.
  tabs: [],
  showTitle(url) {
    const parameters = url.searchParams, tab = window.rb.tabOf(url);
    const subject = tab?.subjects.map((name) => parameters.get(name)).filter(Boolean).join(' · ').replaceAll(',', ', ');
    document.title = [subject, tab?.label, 'RewardBench'].filter(Boolean).join(' · ');
  },
  tabOf: (url) => window.rb.tabs.find(({ id }) => id === url.searchParams.get('tab')) ?? window.rb.tabs[0],

  // Links of the page keep the theme that the address asks for.
  keepTheme() {
    const theme = new URLSearchParams(location.search).get('__theme');
    if (!theme) return;
    const keep = () => document.querySelectorAll('a[href^="?"]:not([href*="__theme="])').forEach((link) => {
      const url = new URL(link.getAttribute('href'), location.href);
      url.searchParams.set('__theme', theme);
      link.setAttribute('href', url.search + url.hash);
    });
    keep();
    new MutationObserver(keep).observe(document.body, { childList: true, subtree: true, attributeFilter: ['href'] });
  },

  // A cell of a CSV file. A spreadsheet runs one that begins with certain characters as a formula; an apostrophe makes
  // it text.
  csvText: (text) => (/[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text),
  csvCell: (v) => window.rb.csvText(typeof v === 'string' && /^[=+@\t\r-]/.test(v) ? "'" + v : String(v ?? '')),

  // Copies the text of an element and returns what to say; where the browser refuses, selects it for the visitor to copy.
  async copy(code, name = '') {
    const say = (words) => (name ? `${name} ${words}` : words[0].toUpperCase() + words.slice(1));
    try {
      await navigator.clipboard.writeText(code.textContent);
      return say('copied.');
    } catch {
      getSelection().selectAllChildren(code);
      return say('selected: copy it with your keyboard.');
    }
  },

  // Hands a file that the page has made to the browser's downloads.
  save(text, type, name) {
    const blobAddress = URL.createObjectURL(new Blob([text], { type }));
    Object.assign(document.createElement('a'), { href: blobAddress, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(blobAddress), 1000);
  },

  // Ids and titles of the boards, and the number of files left out, which the document brings.
  results: { boards: [], refused: 0 },

  // A board of the results, from its plain address; requested once.
  board(id) {
    boards[id] ??= fetch(`leaderboard.json?${new URLSearchParams({ benchmark: id })}`, { cache: 'no-cache' })
      .then((answer) => (answer.ok ? answer.json() : Promise.reject()))
      .catch(() => { delete boards[id]; return null; });
    return boards[id];
  },

  // True at the first call with a key.
  once: (key) => !done.has(key) && Boolean(done.add(key)),

  // ---- addresses. The query names the view (`tab`) and holds its choices. A view does three things:
  //   - it draws what the address asks for when it is first seen;
  //   - it calls `showAddress` after a change that it has drawn. A change that the visitor chose becomes an entry in the
  //     browser's history; one that follows from typing, or from no act of the visitor, takes the place of the last entry;
  //   - it calls `onAddress(ID, draw)` once. `draw` is called, without arguments, when Back, Forward or a link
  //     (`<a href="?tab=ID&...">`, anywhere on the page) leads to an address of this view. Without it, or if it returns
  //     false, such a step loads the page.
  showAddress(url) {
    if (url.href === location.href) return;
    history[act === 'choice' ? 'pushState' : 'replaceState'](null, '', url);
    act = null;
    announce(url);
  },
  // As showAddress, but once for changes that follow each other quickly, and before a link or another tab is opened.
  showAddressSoon(makeUrl) {
    clearTimeout(timer);
    waiting = { makeUrl, act };
    timer = setTimeout(showWaiting, 200);
  },
  seen: new Set(), // the ids of the views that gradio has drawn: it draws one when it is first opened
  onAddress(tab, draw) { listeners.set(tab, draw); },

  // Opens an address of this page without loading it again; returns false if its view cannot do that.
  follow(url) {
    const tab = window.rb.tabOf(url);
    if (!canOpen(tab?.id)) return false;
    showWaiting();
    act = null;
    if (url.href !== location.href) history.pushState(null, '', url);
    arrive();
    if (!url.hash) scrollTo(0, 0);
    return true;
  },
};

// Addresses of Examples and Which one? once called the board `benchmark`.
const old = new URL(location);
if (old.searchParams.has('benchmark')) {
  if (!old.searchParams.has('board')) old.searchParams.set('board', old.searchParams.get('benchmark'));
  old.searchParams.delete('benchmark');
  history.replaceState(null, '', old);
}

// Gradio would draw the first tab before that of the address.
const tabBar = window.gradio_config?.components.find(({ props }) => props.elem_id === 'rb-tabs');
const asked = new URLSearchParams(location.search).get('tab');
if (tabBar && window.gradio_config.components.some(({ type, props }) => type === 'tabitem' && props.id === asked)) tabBar.props.selected = asked;

const done = new Set(), boards = {};
let lastQuery = location.search;
let act = null; // what the visitor did last: 'choice', 'typing', or null if nothing since the address was written
let waiting = null, timer; // an address that is to be written, with what the visitor did
const listeners = new Map();
const canOpen = (tab) => tab !== undefined && (listeners.has(tab) || !window.rb.seen.has(tab));

function showWaiting() {
  if (!waiting) return;
  const { makeUrl } = waiting;
  clearTimeout(timer);
  act = waiting.act;
  waiting = null;
  window.rb.showAddress(makeUrl());
}

function announce(url) {
  lastQuery = url.search;
  window.rb.showTitle(url);
  // On the hub the page is in a frame: people copy the parent's address.
  if (window.parent !== window) window.parent.postMessage({ queryString: url.search.slice(1) }, 'https://huggingface.co');
}

// Draws the view of the address that the browser has come to.
function arrive() {
  const url = window.rb.address(), { id } = window.rb.tabOf(url);
  document.getElementById(`tab-${id}-button`)?.click();
  announce(url);
  act = null;
  if (listeners.get(id)?.() === false) location.reload();
}

['click', 'change', 'input', 'keydown'].forEach((type) => addEventListener(type, (event) => {
  if (!event.isTrusted || (type === 'keydown' && !['Enter', ' '].includes(event.key))) return;
  if (type === 'click' && event.target.closest?.('[role="tab"]')) showWaiting(); // the next view reads the address
  const writes = event.target.matches?.('textarea, input:not([type="checkbox"], [type="radio"])');
  const picked = type === 'input' && !event.inputType; // from a list of suggestions
  act = writes && !picked && (type === 'input' || event.key === ' ') ? 'typing' : 'choice';
}, true));

addEventListener('popstate', () => {
  // A place on the same view (`#...`) is the browser's own affair.
  const url = window.rb.address(), shown = url.search === lastQuery;
  lastQuery = url.search;
  if (shown) return;
  if (canOpen(window.rb.tabOf(url)?.id)) arrive();
  else location.reload();
});

addEventListener('click', (event) => {
  const link = event.target.closest?.('a[href^="?"]');
  if (!link || event.defaultPrevented || link.target || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  if (window.rb.follow(new URL(link.getAttribute('href'), location.href))) event.preventDefault();
});
})();
