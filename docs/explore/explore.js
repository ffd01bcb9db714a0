"use strict";
/* A search that can be watched: the script of all pages of this folder. A page holds its data, which annlab computed;
   the searches do what annlab's do, so they return the same ids (tests compare the two). Coordinates are whole numbers:
   squares are exact. */
const data = JSON.parse(document.getElementById("data").textContent);
const n = data.points.length / 2, k = data.k, X = i => data.points[2 * i], Y = i => data.points[2 * i + 1];
const square = (q, i) => (q[0] - X(i)) ** 2 + (q[1] - Y(i)) ** 2;
const nearest = (q, ids, count) => ids.map(i => [square(q, i), i]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).slice(0, count).map(e => e[1]);
const everyone = Array.from({ length: n }, (_, i) => i);

/* ---- the searches: each returns {ids, compared, parts: what was visited in order, work: comparisons} */

/* Trees: the nearest of all parts seen so far, until so many leaves were visited. */
const inBox = (b, q) => Math.max(b[0] - q[0], q[0] - b[2], 0) ** 2 + Math.max(b[1] - q[1], q[1] - b[3], 0) ** 2;
const inBall = (b, q) => Math.max(Math.hypot(b[0] - q[0], b[1] - q[1]) - b[2], 0) ** 2;
function searchTree(q, knobs) {
  const top = data.levels.length, bound = data.kind === "box" ? inBox : inBall, waiting = [{ at: 0, level: top, node: 0 }];
  const compared = [], parts = [], best = [];
  let limit = Infinity;
  while (waiting.length && parts.length < knobs.max_leaves) {
    let first = 0;  /* of equal bounds the higher, later part */
    waiting.forEach((w, i) => { const f = waiting[first]; if (w.at < f.at || (w.at === f.at && (w.level - f.level || w.node - f.node) > 0)) first = i; });
    const [part] = waiting.splice(first, 1);
    if (part.at > limit) break;
    if (part.level === 0) {
      parts.push(part.node);
      for (const i of data.order.slice(16 * part.node, 16 * part.node + 16)) { compared.push(i); best.push(square(q, i)); }
      best.sort((a, b) => a - b);
      if (best.length >= k) limit = Math.min(limit, best[k - 1] * data.slack[0] + data.slack[1]);
      continue;
    }
    const below = data.levels[part.level - 1];
    for (let node = 16 * part.node; node < Math.min(16 * part.node + 16, below.length); node++) {
      const at = bound(below[node], q);
      if (at <= limit) waiting.push({ at, level: part.level - 1, node });
    }
  }
  return { ids: nearest(q, compared, k), compared, parts, work: compared.length };
}

/* Inverted file: the rows of the nearest cells. */
function searchCells(q, knobs) {
  const far = data.centroids.map((c, j) => [(c[0] - q[0]) ** 2 + (c[1] - q[1]) ** 2, j]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const parts = far.slice(0, knobs.n_probes).map(e => e[1]), probed = new Set(parts);
  const compared = everyone.filter(i => probed.has(data.cells[i]));
  return { ids: nearest(q, compared, k), compared, parts, work: compared.length + data.centroids.length };
}

/* Hashing: the buckets that cost least. A set of flipped bits costs the sum of their squared projections. */
const side = (t, bit, q) => t.normals[bit][0] * (q[0] - t.center[0]) + t.normals[bit][1] * (q[1] - t.center[1]);
function bucketsOf(q, bits, probes) {
  const t = data.tables[bits], all = [], sets = Math.min(2 ** Math.ceil(Math.log2(probes)), 2 ** bits);
  for (let table = 0; table < t.keys.length; table++) {
    let own = 0;
    const costs = [];
    for (let j = 0; j < bits; j++) {
      const p = side(t, table * bits + j, q);
      if (p > 0) own |= 1 << j;
      costs.push([p * p, j]);
    }
    costs.sort((a, b) => a[0] - b[0]);
    const made = [[0, own]];
    for (let s = 1; s < sets; s++) {
      const [cost, key] = made[t.sets[0][s]], [more, bit] = costs[t.sets[1][s]];
      made.push([cost + more, key ^ (1 << bit)]);
    }
    for (const [cost, key] of made) all.push({ cost, table, key });
  }
  return all.sort((a, b) => a.cost - b.cost).slice(0, probes);
}
function searchBuckets(q, knobs) {
  let probes = knobs.n_probes;
  for (;;) {
    const t = data.tables[knobs.n_bits], parts = bucketsOf(q, knobs.n_bits, probes);
    const compared = everyone.filter(i => parts.some(p => t.keys[p.table][i] === p.key));
    if (compared.length >= k) return { ids: nearest(q, compared, k), compared, parts, work: 2 * compared.length };
    if (t.exact[knobs.n_probes - 1] || 2 * probes >= t.exact.length) {
      return { ids: nearest(q, everyone, k), compared: everyone, parts, work: n, note: "The buckets hold fewer than ten rows, so all rows were scanned." };
    }
    probes *= 2;
  }
}

/* Codes: the rows whose codewords are the nearest, then these by their vectors. */
function searchCodes(q, knobs) {
  const stands = data.stands[knobs.groups === 1 ? "16" : "256"];
  const far = stands.map((s, i) => [Math.fround(Math.sqrt((s[0] - q[0]) ** 2 + (s[1] - q[1]) ** 2)), i]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const compared = far.slice(0, knobs.rerank).map(e => e[1]);
  return { ids: nearest(q, compared, k), compared, parts: [], work: n + compared.length };
}

/* Graph: open the nearest node that is not open yet; choices are a round old, as in annlab. */
function searchGraph(q, knobs) {
  const keep = 16, gamma = Math.fround(knobs.reach ** 2), at = v => square(q, data.nodes[v]), seen = new Set(), parts = [];
  const entry = data.entries.map(at), best = [];
  let open = [], bound = Infinity, node = -1, fresh, waiting = [data.entries[entry.indexOf(Math.min(...entry))]];
  const choose = () => {
    let j = -1;
    open.forEach((o, i) => { if (o.at < bound && (j < 0 || o.at < open[j].at)) j = i; });
    return j < 0 ? -1 : open.splice(j, 1)[0].v;
  };
  waiting.forEach(v => seen.add(v));
  for (;;) {
    fresh = [];
    if (node >= 0) {
      if (parts.length === data.most) return { ids: nearest(q, everyone, k), compared: everyone, parts, work: n, note: "The walk opened too many rows, so all were scanned." };
      parts.push(data.nodes[node]);
      fresh = data.links[node].filter(v => !seen.has(v));
      fresh.forEach(v => seen.add(v));
    }
    node = choose();
    const listed = waiting;
    waiting = fresh;
    for (const v of listed) { const d = at(v); best.push([d, v]); }
    best.sort((a, b) => a[0] - b[0]);
    best.length = Math.min(best.length, keep);
    if (best.length >= k) { const kth = best[k - 1][0]; bound = Math.max(kth, Math.fround(kth * gamma)); }
    for (const v of listed) { const d = at(v); if (d < bound) open.push({ at: d, v }); }
    if (node < 0 && !waiting.length) {
      node = choose();
      if (node < 0) {
        waiting = data.entries.filter((v, e) => entry[e] < bound && !seen.has(v)).slice(0, 16);
        waiting.forEach(v => seen.add(v));
        if (!waiting.length) break;
      }
    }
  }
  /* a node may stand for several rows, up to `blur` away from it: all that can be among the nearest are measured */
  const limit = best.length < k ? Infinity : (Math.sqrt(best[k - 1][0]) + 2 * data.blur) ** 2 * (1 + 1e-5);
  const candidates = best.filter((b, j) => j < k || b[0] <= limit).flatMap(b => data.rows[b[1]]);
  const compared = [...seen].flatMap(v => data.rows[v]);
  return { ids: nearest(q, candidates, k), compared, parts, work: seen.size + entry.length };
}

const search = { box: searchTree, ball: searchTree, ivf: searchCells, lsh: searchBuckets, quantized: searchCodes, graph: searchGraph }[data.kind];

/* The smallest value of the last knob that finds a missed row: found by searching. */
function remedy(q, knobs, id) {
  const knob = data.knobs[data.knobs.length - 1];
  for (let step = 1; ; step++) {
    const value = Math.round((knobs[knob.name] + step * knob.step) * 100) / 100;
    if (value > knob.max) return null;
    if (search(q, { ...knobs, [knob.name]: value }).ids.includes(id)) return value;
  }
}

/* ---- drawing */

document.querySelector("main").insertAdjacentHTML("beforeend", `<div id="explore">
<div class="stage">
<canvas id="plane" tabindex="0" role="application" aria-label="The plane with all rows. Drag the query, or move it with the arrow keys; with Shift in larger steps." aria-describedby="said"></canvas>
</div>
<div class="side">
<form id="knobs" onsubmit="return false"></form>
<p id="said" aria-live="polite"></p>
<ul id="missed" aria-label="Missed rows and their causes"></ul>
<ul class="key" aria-label="Legend">
<li><span class="mark query" aria-hidden="true">+</span> the query: drag it, or press the arrow keys</li>
<li><span class="mark found" aria-hidden="true">○</span> returned</li>
<li><span class="mark missed" aria-hidden="true">✕</span> one of the true ten nearest, and missed</li>
<li><span class="mark seen" aria-hidden="true">•</span> compared</li>
<li><span class="mark part" aria-hidden="true">■</span> visited, the first ones numbered</li>
</ul>
</div>
</div>`);
const canvas = document.getElementById("plane"), pen = canvas.getContext("2d");
let query = [...data.query], values = Object.fromEntries(data.knobs.map(b => [b.name, b.value])), colours = {}, shade = null;
const px = x => x / 1000 * canvas.width, py = y => (1 - y / 1000) * canvas.height;
function regions() {  /* which part of each table a pixel lies in, for what is painted pixel by pixel */
  const size = 500, t = data.kind === "lsh" ? data.tables[values.n_bits] : null, layers = t ? t.keys.length : 1;
  const label = Array.from({ length: layers }, () => new Int32Array(size * size));
  for (let b = 0; b < size; b++) for (let a = 0; a < size; a++) {
    const q = [(a + 0.5) * 1000 / size, 1000 - (b + 0.5) * 1000 / size];
    for (let layer = 0; layer < layers; layer++) {
      let found = 0;
      if (t) {
        for (let j = 0; j < values.n_bits; j++) if (side(t, layer * values.n_bits + j, q) > 0) found |= 1 << j;
      } else {
        let least = Infinity;
        data.centroids.forEach((c, j) => { const d = (c[0] - q[0]) ** 2 + (c[1] - q[1]) ** 2; if (d < least) { least = d; found = j; } });
      }
      label[layer][b * size + a] = found;
    }
  }
  return { size, label, bits: values.n_bits };
}
function rgb(name) { const h = colours[name]; return [1, 3, 5].map(i => parseInt(h.length === 4 ? h[(i + 1) / 2].repeat(2) : h.slice(i, i + 2), 16)); }
function paintRegions(told) {
  if (!shade || shade.bits !== values.n_bits) shade = regions();
  const { size, label } = shade, image = new ImageData(size, size), blue = rgb("visited"), grey = rgb("faint"), paper = rgb("paper");
  const rank = label.map(() => new Map());
  told.parts.forEach((p, i) => { const layer = p.table || 0, key = p.table === undefined ? p : p.key; if (!rank[layer].has(key)) rank[layer].set(key, i); });
  for (let z = 0; z < size * size; z++) {
    let first = Infinity, border = false;
    label.forEach((own, layer) => {
      const r = rank[layer].get(own[z]);
      if (r < first) first = r;
      border = border || (z % size && own[z] !== own[z - 1]) || (z >= size && own[z] !== own[z - size]);
    });
    const share = first < Infinity ? 0.55 - 0.35 * first / Math.max(told.parts.length, 1) : 0;
    for (let c = 0; c < 3; c++) image.data[4 * z + c] = border ? grey[c] : share * blue[c] + (1 - share) * paper[c];
    image.data[4 * z + 3] = 255;
  }
  const aside = document.createElement("canvas");
  aside.width = aside.height = size;
  aside.getContext("2d").putImageData(image, 0, 0);
  pen.imageSmoothingEnabled = true;
  pen.drawImage(aside, 0, 0, canvas.width, canvas.height);
}
function shape(b) {
  pen.beginPath();
  if (data.kind === "box") pen.rect(px(b[0]), py(b[3]), px(b[2] - b[0]), canvas.height * (b[3] - b[1]) / 1000);
  else pen.arc(px(b[0]), py(b[1]), px(b[2]), 0, 7);
}
function paintLeaves(told) {
  pen.lineWidth = 1;
  pen.strokeStyle = colours.faint;
  data.levels[0].forEach(b => { shape(b); pen.stroke(); });
  told.parts.forEach((leaf, i) => {
    shape(data.levels[0][leaf]);
    pen.globalAlpha = 0.5 - 0.3 * i / told.parts.length;
    pen.fillStyle = colours.visited;
    pen.fill();
    pen.globalAlpha = 1;
    pen.strokeStyle = colours.found;
    pen.stroke();
  });
}
function paintGraph(told) {
  pen.strokeStyle = colours.faint;
  pen.lineWidth = 0.6;
  pen.beginPath();
  data.links.forEach((links, u) => links.forEach(v => { pen.moveTo(px(X(data.nodes[u])), py(Y(data.nodes[u]))); pen.lineTo(px(X(data.nodes[v])), py(Y(data.nodes[v]))); }));
  pen.stroke();
  pen.strokeStyle = colours.found;
  pen.lineWidth = 2;
  pen.beginPath();
  told.parts.forEach((i, j) => pen[j ? "lineTo" : "moveTo"](px(X(i)), py(Y(i))));
  pen.stroke();
}
function paintCodes() {
  const stands = data.stands[values.groups === 1 ? "16" : "256"];
  pen.strokeStyle = colours.faint;
  pen.lineWidth = 0.7;
  pen.beginPath();
  stands.forEach((s, i) => { pen.moveTo(px(X(i)), py(Y(i))); pen.lineTo(px(s[0]), py(s[1])); });
  pen.stroke();
  pen.fillStyle = colours.left;
  new Set(stands.map(s => s.join())).forEach(s => { const [a, b] = s.split(",").map(Number); pen.fillRect(px(a) - 3, py(b) - 3, 6, 6); });
}
function number(x, y, text, unit) {
  pen.font = `600 ${11 * unit}px system-ui, sans-serif`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillStyle = colours.paper;
  pen.beginPath(); pen.arc(px(x), py(y), 8 * unit, 0, 7); pen.fill();
  pen.fillStyle = colours.ink;
  pen.fillText(text, px(x), py(y));
}
function places(told) {  /* where the numbers of the first parts go */
  return told.parts.slice(0, 9).map(p => {
    if (data.kind === "box") { const b = data.levels[0][p]; return [(b[0] + b[2]) / 2, (b[1] + b[3]) / 2]; }
    if (data.kind === "ball") return data.levels[0][p];
    if (data.kind === "ivf") return data.centroids[p];
    return null;
  });
}
function dot(i, radius) { pen.beginPath(); pen.arc(px(X(i)), py(Y(i)), radius, 0, 7); pen.fill(); }
function paint(told, missed) {
  const unit = window.devicePixelRatio || 1;
  pen.fillStyle = colours.paper;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  if (data.kind === "ivf" || data.kind === "lsh") paintRegions(told);
  else if (data.kind === "graph") paintGraph(told);
  else if (data.kind === "quantized") paintCodes();
  else paintLeaves(told);
  pen.fillStyle = colours.row;
  everyone.forEach(i => dot(i, 1.3 * unit));
  pen.fillStyle = colours.seen;
  told.compared.forEach(i => dot(i, 1.8 * unit));
  places(told).forEach((at, i) => at && number(at[0], at[1], i + 1, unit));
  pen.lineWidth = 2 * unit;
  pen.strokeStyle = colours.found;
  told.ids.forEach(i => { pen.beginPath(); pen.arc(px(X(i)), py(Y(i)), 5 * unit, 0, 7); pen.stroke(); });
  pen.strokeStyle = colours.missed;
  pen.lineWidth = 3 * unit;
  missed.forEach(i => {
    const a = px(X(i)), b = py(Y(i)), r = 5 * unit;
    pen.beginPath(); pen.moveTo(a - r, b - r); pen.lineTo(a + r, b + r); pen.moveTo(a - r, b + r); pen.lineTo(a + r, b - r); pen.stroke();
  });
  for (const [colour, width] of [["paper", 7], ["query", 3]]) {
    const a = px(query[0]), b = py(query[1]), r = 10 * unit;
    pen.strokeStyle = colours[colour];
    pen.lineWidth = width * unit;
    pen.beginPath(); pen.moveTo(a - r, b); pen.lineTo(a + r, b); pen.moveTo(a, b - r); pen.lineTo(a, b + r); pen.stroke();
  }
}

/* ---- telling */

let pending = 0;
function update() {
  const told = search(query, values), true_ = nearest(query, everyone, k), missed = true_.filter(i => !told.ids.includes(i));
  paint(told, missed);
  document.getElementById("said").textContent = `Found ${k - missed.length} of the ${k} nearest; compared ${told.work.toLocaleString("en")} for ${n.toLocaleString("en")} rows.` + (told.note ? " " + told.note : "");
  clearTimeout(pending);
  const list = document.getElementById("missed"), knob = data.knobs[data.knobs.length - 1];
  list.replaceChildren(...missed.map(i => { const item = document.createElement("li"); item.textContent = `Row ${i}: ${data.cause}.`; return item; }));
  pending = setTimeout(() => missed.forEach((i, j) => {  /* what would find them takes many searches: once the query rests */
    const value = remedy(query, values, i);
    list.children[j].textContent += value === null ? ` Not found up to ${knob.max}.` : ` It is found with ${value}.`;
  }), 150);
}
function resize() {
  const unit = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
  canvas.width = Math.round(box.width * unit);
  canvas.height = Math.round(box.height * unit);
  const style = getComputedStyle(document.documentElement);
  for (const name of ["paper", "ink", "faint", "row", "seen", "found", "missed", "query", "visited", "left"]) colours[name] = style.getPropertyValue("--" + name).trim();
  update();
}
function moveTo(x, y) {
  query = [x, y].map(v => Math.min(999, Math.max(0, Math.round(v))));
  update();
}
function fromPointer(event) {
  const box = canvas.getBoundingClientRect();
  moveTo((event.clientX - box.left) / box.width * 1000, (1 - (event.clientY - box.top) / box.height) * 1000);
}
for (const knob of data.knobs) {
  const label = document.createElement("label"), input = document.createElement("input"), shown = document.createElement("output");
  Object.assign(input, { type: "range", min: knob.min, max: knob.max, step: knob.step, value: knob.value, id: knob.name });
  shown.textContent = knob.value;
  label.append(`${knob.label}: `, shown, input);
  input.addEventListener("input", () => { values[knob.name] = Number(input.value); shown.textContent = input.value; update(); });
  document.getElementById("knobs").append(label);
}
canvas.addEventListener("pointerdown", event => { canvas.setPointerCapture(event.pointerId); fromPointer(event); });
canvas.addEventListener("pointermove", event => { if (event.buttons) fromPointer(event); });
canvas.addEventListener("keydown", event => {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (!way) return;
  event.preventDefault();
  const step = event.shiftKey ? 40 : 8;
  moveTo(query[0] + step * way[0], query[1] + step * way[1]);
});
window.addEventListener("resize", resize);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", resize);
window.explore = { search, move: moveTo };
resize();
