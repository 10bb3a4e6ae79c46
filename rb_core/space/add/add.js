// Commands for the visitor's model, and the memory and time that it needs. Gradio provides: element.
const form = element.querySelector('form'), code = element.querySelector('pre code'), needs = element.querySelector('.rb-add-needs');
const repo = element.querySelector('.rb-add-page a[href*="/datasets/"]')?.textContent ?? 'ORG/RESULTS';
const amount = (v) => (v < 10 ? v.toFixed(1) : Math.round(v).toLocaleString('en'));
const time = (hours) => (hours < 1 ? `${Math.max(1, Math.round(hours * 60))} min` : `${amount(hours)} h`);
// A name is put into a command: only characters of names on the hub and of paths.
const model = () => (/^[\w.\-/]+$/.test(form.model.value.trim()) ? form.model.value.trim() : 'ORG/NAME');

function draw() {
  const [kind] = form.kind.selectedOptions;
  const copies = Number(kind.dataset.copies), completions = Number(form.completions.value);
  const weights = Number(form.parameters.value) * 1e9, bytes = weights * Number(form.dtype.value) * 1.2 * copies;
  const operations = 2 * weights * copies * completions * Number(form.tokens.value);
  const hours = operations / (Number(form.speed.value) * 1e12) / 3600;
  needs.textContent = Number.isFinite(hours) && weights > 0
    ? `About ${amount(bytes / 1e9)} GB of GPU memory and ${time(hours)} for ${completions.toLocaleString('en')} completions. ${kind.dataset.note}`.trim()
    : 'Enter the number of parameters, the tokens and the speed.';
  const option = kind.value === 'classifier' ? '' : ` --kind ${kind.value}${kind.value === 'implicit' ? ' --reference ORG/REFERENCE' : ''}`;
  const name = model();
  code.textContent = [
    `python -m rb_core doctor --model ${name}${option}`,
    `python -m rb_core evaluate --model ${name}${option} --benchmark ${form.benchmark.value} --out mine`,
    'python -m rb_core verify mine',
    `python -m rb_core sync push --repo ${repo} --root mine --pr`,
  ].join('\n');
}

form.addEventListener('submit', (event) => event.preventDefault());
form.addEventListener('input', ({ target }) => {
  if (target === form.benchmark) form.completions.value = target.selectedOptions[0].dataset.completions;
  draw();
});
element.querySelector('button').addEventListener('click', async () => {
  element.querySelector('.rb-add-copied').textContent = await window.rb.copy(code);
});
draw();
