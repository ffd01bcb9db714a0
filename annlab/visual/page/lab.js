// The engine room: choose a kind of index, turn its knobs, and watch what that does to recall and time.

import * as api from "./api.js";
import { $, make, news } from "./dom.js";
import { write } from "./state.js";

const NAMES = { ExactIndex: "Exact", IVFIndex: "Inverted file", KDTreeIndex: "k-d tree", BallTreeIndex: "Ball tree", LSHIndex: "Hashing", VamanaIndex: "Graph" };
const WORDS = { n_probes: "Places looked into", rerank: "Candidates measured", max_leaves: "Leaves visited", reach: "Width of the walk" };
const K = 10, SVG = "http://www.w3.org/2000/svg";

let trail = []; // what was measured: {kind, milliseconds, recall}
let go = () => {};
let state = {};
let asking = false, again = false, waiting = 0;
let wanted = null; // the kind that is to be measured

/** Show the engine room where the state says so. */
export async function show(next, goes, session) {
  [state, go] = [next, goes];
  $("lab").hidden = state.view !== "engines";
  clearTimeout(waiting);
  if (state.view !== "engines") return;
  try {
    const { engines, vectors } = await api.engines();
    if (state !== next) return;
    const kind = engines.find((each) => each.kind === state.kind) ?? engines.find((each) => each.state === "current");
    draw(engines, kind, vectors, session);
    if (kind.state === "building") waiting = setTimeout(() => show(next, goes, session), 700);
    else if (kind.state === "current" || kind.state === "ready") await measure(kind);
  } catch (error) {
    news(error.message);
  }
}

function draw(engines, kind, vectors, session) {
  const cards = engines.map((each) => make("button", {
    type: "button", class: "card", "data-kind": each.kind, "aria-pressed": String(each === kind),
    onclick: () => go({ ...state, kind: each.kind, knob: undefined }, { replace: true }),
  }, make("strong", {}, NAMES[each.kind] ?? each.kind), make("small", {}, stateOf(each))));
  const absent = kind.state === "absent" || kind.state === "failed";
  const held = $("lab").contains(document.activeElement) ? document.activeElement.dataset.kind ?? kind.kind : null;
  $("lab").replaceChildren(
    make("h2", { id: "lab-name" }, "Engine room"),
    make("p", { class: "notes" }, `Single searches for the ${K} nearest among ${vectors.toLocaleString()} pictures, against exact search.`),
    make("div", { class: "cards", role: "group", "aria-label": "Kind of index" }, ...cards),
    absent
      ? make("div", { class: "row" }, session.role === "reader" ? make("p", {}, "Nobody has built this one yet.") : make("button", { type: "button", class: "main", onclick: () => build(kind, session) }, `Build it`), kind.note ? make("p", { class: "notes" }, kind.note) : null)
      : make("div", { class: "bench" },
        make("div", { class: "knobs" }, ...kind.knobs.map((knob) => slider(kind, knob)), kind.knobs.length ? null : make("p", { class: "notes" }, kind.state === "building" ? "It is being built…" : "It has no knob: it looks at everything.")),
        make("dl", { class: "figures", "aria-live": "polite", id: "figures" }),
        chart()),
    make("div", { id: "missed", class: "strip" }));
  if (held) $("lab").querySelector(`[data-kind="${held}"]`)?.focus(); // all of it is new, and the keys were there
}

function stateOf(engine) {
  if (engine.state === "current") return `serves now${size(engine)}`;
  return { ready: `built${size(engine)}`, building: "is being built…", absent: "not built", failed: "could not be built" }[engine.state];
}

const size = (engine) => (engine.bytes ? `, ${(engine.bytes / 2 ** 20).toFixed(1)} MB` : "");

function slider(kind, knob) {
  // Equal steps of the hand are equal factors: from 1 to 2 matters as much as from 100 to 200.
  const place = (value) => Math.round((1000 * Math.log(value / knob.low)) / Math.log(knob.high / knob.low));
  const value = (at) => Math.round(knob.low * (knob.high / knob.low) ** (at / 1000));
  const said = (state.knob ?? []).map((each) => each.split(":")).find(([name]) => name === knob.name);
  const now = Math.min(knob.high, Math.max(knob.low, Number(said?.[1] ?? knob.value)));
  const output = make("output", {}, now.toLocaleString());
  const input = make("input", { type: "range", min: 0, max: 1000, step: 1, value: place(now), "data-knob": knob.name, "aria-valuetext": String(now) });
  input.addEventListener("input", () => {
    output.textContent = value(input.value).toLocaleString();
    input.setAttribute("aria-valuetext", output.textContent);
    input.dataset.value = value(input.value);
    measure(kind);
  });
  input.addEventListener("change", () => {
    // What serves now answers the searches of the page, too; for the others only the address remembers.
    const next = { ...state, kind: kind.kind, knob: [`${knob.name}:${value(input.value)}`, ...(state.knob ?? []).filter((each) => !each.startsWith(`${knob.name}:`))] };
    history.replaceState(history.state, "", write(next));
    state = next;
  });
  input.dataset.value = now;
  return make("label", {}, make("span", {}, WORDS[knob.name] ?? knob.name, " ", output), input);
}

async function build(kind, session) {
  try {
    await api.build(kind.kind);
    await show(state, go, session);
  } catch (error) {
    news(error.message);
  }
}

/** Measure with the knobs as they stand; one at a time, the last position of the last kind always. */
async function measure(kind) {
  wanted = kind.kind;
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  try {
    do {
      again = false;
      const now = wanted, asked = new URLSearchParams({ k: K });
      if (state.id) asked.set("id", state.id);
      for (const input of document.querySelectorAll("[data-knob]")) asked.append("knob", `${input.dataset.knob}:${input.dataset.value}`);
      const found = await api.measure(now, asked);
      if (state.view === "engines" && now === wanted && $("figures")) tell(found);
    } while (again);
  } catch (error) {
    news(error.message);
  } finally {
    asking = false;
  }
}

function tell(found) {
  const faster = found.exact_milliseconds / found.milliseconds;
  const figures = [
    [`${(100 * found.recall).toFixed(1)} %`, `recall@${found.k} (${(100 * found.low).toFixed(0)} to ${(100 * found.high).toFixed(0)})`],
    [`${found.milliseconds.toFixed(3)} ms`, "a search"],
    [`${faster.toFixed(1)} ×`, `as fast as exact (${found.exact_milliseconds.toFixed(3)} ms)`],
    ...(found.looked_at === null ? [] : [[`${(100 * found.looked_at).toFixed(1)} %`, "distances, to the number of pictures"]]),
  ];
  $("figures").replaceChildren(...figures.map(([value, name]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  trail = [...trail, { kind: found.kind, milliseconds: found.milliseconds, recall: found.recall }].slice(-60);
  plot(found.exact_milliseconds);
  $("missed").replaceChildren(...(found.missed.length ? [make("p", {}, `Missed, of this picture's ${found.k} nearest:`), ...found.missed.map((id) => make("img", { src: api.thumbnail(id), alt: `image ${id}` }))] : []));
}

function chart() {
  const svg = document.createElementNS(SVG, "svg");
  svg.id = "chart";
  svg.setAttribute("viewBox", "0 0 320 180");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "Recall against time of what was measured; the figures say the last one.");
  return svg;
}

function plot(exact) {
  const svg = $("chart");
  if (!svg) return;
  const times = [...trail.map((each) => each.milliseconds), exact];
  const low = Math.log(Math.min(...times) / 1.5), high = Math.log(Math.max(...times) * 1.5);
  const x = (ms) => 34 + (276 * (Math.log(ms) - low)) / (high - low);
  const y = (recall) => 152 - 140 * recall;
  const element = (name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    return made;
  };
  const kinds = [...new Set(trail.map((each) => each.kind))];
  svg.replaceChildren(
    ...[0, 0.5, 1].flatMap((share) => [element("line", { x1: 34, x2: 310, y1: y(share), y2: y(share), class: "rule" }), element("text", { x: 28, y: y(share) + 4, class: "end" }, `${100 * share}`)]),
    element("line", { x1: x(exact), x2: x(exact), y1: 8, y2: 152, class: "exact" }),
    element("text", { x: x(exact) > 250 ? x(exact) - 4 : x(exact) + 4, y: 142, class: x(exact) > 250 ? "end" : "" }, "exact"),
    element("text", { x: 310, y: 172, class: "end" }, "ms a search, to the right slower"),
    ...trail.map((each, place) => element("circle", { cx: x(each.milliseconds), cy: y(each.recall), r: place === trail.length - 1 ? 6 : 3.5, class: `dot kind${kinds.indexOf(each.kind) % 5}` })));
}
