// Ctrl+Enter presses the button, and a result that is out of sight comes into view. Gradio provides: element.
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey) || !event.target.closest?.('.rb-form')) return;
  event.preventDefault();
  document.querySelector('.rb-submit .rb-go').click();
});

// Called after a handler, with the id of its area; the area is drawn in the next frame.
window.rbShowResult = (id) => requestAnimationFrame(() => setTimeout(() => {
  const result = document.querySelector(`#${id} :is(.rb-outcome, .rb-message)`);
  const top = result?.getBoundingClientRect().top;
  if (top < 0 || top > innerHeight / 2) result.scrollIntoView({ block: 'start' });
}));
