// Judging: a query and candidates of several rankers, one at a time, shuffled, without scores and without names.

import * as api from "./api.js";
import { $, described, make, news } from "./dom.js";

const GRADES = ["Different", "A little similar", "Similar", "The same thing"];
let asked = null, place = 0, go = () => {}, state = {};

/** Show the pair that is to be judged. */
export async function show(next, goes) {
  [state, go] = [next, goes];
  const seed = state.seed ?? "1";
  const said = new URLSearchParams({ seed });
  if (state.id) said.set("query", state.id);
  $("judging").replaceChildren(make("p", {}, "…"));
  asked = await api.judging(said);
  place = asked.candidates.findIndex((each) => !(each.id in asked.judged));
  if (place < 0) place = asked.candidates.length;
  draw();
}

function draw() {
  const candidate = asked.candidates[place];
  if (!candidate) return done();
  const before = asked.judged[candidate.id];
  const buttons = GRADES.map((words, grade) => make("button", { type: "button", class: "grade", "aria-pressed": String(before === grade), "aria-keyshortcuts": String(grade), onclick: () => grades(grade) }, make("kbd", {}, String(grade)), " ", words));
  $("judging").replaceChildren(
    make("h1", { id: "question", tabIndex: -1 }, "How similar are these two?"),
    make("p", { class: "notes" }, "What found the second picture is hidden, and the order is by chance."),
    make("div", { class: "pair" }, seen(asked.query, "The picture that is searched with"), seen(candidate, "The candidate")),
    make("div", { class: "grades", role: "group", "aria-label": "Grade" }, ...buttons),
    make("div", { class: "row" },
      make("button", { type: "button", onclick: () => move(-1), disabled: place === 0 }, "Back one"),
      make("button", { type: "button", onclick: () => move(1) }, "Skip"),
      make("p", { "aria-live": "polite" }, `${place + 1} of ${asked.candidates.length}`),
      make("progress", { max: asked.candidates.length, value: place, "aria-label": "Progress" })));
  $("judging").onkeydown = keys;
  $("question").focus({ preventScroll: true });
}

function seen(image, words) {
  return make("figure", {}, make("img", { src: api.picture(image.id), alt: described(image) }), make("figcaption", {}, words));
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if ("0123".includes(event.key)) grades(Number(event.key));
  else if (event.key === "ArrowRight") move(1);
  else if (event.key === "ArrowLeft") move(-1);
  else return;
  event.preventDefault();
}

async function grades(grade) {
  const candidate = asked.candidates[place];
  try {
    await api.judge(asked.query.id, candidate.id, grade);
    asked.judged[candidate.id] = grade;
    move(1);
  } catch (error) {
    news(error.message);
  }
}

function move(step) {
  place = Math.max(0, Math.min(asked.candidates.length, place + step));
  draw();
}

function done() {
  const n = Object.keys(asked.judged).length;
  $("judging").onkeydown = null;
  $("judging").replaceChildren(
    make("h1", { id: "question", tabIndex: -1 }, asked.candidates.length ? "Thank you" : "There is nothing to judge here"),
    make("p", {}, `You judged ${n} of ${asked.candidates.length} candidates for this picture.`),
    make("div", { class: "row" },
      make("button", { type: "button", class: "main", onclick: () => go({ view: "judge", seed: String(1 + Math.floor(Math.random() * 1e6)) }) }, "Another picture"),
      make("button", { type: "button", onclick: () => move(-1), disabled: asked.candidates.length === 0 }, "Back one"),
      make("button", { type: "button", onclick: () => go({ ...state, view: undefined, seed: undefined }) }, "Enough")));
  $("question").focus({ preventScroll: true });
}
