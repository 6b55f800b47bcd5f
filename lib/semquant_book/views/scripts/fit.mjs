// Bias-interpreting, felt: g is fitted here, in a worker, and the contributions are watched meanwhile.

/** Run the fit beside the page, or in slices of its own time where a worker can't be; returns what stops it. */
function started(problem, hear) {
  let over = false, worker = null, address = null;
  const stop = () => {
    over = true;
    worker?.terminate();
    if (address) URL.revokeObjectURL(address);
    address = null;
  };
  const heard = (found) => {
    if (over) return;
    if (found.done || found.failed) stop();
    hear(found);
  };
  const inSlices = () => {
    const fit = fitted(problem);
    const slice = () => {
      const until = performance.now() + 25;
      while (!over && performance.now() < until) {
        const { value, done } = fit.next();
        if (done) return;
        if (value) heard(value);
      }
      if (!over) setTimeout(slice, 0);
    };
    slice();
  };
  try {
    const text = `${DESCENT}\nonmessage = ({ data }) => { for (const found of fitted(data)) if (found) postMessage(found); };`;
    address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    worker = new Worker(address);
    let begun = false;
    worker.onmessage = ({ data }) => { begun = true; heard(data); };
    worker.onerror = (event) => { // not allowed here
      event.preventDefault();
      if (!begun && !over) { worker.terminate(); worker = null; inSlices(); }
    };
    worker.postMessage(problem);
  } catch {
    worker = null;
    setTimeout(inSlices, 0);
  }
  return stop;
}

export default view(({ data }) => {
  const { N, n, d, hidden, epochs, betas, optimizers, colours } = data;
  const y = unpack(data.y).values, positive = unpack(data.positive).values;
  const state = { beta: 0, optimizer: "sgd", start: "high", rate: null, seed: 0 };
  let now = null, before = null, stop = null, finished = false; // runs: {about, seen: [...], seconds}

  // ---- numbers -------------------------------------------------------------------------------------

  function sparse() {
    const counts = unpack(data.counts).values, place = unpack(data.places).values, unit = unpack(data.unit).values;
    const from = new Uint32Array(N + 1);
    counts.forEach((count, k) => { from[k + 1] = from[k] + count; });
    return { from, place, value: Float64Array.from(unpack(data.shades).values, (v, e) => v * unit[Math.floor(place[e] / (d / n))]) };
  }
  const problem = { N, n, d, hidden, epochs, perEpoch: data.perEpoch, biasRate: data.biasRate, decay: data.decay, every: 10,
    sparse: sparse(), y, positive, yhat: unpack(data.yhat).values, w: unpack(data.w).values };

  // each filter's mean value over positive images, against which its mean weight is drawn
  const meanValue = Array.from({ length: n }, (_, i) => {
    let total = 0, images = 0;
    for (let k = 0; k < N; k++) if (positive[k]) { total += y[k * n + i]; images += 1; }
    return total / images;
  });

  const inRegime = (row, { optimizer, start } = state) => row.optimizer === optimizer && row.start === start;
  const rates = () => [...new Map(data.recorded.filter((row) => inRegime(row)).map((row) => [row.rate, row.chosen])).entries()];
  const background = (about) => data.recorded.filter((row) => inRegime(row, about) && row.rate === about.rate);
  const decimal = (v) => v.toFixed(7).replace(/0+$/, "");
  const called = (about) => `${optimizers[about.optimizer]}, ${about.start} start, β = ${about.beta}, rate ${decimal(about.rate)}, seed ${about.seed}`;
  const last = (run) => run.seen.at(-1);
  const shownAbout = () => now?.about ?? about();
  const about = () => ({ ...state, beta: betas[state.beta] });

  // ---- the charts ----------------------------------------------------------------------------------

  const colour = (run) => colours[run.about.beta ? "ours" : "baseline"];
  const runs = () => [[before, "sq-before"], [now, "sq-now"]].filter(([run]) => run?.seen.length);

  function drawEntropy(width) {
    const recorded = background(shownAbout());
    const values = [...runs().flatMap(([run]) => run.seen.map((m) => m.entropy)), ...recorded.flatMap((row) => row.normalised_entropy), 1, 0.7];
    const label = `H / ln n over ${epochs} epochs. `
      + recorded.map((row) => `Recorded, β = ${row.prior === "none" ? 0 : 10}: from ${signed(row.normalised_entropy[0])} to ${signed(row.normalised_entropy.at(-1))}. `).join("")
      + runs().map(([run, kind]) => `${kind === "sq-now" ? "This run" : "The run before"}: from ${signed(run.seen[0].entropy)} to ${signed(last(run).entropy)}. `).join("");
    const { svg, plot, X, Y } = axes({ width, height: 210, label,
      x: { low: 0, high: epochs, ticks: ticks(0, epochs, 4).map((v) => [v, String(v)]), name: "epoch" },
      y: linear(Math.min(...values), 1, { about: 4, digits: 2, room: 0.02 }) });
    plot.append(
      ...recorded.map((row) => s("path", { class: `sq-recorded${row.prior === "none" ? " sq-broken" : ""}`, "data-recorded": row.prior,
        stroke: colours[row.prior === "none" ? "baseline" : "ours"],
        d: through(row.normalised_entropy.map((v, epoch) => [X(epoch), Y(v)])) })),
      ...runs().map(([run, kind]) => s("path", { class: `sq-run ${kind}${run.about.beta ? "" : " sq-broken"}`, stroke: colour(run),
        d: through(run.seen.map((m) => [X(m.epoch), Y(m.entropy)])) })),
      ...runs().map(([run, kind]) => s("circle", { class: `sq-dot ${kind}`, r: kind === "sq-now" ? 4.5 : 3.5, fill: colour(run),
        cx: X(last(run).epoch), cy: Y(last(run).entropy) })));
    return svg;
  }

  function drawShares(width) {
    const there = runs(), even = 1 / n;
    const high = Math.max(0.08, ...there.flatMap(([run]) => run.seen.map((m) => m.shares[0])));
    const { svg, plot, X, Y } = axes({ width, height: 210, left: 40,
      label: `Mean share of the largest, the second largest and so on of ${n} contributions; all alike would be ${signed(even, 3)} each. `
        + there.map(([run, kind]) => `${kind === "sq-now" ? "This run" : "The run before"}: ${last(run).shares.slice(0, 3).map((v) => signed(v, 3)).join(", ")}. `).join(""),
      x: { low: 0, high: n, ticks: [[0.5, "1"], ...ticks(0, n, 4).filter((v) => v > 1 && v <= n).map((v) => [v - 0.5, String(v)])], name: "rank" },
      y: linear(0, high, { about: 4, digits: 2, room: 0.02 }) });
    const floor = Y(0), step = X(1) - X(0);
    if (now?.seen.length) {
      plot.append(...last(now).shares.map((v, i) => s("rect", { class: "sq-share", "data-rank": i + 1, "data-value": v, fill: colour(now),
        x: X(i) + 0.1 * step, width: 0.8 * step, y: Y(v), height: Math.max(0, floor - Y(v)) })));
    }
    if (before?.seen.length) {
      plot.append(s("path", { class: "sq-outline", d: last(before).shares.map((v, i) => `${i ? "" : `M${X(0)},${floor}`}V${Y(v)}H${X(i + 1)}`).join("") }));
    }
    plot.append(s("line", { class: "sq-even", x1: X(0), x2: X(n), y1: Y(even), y2: Y(even) }),
      s("text", { class: "sq-over", x: X(n), y: Y(even) - 4, "text-anchor": "end" }, "all alike"));
    return svg;
  }

  function drawWeights(width) {
    const there = runs();
    const values = there.flatMap(([run]) => [...run.seen[0].alpha, ...last(run).alpha]).filter((v) => v > 1e-6);
    const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0.01, 1];
    const { svg, plot, X, Y } = axes({ width, height: 190, left: 48,
      label: `Mean weight of each of ${n} filters (upwards, logarithmic) against its mean value. `
        + there.map(([run, kind]) => `${kind === "sq-now" ? "This run" : "The run before"}: from ${signed(Math.min(...last(run).alpha), 4)} to ${signed(Math.max(...last(run).alpha), 4)}. `).join(""),
      x: linear(Math.min(...meanValue), Math.max(...meanValue), { about: 5, name: "mean y" }), y: decades(low, Math.max(high, 1.5 * low)) });
    plot.append(...there.flatMap(([run, kind]) => last(run).alpha.map((v, i) => s("circle", { class: `sq-weight ${kind}`, r: kind === "sq-now" ? 3 : 2.2,
      fill: colour(run), cx: X(meanValue[i]), cy: Y(Math.max(v, low)) }, s("title", {}, `filter ${i}: weight ${signed(v, 4)}, value ${signed(meanValue[i])}`)))));
    return svg;
  }

  const charts = [["H / ln n of the contributions", drawEntropy, 460], ["Share by rank", drawShares, 460],
    ["Weight against value, each filter", drawWeights, 460]].map(([title, draw, usual]) => ({ title, place: sized(draw, usual) }));

  // ---- what stands there ---------------------------------------------------------------------------

  const words = h("p", { class: "sq-words" }), status = h("p", { class: "sq-hidden", role: "status", "aria-live": "polite" });
  const table = h("table", { class: "sq-numbers" }), note = h("p", { class: "sq-note" }, data.note);
  const bar = h("progress", { max: epochs, value: 0, "aria-label": "Epochs done" });
  const press = button("Fit g", () => (stop ? end("stopped") : begin()), { class: "sq-press" });
  const rate = h("div");

  function rateChoice() {
    const known = rates();
    if (!known.some(([value]) => value === state.rate)) state.rate = (known.find(([, chosen]) => chosen) ?? known[0])[0];
    rate.replaceChildren(choice({ label: "Learning rate", value: state.rate,
      options: known.map(([value, chosen]) => ({ value, text: decimal(value) + (known.length > 1 && chosen ? " (as the trial chooses)" : "") })),
      onchange(value) { state.rate = Number(value); fresh(); } }).node);
  }

  const quiet = matchMedia("(prefers-reduced-motion: reduce)");
  let waiting = false;
  function draw() {
    waiting = false;
    for (const { place } of charts) place.fill();
    speak();
  }
  const soon = () => { if (!waiting) { waiting = true; requestAnimationFrame(draw); } };

  /** Another choice before a run: its background. */
  function fresh() {
    if (stop) return;
    if (now?.seen.length) { before = now; now = null; }
    finished = false;
    draw();
  }

  function begin() {
    if (now?.seen.length) before = now;
    const run = { about: about(), seen: [], since: performance.now(), seconds: 0 };
    now = run;
    finished = false;
    press.textContent = "Stop";
    status.textContent = `Fitting: ${called(run.about)}`;
    draw();
    stop = started({ ...problem, ...run.about }, (found) => {
      run.seconds = (performance.now() - run.since) / 1000;
      bar.value = found.epoch;
      if (found.failed) { end("failed"); return; }
      run.seen.push(found);
      if (found.done) end("done");
      else if (!quiet.matches || Number.isInteger(found.epoch / 5)) soon();
    });
  }

  function end(how) {
    stop?.();
    stop = null;
    now.how = how;
    finished = how === "done";
    press.textContent = "Fit g";
    draw();
    status.textContent = words.textContent;
  }

  const shows = (name, value, digits = 3) => h("span", { "data-name": name, "data-value": value }, signed(value, digits));

  function speak() {
    if (!now?.seen.length) {
      words.replaceChildren(h("strong", {}, `${called(shownAbout())}: `),
        now?.how === "failed" ? "the loss is no longer a number; a lower rate may help." : stop ? "the first step is under way." : "not fitted yet.");
    } else {
      const { seen, about: which, how, seconds } = now, first = seen[0], here = last(now);
      words.replaceChildren(h("strong", {}, `${called(which)}: `),
        ...(how === "failed" ? ["the loss became infinite after epoch ", signed(here.epoch, 1), ". Until then "] : []),
        "H / ln n went from ", shows("entropy-start", first.entropy), " to ", shows("entropy", here.entropy),
        "; the largest contribution’s mean share from ", shows("largest-start", first.largest), " to ", shows("largest", here.largest),
        "; the relative deviation is ", shows("deviation", here.deviation), ", the loss L ", shows("distillation", here.distillation), ", after ",
        shows("epoch", here.epoch, how === "done" ? 0 : 1), ` of ${epochs} epochs`, how === "done" ? ` (${seconds.toFixed(1)} s).` : how === "stopped" ? ", stopped." : ".");
    }
    const rows = [["this run", now], ["the run before", before]].filter(([, run]) => run?.seen.length);
    const lines = [["chosen", (run) => called(run.about)], ["H / ln n, start", (run) => signed(run.seen[0].entropy, 3)],
      ["H / ln n, end", (run) => signed(last(run).entropy, 3)], ["largest share, end", (run) => signed(last(run).largest, 3)],
      ["relative deviation", (run) => signed(last(run).deviation, 3)], ["loss L", (run) => signed(last(run).distillation, 3)],
      ["epochs", (run) => signed(last(run).epoch, Number.isInteger(last(run).epoch) ? 0 : 1)]];
    table.replaceChildren(...(rows.length > 1 ? [
      h("thead", {}, h("tr", {}, h("td"), rows.map(([name]) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, lines.map(([name, of]) => h("tr", {}, h("th", { scope: "row" }, name), rows.map(([, run]) => h("td", {}, of(run))))))] : []));
    table.hidden = rows.length < 2;
    root.dataset.finished = String(finished);
  }

  const change = (name, read = (v) => v) => (value) => { state[name] = read(value); rateChoice(); fresh(); };
  const swatch = (method) => h("span", { class: "sq-swatch", style: { background: colours[method] } });
  const root = h("div", { class: "sq-fit" },
    h("div", { class: "sq-row sq-sliders" },
      slider({ label: "Strength β", min: 0, max: betas.length - 1, value: 0,
        show: (k) => (betas[k] ? String(betas[k]) : "0, no prior loss"), oninput: change("beta") }).node,
      slider({ label: "Seed of g", min: 0, max: data.seeds - 1, value: 0, oninput: change("seed") }).node),
    h("div", { class: "sq-row" },
      radios({ label: "Optimiser", value: state.optimizer, options: ["sgd", "adamw"].map((value) => ({ value, text: optimizers[value] })),
        onchange: change("optimizer") }).node,
      radios({ label: "Start", value: state.start, options: [{ value: "high", text: "high" }, { value: "fitting", text: "fitting" }],
        onchange: change("start") }).node, rate),
    h("div", { class: "sq-row" }, press, bar),
    h("div", { class: "sq-columns" }, charts.map(({ title, place }) => h("div", {}, h("h4", {}, title), place.node)),
      h("div", {}, h("p", { class: "sq-key sq-note" }, h("span", {}, swatch("baseline"), "β = 0, broken line"), h("span", {}, swatch("ours"), "β above 0"),
        h("span", {}, "strong: this run"), h("span", {}, "pale, or the outline: the run before"), h("span", {}, "faint and thin: recorded, β = 0 and 10")), note)),
    words, table, status);
  rateChoice();
  draw();
  return { nodes: root, undo() { stop?.(); for (const { place } of charts) place.undo(); } };
});
