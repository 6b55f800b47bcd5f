// A gallery of filters: look through them, give them names, take the names away as a file.

const names = new Map(data.filters.map((one) => [one.index, one.name]));
let saved = true;
const count = h("p", { class: "soft", role: "status" });
const all = (one) => `filter ${one.index} ${names.get(one.index)}`;
const digits = (value) => signed(value, digitsFor(Math.abs(value)));

const sections = data.filters.map((one) => {
  const input = h("input", { type: "text", value: one.name, maxlength: 80, "data-filter": one.index, spellcheck: "true" });
  input.addEventListener("input", () => { names.set(one.index, input.value.trim()); saved = false; tell(); });
  return h("section", { class: "card", "aria-label": `filter ${one.index}` },
    h("header", {}, h("h2", {}, `Filter ${one.index}`),
      h("label", {}, h("span", { class: "soft" }, "name"), input),
      h("span", { class: "soft" }, one.peaks.length ? `fires in ${one.fires} of ${data.count} images`
        : `fires in none of ${data.count} images`)),
    h("ol", { class: "peaks", style: `--top: ${Math.max(one.peaks.length, 6)}` }, one.peaks.map((peak) => h("li", {},
      h("img", { src: peak.close, alt: `crop of image ${peak.image}`, width: 96, height: 96, loading: "lazy" }),
      h("img", { src: peak.far, alt: `image ${peak.image}, where it fires`, loading: "lazy" }),
      `peak ${digits(peak.value)}`, h("br"), h("span", { class: "soft" }, `image ${peak.image}`)))));
});

/** As `names.write_names` writes it; a JSON string is one of YAML too. */
function file() {
  const lines = [...names].filter(([, name]) => name).map(([i, name]) => `  ${i}: ${JSON.stringify(name)}`);
  return `layer: ${JSON.stringify(data.layer)}\nnames:${lines.length ? "" : " {}"}\n${lines.join("\n")}${lines.length ? "\n" : ""}`;
}

const save = h("button", { type: "button", onclick: () => {
  const link = h("a", { href: URL.createObjectURL(new Blob([file()], { type: "text/yaml" })), download: "names.yml" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000); // some browsers read it later
  saved = true;
} }, "Save names.yml");
const find = search("Search filters by number or name", () => tell());

function tell() {
  const words = find.input.value;
  let shown = 0;
  data.filters.forEach((one, k) => {
    sections[k].hidden = !has(all(one), words);
    shown += !sections[k].hidden;
  });
  const named = [...names.values()].filter(Boolean).length;
  count.textContent = `${shown} of ${data.filters.length} filters shown, ${named} named.`;
}

addEventListener("beforeunload", (event) => { if (!saved) event.preventDefault(); });
document.body.prepend(
  h("header", {}, h("h1", {}, data.title),
    h("p", {}, `Where each filter fires most among ${data.count} images. ${data.how}`),
    data.note && h("p", { class: "soft" }, data.note)),
  h("div", { class: "tools top" }, find.node, save, count),
  h("main", { class: "filters" }, sections));
tell();
