// An explanation: choose an image, see what its score is made of, switch concepts off.

const FIRST = 12; // concepts that are shown first
const LOW = [59, 111, 182]; // blue to orange: told apart by everyone who sees colours at all
const HIGH = [230, 159, 0];

const score = unpack(data.score).values;
const y = unpack(data.y);
const alpha = unpack(data.alpha).values;
const [count, n] = y.shape;
const { bias, names } = data;
const contribution = (image, i) => alpha[image * n + i] * y.values[image * n + i];
const all = [...names.keys()];
const off = new Set(); // concepts that are switched off, in every image
const state = { image: 0, words: "", show: "first" };

// ---- numbers --------------------------------------------------------------------------------------

const values = () => all.map((i) => contribution(state.image, i));
let largest = Math.max(Math.abs(bias), ...score.map(Math.abs));
alpha.forEach((a, k) => { largest = Math.max(largest, Math.abs(a * y.values[k])); });
const digits = digitsFor(largest);
const say = (value, plus = false) => signed(value, digits, plus);
const rounded = (value) => Number(value.toFixed(digits));
const label = (image) => data.labels[image];

/** A number on the page, with what it is and its exact value for whoever reads the page by program. */
const number = (name, value, text, kind = "number value") =>
  h("td", { class: kind, "data-name": name, "data-value": value }, text);

/** The largest and smallest of some numbers and 0, as what a bar may reach. */
function domain(numbers) {
  const low = Math.min(0, ...numbers);
  const high = Math.max(0, ...numbers);
  const spare = (high - low || 1) * 0.02;
  return { low: low - (low < 0 ? spare : 0), high: high + spare };
}
const percent = ({ low, high }, value) => 100 * (value - low) / (high - low);

function bar(range, value, kind, ghost = null) {
  const track = h("div", { class: "track", "aria-hidden": "true" });
  track.style.setProperty("--zero", `${percent(range, 0)}%`);
  const put = (v, name) => {
    const [from, to] = [Math.min(0, v), Math.max(0, v)].map((end) => Math.min(range.high, Math.max(range.low, end)));
    const fill = h("div", { class: `bar ${name}${v < range.low || v > range.high ? " beyond" : ""}` });
    if (v < range.low) fill.classList.add("left"); // where it fades
    fill.style.left = `${percent(range, from)}%`;
    fill.style.width = `${percent(range, to) - percent(range, from)}%`;
    track.append(fill);
  };
  if (ghost !== null) put(ghost, "ghost");
  if (value !== null && value !== 0) put(value, kind ?? (value < 0 ? "minus" : "plus"));
  return track;
}

// ---- what stands there ------------------------------------------------------------------------------

const picture = data.pictures && h("img", { alt: "" });
if (picture) picture.addEventListener("load", () => picture.classList.toggle("tiny", picture.naturalWidth <= 64));
const where = h("strong");
const step = (by, text, name) => h("button", { type: "button", "aria-label": name,
  onclick: () => choose((state.image + by + count) % count) }, text);
const radios = [...Array(count).keys()].map((k) => {
  const input = h("input", { type: "radio", name: "image", value: k, "aria-label": label(k) });
  input.addEventListener("change", () => choose(k));
  return input;
});
const thumbs = h("fieldset", { class: "thumbs" }, h("legend", { class: "hidden" }, "Image"), radios.map((input, k) =>
  h("label", { title: label(k) }, input, data.pictures
    ? h("img", { src: data.pictures[k], alt: "", width: 44, height: 44, loading: "lazy" }) : h("span", {}, k))));
const heading = h("h2");
const compare = h("div", { class: "compare" });
const changed = h("p", { class: "changed", "data-name": "changed" });
const head = h("thead", {}, h("tr", {},
  h("th", { scope: "col" }, "concept"),
  h("th", { scope: "col", class: "number detail" }, "value y"),
  h("th", { scope: "col", class: "number detail" }, "weight α"),
  h("th", { scope: "col", class: "wide" }, "contribution α y"),
  h("th", { scope: "col", class: "number" }, h("span", { class: "hidden" }, "contribution α y"))));
const rows = h("tbody");
const sums = h("tbody", { class: "sums" });
const found = h("p", { class: "soft" });
const status = h("p", { class: "hidden", role: "status" });
const find = search("Search concepts", (words) => { state.words = words; draw(); });
const sizes = h("select", {}, h("option", { value: "first" }, `the ${Math.min(FIRST, n)} largest`),
  h("option", { value: "1" }, "those of at least 1 %"), h("option", { value: "5" }, "those of at least 5 %"),
  h("option", { value: "all" }, `all ${n}`));
sizes.addEventListener("change", () => { state.show = sizes.value; draw(); });
const undo = h("button", { type: "button", onclick: () => {
  off.clear();
  draw();
  find.input.focus(); // the button has nothing more to do
} }, "Switch all on");
const over = h("tbody");

document.body.prepend(
  h("header", {}, h("h1", {}, data.title),
    h("p", {}, "Each concept adds its contribution to the network's score or takes it away: its value y in the image times "
      + "its weight α. With b, which is the same for all images, they make the explained score; what is left of the "
      + "network's score is not explained."),
    data.notes.map((note) => h("p", { class: "soft" }, note))),
  h("main", {},
    h("div", { class: "columns" },
      h("section", { class: "card sight", "aria-label": "Image" }, picture,
        h("div", { class: "steps" }, step(-1, "‹", "previous image"), where, step(1, "›", "next image")), thumbs),
      h("section", { class: "card", "aria-label": "Explanation" }, heading, compare, changed,
        h("div", { class: "tools" }, find.node, h("label", {}, h("span", {}, "Show"), sizes), undo),
        h("table", {}, h("caption", { class: "hidden" }, "What the score is made of"), head, rows, sums), found)),
    h("section", { class: "card" }, h("h2", {}, `The most important concepts over ${count} images`),
      h("p", { class: "soft" }, "Each dot is an image. The concept's value y, from its smallest to its largest: ",
        h("span", { class: "scale", "aria-hidden": "true" }), "(blue to orange). Pressing a dot shows its image."),
      h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "concept"),
        h("th", { scope: "col", class: "wide" }, "contributions α y"),
        h("th", { scope: "col", class: "number" }, "mean size"))), over)),
    status));

// ---- drawing ----------------------------------------------------------------------------------------

function choose(image) {
  state.image = image;
  draw();
}

/** Which concepts have a row of their own, largest contribution first; those switched off always. */
function visible(now) {
  const order = [...all].sort((a, b) => Math.abs(now[b]) - Math.abs(now[a]));
  const whole = sum(now.map(Math.abs));
  if (state.words.trim()) return order.filter((i) => has(names[i], state.words));
  return order.filter((i, place) => off.has(i) || state.show === "all"
    || (state.show === "first" ? place < FIRST : Math.abs(now[i]) >= whole * Number(state.show) / 100));
}

function draw(said = "") {
  const now = values();
  const before = sum(now) + bias;
  const counted = sum(all.map((i) => (off.has(i) ? 0 : now[i])));
  const explained = counted + bias;
  const real = score[state.image];
  const printed = rounded(counted) + rounded(bias); // what is printed adds up
  const left = rounded(real) - printed;

  if (picture) {
    picture.src = data.pictures[state.image];
    picture.alt = label(state.image);
  }
  where.textContent = label(state.image);
  radios[state.image].checked = true;
  const thumb = radios[state.image].parentNode;
  thumbs.scrollTo(thumb.offsetLeft - thumbs.clientWidth / 2, thumb.offsetTop - thumbs.clientHeight / 2);
  heading.textContent = `What the score of ${label(state.image)} is made of`;
  const scores = domain([before, explained, real]);
  const result = (name, value, text) => h("strong", { "data-name": name, "data-value": value }, text);
  compare.replaceChildren(
    h("span", {}, "explained score"), bar(scores, explained, null, off.size ? before : null), result("explained", explained, say(printed)),
    h("span", {}, "network's score"), bar(scores, real, "rest"), result("score", real, say(real)));
  changed.textContent = off.size ? `Without ${off.size === 1 ? names[[...off][0]] : `${off.size} concepts`} the explained score `
    + `changes by ${say(explained - before, true)}. The network itself was not asked again: its score is that of the image as it is.` : "";
  undo.disabled = off.size === 0;

  const shown = visible(now);
  const hidden = all.filter((i) => !shown.includes(i));
  const others = sum(hidden.map((i) => (off.has(i) ? 0 : now[i])));
  const range = domain(now); // sums may be beyond it
  const focus = document.activeElement?.dataset?.concept; // the rows are made anew
  rows.replaceChildren(...shown.map((i) => row(i, now[i], range)));
  if (focus !== undefined) rows.querySelector(`input[data-concept="${focus}"]`)?.focus();
  const line = (text, name, value, shown, kind, total = false) => h("tr", { class: total ? "total" : null },
    h("th", { scope: "row" }, text), h("td", { class: "detail" }), h("td", { class: "detail" }),
    h("td", { class: "wide" }, total ? null : bar(range, value, kind)), number(name, value, shown));
  sums.replaceChildren(...[
    hidden.length ? line(`${hidden.length} other concept${hidden.length > 1 ? "s" : ""}`, "others", others, say(others, true)) : null,
    line("b, the same for all images", "bias", bias, say(bias, true), "rest"),
    line("explained score", "total", explained, say(printed), null, true),
    line("not explained (residual)", "residual", real - explained, say(left, true), "rest"),
    line("network's score", "yhat", real, say(real), null, true)].filter(Boolean));
  const beyond = sums.querySelector(".beyond") ? "A bar that fades is longer than there is room for." : "";
  found.textContent = state.words.trim() ? `${shown.length} of ${n} concepts have “${state.words.trim()}” in their name.` : beyond;
  status.textContent = `${said}${label(state.image)}: explained score ${say(printed)}, network's score ${say(real)}, `
    + `not explained ${say(left, true)}. ${found.textContent}`;
  for (const dot of over.querySelectorAll("i")) dot.classList.toggle("here", Number(dot.dataset.image) === state.image);
}

function row(i, value, range) {
  const on = !off.has(i);
  const input = h("input", { type: "checkbox", "data-concept": i });
  input.checked = on;
  const toggle = () => {
    if (off.has(i)) off.delete(i); else off.add(i);
    draw(`${names[i]} switched ${off.has(i) ? "off" : "on"}. `);
  };
  input.addEventListener("change", toggle);
  const [a, v] = [alpha[state.image * n + i], y.values[state.image * n + i]];
  const [ys, as] = [signed(v, digitsFor(Math.abs(v))), signed(a, digitsFor(Math.abs(a)))];
  const tr = h("tr", { class: on ? "pick" : "pick off" },
    h("th", { scope: "row" }, h("label", {}, input, h("span", {}, names[i],
      h("span", { class: "small" }, `y ${ys}, α ${as}`)))),
    number(`y-${i}`, v, ys, "number detail"), number(`alpha-${i}`, a, as, "number detail"),
    h("td", { class: "wide" }, on ? bar(range, value) : bar(range, null, null, value)),
    number(`contribution-${i}`, value, say(value, true)));
  tr.addEventListener("click", (event) => { if (!event.target.closest("label")) toggle(); });
  return tr;
}

/** Dots in a strip: those that would lie on each other one above the other. */
function summarise() {
  const means = all.map((i) => {
    let size = 0;
    for (let k = 0; k < count; k++) size += Math.abs(contribution(k, i));
    return size / count;
  });
  const order = [...all].sort((a, b) => means[b] - means[a]).slice(0, FIRST);
  const range = domain(order.flatMap((i) => radios.map((_, k) => contribution(k, i))));
  over.replaceChildren(...order.map((i) => {
    const taken = new Map();
    const seen = radios.map((_, k) => y.values[k * n + i]);
    const [low, high] = [Math.min(...seen), Math.max(...seen)];
    const [from, to] = [0, 1].map((end) => [Math.min, Math.max][end](...radios.map((_, k) => contribution(k, i))));
    const strip = h("div", { class: "track strip", role: "img",
      "aria-label": `from ${say(from, true)} to ${say(to, true)} over ${count} images` });
    strip.style.setProperty("--zero", `${percent(range, 0)}%`);
    for (let k = 0; k < count; k++) {
      const value = contribution(k, i);
      const place = Math.round(percent(range, value));
      const level = taken.get(place) ?? 0;
      taken.set(place, level + 1);
      const share = high > low ? (seen[k] - low) / (high - low) : 0.5;
      const dot = h("i", { "data-image": k, title: `${label(k)}: ${say(value, true)}`, onclick: () => {
        choose(k);
        heading.scrollIntoView({ block: "center" }); // where its explanation is
      } });
      dot.style.left = `${percent(range, value)}%`;
      dot.style.top = `${50 + (level % 2 ? 1 : -1) * Math.min(42, 9 * Math.ceil(level / 2))}%`;
      dot.style.background = `rgb(${LOW.map((c, j) => Math.round(c + share * (HIGH[j] - c)))})`;
      strip.append(dot);
    }
    return h("tr", {}, h("th", { scope: "row" }, names[i]), h("td", { class: "wide" }, strip),
      number(`mean-${i}`, means[i], signed(means[i], digitsFor(means[order[0]]))));
  }));
}

summarise();
draw();
