// Elements without markup in strings: nothing that somebody typed can become a part of the page.

export const $ = (id) => document.getElementById(id);

/** An element with properties, attributes (aria-..., data-...) and children. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key.includes("-") || key === "role" || key === "for") element.setAttribute(key, value);
    else if (key === "class") element.className = value;
    else element[key] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const days = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });

/** A moment as a day, in this reader's way. */
export const day = (text) => days.format(new Date(text));

const daysOfThisYear = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

/** The same, as short as a tile is narrow: without the year, if it is this one. */
export function shortDay(text) {
  const moment = new Date(text);
  return (moment.getFullYear() === new Date().getFullYear() ? daysOfThisYear : days).format(moment);
}

/** How likely, as a share of a hundred, with as many digits as it takes to tell small ones apart. */
export function percent(score) {
  if (score === null || score === undefined) return "";
  const share = 100 * score;
  if (share === 0 || share >= 10) return `${Math.round(share)} %`;
  return `${share >= 1 ? share.toFixed(1) : share >= 0.001 ? Number(share.toPrecision(2)) : "< 0.001"} %`;
}

export const plural = (n, one, many = `${one}s`) => `${n.toLocaleString()} ${n === 1 ? one : many}`;

const moments = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });

/** What an image is called: its tags, or the name of its file, or the moment it is of. */
export function described(image) {
  const words = image.name ? [image.name, ...image.tags] : image.tags; // a photograph's file, and its folders
  return words.length ? words.join(", ") : `picture of ${moments.format(new Date(image.date))}`;
}

/** How many results there are within the cut, or how many at least. */
export function counted(found) {
  const more = found.notes.some((note) => note.includes("there may be more")) ? "+" : "";
  return `${found.total.toLocaleString()}${more} ${found.total === 1 ? "result" : "results"}`;
}

/** Say something that went wrong, or nothing. */
export function news(text) {
  const place = $("news");
  place.hidden = !text;
  place.textContent = text ?? "";
}

/** From light to dark or back, and remember it. */
export function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  localStorage.setItem("theme", document.documentElement.dataset.theme);
}
