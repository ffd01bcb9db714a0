"""From a target recall to search parameters: what approximate indexes that measure themselves have in common.

How far a search has to look depends on the data, and hardly on anything one could guess. So it is measured, on rows
that searches may not find (`core/heldout.py`): for some numbers k of neighbours the least effort is taken whose recall,
less what chance may have added, is at least the target. What effort is, and how it is tried, is the family's own:
`inverted/calibration.py` counts lists to probe, `graphs/calibration.py` says how far to walk.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from annlab.core.heldout import HeldOut

KS = (1, 10, 100, 1000)
"""Numbers of neighbours that recall is measured on."""

LEAST_ROWS = 16
"""For each of k neighbours, to measure what these need."""

_QUERIES = {1: 1000, 10: 1000, 100: 300, 1000: 100}  # of many neighbours a query tells more


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What searches for k neighbours were measured to find.

    Attributes
    ----------
    target : float
        The recall that was aimed at.
    recall : float
        Mean recall@k of the queries that were measured.
    bound : float
        Its lower confidence bound (95 %).
    n_queries : int
        0 where nothing was measured, because all rows are compared.
    k : int
        Neighbours that were asked for.
    n_changed : int
        How old this is: rows that were added or removed since. The index measures anew as it grows.
    """

    target: float
    recall: float
    bound: float
    n_queries: int
    k: int = 10
    n_changed: int = 0


Measured = TypeVar("Measured", bound=Promise)


def nearest_to_ten(each: Sequence[Measured]) -> Measured:
    """What was measured for k = 10, or for the nearest to it."""
    return min(each, key=lambda one: abs(one.k - 10))


def trials(held_out: HeldOut, n: int, threads: int,
           groups: np.ndarray | None) -> Iterator[tuple[int, HeldOut, np.ndarray | None]]:  # fmt: skip
    """Every k that n rows are enough for, the held-out queries to try it on, and their groups (q,).

    Neighbours beyond those that the held-out queries came with are found now, by an exact scan.
    """
    for k in KS:
        if k > 1 and n < LEAST_ROWS * k:
            return
        some = held_out.first(_QUERIES[k], k)
        if k > held_out.rows.shape[1]:
            more = HeldOut.of_queries(some.vectors, some.metric, some.queries, k, threads=threads, alive=some.alive)
            some = replace(more, chosen=some.chosen)
        yield k, some, None if groups is None else groups[: _QUERIES[k]]


def first_reaching(measure: Callable[[int], float], n: int, target: float, guess: int = 0,
                   widest: int | None = None) -> tuple[int, bool]:  # fmt: skip
    """The smallest of n steps that reaches the target, and whether one does; that step has been measured.

    Steps are tried from a guess on, 1, 2, 4, ... further, never more than `widest`, and then between, none of them
    twice. Without a guess small ones come first: they are likelier, and cheaper.
    """
    low, high, stride = 0, guess, 1  # all steps below low are too small
    if measure(high) < target:
        while high < n - 1:
            low, high = high + 1, min(high + stride, n - 1)
            if measure(high) >= target:
                break
            stride = min(2 * stride, widest or n)
        else:
            return high, False
    else:
        while high > 0:
            below = max(high - stride, 0)
            if measure(below) < target:
                low = below + 1
                break
            high, stride = below, min(2 * stride, widest or n)
    while low < high:
        middle = (low + high) // 2
        if measure(middle) >= target:
            high = middle
        else:
            low = middle + 1
    return high, True


def to_array(each: Sequence[Promise], names: Sequence[str]) -> np.ndarray:
    """What was measured, as an array to store: a row for each k, and a column for each of the names."""
    return np.array([[vars(one)[name] for name in names] for one in each], np.float64)


def from_array(array: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """The numbers of a stored array by name; raises a ValueError if it has another form, or ks that do not rise."""
    if array.ndim != 2 or not 1 <= len(array) <= len(KS) or array.shape[1] != len(names) or array.dtype != np.float64:
        raise ValueError(f"calibration {array.dtype} {array.shape} is not rows of {len(names)} numbers")
    rows = [dict(zip(names, row)) for row in array.tolist()]
    for row in rows:
        if not (0 <= row["n_queries"] < 2**31 and 1 <= row["k"] < 2**31):
            raise ValueError(f"calibration for k = {row['k']}, measured by {row['n_queries']} queries")
        row["n_queries"], row["k"] = int(row["n_queries"]), int(row["k"])
    ks = [row["k"] for row in rows]
    if any(low >= high for low, high in pairwise(ks)):
        raise ValueError(f"calibration for k = {ks}, which do not rise")
    return rows
