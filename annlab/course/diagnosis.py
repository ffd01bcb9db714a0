"""Which mistake was made: an answer of a search beside the right one, and beside those that known mistakes give.

`expect_searches` is what the hidden tests use for everything that returns the nearest rows. It is given several calls,
for one answer can look like several mistakes: a mistake is told if it explains all of them. Then follow questions about
one wrong answer; the first that fits is told, so the special come before the general.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from annlab.course.answers import array, expect
from annlab.course.registry import Mistake
from annlab.textbook import nearest

Found = tuple[np.ndarray, np.ndarray]


def l1(data: np.ndarray, query: np.ndarray) -> np.ndarray:
    """(n,): sums of absolute differences."""
    return np.asarray(abs(data.astype(float) - query.astype(float)).sum(axis=1))


def l2(data: np.ndarray, query: np.ndarray) -> np.ndarray:
    """(n,): Euclidean distances."""
    return np.asarray(np.sqrt(((data.astype(float) - query.astype(float)) ** 2).sum(axis=1)))


def _largest(data: np.ndarray, query: np.ndarray) -> np.ndarray:
    return np.asarray(abs(data.astype(float) - query.astype(float)).max(axis=1))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "the Euclidean distance": l2,
    "the L1 distance": l1,
    "the largest difference": _largest,
}


@dataclass(frozen=True)
class Case:
    """One call of a search, and what is known of it.

    Attributes
    ----------
    answer : object
        What the student's function returned; `(distances, rows)` of the k nearest rows is right, by distance and among
        equals by row.
    data : array of shape (n, d)
    query : array of shape (d,)
    k : int
    metric : str
        One of `METRICS`.
    own : int, optional
        The query's own row, which is not to be found.
    among : int array, optional
        The rows that the search may compare with; otherwise all.
    also : sequence of (rows, message)
        Candidates that a mistake of this very search would take in place of `among`, and what is said then. All
        cases of a test have the same messages, in the same order.
    unranked : sequence of int arrays
        Candidates as they come, before they are ranked by their distances.
    """

    answer: Any
    data: np.ndarray
    query: np.ndarray
    k: int
    metric: str = "the Euclidean distance"
    own: int | None = None
    among: np.ndarray | None = None
    also: Sequence[tuple[np.ndarray, str]] = ()
    unranked: Sequence[np.ndarray] = ()

    @property
    def every(self) -> np.ndarray:
        """(n,): all distances."""
        return METRICS[self.metric](self.data, self.query)

    @property
    def others(self) -> np.ndarray:
        """The rows that may be found."""
        return self._without_own(np.arange(len(self.data)) if self.among is None else np.unique(self.among))

    def nearest_of(self, rows: np.ndarray) -> Found:
        """What the search would return of these candidates."""
        rows = self._without_own(rows)
        return nearest(self.every[rows], rows, self.k)

    def gives(self, found: Found) -> bool:
        """Whether this is the student's answer."""
        distances, rows = _pair(self.answer)
        return _same(rows, found[1]) and _close(distances, found[0])

    def _without_own(self, rows: np.ndarray) -> np.ndarray:
        return rows[rows != self.own] if self.own is not None else rows


def expect_searches(cases: Sequence[Case]) -> None:
    """Expect all answers to be right; else name the mistake that explains all of them, or what is wrong with one."""
    wrong = [case for case in cases if not case.gives(case.nearest_of(case.others))]
    if not wrong:
        return
    for number, (_, message) in enumerate(cases[0].also):
        explained = all(case.gives(case.nearest_of(case.also[number][0])) for case in cases)
        expect(not explained, message)
    _diagnose(wrong[0])


def _diagnose(case: Case) -> None:
    """The mistake of a wrong answer."""
    distances, rows = _pair(case.answer)
    n, k, own, every, others = len(case.data), case.k, case.own, case.every, case.others
    right = case.nearest_of(others)
    expect(rows.dtype.kind in "iu", f"Rows are whole numbers, and these are {rows.dtype}.")
    outside = rows[(rows < 0) | (rows >= n)]
    expect(not len(outside), f"Rows are numbered 0 to {n - 1}; row {outside[0] if len(outside) else ''} was returned.")
    expect(
        len(np.unique(rows)) == len(rows), "A row was returned twice: one that is in several buckets is compared once."
    )
    if own is not None:
        expect(own not in rows, f"The query found itself: it is row {own}, at distance 0. Leave its own row out.")
    for raw in case.unranked:
        first = set(raw[raw != own].tolist()[:k] if own is not None else raw.tolist()[:k])
        expect(set(rows.tolist()) != first or first == set(right[1].tolist()), "The candidates were not re-ranked: "
               "compute their distances, and return the nearest of them.")  # fmt: skip
    _expect_order(distances, rows, right)
    _expect_length(rows, len(right[1]), k)
    expect(_close(distances, np.sort(distances)), "The answer is not sorted: the nearest comes first.")
    _expect_metric(distances, rows, every, case.metric, case.data, case.query)
    _expect_all_rows(rows, others, every, k, n)
    foreign = np.setdiff1d(rows, others)
    expect(not len(foreign), f"Row {foreign[0] if len(foreign) else ''} was compared, and is none of the candidates.")
    missing, worst = np.setdiff1d(right[1], rows), rows[-1]
    raise Mistake(f"Row {missing[0]} at {every[missing[0]]:.4g} is missing, and row {worst} at {every[worst]:.4g} was "
                  "returned.")  # fmt: skip


def _pair(answer: Any) -> Found:
    """Two arrays of one length, the floats first."""
    expect(isinstance(answer, tuple) and len(answer) == 2, "Return a pair: (distances, rows).")
    distances, rows = array(answer[0], (None,)), array(answer[1], (None,))
    swapped = distances.dtype.kind in "iu" and rows.dtype.kind == "f" and len(rows)
    expect(not swapped, "The pair is the wrong way round: distances come first, then rows.")
    expect(len(distances) == len(rows), f"There are {len(distances)} distances and {len(rows)} rows.")
    return distances, rows


def _expect_order(distances: np.ndarray, rows: np.ndarray, right: Found) -> None:
    """Equal distances, and other rows: ties. Equal rows, and other distances: squared, or reversed."""
    if len(rows) == len(right[1]) > 0 and _close(distances, right[0]):
        at = int(np.flatnonzero(rows != right[1])[0])
        raise Mistake(f"A tie by accident: rows {right[1][at]} and {rows[at]} are equally far, and the smaller comes "
                      "first. Sort by distance, then by row (np.lexsort, or a stable sort), and take distances from "
                      "differences: in |a|^2 - 2ab + |b|^2 rounding decides.")  # fmt: skip
    if _same(rows, right[1]):
        expect(
            not _close(distances, right[0] ** 2), "The rows are right, but the distances are squared: take the root."
        )
    expect(not (len(rows) > 1 and _same(rows[::-1], right[1])), "The order is reversed: the nearest comes first.")


def _expect_length(rows: np.ndarray, wanted: int, k: int) -> None:
    if len(rows) == wanted:
        return
    if wanted < k:
        raise Mistake(
            f"There are only {wanted} candidates for k = {k}, so {wanted} rows are to be returned, not {len(rows)}."
        )
    raise Mistake(f"{k} rows are asked for, and {len(rows)} were returned.")


def _expect_metric(distances: np.ndarray, rows: np.ndarray, every: np.ndarray, metric: str, data: np.ndarray,
                   query: np.ndarray) -> None:  # fmt: skip
    """Each row's distance must be its own."""
    if not len(rows) or _close(distances, every[rows]):
        return
    expect(not _close(distances, every[rows] ** 2), "The distances are squared: take the root.")
    for name, function in METRICS.items():
        expect(name == metric or not _close(distances, function(data[rows], query)), f"These are {name}; {metric} is "
               "asked for.")  # fmt: skip
    if data.dtype == np.uint8:
        wrapped = (data[rows] - query.astype(np.uint8)).astype(float)
        bent = (wrapped.sum(axis=1), np.sqrt((wrapped**2).sum(axis=1)))
        expect(not any(_close(distances, one) for one in bent), "Bytes were subtracted as bytes, and 3 - 5 is 254 for "
               "them: turn them into larger numbers first (astype(int)).")  # fmt: skip
    raise Mistake(
        f"Row {rows[0]} was returned with the distance {distances[0]:.4g}, and it is {every[rows[0]]:.4g} away."
    )


def _expect_all_rows(rows: np.ndarray, others: np.ndarray, every: np.ndarray, k: int, n: int) -> None:
    """The answers without the last row, without the first, and of the farthest."""
    for left_out, which in ((n - 1, "last"), (0, "first")):
        if left_out in others:
            rest = others[others != left_out]
            expect(not _same(rows, nearest(every[rest], rest, k)[1]), f"The {which} row, {left_out}, is never found: "
                   "does a range end too early, or begin too late?")  # fmt: skip
    farthest = nearest(-every[others], others, k)[1]
    expect(not _same(np.sort(rows), np.sort(farthest)), "These are the farthest rows, not the nearest.")


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool((one == other).all())


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-6, atol=2e-6))
