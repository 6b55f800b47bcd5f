// A notebook's parameters as a form; the kernel writes the file and runs the notebook.

export default view(({ model, data, root }) => {
  root.classList.add("sq-form");
  const line = kernel(model);
  const given = model.get("status").settings ?? {};

  const fields = Object.fromEntries(data.fields.map((f) => {
    const value = given.values?.[f.name] ?? f.default;
    let input;
    if (f.accepted.length) input = select(f.accepted, value);
    else if (f.type === "true or false") {
      input = h("input", { type: "checkbox" });
      input.checked = value === true;
    } else {
      input = h("input", { type: "text", spellcheck: "false", autocomplete: "off",
        inputmode: { "a whole number": "numeric", "a number": "decimal" }[f.type] });
      input.value = value;
    }
    return [f.name, entry({ label: f.name, name: f.name, input, help: f.help || f.type })];
  }));
  const output = h("input", { type: "text", spellcheck: "false", autocomplete: "off" });
  output.value = given.output ?? data.output;
  fields["executed copy"] = entry({ label: "Executed copy", name: "output", input: output,
    help: "a path in the project's folder" });
  fields["executed copy"].node.classList.add("sq-wide");
  const content = (command) => () => line.tell({
    do: command, output: output.value,
    values: Object.fromEntries(data.fields.map(({ name }) => {
      const { input } = fields[name];
      return [name, input.type === "checkbox" ? input.checked : input.value];
    })),
  });

  const write = button("Write the parameter file", content("write"), { "data-name": "write" });
  const run = h("button", { type: "submit", class: "sq-main", "data-name": "run" }, "Run the notebook");
  const stop = button("Stop", () => line.tell({ do: "stop" }), { "data-name": "stop" });
  const controls = h("fieldset", { class: "sq-bare" },
    h("div", { class: "sq-entries" }, Object.values(fields).map((f) => f.node)),
    h("div", { class: "sq-row" }, write, run, stop));
  const form = panel(controls, run, content("run"));
  line.whenever((alive) => { controls.disabled = !alive; });

  // ---- the command, the file, and what the run says --------------------------------------------------

  const word = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);
  const command = h("pre", { class: "sq-text", "data-name": "command" });
  const spell = () => {
    const place = output.value.trim();
    command.textContent = [data.program, "notebook", data.source, place, "--parameters",
      place.replace(/(\.[^./]*)?$/, ".yml")].map(word).join(" ");
  };
  output.addEventListener("input", spell);
  const copied = h("span", { role: "status", class: "sq-note" });
  const copy = button("Copy", async () => {
    try {
      await navigator.clipboard.writeText(command.textContent);
      copied.textContent = "copied";
    } catch { // a page opened from a file has no clipboard: select it, for the keyboard
      getSelection().selectAllChildren(command);
      copied.textContent = "selected: copy it with the keyboard";
    }
  });
  const progress = meter("How far the notebook is");
  const wrong = h("p", { class: "sq-wrong", role: "alert", "data-name": "wrong" });
  const result = h("p", { "data-name": "result" });
  const fileName = h("p", { class: "sq-title" });
  const fileText = h("pre", { class: "sq-text", "data-name": "file" });
  const file = h("div", {}, fileName, fileText);
  const log = h("pre", { class: "sq-text", tabindex: 0, role: "region", "aria-label": "What the run says",
    "data-name": "log" });

  function follow() {
    const status = model.get("status");
    turns(status.state !== "running", run, stop);
    write.disabled = status.state === "running";
    progress.put(status);
    complaints(fields, status.problems ?? {}, root);
    const elsewhere = status.problem && !Object.keys(status.problems ?? {}).length;
    wrong.textContent = elsewhere ? status.problem.text : "";
    result.hidden = !status.result;
    result.replaceChildren("Executed copy: ", status.result?.address
      ? h("a", { href: status.result.address, target: "_blank", rel: "noopener" }, status.result.path)
      : h("code", {}, status.result?.path ?? ""));
    file.hidden = !status.file;
    fileName.textContent = status.file?.path ?? "";
    fileText.textContent = status.file?.text ?? "";
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    log.textContent = (status.lines ?? []).join("\n");
    log.hidden = !log.textContent;
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  model.on("change:status", follow);
  spell();
  follow();
  return {
    nodes: [h("p", { class: "sq-title" }, data.title), line.note, form, wrong, ...progress.nodes, result, log,
      file, h("p", { class: "sq-title" }, "The same as a command, in the project's folder"), command,
      h("p", {}, copy, " ", copied)],
    undo() { line.undo(); model.off("change:status", follow); },
  };
});
