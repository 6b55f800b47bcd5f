// What the views share that need a kernel. They ask whether one answers, rather than guess: a page
// may hold a view whose kernel is gone, in a built book as well as in a notebook that was opened
// again.

const PATIENCE = 4000; // ms until a kernel that does not answer is said not to
const LONGEST = 30000; // ms between two questions, at most

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
  let pause = 0;

  const put = (state, ...text) => {
    note.replaceChildren(...text);
    note.hidden = !text.length;
    note.dataset.state = state;
  };
  const change = (now) => {
    if (now === alive) return;
    alive = now;
    for (const f of listeners) f(alive);
  };
  const silent = () => {
    if (built) {
      const launch = document.querySelector(".dropdown-launch-buttons");
      put("none", "These controls need a kernel: run ", h("code", {}, "make lab"), " in a copy of the "
        + `project and open this page's notebook${launch ? ", or use a launch button at the top" : ""}.`);
    } else {
      put("none", "No kernel answers: it is busy, or it is not the one that this cell was run in. "
        + "If it stays so, run the cell again.");
      ask(); // a question may have been lost, or wait behind a cell that runs
    }
  };
  const tell = (content) => {
    clearTimeout(timer);
    if (!built) timer = setTimeout(silent, Math.max(PATIENCE, pause));
    model.send(content);
  };
  const ask = () => {
    pause = Math.min(2 * pause + 1000, LONGEST);
    tell({ do: "hello" });
  };
  const heard = () => {
    clearTimeout(timer);
    pause = 0;
    put("alive");
    change(true);
  };
  const answered = (content) => { if (content?.heard) heard(); }; // it says so to every command

  model.on("msg:custom", answered);
  model.on("change:status", heard);
  if (built) silent();
  else put("asking", "Asking the kernel ...");
  ask();
  return {
    note, tell,
    whenever(f) { listeners.push(f); f(alive === true); },
    undo() {
      clearTimeout(timer);
      model.off("msg:custom", answered);
      model.off("change:status", heard);
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
    const news = text && text !== wrong.textContent;
    wrong.textContent = text;
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
    return Boolean(news);
  } };
}

/** Show problems beside their fields; whoever works in the view is taken to the first new one. */
function complaints(fields, problems, root) {
  const news = Object.entries(fields).filter(([name, f]) => f.complain(problems[name] ?? ""));
  if (news.length && root.contains(document.activeElement)) news[0][1].input.focus();
}

const select = (options, value) => {
  const node = h("select", {}, options.map((o) => h("option", { value: o }, o)));
  node.value = value;
  return node;
};

/** Controls whose main button, or Enter in a field, does something; the kernel checks what is in them. */
function panel(controls, main, action) {
  const form = h("form", { onsubmit(event) { event.preventDefault(); action(); } }, controls);
  form.noValidate = true;
  form.addEventListener("keydown", (event) => { // JupyterLab keeps Enter from the browser
    if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
    event.preventDefault();
    if (!main.disabled) form.requestSubmit();
  });
  return form;
}

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
