// Shows the page of one model, which the server writes. Gradio gives: element, server. Names go in by textContent.
const find = (selector) => element.querySelector(selector);
const name = find('.rb-model-name'), status = find('.rb-model-status'), body = find('.rb-model-body');
let shown = null, names, asked = 0;

async function show(model) {
  const mine = ++asked;
  status.textContent = `Looking for ${model}.`;
  try {
    const found = await server.model_html(model);
    if (mine !== asked) return; // another one was asked for meanwhile
    shown = found.known ? model : null;
    body.innerHTML = found.html; // written by the server, where every text is escaped
    status.textContent = found.message;
    name.value = model;
  } catch (error) {
    if (mine !== asked) return;
    shown = null;
    body.replaceChildren();
    status.textContent = `This model could not be loaded (${error?.message || error}). Press Show to try again.`;
  }
}

function remember(model) {
  const url = new URL(location);
  url.searchParams.set('model', model);
  window.rb.showAddress(url);
}

function choose(model) {
  if (!model || model === shown) return;
  remember(model);
  show(model);
}

async function seen() {
  const model = new URLSearchParams(location.search).get('model');
  if (model && model !== shown) show(model);
  if (names) return;
  try {
    names = await server.model_list('');
    find('#rb-model-names').replaceChildren(...names.map((each) => Object.assign(document.createElement('option'), { value: each })));
    if (!model) status.textContent = names.length ? `${names.length.toLocaleString('en')} models. Type a part of a name.` : 'There are no results yet.';
  } catch (error) {
    names = undefined;
    if (!model) status.textContent = `The list of models could not be loaded (${error?.message || error}).`;
  }
}

find('.rb-model-form').addEventListener('submit', (event) => { event.preventDefault(); choose(name.value.trim()); });
// A name that is picked from the list, or typed in full, needs no button.
name.addEventListener('input', () => { if (names?.includes(name.value)) choose(name.value); });
body.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  const code = button.parentElement.querySelector('code');
  try {
    await navigator.clipboard.writeText(code.textContent);
    status.textContent = 'The command is copied.';
  } catch {
    getSelection().selectAllChildren(code); // without leave to use the clipboard: ready for the visitor's own copy
    status.textContent = 'The command is selected: copy it with your keyboard.';
  }
});

new IntersectionObserver((entries) => { if (entries.at(-1).isIntersecting) seen(); }).observe(find('.rb-model-page'));
