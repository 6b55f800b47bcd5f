// The bias-interpreting explorer: how the prior's strength spreads the contributions, over training.

export default view(({ data }) => {
  const { methods, signs, parts } = data.colours;
  const runs = data.runs.map((run) => ({
    ...run,
    ...Object.fromEntries(["alpha", "bias", "y", "yhat", "entropy", "deviation", "accuracy"]
      .map((name) => [name, unpack(run[name])])),
  }));
  const state = { run: 0, image: 0, seed: 0, order: "number", outline: true, concept: 0 };
  const now = () => runs[state.run];
  const all = () => state.seed === now().seeds.length; // the mean over seeds
  const seeds = () => (all() ? now().seeds.map((_, k) => k) : [state.seed]);

  // ---- numbers -------------------------------------------------------------------------------------

  /** A measure on the test images: its mean, lowest and highest value over the chosen seeds. */
  function measure(name, beta, epoch) {
    const found = seeds().map((seed) => at(now()[name], beta, seed).values[epoch]);
    return { mean: mean(found), low: Math.min(...found), high: Math.max(...found) };
  }

  /** What each concept contributes to the chosen image with a beta, for each of the chosen seeds. */
  const contributions = (beta) => seeds().map((seed) => {
    const alpha = at(now().alpha, beta, seed, state.epoch, state.image).values;
    return Float64Array.from(at(now().y, state.image).values, (y, i) => alpha[i] * y);
  });

  /** The same with all that is said of them, means over the chosen seeds. */
  function explained(beta) {
    const each = contributions(beta);
    const values = each[0].map((_, i) => mean(each.map((c) => c[i])));
    const b = mean(seeds().map((seed) => at(now().bias, beta, seed).values[state.epoch]));
    return {
      each, values, b, sum: sum(values),
      entropy: mean(each.map(entropy)),
      carry: mean(each.map((c) => carry(c))),
    };
  }

  /** How many concepts it takes to make up nine tenths of the contributions' sizes. */
  function carry(values) {
    const sizes = Float64Array.from(values, Math.abs).sort().reverse();
    const wanted = 0.9 * sum(sizes);
    let reached = 0;
    return sizes.findIndex((size) => (reached += size) >= wanted * (1 - 1e-12)) + 1 || sizes.length;
  }

  const called = (i) => {
    const { phrases, names } = now();
    return phrases ? phrases[i][at(now().y, state.image).values[i] > 0 ? 0 : 1] : names[i];
  };
  const named = (beta) => `β = ${now().betas[beta]}`;
  const colour = (i, value) => (now().parts ? parts[now().parts[i]] : signs[value < 0 ? "negative" : "positive"]);

  // ---- what stands there ---------------------------------------------------------------------------

  const choose = h("div", { class: "sq-row" });
  const strength = h("div", { class: "sq-row sq-sliders" });
  const options = h("div", { class: "sq-row sq-options" });
  const looked = h("div", { class: "sq-row sq-sliders" });
  const title = h("h4");
  const key = h("p", { class: "sq-note sq-key" });
  const table = h("table", { class: "sq-numbers" });
  const words = h("p", { class: "sq-words" });
  const equation = h("p", { class: "sq-note" });
  const note = h("p", { class: "sq-note" });
  const status = h("p", { class: "sq-hidden", role: "status", "aria-live": "polite" });
  let bars, concept, controls;
  const chart = sized(drawBars);
  const curves = [
    { name: "entropy", title: "Entropy of the contributions", log: false },
    { name: "deviation", title: "Relative deviation", log: true },
  ];
  for (const curve of curves) curve.place = sized((width) => drawCurve(curve, width), 280);

  function startRun() {
    const run = now();
    state.image = Math.min(state.image, run.pictures.length - 1);
    state.seed = Math.min(state.seed, run.seeds.length);
    state.beta = run.betas.indexOf(run.usual) < 0 ? run.betas.length - 1 : run.betas.indexOf(run.usual);
    state.epoch = run.epochs.length - 1;
    if (state.order === "part" && !run.parts) state.order = "number";
    choose.replaceChildren(
      runs.length > 1 ? choice({
        label: "Explained", value: state.run,
        options: runs.map((r, k) => ({ value: k, text: r.title })),
        onchange(k) { state.run = Number(k); startRun(); choose.querySelector("select").focus(); },
      }).node : "",
      thumbnails({ label: "Image", pictures: run.pictures, labels: run.labels, value: state.image,
        onchange(k) { state.image = k; arrange(); fresh(); } }));
    controls = {
      beta: slider({ label: "Strength β", min: 0, max: run.betas.length - 1, value: state.beta,
        show: (k) => String(run.betas[k]), oninput(k) { state.beta = k; update(); } }),
      epoch: slider({ label: "Epoch", min: 0, max: run.epochs.length - 1, value: state.epoch,
        show: (k) => String(run.epochs[k]), oninput(k) { state.epoch = k; update(); } }),
      seed: slider({ label: "Seed", min: 0, max: run.seeds.length, value: state.seed,
        show: (k) => (k === run.seeds.length ? "mean of all" : String(run.seeds[k])),
        oninput(k) { state.seed = k; update(); } }),
    };
    strength.replaceChildren(...Object.values(controls).map((c) => c.node));
    const outline = h("input", { type: "checkbox", id: unique("outline") });
    outline.checked = state.outline;
    outline.addEventListener("change", () => { state.outline = outline.checked; update(); });
    options.replaceChildren(
      radios({ label: "Order", value: state.order, options: [
        { value: "number", text: run.parts ? "by number" : "as listed" }, { value: "size", text: "by size" },
        run.parts && { value: "part", text: "by part" }].filter(Boolean),
      onchange(value) { state.order = value; update(); } }).node,
      h("div", { class: "sq-control sq-check" }, outline,
        h("label", { for: outline.id }, "outline of β = 0, the baseline")));
    state.concept = -1;
    arrange(); // this run's concepts, before one is looked at
    concept = slider({ label: "Look at", min: 0, max: run.names.length - 1, value: 0,
      show: (place) => spoken(place), oninput(place) { state.concept = arranged[place]; mark(); } });
    concept.node.classList.add("sq-wide");
    looked.replaceChildren(concept.node);
    key.replaceChildren(...(run.parts
      ? data.parts.filter((part) => run.parts.includes(part))
        .map((part) => h("span", {}, swatch(parts[part]), part))
      : ["positive", "negative"].map((sign) => h("span", {}, swatch(signs[sign]),
        sign === "positive" ? "speaks for the score" : "speaks against it"))));
    note.textContent = run.note;
    fresh();
  }

  const swatch = (fill) => h("span", { class: "sq-swatch", style: { background: fill } });
  /** Draw everything anew: another run, another image. */
  function fresh() {
    chart.fill();
    for (const { place } of curves) place.fill();
    update();
  }

  // ---- the bars ------------------------------------------------------------------------------------

  let arranged = []; // the concepts in the order that they are shown in
  function arrange() {
    const { values } = explained(state.beta);
    arranged = [...values.keys()];
    const bySize = (a, b) => Math.abs(values[b]) - Math.abs(values[a]) || a - b;
    if (state.order === "size") arranged.sort(bySize);
    if (state.order === "part") {
      const rank = (i) => data.parts.indexOf(now().parts[i]);
      arranged.sort((a, b) => rank(a) - rank(b) || bySize(a, b));
    }
    if (state.concept < 0) state.concept = [...values.keys()].sort(bySize)[0];
  }

  function drawBars(width) {
    const height = width < 420 ? 220 : 258;
    const n = now().names.length;
    bars = { width, height, n, svg: s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: "sq-bars" }),
      ground: s("g"), rects: [], frames: [], spans: [] };
    for (let i = 0; i < n; i++) {
      bars.rects.push(s("rect", { class: "sq-mark", "data-concept": i }));
      bars.frames.push(s("path", { class: "sq-frame" }));
      bars.spans.push(s("line", { class: "sq-span" }));
    }
    bars.pointer = s("path", { class: "sq-pointer" });
    bars.svg.append(bars.ground, ...bars.rects, ...bars.frames, ...bars.spans, bars.pointer);
    bars.svg.addEventListener("pointermove", (event) => lookAt(pointed(bars.svg, event)[0]));
    bars.svg.addEventListener("click", (event) => lookAt(pointed(bars.svg, event)[0]));
    updateBars();
    return bars.svg;
  }

  const LEFT = 40, RIGHT = 4, TOP = 6, BOTTOM = 28;
  function lookAt(x) {
    const step = (bars.width - LEFT - RIGHT) / bars.n;
    const place = Math.floor((x - LEFT) / step);
    if (place < 0 || place >= bars.n || arranged[place] === state.concept) return;
    state.concept = arranged[place];
    concept.set(place);
    mark();
  }

  function updateBars() {
    const shown = explained(state.beta), without = explained(0);
    const scale = reach();
    const axis = linear(scale.low, scale.high, { about: 6, room: 0.03 });
    const { width, height, n } = bars;
    const Y = (v) => TOP + (axis.high - Math.max(Math.min(v, axis.high), axis.low)) / (axis.high - axis.low)
      * (height - TOP - BOTTOM);
    const step = (width - LEFT - RIGHT) / n;
    bars.ground.replaceChildren(
      ...axis.ticks.map(([value, text]) => s("g", {},
        s("line", { class: value ? "sq-grid" : "sq-axis", x1: LEFT, x2: width - RIGHT, y1: Y(value), y2: Y(value) }),
        s("text", { class: "sq-faint", x: LEFT - 5, y: Y(value) + 3.5, "text-anchor": "end" }, text))),
      s("text", { class: "sq-faint", x: width - RIGHT, y: height - 4, "text-anchor": "end" },
        `${n} ${now().unit}`));
    arranged.forEach((i, place) => {
      const x = LEFT + place * step, thick = Math.max(step - (step > 5 ? 1.5 : 0.6), 1);
      const v = shown.values[i], o = without.values[i];
      const box = (value) => [Math.min(Y(0), Y(value)), Math.abs(Y(value) - Y(0))];
      const [top, high] = box(v);
      const rect = bars.rects[i];
      for (const [name, value] of Object.entries({ x: x + (step - thick) / 2, y: top, width: thick, height: high,
        fill: colour(i, v), "data-value": v })) rect.setAttribute(name, value);
      const [frameTop, frameHigh] = box(o);
      const a = x + (step - thick) / 2, b = a + thick, far = o < 0 ? frameTop + frameHigh : frameTop;
      bars.frames[i].setAttribute("d", state.outline ? `M${a},${Y(0)}V${far}H${b}V${Y(0)}` : "");
      const spread = shown.each.map((c) => c[i]);
      const line = { x1: x + step / 2, x2: x + step / 2,
        y1: Y(Math.min(...spread)), y2: Y(Math.max(...spread)) };
      for (const [name, value] of Object.entries(line)) bars.spans[i].setAttribute(name, value);
      bars.spans[i].style.display = all() ? "" : "none";
    });
    bars.Y = Y;
    bars.step = step;
    title.textContent = `Contributions αᵢyᵢ, ${named(state.beta)}, epoch ${now().epochs[state.epoch]}`;
    const top = [...shown.values.keys()].sort((a, b) => Math.abs(shown.values[b]) - Math.abs(shown.values[a])).slice(0, 3);
    bars.svg.setAttribute("aria-label", `Contributions of ${n} ${now().unit} to the score of ${now().labels[state.image]}; `
      + `the largest: ${top.map((i) => `${called(i)} ${signed(shown.values[i], 2, true)}`).join(", ")}`);
    mark();
  }

  /** The scale of the bars: the same for all strengths and seeds of an image in an epoch. */
  function reach() {
    let low = 0, high = 0;
    for (let beta = 0; beta < now().betas.length; beta++) {
      for (let seed = 0; seed < now().seeds.length; seed++) {
        const alpha = at(now().alpha, beta, seed, state.epoch, state.image).values;
        at(now().y, state.image).values.forEach((y, i) => {
          low = Math.min(low, alpha[i] * y);
          high = Math.max(high, alpha[i] * y);
        });
      }
    }
    return { low, high };
  }

  function spoken(place) {
    const i = arranged[place];
    return `${called(i)}: ${signed(explained(state.beta).values[i], 3, true)}`
      + (state.beta ? ` (β = 0: ${signed(explained(0).values[i], 3, true)})` : "");
  }

  function mark() {
    const x = LEFT + (arranged.indexOf(state.concept) + 0.5) * bars.step, y = bars.height - BOTTOM + 3;
    bars.pointer.setAttribute("d", `M${x},${y}l4,7h-8Z`);
  }

  // ---- the curves ----------------------------------------------------------------------------------

  function drawCurve(curve, width) {
    const { epochs, betas } = now();
    const height = 142;
    const values = betas.flatMap((_, beta) => now().seeds.flatMap((__, seed) => [...at(now()[curve.name], beta, seed).values]));
    const low = Math.min(...values), high = Math.max(...values);
    const y = curve.log ? decades(low, high) : linear(low, high, { about: 3 });
    const { svg, plot, X, Y } = axes({ width, height, label: curve.title, left: 38, right: 40,
      x: { low: -0.15, high: epochs.length - 0.85, ticks: epochs.map((t, k) => [k, String(t)]), name: "epoch" }, y });
    const lines = betas.map((beta) => s("path", { class: beta ? "sq-line" : "sq-line sq-baseline",
      stroke: beta ? methods.ours : methods.baseline }));
    const band = s("path", { class: "sq-band" });
    const dot = s("circle", { r: 5, class: "sq-dot" });
    const text = s("text", { class: "sq-end" });
    plot.append(band, ...lines, dot, text);
    const pick = (event) => {
      if (event.pointerType === "touch" && event.type !== "click") return; // a finger scrolls
      if (event.type === "pointermove" && !event.buttons) return;
      const [px, py] = pointed(svg, event);
      const epoch = nearest(epochs.map((_, k) => X(k)), px);
      const beta = nearest(betas.map((_, k) => Y(measure(curve.name, k, epoch).mean)), py);
      state.epoch = epoch;
      state.beta = beta;
      controls.epoch.set(epoch);
      controls.beta.set(beta);
      update();
    };
    for (const type of ["pointerdown", "pointermove", "click"]) svg.addEventListener(type, pick);
    curve.parts = { svg, lines, band, dot, text, X, Y };
    updateCurve(curve);
    return svg;
  }

  function updateCurve(curve) {
    const { svg, lines, band, dot, text, X, Y } = curve.parts;
    const { epochs, betas } = now();
    betas.forEach((_, beta) => {
      const points = epochs.map((__, k) => [X(k), Y(measure(curve.name, beta, k).mean)]);
      lines[beta].setAttribute("d", through(points));
      lines[beta].classList.toggle("sq-chosen", beta === state.beta);
    });
    lines[state.beta].parentNode.insertBefore(lines[state.beta], dot); // above the others
    const fill = state.beta ? methods.ours : methods.baseline;
    const found = epochs.map((_, k) => measure(curve.name, state.beta, k));
    band.setAttribute("d", all() ? through([...found.map((m, k) => [X(k), Y(m.high)]),
      ...found.map((m, k) => [X(k), Y(m.low)]).reverse()]) + "Z" : "");
    band.setAttribute("fill", fill);
    const here = found[state.epoch];
    dot.setAttribute("cx", X(state.epoch));
    dot.setAttribute("cy", Y(here.mean));
    dot.setAttribute("fill", fill);
    const last = found.at(-1).mean;
    text.setAttribute("x", X(epochs.length - 1) + 7);
    text.setAttribute("y", Y(last) + 3.5);
    text.textContent = `β ${betas[state.beta]}`;
    const digits = curve.name === "entropy" ? 2 : 3;
    svg.setAttribute("aria-label", `${curve.title} over epochs, a line for each β; with ${named(state.beta)} `
      + epochs.map((t, k) => `${signed(found[k].mean, digits)} at epoch ${t}`).join(", "));
  }

  // ---- in numbers ----------------------------------------------------------------------------------

  function update() {
    arrange();
    concept.set(arranged.indexOf(state.concept));
    updateBars();
    curves.forEach(updateCurve);
    speak();
  }

  function speak() {
    const run = now(), yhat = run.yhat.values[state.image], n = run.names.length;
    const rows = [...new Set([state.beta, 0])].map((beta) => ({
      beta, image: explained(beta), name: beta === state.beta ? "" : "baseline-",
      ...Object.fromEntries(["entropy", "deviation", "accuracy"].map((m) => [m, measure(m, beta, state.epoch)])),
    }));
    const cell = (name, value, text) => h("td", { "data-name": name, "data-value": value }, text);
    const range = ({ mean: value, low, high }, digits) => signed(value, digits)
      + (all() ? ` ± ${((high - low) / 2).toFixed(digits)}` : "");
    const lines = [
      ["entropy H(c)", (row) => cell(`${row.name}entropy`, row.entropy.mean, range(row.entropy, 2))],
      ["relative deviation", (row) => cell(`${row.name}deviation`, row.deviation.mean, range(row.deviation, 3))],
      ["accuracy", (row) => cell(`${row.name}accuracy`, row.accuracy.mean, `${(100 * row.accuracy.mean).toFixed(1)}%`)],
      ["H(c) of this image", (row) => cell(`${row.name}image-entropy`, row.image.entropy, signed(row.image.entropy))],
      [`${run.unit} that make up 90%`, (row) => cell(`${row.name}carry`, row.image.carry,
        `${Number(row.image.carry.toFixed(1))} of ${n}`)],
    ];
    table.replaceChildren(
      h("thead", {}, h("tr", {}, h("td"), rows.map((row) => h("th", { scope: "col" },
        swatch(row.beta ? methods.ours : methods.baseline), named(row.beta))))),
      h("tbody", {}, lines.map(([name, of]) => h("tr", {}, h("th", { scope: "row" }, name), rows.map(of)))));
    const [chosen, baseline] = [rows[0], rows.at(-1)];
    // rounded so that what is printed adds up
    const total = rounded(chosen.image.sum) + rounded(chosen.image.b);
    equation.replaceChildren(`${run.labels[state.image]}: `,
      "Σ αᵢyᵢ + b = ", h("span", { "data-name": "sum", "data-value": chosen.image.sum }, signed(rounded(chosen.image.sum))),
      h("span", { "data-name": "bias", "data-value": chosen.image.b },
        ` ${rounded(chosen.image.b) < 0 ? "−" : "+"} ${Math.abs(chosen.image.b).toFixed(2)}`),
      " = ", h("span", { "data-name": "total", "data-value": chosen.image.sum + chosen.image.b }, signed(total)),
      "; left over: ", h("span", { "data-name": "residual", "data-value": yhat - chosen.image.sum - chosen.image.b },
        signed(rounded(yhat) - total, 2, true)));
    const than = (a, b, digits) => {
      const gap = rounded(a, digits) - rounded(b, digits);
      return Math.abs(gap) < 0.5 * 10 ** -digits ? "as in the baseline"
        : `${Math.abs(gap).toFixed(digits)} ${gap > 0 ? "above" : "below"} the baseline`;
    };
    const where = `epoch ${run.epochs[state.epoch]}, ${all() ? "mean of seeds" : `seed ${run.seeds[state.seed]}`}`;
    words.replaceChildren(h("strong", {}, `${named(state.beta)}, ${where}: `),
      `the entropy over ${run.averaged} is ${signed(chosen.entropy.mean)} of at most ln ${n} = ${Math.log(n).toFixed(2)}`
      + (state.beta ? `, ${than(chosen.entropy.mean, baseline.entropy.mean, 2)}` : "")
      + `; the relative deviation is ${signed(chosen.deviation.mean, 3)}`
      + (state.beta ? `, ${than(chosen.deviation.mean, baseline.deviation.mean, 3)}` : "") + ".");
    status.textContent = `${named(state.beta)}, ${where}: entropy ${signed(chosen.entropy.mean)}, `
      + `relative deviation ${signed(chosen.deviation.mean, 3)}; in this image ${Math.round(chosen.image.carry)} of ${n} concepts `
      + "make up 90 percent";
  }

  startRun();
  return {
    nodes: h("div", { class: "sq-bias" }, choose, strength,
      h("div", { class: "sq-columns sq-uneven" },
        h("div", {}, title, chart.node, key, looked, options),
        h("div", {}, curves.map((curve) => [h("h4", {}, curve.title), curve.place.node]),
          h("p", { class: "sq-note" }, "Strong: the chosen β. Broken: β = 0. Faint: the others. "
            + "Press on a line to go there."))),
      words, table, equation, note, status),
    undo() { chart.undo(); for (const { place } of curves) place.undo(); },
  };
});
