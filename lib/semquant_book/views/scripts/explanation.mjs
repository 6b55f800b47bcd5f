// The explanation explorer: what each concept contributes to a score, and what changes without it.

const SIZE = 192; // pixels of a picture
const FIRST_ROWS = 10; // concepts shown before "show all"
const FIRST_FILTERS = 12; // filters named where none can be looked at, or to be looked at
const BRIGHT = 0.45; // mean of a picture, of 1, that is light enough for what is lit to be seen

export default view(({ data, root }) => {
  root.classList.add("sq-explanation");
  const cases = data.cases.map(readCase);
  const heat = unpack(data.heat).values;
  const state = { shown: 0, reading: null, image: 0, overlay: "photo", chosen: 0, pointed: null, filter: null,
    all: false, allFilters: false };
  let rows = []; // what can be switched: groups of concepts, or single ones

  // ---- what stands there -------------------------------------------------------------------------

  const canvas = h("canvas", { width: SIZE, height: SIZE, role: "img" });
  const caption = h("p", { class: "sq-note" });
  const overlays = h("div");
  const readings = h("div");
  const thumbnails = h("fieldset", { class: "sq-thumbs" });
  const equation = h("div", { class: "sq-scroll", tabindex: 0, role: "region", "aria-label": "The score as a sum" });
  const pies = h("div", { class: "sq-pies" });
  const table = h("div");
  const detail = h("div", { class: "sq-detail" });
  const words = h("p", { class: "sq-words" });
  const status = h("p", { class: "sq-hidden", role: "status", "aria-live": "polite" });
  const undo = button("Undo changes", () => {
    for (const row of rows) {
      row.on = true;
      row.factor = 1;
      if (row.box) row.box.checked = true; // of many concepts only the first have been shown
    }
    describe();
    update();
    table.querySelector("input").focus(); // there is nothing more to undo
  }, { "data-name": "undo" });
  const note = h("p", { class: "sq-note" });
  const asked = h("div", { class: "sq-asked" }); // what the network says, see network.mjs
  const columns = h("div", { class: "sq-columns" },
    h("div", { class: "sq-picture" }, h("div", { class: "sq-sight" }, canvas, h("div", {}, overlays, caption)), words, note),
    h("div", {}, readings, equation, pies, table, asked, h("div", { class: "sq-row sq-foot" }, detail, undo)));
  const pick = cases.length > 1 && choice({
    label: "Network",
    options: cases.map((c, k) => ({ value: k, text: c.title, group: c.experiment })),
    value: 0,
    onchange(k) { state.shown = Number(k); state.image = 0; startCase(); },
  });

  // ---- numbers -------------------------------------------------------------------------------------

  const now = () => cases[state.shown];
  const reading = () => now().readings.find((one) => one.name === state.reading) ?? now().readings[0];
  const methods = () => Object.keys(reading().methods);

  /** Weights and values of the concepts of the image that is shown, by a method. */
  function ofImage(method) {
    const { alpha, y } = reading().methods[method];
    return { alpha: at(alpha, state.image).values, y: at(y, state.image).values };
  }

  /** alpha_i y_i of the concepts of a row by a method, as they are or as the reader changed them. */
  function contribution(row, method, changed = true) {
    const { alpha, y } = ofImage(method);
    const value = row.members.reduce((total, i) => total + alpha[i] * y[i], 0);
    return changed ? (row.on ? row.factor : 0) * value : value;
  }
  const total = (method, changed = true) =>
    sum(rows.map((row) => contribution(row, method, changed))) + reading().methods[method].bias;
  const changed = () => rows.some((row) => !row.on || row.factor !== 1);

  /** The explained score as it is printed: the rounded sum and the rounded b. */
  const printed = (method) => {
    const { bias } = reading().methods[method];
    return rounded(total(method) - bias) + rounded(bias);
  };

  /** As `Explanation.top`: rows by the size of their contribution, only as many as are needed. */
  function top(method) {
    const found = rows.map((row) => ({ row, value: contribution(row, method) }));
    const percent = shares(found.map((f) => Math.abs(f.value)));
    found.forEach((f, k) => { f.percent = percent[k]; });
    found.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
    const whole = sum(found.map((f) => Math.abs(f.value)));
    let reached = 0;
    const reasons = [];
    for (const f of found) {
      if (reasons.length >= now().reasons || f.value === 0) break;
      if (reasons.length && reached >= now().share * whole - 1e-9 * whole) break;
      reached += Math.abs(f.value);
      reasons.push(f);
    }
    return reasons;
  }

  // ---- a case, an image ----------------------------------------------------------------------------

  function startCase() {
    const c = now();
    rows = (c.groups ?? c.names).map((name, k) => ({
      name, on: true, factor: 1, grouped: c.groups !== null,
      members: c.groups ? c.names.map((_, i) => i).filter((i) => c.part[i] === k) : [k],
      colour: c.groups ? data.colours.parts[name] : null,
    }));
    state.all = false;
    if (!(state.overlay === "photo" || available(c).some((o) => o.value === state.overlay))) {
      state.overlay = "photo";
    }
    const name = unique("image");
    thumbnails.replaceChildren(h("legend", { class: "sq-hidden" }, "Image"),
      ...c.labels.map((label, k) => {
        const input = h("input", { type: "radio", name, value: k, "aria-label": label });
        input.checked = k === state.image;
        input.addEventListener("change", () => { state.image = k; startImage(); });
        return h("label", { title: label }, input, c.pictures
          ? h("img", { src: data.pictures[c.pictures[k]], alt: "", width: 48, height: 48 })
          : h("span", {}, k + 1));
      }));
    columns.classList.toggle("sq-side", Boolean(c.pictures));
    columns.classList.toggle("sq-alone", !c.pictures);
    overlays.replaceChildren(available(c).length ? radios({
      label: "Show", value: state.overlay,
      options: [{ value: "photo", text: "photo" }, ...available(c)],
      onchange(value) { state.overlay = value; paint(); },
    }).node : "");
    readings.replaceChildren(c.readings.length > 1 ? radios({
      label: "Reading of y", value: reading().name,
      options: c.readings.map(({ name }) => ({ value: name, text: name })),
      onchange(name) { state.reading = name; arrange(); },
    }).node : "");
    note.textContent = c.note;
    startImage();
  }

  const available = (c) => [
    c.heat && { value: "heat", text: "Grad-CAM" },
    c.masks && { value: "parts", text: "parts" },
    c.maps && { value: "filters", text: "filters" },
  ].filter(Boolean);

  function startImage() {
    const c = now();
    if (!c.groups) { // other images show other concepts first: changes end with the image
      for (const row of rows) { row.on = true; row.factor = 1; }
    }
    state.pointed = state.filter = null;
    arrange(true);
  }

  /** The rows in their order, for an image or a reading; what is looked at stays, if it may. */
  function arrange(anew = false) {
    const order = rows.map((_, k) => k);
    if (!now().groups) {
      const size = (k) => Math.abs(contribution(rows[k], methods()[0], false));
      order.sort((a, b) => size(b) - size(a));
    }
    state.order = order;
    if (anew) {
      state.chosen = [...order].sort((a, b) => Math.abs(contribution(rows[b], methods()[0], false))
        - Math.abs(contribution(rows[a], methods()[0], false)))[0];
    }
    buildTable();
    describe();
    update();
  }

  // ---- drawing -------------------------------------------------------------------------------------

  /** How a row is called for the image that is shown: an attribute may be absent. */
  function called(row) {
    const c = now();
    if (!c.phrases) return row.name;
    return c.phrases[row.members[0]][at(c.y, state.image).values[row.members[0]] > 0 ? 0 : 1];
  }

  const columnNames = () => (isAsked(now()) ? [...methods(), "network"] : methods());

  function buildTable() {
    const shown = state.all || now().groups ? state.order : state.order.slice(0, FIRST_ROWS);
    const body = h("tbody", {}, shown.map((k) => {
      const row = rows[k];
      row.box = h("input", { type: "checkbox", "aria-label": `count ${called(row)}`, "data-row": row.name });
      row.box.checked = row.on;
      row.box.addEventListener("change", () => { row.on = row.box.checked; update(); });
      row.name_button = button([row.colour && swatch(row.colour), called(row)].filter(Boolean), () => {
        state.chosen = k; state.filter = null; describe(); paint();
      }, { class: "sq-link", "data-row": row.name, "aria-pressed": "false" });
      row.cells = Object.fromEntries(columnNames().map((m) => [m, h("td", { "data-name": `${m}-${row.name}`, class: m === "network" && "sq-real" })]));
      row.scaled = h("span", { class: "sq-note" });
      const line = h("tr", {}, h("th", { scope: "row" },
        h("div", { class: "sq-head" }, row.box, row.name_button, row.scaled)), Object.values(row.cells));
      const point = () => { state.pointed = k; mark(); paint(); };
      const leave = () => { if (state.pointed === k) { state.pointed = null; mark(); paint(); } };
      line.addEventListener("pointerenter", point);
      line.addEventListener("pointerleave", leave);
      row.name_button.addEventListener("focus", point);
      row.name_button.addEventListener("blur", leave);
      row.line = line;
      return line;
    }));
    rows.forEach((row, k) => { if (!shown.includes(k)) row.line = row.cells = null; });
    table.replaceChildren(
      h("table", {},
        h("thead", {}, h("tr", {},
          h("th", { scope: "col" }, now().groups ? "part" : "concept"),
          methods().map((m) => h("th", { scope: "col" }, methodSwatch(m), m)),
          isAsked(now()) ? h("th", { scope: "col" }, "and the network?") : "")),
        body),
      state.order.length > FIRST_ROWS && !now().groups ? button(
        state.all ? `Show ${FIRST_ROWS}` : `Show all ${rows.length}`,
        () => { state.all = !state.all; buildTable(); describe(); update(); table.querySelector(":scope > button").focus(); }) : "");
  }

  const swatch = (colour) => h("span", { class: "sq-swatch", style: { background: colour } });
  const methodSwatch = (m) => data.colours.methods[m] ? swatch(data.colours.methods[m]) : "";

  function update() {
    const c = now();
    const yhat = c.yhat.values[state.image];
    undo.disabled = !changed();
    // the equation; the rounded numbers add up
    equation.replaceChildren(h("table", { class: "sq-equation" },
      h("thead", {}, h("tr", {}, ["", "Σ αᵢyᵢ", "+ b", "= total", "+ left over", "= ŷ"].map(
        (text) => h("th", { scope: text ? "col" : null }, text)))),
      h("tbody", {}, methods().map((m) => {
        const { bias } = reading().methods[m];
        const all = total(m);
        const explained = printed(m);
        return h("tr", {}, h("th", { scope: "row" }, methodSwatch(m), m),
          number(`${m}-sum`, all - bias, rounded(all - bias)), number(`${m}-bias`, bias, rounded(bias)),
          number(`${m}-total`, all, explained, "sq-strong"),
          number(`${m}-residual`, yhat - all, rounded(yhat) - explained), number("yhat", yhat, rounded(yhat)));
      }))));
    const network = isAsked(c) ? networkOf(c, state.image, rows) : null;
    const real = rows.map((row, k) => network?.worth(k) ?? NaN);
    const largest = Math.max(1e-9, ...real.filter(Number.isFinite).map(Math.abs), ...rows.flatMap((r) =>
      methods().flatMap((m) => [true, false].map((now) => Math.abs(contribution(r, m, now))))));
    rows.forEach((row, k) => {
      if (!row.cells) return;
      for (const m of columnNames()) {
        const value = m === "network" ? real[k] : contribution(row, m);
        if (!Number.isFinite(value)) {
          delete row.cells[m].dataset.value;
          row.cells[m].replaceChildren("–");
          continue;
        }
        row.cells[m].dataset.value = value;
        row.cells[m].replaceChildren(c.groups ? "" : bar(value, largest), signed(value, 2, true));
      }
      row.line.classList.toggle("sq-off", !row.on);
      row.scaled.textContent = row.factor === 1 ? "" : `× ${row.factor.toFixed(1)}`;
    });
    pies.replaceChildren(...(c.groups ? methods().map(pie) : []));
    const said = network && askedPanel({ c, network, image: state.image, called, methodSwatch,
      says: methods().map((m) => ({ name: m, before: total(m, false), after: total(m) })) });
    asked.replaceChildren(...(said?.nodes ?? []));
    speak(yhat, said?.words ?? "");
    mark();
    paint();
  }

  const number = (name, value, shown, kind) =>
    h("td", { "data-name": name, "data-value": value, class: kind }, signed(shown));

  /** A bar from the middle: to the right what speaks for the score, to the left what speaks against. */
  function bar(value, largest) {
    const long = 30 * Math.abs(value) / largest;
    return s("svg", { viewBox: "-31 0 62 10", class: "sq-bar", "aria-hidden": "true" },
      s("line", { x1: 0, x2: 0, y1: 0, y2: 10, class: "sq-axis" }),
      s("rect", { x: value < 0 ? -long : 0, width: long, y: 1, height: 8,
        fill: data.colours.signs[value < 0 ? "negative" : "positive"] }));
  }

  function pie(m) {
    const values = rows.map((row) => Math.max(0, contribution(row, m)));
    const percent = shares(values);
    const whole = sum(values);
    const below = rows.filter((row) => contribution(row, m) < -0.005);
    const picture = s("svg", { viewBox: "-64 -64 128 128", role: "img", "aria-label": `${m}: ` + (whole
      ? rows.map((row, k) => percent[k] ? `${row.name} ${percent[k]}%` : "").filter(Boolean).join(", ")
      : "no part contributes") });
    let from = 0;
    rows.forEach((row, k) => {
      if (!whole || !values[k]) return;
      const to = from + values[k] / whole;
      const shape = s("path", { d: wedge(from, to, 60), fill: row.colour, class: "sq-mark", "data-part": row.name });
      shape.addEventListener("pointerenter", () => { state.pointed = k; mark(); paint(); });
      shape.addEventListener("pointerleave", () => { state.pointed = null; mark(); paint(); });
      shape.addEventListener("click", () => { state.chosen = k; state.filter = null; describe(); paint(); });
      picture.append(shape);
      if (percent[k] >= 6) {
        const middle = Math.PI * (from + to);
        picture.append(s("text", { x: 40 * Math.sin(middle), y: 4 - 40 * Math.cos(middle), "text-anchor": "middle",
          "pointer-events": "none", style: { fill: readableOn(row.colour) } }, `${percent[k]}`));
      }
      from = to;
    });
    if (!whole) picture.append(s("circle", { r: 60, class: "sq-grid" }));
    return h("figure", {}, picture, h("figcaption", {}, methodSwatch(m), `${m}, percent`,
      below.length ? h("span", { class: "sq-note" }, ` below zero: ${below.map((r) =>
        `${r.name} ${signed(contribution(r, m), 1)}`).join(", ")}`) : ""));
  }

  /** The row that is pointed at stands out in the table and in the pies. */
  function mark() {
    const k = state.pointed;
    rows.forEach((row, i) => row.line?.classList.toggle("sq-pointed", i === k));
    for (const shape of pies.querySelectorAll("path")) {
      shape.classList.toggle("sq-pointed", k !== null && shape.dataset.part === rows[k].name);
    }
  }

  /** The panel of the chosen row: scale its weights, see its filters. */
  function describe() {
    const c = now();
    const row = rows[state.chosen];
    const scale = slider({
      label: `Scale α of ${called(row)}`, min: 0, max: 2, step: 0.1, value: row.factor,
      show: (v) => `× ${v.toFixed(1)}`,
      oninput(v) { row.factor = v; update(); },
    });
    const first = methods()[0];
    const { alpha, y } = ofImage(first);
    const members = [...row.members].sort((a, b) => Math.abs(alpha[b] * y[b]) - Math.abs(alpha[a] * y[a]));
    detail.replaceChildren(scale.node);
    rows.forEach((one) => one.line && one.name_button.setAttribute("aria-pressed", String(one === row)));
    if (row.grouped) {
      detail.append(h("p", { class: "sq-note" }, `${row.members.length} filter${row.members.length > 1 ? "s" : ""}`
        + `, with their contributions by ${first}` + (c.maps ? "; point at one to see where it fires:" : ":")),
      c.maps ? h("div", { class: "sq-chips" }, (state.allFilters ? members : members.slice(0, FIRST_FILTERS)).map((i) => {
        const chip = button([h("span", { class: "sq-hidden" }, "filter "), `${numeral(i)} `], () => {
          state.filter = state.filter === i ? null : i;
          for (const other of detail.querySelectorAll(".sq-chips [data-filter]")) {
            other.setAttribute("aria-pressed", String(other === chip && state.filter === i));
          }
          paint();
        }, { "aria-pressed": "false", "data-filter": i });
        chip.append(h("span", { class: "sq-note" }, signed(alpha[i] * y[i], 2, true)));
        const point = () => { state.pointedFilter = i; paint(); };
        const leave = () => { state.pointedFilter = null; paint(); };
        for (const [on, act] of [["pointerenter", point], ["pointerleave", leave], ["focus", point], ["blur", leave]]) {
          chip.addEventListener(on, act);
        }
        return chip;
      }), members.length > FIRST_FILTERS ? button(state.allFilters ? `Show ${FIRST_FILTERS}` : `Show all ${members.length}`, () => {
        state.allFilters = !state.allFilters;
        describe();
        detail.querySelector("[data-name=filters]").focus();
      }, { class: "sq-more", "data-name": "filters" }) : "") : h("p", {}, [...members.slice(0, FIRST_FILTERS).map((i) => `${numeral(i)} ${signed(alpha[i] * y[i], 2, true)}`),
        members.length > FIRST_FILTERS ? `${members.length - FIRST_FILTERS} others ${signed(
          sum(members.slice(FIRST_FILTERS).map((i) => alpha[i] * y[i])), 2, true)}` : null].filter(Boolean).join(", ")));
    } else {
      const i = row.members[0];
      detail.append(h("p", { class: "sq-note" }, `y = ${signed(y[i])}; `,
        methods().map((m) => `α by ${m} ${signed(ofImage(m).alpha[i], 3)}`).join(", ")));
    }
  }

  function speak(yhat, more) {
    const c = now();
    const reasons = (m) => {
      const found = top(m).map(({ row, value, percent }) => `${called(row)} ${signed(value, 2, true)}`
        + (c.phrases ? "" : ` (${percent}%)`));
      return found.length ? found.join(", ") : "nothing";
    };
    words.replaceChildren(
      changed() ? h("strong", {}, "With your changes. ") : "",
      c.says ? `The network says ${c.says[yhat > 0 ? 0 : 1]} (ŷ = ${signed(yhat)}). ` : `The network's score ŷ is ${signed(yhat)}. `,
      ...methods().map((m, k) => [k ? " " : "", h("strong", {}, `Most important by ${m}: `),
        h("span", { "data-name": `${m}-words` }, reasons(m)), "."]).flat());
    status.textContent = methods().map((m) => `explained by ${m}: ${signed(printed(m))}`).join(", ")
      + `; the network's score: ${signed(yhat)}` + more;
  }

  // ---- the picture -----------------------------------------------------------------------------------

  const loaded = new Map();
  async function paint() {
    const c = now();
    if (!c.pictures) { // photographs that may not be shown
      const label = c.labels[state.image];
      caption.textContent = label.includes("not shown") ? label : `${label} (not shown)`;
      return;
    }
    const address = data.pictures[c.pictures[state.image]];
    if (!loaded.has(address)) {
      const image = new Image();
      image.src = address;
      loaded.set(address, image.decode().then(() => image));
    }
    const image = await loaded.get(address);
    if (c !== now() || address !== data.pictures[c.pictures[state.image]]) return; // another one by now
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0, SIZE, SIZE);
    const pixels = context.getImageData(0, 0, SIZE, SIZE);
    const said = layOver(c, pixels.data);
    context.putImageData(pixels, 0, 0);
    canvas.setAttribute("aria-label", c.labels[state.image] + said);
    caption.textContent = c.labels[state.image] + said;
  }

  function layOver(c, pixels) {
    const one = c.maps && (state.pointedFilter ?? (state.pointed === null && state.overlay === "filters" ? state.filter : null));
    const row = c.maps && c.groups && (state.pointed !== null ? rows[state.pointed]
      : state.overlay === "filters" ? rows[state.chosen] : null);
    if (c.maps && one !== null && one !== undefined) {
      light(pixels, activation(c, [one]));
      return `, where ${filterName(c, one)} fires`;
    }
    if (row) {
      light(pixels, activation(c, row.members));
      outline(c, pixels, row.name);
      return `, where the filters of ${row.name} fire`
        + (c.masks && c.groups.indexOf(row.name) < maskCount(c) ? "; the line is around the part itself" : "");
    }
    if (state.overlay === "heat" && c.heat) {
      glow(pixels, at(c.heat.values, state.image), heat);
      return ", with Grad-CAM";
    }
    if (state.overlay === "parts" && c.masks) {
      colourParts(c, pixels);
      return ", with its parts";
    }
    return "";
  }

  const filterName = (c, i) => `filter ${c.names[i].replace(/^\D+/, "") || c.names[i]}`;
  const numeral = (i) => filterName(now(), i).slice("filter ".length);
  const maskCount = (c) => c.groups.filter((g) => g !== "unassigned").length;

  /** The sum of the maps of some filters, in units of activation. */
  function activation(c, members) {
    const { shape } = at(c.maps.values, state.image, 0);
    const values = new Float32Array(shape[0] * shape[1]);
    const peaks = at(c.maps.peak, state.image).values;
    for (const i of members) {
      const map = at(c.maps.values, state.image, i).values;
      for (let p = 0; p < values.length; p++) values[p] += map[p] * peaks[i] / 255;
    }
    return { shape, values };
  }

  /** As `style.lit`: fade all but where a map is strong; a dark picture is lightened first. */
  function light(pixels, map) {
    const strong = enlarge(map, SIZE);
    const most = strong.reduce((a, b) => Math.max(a, b), 0);
    let whole = 0;
    for (let p = 0; p < pixels.length; p++) if (p % 4 < 3) whole += pixels[p] / 255;
    const mean = Math.max(whole / (3 * strong.length), 0.01);
    const power = Math.min(1, Math.log(BRIGHT) / Math.log(mean));
    for (let p = 0; p < pixels.length; p++) if (p % 4 < 3) pixels[p] = 255 * (pixels[p] / 255) ** power;
    for (let p = 0; p < strong.length; p++) {
      const weight = most > 0 ? 1 / (1 + Math.exp(-(strong[p] / most - 0.4) * 25)) : 0;
      const mean = (pixels[4 * p] + pixels[4 * p + 1] + pixels[4 * p + 2]) / 3;
      for (let k = 0; k < 3; k++) {
        pixels[4 * p + k] = pixels[4 * p + k] * weight + (0.7 * 255 + 0.3 * mean) * (1 - weight);
      }
    }
  }

  /** As `style.overlay`: a heat map, the hotter the less the picture shows. */
  function glow(pixels, map, table) {
    const hot = enlarge(map, SIZE);
    const most = hot.reduce((a, b) => Math.max(a, b), 0);
    for (let p = 0; p < hot.length; p++) {
      const value = most > 0 ? Math.max(0, hot[p]) / most : 0;
      const weight = 0.8 * Math.sqrt(value);
      const mean = (pixels[4 * p] + pixels[4 * p + 1] + pixels[4 * p + 2]) / 3;
      for (let k = 0; k < 3; k++) {
        const calm = 0.4 * pixels[4 * p + k] + 0.6 * mean;
        pixels[4 * p + k] = calm * (1 - weight) + table[3 * Math.round(255 * value) + k] * weight;
      }
    }
  }

  /** A function that gives the parts at a pixel of the picture, one bit for each. */
  function partsAt(c) {
    const { shape: [height, width], values } = at(c.masks, state.image);
    return (x, y) => values[Math.floor(y * height / SIZE) * width + Math.floor(x * width / SIZE)];
  }

  function colourParts(c, pixels) {
    const there = partsAt(c);
    const paints = c.groups.map((g) => rgbOf(data.colours.parts[g]));
    for (let y = 0; y < SIZE; y++) {
      for (let x = 0; x < SIZE; x++) {
        const p = 4 * (y * SIZE + x);
        const bits = there(x, y);
        const mean = (pixels[p] + pixels[p + 1] + pixels[p + 2]) / 3;
        const here = paints.filter((_, k) => bits & (1 << k));
        for (let k = 0; k < 3; k++) {
          const calm = 0.35 * mean + 0.65 * 255;
          const paint = here.length ? sum(here.map((colour) => colour[k])) / here.length : calm;
          pixels[p + k] = here.length ? 0.3 * pixels[p + k] + 0.7 * paint : calm;
        }
      }
    }
  }

  /** A line around a part's mask: dark beside light, to be seen on any ground. */
  function outline(c, pixels, name) {
    const bit = c.masks && c.groups.indexOf(name);
    if (!c.masks || bit < 0 || bit >= maskCount(c)) return;
    const there = partsAt(c);
    const inside = (x, y) => x >= 0 && y >= 0 && x < SIZE && y < SIZE && (there(x, y) & (1 << bit)) !== 0;
    const edge = (x, y) => !inside(x - 1, y) || !inside(x + 1, y) || !inside(x, y - 1) || !inside(x, y + 1);
    for (let y = 0; y < SIZE; y++) {
      for (let x = 0; x < SIZE; x++) {
        if (!inside(x, y)) {
          if (inside(x - 1, y) || inside(x + 1, y) || inside(x, y - 1) || inside(x, y + 1)) dot(pixels, x, y, 255);
        } else if (edge(x, y)) dot(pixels, x, y, 20);
      }
    }
  }
  const dot = (pixels, x, y, value) => pixels.fill(value, 4 * (y * SIZE + x), 4 * (y * SIZE + x) + 3);

  startCase();
  return {
    nodes: [
      h("div", { class: "sq-row" }, pick && pick.node, thumbnails),
      columns,
      status,
    ],
  };
});

/** A case with its arrays decoded. */
function readCase(c) {
  const heat = (packed) => packed && { values: unpack(packed.values), peak: unpack(packed.peak) };
  const methods = (all) => Object.fromEntries(all.map((m) =>
    [m.name, { alpha: unpack(m.alpha), y: unpack(m.y ?? c.y), bias: m.bias }]));
  return {
    ...c, coalitions: c.coalitions && unpack(c.coalitions), flipped: c.flipped && unpack(c.flipped),
    drawings: c.drawings?.map((some) => new Map(some.map(([k, words, address]) => [k, { words, address }]))),
    yhat: unpack(c.yhat), y: unpack(c.y), part: c.part && unpack(c.part).values,
    heat: heat(c.heat), maps: heat(c.maps), masks: c.masks && unpack(c.masks),
    readings: [{ name: c.reading, methods: c.methods }, ...c.others].map(
      (one) => ({ name: one.name, methods: methods(one.methods) })),
  };
}

/** Whole percentages that sum to 100, by largest remainders, as `style.shares`. */
function shares(values) {
  const whole = sum(values);
  if (whole === 0) return values.map(() => 0);
  const exact = values.map((v) => 100 * v / whole);
  const found = exact.map(Math.floor);
  const order = exact.map((_, k) => k).sort((a, b) => (found[a] - exact[a]) - (found[b] - exact[b]));
  for (const k of order.slice(0, 100 - sum(found))) found[k] += 1;
  return found;
}

const rgbOf = (colour) => [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16));

/** Black or white, whichever has more contrast on a colour, as `style.readable_on`. */
function readableOn(colour) {
  const [r, g, b] = rgbOf(colour).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) ? "#000000" : "#ffffff";
}
