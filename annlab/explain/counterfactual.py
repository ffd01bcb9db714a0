"""The smallest parameters that would have found a row: found by searching, so that no cause is a guess.

A search missed a row. Raise all its parameters to where they leave nothing out. Then bring them down one after the
other, in the order in which a search makes use of them: halve the way between the top and where the search stood,
keeping one end that finds the row and one that does not, until the two are neighbours. A parameter that may stay where
it stood had no part in the miss; the first one that may not is the cause.
"""

from typing import Any

import numpy as np

from annlab.common.results import Neighbors
from annlab.explain.explanation import Cause, Missed
from annlab.explain.knobs import Knob, knobs_of
from annlab.index import Index

_CLOSE = 1e-6  # between two positions that are no whole numbers, relative to the larger


class Search:
    """A search that can be repeated with other parameters."""

    def __init__(self, index: Index, query: np.ndarray, k: int, chosen: dict[str, Any], params: dict[str, Any]) -> None:
        self.index, self.query, self.k, self.chosen, self.params = index, query, k, chosen, params
        self.knobs = knobs_of(index, k, params)

    def finds(self, id_: int, positions: dict[str, Any]) -> bool:
        """Whether the search with these parameters returns a row."""
        found = self.index.search(self.query, self.k, threads=1, **self.chosen, **(self.params | positions))
        return bool((found.ids == id_).any())

    def allowed_ids(self) -> np.ndarray:
        """Ids of the rows that the filter leaves."""
        if all(value is None for value in self.chosen.values()):
            return self.index.ids
        state = self.index._require_state()
        mask = self.index.filter(**self.chosen).mask(state)
        rows = state.live_rows
        return state.by_row.array[rows[mask[rows]]]

    def used(self) -> dict[str, Any]:
        """The search parameters in numbers."""
        return {knob.name: knob.value(knob.now) for knob in self.knobs}


def cause_of(search: Search, id_: int, distance: float, allowed: bool, there: bool, found: Neighbors) -> Missed:
    """Why a row was not returned."""
    if not there:
        return Missed(id_, distance, Cause.ABSENT, {}, {})
    if not allowed:
        return Missed(id_, distance, Cause.FILTERED, {}, {})
    for cause, needs, too_little in _ways(search, id_):
        return Missed(id_, distance, cause, needs, too_little)
    last = float(found.distances[-1])
    if distance == last:
        return Missed(id_, distance, Cause.TIE, {}, {})
    return Missed(id_, distance, Cause.UNREACHABLE if distance < last else Cause.FARTHER, {}, {})


def _ways(search: Search, id_: int) -> list[tuple[Cause, dict[str, Any], dict[str, Any]]]:
    """The way of finding a row by other parameters, if there is one."""
    knobs, needs, too_little = search.knobs, search.used(), {}
    if not knobs:
        return []
    if search.finds(id_, needs):  # "auto" also leaves out what lies beyond an estimate; numbers do not
        return [(knobs[-1].cause, needs, {name: search.params.get(name, "auto") for name in needs})]
    positions = needs | {knob.name: knob.value(knob.top) for knob in knobs}
    if not search.finds(id_, positions):
        return []
    causes = []
    for knob in knobs:
        low, high = _ends(search, id_, knob, positions)
        positions[knob.name] = high
        if low is not None:
            needs[knob.name], too_little[knob.name] = high, low
            causes.append(knob.cause)
    return [(causes[0], {name: needs[name] for name in too_little}, too_little)] if causes else []


def _ends(search: Search, id_: int, knob: Knob, positions: dict[str, Any]) -> tuple[Any | None, Any]:
    """The largest value that does not find, and the smallest that does, side by side, the others as they are.

    None, and where the search stood, if that is enough.
    """

    def finds(position: float) -> bool:
        return search.finds(id_, positions | {knob.name: knob.value(position)})

    low, high = knob.now, knob.top
    if finds(low):
        return None, knob.value(low)
    while high - low > (1 if knob.whole else _CLOSE * max(abs(high), 1.0)):
        middle = (low + high) // 2 if knob.whole else _between(low, high)
        low, high = (low, middle) if finds(middle) else (middle, high)
    return knob.value(low), knob.value(high)


def _between(low: float, high: float) -> float:
    """In the middle; of two positive numbers that are far apart, in the middle of their logarithms."""
    return float(np.sqrt(low * high)) if 0 < 4 * low < high else (low + high) / 2
