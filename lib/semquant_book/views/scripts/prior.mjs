// The prior explorer: the explainer's weights against the prior weights, as training goes on.

const PAUSE = 800; // milliseconds a step of "Play"

export default view(({ data }) => {
  const { methods, signs, parts } = data.colours;
  const runs = data.runs.map((run) => ({
    ...run, ...Object.fromEntries(["alpha", "y", "w"].map((name) => [name, unpack(run[name])])),
  }));
  const state = { run: 0, image: 0, concept: 0 };
  const now = () => runs[state.run];
  const entropic = () => now().loss === "cross_entropy";

  // ---- numbers -------------------------------------------------------------------------------------

  const weights = () => at(now().w, state.image).values;
  const alphas = (beta, epoch) => at(now().alpha, beta, epoch, state.image).values;
  const length = (v) => Math.sqrt(sum(Array.from(v, (x) => x * x)));
  const cosine = (a, b) => sum(Array.from(a, (v, i) => v * b[i])) / (length(a) * length(b));

  /** As the prior loss compares them: to sum 1, or to length 1. */
  function scaled(v) {
    const size = entropic() ? sum(v) : Math.sqrt(length(v) ** 2 + 1e-12);
    return Float64Array.from(v, (x) => (size ? x / size : 0));
  }

  /** `losses.prior_cross_entropy` or `losses.prior_l2` of one image. */
  function dissimilarity(alpha, w) {
    if (!w.some((v) => v !== 0)) return 0;
    const q = scaled(alpha);
    if (entropic()) {
      const whole = sum(w);
      return -sum(Array.from(w, (v, i) => (v ? v / whole * Math.log(Math.max(q[i], 1e-38)) : 0)));
    }
    const size = length(w);
    return sum(Array.from(w, (v, i) => (q[i] - v / size) ** 2));
  }

  const lowest = () => (entropic() ? entropy(weights()) : 0);
  /** lambda(t) = beta / sqrt(t), epochs from 1. */
  const fading = (beta, epoch) => now().betas[beta] / Math.sqrt(now().epochs[epoch]);

  const called = (i) => {
    const { phrases, names } = now();
    return phrases ? phrases[i][at(now().y, state.image).values[i] > 0 ? 0 : 1] : names[i];
  };
  const named = (beta) => `β = ${now().betas[beta]}`;
  const measure = () => (entropic() ? "cross-entropy" : "squared distance");
  const colour = (i, alpha) => (now().parts ? parts[now().parts[i]]
    : signs[alpha * at(now().y, state.image).values[i] < 0 ? "negative" : "positive"]);

  // ---- what stands there ---------------------------------------------------------------------------

  const choose = h("div", { class: "sq-row" });
  const strength = h("div", { class: "sq-row sq-sliders" });
  const looked = h("div", { class: "sq-row sq-sliders" });
  const heading = h("h4"), heading2 = h("h4");
  const key = h("p", { class: "sq-note sq-key" });
  const numbers = h("table", { class: "sq-numbers" });
  const words = h("p", { class: "sq-words" });
  const note = h("p", { class: "sq-note" });
  const status = h("p", { class: "sq-hidden", role: "status", "aria-live": "polite" });
  const swatch = (fill) => h("span", { class: "sq-swatch", style: { background: fill } });
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  let controls, concept, scatter, timer = null;
  const places = {
    scatter: sized(drawScatter, 380),
    loss: sized((width) => drawCurve("loss", width), 280),
    fading: sized((width) => drawCurve("fading", width), 280),
  };
  const curves = {};

  const step = (by) => {
    state.epoch = Math.min(Math.max(state.epoch + by, 0), now().epochs.length - 1);
    controls.epoch.set(state.epoch);
    update();
  };
  const earlier = button("Earlier", () => { stop(); step(-1); });
  const later = button("Later", () => { stop(); step(1); });
  const play = button("Play", () => {
    if (timer !== null) { stop(); return; }
    if (state.epoch === now().epochs.length - 1) step(-now().epochs.length);
    play.textContent = "Stop";
    timer = setInterval(() => {
      step(1);
      if (state.epoch === now().epochs.length - 1) stop();
    }, PAUSE);
  });
  function stop() {
    if (timer !== null) clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }

  function startRun() {
    stop();
    const run = now();
    state.image = Math.min(state.image, run.pictures.length - 1);
    state.beta = Math.max(run.betas.indexOf(run.usual), 0);
    state.epoch = run.epochs.length - 1;
    choose.replaceChildren(
      runs.length > 1 ? choice({
        label: "Explained", value: state.run,
        options: runs.map((r, k) => ({ value: k, text: r.title })),
        onchange(k) { state.run = Number(k); startRun(); choose.querySelector("select").focus(); },
      }).node : "",
      thumbnails({ label: "Image", pictures: run.pictures, labels: run.labels, value: state.image,
        onchange(k) { state.image = k; state.concept = -1; fresh(); } }));
    controls = {
      beta: slider({ label: "Strength β", min: 0, max: run.betas.length - 1, value: state.beta,
        show: (k) => String(run.betas[k]), oninput(k) { state.beta = k; update(true); } }),
      epoch: slider({ label: "Epoch", min: 0, max: run.epochs.length - 1, value: state.epoch,
        show: (k) => String(run.epochs[k]), oninput(k) { stop(); state.epoch = k; update(); } }),
    };
    strength.replaceChildren(controls.beta.node, controls.epoch.node,
      h("div", { class: "sq-buttons" }, earlier, later, still ? "" : play));
    concept = slider({ label: "Look at", min: 0, max: run.names.length - 1, value: 0,
      show: (i) => spoken(i), oninput(i) { state.concept = i; mark(); } });
    concept.node.classList.add("sq-wide");
    looked.replaceChildren(concept.node);
    key.replaceChildren(...(run.parts
      ? data.parts.filter((part) => run.parts.includes(part)).map((part) => h("span", {}, swatch(parts[part]), part))
      : ["positive", "negative"].map((sign) => h("span", {}, swatch(signs[sign]),
        sign === "positive" ? "αᵢyᵢ speaks for the score" : "against it (a ring)"))));
    note.textContent = run.note;
    state.concept = -1;
    fresh();
  }

  function fresh() {
    if (state.concept < 0) {
      const w = weights();
      state.concept = w.reduce((best, v, i) => (Math.abs(v) > Math.abs(w[best]) ? i : best), 0);
    }
    heading.textContent = `α against w, both ${entropic() ? "with sum 1" : "of length 1"}`;
    heading2.textContent = entropic() ? "Cross-entropy of this image" : "Squared distance in this image";
    for (const { fill } of Object.values(places)) fill();
    update();
  }

  // ---- the scatter ---------------------------------------------------------------------------------

  function drawScatter(width) {
    const run = now(), height = Math.min(Math.round(width * 0.92), 400);
    const w = scaled(weights());
    const values = run.epochs.flatMap((_, k) => [...scaled(alphas(state.beta, k))]);
    const low = Math.min(0, ...w, ...values), high = Math.max(...w, ...values);
    const axis = (about, name) => linear(low, high, { about, name, room: 0.04 });
    const { svg, plot, X, Y } = axes({ width, height, left: 44, label: "",
      x: axis(Math.max(3, Math.round(width / 90)), "prior weight w"), y: axis(5) });
    const span = axis(3);
    const line = s("path", { class: "sq-identity", d: through([[X(span.low), Y(span.low)], [X(span.high), Y(span.high)]]) });
    const trail = s("path", { class: "sq-trail" });
    const ring = s("circle", { class: "sq-ring", r: 8 });
    const dots = run.names.map((_, i) => s("circle", { class: "sq-mark sq-point", r: 4.2, "data-concept": i, cx: X(w[i]) }));
    plot.append(
      ...(low < 0 ? [
        s("line", { class: "sq-axis", x1: X(0), x2: X(0), y1: Y(span.low), y2: Y(span.high) }),
        s("line", { class: "sq-axis", x1: X(span.low), x2: X(span.high), y1: Y(0), y2: Y(0) })] : []),
      line, trail, ...dots, ring);
    svg.append(s("text", { class: "sq-faint", x: 48, y: 18 }, "weight α"));
    const pick = (event) => {
      const [px, py] = pointed(svg, event);
      const far = dots.map((dot) => Math.hypot(dot.getAttribute("cx") - px, dot.getAttribute("cy") - py));
      const best = far.indexOf(Math.min(...far));
      if (far[best] > 24 || best === state.concept) return;
      state.concept = best;
      concept.set(best);
      mark();
    };
    svg.addEventListener("pointermove", pick);
    svg.addEventListener("click", pick);
    scatter = { svg, dots, ring, trail, X, Y, w, beta: state.beta };
    updateScatter();
    return svg;
  }

  function updateScatter() {
    const raw = alphas(state.beta, state.epoch), alpha = scaled(raw);
    scatter.dots.forEach((dot, i) => {
      dot.setAttribute("cy", scatter.Y(alpha[i]));
      dot.setAttribute("fill", colour(i, raw[i]));
      const against = !now().parts && raw[i] * at(now().y, state.image).values[i] < 0;
      dot.classList.toggle("sq-hollow", against); // a sign is not told by its colour alone
      dot.style.stroke = against ? colour(i, raw[i]) : "";
      dot.dataset.value = alpha[i];
    });
    scatter.svg.setAttribute("aria-label", `Weights of ${now().names.length} ${now().unit} against their prior weights, `
      + `${named(state.beta)}, epoch ${now().epochs[state.epoch]}: on the line if they were equal; `
      + `cosine ${signed(cosine(raw, weights()), 3)}`);
    mark();
  }

  function mark() {
    const { X, Y, w, ring, trail } = scatter, i = state.concept;
    const way = now().epochs.slice(0, state.epoch + 1).map((_, k) => Y(scaled(alphas(state.beta, k))[i]));
    ring.setAttribute("cx", X(w[i]));
    ring.setAttribute("cy", way.at(-1));
    trail.setAttribute("d", `M${X(w[i])},${Math.min(...way)}V${Math.max(...way)}`);
  }

  const spoken = (i) => `${called(i)}: w ${signed(scaled(weights())[i], 3)}, `
    + `α ${signed(scaled(alphas(state.beta, state.epoch))[i], 3)}`;

  // ---- the curves ----------------------------------------------------------------------------------

  function drawCurve(name, width) {
    const { epochs, betas } = now();
    const of = name === "loss" ? (beta, k) => dissimilarity(alphas(beta, k), weights()) : fading;
    const first = name === "loss" ? 0 : 1; // before the first epoch there is no lambda
    const shown = betas.map((_, beta) => beta).filter((beta) => name === "loss" || betas[beta] > 0);
    const values = shown.flatMap((beta) => epochs.slice(first).map((_, k) => of(beta, k + first)));
    const low = Math.min(...values, ...(name === "loss" ? [lowest()] : [])), high = Math.max(...values);
    const { svg, plot, X, Y } = axes({ width, height: 150, label: "", left: 40, right: 40,
      x: { low: -0.15, high: epochs.length - 0.85, ticks: epochs.map((t, k) => [k, String(t)]), name: "epoch" },
      y: name === "loss" ? linear(low, high, { about: 3 }) : decades(low, high) });
    if (name === "loss") plot.append(s("path", { class: "sq-identity", d: through([[X(0), Y(lowest())], [X(epochs.length - 1), Y(lowest())]]) }));
    const lines = {};
    for (const beta of shown) {
      lines[beta] = s("path", { class: beta ? "sq-line" : "sq-line sq-baseline",
        stroke: beta ? methods.ours : methods.baseline,
        d: through(epochs.slice(first).map((_, k) => [X(k + first), Y(of(beta, k + first))])) });
      plot.append(lines[beta]);
    }
    const dot = s("circle", { r: 5, class: "sq-dot" });
    const text = s("text", { class: "sq-end", x: X(epochs.length - 1) + 7 });
    plot.append(dot, text);
    curves[name] = { svg, lines, dot, text, X, Y, of, first };
    updateCurve(name);
    return svg;
  }

  function updateCurve(name) {
    const { svg, lines, dot, text, X, Y, of, first } = curves[name];
    const { epochs, betas } = now();
    for (const [beta, line] of Object.entries(lines)) line.classList.toggle("sq-chosen", Number(beta) === state.beta);
    const there = lines[state.beta] !== undefined && state.epoch >= first;
    dot.style.display = there ? "" : "none";
    text.textContent = lines[state.beta] ? `β ${betas[state.beta]}` : "";
    if (lines[state.beta]) {
      lines[state.beta].parentNode.insertBefore(lines[state.beta], dot);
      text.setAttribute("y", Y(of(state.beta, epochs.length - 1)) + 3.5);
    }
    if (there) {
      dot.setAttribute("cx", X(state.epoch));
      dot.setAttribute("cy", Y(of(state.beta, state.epoch)));
      dot.setAttribute("fill", state.beta ? methods.ours : methods.baseline);
    }
    svg.setAttribute("aria-label", (name === "loss" ? `The ${measure()} between w and α over epochs` : "λ(t) over epochs")
      + `, with ${named(state.beta)}: ` + epochs.slice(first)
      .map((t, k) => `${Number(of(state.beta, k + first).toPrecision(3))} at epoch ${t}`).join(", "));
  }

  // ---- in numbers ----------------------------------------------------------------------------------

  function update(rescale = false) {
    if (rescale) places.scatter.fill();
    else updateScatter();
    concept.set(state.concept);
    Object.keys(curves).forEach(updateCurve);
    const focused = document.activeElement;
    earlier.disabled = state.epoch === 0;
    later.disabled = state.epoch === now().epochs.length - 1;
    if (focused === earlier && earlier.disabled) later.focus();
    if (focused === later && later.disabled) earlier.focus();
    const t = now().epochs[state.epoch];
    const rows = [...new Set([state.beta, 0])].map((beta) => {
      const alpha = alphas(beta, state.epoch);
      return { beta, name: beta === state.beta ? "" : "baseline-", apart: dissimilarity(alpha, weights()),
        cosine: cosine(alpha, weights()), fading: t ? fading(beta, state.epoch) : NaN };
    });
    const cell = (name, value, text) => h("td", { "data-name": name, "data-value": value }, text);
    numbers.replaceChildren(
      h("thead", {}, h("tr", {}, h("td"), rows.map(({ beta }) => h("th", { scope: "col" },
        swatch(beta ? methods.ours : methods.baseline), named(beta))))),
      h("tbody", {}, [
        [measure() + (entropic() ? `, lowest possible ${lowest().toFixed(2)}` : ", from 0 to 4"),
          (row) => cell(`${row.name}dissimilarity`, row.apart, signed(row.apart, 3))],
        ["cosine", (row) => cell(`${row.name}cosine`, row.cosine, signed(row.cosine, 3))],
        [t ? `λ(${t}) = β / √${t}` : "λ", (row) => cell(`${row.name}lambda`, t ? row.fading : null, t ? `${Number(row.fading.toPrecision(3))}` : "–")],
      ].map(([name, of]) => h("tr", {}, h("th", { scope: "row" }, name), rows.map(of)))));
    const [chosen, baseline] = [rows[0], rows.at(-1)];
    const where = t ? `after epoch ${t}` : "before the first epoch";
    words.replaceChildren(h("strong", {}, `${named(state.beta)}, ${where}: `),
      `the cosine between α and w is ${signed(chosen.cosine, 2)}`
      + (state.beta ? ` (baseline ${signed(baseline.cosine, 2)})` : t ? ", by distillation alone" : "")
      + (t && state.beta ? `; λ is ${Number(chosen.fading.toPrecision(3))}` : "") + ".");
    status.textContent = `${named(state.beta)}, ${where}: ${measure()} ${signed(chosen.apart, 3)}, cosine ${signed(chosen.cosine, 3)}`
      + (t ? `, lambda ${Number(chosen.fading.toPrecision(3))}` : "");
  }

  startRun();
  return {
    nodes: h("div", { class: "sq-prior" }, choose, strength,
      h("div", { class: "sq-columns sq-uneven" },
        h("div", {}, heading, places.scatter.node, key, looked),
        h("div", {}, heading2, places.loss.node, h("h4", {}, "Weight of the prior loss, λ(t)"), places.fading.node,
          h("p", { class: "sq-note" }, "Strong: the chosen β. Orange, broken: β = 0. Faint: the others. "
            + "Thin broken lines: α proportional to w."))),
      words, numbers, note, status),
    undo() { stop(); for (const place of Object.values(places)) place.undo(); },
  };
});
