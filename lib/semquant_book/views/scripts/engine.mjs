// A network and its explainers, run in the reader's browser. Nothing here touches the page, and nothing
// asks the network: what `study.portable` packed is all that there is.
//
//   const engine = makeEngine(packed);
//   const said = await engine.run({ pixels, off });   // null where a later request took its place
//   engine.close();

/**
 * All the arithmetic. The text of this function also runs in a worker, so it uses nothing outside itself.
 * `run(request)` is a generator: it pauses after each layer, and returns what `makeEngine` says.
 */
function networkOf(packed) {
  // ---- numbers ----------------------------------------------------------------------------------

  const kinds = { f4: Float32Array, u1: Uint8Array, i2: Int16Array };

  /** The numbers of an array that `store.pack` packed. */
  function numbers({ dtype, base64 }) {
    const text = atob(base64), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new kinds[dtype](bytes.buffer);
  }

  /** Weights of a layer: whole numbers, with 8 or 4 lower bits or without, times the unit of their output. */
  function weightsOf({ whole, rest, half, unit }) {
    const upper = numbers(whole), lower = rest && numbers(rest), pairs = half && numbers(half), units = numbers(unit);
    const own = upper.length / units.length, values = new Float32Array(upper.length);
    const level = (i) => (lower ? upper[i] * 256 + lower[i] : pairs ? (upper[i] - 128) * 16 + (pairs[i >> 1] >> 4 * (i & 1) & 15) : upper[i]);
    for (let o = 0, i = 0; o < units.length; o++) {
      for (const end = i + own; i < end; i++) values[i] = level(i) * units[o];
    }
    return { shape: whole.shape, values };
  }

  const count = (shape) => shape.reduce((a, b) => a * b, 1);

  // ---- layers: each is made once for a shape of its input, and keeps its output -------------------

  const made = {
    conv(layer, [, rows, columns]) {
      const { shape: [outs, ins, high, wide], values } = weightsOf(layer.weight);
      const bias = numbers(layer.bias), { stride, padding, groups } = layer;
      const across = columns + 2 * padding, plane = across * (rows + 2 * padding);
      const h = Math.floor((rows + 2 * padding - high) / stride) + 1;
      const w = Math.floor((columns + 2 * padding - wide) / stride) + 1;
      const places = h * w, terms = ins * high * wide, own = outs / groups;
      const blocks = Math.ceil(own / 4);
      // four output channels side by side
      const weights = new Float64Array(groups * blocks * terms * 4);
      for (let o = 0; o < outs; o++) {
        const g = Math.floor(o / own), i = o % own;
        const start = (g * blocks + (i >> 2)) * terms * 4 + (i & 3);
        for (let k = 0; k < terms; k++) weights[start + 4 * k] = values[o * terms + k];
      }
      const padded = new Float32Array(ins * groups * plane), out = new Float32Array(outs * places);
      const reach = new Int32Array(terms), base = new Int32Array(Math.ceil(places / 4) * 4);
      for (let c = 0, k = 0; c < ins; c++) {
        for (let i = 0; i < high; i++) {
          for (let j = 0; j < wide; j++) reach[k++] = c * plane + i * across + j;
        }
      }
      for (let p = 0; p < places; p++) base[p] = Math.floor(p / w) * stride * across + p % w * stride;
      const seen = new Float64Array(4 * terms);

      function forward(input) {
        for (let c = 0; c < ins * groups; c++) {
          for (let i = 0; i < rows; i++) {
            const from = (c * rows + i) * columns;
            padded.set(input.subarray(from, from + columns), c * plane + (i + padding) * across + padding);
          }
        }
        for (let g = 0; g < groups; g++) {
          for (let p = 0; p < places; p += 4) {
            look(g * ins * plane, p);
            for (let b = 0; b < blocks; b++) multiply((g * blocks + b) * terms * 4, g * own + 4 * b, (g + 1) * own, p);
          }
        }
        return out;
      }

      /** What four places see, side by side. */
      function look(from, p) {
        const b0 = from + base[p], b1 = from + base[p + 1], b2 = from + base[p + 2], b3 = from + base[p + 3];
        for (let k = 0, at = 0; k < terms; k++, at += 4) {
          const r = reach[k];
          seen[at] = padded[b0 + r];
          seen[at + 1] = padded[b1 + r];
          seen[at + 2] = padded[b2 + r];
          seen[at + 3] = padded[b3 + r];
        }
      }

      /** Four channels at four places. */
      function multiply(at, o, end, p) {
        let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
        let c0 = 0, c1 = 0, c2 = 0, c3 = 0, d0 = 0, d1 = 0, d2 = 0, d3 = 0;
        for (let k = 0, last = 4 * terms; k < last; k += 4, at += 4) {
          const s0 = seen[k], s1 = seen[k + 1], s2 = seen[k + 2], s3 = seen[k + 3];
          const wa = weights[at], wb = weights[at + 1], wc = weights[at + 2], wd = weights[at + 3];
          a0 += wa * s0; a1 += wa * s1; a2 += wa * s2; a3 += wa * s3;
          b0 += wb * s0; b1 += wb * s1; b2 += wb * s2; b3 += wb * s3;
          c0 += wc * s0; c1 += wc * s1; c2 += wc * s2; c3 += wc * s3;
          d0 += wd * s0; d1 += wd * s1; d2 += wd * s2; d3 += wd * s3;
        }
        put(o, p, a0, a1, a2, a3);
        if (o + 1 < end) put(o + 1, p, b0, b1, b2, b3);
        if (o + 2 < end) put(o + 2, p, c0, c1, c2, c3);
        if (o + 3 < end) put(o + 3, p, d0, d1, d2, d3);
      }

      function put(o, p, s0, s1, s2, s3) {
        const to = o * places + p, b = bias[o], left = places - p;
        out[to] = s0 + b;
        if (left > 1) out[to + 1] = s1 + b;
        if (left > 2) out[to + 2] = s2 + b;
        if (left > 3) out[to + 3] = s3 + b;
      }

      return { shape: [outs, h, w], forward };
    },

    linear(layer, shape) {
      const { shape: [outs, ins], values } = weightsOf(layer.weight), bias = numbers(layer.bias);
      const out = new Float32Array(outs), back = new Float64Array(count(shape));
      return {
        shape: [outs],
        forward(input) {
          for (let o = 0, at = 0; o < outs; o++, at += ins) {
            let s0 = 0, s1 = 0, i = 0;
            for (; i + 1 < ins; i += 2) {
              s0 += values[at + i] * input[i];
              s1 += values[at + i + 1] * input[i + 1];
            }
            if (i < ins) s0 += values[at + i] * input[i];
            out[o] = s0 + s1 + bias[o];
          }
          return out;
        },
        backward(slope) {
          back.fill(0);
          for (let o = 0, at = 0; o < outs; o++, at += ins) {
            const s = slope[o];
            if (s !== 0) for (let i = 0; i < ins; i++) back[i] += s * values[at + i];
          }
          return back;
        },
      };
    },

    relu(layer, shape) {
      const out = new Float32Array(count(shape)), back = new Float64Array(out.length);
      return {
        shape,
        forward(input) {
          for (let i = 0; i < out.length; i++) out[i] = input[i] > 0 ? input[i] : 0;
          return out;
        },
        backward(slope) {
          for (let i = 0; i < out.length; i++) back[i] = out[i] > 0 ? slope[i] : 0;
          return back;
        },
      };
    },

    /** Largest values; a window may hang over the right and bottom edge, as in torch's ceil mode. */
    pool({ kernel, stride, ceil }, [channels, rows, columns]) {
      const after = (size) => {
        const steps = (ceil ? Math.ceil : Math.floor)((size - kernel) / stride) + 1;
        return (steps - 1) * stride >= size ? steps - 1 : steps;
      };
      const h = after(rows), w = after(columns);
      const out = new Float32Array(channels * h * w), where = new Int32Array(out.length);
      const back = new Float64Array(channels * rows * columns);
      return {
        shape: [channels, h, w],
        forward(input) {
          let to = 0;
          for (let c = 0; c < channels; c++) {
            for (let i = 0; i < h; i++) {
              const bottom = Math.min(i * stride + kernel, rows);
              for (let j = 0; j < w; j++, to++) {
                const right = Math.min(j * stride + kernel, columns);
                let best = -Infinity, place = 0;
                for (let y = i * stride; y < bottom; y++) {
                  for (let x = j * stride, at = (c * rows + y) * columns + x; x < right; x++, at++) {
                    if (input[at] > best) { best = input[at]; place = at; }
                  }
                }
                out[to] = best;
                where[to] = place;
              }
            }
          }
          return out;
        },
        backward(slope) {
          back.fill(0);
          for (let i = 0; i < out.length; i++) back[where[i]] += slope[i];
          return back;
        },
      };
    },

    flatten: (layer, shape) => ({
      shape: [count(shape)], forward: (input) => input, backward: (slope) => slope,
    }),

    /** What lies near each filter's peak: x = z max(T, 0). */
    mask({ decay, amplitude }, shape) {
      const [channels, size] = shape, plane = size * size, out = new Float32Array(channels * plane);
      return {
        shape,
        forward(z) {
          for (let c = 0; c < channels; c++) {
            const start = c * plane;
            let peak = 0;
            for (let p = 1; p < plane; p++) if (z[start + p] > z[start + peak]) peak = p;
            const row = Math.floor(peak / size), column = peak % size;
            for (let i = 0, at = start; i < size; i++) {
              for (let j = 0; j < size; j++, at++) {
                const far = Math.abs(i - row) + Math.abs(j - column);
                out[at] = z[at] * Math.max(amplitude * (1 - decay * far / size), 0);
              }
            }
          }
          return out;
        },
      };
    },

    /** A residual block: both ways are added, and the sum passes a ReLU. */
    block(layer, shape) {
      const main = chain(layer.main, shape), short = chain(layer.shortcut, shape);
      const out = new Float32Array(count(main.shape));
      return {
        shape: main.shape,
        forward(input) {
          const a = whole(main.forward(input)), b = whole(short.forward(input));
          for (let i = 0; i < out.length; i++) out[i] = Math.max(a[i] + b[i], 0);
          return out;
        },
      };
    },
  };

  function whole(steps) {
    let step = steps.next();
    while (!step.done) step = steps.next();
    return step.value;
  }

  /** Layers, one after the other; `forward` is a generator that pauses after each. */
  function chain(layers, shape) {
    const parts = [];
    for (const layer of layers) {
      parts.push(made[layer.kind](layer, shape));
      shape = parts.at(-1).shape;
    }
    return {
      shape,
      * forward(values) {
        for (const part of parts) {
          values = part.forward(values);
          yield;
        }
        return values;
      },
      backward: (slope) => parts.reduceRight((s, part) => part.backward(s), slope),
    };
  }

  // ---- the network and what explains it ----------------------------------------------------------

  const { size, output } = packed, filters = packed.kind === "filters";
  const trunk = chain(packed.trunk, [3, size, size]), head = chain(packed.head, trunk.shape);
  const [channels, rows, columns] = trunk.shape, plane = rows * columns;
  const n = filters ? channels : packed.concepts.length;
  const input = new Float32Array(3 * size * size);
  const explainers = Object.entries(packed.explainers).map(([name, g]) => [name, g, chain(g.layers, trunk.shape)]);
  const correction = packed.correction && correct(packed.correction);
  const nothing = whole(head.forward(new Float32Array(channels * plane)))[output];

  const softplus = (v) => (v > 20 ? v : Math.log1p(Math.exp(v)));
  const added = (values) => values.reduce((a, b) => a + b, 0);
  const divided = (a, b) => a.map((v, i) => (b[i] === 0 ? 0 : v / b[i]));

  function told(alpha, contributions, bias) {
    return { alpha, contributions, bias, total: added(contributions) + bias };
  }

  /** alpha of the paper's explainer: the mean over positions of the last layer's outputs. */
  function* weigh(g, layers, x) {
    const last = yield* layers.forward(x), places = last.length / n;
    return Float32Array.from({ length: n }, (_, i) => {
      const mean = added(last.subarray(i * places, (i + 1) * places)) / places;
      return g.scale * (g.positive ? softplus(mean) : mean);
    });
  }

  /** Gradient times input with a learned correction, made to add up to the score where it is to. */
  function correct(kept) {
    const [mean, spread, size] = [kept.mean, kept.spread, kept.size].map(numbers);
    const net = chain(kept.layers, [n]);
    return (y, gradient, score) => {
      const change = whole(net.forward(y.map((v, i) => (v - mean[i]) / spread[i])));
      const found = Float32Array.from(y, (v, i) => gradient[i] + change[i] * v / size[i] * kept.unit / n);
      if (kept.complete) {
        const sizes = added(found.map(Math.abs)), left = score - kept.bias - added(found);
        if (sizes > 0) found.forEach((v, i) => { found[i] = v + left * Math.abs(v) / sizes; });
      }
      return Float32Array.from(found, (v, i) => (y[i] === 0 ? 0 : v));
    };
  }

  function* run({ pixels, off = null }) {
    const start = performance.now(), { scale, shift } = packed.pixels;
    if (pixels.length !== input.length) {
      throw new Error(`pixels: ${pixels.length} numbers; accepted: ${size} x ${size} x 3`);
    }
    for (let c = 0; c < 3; c++) {
      for (let p = 0; p < size * size; p++) input[c * size * size + p] = pixels[3 * p + c] * scale[c] + shift[c];
    }
    const x = Float32Array.from(yield* trunk.forward(input));
    if (off) for (let i = 0; i < channels; i++) if (off[i]) x.fill(0, i * plane, (i + 1) * plane);
    const logits = Float32Array.from(yield* head.forward(x)), score = logits[output];
    const slope = head.backward(logits.map((_, i) => Number(i === output)));
    yield;

    // of each channel: the sums over positions of x and of slope times x, the mean of the slope
    const sums = new Float32Array(channels), products = new Float32Array(channels);
    const heat = new Float64Array(plane);
    for (let c = 0; c < channels; c++) {
      let sum = 0, product = 0, slopes = 0;
      for (let p = c * plane; p < (c + 1) * plane; p++) {
        sum += x[p];
        product += x[p] * slope[p];
        slopes += slope[p];
      }
      sums[c] = sum;
      products[c] = product;
      for (let p = 0; p < plane; p++) heat[p] += slopes / plane * x[c * plane + p];
    }
    const cam = { shape: [rows, columns], values: Float32Array.from(heat, (v) => Math.max(v, 0)) };
    const y = filters ? sums : Float32Array.from(packed.concepts, (i) => logits[i]);

    const methods = {};
    for (const [name, g, layers] of explainers) {
      const alpha = yield* weigh(g, layers, x);
      methods[name] = told(alpha, alpha.map((a, i) => a * y[i]), g.bias);
    }
    if (filters) {
      methods["gradient times input"] = told(divided(products, y), products, nothing);
      if (correction) {
        const contributions = correction(y, products, score);
        methods.corrected = told(divided(contributions, y), contributions, packed.correction.bias);
      }
    }
    return { score, logits, y, gradient: filters ? products : null, cam,
      x: { shape: trunk.shape, values: x }, methods, ms: performance.now() - start };
  }

  return { run };
}

/**
 * A packed network, ready to be asked. It computes in a worker, or, where none can be made, on the
 * page itself, a few milliseconds at a time.
 *
 * `run({pixels, off})`: pixels are RGB from 0 to 255, (S, S, 3), in any array of numbers; off, an array
 * with one number a filter, says which are set to 0 in the network, behind the mask, or is null. It gives
 *
 * - score, the number that is explained, and logits, all outputs;
 * - y (n), the concepts' values; x {shape: [n, h, w], values}, the map they are read from;
 * - gradient (n), of each filter the sum over positions of gradient times input; null for outputs;
 * - cam {shape: [h, w], values}, Grad-CAM of the score at that map;
 * - methods {ours, baseline, "gradient times input", corrected}, each {alpha, contributions, bias, total};
 *   the last two are of filters only;
 * - ms, how long it took to compute.
 *
 * Pixels of another size are refused. While one request is computed only the latest other waits: one whose place it takes resolves to null,
 * as do all that are left when the engine is closed. `where` resolves to "worker" or "page".
 */
function makeEngine(packed, { worker = true } = {}) {
  let waiting = null, busy = false, closed = false;

  const ready = (worker ? _inWorker(packed) : Promise.reject()).catch(() => _onPage(packed));

  async function next() {
    if (busy || !waiting) return;
    busy = true;
    const { request, resolve, reject } = waiting;
    waiting = null;
    try {
      const network = await ready;
      resolve(closed ? null : await network.ask(request));
    } catch (error) {
      reject(error);
    }
    busy = false;
    next();
  }

  function drop() {
    waiting?.resolve(null);
    waiting = null;
  }

  return {
    where: ready.then((network) => network.where),
    run: (request) => new Promise((resolve, reject) => {
      drop();
      if (closed) { resolve(null); return; }
      waiting = { request, resolve, reject };
      next();
    }),
    close() {
      closed = true;
      drop();
      ready.then((network) => network.stop());
    },
  };
}

/** The network in a worker; rejects where none can be made. */
function _inWorker(packed) {
  return new Promise((done, fail) => {
    const text = `let network = null;
      onmessage = ({ data }) => {
        if (!network) {
          network = (${networkOf})(data);
          postMessage(null);
          return;
        }
        const steps = network.run(data);
        let step = steps.next();
        while (!step.done) step = steps.next();
        postMessage(step.value);
      };`;
    const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const made = new Worker(address);
    let answer = () => {}, refuse = () => {};
    const stop = () => { made.terminate(); answer(null); };
    const late = setTimeout(() => { stop(); fail(new Error("no worker answers")); }, 10000);
    made.onerror = (event) => {
      event.preventDefault();
      clearTimeout(late);
      const reason = new Error(event.message ?? "no worker");
      fail(reason);
      refuse(reason);
    };
    made.onmessage = ({ data }) => {
      if (data) { answer(data); return; }
      clearTimeout(late);
      URL.revokeObjectURL(address);
      done({ where: "worker", stop, ask: (request) => new Promise((then, not) => {
        [answer, refuse] = [then, not];
        made.postMessage(request);
      }) });
    };
    made.postMessage(packed);
  });
}

/** The network on the page itself: it pauses so often that the page still answers. */
function _onPage(packed) {
  let stopped = false;
  const network = networkOf(packed);
  return { where: "page", stop() { stopped = true; }, async ask(request) {
    const steps = network.run(request);
    let since = performance.now(), step = steps.next();
    while (!step.done && !stopped) {
      if (performance.now() - since > 12) {
        await new Promise((done) => setTimeout(done));
        since = performance.now();
      }
      step = steps.next();
    }
    return step.done ? step.value : null;
  } };
}
