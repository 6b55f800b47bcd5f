// The template explorer: a filter's map, the template at its peak, and what the mask leaves.

const SMALLEST = 6, LARGEST = 17; // maps of the paper's networks are 13, 14 and 17 wide

export default view(({ data }) => {
  const shades = unpack(data.shades).values; // from -1 to 1, three bytes each
  const made = { title: "made up: two peaks and a trough" };
  const maps = [...data.maps.map((map) => ({ ...map, z: unpack(map.z) })), made];
  const state = { map: 0, decay: data.decay, clip: true, n: data.size };

  // ---- numbers -------------------------------------------------------------------------------------

  /** A map that shows what the mask does: a peak, a lower one, and a place below 0. */
  function madeUp(n) {
    const bump = (i, j, row, column, wide) =>
      Math.exp(-(((i + 0.5) / n - row) ** 2 + ((j + 0.5) / n - column) ** 2) / (2 * wide ** 2));
    return Float32Array.from({ length: n * n }, (_, k) => {
      const i = Math.floor(k / n), j = k % n;
      return 2 * bump(i, j, 0.33, 0.36, 0.1) + 1.3 * bump(i, j, 0.75, 0.72, 0.09) - bump(i, j, 0.8, 0.22, 0.12) - 0.12;
    });
  }

  /** `interpretable.templates(n, decay)` with its peak at a row and a column. */
  function template(n, row, column) {
    return Float64Array.from({ length: n * n }, (_, k) => {
      const distance = Math.abs(Math.floor(k / n) - row) + Math.abs(k % n - column);
      return Math.max(1 - state.decay * distance / n, -1);
    });
  }

  const relu = (values) => values.reduce((total, v) => total + Math.max(v, 0), 0);
  const largest = (values) => values.reduce((best, v, k) => (v > values[best] ? k : best), 0);
  let z, n;

  // ---- what stands there ---------------------------------------------------------------------------

  const status = h("p", { class: "sq-hidden", role: "status", "aria-live": "polite" });
  const words = h("p", { class: "sq-words" });
  const readout = h("p", { class: "sq-note" });
  const numbers = h("table", { class: "sq-numbers" });
  const image = h("img", { alt: "", width: 112, height: 112 });
  const panels = {
    image: { title: h("figcaption", {}, "image"), body: image },
    T: { title: h("figcaption"), body: grid("T") },
    z: { title: h("figcaption", {}, "map z"), body: grid("z") },
    x: { title: h("figcaption"), body: grid("x") },
  };
  for (const panel of Object.values(panels)) panel.node = h("figure", {}, panel.body, panel.title);
  Object.assign(panels.T.body, { tabIndex: 0 });
  panels.T.body.setAttribute("role", "application");
  panels.T.body.setAttribute("aria-roledescription", "map of cells");
  panels.T.body.addEventListener("keydown", (event) => {
    const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!by) return;
    event.preventDefault();
    move(state.row + by[0], state.column + by[1]);
  });

  const clip = h("input", { type: "checkbox", id: unique("clip") });
  clip.checked = true;
  clip.addEventListener("change", () => { state.clip = clip.checked; update(); });
  const row = slider({ label: "Peak's row", min: 0, max: 1, value: 0, oninput: (v) => move(v, state.column) });
  const column = slider({ label: "Peak's column", min: 0, max: 1, value: 0, oninput: (v) => move(state.row, v) });
  const decay = slider({ label: "Decay β", min: 0.5, max: 10, step: 0.5, value: state.decay,
    oninput(v) { state.decay = v; update(); } });
  const wide = slider({ label: "Size n", min: SMALLEST, max: LARGEST, value: state.n,
    oninput(v) { state.n = v; start(); } });
  const home = button("Put it where the mask does", () => {
    const k = largest(z);
    move(Math.floor(k / n), k % n);
  });

  /** A square of cells, which shows numbers as colours. */
  function grid(name) {
    return h("div", { class: "sq-grid-of-cells", "data-panel": name });
  }

  function start() {
    const map = maps[state.map];
    const own = map.z ? map.z.shape[0] : state.n;
    z = map.z ? map.z.values : madeUp(own);
    if (own !== n) {
      n = own;
      for (const name of ["T", "z", "x"]) build(panels[name]);
      for (const control of [row, column]) control.input.max = n - 1;
    }
    wide.set(n);
    wide.input.disabled = Boolean(map.z);
    panels.image.node.hidden = !map.picture;
    if (map.picture) Object.assign(image, { src: map.picture, alt: map.label });
    const k = largest(z);
    move(Math.floor(k / n), k % n);
  }

  function build(panel) {
    const svg = s("svg", { viewBox: `0 0 ${n} ${n}`, role: "img", "shape-rendering": "crispEdges" });
    panel.cells = Array.from({ length: n * n }, (_, k) =>
      s("rect", { x: k % n, y: Math.floor(k / n), width: 1.02, height: 1.02 }));
    panel.ring = ["sq-halo", "sq-peak"].map((name) => s("circle", { class: name, r: 0.34, "shape-rendering": "auto" }));
    panel.cross = s("path", { class: "sq-peak", "shape-rendering": "auto" }); // the map's largest value
    svg.append(...panel.cells, ...panel.ring, panel.cross);
    panel.svg = svg;
    panel.body.replaceChildren(svg);
    const cell = (event) => {
      const [x, y] = pointed(svg, event).map((v) => Math.min(Math.max(Math.floor(v), 0), n - 1));
      return [y, x];
    };
    const finger = (event) => event.pointerType === "touch"; // it scrolls; a tap is a click
    svg.addEventListener("pointermove", (event) => {
      if (finger(event)) return;
      if (event.buttons) move(...cell(event));
      else tell(...cell(event));
    });
    svg.addEventListener("pointerdown", (event) => {
      if (finger(event)) return;
      svg.setPointerCapture(event.pointerId);
      move(...cell(event));
    });
    svg.addEventListener("click", (event) => move(...cell(event)));
    svg.addEventListener("pointerleave", () => tell(state.row, state.column));
  }

  function move(i, j) {
    state.row = Math.min(Math.max(i, 0), n - 1);
    state.column = Math.min(Math.max(j, 0), n - 1);
    row.set(state.row);
    column.set(state.column);
    update();
  }

  // ---- drawing -------------------------------------------------------------------------------------

  let T, x;
  function shade(v) {
    const k = 3 * Math.round(127.5 * (Math.min(Math.max(v, -1), 1) + 1));
    return `rgb(${shades[k]},${shades[k + 1]},${shades[k + 2]})`;
  }

  function paint(panel, values, most) {
    values.forEach((v, k) => {
      panel.cells[k].setAttribute("fill", shade(most ? v / most : 0));
      panel.cells[k].dataset.value = v;
    });
    for (const ring of panel.ring) {
      ring.setAttribute("cx", state.column + 0.5);
      ring.setAttribute("cy", state.row + 0.5);
    }
  }

  function tell(i, j) {
    const k = i * n + j;
    readout.textContent = `Row ${i}, column ${j}: T = ${signed(T[k])}, z = ${signed(z[k])}, x = ${signed(x[k])}`;
  }

  function update() {
    const plain = template(n, state.row, state.column);
    T = state.clip ? plain.map((v) => Math.max(v, 0)) : plain;
    x = Float64Array.from(z, (v, k) => v * T[k]);
    const most = z.reduce((a, v) => Math.max(a, Math.abs(v)), 0);
    paint(panels.T, T, 1);
    paint(panels.z, z, most);
    paint(panels.x, x, most);
    const factor = state.clip ? "max(T, 0)" : "T";
    panels.T.title.textContent = `template ${factor}`;
    panels.x.title.textContent = `x = z · ${factor}`;
    const at = `peak at row ${state.row}, column ${state.column}`;
    panels.T.body.setAttribute("aria-label", `Template, ${at}; the arrow keys move it`);
    panels.T.svg.setAttribute("aria-label", `${factor}: 1 at the ${at}`);
    panels.z.svg.setAttribute("aria-label", `The map z, from ${signed(Math.min(...z))} to ${signed(Math.max(...z))}`);
    panels.x.svg.setAttribute("aria-label", `x, from ${signed(Math.min(...x))} to ${signed(Math.max(...x))}`);
    tell(state.row, state.column);

    const top = largest(z), off = top !== state.row * n + state.column;
    panels.z.cross.setAttribute("d", off
      ? `M${top % n + 0.3},${Math.floor(top / n) + 0.3}l.4,.4m0,-.4l-.4,.4` : "");
    const y = sum(x), before = sum(z);
    const kept = relu(z) ? relu(x) / relu(z) : NaN;
    const stray = relu(x) ? x.reduce((total, v, k) => total + (z[k] < 0 ? Math.max(v, 0) : 0), 0) / relu(x) : 0;
    const percent = (v) => (Number.isNaN(v) ? "–" : `${(100 * v).toFixed(0)}%`);
    numbers.replaceChildren(h("tbody", {}, [
      ["y = Σ x", "y", y, signed(y)], ["Σ z, without the mask", "sum-z", before, signed(before)],
      ["Σ max(x, 0) in percent of Σ max(z, 0)", "kept", kept, percent(kept)],
      ["of max(x, 0), from places where z is below 0", "stray", stray, percent(stray)],
    ].map(([name, key, value, text]) => h("tr", {}, h("th", { scope: "row" }, name),
      h("td", { "data-name": key, "data-value": value }, text)))));
    const zero = n / state.decay;
    const far = Math.max(state.row, n - 1 - state.row) + Math.max(state.column, n - 1 - state.column);
    const cells = (v) => `${Number(v.toFixed(1))} cell${v === 1 ? "" : "s"}`;
    words.replaceChildren(
      h("strong", {}, `${at[0].toUpperCase()}${at.slice(1)}. `),
      zero > far ? `The template falls from 1, but nowhere on this map to 0: n / β = ${n} / ${state.decay} = ${cells(zero)}. `
        : `The template falls from 1 to 0 within n / β = ${n} / ${state.decay} = ${cells(zero)}`
          + (state.clip ? "; there it is cut off. "
            : 2 * zero > far ? ", and nowhere on this map to −1. " : `, and to −1 within ${cells(2 * zero)}. `),
      `y = ${signed(y)}. `,
      off ? "The mask itself puts the peak on the map's largest value." : "This is the map's largest value, where the mask puts the peak.",
      stray > 0 ? ` Not clipped, a negative z under a negative T turns positive: ${percent(stray)} of what is above 0 in x comes from there.` : "");
    const focused = document.activeElement === home;
    home.disabled = !off;
    if (focused && !off) row.node.querySelector("input").focus();
    status.textContent = `${at}, β ${state.decay}, n ${n}: y = ${signed(y)}`;
  }

  const swatch = (v) => h("span", { class: "sq-swatch", style: { background: shade(v * 0.8) } });
  const nodes = h("div", { class: "sq-template" },
    h("div", { class: "sq-row" }, choice({
      label: "Map", value: 0, options: maps.map((map, k) => ({ value: k, text: map.title })),
      onchange(k) { state.map = Number(k); start(); },
    }).node),
    h("div", { class: "sq-panels" }, Object.values(panels).map((panel) => panel.node)),
    h("p", { class: "sq-note" }, swatch(1), "above 0 ", swatch(-1), "below 0; the ring is the template's peak, a cross the map's largest value"),
    readout,
    h("div", { class: "sq-row sq-sliders" }, row.node, column.node),
    h("div", { class: "sq-row sq-sliders" }, decay.node, wide.node),
    h("div", { class: "sq-row" }, home, h("div", { class: "sq-control sq-check" }, clip,
      h("label", { for: clip.id }, "clip the template at 0, as the mask does"))),
    words, numbers, h("p", { class: "sq-note" }, data.note), status);
  start();
  return { nodes };
});
