// Dialogs about one picture: why it is here, what is folded under it; and adding one's own to the collection.

import * as api from "./api.js";
import { $, day, described, make, percent } from "./dom.js";
import { parameters } from "./state.js";

/** Why a result is here: the picture, what is known of it, and its way through the ranking. */
export async function show(item, state, { session, chosen, like, removed }) {
  const way = make("ol", { class: "way" }, make("li", {}, "…"));
  const then = (deed) => () => {
    $("dialog").close();
    deed();
  };
  const facts = [
    ["Score", percent(item.score)],
    ["Distance", item.distance === undefined || item.distance === null ? "" : item.distance.toFixed(4)],
    ["Date", day(item.date)],
    ["Tags", item.tags.join(", ")],
    ["Size", item.width ? `${item.width} × ${item.height}` : ""],
    ["Owner", item.owner ? (item.owner === session.user ? "you" : `user ${item.owner}`) : ""],
    ["Seen by", item.private ? "its owner alone" : "everybody"],
  ].filter(([, value]) => value);
  const writes = session.role !== "reader" && item.own;
  open(described(item),
    make("div", { class: "about" },
      make("img", { class: "whole", src: api.picture(item.id), alt: described(item) }),
      make("div", {},
        make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
        item.score === undefined ? null : make("h3", {}, "Why is this here?"), item.score === undefined ? null : way,
        item.folded?.length ? make("h3", {}, "These show the same") : null,
        item.folded?.length ? make("div", { class: "strip" }, ...item.folded.slice(0, 24).map((id) => make("button", { type: "button", "aria-label": `Search from image ${id}`, onclick: then(() => chosen({ id }, true)) }, make("img", { src: api.thumbnail(id), alt: "" })))) : null)),
    make("div", { class: "row" },
      make("button", { class: "main", type: "button", onclick: then(() => chosen(item, true)) }, "Search from here"),
      like ? make("button", { type: "button", onclick: then(() => like(item, "like")) }, "More like this") : null,
      like ? make("button", { type: "button", onclick: then(() => like(item, "unlike")) }, "Less like this") : null,
      writes ? make("button", { type: "button", class: "danger", onclick: () => remove(item, removed) }, "Delete") : null));
  if (item.score !== undefined) way.replaceChildren(...(await steps(item, state)));
}

async function steps(item, state) {
  try {
    const asked = parameters(state);
    asked.set("k", 200);
    asked.set("explain", "true");
    asked.set("log", "false");
    const found = (await api.search(asked)).results.find((result) => result.id === item.id);
    const words = found?.way?.length ? found.way : ["It is among the nearest; no stage of the ranking changed its place."];
    return words.map((step) => make("li", {}, step));
  } catch (error) {
    return [make("li", {}, error.message)];
  }
}

async function remove(item, removed) {
  const said = make("p", { role: "alert", class: "notes" });
  open(`Delete ${described(item)}?`, make("p", {}, "Its file and its vector are gone then; there is no way back."), said,
    make("div", { class: "row" },
      make("button", { type: "button", class: "danger", onclick: async () => {
        try {
          await api.remove(item.id);
          $("dialog").close();
          removed();
        } catch (error) {
          said.textContent = error.message;
        }
      } }, "Delete"),
      make("button", { type: "button", onclick: () => $("dialog").close() }, "Keep it")));
}

/** Add the picture that was searched with to the collection. */
export function keep(query, file, added) {
  const tags = make("input", { id: "new-tags", maxLength: 1000, placeholder: "shoe, red" });
  const alone = make("input", { id: "new-private", type: "checkbox" });
  const said = make("p", { role: "alert", class: "notes" });
  const form = make("form", { class: "stack", onsubmit: async (event) => {
    event.preventDefault();
    try {
      const blob = file ?? (await (await fetch(api.picture(query.id))).blob());
      const image = await api.add(blob, tags.value, alone.checked);
      $("dialog").close();
      added(image.duplicate_of ?? image.id);
    } catch (error) {
      said.textContent = error.message;
    }
  } },
    make("label", { for: "new-tags" }, "Tags, with commas between them"), tags,
    make("label", { class: "check" }, alone, " Only I may see it"), said,
    make("div", { class: "row" }, make("button", { class: "main" }, "Add"), make("button", { type: "button", onclick: () => $("dialog").close() }, "Cancel")));
  open("Add to the collection", form);
}

function open(name, ...content) {
  const dialog = $("dialog");
  dialog.replaceChildren(
    make("div", { class: "head" }, make("h2", { id: "dialog-name" }, name), make("button", { type: "button", class: "icon", "aria-label": "Close", onclick: () => dialog.close() }, "×")),
    ...content.filter((each) => each));
  if (!dialog.open) dialog.showModal();
}
