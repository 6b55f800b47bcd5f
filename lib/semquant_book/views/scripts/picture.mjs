// A picture that a reader edits: a drawn animal's layers, put together as they were drawn and lit in
// whole numbers, or a picture of the reader's own. Its script is common.mjs, then this file.

const SHOWN = 512; // pixels a side that a picture is shown at
/** What goes along when a part is moved or exchanged. */
const ON_IT = { head: ["ear", "eye", "mouth & nose"] };
const withAll = (group) => [group, ...(ON_IT[group] ?? [])];

/** No change yet. Groups of parts: which are gone, by how much moved, in what hue, from which other picture. */
const untouched = () => ({ off: [], moved: {}, hue: {}, from: {}, brushed: null });
const isTouched = ({ off, moved, hue, from, brushed }) =>
  Boolean(off.length || [moved, hue, from].some((one) => Object.keys(one).length) || brushed);

/** A drawn animal as `studio.drawn` packs it: layers (boxes of numbers of colours) in painting order, sky, light, glow. */
function readDrawn(packed) {
  const bytes = unpack(packed.runs).values, nibbles = unpack(packed.grain).values;
  const side = 2 * packed.size;
  let next = 0;
  const layers = packed.layers.map(({ part, group, colours, box, n }) => {
    const pixels = new Uint8Array(box[2] * box[3]);
    for (let p = 0; p < pixels.length;) { // as `studio._runs`
      const byte = bytes[next++];
      pixels.fill(n > 8 ? byte : byte % n, p, p += 1 + (n > 8 ? bytes[next++] : Math.floor(byte / n)));
    }
    const paints = colours.match(/.{6}/g).map((six) => [0, 2, 4].map((k) => parseInt(six.slice(k, k + 2), 16)));
    return { part, group, colours: paints, box, pixels };
  });
  const grain = (x, y) => { // 64 x 64, two to a byte, from -4
    const i = Math.floor(y * 64 / side) * 64 + Math.floor(x * 64 / side);
    return (i % 2 ? nibbles[i >> 1] >> 4 : nibbles[i >> 1] & 15) - 4;
  };
  return { ...packed, side, layers, glow: glowing(packed.slope, side, grain) };
}

function glowing([across, down], side, grain = () => 0) {
  const ramp = Array.from({ length: side }, (_, i) => (i * 2 - side) / side);
  const found = new Int16Array(side * side);
  for (let y = 0, p = 0; y < side; y++) {
    for (let x = 0; x < side; x++, p++) found[p] = Math.floor(ramp[x] * across - ramp[y] * down) + grain(x, y);
  }
  return found;
}

/**
 * A drawn face with each set of attributes flipped: one sheet, `across` pictures side by side, in the order of
 * `truth.coalition_values`. It has to be decoded; until then `ready` is a promise.
 */
function readSheet({ sheet, across, size, label, has, flips }) {
  const picture = { size, side: 2 * size, label, has, flips, tiles: null, ready: null };
  const image = new Image();
  image.src = sheet;
  picture.ready = image.decode().then(() => {
    const canvas = h("canvas", { width: image.naturalWidth, height: image.naturalHeight });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    picture.tiles = Array.from({ length: 1 << flips.length }, (_, k) => {
      const left = (k % across) * size, top = Math.floor(k / across) * size;
      return Int32Array.from({ length: 4 * size * size }, (_, p) => { // each pixel four times
        const at = 4 * ((top + (Math.floor(p / (2 * size)) >> 1)) * canvas.width + left + (p % (2 * size) >> 1));
        return packedColour(data[at], data[at + 1], data[at + 2]);
      });
    });
    picture.behind = middling(picture.tiles[picture.tiles.length - 1]);
    picture.ready = null;
  });
  return picture;
}

/** The mean colour. */
function middling(flat) {
  const sums = [0, 0, 0];
  for (const colour of flat) channels(colour).forEach((v, k) => { sums[k] += v; });
  return packedColour(...sums.map((v) => Math.round(v / flat.length)));
}

/** A picture of the reader's own, cropped to its middle square: shown as it is, and coarser, as the network sees it. */
function ownPicture(image, size) {
  const short = Math.min(image.width, image.height), side = 2 * size;
  const canvas = h("canvas", { width: SHOWN, height: SHOWN });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff"; // below what is transparent
  context.fillRect(0, 0, SHOWN, SHOWN);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, (image.width - short) / 2, (image.height - short) / 2, short, short, 0, 0, SHOWN, SHOWN);
  const { data } = context.getImageData(0, 0, SHOWN, SHOWN);
  const fine = Int32Array.from({ length: SHOWN * SHOWN }, (_, p) => packedColour(data[4 * p], data[4 * p + 1], data[4 * p + 2]));
  const base = shrunk(fine, SHOWN, side);
  return { own: true, size, side, fine, base, behind: middling(base) };
}

const packedColour = (r, g, b) => (r << 16) | (g << 8) | b;
const channels = (colour) => [colour >> 16, (colour >> 8) & 255, colour & 255];

/** Each pixel the mean of those that it covers. */
function shrunk(values, from, to) {
  const sums = new Float64Array(3 * to * to), counts = new Float64Array(to * to);
  for (let p = 0; p < from * from; p++) {
    const q = Math.floor(Math.floor(p / from) * to / from) * to + Math.floor((p % from) * to / from);
    channels(values[p]).forEach((v, k) => { sums[3 * q + k] += v; });
    counts[q] += 1;
  }
  return Int32Array.from({ length: to * to }, (_, q) =>
    packedColour(...[0, 1, 2].map((k) => Math.round(sums[3 * q + k] / counts[q]))));
}

/** A colour in another hue, no paler than can be told. */
function inHue([r, g, b], hue) {
  const high = Math.max(r, g, b) / 255, low = Math.min(r, g, b) / 255, lightness = (high + low) / 2;
  const spread = high - low, own = spread ? spread / (1 - Math.abs(2 * lightness - 1)) : 0;
  const reach = Math.max(own, 0.5) * Math.min(lightness, 1 - lightness);
  return [0, 8, 4].map((n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - reach * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}

/** How far some groups of a picture reach, and how many pixels they paint. */
function extentOf(layers, groups) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  const painted = new Set();
  for (const { group, box: [x0, y0, w], pixels } of layers) {
    if (!groups.includes(group)) continue;
    pixels.forEach((v, p) => {
      if (!v) return;
      const x = x0 + p % w, y = y0 + Math.floor(p / w);
      [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x + 1), Math.max(bottom, y + 1)];
      painted.add(1024 * y + x);
    });
  }
  return painted.size ? { x: (left + right) / 2, y: (top + bottom) / 2, area: painted.size } : null;
}

/** Which way an animal looks: 1 to the right, -1 to the left. */
function facing({ layers }) {
  const head = extentOf(layers, ["head"]), body = extentOf(layers, ["torso"]);
  return head && body && head.x < body.x ? -1 : 1;
}

/** A layer scaled around a point, which comes to another one; mirrored where `turn` is -1. */
function scaledLayer(layer, factor, turn, from, to) {
  const [x0, y0, w, h0] = layer.box;
  const place = (v, c, d, t = 1) => (v - c) * factor * t + d;
  const ends = [place(x0, from.x, to.x, turn), place(x0 + w, from.x, to.x, turn)];
  const left = Math.floor(Math.min(...ends)), top = Math.floor(place(y0, from.y, to.y));
  const width = Math.ceil(Math.max(...ends)) - left, height = Math.ceil(place(y0 + h0, from.y, to.y)) - top;
  const pixels = Uint8Array.from({ length: width * height }, (_, p) => {
    const x = Math.floor((left + p % width + 0.5 - to.x) / factor * turn + from.x) - x0;
    const y = Math.floor((top + Math.floor(p / width) + 0.5 - to.y) / factor + from.y) - y0;
    return x < 0 || y < 0 || x >= w || y >= h0 ? 0 : layer.pixels[y * w + x];
  });
  return { ...layer, box: [left, top, width, height], pixels };
}

/** The largest layer of a group: what is before it lies behind the animal's body, what is after it before it. */
const mainOf = (layers, group) => layers.reduce((best, one, k) =>
  (one.group === group && (best < 0 || one.pixels.length > layers[best].pixels.length) ? k : best), -1);

/** The layers in painting order, with those of exchanged groups taken from other pictures: centre to centre, of the same
 * area, looking the same way. */
function exchanged(picture, { from }, others) {
  let { layers } = picture;
  for (const lead of new Set(Object.values(from).map(({ lead }) => lead))) {
    const groups = Object.keys(from).filter((g) => from[g].lead === lead);
    const other = others[from[groups[0]].picture], donor = other.layers, turn = facing(picture) * facing(other);
    const here = extentOf(layers, groups), there = extentOf(donor, groups);
    if (!here || !there) continue;
    const body = groups.includes("torso") ? mainOf(donor, "head") : mainOf(donor, "torso");
    const taken = donor.map((one, k) => ({ one, behind: k < body })).filter(({ one }) => groups.includes(one.group))
      .map(({ one, behind }) => ({ behind, one: scaledLayer(one, Math.sqrt(here.area / there.area), turn, there, here) }));
    const last = layers.reduce((best, one, k) => (groups.includes(one.group) ? k : best), 0);
    const own = groups.includes("torso") ? last : mainOf(layers, "torso");
    layers = layers.flatMap((one, k) => [
      ...(k === own ? taken.filter((t) => t.behind) : []).map((t) => t.one),
      ...(groups.includes(one.group) ? [] : [one]),
      ...(k === Math.max(last, own) ? taken.filter((t) => !t.behind) : []).map((t) => t.one)]);
  }
  return layers;
}

/** What is on top at each pixel: {flat, top}, unlit colours and positions in `groups`, -1 for the scene. */
function composite(picture, edit, others = []) {
  const { side } = picture;
  const top = new Int16Array(side * side).fill(-1);
  if (picture.own || picture.tiles) {
    const base = picture.own ? picture.base : picture.tiles[picture.flips.reduce(
      (bits, flip, k) => bits | (edit.off.includes(flip) ? 0 : 1 << k), 0)];
    return { flat: edit.brushed ? base.map((v, p) => (edit.brushed[p] ? picture.behind : v)) : base, top, groups: [] };
  }
  const [high, low] = picture.sky;
  const flat = new Int32Array(side * side);
  for (let y = 0; y < side; y++) {
    const sky = high.map((v, k) => v + Math.floor((low[k] - v) * Math.min(2 * y, side) / side));
    flat.fill(packedColour(...sky), y * side, (y + 1) * side);
  }
  const parts = new Map(), groups = [];
  for (const { part, group, colours, box: [x0, y0, w], pixels } of exchanged(picture, edit, others)) {
    if (edit.off.includes(group)) continue;
    if (!parts.has(part)) { parts.set(part, parts.size); groups.push(group); }
    const id = parts.get(part), [dx, dy] = edit.moved[group] ?? [0, 0], hue = edit.hue[group];
    const paints = colours.map((c) => packedColour(...(hue === undefined ? c : inHue(c, hue))));
    for (let p = 0; p < pixels.length; p++) {
      const v = pixels[p];
      if (!v) continue;
      const x = x0 + dx + p % w, y = y0 + dy + Math.floor(p / w), q = y * side + x;
      if (x < 0 || y < 0 || x >= side || y >= side || (group !== null && edit.brushed?.[q])) continue;
      if (v > paints.length && top[q] !== id) continue;
      top[q] = id;
      flat[q] = paints[(v - 1) % paints.length];
    }
  }
  return { flat, top: top.map((id) => (id < 0 || groups[id] === null ? -1 : id)), groups };
}

/** One channel of an unlit colour, lit. */
const lit = (value, light, glow) => Math.max(0, Math.min(255, (value * light >> 8) + glow));

/** The picture as the network gets it: size x size x 3 bytes, each pixel the mean of four. */
function seen(picture, flat) {
  const { size, side, light = [256, 256, 256], glow } = picture;
  const pixels = new Uint8ClampedArray(3 * size * size);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      for (let k = 0; k < 3; k++) {
        let total = 2;
        for (const q of [2 * y * side + 2 * x, 2 * y * side + 2 * x + 1, (2 * y + 1) * side + 2 * x, (2 * y + 1) * side + 2 * x + 1]) {
          total += lit((flat[q] >> (16 - 8 * k)) & 255, light[k], glow ? glow[q] : 0);
        }
        pixels[3 * (y * size + x) + k] = total >> 2;
      }
    }
  }
  return pixels;
}

/** Flat colours twice as fine, with edges that follow the drawing (Scale2x). */
function twice(flat, side) {
  const out = new Int32Array(4 * side * side);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const p = y * side + x, c = flat[p];
      const up = y ? flat[p - side] : c, down = y < side - 1 ? flat[p + side] : c;
      const left = x ? flat[p - 1] : c, right = x < side - 1 ? flat[p + 1] : c;
      const q = 4 * y * side + 2 * x;
      out[q] = left === up && left !== down && up !== right ? up : c;
      out[q + 1] = up === right && up !== left && right !== down ? right : c;
      out[q + 2 * side] = down === left && down !== right && left !== up ? left : c;
      out[q + 2 * side + 1] = right === down && right !== up && down !== left ? down : c;
    }
  }
  return out;
}

/** The picture as it is shown: SHOWN x SHOWN x 4 bytes, finer than the network sees it. */
function shown(picture, flat, brushed) {
  const out = new Uint8ClampedArray(4 * SHOWN * SHOWN); // it rounds nothing here, and keeps to 0 and 255
  const { side, slope, light: [red, green, blue] = [256, 256, 256] } = picture;
  if (slope) picture.shownGlow ??= glowing(slope, SHOWN); // without grain
  const { shownGlow } = picture;
  let fine = flat, width = side;
  if (picture.own) [fine, width] = [picture.fine, SHOWN];
  else for (; width < SHOWN; width *= 2) fine = twice(fine, width);
  for (let y = 0, p = 0; y < SHOWN; y++) {
    const row = Math.floor(y * width / SHOWN) * width, coarse = Math.floor(y * side / SHOWN) * side;
    for (let x = 0; x < SHOWN; x++, p++) {
      let colour = fine[row + (width === SHOWN ? x : Math.floor(x * width / SHOWN))];
      if (picture.own && brushed?.[coarse + Math.floor(x * side / SHOWN)]) colour = picture.behind;
      const glow = shownGlow ? shownGlow[p] : 0;
      out[4 * p] = (((colour >> 16) * red) >> 8) + glow;
      out[4 * p + 1] = ((((colour >> 8) & 255) * green) >> 8) + glow;
      out[4 * p + 2] = (((colour & 255) * blue) >> 8) + glow;
      out[4 * p + 3] = 255;
    }
  }
  return out;
}

/** Mark a round spot of a brush, `radius` in canvas pixels, along a line. */
function brush(mask, side, [x0, y0], [x1, y1], radius) {
  const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0)));
  for (let i = 0; i <= steps; i++) {
    const cx = x0 + (x1 - x0) * i / steps, cy = y0 + (y1 - y0) * i / steps;
    for (let y = Math.max(0, Math.floor(cy - radius)); y <= Math.min(side - 1, cy + radius); y++) {
      for (let x = Math.max(0, Math.floor(cx - radius)); x <= Math.min(side - 1, cx + radius); x++) {
        if ((x + 0.5 - cx) ** 2 + (y + 0.5 - cy) ** 2 <= radius * radius) mask[y * side + x] = 1;
      }
    }
  }
}
