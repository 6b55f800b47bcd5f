// What the pages share. Nothing here asks the network.

const data = JSON.parse(document.getElementById("data").textContent);

/** Numbers in single precision as `page.pack` writes them: {shape, values}. */
function unpack({ shape, base64 }) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  return { shape, values: new Float32Array(bytes.buffer) };
}

/** An element: h("p", {class: "x", onclick: f}, "text", child). Text is never read as HTML. */
function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const sum = (values) => values.reduce((a, b) => a + b, 0);

/** How many digits after the point numbers of a size need: three in all, at least. */
const digitsFor = (size) => (size > 0 ? Math.min(10, Math.max(0, 2 - Math.floor(Math.log10(size)))) : 2);

/** A number with a true minus sign, never as a negative zero. */
function signed(value, digits, plus = false) {
  const text = Math.abs(value).toFixed(digits);
  return (value < 0 && Number(text) !== 0 ? "−" : plus ? "+" : "") + text;
}

/** Whether a name has what is searched for in it. */
const has = (name, words) => name.toLowerCase().includes(words.trim().toLowerCase());

/** A search field; `oninput` gets what is typed. */
function search(label, oninput) {
  const input = h("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  input.addEventListener("input", () => oninput(input.value));
  return { node: h("label", {}, h("span", {}, label), input), input };
}
