// Shows one model's page, which the server renders. Gradio provides: element, server. Names go through textContent.
const find = (selector) => element.querySelector(selector);
const name = find('.rb-model-name'), status = find('.rb-model-status'), body = find('.rb-model-body');
let shown = null, names, lastRequest = 0;

async function show(model) {
  const request = ++lastRequest;
  status.classList.remove('rb-hidden');
  status.textContent = `Loading ${model} …`;
  try {
    const answer = await server.model_html(model);
    if (request !== lastRequest) return; // the visitor has chosen another model meanwhile
    shown = answer.known ? answer.model : null;
    if (answer.known && answer.model !== model) remember(answer.model); // asked for by another of its names
    body.innerHTML = answer.html; // rendered by the server, where every text is escaped
    writeBadges(answer.model);
    status.textContent = answer.message;
    status.classList.toggle('rb-hidden', answer.known); // for the eye the page itself says it
    name.value = shown ?? model;
  } catch (error) {
    if (request !== lastRequest) return;
    shown = null;
    body.replaceChildren();
    status.textContent = `This model could not be loaded (${error?.message || error}). Press Show to try again.`;
  }
}

// The Markdown of each badge, with absolute addresses. `src` is absolute when it is read.
function writeBadges(model) {
  const page = new URL(`?${new URLSearchParams({ tab: 'model', model })}`, location.href).href;
  body.querySelectorAll('.rb-badge').forEach((image) => {
    const code = image.closest('.rb-command').querySelector('code');
    code.textContent = `[![${image.alt.replace(/[\\[\]]/g, '\\$&')}](${image.src})](${page})`;
  });
}

function remember(model) {
  const url = window.rb.address();
  url.searchParams.set('model', model);
  window.rb.showAddress(url);
}

function choose(model) {
  if (!model || model === shown) return;
  remember(model);
  show(model);
}

async function onVisible() {
  const model = new URLSearchParams(location.search).get('model');
  if (model && model !== shown) show(model);
  if (names) return;
  try {
    names = await server.model_list('');
    find('#rb-model-names').replaceChildren(...names.map((value) => Object.assign(document.createElement('option'), { value })));
    if (!model) status.textContent = names.length ? `${names.length.toLocaleString('en')} models. Type part of a name.` : 'There are no results yet.';
  } catch (error) {
    names = undefined;
    if (!model) status.textContent = `The list of models could not be loaded (${error?.message || error}).`;
  }
}

find('.rb-model-form').addEventListener('submit', (event) => { event.preventDefault(); choose(name.value.trim()); });
// A name that is picked from the list or typed in full needs no button.
name.addEventListener('input', () => { if (names?.includes(name.value)) choose(name.value); });
// Compare with another model: the address of a comparison, opened as any link of the page.
body.addEventListener('submit', (event) => event.preventDefault());
body.addEventListener('input', ({ target }) => {
  if (!target.dataset.board || !names?.includes(target.value) || target.value === shown) return;
  const href = `?${new URLSearchParams({ tab: 'compare', board: target.dataset.board, models: `${shown},${target.value}` })}`;
  const link = Object.assign(document.createElement('a'), { href, hidden: true });
  body.append(link);
  link.click();
});
body.addEventListener('click', async ({ target }) => {
  const benchmark = target.dataset.history;
  if (!benchmark) return;
  target.disabled = true;
  try {
    target.nextElementSibling?.remove();
    const versions = document.createElement('div');
    versions.setAttribute('role', 'status');
    versions.innerHTML = await server.history_html([benchmark, shown]); // escaped by the server
    target.after(versions);
  } finally {
    target.disabled = false;
  }
});
body.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  status.textContent = await window.rb.copy(button.parentElement.querySelector('code'), button.dataset.copy);
  status.classList.remove('rb-hidden');
});

window.rb.onAddress('model', onVisible);
new IntersectionObserver((entries) => { if (entries.at(-1).isIntersecting) onVisible(); }).observe(find('.rb-model-page'));
