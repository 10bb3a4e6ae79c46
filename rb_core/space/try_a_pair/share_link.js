(models, prompt, system, ...texts) => {
  // Built here and nowhere else: the inputs stay in this browser and in the link that the visitor passes on.
  const most = 16000, exchanges = 4;
  const shown = (kind) => document.querySelectorAll(`.${kind} textarea`).length;
  const earlier = texts.slice(0, 2 * exchanges).slice(0, shown("rb-turn"));
  const completions = texts.slice(2 * exchanges).slice(0, shown("rb-completion"));
  const inputs = {
    models,
    system: system || "",
    turns: earlier.map((content, i) => ({ role: i % 2 ? "assistant" : "user", content: content || "" })),
    prompt: prompt || "",
    completions: completions.map((text) => text || ""),
  };
  let binary = "";
  for (const byte of new TextEncoder().encode(JSON.stringify(inputs))) binary += String.fromCharCode(byte);
  const pair = btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  const say = (text) => `<p class="rb-told" role="status">${text}</p>`;
  if (pair.length > most) {
    return say(`This is too long for a link: ${pair.length} characters, and at most ${most} are read. Use the JSON.`);
  }
  const address = new URL(location.href);
  address.searchParams.set("tab", "try");
  address.searchParams.set("pair", pair);
  window.rb.showAddress(address);
  const copied = navigator.clipboard ? navigator.clipboard.writeText(address.href) : Promise.reject(new Error("none"));
  const there = "The link is the address of this page now; it holds everything you typed here.";
  return copied.then(() => say(`Link copied. ${there}`), () => say(there));
}
