// What the views share that need a kernel. They ask whether one answers, rather than guess: a page
// may hold a view whose kernel is gone, in a built book as well as in a notebook that was opened
// again.

const PATIENCE = 5000; // ms until a kernel that does not answer is said not to

/**
 * The line to the kernel. `note` is the line to show, `tell(content)` sends a command, and
 * `whenever(f)` calls f(alive) now and at each change.
 */
function kernel(model) {
  const built = document.querySelector('script[type="application/vnd.jupyter.widget-state+json"]');
  const note = h("p", { class: "sq-kernel", "data-name": "kernel" });
  const listeners = [];
  let alive = null;
  let timer = null;

  const put = (now, text) => {
    note.textContent = text;
    note.hidden = !text;
    note.dataset.state = now ? "alive" : now === null ? "asking" : "none";
    if (now === alive) return;
    alive = now;
    for (const f of listeners) f(alive === true);
  };
  const silent = () => put(false, built
    ? `These controls need a kernel: run \`make lab\` in a copy of the project and open this page's notebook${
      document.querySelector(".dropdown-launch-buttons") ? ", or use a launch button at the top of this page" : ""}.`
    : "No kernel answers: it is busy, or it is not the one that this cell was run in. Run the cell again.");
  const tell = (content) => {
    clearTimeout(timer);
    timer = setTimeout(silent, built ? 0 : PATIENCE);
    model.send(content);
  };
  const heard = (content) => {
    if (!content?.heard) return; // the kernel says so to every command
    clearTimeout(timer);
    put(true, "");
  };
  const ask = () => tell({ do: "hello" });

  put(null, "Asking the kernel ...");
  model.on("msg:custom", heard);
  model.on("comm_live_update", ask);
  if (built) silent();
  ask();
  return {
    note, tell,
    whenever(f) { listeners.push(f); f(alive === true); },
    undo() {
      clearTimeout(timer);
      model.off("msg:custom", heard);
      model.off("comm_live_update", ask);
    },
  };
}

/** An input with its label, a line of help, and a place for the line that says what is wrong. */
function entry({ label, name, input, help = "" }) {
  const id = unique(name);
  const about = h("span", { class: "sq-note", id: `${id}-help` }, help);
  const wrong = h("span", { class: "sq-wrong", id: `${id}-wrong`, "data-name": `wrong-${name}` });
  input.id = id;
  input.dataset.field = name;
  input.setAttribute("aria-describedby", [help && about.id, wrong.id].filter(Boolean).join(" "));
  const node = h("div", { class: "sq-entry" }, h("label", { for: id }, label), input,
    help ? about : null, wrong);
  return { node, input, complain(text = "") {
    wrong.textContent = text;
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  } };
}

const select = (options, value) => {
  const node = h("select", {}, options.map((o) => h("option", { value: o }, o)));
  node.value = value;
  return node;
};

/** Only one button of a pair can be pressed; the focus goes with it. */
function turns(now, first, second) {
  const [on, off] = now ? [first, second] : [second, first];
  const had = document.activeElement === off;
  on.disabled = false;
  off.disabled = true;
  if (had) on.focus();
}

/** A bar that says how far something is, and a line beside it. */
function meter(label) {
  const bar = h("progress", { max: 1, value: 0, "aria-label": label, "data-name": "progress" });
  const line = h("span", { "data-name": "line" });
  const news = h("p", { class: "sq-hidden", role: "status", "aria-live": "polite" });
  let state = "";
  return {
    nodes: [h("div", { class: "sq-meter" }, bar, line), news],
    put(status) {
      bar.value = status.done ?? 0;
      line.textContent = status.line ?? "";
      // each epoch would be too much to listen to: only beginnings and ends are announced
      if (state && status.state !== state) news.textContent = status.line ?? "";
      state = status.state;
    },
  };
}
