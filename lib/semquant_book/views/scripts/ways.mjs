// Several explanations of one picture beside the truth: bars on one axis, errors, ranks.

export default view(({ data }) => {
  const right = unpack(data.right), yhat = unpack(data.yhat).values;
  const ways = data.ways.map(({ name, readings }) => ({ name, readings: new Map(readings.map(([r, packed]) => [r, unpack(packed)])) }));
  const state = { image: 0, reading: data.reading, rescaled: false };

  // ---- numbers -------------------------------------------------------------------------------------

  const truth = () => Array.from(at(right, state.image).values);

  /** A way's contributions; null where they add up to 0 and can't be scaled. */
  function contributions({ readings }) {
    const found = readings.get(state.reading) ?? [...readings.values()][0];
    const values = Array.from(at(found, state.image).values);
    if (!state.rescaled) return values;
    const whole = sum(values);
    return whole === 0 ? null : values.map((v) => v * sum(truth()) / whole);
  }

  /** The summed distance from the truth, over the truth's summed size. */
  const error = (values, t) => sum(values.map((v, k) => Math.abs(v - t[k]))) / sum(t.map(Math.abs));

  /** As `metrics.rank_agreement`: Spearman's, equal values at their mean rank. */
  function agreement(a, b) {
    const [p, q] = [a, b].map((all) => {
      const ranks = all.map((v) => sum(all.map((u) => (u < v ? 1 : u === v ? 0.5 : 0))));
      const middle = mean(ranks);
      return ranks.map((r) => r - middle);
    });
    const product = (u, v) => sum(u.map((x, k) => x * v[k]));
    return product(p, q) / Math.sqrt(product(p, p) * product(q, q));
  }

  // ---- what stands there ---------------------------------------------------------------------------

  const table = h("div");
  const score = h("p");
  const words = h("p", { class: "sq-words" });
  const status = h("p", { class: "sq-hidden", role: "status", "aria-live": "polite" });
  const photo = h("img", { width: 112, height: 112 });
  const swatch = (name) => data.colours.methods[name]
    ? h("span", { class: "sq-swatch", style: { background: data.colours.methods[name] } }) : "";

  /** A bar from 0 on the axis that all share, and a mark where the truth is. */
  function bar(value, t, { low, high }) {
    const x = (v) => 100 * (v - low) / (high - low);
    const [from, to] = [x(Math.min(0, value)), x(Math.max(0, value))];
    return s("svg", { viewBox: "0 0 100 16", preserveAspectRatio: "none", "aria-hidden": "true" },
      s("line", { class: "sq-axis", x1: x(0), x2: x(0), y1: 0, y2: 16 }),
      s("rect", { x: from, width: to - from, y: 3, height: 10, fill: data.colours.signs[value < 0 ? "negative" : "positive"] }),
      t === null ? "" : s("line", { class: "sq-true", x1: x(t), x2: x(t), y1: 0, y2: 16 }));
  }

  // roles: on a phone a row is laid out as a grid, and would lose its own
  const row = (attributes, ...cells) => h("tr", { role: "row", ...attributes }, cells);
  const head = (scope, attributes, ...inside) =>
    h("th", { scope, role: scope === "col" ? "columnheader" : "rowheader", ...attributes }, inside);
  const cell = (name, value, digits, plus, extra, kind) => h("td", Number.isFinite(value)
    ? { role: "cell", "data-name": name, "data-value": value, class: kind } : { role: "cell", "data-name": name },
  extra, h("span", {}, Number.isFinite(value) ? signed(value, digits, plus) : "–"));

  function update() {
    const t = truth();
    const columns = ways.map((way) => {
      const values = contributions(way);
      return { name: way.name, values, error: values ? error(values, t) : NaN, ranks: values ? agreement(values, t) : NaN };
    });
    const all = [0, ...t, ...columns.flatMap(({ values }) => values ?? [])];
    const axis = { low: Math.min(...all), high: Math.max(...all) };
    const room = 0.02 * (axis.high - axis.low || 1);
    axis.low -= room;
    axis.high += room;
    const best = (key, more) => {
      const known = columns.filter((c) => Number.isFinite(c[key]));
      return known.sort((a, b) => (more ? b[key] - a[key] : a[key] - b[key]))[0];
    };
    const nearest = best("error", false), ranked = best("ranks", true);
    table.replaceChildren(h("table", { class: "sq-ways", role: "table", style: { "--sq-ways": columns.length + 1 } },
      h("thead", { role: "rowgroup" },
        row({}, head("col", {}, data.unit), head("col", {}, data.truth), columns.map(({ name }) => head("col", {}, swatch(name), name))),
        row({ class: "sq-measure" }, head("row", {}, "error"), h("td", { role: "cell" }, ""), columns.map((c) =>
          cell(`error-${c.name}`, c.error, 2, false, "", c === nearest && "sq-strong"))),
        row({ class: "sq-measure" }, head("row", {}, "rank agreement"), h("td", { role: "cell" }, ""), columns.map((c) =>
          cell(`ranks-${c.name}`, c.ranks, 2, true, "", c === ranked && "sq-strong")))),
      h("tbody", { role: "rowgroup" },
        data.names.map((name, k) => row({}, head("row", {},
          h("span", { class: "sq-swatch", style: { background: data.colours.parts[name] } }), name),
        cell(`truth-${name}`, t[k], 2, true, bar(t[k], null, axis)),
        columns.map((c) => cell(`${c.name}-${name}`, c.values?.[k], 2, true, c.values ? bar(c.values[k], t[k], axis) : "")))),
        row({ class: "sq-measure" }, head("row", {}, "sum"), cell("truth-sum", sum(t), 2, true, ""),
          columns.map((c) => cell(`${c.name}-sum`, c.values ? sum(c.values) : NaN, 2, true, ""))))));
    photo.src = data.pictures[state.image];
    photo.alt = data.labels[state.image];
    score.textContent = `${data.labels[state.image]}: ${data.title} gives it the score ŷ = ${signed(yhat[state.image])}.`;
    const told = nearest ? `Nearest to the truth is ${nearest.name}, with an error of ${signed(nearest.error)}`
      + (ranked ? `; ${ranked === nearest ? "it also" : ranked.name} ranks the ${data.unit}s best, with an agreement of ${signed(ranked.ranks, 2, true)}.` : ".")
      : "No way can be compared with the truth.";
    words.textContent = told;
    status.textContent = `${data.labels[state.image]}${data.readings.length ? `, y ${state.reading}` : ""}, `
      + `${state.rescaled ? "rescaled" : "as they are"}. ${told}`;
  }

  const nodes = h("div", { class: "sq-several" },
    h("div", { class: "sq-row" }, thumbnails({ label: "Image", pictures: data.pictures, labels: data.labels, value: 0,
      onchange(k) { state.image = k; update(); } })),
    h("div", { class: "sq-row" },
      data.readings.length > 1 && radios({ label: "Reading of y", value: state.reading,
        options: data.readings.map((value) => ({ value, text: value })), onchange(v) { state.reading = v; update(); } }).node,
      radios({ label: "Contributions", value: "raw",
        options: [{ value: "raw", text: "as they are" }, { value: "rescaled", text: "scaled to the truth’s sum" }],
        onchange(v) { state.rescaled = v === "rescaled"; update(); } }).node),
    h("div", { class: "sq-one" }, photo, score), table, words,
    h("p", { class: "sq-note" }, data.note), status);
  update();
  return { nodes };
});
