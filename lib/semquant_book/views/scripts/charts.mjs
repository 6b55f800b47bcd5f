// What the views with charts share. Their script is common.mjs, this file, and their own.

/** A place that is drawn at its own width, and again when that changes: `draw(width)` gives nodes. */
function sized(draw, usual = 560) {
  const node = h("div", { class: "sq-chart" });
  let width = usual;
  const fill = () => node.replaceChildren(...[draw(width)].flat());
  const observer = new ResizeObserver(([entry]) => {
    const now = Math.round(entry.contentRect.width);
    if (!now || now === width) return; // hidden, or only its height changed
    width = now;
    requestAnimationFrame(fill); // not now: it may change the size that is being observed
  });
  observer.observe(node);
  return { node, fill, undo: () => observer.disconnect() };
}

/**
 * The ground of a chart: {svg, plot, X, Y}; X and Y turn numbers into places.
 * An axis is {low, high, ticks: [[value, text], ...], name, log}.
 */
function axes({ width, height, x, y, label, left = 38, right = 10, top = 8, bottom = 34 }) {
  const place = ({ low, high, log }, from, to) => {
    const f = log ? Math.log10 : (v) => v;
    return (v) => from + (f(v) - f(low)) / (f(high) - f(low) || 1) * (to - from);
  };
  const X = place(x, left, width - right);
  const Y = place(y, height - bottom, top);
  const plot = s("g");
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    y.ticks.map(([value, text]) => [
      s("line", { class: "sq-grid", x1: left, x2: width - right, y1: Y(value), y2: Y(value) }),
      s("text", { class: "sq-faint", x: left - 5, y: Y(value) + 3.5, "text-anchor": "end" }, text)]),
    x.ticks.map(([value, text]) => [
      s("line", { class: "sq-axis", x1: X(value), x2: X(value), y1: height - bottom, y2: height - bottom + 3 }),
      s("text", { class: "sq-faint", x: X(value), y: height - bottom + 14, "text-anchor": "middle" }, text)]),
    s("line", { class: "sq-axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }),
    x.name && s("text", { class: "sq-faint", x: width - right, y: height - 3, "text-anchor": "end" }, x.name),
    plot);
  return { svg, plot, X, Y };
}

/** An axis from low to high with round numbers. */
function linear(low, high, { name, about = 4, digits, room = 0.05 } = {}) {
  const more = room * (high - low || Math.abs(high) || 1);
  const found = ticks(low - more, high + more, about);
  const step = found.length > 1 ? found[1] - found[0] : 1;
  const places = digits ?? Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return { low: low - more, high: high + more, name, ticks: found.map((v) => [v, signed(v, places)]) };
}

/** An axis for numbers above 0 over decades. */
function decades(low, high, { name } = {}) {
  const from = Math.log10(low) - 0.06, to = Math.log10(high) + 0.06;
  const marks = to - from > 2.2 ? [1] : to - from > 1 ? [1, 3] : [1, 2, 5];
  const found = [];
  for (let k = Math.floor(from); k <= to; k++) {
    for (const m of marks) {
      const v = m * 10 ** k;
      if (Math.log10(v) >= from && Math.log10(v) <= to) found.push([v, String(Number(v.toPrecision(1)))]);
    }
  }
  return { low: 10 ** from, high: 10 ** to, log: true, name, ticks: found };
}

/** The d of a line through points [x, y]. */
const through = (points) => points.map(([x, y], k) => `${k ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`).join("");

/** A mark of its own for each of a few, as colours may not be told apart. */
const SHAPES = [(r) => `M0,${-r}A${r},${r} 0 1 1 0,${r}A${r},${r} 0 1 1 0,${-r}Z`,
  (r) => `M${-r},${-r}H${r}V${r}H${-r}Z`, (r) => `M0,${-1.2 * r}L${1.2 * r},${r}H${-1.2 * r}Z`,
  (r) => `M0,${-1.3 * r}L${1.3 * r},0L0,${1.3 * r}L${-1.3 * r},0Z`];
const shape = (k, r) => SHAPES[k % SHAPES.length](r);

/** A pointer's place in a chart, in the chart's own units. */
function pointed(svg, event) {
  const box = svg.getBoundingClientRect();
  const { width, height } = svg.viewBox.baseVal;
  return [(event.clientX - box.left) / box.width * width, (event.clientY - box.top) / box.height * height];
}

/** The index of the number nearest to a value. */
const nearest = (numbers, value) =>
  numbers.reduce((best, v, k) => (Math.abs(v - value) < Math.abs(numbers[best] - value) ? k : best), 0);

const mean = (values) => sum(values) / values.length;

/** Pictures to choose from: native radio buttons; the arrow keys move between them. */
function thumbnails({ label, pictures, labels, value, onchange }) {
  const name = unique("image");
  return h("fieldset", { class: "sq-thumbs" }, h("legend", { class: "sq-hidden" }, label),
    pictures.map((address, k) => {
      const input = h("input", { type: "radio", name, value: k, "aria-label": labels[k] });
      input.checked = k === value;
      input.addEventListener("change", () => onchange(k));
      return h("label", { title: labels[k] }, input, h("img", { src: address, alt: "", width: 56, height: 56 }));
    }));
}
