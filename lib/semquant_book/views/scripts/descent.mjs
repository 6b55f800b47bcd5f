// Equation (3) for a small g, by hand: what the worker of fit.mjs runs, or the page in its place.
//
// g reads an image's pooled maps x (d), has one layer of ReLUs and n outputs:
//   h = max(gain * normed(x W1) + c1, 0),  alpha = scale * softplus(h W2 + c2),  yhat ~ sum_i alpha_i y_i + b.
// `normed` is batch norm, as in the library's g; a batch is all images. In double precision. These functions use nothing from outside
// but each other, so that their text alone makes a worker.

/** Numbers from 0 to 1 that a seed decides, the same in every browser. */
function drawn(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** g's weights before the first step: Kaiming's normal ones, and a last layer about as large as torch's. */
function startingWeights({ d, hidden, n, seed }) {
  const uniform = drawn(seed);
  const normal = (count, deviation) => Float64Array.from({ length: count }, () =>
    deviation * Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
  return { W1: normal(d * hidden, Math.sqrt(2 / d)), gain: new Float64Array(hidden).fill(1), c1: new Float64Array(hidden),
    W2: normal(hidden * n, Math.sqrt(1 / (3 * hidden))), c2: new Float64Array(n) };
}

/** g's weights alpha for every image, with what its gradient needs. `sparse`: x without its zeros. */
function forward(problem, g) {
  const { N, n, hidden, sparse: { from, place, value } } = problem;
  const normed = new Float64Array(N * hidden), h = new Float64Array(N * hidden), deviation = new Float64Array(hidden);
  const slope = new Float64Array(N * n), alpha = new Float64Array(N * n), middle = new Float64Array(hidden);
  for (let k = 0; k < N; k++) {
    const mine = normed.subarray(k * hidden, (k + 1) * hidden);
    for (let e = from[k]; e < from[k + 1]; e++) {
      const v = value[e], row = place[e] * hidden;
      for (let j = 0; j < hidden; j++) mine[j] += v * g.W1[row + j];
    }
    for (let j = 0; j < hidden; j++) middle[j] += mine[j] / N;
  }
  for (let k = 0; k < N; k++) for (let j = 0; j < hidden; j++) deviation[j] += (normed[k * hidden + j] - middle[j]) ** 2 / N;
  for (let j = 0; j < hidden; j++) deviation[j] = Math.sqrt(deviation[j] + 1e-5);
  const out = new Float64Array(n);
  for (let k = 0; k < N; k++) {
    out.set(g.c2);
    for (let j = 0; j < hidden; j++) {
      const a = k * hidden + j;
      normed[a] = (normed[a] - middle[j]) / deviation[j];
      const v = g.gain[j] * normed[a] + g.c1[j], row = j * n;
      if (!(v > 0)) continue;
      h[a] = v;
      for (let i = 0; i < n; i++) out[i] += v * g.W2[row + i];
    }
    for (let i = 0; i < n; i++) {
      const z = out[i], e = Math.exp(-Math.abs(z));
      alpha[k * n + i] = g.scale * (Math.max(z, 0) + Math.log1p(e)); // softplus
      slope[k * n + i] = g.scale * (z >= 0 ? 1 / (1 + e) : e / (1 + e));
    }
  }
  return { normed, deviation, h, alpha, slope };
}

/** The two losses, equations (2) and (4), and the gradient of L + strength * prior by all of g and b. */
function losses(problem, g, strength) {
  const { N, n, d, hidden, y, yhat, w, sparse: { from, place, value } } = problem;
  const { normed, deviation, h, alpha, slope } = forward(problem, g);
  const grad = { W1: new Float64Array(d * hidden), gain: new Float64Array(hidden), c1: new Float64Array(hidden),
    W2: new Float64Array(hidden * n), c2: new Float64Array(n), b: new Float64Array(1) };
  const dz = new Float64Array(n), dh = new Float64Array(N * hidden);
  let distillation = 0, prior = 0;
  for (let k = 0; k < N; k++) {
    const a = k * n;
    let rest = yhat[k] - g.b[0], total = 0, wSum = 0;
    for (let i = 0; i < n; i++) {
      rest -= alpha[a + i] * y[a + i];
      total += alpha[a + i];
      wSum += w[a + i];
    }
    distillation += rest * rest / N;
    grad.b[0] -= 2 * rest / N;
    for (let i = 0; i < n; i++) {
      let by = -2 * rest * y[a + i];
      if (wSum > 0) { // -sum_i p_i ln q_i, p = w / |w|, q = alpha / |alpha|
        const p = w[a + i] / wSum;
        const mine = Math.max(alpha[a + i], 1e-300);
        if (p > 0) prior -= p * Math.log(mine / total) / N;
        by += strength * (1 / total - p / mine);
      }
      dz[i] = by * slope[a + i] / N;
      grad.c2[i] += dz[i];
    }
    for (let j = 0; j < hidden; j++) {
      const v = h[k * hidden + j], row = j * n;
      if (v === 0) continue;
      let back = 0;
      for (let i = 0; i < n; i++) {
        grad.W2[row + i] += v * dz[i];
        back += g.W2[row + i] * dz[i];
      }
      dh[k * hidden + j] = back;
      grad.c1[j] += back;
      grad.gain[j] += back * normed[k * hidden + j];
    }
  }
  const back = new Float64Array(hidden);
  for (let k = 0; k < N; k++) { // through the normalisation over all images
    for (let j = 0; j < hidden; j++) {
      const a = k * hidden + j;
      back[j] = g.gain[j] / deviation[j] * (dh[a] - (grad.c1[j] + normed[a] * grad.gain[j]) / N);
    }
    for (let e = from[k]; e < from[k + 1]; e++) {
      const v = value[e], row = place[e] * hidden;
      for (let j = 0; j < hidden; j++) grad.W1[row + j] += v * back[j];
    }
  }
  return { distillation, prior, grad, alpha };
}

/** One step of torch's SGD with a momentum of 0.9, or of its AdamW; b has a rate of its own and no decay. */
function stepped(g, grad, memory, t, { optimizer, rate, biasRate, decay }) {
  const first = 1 - 0.9 ** t, second = 1 - 0.999 ** t;
  for (const name of Object.keys(grad)) {
    const p = g[name], of = grad[name], lr = name === "b" ? rate * biasRate : rate, wd = name === "b" ? 0 : decay;
    const { m, v } = memory[name] ??= { m: new Float64Array(p.length), v: new Float64Array(p.length) };
    if (optimizer === "sgd") {
      for (let k = 0; k < p.length; k++) {
        m[k] = 0.9 * m[k] + of[k] + wd * p[k];
        p[k] -= lr * m[k];
      }
      continue;
    }
    for (let k = 0; k < p.length; k++) {
      m[k] = 0.9 * m[k] + 0.1 * of[k];
      v[k] = 0.999 * v[k] + 0.001 * of[k] * of[k];
      p[k] -= lr * (wd * p[k] + m[k] / first / (Math.sqrt(v[k] / second) + 1e-8));
    }
  }
}

/** What is shown of a moment of the fit: losses, and measures of the contributions of positive images. */
function seen(problem, g, { distillation, prior, alpha }) {
  const { N, n, y, yhat, positive } = problem;
  const shares = new Float64Array(n), meanAlpha = new Float64Array(n);
  let entropy = 0, largest = 0, deviation = 0, total = 0, images = 0, low = Infinity, high = -Infinity;
  for (let k = 0; k < N; k++) {
    const c = Float64Array.from({ length: n }, (_, i) => alpha[k * n + i] * y[k * n + i]);
    const explained = c.reduce((a, b) => a + b, 0);
    deviation += Math.abs(yhat[k] - explained - g.b[0]) / N;
    total += Math.abs(explained) / N;
    low = Math.min(low, yhat[k]);
    high = Math.max(high, yhat[k]);
    const size = c.reduce((a, b) => a + Math.abs(b), 0);
    if (!positive[k] || !(size > 0)) continue;
    const ranked = c.map((v) => Math.abs(v) / size).sort().reverse();
    ranked.forEach((v, i) => { shares[i] += v; });
    for (let i = 0; i < n; i++) meanAlpha[i] += alpha[k * n + i];
    entropy -= ranked.reduce((sum, v) => sum + (v > 0 ? v * Math.log(v) : 0), 0);
    images += 1;
  }
  const mean = (values) => Array.from(values, (v) => v / images);
  return { distillation, prior, entropy: entropy / images / Math.log(n),
    largest: shares[0] / images, deviation: deviation / (high - low), total, b: g.b[0],
    shares: mean(shares), alpha: mean(meanAlpha) };
}

/** x without its zeros, row by row. */
function withoutZeros(x, N, d) {
  const from = new Uint32Array(N + 1);
  const count = x.reduce((sum, v) => sum + (v !== 0), 0);
  const place = new Uint16Array(count), value = new Float64Array(count);
  let e = 0;
  for (let k = 0; k < N; k++) {
    for (let i = 0; i < d; i++) {
      if (x[k * d + i] === 0) continue;
      place[e] = i;
      value[e++] = x[k * d + i];
    }
    from[k + 1] = e;
  }
  return { from, place, value };
}

/**
 * The fit, a step for each `next()`; gives what is seen before the first step, every few steps and at the end.
 *
 * problem: {N, n, d, hidden, x, y, yhat, w, positive, start, beta, optimizer, rate, biasRate, decay, epochs,
 * perEpoch, every, seed}. All images in every step; an epoch is so many steps, in which lambda(t) is fixed.
 */
function* fitted(given) {
  const problem = { ...given, sparse: given.sparse ?? withoutZeros(given.x, given.N, given.d) };
  const { N, n, y, yhat, perEpoch, beta } = problem, steps = problem.epochs * perEpoch;
  const copied = (weights) => Object.fromEntries(Object.entries(weights).map(([name, v]) => [name, Float64Array.from(v)]));
  const g = { ...copied(given.weights ?? startingWeights(problem)), b: new Float64Array(1), scale: 1 };
  if (problem.start === "fitting") { // the sum starts as large as the scores vary
    const { alpha } = forward(problem, g), mean = yhat.reduce((a, b) => a + b, 0) / N;
    let square = 0, spread = 0;
    for (let k = 0; k < N; k++) {
      let total = 0;
      for (let i = 0; i < n; i++) total += alpha[k * n + i] * y[k * n + i];
      square += total * total / N;
      spread += (yhat[k] - mean) ** 2 / (N - 1);
    }
    g.scale = Math.sqrt(spread / square);
  }
  g.b[0] = yhat.reduce((a, b) => Math.min(a, b), Infinity);
  const memory = {};
  for (let step = 0; step <= steps; step++) {
    const epoch = Math.min(Math.floor(step / perEpoch) + 1, problem.epochs), strength = beta / Math.sqrt(epoch);
    const now = losses(problem, g, strength), done = step === steps;
    const failed = !Number.isFinite(now.distillation + (beta ? now.prior : 0));
    if (done || failed || step % problem.every === 0) {
      yield { ...seen(problem, g, now), step, epoch: step / perEpoch, strength, done, failed,
        loss: now.distillation + (beta ? strength * now.prior : 0) };
    } else yield null;
    if (done || failed) return;
    const rate = problem.rate * 0.5 * (1 + Math.cos(Math.PI * step / steps));
    stepped(g, now.grad, memory, step + 1, { ...problem, rate });
  }
}

/** The text of all of the above, for a worker. */
const DESCENT = [drawn, startingWeights, forward, losses, stepped, seen, withoutZeros, fitted].map(String).join("\n");
