// The concept selection explorer: how well random choices of so many concepts explain.

const KINDS = { linear: "fixed linear weights", learned: "weights by g" };
const MEASURES = {
  deviation: { name: "relative deviation", digits: 3 },
  accuracy_loss: { name: "loss of accuracy", digits: 3 },
};
const FEW = 10; // choices; of fewer the whole range is told instead of the middle 80%

export default view(({ data }) => {
  const { targets, sizes } = data;
  const kinds = Object.keys(KINDS).filter((kind) => targets.some((t) => t.points[kind]));
  const state = { chosen: new Set(targets.keys()), kind: kinds[0], measure: "deviation", centre: "median",
    size: Math.max(0, sizes.indexOf(10)) };

  // ---- numbers -------------------------------------------------------------------------------------

  /** A measure of all choices of one size, in ascending order. */
  const values = (target, size, kind = state.kind, measure = state.measure) =>
    [...(targets[target].points[kind]?.[size]?.[measure] ?? [])].sort((a, b) => a - b);

  /** As numpy.quantile: between two numbers, in proportion. */
  function quantile(sorted, q) {
    const place = q * (sorted.length - 1), below = Math.floor(place);
    return sorted[below] + (place - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
  }

  function summary(target, size) {
    const found = values(target, size);
    if (!found.length) return null;
    const few = found.length < FEW;
    return {
      count: found.length, few, values: found,
      centre: state.centre === "mean" ? mean(found) : quantile(found, 0.5),
      low: few ? found[0] : quantile(found, 0.1), high: few ? found.at(-1) : quantile(found, 0.9),
    };
  }

  // ---- what stands there ---------------------------------------------------------------------------

  const heading = h("h4");
  const table = h("table", { class: "sq-numbers" });
  const words = h("p", { class: "sq-words" });
  const status = h("p", { class: "sq-hidden", role: "status", "aria-live": "polite" });
  const chart = sized(draw, 680);

  const mark = (k) => s("svg", { viewBox: "-8 -8 16 16", class: "sq-shape", "aria-hidden": "true" },
    s("path", { d: shape(k, 5.2), fill: targets[k].colour, class: "sq-mark" }));

  const boxes = h("fieldset", { class: "sq-radios" }, h("legend", {}, "Explained"), targets.map((target, k) => {
    const input = h("input", { type: "checkbox" });
    input.checked = true;
    input.addEventListener("change", () => {
      if (input.checked) state.chosen.add(k);
      else state.chosen.delete(k);
      fresh();
    });
    return h("label", {}, input, h("span", {}, mark(k), target.name));
  }));
  const size = slider({ label: "Number of concepts", min: 0, max: sizes.length - 1, value: state.size,
    show: (k) => String(sizes[k]), oninput(k) { state.size = k; update(); } });

  // ---- the chart -----------------------------------------------------------------------------------

  /** What the chart shows, for who can't see it. */
  const inWords = () => `${MEASURES[state.measure].name} against the number of concepts, ${KINDS[state.kind]}: `
    + [...state.chosen].sort().map((t) => `${targets[t].name} ` + sizes.map((k) => [k, summary(t, k)])
      .filter(([, about]) => about)
      .map(([k, about]) => `${signed(about.centre, MEASURES[state.measure].digits)} with ${k}`).join(", ")).join("; ");

  let drawn;
  function draw(width) {
    const height = width < 420 ? 250 : 300;
    // the same axis for both kinds of weights, so that they can be compared
    const found = [...state.chosen].flatMap((t) => kinds.flatMap((kind) => sizes.flatMap((n) => values(t, n, kind))));
    const low = Math.min(0, ...found), high = Math.max(...found, 0.01);
    const { svg, plot, X, Y } = axes({ width, height, label: inWords(), left: 46, right: 18,
      x: { low: sizes[0] * 0.85, high: sizes.at(-1) * 1.15, log: true, ticks: sizes.map((n) => [n, String(n)]), name: "concepts" },
      y: linear(low, high, { about: 5 }) });
    const here = s("line", { class: "sq-here", y1: 4, y2: height - 34 });
    plot.append(here);
    const chosen = [...state.chosen].sort();
    chosen.forEach((t, turn) => {
      const beside = (turn - (chosen.length - 1) / 2) * Math.min(9, width / 60);
      const found = sizes.map((n, k) => ({ k, x: X(n) + beside, about: summary(t, n) })).filter((p) => p.about);
      const { colour } = targets[t];
      const group = s("g", { "data-target": targets[t].name });
      const wide = found.filter((p) => !p.about.few || p.about.count === 1);
      if (wide.length === found.length && found.length > 1) {
        group.append(s("path", { class: chosen.length > 1 ? "sq-band sq-thin" : "sq-band", fill: colour, d: through([
          ...found.map((p) => [p.x, Y(p.about.high)]), ...found.map((p) => [p.x, Y(p.about.low)]).reverse()]) + "Z" }));
      }
      for (const { x, about } of found) {
        about.values.forEach((v, j) => {
          // spread a little to the sides, always in the same way
          const aside = ((j * 0.618) % 1 - 0.5) * Math.min(7, width / 80);
          group.append(s("circle", { class: "sq-choice", r: about.few ? 2.8 : 1.7, cx: x + aside, cy: Y(v), fill: colour }));
        });
      }
      group.append(s("path", { class: "sq-line sq-chosen", stroke: colour, d: through(found.map((p) => [p.x, Y(p.about.centre)])) }));
      for (const { k, x, about } of found) {
        group.append(s("path", { class: "sq-mark", "data-size": sizes[k], d: shape(t, 4.2), fill: colour,
          transform: `translate(${x},${Y(about.centre)})` }));
      }
      plot.append(group);
    });
    for (const type of ["pointerdown", "pointermove", "click"]) svg.addEventListener(type, pick);
    function pick(event) {
      if (event.pointerType === "touch" && event.type !== "click") return; // a finger scrolls
      if (event.type === "pointermove" && !event.buttons) return;
      state.size = nearest(sizes.map(X), pointed(svg, event)[0]);
      size.set(state.size);
      update();
    }
    drawn = { here, X };
    place();
    return svg;
  }

  function place() {
    const x = drawn.X(sizes[state.size]);
    drawn.here.setAttribute("x1", x);
    drawn.here.setAttribute("x2", x);
  }

  function fresh() {
    chart.fill();
    update();
  }

  // ---- in numbers ----------------------------------------------------------------------------------

  function update() {
    place();
    const { name, digits } = MEASURES[state.measure];
    const n = sizes[state.size];
    heading.textContent = `${name[0].toUpperCase()}${name.slice(1)}, ${KINDS[state.kind]}`;
    const rows = [...state.chosen].sort().map((t) => ({ t, about: summary(t, n) })).filter((row) => row.about);
    const cell = (what, value, text) => h("td", { "data-name": what, "data-value": value }, text);
    const few = rows.some(({ about }) => about.few);
    const span = (about) => `${signed(about.low, digits)} to ${signed(about.high, digits)}`;
    table.replaceChildren(
      h("thead", {}, h("tr", {}, h("td"), [state.centre, few ? "lowest to highest" : "middle 80%"].map((text) =>
        h("th", { scope: "col" }, text)))),
      h("tbody", {}, rows.map(({ t, about }) => h("tr", {}, h("th", { scope: "row" }, mark(t), targets[t].name),
        cell(`${targets[t].key}-centre`, about.centre, signed(about.centre, digits)),
        h("td", {}, h("span", { "data-name": `${targets[t].key}-low`, "data-value": about.low }, signed(about.low, digits)), " to ",
          h("span", { "data-name": `${targets[t].key}-high`, "data-value": about.high }, signed(about.high, digits)))))));
    const count = Math.max(0, ...rows.map(({ about }) => about.count));
    const choices = count === 1 ? "the only choice" : `${count} random choices for each`;
    const plain = `${n} concept${n > 1 ? "s" : ""}, ${KINDS[state.kind]}, ${choices}`;
    const told = ({ t, about }) => `${targets[t].name}, ${signed(about.centre, digits)}`
      + (about.count === 1 ? "" : ` (${about.few ? "all" : "middle 80%"} from ${span(about)})`);
    const ranked = [...rows].sort((a, b) => a.about.centre - b.about.centre);
    const what = count === 1 ? name : `${state.centre} ${name}`;
    words.replaceChildren(...(!rows.length ? ["Choose at least one attribute that is explained."] : [
      h("strong", {}, `${plain}. `), `The ${what} is `,
      rows.length === 1 ? `${told(rows[0])}.` : `lowest for ${told(ranked[0])}, and highest for ${told(ranked.at(-1))}.`]));
    status.textContent = rows.length ? `${plain}: ${state.centre} ${name} ${rows.map(({ t, about }) =>
      `${targets[t].name} ${signed(about.centre, digits)}`).join(", ")}` : "nothing is chosen";
  }

  const nodes = h("div", { class: "sq-selection" },
    h("div", { class: "sq-row" }, boxes),
    h("div", { class: "sq-row" },
      radios({ label: "Weights", value: state.kind, options: kinds.map((value) => ({ value, text: KINDS[value] })),
        onchange(value) { state.kind = value; fresh(); } }).node,
      radios({ label: "Measure", value: state.measure,
        options: Object.entries(MEASURES).map(([value, { name }]) => ({ value, text: name })),
        onchange(value) { state.measure = value; fresh(); } }).node,
      radios({ label: "Line", value: state.centre, options: ["median", "mean"].map((value) => ({ value, text: value })),
        onchange(value) { state.centre = value; fresh(); } }).node),
    heading, chart.node,
    h("div", { class: "sq-row sq-sliders" }, size.node), words, table,
    h("p", { class: "sq-note" }, data.note), status);
  fresh();
  return { nodes, undo: chart.undo };
});
