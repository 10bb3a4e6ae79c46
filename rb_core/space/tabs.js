// Run when the page has loaded, with the ids of its tabs, the first of which opens where the address names none.
// Gives gradio the tab to open. From then on the address follows the tab, and arrow keys walk along the bar.
(ids) => {
  const bar = document.querySelector('#rb-tabs [role="tablist"]');
  const panel = (id) => document.getElementById(`tab-${id}`);

  window.rbTabSelected = (id) => {
    panel(id)?.setAttribute('aria-labelledby', `tab-${id}-button`);
    const url = new URL(location);
    // Gradio calls this for the first tab too when it is drawn: an address that says nothing stays as it is.
    if ((url.searchParams.get('tab') ?? ids[0]) === id) return;
    url.searchParams.set('tab', id);
    window.rb.showAddress(url);
  };

  bar.setAttribute('aria-label', 'Sections of this page');
  bar.addEventListener('keydown', (event) => {
    const all = [...bar.querySelectorAll('[role="tab"]')];
    const here = all.indexOf(event.target);
    const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: all.length - 1 }[event.key];
    if (here < 0 || to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    all.at(to % all.length).focus();
  });

  // Gradio's <base> makes of every `#place` another address, which would load the page again.
  document.getElementById('rb-tabs').addEventListener('click', (event) => {
    const link = event.target.closest('a[href]');
    if (!link?.hash || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (!document.getElementById(decodeURIComponent(link.hash.slice(1)))?.offsetParent) return;
    event.preventDefault();
    location.hash = link.hash;
  });

  const asked = new URLSearchParams(location.search).get('tab');
  const selected = ids.includes(asked) ? asked : ids[0];

  // What the address points at inside of a tab stands there only once the tab is drawn.
  const { hash } = location;
  const goThere = (frames) => {
    const target = hash.length > 1 && document.getElementById(decodeURIComponent(hash.slice(1)));
    panel(selected)?.setAttribute('aria-labelledby', `tab-${selected}-button`);
    if (target && target.offsetParent) target.scrollIntoView();
    else if (frames > 0) requestAnimationFrame(() => goThere(frames - 1));
  };
  goThere(hash.length > 1 ? 300 : 2);

  return { __type__: 'update', selected };
}
