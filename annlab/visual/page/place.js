// Where in its list every entry of the history was left, so that Back and Forward lead there again.

let timer = 0, counted = () => null;

/** Follow the scrolling; `counts` tells how many tiles there are, or null while they are not those of this address. */
export function follow(counts) {
  counted = counts;
  history.scrollRestoration = "manual";
  addEventListener("scroll", () => {
    clearTimeout(timer);
    timer = setTimeout(keep, 120); // whoever goes Back tells it to the next page alone, so this one remembers before
  }, { passive: true });
}

/** Remember the place now. */
export function keep() {
  clearTimeout(timer);
  const count = counted();
  if (count !== null) history.replaceState({ ...history.state, y: scrollY, count }, "");
}

/** Another entry is shown: what was to be remembered of the last one is too late. */
export const drop = () => clearTimeout(timer);
