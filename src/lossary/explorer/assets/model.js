// What the explorer computes, without a page: state in the address, curves, fits, densities, axes.
// It calls `computed` (the emitted losses) and `FACTS` (what is known of each); tests run it under Node.

// --- state: what is on the page, as the text after # in its address ---------------------------------------------------

const VIEWS = ["curves", "regression", "classes", "softmax"];
const QUANTITIES = ["value", "gradient", "curvature"];
const MOST = 6; // losses drawn together: as many colours can be told apart by everyone

const START = {
  view: "curves", lang: "", theme: "", at: 0.6, label: 0, logits: [2, 1, -0.5], quantities: [...QUANTITIES],
  curves: [["huber", {}], ["squared_error", {}], ["absolute_error", {}]],
  regression: [["squared_error", {}], ["absolute_error", {}], ["huber", {}]],
  classes: [["binary_cross_entropy_with_logits", {}], ["hinge", {}], ["exponential", {}]],
  softmax: [["softmax_cross_entropy", {}], ["softmax_focal", {}]],
  points: [[-3.5, -1.6], [-2.8, -1.5], [-2.1, -0.7], [-1.4, -0.8], [-0.7, -0.1], [0, 0.2], [0.7, 0.2], [1.4, 0.9],
    [2.1, 0.9], [2.8, 1.5], [3.4, -3.2]],
  groups: [[-2.5, -1, 0], [-2, 0.6, 0], [-1.6, -2.2, 0], [-1, -0.4, 0], [-0.6, 1, 0], [-0.3, -1.5, 0], [0.4, 0.3, 0],
    [0.1, 2, 1], [0.6, 1.2, 1], [1.2, -0.3, 1], [1.6, 1.9, 1], [2.2, 0.5, 1], [2.6, 2.4, 1], [-2.6, 2.9, 1]],
};

const writtenNumber = (x) => String(+x.toPrecision(6));
const writtenLosses = (chosen) => chosen.map(([name, params]) =>
  [name, ...Object.entries(params).map(([key, held]) => `${key}:${held === null ? "none"
    : typeof held === "number" ? writtenNumber(held) : held}`)].join(",")).join(";");
const writtenTable = (rows) => rows.map((row) => row.map(writtenNumber).join(",")).join(";");

function encodeState(state) {
  const parts = [];
  for (const key of Object.keys(START)) {
    const text = (x) => ["curves", "regression", "classes", "softmax"].includes(key) ? writtenLosses(x)
      : ["points", "groups"].includes(key) ? writtenTable(x) : key === "logits" ? x.map(writtenNumber).join(",")
      : key === "quantities" ? x.join(",") : typeof x === "number" ? writtenNumber(x) : x;
    const written = text(state[key]);
    if (written !== text(START[key])) parts.push(`${key}=${encodeURIComponent(written).replace(/%2C/g, ",").replace(/%3A/g, ":").replace(/%3B/g, ";")}`);
  }
  return parts.join("&");
}

// Whatever stands in an address gives a state: what cannot be read is left as it starts.
function decodeState(text) {
  const state = structuredClone(START);
  for (const part of text.replace(/^#/, "").split("&")) {
    const cut = part.indexOf("=");
    const key = part.slice(0, cut);
    let held;
    try { held = decodeURIComponent(part.slice(cut + 1)); } catch { continue; }
    const numbers = held.split(",").map(Number);
    if (key === "view" && VIEWS.includes(held)) state.view = held;
    if (key === "lang" && ["en", "zh", ""].includes(held)) state.lang = held;
    if (key === "theme" && ["light", "dark", ""].includes(held)) state.theme = held;
    if (key === "at" && Number.isFinite(+held)) state.at = Math.min(1, Math.max(0, +held));
    if (key === "label" && [0, 1, 2].includes(+held)) state.label = +held;
    if (key === "logits" && numbers.length === 3 && numbers.every(Number.isFinite)) state.logits = numbers;
    if (key === "quantities") state.quantities = QUANTITIES.filter((name) => held.split(",").includes(name));
    if (VIEWS.slice(1).includes(key) || key === "curves") state[key] = readLosses(held, key);
    if (key === "points" || key === "groups") state[key] = readTable(held, key === "points" ? 2 : 3);
  }
  return state;
}

function readLosses(text, view) {
  const found = [];
  for (const part of text.split(";").filter(Boolean)) {
    const [name, ...held] = part.split(",");
    if (!Object.hasOwn(FACTS, name) || !fits(name, view) || found.some(([other]) => other === name)) continue;
    const params = {};
    for (const pair of held) {
      const [key, value] = pair.split(":");
      const slider = FACTS[name].sliders.find((s) => s.name === key);
      if (!slider) continue;
      const read = value === "true" ? true : value === "false" ? false : value === "none" ? null
        : Number.isFinite(+value) ? +value : value;
      if (slider.choices ? slider.choices.includes(read) : read === null ? slider.optional : typeof read === "number")
        if (read !== FACTS[name].defaults[key]) params[key] = read;
    }
    found.push([name, params]);
  }
  const together = found.filter(([name]) => view !== "curves" || axisOf(name) === axisOf(found[0][0]));
  return together.slice(0, MOST);
}

const readTable = (text, width) => text.split(";").map((row) => row.split(",").map(Number))
  .filter((row) => row.length === width && row.every(Number.isFinite)).slice(0, 60);

const axisOf = (name) => FACTS[name].paths[0].axis.en;
const fits = (name, view) => view === "curves" || FACTS[name].roles.includes(view);
const parameters = (name, params) => ({...FACTS[name].defaults, ...params});

// --- curves -----------------------------------------------------------------------------------------------------------

// The arguments at t, and how they move: as `lossary.plots` has them.
function along(path, t) {
  const basis = {linear: [1, t], log: [1, t], circle: [1, Math.cos(t), Math.sin(t)]}[path.basis];
  const moves = {linear: [0, 1], log: [0, 1], circle: [0, -Math.sin(t), Math.cos(t)]}[path.basis];
  const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const entry = (c) => {
    if (typeof c === "number") return [c, 0];
    const value = dot(c, basis), motion = dot(c, moves);
    return path.basis === "log" ? [Math.log(value), motion / value] : [value, motion];
  };
  return path.arguments.map((argument, i) => {
    const row = path.rows[i];
    const entries = (row ? argument : [argument]).map(entry);
    return row ? {value: entries.map((e) => e[0]), motion: entries.map((e) => e[1])}
      : {value: entries[0][0], motion: entries[0][1]};
  });
}

function pointAlong(name, params, path, t) {
  const given = along(path, t), p = parameters(name, params);
  const [value, gradients, curvatures] = computed(name, given.map((a) => a.value), p);
  let gradient = 0, curvature = 0, moving = 0;
  FACTS[name].wrt.forEach((at, k) => {
    const motions = [given[at].motion].flat();
    const row = (x) => typeof x === "number" ? [x] : x;
    motions.forEach((d, i) => {
      if (d === 0) return;
      moving += 1;
      gradient += row(gradients[k])[i] * d;
      if (curvatures) curvature += row(curvatures[k])[i] * d * d;
    });
  });
  const known = curvatures && moving === 1 && path.basis === "linear";
  return {value, gradient, curvature: known ? curvature : NaN};
}

// An even number of points: round numbers, where many kinks are, lie between two of them.
function curveOf(name, params, path, points = 320) {
  const [low, high] = path.span;
  const t = Array.from({length: points}, (_, i) => low + (high - low) * i / (points - 1));
  const found = t.map((x) => pointAlong(name, params, path, x));
  return {t, ...Object.fromEntries(QUANTITIES.map((q) => [q, found.map((f) => f[q])]))};
}

// Where numbers change far more than beside it: there a line is broken.
function jumps(numbers) {
  const steps = numbers.slice(1).map((y, i) => Math.abs(y - numbers[i]));
  const finite = numbers.filter(Number.isFinite);
  const extent = finite.length ? Math.max(...finite) - Math.min(...finite) : 0;
  const around = (i) => Math.max(i > 0 ? steps[i - 1] : 0, i + 1 < steps.length ? steps[i + 1] : 0);
  return new Set(steps.flatMap((step, i) => extent > 1e-9 && step > 8 * around(i) + 1e-3 * extent + 1e-12
    && step > 0.02 * extent ? [i] : []));
}

// --- densities --------------------------------------------------------------------------------------------------------

// exp(-loss) over all targets, for one prediction: what the loss takes a likelihood to be. It is one only if its sum is
// the same for every prediction; else the loss leaves out a term in the prediction, or is no likelihood at these
// parameters.
function density(name, params, t) {
  const path = FACTS[name].paths[0], kind = FACTS[name].targets;
  const held = parameters(name, params);
  if ("full" in held) held.full = true;
  const at = FACTS[name].arguments.length - 1;
  const place = FACTS[name].arguments.indexOf("target") < 0 ? at : FACTS[name].arguments.indexOf("target");
  const weigh = (where) => {
    const given = along(path, where).map((a) => a.value);
    const centre = typeof given[0] === "number" ? given[0] : 0;
    const grid = targetGrid(kind, centre, given[0]);
    const weight = grid.map(([y]) => Math.exp(-computed(name, given.map((a, i) => i === place ? y : a), held)[0]));
    return {grid, weight, sum: grid.reduce((sum, [, step], i) => sum + weight[i] * step, 0)};
  };
  const [low, high] = path.span;
  const sums = [0.3, 0.5, 0.7].map((share) => weigh(low + share * (high - low)).sum);
  const here = weigh(t);
  const is = sums.every((s) => Number.isFinite(s) && s > 0 && Math.abs(s - here.sum) <= 2e-3 * here.sum);
  return {is, discrete: !["real", "positive"].includes(kind), y: here.grid.map(([y]) => y),
    p: here.weight.map((w) => w / here.sum), sum: here.sum};
}

// Targets with the width of the interval that each stands for; far tails count, so the grid grows exponentially.
function targetGrid(kind, centre, first) {
  if (kind === "01") return [[0, 1], [1, 1]];
  if (kind === "sign") return [[-1, 1], [1, 1]];
  if (kind === "class") return first.map((_, k) => [k, 1]);
  if (kind === "count") return Array.from({length: 600}, (_, k) => [k, 1]);
  const step = 0.02, u = Array.from({length: 2001}, (_, i) => (i - 1000) * step);
  if (kind === "positive") return u.map((x) => [Math.exp(x), Math.exp(x) * step]);
  return u.map((x) => [centre + Math.sinh(x), Math.cosh(x) * step]);
}

// --- fits -------------------------------------------------------------------------------------------------------------

// BFGS with a weak Wolfe line search, which also serves functions with kinks (Lewis and Overton 2013).
function minimise(fun, start, most = 200) {
  const n = start.length, dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);
  const plus = (a, s, b) => a.map((v, i) => v + s * b[i]);
  const unit = () => Array.from({length: n}, (_, i) => Array.from({length: n}, (_, j) => +(i === j)));
  let x = start, [f, g] = fun(x), H = unit();
  for (let step = 0; step < most; step++) {
    let d = H.map((row) => -dot(row, g)), slope = dot(d, g);
    if (!(slope < 0)) { H = unit(); d = g.map((v) => -v); slope = -dot(g, g); }
    if (!(slope < -1e-24)) break;
    let low = 0, high = Infinity, t = 1, found = null;
    for (let k = 0; k < 60; k++) {
      const at = plus(x, t, d), [value, gradient] = fun(at);
      if (!(value <= f + 1e-4 * t * slope)) high = t;
      else if (dot(gradient, d) < 0.9 * slope) { low = t; found = [at, value, gradient]; }
      else { found = [at, value, gradient]; break; }
      t = high < Infinity ? (low + high) / 2 : 2 * low;
    }
    if (!found || !(found[1] < f)) break;
    const s = plus(found[0], -1, x), y = plus(found[2], -1, g), sy = dot(s, y);
    if (sy > 1e-18) {
      const Hy = H.map((row) => dot(row, y)), scale = (1 + dot(y, Hy) / sy) / sy;
      H = H.map((row, i) => row.map((h, j) => h + scale * s[i] * s[j] - (Hy[i] * s[j] + s[i] * Hy[j]) / sy));
    }
    [x, f, g] = found;
  }
  return {x, value: f};
}

// The best of several starts: at a kink a search may stall, and a robust loss has more than one valley.
function best(fun, starts) {
  let found = {x: starts[0], value: Infinity};
  for (const start of starts) {
    let here = minimise(fun, start);
    for (let again = 0; again < 3; again++) {
      const next = minimise(fun, here.x.map((v, i) => v + (i === again % here.x.length ? 1e-3 : -1e-3)));
      if (!(next.value < here.value - 1e-12)) break;
      here = next;
    }
    if (here.value < found.value) found = here;
  }
  return found;
}

// A line a + b x through points, by the mean of a loss.
function fitLine(name, params, points) {
  const p = parameters(name, params), n = points.length;
  const fun = ([a, b]) => {
    let value = 0, da = 0, db = 0;
    for (const [x, y] of points) {
      const [v, [g]] = computed(name, [a + b * x, y], p);
      value += v / n; da += g / n; db += g * x / n;
    }
    return [value, [da, db]];
  };
  const squares = leastSquares(points);
  const starts = [squares, [0, 0], [squares[0] + 1, squares[1] / 2]];
  points.forEach((q, i) => { // lines through two points: a median has its minimum at one of them
    const r = points[(i + Math.floor(n / 2)) % n];
    if (Math.abs(r[0] - q[0]) > 1e-9) {
      const b = (r[1] - q[1]) / (r[0] - q[0]);
      starts.push([q[1] - b * q[0], b]);
    }
  });
  return best(fun, starts.slice(0, 9));
}

function leastSquares(points) {
  const n = points.length, mean = (i) => points.reduce((sum, q) => sum + q[i], 0) / n, mx = mean(0), my = mean(1);
  const spread = points.reduce((sum, q) => sum + (q[0] - mx) ** 2, 0);
  const b = spread > 0 ? points.reduce((sum, q) => sum + (q[0] - mx) * (q[1] - my), 0) / spread : 0;
  return [my - b * mx, b];
}

const PENALTY = 0.01; // of half the squared weights: without it, separable classes have no best line

// A score a + b x + c y for two classes, by the mean of a loss and the penalty.
function fitScore(name, params, groups) {
  const p = parameters(name, params), n = groups.length, sign = FACTS[name].targets === "sign";
  const fun = (w) => {
    let value = PENALTY / 2 * (w[1] ** 2 + w[2] ** 2);
    const grad = [0, PENALTY * w[1], PENALTY * w[2]];
    for (const [x, y, label] of groups) {
      const [v, [g]] = computed(name, [w[0] + w[1] * x + w[2] * y, sign ? 2 * label - 1 : label], p);
      value += v / n; grad[0] += g / n; grad[1] += g * x / n; grad[2] += g * y / n;
    }
    return [value, grad];
  };
  const right = groups.filter((q) => q[2] === 1), left = groups.filter((q) => q[2] === 0);
  const mean = (rows, i) => rows.length ? rows.reduce((sum, q) => sum + q[i], 0) / rows.length : 0;
  const b = mean(right, 0) - mean(left, 0), c = mean(right, 1) - mean(left, 1);
  const a = -(b * (mean(right, 0) + mean(left, 0)) + c * (mean(right, 1) + mean(left, 1))) / 2;
  return best(fun, [[a, b, c], [0, 0.1, 0.1]]);
}

const wrongly = (w, groups) => groups.filter(([x, y, label]) => (w[0] + w[1] * x + w[2] * y > 0) !== (label === 1)).length;

// --- three classes ----------------------------------------------------------------------------------------------------

function softmax(logits) {
  const most = Math.max(...logits), e = logits.map((z) => Math.exp(z - most)), sum = e.reduce((a, b) => a + b, 0);
  return e.map((x) => x / sum);
}

// --- axes -------------------------------------------------------------------------------------------------------------

// Whether numbers differ by rounding alone.
const isFlat = (low, high) => !(high - low > 1e-9 * Math.max(Math.abs(low), Math.abs(high)));

function ticks(low, high, about = 4) {
  if (isFlat(low, high)) return [low];
  const raw = (high - low) / about, size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((s) => s * size).reduce((a, b) =>
    Math.abs(Math.log(b / raw)) < Math.abs(Math.log(a / raw)) ? b : a);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i <= Math.floor(high / step + 1e-9); i++) found.push(i * step);
  return found;
}

function short(x) {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "–" : x > 0 ? "∞" : "−∞";
  if (Math.abs(x) < 1e-12) return "0";
  const size = Math.abs(x);
  const text = size >= 1e5 || size < 1e-3 ? x.toExponential(1).replace("e+", "e") : String(+x.toPrecision(3));
  return text.replace("-", "−");
}

// A range of numbers to show: one curve that shoots up leaves the picture, so that the others fill it.
function extent(lists) {
  const reaches = lists.map((numbers) => numbers.filter(Number.isFinite)).filter((n) => n.length)
    .map((n) => [Math.min(...n), Math.max(...n)]);
  if (!reaches.length) return [0, 1];
  const middle = (numbers) => { const s = [...numbers].sort((a, b) => a - b), m = s.length >> 1;
    return s.length % 2 ? s[m] : (s[m - 1] + s[m]) / 2; };
  const lows = reaches.map((r) => r[0]), highs = reaches.map((r) => r[1]);
  let low = Math.max(Math.min(...lows), Math.min(0, 2.5 * middle(lows)));
  let high = Math.min(Math.max(...highs), Math.max(0, 2.5 * middle(highs)));
  if (isFlat(low, high)) {
    const half = Math.max(0.5, 0.1 * Math.abs(low));
    [low, high] = [Math.min(low, high) - half, Math.max(low, high) + half];
  }
  const room = 0.06 * (high - low);
  return [low - room, high + room];
}

// Heights of labels, moved apart so that none covers another.
function spread(heights, gap, low, high) {
  const order = heights.map((y, i) => [Math.min(high, Math.max(low, y)), i]).sort((a, b) => a[0] - b[0]);
  for (let k = 1; k < order.length; k++) order[k][0] = Math.max(order[k][0], order[k - 1][0] + gap);
  for (let k = order.length - 1; k >= 0; k--)
    order[k][0] = Math.min(order[k][0], (k === order.length - 1 ? high : order[k + 1][0] - gap));
  const found = [];
  for (const [y, i] of order) found[i] = y;
  return found;
}
