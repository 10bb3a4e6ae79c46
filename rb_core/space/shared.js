// What the scripts of several tabs use, as window.rb. In the document's head, so that it is there before any of them.
window.rb = {
  // Every text of the data goes through this, or through textContent.
  esc: (text) => String(text).replace(/[&<>"'`]/g, (c) => `&#${c.charCodeAt(0)};`),

  // Rounded to what is sent first: 0.72349999 is 0.7235, and so 72.4 rather than 72.3.
  percent: (fraction) => (Math.round(fraction * 1e5) / 1e3).toFixed(1),

  plural: (n, one) => `${n.toLocaleString('en')} ${one}${n === 1 ? '' : 's'}`,

  // 8030261248 is 8B: as people name models.
  size(n) {
    const [unit, by] = [['T', 1e12], ['B', 1e9], ['M', 1e6], ['K', 1e3]].find(([, least]) => n >= least) || ['', 1];
    const v = n / by;
    return `${v >= 9.95 ? Math.round(v) : Math.round(v * 10) / 10}${unit}`;
  },

  // Puts what is shown into the address, without a step in the browser's history.
  showAddress(url) {
    history.replaceState(history.state, '', url);
    // On the hub the page is a frame: the address that people copy is the parent's.
    if (window.parent !== window) window.parent.postMessage({ queryString: url.search.slice(1) }, 'https://huggingface.co');
  },
};
