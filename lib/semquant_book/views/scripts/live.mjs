// Distilling again with other settings; the kernel does the work.

const CURVES = 8; // so many runs are drawn, the last ones

export default view(({ model, data, root }) => {
  root.classList.add("sq-redistill");
  const line = kernel(model);
  const given = { ...data.defaults, ...model.get("status").settings };

  // ---- settings ----------------------------------------------------------------------------------

  const numeric = (name, label, help, attributes) => {
    const input = h("input", { type: "number", ...attributes });
    input.value = given[name];
    return entry({ label, name, help, input });
  };
  const fields = {
    prior: entry({ label: "Prior weights w", name: "prior", help: "none: the paper's baseline",
      input: select(data.priors, given.prior) }),
    beta: numeric("beta", "β", "weight of the prior loss, β / √t", { min: 0, step: "any" }),
    epochs: numeric("epochs", "Epochs", "passes over the images", { min: 1, step: 1 }),
    seed: numeric("seed", "Seed", "of g and of the order of images", { min: 0, step: 1 }),
    scale: entry({ label: "Scale of y", name: "scale", help: "literal: as the paper has it",
      input: select(data.scales, given.scale) }),
  };

  let mode = given.concepts === null ? "all" : Array.isArray(given.concepts) ? "chosen" : "drawn";
  const boxes = data.groups.map(({ name, size }) => {
    const box = h("input", { type: "checkbox", "data-concept": name });
    box.checked = mode !== "chosen" || given.concepts.includes(name);
    return { name, box, node: h("label", {}, box, h("span", {}, size > 1 ? `${name} (${size})` : name)) };
  });
  const every = (on) => () => { for (const { box } of boxes) box.checked = on; };
  const chosen = h("fieldset", { class: "sq-boxes" }, h("legend", {}, `Which of the ${data.kinds}`),
    h("div", {}, boxes.map((b) => b.node)),
    boxes.length > 8 ? [button("all", every(true)), " ", button("none", every(false))] : null);
  const count = h("input", { type: "number", min: 1, max: data.n, step: 1 });
  count.value = mode === "drawn" ? given.concepts : Math.min(10, data.n);
  const draw = h("input", { type: "number", min: 0, step: 1 });
  draw.value = given.draw ?? 0;
  const drawn = h("div", { class: "sq-entries" },
    entry({ label: "How many", name: "count", input: count, help: `of ${data.n}` }).node,
    entry({ label: "Draw", name: "draw", input: draw, help: "another number, other concepts" }).node);
  const wrong = h("p", { class: "sq-wrong", role: "alert", "data-name": "wrong" });
  const show = () => {
    chosen.hidden = mode !== "chosen";
    drawn.hidden = mode !== "drawn";
  };
  const modes = radios({
    label: "Concepts", value: mode,
    options: [{ value: "all", text: `all ${data.n}` },
      ...(boxes.length ? [{ value: "chosen", text: "chosen" }] : []),
      { value: "drawn", text: "drawn at random" }],
    onchange(value) { mode = value; show(); },
  });
  show();

  const number = (input) => (input.value === "" ? "" : Number(input.value)); // "": not a number
  const concepts = () => ({
    all: () => null,
    chosen: () => boxes.filter((b) => b.box.checked).map((b) => b.name),
    drawn: () => Number(count.value),
  })[mode]();
  const settings = () => ({
    prior: fields.prior.input.value, beta: number(fields.beta.input),
    epochs: number(fields.epochs.input), seed: number(fields.seed.input),
    scale: fields.scale.input.value, concepts: concepts(), draw: number(draw),
  });

  // ---- running -------------------------------------------------------------------------------------

  const run = h("button", { type: "submit", class: "sq-main", "data-name": "run" }, "Run");
  const stop = button("Stop", () => line.tell({ do: "stop" }), { "data-name": "stop" });
  const controls = h("fieldset", { class: "sq-bare" },
    h("div", { class: "sq-entries" }, Object.values(fields).map((f) => f.node)),
    modes.node, chosen, drawn, h("div", { class: "sq-row" }, run, stop));
  const form = panel(controls, run, () => line.tell({ do: "run", ...settings() }));
  const progress = meter("How far the fit is");
  line.whenever((alive) => { controls.disabled = !alive; });

  function follow() {
    const status = model.get("status");
    turns(status.state !== "running", run, stop);
    progress.put(status);
    const problem = status.problem;
    complaints(fields, problem ? { [problem.field]: problem.text } : {}, root);
    wrong.textContent = problem && !fields[problem.field] ? problem.text : "";
    drawCurves();
  }

  // ---- what came out -------------------------------------------------------------------------------

  const table = h("div", { class: "sq-scroll", tabindex: 0, role: "region",
    "aria-label": `All runs. ${data.caption}` });
  const charts = h("div", { class: "sq-columns" });
  const cell = (name, value, digits = 3) => h("td", { "data-name": name, "data-value": value ?? null },
    value === null || value === undefined ? "–" : signed(value, digits));
  const percent = (value) => h("td", { "data-name": "accuracy", "data-value": value ?? null },
    value === null || value === undefined ? "–" : `${(100 * value).toFixed(1)}%`);

  function row(r) {
    const s = r.settings;
    const what = [h("td", {}, s.prior), h("td", {}, s.prior === "none" ? "–" : String(s.beta)),
      h("td", {}, s.scale), h("td", {}, String(s.seed)), h("td", {}, r.concepts)];
    const head = h("th", { scope: "row" }, String(r.number));
    if (r.state === "failed") {
      return h("tr", { "data-run": r.number }, head, what,
        h("td", { colspan: 5, class: "sq-wrong" }, `failed: ${r.problem}`));
    }
    return h("tr", { "data-run": r.number, "data-state": r.state }, head, what,
      h("td", {}, r.state === "stopped" ? `stopped: ${r.reached}` : r.reached),
      cell("entropy", r.entropy), cell("highest", r.highest), cell("deviation", r.deviation, 4),
      percent(r.accuracy));
  }

  function fillTable() {
    const runs = model.get("runs");
    if (!runs.length) {
      table.replaceChildren(h("p", { class: "sq-note" }, "No run yet."));
    } else {
      table.replaceChildren(h("table", { class: "sq-runs" },
        h("thead", {}, h("tr", {}, ["run", "prior", "β", "scale", "seed", "concepts", "epochs",
          "entropy", "at most", "deviation", "accuracy"].map((t) => h("th", { scope: "col" }, t)))),
        h("tbody", {}, [...runs].reverse().map(row))));
    }
    drawCurves();
  }

  function drawCurves() {
    const status = model.get("status");
    const curves = model.get("runs").filter((r) => r.history)
      .map((r) => ({ name: `run ${r.number}`, history: r.history }));
    if (status.history && status.state === "running") {
      curves.push({ name: `run ${status.number}`, history: status.history });
    }
    const newest = curves.at(-1)?.name;
    charts.replaceChildren(...[["distillation", "Distillation loss"], ["prior", "Prior loss"]]
      .map(([key, title]) => curveChart(title, newest, curves.slice(-CURVES)
        .map((c) => ({ name: c.name, epochs: c.history.epochs, values: c.history[key] ?? [] }))
        .filter((c) => c.values.length)))
      .filter(Boolean));
  }

  model.on("change:status", follow);
  model.on("change:runs", fillTable);
  fillTable();
  follow();
  return {
    nodes: [h("p", { class: "sq-title" }, data.title), data.about ? h("p", { class: "sq-note" }, data.about) : null,
      line.note, form, wrong, ...progress.nodes,
      h("p", { class: "sq-note" }, data.caption), table, charts],
    undo() {
      line.undo();
      model.off("change:status", follow);
      model.off("change:runs", fillTable);
    },
  };
});

/** Losses over epochs, the newest run's in colour; logarithmic if they fall far. */
function curveChart(title, newest, curves) {
  if (!curves.length) return null;
  const all = curves.flatMap((c) => c.values);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const longest = Math.max(2, ...curves.map((c) => c.epochs.at(-1)));
  const step = Math.ceil((longest - 1) / 6);
  const epochs = Array.from({ length: Math.floor((longest - 1) / step) + 1 }, (_, i) => 1 + i * step);
  const short = (v) => String(Number(v.toPrecision(2)));
  const said = `${title} by epoch. ` + curves.slice(-4)
    .map((c) => `${c.name}: ${short(c.values[0])} to ${short(c.values.at(-1))}`).join("; ");
  const { svg, plot, X, Y } = axes({ width: 340, height: 180, label: said, left: 46, right: 44, top: 10,
    x: { low: 1, high: longest, ticks: epochs.map((t) => [t, String(t)]), name: "epoch" },
    y: low > 0 && high > 4 * low ? decades(low, high) : linear(low, high) });
  // names at the ends of the curves, newest first, as far as they don't cover each other
  const named = [];
  for (const c of [...curves].reverse()) {
    const end = [X(c.epochs.at(-1)) + 5, Y(c.values.at(-1)) + 4];
    if (named.every((other) => Math.hypot(other.end[0] - end[0], 3 * (other.end[1] - end[1])) > 36)) {
      named.push({ ...c, end });
    }
  }
  const colour = (c) => (c.name === newest ? "var(--sq-accent)" : "var(--sq-muted)");
  plot.append(
    ...curves.map((c) => s("path", { class: c.name === newest ? "sq-line sq-chosen" : "sq-line sq-baseline",
      stroke: colour(c), d: through(c.values.map((v, i) => [X(c.epochs[i]), Y(v)])) })),
    ...curves.filter((c) => c.values.length === 1).map((c) => s("circle", { cx: X(c.epochs[0]), cy: Y(c.values[0]),
      r: 3, fill: colour(c) })),
    ...named.map((c) => s("text", { x: c.end[0], y: c.end[1],
      class: c.name === newest ? "sq-end sq-over" : "sq-faint sq-over" }, c.name)));
  return h("div", {}, h("p", { class: "sq-title" }, title), svg);
}
