// The trial as a map: every fit by its evenness and its distance from what is true.

export default view(({ data }) => {
  const { performers, fits, evenness, colours, varied } = data;
  const names = new Map(data.measures);
  const networks = [...new Set(performers.map(({ network }) => network))];
  const state = { optimizer: "sgd", start: "high", rate: "", prior: "measured", network: "", measure: data.measures[0][0],
    set: 0, ...Object.fromEntries(varied.map(({ field }) => [field, 0])) };

  // ---- numbers -------------------------------------------------------------------------------------

  // the trial's performers and fits don't say what they have as the trial: set 0, and 0 of all that is varied
  const inSet = ({ set = 0, fading = 0 }) => set === state.set && (!set || fading === state.fading);
  const shown = () => [...performers.keys()].filter((k) => inSet(performers[k]) && (!state.network || performers[k].network === state.network));
  const ofSet = () => fits.filter((f) => (performers[f.performer].set ?? 0) === state.set);
  const known = (fit) => Boolean(fit) && fit[evenness] !== null && fit[state.measure] !== null;
  const asVaried = (fit) => varied.every(({ field }) => (fit[field] ?? 0) === state[field]);
  const here = (fit) => (performers[fit.performer].set ?? 0) === state.set && asVaried(fit)
    && fit.optimizer === state.optimizer && fit.start === state.start;
  const taken = (fit) => here(fit) && (state.rate ? fit.rate === Number(state.rate) : fit.chosen);

  /** Of each performer the fit without the prior loss, and the one with the chosen prior. */
  const pairs = () => shown().map((k) => {
    const [from, to] = ["none", state.prior].map((prior) => fits.find((f) => f.performer === k && f.prior === prior && taken(f)));
    return { k, from, to };
  }).filter(({ from, to }) => known(from) && known(to));

  /** Mean of a field, its mean change, and in how many it goes up and down. */
  function change(found, field) {
    const steps = found.map(({ from, to }) => to[field] - from[field]);
    return { from: mean(found.map(({ from }) => from[field])), to: mean(found.map(({ to }) => to[field])), by: mean(steps),
      up: steps.filter((v) => v > 0).length, down: steps.filter((v) => v < 0).length };
  }

  /** What needs no explainer, mean over the performers shown. */
  const yardsticks = () => data.yardsticks.flatMap(({ name, values }) => {
    const found = shown().map((k) => values[state.measure]?.[k] ?? null).filter((v) => v !== null);
    return found.length ? [{ name, value: mean(found) }] : [];
  }).sort((a, b) => a.value - b.value);

  const counted = (n) => `${n} performer${n === 1 ? "" : "s"}`;
  const regime = () => `${data.optimizers[state.optimizer]}, ${state.start} start, `
    + `${state.prior === "none" ? "no prior loss" : `${state.prior} prior`}${state.rate ? `, rate ${state.rate}` : ""}`
    + varied.map(({ field, label, options }) => (state[field] ? `, ${label[0].toLowerCase()}${label.slice(1)} ${options[state[field]]}` : "")).join("");

  // ---- the chart -----------------------------------------------------------------------------------

  /** An arrow that ends before the mark it points at. */
  function arrow([x0, y0], [x1, y1], room, strong) {
    const length = Math.hypot(x1 - x0, y1 - y0);
    if (length < room + 2) return "";
    const [dx, dy] = [(x1 - x0) / length, (y1 - y0) / length], [x, y] = [x1 - room * dx, y1 - room * dy], wing = strong ? 7 : 5;
    const side = (turn) => `M${x},${y}L${x - wing * (dx - turn * dy)},${y - wing * (dy + turn * dx)}`;
    return s("path", { class: `sq-arrow${strong ? " sq-strong" : ""}`, d: `M${x0},${y0}L${x},${y}${side(0.6)}${side(-0.6)}` });
  }

  const colour = (prior) => colours[prior === "none" ? "baseline" : "ours"];
  const mark = (network, fill) => s("svg", { viewBox: "-8 -8 16 16", class: "sq-shape", "aria-hidden": "true" },
    s("path", { d: shape(networks.indexOf(network), 5.2), fill, class: "sq-mark" }));

  function draw(width) {
    const field = state.measure, height = width < 420 ? 320 : 380, lines = yardsticks();
    // the same axes for every regime, so that they can be compared
    const all = ofSet().filter(known), values = [...all.map((f) => f[field]), ...lines.map(({ value }) => value)].filter((v) => v > 0);
    const low = Math.min(...values), x = linear(Math.min(...all.map((f) => f[evenness])), Math.max(...all.map((f) => f[evenness])),
      { name: "H / ln n", about: 5 });
    const { svg, plot, X, Y } = axes({ width, height, x, y: decades(low * 0.85, Math.max(...values)), label: inWords(), left: 40 });
    const at = (f) => [X(f[evenness]), Y(Math.max(f[field], low))];
    const put = (f, more, radius) => s("path", { d: shape(networks.indexOf(performers[f.performer].network), radius),
      transform: `translate(${at(f).map((v) => v.toFixed(1))})`, ...more },
    s("title", {}, `${performers[f.performer].name}: H / ln n ${signed(f[evenness], 3)}, ${names.get(field)} ${signed(f[field], 3)}`));
    const found = pairs(), alone = state.prior === "none", visible = new Set(shown());
    plot.append(
      ...all.filter((f) => visible.has(f.performer) && !taken(f)).map((f) => s("circle", { class: "sq-other", r: 2.4, cx: at(f)[0], cy: at(f)[1] })),
      ...lines.flatMap(({ name, value }, k) => [
        s("line", { class: "sq-yardstick", "data-way": name, x1: 40, x2: width - 10, y1: Y(value), y2: Y(value) }),
        s("text", { class: "sq-over", x: width - 10, y: Y(value) + (k ? -4 : 12), "text-anchor": "end" }, name)]),
      ...found.flatMap(({ from, to }) => [alone ? "" : arrow(at(from), at(to), 5, false),
        put(from, { class: "sq-mark sq-one", fill: colour("none") }, 4.2),
        alone ? "" : put(to, { class: "sq-mark sq-one", fill: colour(state.prior) }, 4.2)]));
    if (found.length) {
      const [a, b] = [change(found, evenness), change(found, field)];
      const [first, last] = [[X(a.from), Y(b.from)], [X(a.to), Y(b.to)]];
      const middle = ([cx, cy], prior) => s("circle", { class: "sq-middle", r: 7.5, cx, cy, fill: colour(prior) }, s("title", {}, "mean"));
      plot.append(...[alone ? "" : arrow(first, last, 9, true), middle(first, "none"), alone ? "" : middle(last, state.prior)].filter(Boolean));
    }
    return svg;
  }

  const inWords = () => `A map: ${names.get(state.measure)} upwards, H / ln n to the right. ${words.textContent} `
    + yardsticks().map(({ name, value }) => `${name} ${signed(value, 3)}`).join(", ");

  // ---- in words ------------------------------------------------------------------------------------

  const heading = h("h4"), key = h("p", { class: "sq-key" }), words = h("p", { class: "sq-words" }), table = h("table", { class: "sq-numbers" });
  const note = h("p", { class: "sq-note" }), status = h("p", { class: "sq-hidden", role: "status", "aria-live": "polite" });
  const chart = sized(draw, 680);
  const shows = (name, value, plus = false) => h("span", { "data-name": name, "data-value": value }, signed(value, 3, plus));

  function sentence(found) {
    const name = names.get(state.measure), left = shown().length - found.length;
    if (!found.length) return ["no performer has these fits."];
    const [a, b] = [change(found, evenness), change(found, state.measure)];
    const moved = (what, { by, up, down }) => state.prior === "none" ? [] : [", ", shows(`${what}-change`, by, true),
      ` against no prior loss (up in ${up}, down in ${down})`];
    return [`over ${counted(found.length)} H / ln n is `, shows("evenness", a.to), ...moved("evenness", a), `; the ${name} is `, shows("measure", b.to),
      ...moved("measure", b), ".", left ? ` ${counted(left)} without such fits left out.` : "",
      ...(state.measure === "entropy shapley" ? [" The truth’s own entropy, over part groups, is ",
        shows("truth", mean(found.map(({ k }) => performers[k].entropy))), " nats; what counts is to be near it, not above."] : [])];
  }

  function update() {
    const name = names.get(state.measure), found = pairs(), alone = state.prior === "none";
    heading.textContent = `${name[0].toUpperCase()}${name.slice(1)} (upwards, logarithmic; less is better) and evenness`;
    words.replaceChildren(h("strong", {}, `${regime()}: `), ...sentence(found).filter(Boolean));
    const drawn = networks.filter((n) => shown().some((k) => performers[k].network === n));
    const swatch = (prior) => h("span", { class: "sq-swatch", style: { background: colour(prior) } });
    key.replaceChildren(...drawn.map((n) => h("span", {}, mark(n, "var(--sq-muted)"), n)), h("span", {}, swatch("none"), "without the prior loss"),
      ...(alone ? [] : [h("span", {}, swatch(state.prior), `${state.prior} prior`)]), h("span", {}, "large: mean"), h("span", {}, "grey: all other fits"));
    const cell = (field, { from, to }) => h("td", {}, alone ? "" : `${signed(from[field], 3)} → `, signed(to[field], 3));
    table.replaceChildren(
      h("thead", {}, h("tr", {}, ["performer", "H / ln n", name, "truth’s H"].map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, found.map((pair) => h("tr", {}, h("th", { scope: "row" }, performers[pair.k].name),
        cell(evenness, pair), cell(state.measure, pair), h("td", {}, signed(performers[pair.k].entropy, 3))))));
    chart.fill();
    status.textContent = words.textContent;
  }

  // ---- controls ------------------------------------------------------------------------------------

  const controls = h("div", { class: "sq-row" });
  const pick = (name, label, values, text = (v) => v) => radios({ label, value: state[name],
    options: values.map((value) => ({ value, text: text(value) })), onchange(v) { state[name] = v; regimes(); } }).node;
  const each = (values, field) => values.filter((v) => fits.some((f) => here(f) && f[field] === v));

  /** Rates and priors are those that were fitted in the regime; the others can't be chosen. */
  const rate = h("div"), prior = h("div");
  function regimes() {
    const rates = [...new Set(fits.filter(here).map((f) => f.rate))].sort((a, b) => a - b).map(String);
    if (rates.length < 2 || !rates.includes(state.rate)) state.rate = "";
    const options = each(["none", "measured", "permuted", "uniform"], "prior").filter((p) => fits.some((f) => f.prior === p && taken(f)));
    if (!options.includes(state.prior)) state.prior = options.includes("measured") ? "measured" : options[0] ?? "measured"; // no fits here
    rate.replaceChildren(...(rates.length < 2 ? [] : [choice({ label: "Learning rate", value: state.rate,
      options: [{ value: "", text: "the one that counts" }, ...rates.map((value) => ({ value, text: value }))],
      onchange(v) { state.rate = v; regimes(); rate.querySelector("select").focus(); } }).node]));
    const before = prior.contains(document.activeElement);
    prior.replaceChildren(pick("prior", "Prior", options));
    if (before) prior.querySelector(":checked")?.focus();
    note.textContent = data.sets[state.set].note;
    update();
  }

  /** What is there to choose from among a set's performers: networks, and what is varied. */
  const there = h("div", { class: "sq-row" });
  function ofThese(changed) {
    const mine = ofSet(), has = (field, k) => mine.some((f) => (f[field] ?? 0) === k);
    if (!mine.some(asVaried)) for (const { field } of varied) if (field !== changed) state[field] = 0;
    const nets = networks.filter((n) => performers.some((p) => (p.set ?? 0) === state.set && p.network === n));
    if (!nets.includes(state.network)) state.network = "";
    const choices = [["network", "Network", [["", "all"], ...nets.map((n) => [n, n])], (v) => v],
      ...varied.map(({ field, label, options }) => [field, label, options.map((text, k) => [k, text]).filter(([k]) => has(field, k)), Number])];
    let focus = null;
    there.replaceChildren(...choices.filter(([field,, options]) => options.length > (field === "network" ? 2 : 1)).map(([field, label, options, read]) => {
      const { node, input } = choice({ label, value: state[field], options: options.map(([value, text]) => ({ value, text })),
        onchange(v) { state[field] = read(v); ofThese(field); } });
      if (field === changed) focus = input;
      return node;
    }));
    focus?.focus();
    regimes();
  }

  controls.append(pick("optimizer", "Optimiser", ["sgd", "adamw"], (v) => data.optimizers[v]), pick("start", "Start", ["high", "fitting"]), rate, prior);
  const nodes = h("div", { class: "sq-factorial" }, controls,
    h("div", { class: "sq-row" },
      choice({ label: "Upwards", value: state.measure, options: data.measures.map(([value, text]) => ({ value, text })),
        onchange(v) { state.measure = v; update(); } }).node,
      data.sets.length > 1 && choice({ label: "Performers", value: 0, options: data.sets.map(({ name }, value) => ({ value, text: name })),
        onchange(v) { Object.assign(state, { set: Number(v) }, Object.fromEntries(varied.map(({ field }) => [field, 0]))); ofThese(); } }).node), there,
    heading, chart.node, key, words, h("details", {}, h("summary", {}, "Every performer in numbers"), table),
    note, status);
  ofThese();
  return { nodes, undo: chart.undo };
});
