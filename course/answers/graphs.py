"""Answers to the exercises of notebook 08, and mistakes with words of what is said to them. Not in the wheel."""

import numpy as np


def reachable(links, entry, pads=False, back=False, steps=60):
    seen = np.arange(len(links)) == entry
    for _ in range(steps):
        for row in np.flatnonzero(seen):
            others = links[row] if pads else links[row][links[row] >= 0]
            seen[others] = True
        if back:
            seen |= [(seen[others[others >= 0]]).any() for others in links]
    return seen


def one_step(links, entry):
    return reachable(links, entry, steps=1)


def without_entry(links, entry):
    return reachable(links, entry) & (np.arange(len(links)) != entry)


ANSWERS = {"08-reachable": lambda: reachable}
MISTAKES = [
    ("08-reachable", lambda: lambda links, entry: reachable(links, entry, pads=True), "last row"),
    ("08-reachable", lambda: lambda links, entry: reachable(links, entry, back=True), "one way"),
    ("08-reachable", lambda: one_step, "one step"),
    ("08-reachable", lambda: without_entry, "entry itself"),
    ("08-reachable", lambda: lambda links, entry: np.ones(len(links), bool), "Not these rows"),
]
