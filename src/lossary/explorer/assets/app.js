// The page: draws what `model.js` computes, and writes what is chosen into the address.

const $ = (id) => document.getElementById(id);
let state = decodeState(location.hash);
// A page that links here may say ?lang=zh; whoever uses the switch is not overruled.
const asked = new URLSearchParams(location.search).get("lang");
const lang = () => state.lang || (["en", "zh"].includes(asked) ? asked : navigator.language.startsWith("zh") ? "zh" : "en");
const t = (text, numbers = {}) => Object.entries(numbers).reduce((s, [key, held]) => s.replaceAll(`{${key}}`, held),
  lang() === "zh" ? WORDS[text] ?? text : text);
const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => ({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})[c]);
const titleOf = (name) => lang() === "zh" && FACTS[name].zh ? FACTS[name].zh : name.replaceAll("_", " ");
const say = (text) => { $("live").textContent = text; };

function labelOf(name, params, all) {
  const held = Object.entries(params).map(([key, x]) => `${key}=${typeof x === "number" ? short(x) : x}`).join(", ");
  return titleOf(name) + (held ? ` (${held})` : "");
}

const TITLES = {curves: "Curves", regression: "Fit a line", classes: "Two classes", softmax: "Three classes"};

// --- the address and the switches -------------------------------------------------------------------------------------

let waiting = 0;
function changed(what) {
  if (what) state = {...state, ...what};
  render();
  clearTimeout(waiting);
  waiting = setTimeout(() => history.replaceState(null, "", `#${encodeState(state)}`), 120);
}

addEventListener("hashchange", () => { state = decodeState(location.hash); render(true); });
$("lang").onclick = () => { changed({lang: lang() === "zh" ? "en" : "zh"}); chooser(); };
$("theme").onclick = () => {
  const dark = state.theme ? state.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  changed({theme: dark ? "light" : "dark"});
};
$("search").oninput = () => list();

// --- drawing ----------------------------------------------------------------------------------------------------------

const HUES = 6;
const gap = 15;

// A panel with axes: numbers to places, in the units of its own drawing.
function panel({x, y, width, height, left = 44, right = 12, top = 10, bottom = 30}) {
  const inner = [width - left - right, height - top - bottom];
  const px = (v) => left + (v - x[0]) / (x[1] - x[0]) * inner[0];
  const py = (v) => top + (1 - (v - y[0]) / (y[1] - y[0])) * inner[1];
  const axes = (xTitle, whole = false) => {
    const parts = [];
    for (const v of ticks(...y, 4)) parts.push(`<line class="${Math.abs(v) < 1e-12 ? "zero" : "grid"}" x1="${left}" x2="${width - right}" y1="${py(v).toFixed(1)}" y2="${py(v).toFixed(1)}"/><text x="${left - 6}" y="${(py(v) + 4).toFixed(1)}" text-anchor="end">${short(v)}</text>`);
    for (const v of ticks(...x, width < 420 ? 4 : 6).filter((v) => !whole || Number.isInteger(v))) parts.push(`<text x="${px(v).toFixed(1)}" y="${height - bottom + 15}" text-anchor="middle">${short(v)}</text>`);
    parts.push(`<text x="${left + inner[0] / 2}" y="${height - 1}" text-anchor="middle">${escaped(xTitle)}</text>`);
    return parts.join("");
  };
  const path = (xs, ys, broken = new Set()) => {
    let d = "", pen = "M";
    const roof = 40;
    xs.forEach((v, i) => {
      if (!Number.isFinite(ys[i])) { pen = "M"; return; }
      d += `${pen}${px(v).toFixed(1)} ${Math.min(height + roof * 20, Math.max(-roof * 20, py(ys[i]))).toFixed(1)}`;
      pen = broken.has(i) ? "M" : "L";
    });
    return `<path class="line" d="${d}"/>`;
  };
  const clip = (body) => `<svg x="${left}" y="${top}" width="${inner[0]}" height="${inner[1]}" viewBox="${left} ${top} ${inner[0]} ${inner[1]}" style="overflow:hidden">${body}</svg>`;
  return {px, py, axes, path, clip, left, right, top, bottom, width, height, inner, x, y,
    back: (cx, cy) => [x[0] + (cx - left) / inner[0] * (x[1] - x[0]), y[0] + (1 - (cy - top) / inner[1]) * (y[1] - y[0])]};
}

const svg = (p, body, label, more = "") => `<svg viewBox="0 0 ${p.width} ${p.height}" role="img" aria-label="${escaped(label)}" ${more}>${body}</svg>`;
const narrow = () => $("stage").clientWidth < 560;
const wide = () => Math.max(320, Math.min(860, $("stage").clientWidth - 26));

// How much room labels at the right end of lines take.
const labelRoom = (labels) => {
  const size = (text) => [...text].reduce((sum, c) => sum + (c.charCodeAt(0) > 0x2e80 ? 12.5 : 7.3), 0);
  return Math.min(narrow() ? 118 : 210, Math.max(...labels.map(size), 20) + 20);
};

function cut(text, room) {
  let size = 0, out = "";
  for (const c of text) {
    size += c.charCodeAt(0) > 0x2e80 ? 12.5 : 7.3;
    if (size > room - 6) return `${out}…`;
    out += c;
  }
  return out;
}

function endLabels(p, entries) {
  const heights = spread(entries.map((e) => e.y), gap, p.top + 6, p.height - p.bottom);
  return entries.map((e, i) => `<g class="k${e.k}"><text class="own" x="${p.width - p.right + 8}" y="${(heights[i] + 4).toFixed(1)}">${escaped(cut(e.label, p.right))}<title>${escaped(e.label)}</title></text></g>`).join("");
}

// --- the chooser ------------------------------------------------------------------------------------------------------

const chosen = () => state[state.view];
const swatch = (k) => `<svg class="swatch k${k}" viewBox="0 0 26 10" aria-hidden="true"><path class="line" d="M0 5H26"/></svg>`;

function chooser() {
  const box = $("chosen");
  box.innerHTML = chosen().map(([name, params], k) => {
    const facts = FACTS[name];
    const rows = facts.sliders.map((s, i) => slider(s, params, `${k}-${i}`)).join("");
    const refused = Object.keys(facts.refused).length ? `<p class="note">${escaped(t("no slider for {names}: one number for each class", {names: Object.keys(facts.refused).join(", ")}))}</p>` : "";
    return `<section class="card k${k}" data-k="${k}"><div class="top">${swatch(k)}<span class="name">${escaped(titleOf(name))}</span>
      <button type="button" class="remove" aria-label="${escaped(t("Remove {name}", {name: titleOf(name)}))}">×</button></div>
      <p class="sum">${escaped(facts.summary[lang()])}</p><p class="formula">${escaped(facts.formula)}</p>${rows}${refused}</section>`;
  }).join("") || `<p class="note">${escaped(t("No loss is chosen: choose one below."))}</p>`;
  box.querySelectorAll(".card").forEach((card) => {
    const k = +card.dataset.k;
    card.querySelector(".remove").onclick = () => { set(chosen().filter((_, i) => i !== k)); chooser(); list(); };
    card.querySelectorAll("[data-param]").forEach((input) => { input.oninput = () => moved(k, input); });
  });
  list();
}

function slider(s, params, id) {
  const held = Object.hasOwn(params, s.name) ? params[s.name] : undefined;
  const name = `<label for="s${id}" title="${escaped(s.range ?? "")}">${escaped(s.name)}${lang() === "zh" && s.words.zh !== s.name ? ` <span class="note">${escaped(s.words.zh)}</span>` : ""}</label>`;
  const now = (facts) => held === undefined ? facts : held;
  if (s.choices) {
    const value = now(s.usual);
    return `<div class="slider">${name}<select id="s${id}" data-param="${s.name}" data-kind="choice">${s.choices.map((c) => `<option value="${escaped(JSON.stringify(c))}" ${c === value ? "selected" : ""}>${escaped(t(String(c)))}</option>`).join("")}</select></div>`;
  }
  const value = now(s.usual), shown = value === null ? s.rest : value, at = s.log ? Math.log10(shown) : shown;
  const off = s.optional ? `<label style="grid-column:1/-1" class="note"><input type="checkbox" data-param="${s.name}" data-kind="off" ${value === null ? "" : "checked"}> ${escaped(t("use {name}", {name: s.name}))}</label>` : "";
  return `${off}<div class="slider" ${value === null ? "hidden" : ""}>${name}<input id="s${id}" type="range" min="${s.low}" max="${s.high}" step="${s.step}" value="${at}" data-param="${s.name}" data-kind="range"><input type="number" step="any" value="${+(+shown).toPrecision(6)}" data-param="${s.name}" data-kind="number" aria-label="${escaped(s.name)}"></div>`;
}

for (const facts of Object.values(FACTS)) for (const s of facts.sliders) {
  s.usual = facts.defaults[s.name];
  s.rest = s.optional ? +((s.low + s.high) / 2).toFixed(2) : s.usual;
}

function moved(k, input) {
  const [name, params] = chosen()[k], s = FACTS[name].sliders.find((x) => x.name === input.dataset.param);
  const kind = input.dataset.kind;
  let value = kind === "choice" ? JSON.parse(input.value) : kind === "off" ? (input.checked ? s.rest : null) : +input.value;
  if (kind === "range" && s.log) value = +(10 ** value).toPrecision(3);
  if (kind === "number") {
    const inside = input.value !== "" && Number.isFinite(value) && admits(s.range, value);
    input.setCustomValidity(inside ? "" : t("{name} is in {range}", {name: s.name, range: s.range}));
    if (!inside) { input.reportValidity(); return; }
  }
  const next = {...params, [s.name]: value};
  if (value === s.usual) delete next[s.name];
  set(chosen().map((held, i) => i === k ? [name, next] : held));
  if (kind === "off") { chooser(); return; }
  const row = input.closest(".slider");
  if (kind === "range") row.querySelector("[data-kind=number]").value = value;
  if (kind === "number") row.querySelector("[data-kind=range]").value = s.log ? Math.log10(value) : value;
}

// Whether a number lies in a range such as "(0, 1]" or is real.
function admits(range, x) {
  const found = /^([[(])\s*([^,]+),\s*([^\])]+)([\])])/.exec(range);
  if (!found) return true;
  const end = (text) => text.trim() === "inf" ? Infinity : text.trim() === "-inf" ? -Infinity : +text;
  const [, open, low, high, close] = found;
  return (open === "[" ? x >= end(low) : x > end(low)) && (close === "]" ? x <= end(high) : x < end(high));
}

const set = (losses) => changed({[state.view]: losses});

function toggle(name) {
  const now = chosen(), there = now.some(([other]) => other === name);
  if (there) set(now.filter(([other]) => other !== name));
  else if (state.view === "curves" && now.length && axisOf(now[0][0]) !== axisOf(name)) set([[name, {}]]);
  else if (now.length >= MOST) { say(t("At most {most} losses are drawn together; remove one first.", {most: MOST})); $("rule").textContent = $("live").textContent; return; }
  else set([...now, [name, {}]]);
  chooser();
}

function list() {
  const words = $("search").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const now = chosen(), axis = state.view === "curves" && now.length ? axisOf(now[0][0]) : null;
  const matches = Object.keys(FACTS).filter((name) => fits(name, state.view)).filter((name) => {
    const f = FACTS[name], text = `${name} ${name.replaceAll("_", " ")} ${f.also} ${f.family.en} ${f.family.zh} ${f.summary.en} ${f.summary.zh}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const groups = new Map();
  for (const name of matches) {
    const group = state.view === "curves" ? FACTS[name].paths[0].axis[lang()] : FACTS[name].family[lang()];
    groups.set(group, [...(groups.get(group) ?? []), name]);
  }
  const order = [...groups].sort(([, a], [, b]) => (axisOf(b[0]) === axis) - (axisOf(a[0]) === axis) || b.length - a.length);
  $("search").placeholder = t("Search: huber, focal, outlier ...");
  $("search").setAttribute("aria-label", t("Search losses"));
  $("rule").textContent = state.view === "curves" ? t("Losses on the same axis are drawn together; one of another axis takes their place.") : "";
  $("list").innerHTML = order.map(([group, names]) => `<h3>${escaped(group)}</h3>${names.map((name) =>
    `<button type="button" data-name="${name}" aria-pressed="${now.some(([n]) => n === name)}">${escaped(titleOf(name))}${lang() === "zh" ? `<small>${name}</small>` : ""}</button>`).join("")}`).join("")
    || `<p class="note">${escaped(t("No loss of this view matches."))}</p>`;
  $("list").querySelectorAll("button").forEach((b) => { b.onclick = () => { toggle(b.dataset.name); $("list").querySelector(`[data-name=${b.dataset.name}]`)?.focus(); }; });
}

// --- views ------------------------------------------------------------------------------------------------------------

let shownView = "";

function render(whole = false) {
  const root = document.documentElement;
  root.lang = lang();
  if (state.theme) root.dataset.theme = state.theme; else delete root.dataset.theme;
  const dark = state.theme ? state.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  $("lang").textContent = lang() === "zh" ? "English" : "中文";
  $("lang").lang = lang() === "zh" ? "en" : "zh";
  $("theme").textContent = dark ? t("Light") : t("Dark");
  document.title = t("Lossary: explore losses");
  document.querySelectorAll("[data-t]").forEach((e) => { e.dataset.t ||= e.textContent; e.textContent = t(e.dataset.t); });
  $("about").textContent = t("Every number on this page is computed in your browser by the definitions of Lossary, emitted as JavaScript. The address holds all that is chosen: copy it to share a view.");
  $("tabs").innerHTML = VIEWS.map((v) => `<button type="button" role="tab" id="tab-${v}" aria-controls="stage" aria-selected="${v === state.view}" tabindex="${v === state.view ? 0 : -1}">${escaped(t(TITLES[v]))}</button>`).join("");
  VIEWS.forEach((v, i) => {
    const tab = $(`tab-${v}`);
    tab.onclick = () => show(v);
    tab.onkeydown = (e) => {
      const step = {ArrowRight: 1, ArrowLeft: -1}[e.key];
      if (step) { show(VIEWS[(i + step + VIEWS.length) % VIEWS.length]); $(`tab-${state.view}`).focus(); }
    };
  });
  $("stage").setAttribute("aria-labelledby", `tab-${state.view}`);
  if (whole || shownView !== state.view) { shownView = state.view; chooser(); $("stage").innerHTML = ""; delete $("stage").dataset.made; }
  ({curves: curvesView, regression: regressionView, classes: classesView, softmax: softmaxView})[state.view]();
}

function show(view) { changed({view}); }

// Keeps the part of the stage that has focus or is being dragged: only what `made` says is new is replaced.
function stage(key, build, wire) {
  const box = $("stage"), full = `${key}|${lang()}|${narrow()}`;
  if (box.dataset.made === full) return;
  box.dataset.made = full;
  box.innerHTML = build();
  wire(box);
}

function curvesView() {
  const now = chosen();
  stage("curves", () => `<h2>${escaped(t("Value, gradient and curvature"))}</h2><p class="note">${escaped(t("Each loss along the axis that is natural to it. Move the line to read numbers."))}</p>
    <div class="at"><label for="at" id="at-name"></label><input id="at" type="range" min="0" max="1" step="0.0025"><output id="at-value" for="at"></output></div>
    <div class="scroll"><table id="numbers"></table></div><div class="row" id="which"></div><div class="plots" id="plots"></div>`, (box) => {
    box.querySelector("#at").oninput = (e) => changed({at: +e.target.value});
    box.querySelector("#plots").addEventListener("pointermove", pointed);
    box.querySelector("#plots").addEventListener("pointerdown", pointed);
  });
  $("at").value = state.at;
  if (!now.length) { $("plots").innerHTML = ""; $("numbers").innerHTML = ""; $("at-name").textContent = ""; $("at-value").textContent = ""; $("which").innerHTML = ""; return; }
  const path = FACTS[now[0][0]].paths[0], here = path.span[0] + state.at * (path.span[1] - path.span[0]);
  const lines = [];
  now.forEach(([name, params], k) => {
    const paths = now.length === 1 ? FACTS[name].paths : [FACTS[name].paths[0]];
    paths.forEach((p, i) => lines.push({name, params, k: k + i, path: p, curve: curveOf(name, params, p),
      label: labelOf(name, params) + (paths.length > 1 ? t(", target {target}", {target: p.target}) : "")}));
  });
  const axis = path.axis[lang()];
  $("at-name").textContent = axis;
  $("at-value").textContent = short(here);
  $("at").setAttribute("aria-valuetext", `${axis} ${short(here)}`);
  const at = lines.map((line) => pointAlong(line.name, line.params, line.path, here));
  $("numbers").innerHTML = `<thead><tr><th scope="col">${escaped(axis)} = ${short(here)}</th>${QUANTITIES.map((q) => `<th scope="col">${escaped(t(q))}</th>`).join("")}</tr></thead><tbody>${
    lines.map((line, i) => `<tr class="k${line.k}" data-loss="${line.name}"><td>${escaped(line.label)}</td>${QUANTITIES.map((q) => `<td data-exact="${at[i][q]}">${at[i][q] === undefined || Number.isNaN(at[i][q]) ? "–" : escaped(rounded(at[i][q]))}</td>`).join("")}</tr>`).join("")}</tbody>`;
  $("which").innerHTML = QUANTITIES.map((q) => `<label><input type="checkbox" value="${q}" ${state.quantities.includes(q) ? "checked" : ""}>${escaped(t(q))}</label>`).join("");
  $("which").querySelectorAll("input").forEach((box) => { box.onchange = () => {
    changed({quantities: QUANTITIES.filter((q) => q === box.value ? box.checked : state.quantities.includes(q))});
    $("which").querySelector(`[value=${box.value}]`).focus();
  }; });
  const room = labelRoom(lines.map((l) => l.label)), width = wide();
  const drawn = state.quantities.map((q) => {
    const shown = lines.filter((l) => l.curve[q].some(Number.isFinite));
    if (!shown.length) return `<figure><h3>${escaped(t(q))}</h3><p class="note">${escaped(t("There is no single second derivative along this axis."))}</p></figure>`;
    const p = panel({x: path.span, y: extent(shown.map((l) => l.curve[q])), width, height: narrow() ? 200 : 220, right: room});
    const body = shown.map((l) => `<g class="k${l.k}">${p.path(l.curve.t, l.curve[q], jumps(l.curve[q]))}</g>`).reverse().join("");
    const dots = lines.map((l, i) => Number.isFinite(at[i][q]) ? `<g class="k${l.k}"><circle class="dot" r="4.5" cx="${p.px(here).toFixed(1)}" cy="${p.py(at[i][q]).toFixed(1)}"/></g>` : "").join("");
    const ends = endLabels(p, shown.map((l) => ({k: l.k, label: l.label, y: p.py(l.curve[q].filter(Number.isFinite).at(-1))})));
    const label = `${t(q)}: ${lines.map((l, i) => `${l.label} ${rounded(at[i][q])}`).join("; ")} (${axis} ${short(here)})`;
    return `<figure><h3>${escaped(t(q))}</h3>${svg(p, p.axes(axis) + p.clip(`<line class="here" x1="${p.px(here)}" x2="${p.px(here)}" y1="0" y2="${p.height}"/>${body}${dots}`) + ends, label, `data-left="${p.left}" data-inner="${p.inner[0]}" data-width="${p.width}"`)}</figure>`;
  });
  $("plots").innerHTML = drawn.join("") + likelihoods(now, here, width);
}

const rounded = (x) => x === 0 || !Number.isFinite(x) ? short(x) : (Math.abs(x) >= 1e5 || Math.abs(x) < 1e-3 ? x.toExponential(3) : x.toFixed(4)).replace("-", "−");

function pointed(e) {
  const drawing = e.target.closest("svg[data-inner]") ?? e.target.closest("figure")?.querySelector("svg[data-inner]");
  if (!drawing || (e.pointerType === "touch" && e.type === "pointermove" && !e.buttons)) return;
  const box = drawing.getBoundingClientRect(), x = (e.clientX - box.left) / box.width * +drawing.dataset.width;
  const at = (x - +drawing.dataset.left) / +drawing.dataset.inner;
  if (at >= 0 && at <= 1) changed({at: +at.toFixed(4)});
}

function likelihoods(now, here, width) {
  const found = now.map(([name, params], k) => ({name, params, k, label: labelOf(name, params)}))
    .filter((l) => FACTS[l.name].likelihood.en && FACTS[l.name].targets).map((l) => ({...l, density: density(l.name, l.params, here)}));
  if (!found.length) return "";
  const is = found.filter((l) => l.density.is), no = found.filter((l) => !l.density.is);
  const words = found.map((l) => `<p class="note k${l.k}"><b style="color:var(--hue)">${escaped(l.label)}</b>: ${escaped(FACTS[l.name].likelihood[lang()])}</p>`).join("");
  const not = no.map((l) => `<p class="note">${escaped(t("{name}: the sum of exp(−loss) over all targets depends on the prediction, so it is no density as it stands.", {name: l.label}))}</p>`).join("");
  let drawing = "";
  if (is.length) {
    const discrete = is[0].density.discrete, first = is[0].density, kind = FACTS[is[0].name].targets;
    const most = Math.max(...is.flatMap((l) => l.density.p));
    const span = discrete ? [first.y[0] - 0.6, (kind === "count" ? Math.max(6, first.p.findLastIndex((p) => p > 1e-3 * most)) : first.y.at(-1)) + 0.6]
      : kind === "positive" ? [0, 8] : FACTS[is[0].name].paths[0].span;
    const p = panel({x: span, y: [0, most * 1.08], width, height: narrow() ? 190 : 210, right: labelRoom(is.map((l) => l.label))});
    const bodies = is.map((l, i) => {
      const seen = l.density.y.map((y, j) => y >= span[0] && y <= span[1] ? j : -1).filter((j) => j >= 0);
      if (!discrete) return `<g class="k${l.k}">${p.path(seen.map((j) => l.density.y[j]), seen.map((j) => l.density.p[j]))}</g>`;
      const slot = Math.abs(p.px(1) - p.px(0)) * 0.7 / is.length;
      return `<g class="k${l.k}">${l.density.y.map((y, j) => `<rect class="bar" x="${(p.px(y) + (i - is.length / 2) * slot).toFixed(1)}" width="${Math.max(1, slot - 1).toFixed(1)}" y="${p.py(l.density.p[j]).toFixed(1)}" height="${Math.max(0, p.py(0) - p.py(l.density.p[j])).toFixed(1)}"><title>${y}: ${rounded(l.density.p[j])}</title></rect>`).join("")}</g>`;
    });
    const inside = (l) => l.density.p.filter((_, j) => l.density.y[j] >= span[0] && l.density.y[j] <= span[1]);
    const ends = endLabels(p, is.map((l) => ({k: l.k, label: l.label, y: p.py(inside(l).at(-1) ?? 0)})));
    drawing = svg(p, p.axes(t("target"), discrete) + p.clip(bodies.join("")) + ends, is.map((l) => `${l.label}: ${FACTS[l.name].likelihood[lang()]}`).join("; "));
  }
  return `<figure><h3>${escaped(t("Likelihood: exp(−loss) over the target, for the prediction at the line"))}</h3>${drawing}${words}${not}</figure>`;
}

// -- points that are dragged

function draggable(box, p, rows, onMove, describe, style) {
  box.querySelectorAll("g.point").forEach((g) => {
    const i = +g.dataset.i;
    g.onpointerdown = (e) => {
      e.preventDefault(); g.focus();
      const drawing = box.querySelector("svg");
      const move = (event) => {
        const r = drawing.getBoundingClientRect();
        onMove(i, p.back((event.clientX - r.left) / r.width * p.width, (event.clientY - r.top) / r.height * p.height));
      };
      const up = () => { removeEventListener("pointermove", move); removeEventListener("pointerup", up); removeEventListener("pointercancel", up); };
      addEventListener("pointermove", move); addEventListener("pointerup", up); addEventListener("pointercancel", up);
    };
    g.onkeydown = (e) => {
      const d = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[e.key];
      if (e.key === "Delete" || e.key === "Backspace") { e.preventDefault(); onMove(i, null); return; }
      if (!d) return;
      e.preventDefault();
      const step = e.shiftKey ? 0.5 : 0.1;
      onMove(i, [rows[i][0] + step * d[0], rows[i][1] + step * d[1]]);
      box.querySelector(`g.point[data-i="${i}"]`)?.focus();
    };
  });
}

const pointMark = (p, row, i, kind, label) => `<g class="point" data-i="${i}" tabindex="0" role="button" aria-label="${escaped(label)}"><circle class="halo" r="16" cx="${p.px(row[0]).toFixed(1)}" cy="${p.py(row[1]).toFixed(1)}"/>${
  kind === "none" ? `<rect class="grab none" x="${(p.px(row[0]) - 5.5).toFixed(1)}" y="${(p.py(row[1]) - 5.5).toFixed(1)}" width="11" height="11" rx="1.5"/>`
  : `<circle class="grab ${kind}" r="6" cx="${p.px(row[0]).toFixed(1)}" cy="${p.py(row[1]).toFixed(1)}"/>`}</g>`;

const RANGE = [-4, 4];
const clamped = (xy) => xy.map((v) => +Math.min(RANGE[1], Math.max(RANGE[0], v)).toFixed(2));

function movePoint(key, rows) {
  return (i, xy) => {
    const next = xy === null ? rows.filter((_, j) => j !== i) : rows.map((row, j) => j === i ? [...clamped(xy), ...row.slice(2)] : row);
    if (next.length >= 2) changed({[key]: next});
  };
}

function regressionView() {
  const now = chosen(), points = state.points;
  stage("regression", () => `<h2>${escaped(t("A line for each loss"))}</h2><p class="note">${escaped(t("Drag a point, or focus it and use the arrow keys; Delete removes it. Each line has the least mean of its loss, found here with the loss's own gradient."))}</p>
    <figure id="plot"></figure><div class="row"><button type="button" id="add">${escaped(t("Add a point"))}</button><button type="button" id="reset">${escaped(t("Start again"))}</button></div><div class="scroll"><table id="numbers"></table></div>`, (box) => {
    box.querySelector("#add").onclick = () => changed({points: [...state.points, [+(Math.random() * 6 - 3).toFixed(1), +(Math.random() * 6 - 3).toFixed(1)]].slice(0, 60)});
    box.querySelector("#reset").onclick = () => changed({points: START.points});
  });
  const lines = now.map(([name, params], k) => ({name, params, k, label: labelOf(name, params), ...fitLine(name, params, points)}));
  const width = wide(), p = panel({x: RANGE, y: RANGE, width, height: narrow() ? 300 : 430, right: labelRoom(lines.map((l) => l.label))});
  const drawn = lines.map((l) => `<g class="k${l.k}">${p.path(RANGE, RANGE.map((x) => l.x[0] + l.x[1] * x))}</g>`).join("");
  const marks = points.map((row, i) => pointMark(p, row, i, "", t("point {i} at x {x}, y {y}", {i: i + 1, x: short(row[0]), y: short(row[1])}))).join("");
  const focused = document.activeElement?.dataset?.i;
  $("plot").innerHTML = svg(p, p.axes("x") + p.clip(drawn) + endLabels(p, lines.map((l) => ({k: l.k, label: l.label, y: p.py(l.x[0] + l.x[1] * RANGE[1])}))) + marks, lines.map((l) => `${l.label}: y = ${rounded(l.x[0])} + ${rounded(l.x[1])} x`).join("; "), 'class="drag"').replace('role="img"', 'role="group"');
  if (focused !== undefined && shownView === "regression") $("plot").querySelector(`g.point[data-i="${focused}"]`)?.focus({preventScroll: true});
  draggable($("plot"), p, points, movePoint("points", points));
  $("numbers").innerHTML = `<thead><tr><th scope="col">${escaped(t("loss"))}</th><th scope="col">${escaped(t("intercept"))}</th><th scope="col">${escaped(t("slope"))}</th><th scope="col">${escaped(t("mean loss"))}</th></tr></thead><tbody>${lines.map((l) => `<tr data-loss="${l.name}"><td>${escaped(l.label)}</td><td data-exact="${l.x[0]}">${rounded(l.x[0])}</td><td data-exact="${l.x[1]}">${rounded(l.x[1])}</td><td data-exact="${l.value}">${rounded(l.value)}</td></tr>`).join("")}</tbody>`;
}

function classesView() {
  const now = chosen(), groups = state.groups;
  stage("classes", () => `<h2>${escaped(t("A boundary for each loss"))}</h2><p class="note">${escaped(t("Squares are class 0, circles class 1. Drag them, or focus one and use the arrow keys; Delete removes it. Each boundary is where a linear score is 0; the mean of the loss has a small penalty on the weights, so that there is a best one."))}</p>
    <figure id="plot"></figure><div class="row"><button type="button" id="add0">${escaped(t("Add a square"))}</button><button type="button" id="add1">${escaped(t("Add a circle"))}</button><button type="button" id="reset">${escaped(t("Start again"))}</button></div><div class="scroll"><table id="numbers"></table></div>`, (box) => {
    for (const c of [0, 1]) box.querySelector(`#add${c}`).onclick = () => changed({groups: [...state.groups, [+(Math.random() * 6 - 3).toFixed(1), +(Math.random() * 6 - 3).toFixed(1), c]].slice(0, 60)});
    box.querySelector("#reset").onclick = () => changed({groups: START.groups});
  });
  const lines = now.map(([name, params], k) => ({name, params, k, label: labelOf(name, params), ...fitScore(name, params, groups)}));
  const width = wide(), p = panel({x: RANGE, y: RANGE, width, height: narrow() ? 320 : 460, right: labelRoom(lines.map((l) => l.label))});
  const ends = [];
  const drawn = lines.map((l) => {
    const [a, b, c] = l.x;
    const [xs, ys] = Math.abs(c) > Math.abs(b) ? [[-9, 9], [-9, 9].map((x) => -(a + b * x) / c)] : [[-9, 9].map((y) => -(a + c * y) / b), [-9, 9]];
    const edge = Math.abs(c) > 1e-9 ? -(a + b * RANGE[1]) / c : 0;
    ends.push({k: l.k, label: l.label, y: p.py(edge)});
    return `<g class="k${l.k}">${p.path(xs, ys)}</g>`;
  }).join("");
  const marks = groups.map((row, i) => pointMark(p, row, i, row[2] ? "one" : "none", t("class {c} at x {x}, y {y}", {c: row[2], x: short(row[0]), y: short(row[1])}))).join("");
  const focused = document.activeElement?.dataset?.i;
  $("plot").innerHTML = svg(p, p.axes("x") + p.clip(drawn) + endLabels(p, ends) + marks, lines.map((l) => `${l.label}: ${l.x.map(rounded).join(", ")}`).join("; "), 'class="drag"').replace('role="img"', 'role="group"');
  if (focused !== undefined && shownView === "classes") $("plot").querySelector(`g.point[data-i="${focused}"]`)?.focus({preventScroll: true});
  draggable($("plot"), p, groups, movePoint("groups", groups));
  $("numbers").innerHTML = `<thead><tr><th scope="col">${escaped(t("loss"))}</th><th scope="col">${escaped(t("score"))}</th><th scope="col">${escaped(t("wrong"))}</th></tr></thead><tbody>${lines.map((l) => `<tr data-loss="${l.name}"><td>${escaped(l.label)}</td><td>${rounded(l.x[0])} + ${rounded(l.x[1])} x + ${rounded(l.x[2])} y</td><td>${wrongly(l.x, groups)}</td></tr>`).join("")}</tbody>`;
}

function softmaxView() {
  const now = chosen();
  stage("softmax", () => `<h2>${escaped(t("From logits to a gradient"))}</h2><p class="note">${escaped(t("Softmax turns logits into probabilities that sum to 1; a loss compares them with the true class. Its gradient says how each logit should move: of cross-entropy it is softmax minus one-hot."))}</p>
    <div class="row" role="radiogroup" aria-label="${escaped(t("true class"))}"><span>${escaped(t("true class"))}</span>${[0, 1, 2].map((c) => `<label><input type="radio" name="label" value="${c}">${c}</label>`).join("")}</div>
    ${[0, 1, 2].map((c) => `<div class="at"><label for="z${c}">${escaped(t("logit {c}", {c}))}</label><input type="range" id="z${c}" min="-6" max="6" step="0.05"><output id="zv${c}" for="z${c}"></output></div>`).join("")}
    <div class="plots" id="plots"></div>`, (box) => {
    for (const c of [0, 1, 2]) box.querySelector(`#z${c}`).oninput = (e) => changed({logits: state.logits.map((z, i) => i === c ? +e.target.value : z)});
    box.querySelectorAll("[name=label]").forEach((r) => { r.onchange = () => changed({label: +r.value}); });
  });
  document.querySelectorAll("#stage [name=label]").forEach((r) => { r.checked = +r.value === state.label; });
  state.logits.forEach((z, c) => { $(`z${c}`).value = z; $(`zv${c}`).textContent = short(z); });
  const width = narrow() ? wide() : Math.floor((wide() - 14) / 2);
  const bars = (title, values, k, extra = "") => {
    const low = Math.min(0, ...values), high = Math.max(0, ...values), room = 0.18 * (high - low || 1);
    const p = panel({x: [-0.6, 2.6], y: [low < 0 ? low - room : 0, high > 0 ? high + room : 0.2 * room], width, height: 190});
    const slot = (p.px(1) - p.px(0)) * 0.5;
    const body = values.map((v, c) => `<g class="k${k}"><rect class="bar ${c === state.label ? "" : "light"}" x="${(p.px(c) - slot / 2).toFixed(1)}" width="${slot.toFixed(1)}" y="${Math.min(p.py(v), p.py(0)).toFixed(1)}" height="${Math.abs(p.py(v) - p.py(0)).toFixed(1)}" rx="2"/></g><text x="${p.px(c).toFixed(1)}" y="${(v >= 0 ? p.py(v) - 5 : p.py(v) + 14).toFixed(1)}" text-anchor="middle" data-exact="${v}">${rounded(v)}</text>`).join("");
    const axes = p.axes(t("class (the true one in full colour)"), true);
    return `<figure class="k${k}"><h3>${title}</h3>${extra}${svg(p, axes + body, `${title.replace(/<[^>]*>/g, "")}: ${values.map(rounded).join(", ")}`)}</figure>`;
  };
  const own = now.map(([name, params], k) => {
    const [value, [gradient]] = computed(name, [state.logits, state.label], parameters(name, params));
    const title = `<span style="color:var(--hue)">${escaped(labelOf(name, params))}</span>: <span data-loss="${name}" data-exact="${value}">${rounded(value)}</span>`;
    return bars(title, Array.from(gradient), k, `<p class="note">${escaped(t("gradient in each logit"))}</p>`);
  });
  $("plots").innerHTML = `<div class="pair">${bars(escaped(t("logits")), state.logits, 5)}${bars(escaped(t("softmax")), softmax(state.logits), 5)}</div><div class="pair">${own.join("")}</div>`;
}

if (matchMedia("(min-width: 821px)").matches) $("catalogue").open = true;
let resizing = 0;
addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(() => render(), 80); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => render());
render(true);
