// Saves the scores of a file as the command `score` writes them. Each value in data-rows is a JSON text: numbers that a
// browser cannot hold stay as they are. Gradio provides: element.
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-format]');
  if (!button) return;
  const { columns, rows } = JSON.parse(button.closest('[data-rows]').dataset.rows);
  let first;
  const whole = rows.map((row) => (row.completion_index === '0' ? (first = row) : { ...first, ...row }));
  const jsonLine = (row) => `{${Object.entries(row).map(([name, json]) => `${JSON.stringify(name)}: ${json}`).join(', ')}}`;
  const csvValue = (json = 'null') => (json.startsWith('"') ? window.rb.csvCell(JSON.parse(json)) : json === 'null' ? '' : window.rb.csvText(json));
  const lines = button.dataset.format === 'jsonl' ? whole.map(jsonLine)
    : [columns.map(window.rb.csvCell), ...whole.map((row) => columns.map((name) => csvValue(row[name])))].map((cells) => cells.join(','));
  const [type, end] = button.dataset.format === 'jsonl' ? ['application/jsonl', '\n'] : ['text/csv', '\r\n'];
  window.rb.save(lines.map((line) => line + end).join(''), type, `scores.${button.dataset.format}`);
  element.querySelector('.rb-said').textContent = `${window.rb.plural(whole.length, 'completion')} saved as scores.${button.dataset.format}`;
});
