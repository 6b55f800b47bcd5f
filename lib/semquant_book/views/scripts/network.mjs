// And the network? What it really says without what the reader has switched off, as it was recorded.

/** Whether the network was asked about what a case's rows can be: parts removed, or concepts flipped. */
const isAsked = (c) => Boolean(c.coalitions ?? c.flipped);

/**
 * The network's score of an image with the rows as they are ticked: {off, before, after, why, worth}.
 * `after` is null where it was not asked, and `why` says so; `worth(k)` is what row k adds to the
 * score, beside the others that are ticked.
 */
function networkOf(c, image, rows) {
  const gone = (row) => !row.on || row.factor === 0;
  const off = rows.filter(gone);
  const scaled = rows.some((row) => !gone(row) && row.factor !== 1);
  const before = c.yhat.values[image];
  if (c.coalitions) {
    const values = at(c.coalitions, image).values;
    const present = rows.reduce((bits, row, k) => bits | (gone(row) ? 0 : 1 << k), 0);
    return { off, before, after: scaled ? null : values[present],
      why: scaled ? "It was run with whole parts, as they are or without them, and not with scaled ones." : "",
      worth: (k) => values[present | 1 << k] - values[present & ~(1 << k)] };
  }
  const values = at(c.flipped, image).values;
  const drawn = values.every(Number.isFinite);
  const after = off.length === 1 ? values[off[0].members[0]] : off.length ? null : before;
  const why = !drawn ? "This face was not drawn with an attribute flipped."
    : scaled ? "An attribute is flipped in a drawing, and not scaled."
      : off.length > 1 ? "Each drawing has one attribute flipped, so it was not asked about several at once." : "";
  return { off, before, after: why ? null : after, why, worth: (k) => before - values[rows[k].members[0]] };
}

/** The network's change beside that which each method foretells: {nodes, words}. */
function askedPanel({ c, network, image, called, methodSwatch, says }) {
  const { off, before, after, why } = network;
  const flips = !c.coalitions;
  const names = off.length > 3 ? `${off.length} parts` : off.map(called).join(", ");
  const without = flips ? `${names} flipped` : `without ${names}`;
  const explained = flips
    ? "its fall with the attribute flipped in the drawing: turned to its opposite, where unticking only takes it out; something may hide it, as a hat hides bangs"
    : "what a part adds to its score beside the other ticked parts; without a part all its filters are 0";
  const note = h("p", { class: "sq-note" }, `And the network? ${explained[0].toUpperCase()}${explained.slice(1)}.`);
  if (why) {
    return { nodes: [note, h("p", { "data-name": "network-why" }, why)], words: off.length || !flips ? `. ${why}` : "" };
  }
  if (!off.length) {
    return { nodes: [note, h("p", { class: "sq-note" }, `Untick ${flips ? "an attribute" : "a part"} to compare.`)], words: "" };
  }
  const real = after - before;
  const printed = (from, to) => rounded(to) - rounded(from); // what is printed adds up
  const cell = (name, value, text) => h("td", { "data-name": name, "data-value": value }, text);
  const line = ({ name, before: from, after: to }, own) => h("tr", {},
    h("th", { scope: "row" }, own ? "" : methodSwatch(name), own ? "the network" : name),
    cell(`asked-${name}-before`, from, signed(from)), cell(`asked-${name}-after`, to, signed(to)),
    cell(`asked-${name}-change`, to - from, signed(printed(from, to), 2, true)),
    own ? h("td", {}, "") : cell(`asked-${name}-off`, to - from - real,
      signed(printed(from, to) - printed(before, after), 2, true)));
  const drawing = c.drawings?.[image].get(off[0].members[0]);
  const nodes = [note, h("div", { class: "sq-answer" },
    h("div", { class: "sq-scroll", tabindex: 0, role: "region", "aria-label": "The network's score and the explained ones" },
      h("table", {},
        h("thead", {}, h("tr", {}, ["score", "as it is", without, "change", "off by"].map(
          (text) => h("th", { scope: "col" }, text)))),
        h("tbody", {}, line({ name: "network", before, after }, true), says.map((one) => line(one, false))))),
    flips && drawing ? h("figure", {},
      h("img", { src: drawing.address, width: 96, height: 96, alt: `the face drawn again: ${drawing.words}` }),
      h("figcaption", {}, drawing.words)) : "")];
  const change = (from, to) => signed(printed(from, to), 2, true);
  return { nodes, words: `. ${without}: the network's score changes by ${change(before, after)}, by `
    + says.map((one) => `${one.name} ${change(one.before, one.after)}`).join(", by ") };
}
