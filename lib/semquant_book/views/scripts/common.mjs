// What all views share. A view's script is this file followed by its own, as one module: a widget's
// script travels inside the page, so it can import nothing. Nothing here asks the network.

// ---- numbers ------------------------------------------------------------------------------------

const ARRAYS = { f4: Float32Array, u1: Uint8Array, u2: Uint16Array, i2: Int16Array };

/** Decode an array packed by `widgets.pack`: {shape, values}. */
function unpack({ dtype, shape, base64 }) {
  const text = atob(base64);
  const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
  return { shape, values: new ARRAYS[dtype](bytes.buffer) };
}

/** The part of an array at a first index (or several): a view, not a copy. */
function at(array, ...index) {
  let { shape, values } = array;
  for (const i of index) {
    const step = shape.slice(1).reduce((a, b) => a * b, 1);
    values = values.subarray(i * step, (i + 1) * step);
    shape = shape.slice(1);
  }
  return { shape, values };
}

const sum = (values) => values.reduce((a, b) => a + b, 0);

/** A number with a true minus sign, never as a negative zero. */
function signed(value, digits = 2, plus = false) {
  const text = Math.abs(value).toFixed(digits);
  const below = value < 0 && Number(text) !== 0;
  return (below ? "−" : plus ? "+" : "") + text;
}

const rounded = (value, digits = 2) => Number(value.toFixed(digits));

/** Entropy in nats of the sizes of contributions, as `metrics.contribution_entropy`; NaN if all are 0. */
function entropy(contributions) {
  const total = sum(Array.from(contributions, Math.abs));
  if (total === 0) return NaN;
  let h = 0;
  for (const c of contributions) {
    const share = Math.abs(c) / total;
    if (share > 0) h -= share * Math.log(share);
  }
  return h;
}

// ---- elements -----------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";

function _fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style" && typeof value === "object") {
      for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v);
    } else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

/** An HTML element: h("p", {class: "x", onclick: f}, "text", child). */
const h = (tag, attributes = {}, ...children) =>
  _fill(document.createElement(tag), attributes, children);

/** An SVG element. */
const s = (tag, attributes = {}, ...children) =>
  _fill(document.createElementNS(SVG, tag), attributes, children);

let _count = 0;
/** A name for an element that no other has, also with several views on a page. */
const unique = (word) => `sq-${word}-${++_count}-${Math.random().toString(36).slice(2, 7)}`;

/** A labelled slider: native, so the keyboard works. `show(value)` is what stands beside it. */
function slider({ label, min, max, step = 1, value, show = String, oninput, hidden = false }) {
  const id = unique("range");
  // not <output>: that would be announced a second time, after the slider's own value
  const output = h("span", { class: "sq-value", "aria-hidden": "true" }, show(value));
  const input = h("input", { type: "range", id, min, max, step, "aria-valuetext": show(value) });
  input.value = value;
  const refresh = () => {
    output.textContent = show(Number(input.value));
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => { refresh(); oninput(Number(input.value)); });
  const node = h("div", { class: "sq-control" },
    h("label", { for: id, class: hidden ? "sq-hidden" : null }, label), input, output);
  return { node, input, set(v) { input.value = v; refresh(); } };
}

/** A labelled list to choose from; options are {value, text, group}. */
function choice({ label, options, value, onchange }) {
  const id = unique("choice");
  const input = h("select", { id });
  const groups = new Map();
  for (const o of options) {
    let parent = input;
    if (o.group) {
      if (!groups.has(o.group)) {
        groups.set(o.group, h("optgroup", { label: o.group }));
        input.append(groups.get(o.group));
      }
      parent = groups.get(o.group);
    }
    parent.append(h("option", { value: o.value }, o.text));
  }
  input.value = value;
  input.addEventListener("change", () => onchange(input.value));
  const node = h("div", { class: "sq-control" }, h("label", { for: id }, label), input);
  return { node, input, set(v) { input.value = v; } };
}

/** A few alternatives side by side: native radio buttons; the arrow keys move between them. */
function radios({ label, options, value, onchange }) {
  const name = unique("radio");
  const inputs = options.map((o) => {
    const input = h("input", { type: "radio", name, value: o.value });
    input.checked = o.value === value;
    input.addEventListener("change", () => input.checked && onchange(o.value));
    return h("label", {}, input, h("span", {}, o.text));
  });
  const node = h("fieldset", { class: "sq-radios" }, h("legend", {}, label), inputs);
  return { node, set(v) {
    for (const i of node.querySelectorAll("input")) i.checked = i.value === v;
  } };
}

const button = (text, onclick, attributes = {}) =>
  h("button", { type: "button", ...attributes, onclick }, text);

/** A pie's wedge from angle a to b, in turns from the top, around (0, 0). */
function wedge(a, b, radius) {
  if (b - a >= 1 - 1e-9) {
    return `M0,${-radius}A${radius},${radius} 0 1 1 0,${radius}A${radius},${radius} 0 1 1 0,${-radius}Z`;
  }
  const p = (t) => [radius * Math.sin(2 * Math.PI * t), -radius * Math.cos(2 * Math.PI * t)]
    .map((v) => v.toFixed(3)).join(",");
  return `M0,0L${p(a)}A${radius},${radius} 0 ${b - a > 0.5 ? 1 : 0} 1 ${p(b)}Z`;
}

/** Round numbers for an axis from low to high. */
function ticks(low, high, about = 4) {
  if (!(high > low)) return [low];
  const raw = (high - low) / about;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = unit * [1, 2, 5, 10].find((m) => raw <= m * unit * 1.0001);
  const found = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-6; v += step) {
    found.push(Math.abs(v) < step * 1e-6 ? 0 : v);
  }
  return found;
}

// ---- pictures -----------------------------------------------------------------------------------

/** Enlarge a map (h, w) of numbers to `size` x `size`, bilinearly, corners as torch puts them. */
function enlarge({ shape: [rows, columns], values }, size) {
  const out = new Float32Array(size * size);
  const place = (i, count) => {
    const p = Math.min(Math.max((i + 0.5) * count / size - 0.5, 0), count - 1);
    const low = Math.floor(p);
    return [low, Math.min(low + 1, count - 1), p - low];
  };
  for (let i = 0; i < size; i++) {
    const [r0, r1, fr] = place(i, rows);
    for (let j = 0; j < size; j++) {
      const [c0, c1, fc] = place(j, columns);
      const top = values[r0 * columns + c0] * (1 - fc) + values[r0 * columns + c1] * fc;
      const low = values[r1 * columns + c0] * (1 - fc) + values[r1 * columns + c1] * fc;
      out[i * size + j] = top * (1 - fr) + low * fr;
    }
  }
  return out;
}

// ---- a view and its surroundings ------------------------------------------------------------------

/** Fill a view's element with what `draw` makes of the model, now and whenever its data change. */
function view(draw) {
  return {
    render({ model, el }) {
      const root = h("div", { class: "sq-view" });
      // in JupyterLab its shortcuts would take Enter and the arrow keys from the controls; it asks
      // what has the focus first
      root.addEventListener("focusin", ({ target }) => { target.dataset.lmSuppressShortcuts = "true"; });
      el.append(root);
      let undo = null;
      const fill = () => {
        undo?.();
        undo = null;
        const data = model.get("data");
        if (!data || !Object.keys(data).length) {
          root.replaceChildren(h("p", {}, "Nothing to show yet."));
          return;
        }
        const made = draw({ model, data, root });
        root.replaceChildren(...[made.nodes].flat().filter(Boolean));
        undo = made.undo ?? null;
        root.dataset.ready = "true";
        takeThePlaceOfTheFigure(el);
      };
      fill();
      model.on("change:data", fill);
      return () => { undo?.(); model.off("change:data", fill); };
    },
  };
}

/** The still figure before a view is for print and for pages without scripts; hide it elsewhere. */
function takeThePlaceOfTheFigure(el) {
  if (el.isConnected) el.closest(".cell, .jp-Cell")?.classList.add("sq-live");
  else requestAnimationFrame(() => takeThePlaceOfTheFigure(el)); // the manager attaches it later
}
