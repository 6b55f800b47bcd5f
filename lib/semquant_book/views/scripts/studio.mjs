// The studio: take a picture apart, see the network's real answer, and beside it what was foretold.
// Its script is common.mjs, engine.mjs, picture.mjs, then this file.

const CALLED = { "gradient times input": "gradient × input" };
const TOOLS = [{ value: "take", text: "take away" }, { value: "move", text: "move" }, { value: "brush", text: "rub out" }];
const BRUSH = 5; // radius, in pixels of a canvas of 128

/** What is said of animals, and of faces. */
const WORDS = {
  animals: ({ category }) => ({
    noun: "part", worth: "What each part adds to the score", question: `Is it a ${category}?`, decides: `Above 0 means “${category}”`,
    steps: ["The score", "The explanations", "Take the head away", "Who was right?"],
    hint: "Take something away, in the picture or in the list, and see what the network makes of it.",
    own: "Your picture stays in this page: nothing is sent anywhere. The network has only ever seen drawn animals, so what it says "
      + "of a photograph means little. Rub something out, or switch filters off.",
    elsewhere: "Your own picture has no parts that could be taken away: rub them out, or choose a drawn animal.",
    doing: "Now the head is taken out of the picture, and the network is asked again.", action: "Take the head away", back: "Put the head back",
    moral: "One picture proves nothing; the book counts over many. The filters are not the part: they may look at "
      + "what is still there.", instead: "Put it back, and switch its filters off" }),
  faces: ({ category, rows, lead }) => {
    const leadName = `“${rows.find(({ group }) => group === lead[0]).name}”`;
    return {
    noun: "attribute", worth: "What each attribute adds to the score", question: `Is it “${category}”?`, decides: `Above 0 means “${category}”`,
    steps: ["The score", "The explanations", "Change one thing", "Who was right?"],
    hint: "Untick an attribute: the same face comes drawn with it turned to its opposite, and all else as it was.",
    own: "Your picture stays in this page: nothing is sent anywhere. The network has only ever seen drawn faces, so what it says "
      + "of a photograph means little. Rub something out.",
    elsewhere: "Your own picture cannot be drawn again with an attribute flipped: choose a drawn face.",
    doing: `Now ${leadName} is turned to its opposite in the drawing, and the network is asked again.`,
    action: `Flip ${leadName}`, back: `Flip ${leadName} back`,
    moral: "One face proves nothing; the book counts over many. Other attributes may change their scores with the one that is "
      + "flipped, which no term of the sum foresees." };
  },
};

export default view(({ data, root }) => {
  root.classList.add("sq-studio");
  const animals = data.kind === "animals";
  const words = WORDS[data.kind](data);
  const engine = makeEngine(data.network);
  const heat = unpack(data.heat).values;
  const pictures = data.pictures.map((one) => (animals ? { ...readDrawn(one.drawn), label: one.label } : readSheet(one)));
  const rows = data.rows.map((row) => ({ ...row, net: true })); // net: whether its filters are on
  const told = new Map(); // by picture: what the network said of it as it was
  const state = { picture: 0, edit: untouched(), past: [], look: "picture", tool: "take", chosen: data.lead[0],
    reading: "before", step: 0, pointed: null, cursor: null };
  let now = null, without = null; // said of the picture as it is, and with filters off
  let answered = {}; // what these were asked about
  let drawnParts = null;

  // ---- numbers -------------------------------------------------------------------------------------

  const picture = () => pictures[state.picture];
  const before = () => told.get(state.picture);
  const methods = () => (now ? Object.keys(now.methods) : data.methods);
  const called = (m) => CALLED[m] ?? m;
  const isOff = (row) => Boolean(row.group) && state.edit.off.includes(row.group);
  const there = (row) => !row.group || (animals ? picture().layers?.some((one) => one.group === row.group) : !picture().own);
  const switched = () => rows.filter((row) => !row.net);
  const worth = (said, method, some) =>
    sum(some.flatMap((row) => row.members.map((i) => said.methods[method].contributions[i])));
  /** What was done to the picture other than taking parts away whole. */
  const besides = () => {
    const { moved, hue, from, brushed } = state.edit;
    return Boolean(brushed) || [moved, hue, from].some((one) => Object.keys(one).length);
  };

  /** {real, said: [{name, value, off}], nearest}: a change, and what each method had said of it. */
  function verdict(from, to, explained, some) {
    const real = to.score - from.score;
    const said = methods().map((name) => {
      const value = -worth(explained, name, some);
      return { name, value, off: value - real };
    });
    const nearest = said.reduce((a, b) => (Math.abs(b.off) < Math.abs(a.off) ? b : a));
    return { real, said, nearest };
  }

  /** How an attribute is called in the face that is shown: it may be absent. */
  const calledHere = (row) => row.called[picture().has?.[picture().flips.indexOf(row.group)] ?? true ? 0 : 1];

  const listed = (names) => (names.length < 2 ? names.join("")
    : `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`);
  const says = (score) => data.says[score > 0 ? 0 : 1];
  const moves = (change) => (Math.abs(change) < 0.005 ? "stays as it is"
    : `${change < 0 ? "falls" : "rises"} by ${signed(Math.abs(change))}`);

  // ---- the network is asked ------------------------------------------------------------------------

  let asking = false, again = false, closed = false;
  async function ask() {
    again = true;
    if (asking) return;
    asking = true;
    root.dataset.state = "running";
    while (again && !closed) {
      again = false;
      try {
        await answer();
      } catch (error) {
        trouble.textContent = `The network could not be run here: ${error.message}`;
        break;
      }
    }
    asking = false;
    if (!closed) root.dataset.state = "ready";
  }

  async function answer() {
    const k = state.picture, one = picture();
    await one.ready;
    const asked = { edit: state.edit, off: filtersOff() }, about = question();
    if (!told.has(k)) {
      const said = await engine.run({ pixels: seen(one, composite(one, untouched(), pictures).flat) });
      if (!said) return;
      told.set(k, said);
    }
    let mine = told.get(k), cut = null;
    if (isTouched(asked.edit)) mine = await engine.run({ pixels: seen(one, composite(one, asked.edit, pictures).flat) });
    if (asked.off && mine) {
      cut = await engine.run({ pixels: seen(one, composite(one, asked.edit, pictures).flat), off: asked.off });
      if (!cut) return;
    }
    if (!mine || k !== state.picture) return;
    now = mine;
    without = cut;
    answered = about;
    update();
  }

  /** What the network is to be asked about; the numbers that stand there are of `answered`. */
  const question = () => ({ edit: state.edit, rest: [state.picture, ...switched().map((row) => row.name)].join("|") });
  const isAnswered = () => { const { edit, rest } = question(); return answered.edit === edit && answered.rest === rest; };

  function filtersOff() {
    const off = switched();
    if (!off.length) return null;
    const found = new Array(data.filters).fill(0);
    for (const row of off) for (const i of row.members) found[i] = 1;
    return found;
  }

  // ---- edits ---------------------------------------------------------------------------------------

  let since = { kind: "", at: 0 };
  /** Change the picture; changes of one kind that follow each other at once are undone together. */
  function change(edit, kind = "") {
    const at = performance.now();
    if (!kind || kind !== since.kind || at - since.at > 1200) state.past.push(state.edit);
    since = { kind, at };
    state.edit = { ...state.edit, ...edit };
    redraw();
  }

  let soon = 0;
  /** In the next frame, however often the pointer has moved by then. */
  function redraw() {
    root.dataset.state = "running";
    soon ||= requestAnimationFrame(() => {
      soon = 0;
      if (closed) return;
      paint();
      update(); // at once what needs no network
      ask();
    });
  }

  const toggle = (groups, gone) => change({
    off: gone ? [...new Set([...state.edit.off, ...groups])] : state.edit.off.filter((g) => !groups.includes(g)) });

  function undo() {
    if (!state.past.length) return;
    state.edit = state.past.pop();
    since = { kind: "", at: 0 };
    redraw();
  }

  function startOver() {
    state.edit = untouched();
    state.past = [];
    for (const row of rows) row.net = true;
    redraw();
  }

  function choosePicture(k) {
    state.picture = k;
    state.past = [];
    now = told.get(k) ?? null;
    without = null;
    startOver();
    describePart();
    if (picture().own) setTool("brush"); // it has no parts
  }

  // ---- the picture ---------------------------------------------------------------------------------

  let held = null; // what a pointer that is down does
  const canvas = h("canvas", { width: SHOWN, height: SHOWN, tabindex: 0, role: "application" });
  const help = h("p", { class: "sq-note sq-help", id: unique("help") });
  canvas.setAttribute("aria-describedby", help.id);

  async function paint() {
    const one = picture();
    if (one.ready) await one.ready;
    if (one !== picture()) return;
    drawnParts = composite(one, state.edit, pictures);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    if (state.look === "seen" || one.tiles) {
      const small = h("canvas", { width: one.size, height: one.size });
      const bytes = seen(one, drawnParts.flat), image = new ImageData(one.size, one.size);
      for (let p = 0; p < one.size * one.size; p++) image.data.set([bytes[3 * p], bytes[3 * p + 1], bytes[3 * p + 2], 255], 4 * p);
      small.getContext("2d").putImageData(image, 0, 0);
      context.imageSmoothingEnabled = state.look !== "seen";
      context.imageSmoothingQuality = "high";
      context.drawImage(small, 0, 0, SHOWN, SHOWN);
    } else context.putImageData(new ImageData(shown(one, drawnParts.flat, state.edit.brushed), SHOWN, SHOWN), 0, 0);
    if (state.look === "heat" && now) {
      const image = context.getImageData(0, 0, SHOWN, SHOWN);
      glow(image.data, now.cam);
      context.putImageData(image, 0, 0);
    }
    if (state.pointed && !held) outline(context, state.pointed);
    if (state.cursor && state.tool === "brush") ring(context);
    canvas.setAttribute("aria-label", `${one.label}${spoken(state.edit)}`);
  }

  const spoken = (edit) => (edit.off.length ? `, without ${listed(edit.off)}` : "")
    + (besides() ? ", changed" : "");

  /** As `style.overlay`: a heat map, the hotter the less the picture shows. */
  function glow(pixels, map) {
    const hot = enlarge(map, SHOWN);
    const most = hot.reduce((a, b) => Math.max(a, b), 0);
    for (let p = 0; p < hot.length; p++) {
      const value = most > 0 ? Math.max(0, hot[p]) / most : 0;
      const weight = 0.8 * Math.sqrt(value);
      const mean = (pixels[4 * p] + pixels[4 * p + 1] + pixels[4 * p + 2]) / 3;
      for (let k = 0; k < 3; k++) {
        const calm = 0.4 * pixels[4 * p + k] + 0.6 * mean;
        pixels[4 * p + k] = calm * (1 - weight) + heat[3 * Math.round(255 * value) + k] * weight;
      }
    }
  }

  /** A line around what a group paints: dark beside light, to be seen on any ground. */
  function outline(context, group) {
    const { top, groups } = drawnParts, { side } = picture(), zoom = SHOWN / side;
    const inside = (x, y) => x >= 0 && y >= 0 && x < side && y < side && top[y * side + x] >= 0 && groups[top[y * side + x]] === group;
    for (const [style, width] of [["#fff", 5], ["#111", 2]]) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.beginPath();
      for (let y = 0; y <= side; y++) {
        for (let x = 0; x <= side; x++) {
          const here = inside(x, y);
          if (here !== inside(x - 1, y)) { context.moveTo(x * zoom, y * zoom); context.lineTo(x * zoom, (y + 1) * zoom); }
          if (here !== inside(x, y - 1)) { context.moveTo(x * zoom, y * zoom); context.lineTo((x + 1) * zoom, y * zoom); }
        }
      }
      context.stroke();
    }
  }

  const radius = () => BRUSH * picture().side / 128;
  function ring(context) {
    const zoom = SHOWN / picture().side;
    for (const [style, width] of [["#fff", 5], ["#111", 2]]) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.beginPath();
      context.arc(state.cursor[0] * zoom, state.cursor[1] * zoom, radius() * zoom, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  const placeOf = (event) => {
    const box = canvas.getBoundingClientRect(), { side } = picture();
    return [(event.clientX - box.left) / box.width * side, (event.clientY - box.top) / box.height * side];
  };
  const groupAt = ([x, y]) => {
    const { side } = picture();
    if (!drawnParts || x < 0 || y < 0 || x >= side || y >= side) return null;
    const id = drawnParts.top[Math.floor(y) * side + Math.floor(x)];
    return id < 0 ? null : drawnParts.groups[id];
  };

  function point(group) {
    if (state.pointed === group) return;
    state.pointed = group;
    for (const row of rows) row.line?.classList.toggle("sq-pointed", row.group === group && group !== null);
    paint();
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    const at = placeOf(event), group = groupAt(at);
    if (state.tool === "brush") {
      held = { last: at };
      rub(at, at);
    } else if (state.tool === "move" && group) {
      choosePart(group);
      held = { group: state.chosen, last: at, rest: [0, 0] };
    } else return;
    canvas.setPointerCapture(event.pointerId);
    event.preventDefault();
    canvas.focus({ preventScroll: true });
  });
  canvas.addEventListener("click", (event) => { // not as soon as it is down: a finger may be scrolling
    const group = state.tool === "take" ? groupAt(placeOf(event)) : null;
    if (!group) return;
    choosePart(group);
    point(null);
    toggle([group], true);
  });
  canvas.addEventListener("pointermove", (event) => {
    const at = placeOf(event);
    if (state.tool === "brush") { state.cursor = at; if (!held) paint(); }
    if (!held) { if (event.pointerType !== "touch" && animals) point(state.tool === "brush" ? null : groupAt(at)); return; }
    if (held.group) {
      const step = at.map((v, k) => Math.round(v - held.last[k]));
      if (step[0] || step[1]) { held.last = held.last.map((v, k) => v + step[k]); shift(held.group, step); }
    } else { rub(held.last, at); held.last = at; }
  });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => { held = null; since = { kind: "", at: 0 }; });
  canvas.addEventListener("pointerleave", () => { state.cursor = null; point(null); paint(); });
  canvas.addEventListener("blur", () => { state.cursor = null; paint(); });

  function rub(from, to) {
    const { side } = picture();
    const brushed = state.edit.brushed ? state.edit.brushed.slice() : new Uint8Array(side * side);
    brush(brushed, side, from, to, radius());
    state.cursor = to;
    change({ brushed }, "brush");
  }

  function shift(group, [dx, dy]) {
    const moved = { ...state.edit.moved }, { side } = picture();
    for (const g of withAll(group)) {
      const [x, y] = moved[g] ?? [0, 0];
      moved[g] = [x + dx, y + dy].map((v) => Math.max(-side, Math.min(side, v)));
    }
    change({ moved }, `move ${group}`);
  }

  canvas.addEventListener("keydown", (event) => {
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = arrows[event.key]?.map((v) => v * (event.shiftKey ? 8 : 2) * picture().side / 128);
    if (state.tool === "move" && step && animals && !picture().own) shift(state.chosen, step);
    else if (state.tool === "brush" && (step || event.key === " " || event.key === "Enter")) {
      const { side } = picture();
      state.cursor ??= [side / 2, side / 2];
      if (step) { state.cursor = state.cursor.map((v, k) => Math.max(0, Math.min(side, v + 2 * step[k]))); paint(); }
      else rub(state.cursor, state.cursor);
    } else if (event.key === "z" && (event.ctrlKey || event.metaKey)) undo();
    else return;
    event.preventDefault();
  });

  // ---- a picture of the reader's own -----------------------------------------------------------------

  const file = h("input", { type: "file", accept: "image/*", class: "sq-hidden", id: unique("file") });
  const ownThumb = h("canvas", { width: 96, height: 96 });
  file.addEventListener("change", () => { if (file.files[0]) take(file.files[0]); file.value = ""; });

  async function take(given) {
    let image;
    try {
      image = await createImageBitmap(given, { imageOrientation: "from-image" });
    } catch {
      trouble.textContent = `${given.name || "The file"} is no picture that this browser can read.`;
      return;
    }
    trouble.textContent = "";
    const own = { ...ownPicture(image, data.network.size), label: "your own picture" };
    const k = data.pictures.length;
    pictures[k] = own;
    told.delete(k);
    const fine = h("canvas", { width: SHOWN, height: SHOWN });
    fine.getContext("2d").putImageData(new ImageData(shown(own, own.base, null), SHOWN, SHOWN), 0, 0);
    ownThumb.getContext("2d").drawImage(fine, 0, 0, 96, 96);
    ownLabel.hidden = false;
    const radio = thumbs.querySelector(`input[value="${k}"]`);
    radio.disabled = false;
    radio.checked = true;
    choosePicture(k);
  }

  const thumbName = unique("picture");
  const thumb = (k, label, image) => {
    const input = h("input", { type: "radio", name: thumbName, value: k, "aria-label": label, disabled: k === data.pictures.length });
    input.checked = k === 0;
    input.addEventListener("change", () => choosePicture(k));
    return h("label", { title: label }, input, image);
  };
  const ownLabel = thumb(data.pictures.length, "your own picture", ownThumb);
  ownLabel.hidden = true;
  const thumbs = h("fieldset", { class: "sq-thumbs" }, h("legend", { class: "sq-hidden" }, "Picture"),
    data.pictures.map((one, k) => thumb(k, one.label, h("img", { src: one.small, alt: "", width: 48, height: 48 }))), ownLabel);
  const fileLabel = h("label", { class: "sq-file" }, file, h("span", {}, "a picture of your own …"));

  const dropping = (on) => (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    root.classList.toggle("sq-dropping", on);
  };
  const drop = (event) => {
    const given = event.dataTransfer.files[0];
    dropping(false)(event);
    if (given) take(given);
  };
  const listeners = [["dragover", dropping(true)], ["dragleave", dropping(false)], ["drop", drop]];
  for (const [kind, act] of listeners) root.addEventListener(kind, act);

  // ---- tools -----------------------------------------------------------------------------------------

  const looks = radios({ label: "Show", value: "picture", options: [{ value: "picture", text: "picture" },
    { value: "seen", text: "pixels" }, { value: "heat", text: "Grad-CAM" }],
  onchange(v) { state.look = v; paint(); } });
  const tools = radios({ label: "Pointer", value: animals ? "take" : "brush", options: animals ? TOOLS : TOOLS.slice(2),
    onchange: setTool });
  if (!animals) state.tool = "brush";
  function setTool(tool) {
    state.tool = tool;
    state.cursor = null;
    canvas.dataset.tool = tool;
    tools.set(tool);
    help.textContent = { take: "Click a part to take it away; the list of parts does the same.",
      move: "Drag a part; or choose one below, and use the arrow keys here, with Shift for larger steps.",
      brush: `Rub out what you like${animals ? ": what is behind the animal appears" : ""}. By keyboard: arrow keys, then the space bar.` }[tool];
    paint();
  }

  const undoButton = button("Undo", undo, { "data-name": "undo" });
  const startAgain = button("Start again", startOver, { "data-name": "again" });
  const partTools = h("div", { class: "sq-part" });
  const more = animals ? h("details", { class: "sq-more", open: matchMedia("(min-width: 60rem)").matches }, h("summary", {}, "Colour a part, or exchange it"), partTools) : "";
  const groups = rows.filter((row) => row.group).map((row) => row.group);

  function choosePart(group) {
    state.chosen = group;
    describePart();
  }

  /** The panel of the chosen part: its colour, and the same part of another animal. */
  function describePart() {
    if (!animals) return;
    more.hidden = Boolean(picture().own);
    if (picture().own) return;
    const mine = groups.filter((g) => picture().layers.some((one) => one.group === g));
    if (!mine.includes(state.chosen)) [state.chosen] = mine;
    const group = state.chosen;
    const focused = partTools.contains(document.activeElement) ? document.activeElement.dataset.part : null;
    const which = choice({ label: "Part", value: group, options: mine.map((g) => ({ value: g, text: g })), onchange: choosePart });
    const hue = slider({ label: "Colour", min: -10, max: 350, step: 10, value: state.edit.hue[group] ?? -10,
      show: (v) => (v < 0 ? "its own" : `hue ${v}°`),
      oninput(v) {
        const all = { ...state.edit.hue };
        for (const g of [group]) if (v < 0) delete all[g]; else all[g] = v;
        change({ hue: all }, `hue ${group}`);
      } });
    const options = pictures.map((one, k) => ({ one, k })).filter(({ one, k }) => k !== state.picture && !one.own
      && one.layers.some((l) => l.group === group)).map(({ one, k }) => ({ value: k, text: `of ${one.label}` }));
    const other = choice({ label: "Instead", value: state.edit.from[group]?.picture ?? "own",
      options: [{ value: "own", text: "its own" }, ...options],
      onchange(v) {
        const from = { ...state.edit.from };
        const taken = withAll(group).filter((g) => g === group || pictures[v]?.layers.some((l) => l.group === g) || mine.includes(g));
        for (const g of taken) if (v === "own") delete from[g]; else from[g] = { picture: Number(v), lead: group };
        change({ from });
      } });
    [which, hue, other].forEach((one, k) => { one.input.dataset.part = k; });
    partTools.replaceChildren(which.node, hue.node, other.node);
    if (focused) partTools.querySelector(`[data-part="${focused}"]`).focus();
  }

  // ---- score, table, verdicts ------------------------------------------------------------------------

  const trouble = h("p", { class: "sq-trouble", role: "alert" });
  const scoreLine = h("div", { class: "sq-score" });
  const gauge = h("div", { class: "sq-gauge" });
  const verdicts = h("div", { class: "sq-verdicts" });
  const table = h("div");
  const status = h("p", { class: "sq-hidden", role: "status", "aria-live": "polite" });
  const running = h("span", { class: "sq-running", "aria-hidden": "true" }, "asking the network");
  const readings = radios({ label: "Of the picture", value: "before",
    options: [{ value: "before", text: "as it was" }, { value: "now", text: "as it is now" }],
    onchange(v) { state.reading = v; update(); } });
  const swatch = (colour) => h("span", { class: "sq-swatch", style: { background: colour } });
  const methodSwatch = (m) => (data.colours.methods[m] ? swatch(data.colours.methods[m]) : "");

  function buildTable() {
    const named = (text, title) => h("th", { scope: "col", title }, text);
    const body = rows.map((row) => {
      row.inPicture = row.group ? h("input", { type: "checkbox", "aria-label": `${row.name}, in the picture`, "data-row": row.name }) : null;
      row.inPicture?.addEventListener("change", () => { toggle([row.group], !row.inPicture.checked); });
      row.inNetwork = data.filters && row.members.length ? h("input", { type: "checkbox",
        "aria-label": `filters of ${row.name}, in the network`, "data-filters": row.name }) : null;
      row.inNetwork?.addEventListener("change", () => { row.net = row.inNetwork.checked; update(); ask(); });
      row.cells = Object.fromEntries(data.methods.map((m) => [m, h("td", { "data-name": `${m}-${row.name}` })]));
      row.title = h("span", {}, row.name);
      row.line = h("tr", {}, h("th", { scope: "row" }, row.colour ? swatch(row.colour) : "", row.title,
        data.filters ? h("span", { class: "sq-note" }, ` ${row.members.length}`) : ""),
      h("td", { class: "sq-switch" }, row.inPicture ?? ""), data.filters ? h("td", { class: "sq-switch" }, row.inNetwork ?? "") : "",
      Object.values(row.cells));
      if (row.group && animals) {
        row.line.addEventListener("pointerenter", () => point(row.group));
        row.line.addEventListener("pointerleave", () => point(null));
      }
      return row.line;
    });
    const foot = ["b", "sum", "left over"].map((name) => h("tr", { class: "sq-foot" }, h("th", { scope: "row" },
      { b: "b", sum: "explained, Σ + b", "left over": "left over" }[name]), h("td", {}, ""), data.filters ? h("td", {}, "") : "",
    data.methods.map((m) => h("td", { "data-name": `${m}-${name}` }))));
    table.replaceChildren(h("div", { class: "sq-scroll", tabindex: 0, role: "region", "aria-label": "Parts, and what each method says they are worth" },
      h("table", { class: "sq-parts" }, h("thead", {}, h("tr", {}, named(words.noun), named("in the picture"),
        data.filters ? named("filters on") : "", data.methods.map((m) => h("th", { scope: "col" }, methodSwatch(m), called(m))))),
      h("tbody", {}, body), h("tfoot", {}, foot))));
  }

  function fillTable() {
    const said = state.reading === "now" ? now : before();
    const largest = said ? Math.max(1e-9, ...rows.flatMap((row) => data.methods.map((m) => Math.abs(worth(said, m, [row]))))) : 1;
    for (const row of rows) {
      const here = there(row) && !picture().own;
      if (row.inPicture) { row.inPicture.checked = here && !isOff(row); row.inPicture.disabled = !here; }
      if (row.inNetwork) row.inNetwork.checked = row.net;
      row.line.classList.toggle("sq-off", isOff(row) || !row.net);
      if (row.called) row.title.textContent = calledHere(row);
      for (const m of data.methods) put(row.cells[m], said && worth(said, m, [row]), largest);
    }
    for (const m of data.methods) {
      const cell = (name) => table.querySelector(`[data-name="${m}-${name}"]`);
      const one = said?.methods[m];
      put(cell("b"), one?.bias);
      put(cell("sum"), one?.total);
      put(cell("left over"), one && said.score - one.total);
    }
  }

  /** A number in a cell, with a bar from the middle if `largest` is given. */
  function put(cell, value, largest = 0) {
    if (!Number.isFinite(value)) { delete cell.dataset.value; cell.replaceChildren("–"); return; }
    cell.dataset.value = value;
    cell.replaceChildren(signed(value, 2, true), largest ? bar(value, largest) : "");
  }

  function bar(value, largest) {
    const long = 30 * Math.abs(value) / largest;
    return s("svg", { viewBox: "-31 0 62 10", preserveAspectRatio: "none", class: "sq-bar", "aria-hidden": "true" },
      s("line", { x1: 0, x2: 0, y1: 0, y2: 10, class: "sq-axis" }),
      s("rect", { x: value < 0 ? -long : 0, width: long, y: 1, height: 8, fill: data.colours.signs[value < 0 ? "negative" : "positive"] }));
  }

  /** Where the scores lie, on one line: as it was, as it is, with filters off; 0 decides. */
  function fillScore() {
    const was = before();
    if (!was || !now) { scoreLine.replaceChildren(h("span", { class: "sq-big" }, "…")); return; }
    const end = without ?? now, touched = end !== was;
    scoreLine.replaceChildren(
      touched ? h("span", { class: "sq-was", "data-name": "before", "data-value": was.score }, signed(was.score)) : "",
      touched ? h("span", { class: "sq-arrow", "aria-label": "became" }, " → ") : "",
      h("span", { class: "sq-big", "data-name": without ? "cut" : "score", "data-value": end.score }, signed(end.score)),
      h("span", { class: "sq-says" }, ` ${says(end.score)}`),
      touched ? h("span", { class: "sq-change", "data-name": "change", "data-value": end.score - was.score },
        ` ${signed(end.score - was.score, 2, true)}`) : "");
    const all = [0, was.score, now.score, end.score, ...[...told.values()].map((one) => one.score)];
    const low = Math.min(...all), high = Math.max(...all), room = 0.08 * (high - low || 1);
    const x = (v) => 6 + 428 * (v - low + room) / (high - low + 2 * room);
    gauge.replaceChildren(s("svg", { viewBox: "0 0 440 30", "aria-hidden": "true" },
      s("line", { x1: 6, x2: 434, y1: 10, y2: 10, class: "sq-grid" }),
      s("line", { x1: x(0), x2: x(0), y1: 3, y2: 17, class: "sq-axis" }),
      s("line", { x1: x(was.score), x2: x(end.score), y1: 10, y2: 10, class: "sq-fell",
        stroke: data.colours.signs[end.score < was.score ? "negative" : "positive"] }),
      s("circle", { cx: x(was.score), cy: 10, r: 4.5, class: "sq-hollow" }),
      s("circle", { cx: x(end.score), cy: 10, r: 5.5, class: "sq-full" }),
      s("text", { x: x(0), y: 28, "text-anchor": "middle", class: "sq-faint" }, "0"),
      x(0) > 60 ? s("text", { x: x(0) - 10, y: 28, "text-anchor": "end", class: "sq-faint" }, data.says[1]) : "",
      x(0) < 370 ? s("text", { x: x(0) + 10, y: 28, class: "sq-faint" }, data.says[0]) : ""));
  }

  /** What came of the picture's change, and of the filters', beside what was foretold; in words, for who can't see it. */
  function fillVerdicts() {
    const was = before(), gone = rows.filter(isOff), cut = switched();
    const edited = was && now && now !== was, foretold = edited && gone.length > 0 && !besides();
    const inPicture = foretold ? verdict(was, now, was, gone) : null;
    const inNetwork = was && now && without ? verdict(now, without, now, cut) : null;
    const real = { picture: edited ? now.score - was.score : NaN, network: inNetwork ? inNetwork.real : NaN };
    const largest = Math.max(1e-9, ...[inPicture, inNetwork].flatMap((one) => (one ? one.said.map(({ value }) => Math.abs(value)) : [])),
      ...Object.values(real).filter(Number.isFinite).map(Math.abs));
    const cell = (name, value, kind) => {
      const node = h("td", { "data-name": name, class: kind });
      put(node, value, largest);
      return node;
    };
    const off = (name, one, best) => (one ? h("td", { "data-name": name, "data-value": one.off, class: best && "sq-best" }, signed(Math.abs(one.off)))
      : h("td", { "data-name": name }, "–"));
    const columns = (name, found, m) => {
      const one = found?.said.find((each) => each.name === m);
      return [cell(`${name}-${m}`, one ? one.value : NaN), off(`${name}-${m}-off`, one, one && one === found.nearest)];
    };
    const both = Boolean(data.filters);
    const heads = [["in the picture", "picture"], ...(both ? [["in the network", "network"]] : [])];
    verdicts.replaceChildren(h("h4", {}, "What happened, and what had been said"), what(edited, gone, cut),
      h("table", { class: "sq-verdict" }, h("thead", {},
        h("tr", {}, h("td", {}, ""), heads.map(([text]) => h("th", { scope: "colgroup", colspan: 2 }, text))),
        h("tr", {}, h("td", {}, ""), heads.map(() => [h("th", { scope: "col" }, "change"), h("th", { scope: "col" }, "off by")]))),
      h("tbody", {}, h("tr", { class: "sq-real" }, h("th", { scope: "row" }, "the network"),
        heads.map(([, name]) => [cell(`${name}-network`, real[name]), h("td", {}, "")])),
      data.methods.map((m) => h("tr", {}, h("th", { scope: "row" }, methodSwatch(m), called(m)), columns("picture", inPicture, m),
        both ? columns("network", inNetwork, m) : "")))));
    const spoken = (found, how) => `${how} the score ${moves(found.real)}. ${found.said.map((one) =>
      `${called(one.name)} had said ${signed(one.value, 2, true)}`).join(", ")}. Nearest: ${called(found.nearest.name)}. `;
    return [inPicture ? spoken(inPicture, doneTo(gone)) : edited ? `The score ${moves(real.picture)}. ` : "",
      inNetwork ? spoken(inNetwork, `With the filters of ${namesOf(cut)} off`) : ""].join("");
  }

  const namesOf = (some) => listed(some.map((row) => (animals ? row.name : `“${row.name}”`)));
  const doneTo = (gone) => (animals ? `Without ${namesOf(gone)}` : `With ${namesOf(gone)} flipped`);

  /** What is changed, in a sentence or two. */
  function what(edited, gone, cut) {
    const said = [];
    if (edited && gone.length && !besides()) {
      said.push(`${doneTo(gone)}.`);
      const empty = gone.filter((row) => !row.members.length);
      if (empty.length) said.push(`No filter is named for ${namesOf(empty)}: every method says 0 of it.`);
    } else if (edited) said.push("As you changed it. The methods speak of whole parts only; what they say of the new picture is below.");
    if (cut.length) said.push(`In the network the filters of ${namesOf(cut)} are off.`);
    return h("p", { class: "sq-note sq-what" }, said.join(" ") || (picture().own ? words.own : words.hint));
  }

  // ---- the tour --------------------------------------------------------------------------------------

  const tourText = h("div", { class: "sq-tour-text", id: unique("tour") });
  const steps = words.steps.map((title, k) => button([h("span", { class: "sq-step", "aria-hidden": "true" }, k + 1), h("span", {}, title)],
    () => { state.step = k; fillTour(); }, { "aria-controls": tourText.id }));
  const tour = h("section", { class: "sq-tour", "aria-label": "A tour in four steps" }, h("div", { class: "sq-steps" }, steps), tourText);
  const leadRows = () => rows.filter((row) => data.lead.includes(row.group) && there(row));
  const leadGone = () => leadRows().length > 0 && leadRows().every(isOff);

  function fillTour() {
    steps.forEach((one, k) => { if (k === state.step) one.setAttribute("aria-current", "step"); else one.removeAttribute("aria-current"); });
    const was = before();
    const focused = tourText.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    tourText.replaceChildren(h("div", {}, was && now ? tellers[state.step](was) : h("p", {}, "The network is being read …")),
      h("p", { class: "sq-tour-foot" }, state.step < 3 ? button("Next", () => { state.step += 1; fillTour(); }, { "data-name": "next" })
        : button("Start again", () => { state.step = 0; startOver(); fillTour(); }, { "data-name": "next" })));
    if (focused) (tourText.querySelector(`[data-name="${focused}"]`) ?? tourText.querySelector("[data-name=next]")).focus();
  }

  const strongest = (said, m, count) => [...rows].map((row) => ({ row, value: worth(said, m, [row]) }))
    .sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, count)
    .map(({ row, value }) => `${row.name} ${signed(value, 2, true)}`);

  const tellers = [
    (was) => [h("p", {}, `${data.title} looks at ${picture().size} × ${picture().size} pixels and answers with one number, the score ŷ = `,
      h("strong", {}, signed(was.score)), `. ${words.decides}, so here it says ${says(was.score)}. It is computed in your browser, from the picture, each time you change it.`)],
    (was) => [h("p", {}, `An explanation writes the score as a sum, ŷ ≈ Σ αᵢyᵢ + b. `, ...data.methods.flatMap((m, k) => [k ? "; " : "",
      h("strong", {}, called(m)), ` says ${listed(strongest(was, m, 2))}`]), `. The table has every ${words.noun}, and what is left over.`)],
    (was) => {
      if (picture().own || !leadRows().length) return [h("p", {}, words.elsewhere)];
      const along = leadRows().filter((row) => row.group !== "head");
      return [h("p", {}, words.doing, ` ${animals && along.length ? `What is on it goes with it: ${namesOf(along)}. ` : ""}If the explanations are right, the score changes by `,
        ...data.methods.flatMap((m, k) => [k ? ", " : "", h("strong", {}, signed(-worth(was, m, leadRows()), 2, true)), ` (${called(m)})`]), ". "),
      h("p", {}, leadGone() ? button(words.back, () => toggle(data.lead, false), { "data-name": "lead" })
        : button(words.action, () => toggle(data.lead, true), { "data-name": "lead" }))];
    },
    (was) => {
      const gone = rows.filter(isOff), cut = switched(), inPicture = gone.length > 0 && !besides() && now !== was;
      const lead = button(words.action, () => toggle(data.lead, true), { "data-name": "lead" });
      if (!inPicture && !without) return [h("p", {}, "Nobody can tell yet."), h("p", {}, picture().own ? words.elsewhere : lead)];
      const [from, to, found] = inPicture ? [was, now, verdict(was, now, was, gone)] : [now, without, verdict(now, without, now, cut)];
      const order = [...found.said].sort((a, b) => Math.abs(a.off) - Math.abs(b.off));
      const last = order[order.length - 1];
      const removable = inPicture ? gone.filter((row) => row.inNetwork) : [];
      return [h("p", {}, inPicture ? doneTo(gone) : `With the filters of ${namesOf(cut)} off in the network`,
        ` the score ${moves(found.real)}, from ${signed(from.score)} to ${signed(to.score)}`,
        says(from.score) === says(to.score) ? `: still ${says(to.score)}. ` : `: now ${says(to.score)}. `,
        h("strong", { "data-name": "nearest" }, called(order[0].name)), ` was nearest, with ${signed(order[0].value, 2, true)}, off by ${signed(Math.abs(order[0].off))}; `,
        `${called(last.name)} ${order.length > 2 ? "was farthest, with" : "had said"} ${signed(last.value, 2, true)}, off by ${signed(Math.abs(last.off))}. `,
        inPicture ? words.moral : "This is what the paper takes for the truth, and what a contribution of filters speaks of."),
      removable.length ? h("p", {}, button(words.instead, () => {
        for (const row of removable) row.net = false;
        toggle(state.edit.off, false);
      }, { "data-name": "lead" })) : !inPicture && animals ? h("p", {}, lead) : ""];
    },
  ];

  // ---- all of it -------------------------------------------------------------------------------------

  let speaking = 0;
  function update() {
    const focused = document.activeElement;
    undoButton.disabled = !state.past.length;
    startAgain.disabled = !isTouched(state.edit) && !switched().length;
    if (focused?.disabled && root.contains(focused)) canvas.focus({ preventScroll: true }); // there is nothing more to undo
    readings.node.hidden = !isTouched(state.edit);
    if (!isTouched(state.edit) && state.reading === "now") { state.reading = "before"; readings.set("before"); }
    fillTable();
    if (now && !isAnswered()) return; // what stands there stays until the network has answered
    fillScore();
    const spoke = fillVerdicts();
    fillTour();
    if (state.look === "heat") paint();
    clearTimeout(speaking);
    if (spoke) speaking = setTimeout(() => { if (!asking && !held) status.textContent = spoke; }, 700);
  }

  buildTable();
  setTool(state.tool);
  describePart();
  update();
  ask();
  return {
    nodes: [tour, h("div", { class: "sq-row sq-choose" }, thumbs, fileLabel), trouble,
      h("div", { class: "sq-columns" },
        h("div", { class: "sq-left" }, h("div", { class: "sq-stage" }, canvas), h("div", { class: "sq-handle" }, looks.node, tools.node, help,
          h("div", { class: "sq-buttons" }, undoButton, startAgain), more)),
        h("div", { class: "sq-right" }, h("div", { class: "sq-head" }, h("div", { class: "sq-answer" }, h("h3", {}, words.question), scoreLine, running),
          gauge), verdicts, h("div", {}, h("h4", {}, words.worth), table, readings.node))),
      h("p", { class: "sq-note" }, data.note), status],
    undo() {
      closed = true;
      clearTimeout(speaking);
      engine.close();
      for (const [kind, act] of listeners) root.removeEventListener(kind, act);
    },
  };
});
