// Functions for the scripts of several tabs, as window.rb. In the document's head, so it runs before them.
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

  // Names the view in the window's title, which the browser's history and bookmarks show.
  showTitle(url) {
    const parameters = url.searchParams, tab = parameters.get('tab') ?? 'leaderboard';
    const label = document.getElementById(`tab-${tab}-button`)?.textContent.trim();
    const subject = parameters.get({ model: 'model', compare: 'models', plot: 'models', questions: 'question' }[tab] ?? 'board');
    document.title = [subject?.replaceAll(',', ', '), label, 'RewardBench'].filter(Boolean).join(' · ');
  },

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

  // Hands a file that the page has made to the browser's downloads.
  save(text, type, name) {
    const blobAddress = URL.createObjectURL(new Blob([text], { type }));
    Object.assign(document.createElement('a'), { href: blobAddress, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(blobAddress), 1000);
  },

  // Writes the current view to the address, without an entry in the browser's history.
  showAddress(url) {
    window.rb.showTitle(url);
    history.replaceState(history.state, '', url);
    // On the hub the page is in a frame: people copy the parent's address.
    if (window.parent !== window) window.parent.postMessage({ queryString: url.search.slice(1) }, 'https://huggingface.co');
  },
};
