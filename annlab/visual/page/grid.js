// Tiles: each is a link that searches from its picture, with its score and its date.

import * as api from "./api.js";
import { $, day, described, make, percent, shortDay } from "./dom.js";
import { placeOf } from "./state.js";

/** Put tiles into the grid, after those that are there if `add` says so. */
export function show(items, { add = false, href, chosen, why, like, list = null }) {
  const tiles = items.map((item) => tile(item, { href, chosen, why, like, list }));
  if (add) $("grid").append(...tiles);
  else $("grid").replaceChildren(...tiles);
}

function tile(item, { href, chosen, why, like, list }) {
  const small = (item.width ?? 0) < 200 || (item.height ?? 0) < 200;
  const name = described(item);
  const score = percent(item.score);
  const link = make(
    "a",
    {
      class: "look", href: href(item), "data-id": String(item.id),
      "aria-label": `${name}${score ? `, ${score}` : ""}, ${day(item.date)}. Search from here`,
      onclick: (event) => {
        if (list) api.click(list, item.id);
        if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
        event.preventDefault();
        chosen(item, event.detail === 0);
      },
      onkeydown: (event) => keys(event, item, why, like),
    },
    make("img", { src: api.thumbnail(item.id), alt: "", loading: "lazy", decoding: "async", class: small ? "small" : "large" }),
  );
  const folded = item.folded?.length ?? 0;
  return make(
    "li", { class: "tile", "data-id": String(item.id) },
    link,
    folded ? make("button", { class: "folded", type: "button", "aria-label": `${folded} more that show the same as ${name}`, onclick: () => why(item) }, `+${folded}`) : null,
    make("div", { class: "under" },
      item.score === undefined || item.score === null ? null : make("meter", { min: 0, max: 1000, value: placeOf(item.score), "aria-hidden": "true" }),
      make("span", { class: "score" }, score),
      make("time", { dateTime: item.date, title: day(item.date) }, shortDay(item.date))),
    make("div", { class: "deeds" },
      like ? make("button", { type: "button", title: "More like this", "aria-label": `More like ${name}`, onclick: () => like(item, "like") }, "+") : null,
      like ? make("button", { type: "button", title: "Less like this", "aria-label": `Less like ${name}`, onclick: () => like(item, "unlike") }, "−") : null,
      make("button", { type: "button", title: "Why is this here?", "aria-label": `Why is ${name} here?`, onclick: () => why(item) }, "?")),
  );
}

function keys(event, item, why, like) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() }[event.key];
  if (step !== undefined) {
    const links = [...$("grid").querySelectorAll("a.look")];
    const next = links[links.indexOf(event.currentTarget) + step];
    if (next) {
      next.focus();
      event.preventDefault();
    }
  } else if (event.key === "?" || event.key === "w") why(item);
  else if (like && (event.key === "+" || event.key === "-")) like(item, event.key === "+" ? "like" : "unlike");
}

function columns() {
  return getComputedStyle($("grid")).gridTemplateColumns.split(" ").length;
}
