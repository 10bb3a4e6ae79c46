(models, prompt, system, ...texts) => {
  // The link is built in the browser: the inputs do not go to the server.
  const maxLength = 16000, maxExchanges = 4;
  const visible = (kind) => document.querySelectorAll(`.${kind} textarea`).length;
  const turns = texts.slice(0, 2 * maxExchanges).slice(0, visible("rb-turn"));
  const completions = texts.slice(2 * maxExchanges).slice(0, visible("rb-completion"));
  const question = {
    models,
    system: system || "",
    turns: turns.map((content, i) => ({ role: i % 2 ? "assistant" : "user", content: content || "" })),
    prompt: prompt || "",
    completions: completions.map((text) => text || ""),
  };
  let binary = "";
  for (const byte of new TextEncoder().encode(JSON.stringify(question))) binary += String.fromCharCode(byte);
  const pair = btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  const note = (text) => `<p class="rb-told" role="status">${text}</p>`;
  if (pair.length > maxLength) {
    return note(`This is too long for a link: ${pair.length} characters; at most ${maxLength} are read. Use the JSON.`);
  }
  const address = window.rb.address();
  address.searchParams.set("tab", "try");
  address.searchParams.set("pair", pair);
  window.rb.showAddress(address);
  const written = navigator.clipboard ? navigator.clipboard.writeText(address.href) : Promise.reject(new Error("none"));
  const whatItHolds = "The link is now the address of this page; it holds everything you typed here.";
  return written.then(() => note(`Link copied. ${whatItHolds}`), () => note(whatItHolds));
}
