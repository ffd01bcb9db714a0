// What is shown is what the address says: every state is a link, and Back works.

const WORDS = ["id", "box", "text", "order", "cutoff", "owner", "after", "before", "view", "kind", "seed"];
const LISTS = ["like", "unlike", "tag", "knob"];
const OF_THE_QUERY = ["id", "box", "text", "like", "unlike"];

/** The state that an address says. */
export function read(search) {
  const given = new URLSearchParams(search);
  const state = {};
  for (const name of WORDS) if (given.get(name)) state[name] = given.get(name);
  for (const name of LISTS) if (given.getAll(name).length) state[name] = given.getAll(name);
  return state;
}

/** The address of a state. */
export function write(state) {
  const said = new URLSearchParams();
  for (const name of WORDS) if (state[name] !== undefined && state[name] !== "") said.set(name, state[name]);
  for (const name of LISTS) for (const each of state[name] ?? []) said.append(name, each);
  const text = said.toString();
  return text ? `/?${text}` : "/";
}

/** A state with another query and the same filters; judging ends. */
export function asking(state, query) {
  const next = { ...state };
  for (const name of OF_THE_QUERY) delete next[name];
  delete next.cutoff;
  if (next.view === "judge") delete next.view;
  return { ...next, ...query };
}

/** Whether something is searched for. */
export function hasQuery(state) {
  return state.id !== undefined || state.text !== undefined;
}

/** What of a state the search is asked. */
export function parameters(state) {
  const asked = new URLSearchParams();
  for (const name of ["id", "box", "text", "order", "cutoff", "owner"]) if (state[name]) asked.set(name, state[name]);
  for (const name of LISTS) for (const each of state[name] ?? []) asked.append(name, each);
  if (state.after) asked.set("after", new Date(`${state.after}T00:00:00`).toISOString());
  if (state.before) asked.set("before", new Date(`${state.before}T23:59:59`).toISOString());
  return asked;
}

// Scores are probabilities, and those that matter may be 0.1 % or 99.9 %. So slider and bars go by their log-odds.
const ODDS = 9, STEPS = 1000;

/** The score at a place of the slider, 0 to 1000; its ends are 0 and 1. */
export function scoreAt(place) {
  if (place <= 0 || place >= STEPS) return place <= 0 ? 0 : 1;
  return Number((1 / (1 + Math.exp(ODDS - (2 * ODDS * place) / STEPS))).toPrecision(4));
}

/** The place of a score on the slider. */
export function placeOf(score) {
  if (score <= 0 || score >= 1) return score <= 0 ? 0 : STEPS;
  const odds = Math.log(score / (1 - score));
  return Math.round(Math.min(STEPS - 1, Math.max(1, (STEPS * (odds + ODDS)) / (2 * ODDS))));
}
