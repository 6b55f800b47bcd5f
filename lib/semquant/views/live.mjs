// Distilling again with other settings; the kernel does the work.

const CURVES = 8; // so many runs are drawn, the last ones

export default view(({ model, data, root }) => {
  root.classList.add("sq-redistill");
  root.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own keys
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
    value === null || value === undefined ? "–" : `${(100 * value).toFixed(1)} %`);

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

/** Losses over epochs, the newest run's in colour; logarithmic, unless a loss is 0. */
function curveChart(title, newest, curves) {
  if (!curves.length) return null;
  const [width, height, left, right, top, bottom] = [340, 180, 46, 44, 10, 34];
  const all = curves.flatMap((c) => c.values);
  const log = Math.min(...all) > 0;
  const scaled = (v) => (log ? Math.log10(v) : v);
  let [low, high] = [Math.min(...all.map(scaled)), Math.max(...all.map(scaled))];
  const room = (high - low) * 0.06 || 0.05 * Math.abs(high) || 0.05;
  [low, high] = [low - room, high + room];
  const longest = Math.max(2, ...curves.map((c) => c.epochs.at(-1)));
  const x = (epoch) => left + (width - left - right) * (epoch - 1) / (longest - 1);
  const y = (v) => top + (height - top - bottom) * (high - scaled(v)) / (high - low);
  const marks = ticks(low, high, 4).map((t) => (log ? 10 ** t : t));
  const step = Math.ceil((longest - 1) / 6);
  const epochs = Array.from({ length: Math.floor((longest - 1) / step) + 1 }, (_, i) => 1 + i * step);
  const short = (v) => String(Number(v.toPrecision(2)));
  const said = `${title} by epoch. ` + curves.slice(-4)
    .map((c) => `${c.name}: ${short(c.values[0])} to ${short(c.values.at(-1))}`).join("; ");
  // names at the ends of the curves, newest first, as far as they don't cover each other
  const named = [];
  for (const c of [...curves].reverse()) {
    const end = y(c.values.at(-1));
    if (named.every((other) => Math.abs(other.end - end) > 11)) named.push({ ...c, end });
  }
  return h("div", {}, h("p", { class: "sq-title" }, title),
    s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said },
      marks.map((m) => [
        s("line", { class: "sq-grid", x1: left, x2: width - right, y1: y(m), y2: y(m) }),
        s("text", { class: "sq-faint", x: left - 6, y: y(m) + 4, "text-anchor": "end" }, short(m)),
      ]),
      epochs.map((t) => s("text", { class: "sq-faint", x: x(t), y: height - bottom + 16,
        "text-anchor": "middle" }, String(t))),
      s("text", { class: "sq-faint", x: (left + width - right) / 2, y: height - 3, "text-anchor": "middle" }, "epoch"),
      curves.map((c) => {
        const points = c.values.map((v, i) => [x(c.epochs[i]), y(v)]);
        const now = c.name === newest;
        const colour = now ? "var(--sq-accent)" : "var(--sq-muted)";
        return [
          s("polyline", { points: points.map((p) => p.join(",")).join(" "), fill: "none", stroke: colour,
            "stroke-width": now ? 2.2 : 1.2, "stroke-dasharray": now ? null : "4 2" }),
          points.length === 1 ? s("circle", { cx: points[0][0], cy: points[0][1], r: 3, fill: colour }) : null,
        ];
      }),
      named.map((c) => s("text", { x: x(c.epochs.at(-1)) + 5, y: c.end + 4,
        class: c.name === newest ? null : "sq-faint" }, c.name))));
}
