// Runs when the page has loaded, with the tabs; returns the tab to open: the one in the address, or the first.
// From then on the address follows the tab, and arrow keys move along the bar.
(tabs) => {
  // The page's rules come after gradio's, which were loaded meanwhile.
  document.head.append(document.getElementById('rb-style'));
  const ids = tabs.map(({ id }) => id);
  window.rb.tabs = tabs;
  const bar = document.querySelector('#rb-tabs [role="tablist"]');
  const panel = (id) => document.getElementById(`tab-${id}`);

  // Gradio names neither the panel nor a place for the skip link to lead to.
  const namePanel = (id) => {
    window.rb.seen.add(id);
    panel(id)?.setAttribute('aria-labelledby', `tab-${id}-button`);
    panel(id)?.setAttribute('tabindex', '-1');
    const button = document.getElementById(`tab-${id}-button`);
    if (button) bar.scrollTo({ left: button.offsetLeft - bar.offsetLeft - (bar.clientWidth - button.offsetWidth) / 2 });
  };
  document.addEventListener('click', (event) => {
    if (!event.target.closest('.rb-skip')) return;
    event.preventDefault();
    [...document.querySelectorAll('#rb-tabs > [role="tabpanel"]')].find((shown) => shown.offsetParent)?.focus();
  });

  window.rbTabSelected = (id) => {
    namePanel(id);
    const url = window.rb.address();
    // Gradio also calls this when it draws the first tab, and after a step to the tab's address.
    if (window.rb.tabOf(url).id === id) return;
    url.searchParams.set('tab', id);
    window.rb.showAddress(url);
  };

  bar.setAttribute('aria-label', 'Sections of this page');
  bar.addEventListener('keydown', (event) => {
    const buttons = [...bar.querySelectorAll('[role="tab"]')];
    const current = buttons.indexOf(event.target);
    const next = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (current < 0 || next === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    buttons.at(next % buttons.length).focus();
  });

  // Gradio's <base> turns every `#place` into another address, which would reload the page.
  document.getElementById('rb-tabs').addEventListener('click', (event) => {
    const link = event.target.closest('a[href]');
    if (!link?.hash || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (!document.getElementById(decodeURIComponent(link.hash.slice(1)))?.offsetParent) return;
    event.preventDefault();
    location.hash = link.hash;
  });

  ['about', 'add'].forEach((id) => window.rb.onAddress(id, () => {}));
  // A pair in the address is read by the server when the page loads.
  window.rb.onAddress('try', () => !new URL(location).searchParams.has('pair'));
  window.rb.keepTheme();
  window.rb.showTitle(new URL(location));

  const requested = new URLSearchParams(location.search).get('tab');
  const selected = ids.includes(requested) ? requested : ids[0];

  // The target of the address's hash exists only after its tab has been drawn.
  const { hash } = location;
  const scrollToHash = (frames) => {
    const target = hash.length > 1 && document.getElementById(decodeURIComponent(hash.slice(1)));
    namePanel(selected);
    if (target && target.offsetParent) target.scrollIntoView();
    else if (frames > 0) requestAnimationFrame(() => scrollToHash(frames - 1));
  };
  scrollToHash(hash.length > 1 ? 300 : 2);

  return { __type__: 'update', selected };
}
