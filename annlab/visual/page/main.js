// The page begins here: it shows what its address says, and changes the address when somebody does something.

import * as api from "./api.js";
import { counted, $, described, make, news, percent, plural, theme } from "./dom.js";
import * as grid from "./grid.js";
import * as judging from "./judging.js";
import * as lab from "./lab.js";
import * as part from "./part.js";
import * as place from "./place.js";
import { asking, hasQuery, parameters, placeOf, read, scoreAt, write } from "./state.js";
import * as why from "./why.js";

const PAGE = 48, MOST = 500; // results, and as many as the service gives at once
let state = {};
let session = {};
let shown = { cursor: null, count: 0, list: null, query: null };
let answered = false; // whether what is seen belongs to the present state
let running = null; // what is being asked for now
let lastUpload = null; // the file that was dropped, to add it to the collection

// ---- going somewhere

/** Go to a state: a new entry in the history, unless it only changes the present one. */
function go(next, { replace = false, answer = null, focus = false } = {}) {
  place.keep();
  const address = write(next);
  if (replace || address === location.pathname + location.search) history.replaceState(history.state, "", address);
  else history.pushState({}, "", address);
  if (!replace) scrollTo(0, 0);
  return display(next, { answer, focus });
}

async function display(next, { answer = null, focus = false, y = null, count = 0 } = {}) {
  state = next;
  running?.abort();
  sliding?.abort();
  sliding = null;
  running = new AbortController();
  const { signal } = running;
  news(null);
  answered = false;
  const judges = state.view === "judge";
  $("judge").setAttribute("aria-pressed", String(judges));
  $("engines").setAttribute("aria-pressed", String(state.view === "engines"));
  for (const id of ["results", "filters", "lab"]) $(id).hidden = judges;
  if (judges) $("query").hidden = true;
  $("judging").hidden = !judges;
  try {
    if (judges) return await judging.show(state, go);
    showFilters();
    lab.show(state, go, session);
    if (hasQuery(state)) await search(signal, answer, count);
    else await begin(signal);
    if (focus) $(hasQuery(state) ? "query-name" : "results").focus();
    if (y !== null) scrollTo(0, y);
  } catch (error) {
    refused(error);
  }
}

function refused(error) {
  if (error.name === "AbortError") return;
  if (error.status === 401) return ask();
  if (error.status === undefined) console.error(error);
  news(error.message);
  if (state.view === "judge") $("judging").replaceChildren();
  if (error.status === 404 || ([400, 422].includes(error.status) && !answered)) nothing();
  if ($("grid").children.length === 0) $("count").textContent = "Nothing to show";
}

/** What was asked for is not there: nothing of the question before it stays. */
function nothing() {
  for (const id of ["query", "filters", "notes", "more", "weaker", "shuffle"]) $(id).hidden = true;
  $("grid").replaceChildren();
  $("times").textContent = "";
}

// ---- searching

/** `count`: how many results there were when somebody left, so that Back leads to the same place. */
async function search(signal, answer, count) {
  const asked = parameters(state);
  asked.set("k", Math.min(MOST, Math.max(PAGE, count)));
  const started = performance.now();
  const found = answer ?? (await api.search(asked, signal));
  shown = { asked, cursor: found.cursor, count: found.results.length, list: found.list, query: found.query };
  answered = true;
  showQuery(found);
  showTiles(found.results);
  showCount(found, performance.now() - started);
  lookForEnd();
}

function showTiles(results, add = false) {
  grid.show(results, { add, href: (item) => write(asking(state, { id: String(item.id) })), chosen, why: explain, like, list: shown.list });
}

function chosen(item, byKey) {
  lastUpload = null;
  go(asking(state, { id: String(item.id) }), { focus: byKey });
}

function like(item, which) {
  const other = which === "like" ? "unlike" : "like";
  const list = [...new Set([...(state[which] ?? []), String(item.id)])].slice(0, 20);
  go({ ...state, [which]: list, [other]: (state[other] ?? []).filter((id) => id !== String(item.id)) }, { focus: true });
}

function explain(item) {
  why.show(item, state, { session, chosen, like: state.id !== undefined ? like : null, removed: () => display(state) });
}

function showCount(found, took) {
  $("count").textContent = found.results.length ? counted(found) : emptiness(found);
  const inside = found.timings.total ?? Object.values(found.timings).reduce((sum, each) => sum + each, 0);
  $("times").textContent = `${Math.round(took)} ms, of which the search ${inside.toFixed(1)} ms`;
  $("times").title = `${Object.entries(found.timings).map(([stage, ms]) => `${stage} ${ms.toFixed(2)} ms`).join(", ")}. ${found.plan}`;
  $("cutoff").value = placeOf(found.cutoff);
  $("cut-value").textContent = percent(found.cutoff);
  $("cutoff").setAttribute("aria-valuetext", `${percent(found.cutoff)}, ${plural(found.total, "result")}`);
  const notes = found.notes.filter((note) => !note.includes("there may be more"));
  $("notes").hidden = notes.length === 0;
  $("notes").textContent = notes.join(" ");
  $("more").hidden = !found.cursor;
  $("weaker").hidden = Boolean(found.cursor) || found.cutoff <= 0 || !found.weaker;
  $("weaker").textContent = found.weaker ? `Show ${plural(found.weaker, "weaker one")}` : "";
  $("shuffle").hidden = true;
}

/** Why there is no result, in words. */
function emptiness(found) {
  if (found.weaker && found.cutoff > 0) return "Nothing is similar enough";
  return state.tag || state.owner || state.after || state.before ? "Nothing passes these filters" : "Nothing was found";
}

/** Asks for the next page when the end comes near. */
const ending = new IntersectionObserver((seen) => {
  if (seen.some((each) => each.isIntersecting) && !$("more").hidden) nextPage();
}, { rootMargin: "600px" });

/** It tells of changes alone: a short page may leave the end as near as it was. */
const lookForEnd = () => (ending.unobserve($("more")), ending.observe($("more")));

/** Of the question that is shown: another may be on its way, whose answer takes the place of all this. */
async function nextPage() {
  if (!shown.cursor || $("more").disabled) return;
  $("more").disabled = true;
  const before = shown;
  try {
    const asked = new URLSearchParams([...before.asked, ["cursor", before.cursor], ["first", before.count + 1]]);
    asked.set("k", PAGE);
    const found = await api.search(asked, running.signal);
    if (shown !== before) return lookForEnd();
    shown = { ...shown, cursor: found.cursor, count: shown.count + found.results.length, list: found.list };
    showTiles(found.results, true);
    if (found.results.length) $("count").textContent = counted(found); // deeper pages look at more
    $("more").hidden = !found.cursor;
    $("weaker").hidden = Boolean(found.cursor) || found.cutoff <= 0 || !found.weaker;
    lookForEnd();
  } catch (error) {
    refused(error);
  } finally {
    $("more").disabled = false;
  }
}

async function begin(signal) {
  const asked = new URLSearchParams({ limit: PAGE, sample: state.seed ?? "1" });
  for (const tag of state.tag ?? []) asked.append("tag", tag);
  if (state.owner) asked.set("owner", state.owner);
  const found = await api.images(asked, signal);
  shown = { cursor: null, count: found.images.length, list: null, query: null };
  answered = true;
  grid.show(found.images, { href: (item) => write(asking(state, { id: String(item.id) })), chosen, why: explain, like: null });
  $("query").hidden = true;
  const filtered = Boolean(state.tag || state.owner);
  $("filters").hidden = !filtered && (found.images.length === 0 || [...$("filters").querySelectorAll("label")].every((each) => each.hidden));
  $("count").textContent = found.images.length ? "Choose a picture to begin with" : filtered ? "Nothing passes these filters" : "There are no pictures yet";
  $("times").textContent = "";
  for (const id of ["notes", "more", "weaker"]) $(id).hidden = true;
  if (found.images.length === 0 && !filtered) {
    $("notes").hidden = false;
    $("notes").textContent = "Put a folder of pictures in with: annlab index FOLDER --into the catalog that is served here.";
  }
  $("shuffle").hidden = found.images.length === 0;
  document.title = "annlab: search by picture";
}

// ---- the query

function showQuery(found) {
  $("query").hidden = false;
  const image = found.query;
  $("subject").hidden = !image;
  $("mark").hidden = !image;
  if (image) {
    const source = api.picture(image.id);
    if ($("picture").getAttribute("src") !== source) $("picture").src = source;
    $("picture").alt = image.kind === "query" ? "The picture you search with" : described(image);
  }
  part.draw(part.fromText(state.box));
  part.marking(false);
  const name = state.text ?? (image.kind === "query" ? "Your picture" : described(image));
  $("query-name").classList.toggle("words", Boolean(state.text));
  $("query-name").textContent = state.text ? `“${name}”` : state.box ? `A part of: ${name}` : name;
  document.title = `${name}: annlab`;
  $("text").value = state.text ?? "";
  const chips = [...(state.like ?? []).map((id) => chip(id, "like")), ...(state.unlike ?? []).map((id) => chip(id, "unlike"))];
  if (state.box) chips.unshift(make("button", { class: "chip", type: "button", onclick: () => go({ ...state, box: undefined, cutoff: undefined }, { focus: true }) }, "Whole picture"));
  $("chips").replaceChildren(...chips);
  const writer = session.role === "writer" || session.role === "admin";
  $("keep").hidden = !(image?.kind === "query" && writer);
}

function chip(id, which) {
  const words = which === "like" ? "also like" : "not like";
  return make("button", { class: `chip ${which}`, type: "button", "aria-label": `${words} image ${id}: remove`,
    onclick: () => go({ ...state, [which]: state[which].filter((each) => each !== id) }, { focus: true }) },
    words, make("img", { src: api.thumbnail(id), alt: "" }), "×");
}

async function upload(file) {
  if (!file) return;
  if (!file.type.startsWith("image/") && file.type) return news(`${file.name || "This"} is no picture.`);
  running?.abort();
  running = new AbortController();
  const next = asking(state, {});
  const asked = parameters(next);
  asked.set("k", PAGE);
  const before = $("count").textContent;
  $("count").textContent = "Looking…";
  try {
    const answer = await api.upload(file, asked, running.signal);
    lastUpload = file;
    await go({ ...next, id: String(answer.query.id) }, { answer });
  } catch (error) {
    $("count").textContent = before;
    refused(error);
  }
}

// ---- filters

function showFilters() {
  $("filters").hidden = false;
  $("cut").hidden = !hasQuery(state);
  $("order").parentElement.hidden = !hasQuery(state);
  for (const id of ["after", "before"]) $(id).parentElement.hidden = !hasQuery(state);
  $("order").value = state.order ?? "relevance";
  $("tag").value = state.tag?.[0] ?? "";
  $("owner").value = state.owner ?? "";
  $("after").value = state.after ?? "";
  $("before").value = state.before ?? "";
}

async function suggest() {
  const found = await api.suggestions();
  const tagless = found.tags.length === 0;
  $("tag").parentElement.hidden = tagless && !state.tag;
  if (tagless && !session.text) $("text").placeholder = "Drop, paste or pick a picture";
  $("tags").replaceChildren(...found.tags.map(([tag, n]) => make("option", { value: tag, label: `${tag} (${n})` })));
  $("owner-label").hidden = found.owners.length === 0;
  for (const [owner, n] of found.owners) {
    const name = owner === session.user ? "mine" : `user ${owner}`;
    $("owner").append(make("option", { value: String(owner) }, `${name} (${n})`));
  }
  $("owner").value = state.owner ?? "";
}

/** The slider: the count follows the hand; one question at a time, the last position always asked. Once the hand lets
 * go, `display` asks for good, and ends this. */
let sliding = null, wanted = null;
async function slide() {
  wanted = String(scoreAt(Number($("cutoff").value)));
  $("cut-value").textContent = percent(Number(wanted));
  if (sliding) return;
  const { signal } = (sliding = new AbortController());
  try {
    while (wanted !== null && !signal.aborted) {
      const asked = parameters({ ...state, cutoff: wanted });
      wanted = null;
      asked.set("k", PAGE);
      asked.set("log", "false");
      const started = performance.now();
      const found = await api.search(asked, signal);
      const value = $("cutoff").value; // the hand is further already
      shown = { ...shown, asked, cursor: found.cursor, count: found.results.length, list: null };
      showTiles(found.results);
      showCount(found, performance.now() - started);
      $("cutoff").value = value;
      $("cut-value").textContent = percent(scoreAt(Number(value)));
    }
  } catch (error) {
    refused(error);
  } finally {
    if (sliding?.signal === signal) sliding = null;
  }
}

// ---- who is there

async function ask() {
  const field = make("input", { id: "key", type: "password", required: true, autocomplete: "current-password" });
  const wrong = make("p", { role: "alert", class: "notes" });
  const form = make("form", { class: "stack", onsubmit: async (event) => {
    event.preventDefault();
    try {
      await api.enter(field.value);
      location.reload();
    } catch (error) {
      wrong.textContent = error.message;
      field.select();
    }
  } }, make("h2", { id: "dialog-name" }, "A key, please"), make("label", { for: "key" }, "Whoever runs this service gave you one."), field, wrong, make("button", { class: "main" }, "Enter"));
  const dialog = $("dialog");
  dialog.replaceChildren(form);
  if (!dialog.open) dialog.showModal();
}

// ---- what somebody does

function listen() {
  $("box").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("text").value.trim();
    if (text) go(asking(state, { text }));
  });
  $("pick").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    upload($("file").files[0]);
    $("file").value = "";
  });
  addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    if (file) {
      event.preventDefault();
      upload(file);
    }
  });
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragenter", (event) => { if (carries(event)) $("drop").hidden = false; });
  addEventListener("dragover", (event) => { if (carries(event)) event.preventDefault(); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").hidden = true; });
  addEventListener("drop", (event) => {
    $("drop").hidden = true;
    if (!carries(event)) return;
    event.preventDefault();
    upload(event.dataTransfer.files[0]);
  });
  $("mark").addEventListener("click", (event) => part.marking($("mark").getAttribute("aria-pressed") !== "true", event.detail === 0));
  part.listen((box) => go({ ...state, box: box ? part.toText(box) : undefined, cutoff: undefined }));
  $("keep").addEventListener("click", () => why.keep(shown.query, lastUpload, (id) => go(asking(state, { id: String(id) }))));
  $("cutoff").addEventListener("input", slide);
  $("cutoff").addEventListener("change", () => go({ ...state, cutoff: String(scoreAt(Number($("cutoff").value))) }, { replace: true }));
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["order", "owner", "after", "before"]) $(id).addEventListener("change", () => go({ ...state, [id]: $(id).value || undefined }));
  $("tag").addEventListener("change", () => go({ ...state, tag: $("tag").value.trim() ? [$("tag").value.trim()] : undefined }));
  $("weaker").addEventListener("click", () => go({ ...state, cutoff: "0" }, { focus: true }));
  $("more").addEventListener("click", nextPage);
  ending.observe($("more"));
  $("shuffle").addEventListener("click", () => go({ ...state, seed: String(1 + Math.floor(Math.random() * 1e6)) }));
  for (const link of [$("fresh"), document.querySelector(".brand")]) {
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      $("text").value = "";
      go({});
    });
  }
  $("judge").addEventListener("click", () => go(state.view === "judge" ? { ...state, view: undefined } : { ...state, view: "judge" }));
  $("engines").addEventListener("click", () => go({ ...state, view: state.view === "engines" ? undefined : "engines" }));
  $("theme").addEventListener("click", theme);
  addEventListener("popstate", ({ state: left }) => {
    place.drop();
    display(read(location.search), { y: left?.y ?? 0, count: left?.count ?? 0 });
  });
  addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea, dialog");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      $("text").focus();
    }
  });
}

async function start() {
  place.follow(() => (answered ? shown.count : null));
  listen();
  session = await api.session();
  if (session.name === null) return ask();
  $("text").placeholder = session.text ? "Describe it, or drop, paste or pick a picture" : "Search tags, or drop, paste or pick a picture";
  $("judge").hidden = session.role === "reader";
  await Promise.all([suggest().catch(refused), display(read(location.search))]);
}

const kept = localStorage.getItem("theme");
if (kept) document.documentElement.dataset.theme = kept;
start().catch(refused);
