"""From a target recall to search parameters, measured on the data themselves.

How many lists must be probed depends on the data, hardly on anything one could guess: on how many dimensions they
really have. So it is measured, on rows that no centroid has seen and that searches may not find (`core/heldout.py`).

1. *Probes.* For each true neighbour it is noted how many lists are nearer to the query than the one that it lies in.
   The share of neighbours with a rank below p is the recall that p probes can reach, for all p at once, without a
   single search. The smallest p is taken whose recall, less what chance may have added, is at least the target.
2. *Candidates.* Codes, and float32 sums, cannot tell near rows apart, so more candidates than k are re-ranked by the
   vectors. How many is found by running the search itself with more and more of them, until its recall reaches the
   target: so what is promised is what users get. Where a quarter of all rows would not do, every list is probed, which
   is an exact scan, and a `RecallWarning` says so.
3. *Far.* A filter may forbid the lists that a query would look into. What is left is far away, where one list looks as
   near as the other: so for the nearest rows outside of a neighbourhood that is left out it is measured too how many
   lists have to be seen (`filtered.py` says what for).

The 100 nearest lie in more lists than the 10 nearest, and a single one needs more candidates for each neighbour that is
asked for; so probes and candidates are measured for k = 1, 10, 100 and 1,000, and a search for another k takes what
lies between on logarithmic scales. Beyond, probes grow as k does: a ball of twice the rows meets at most twice the
lists.
"""

from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np

from annlab.common.memory import rows_at_once
from annlab.core.calibration import LEAST_ROWS, Promise, first_reaching, from_array, nearest_to_ten, to_array, trials
from annlab.core.heldout import HeldOut, lower_bound, warn_of_recall
from annlab.inverted.storage import Storage
from annlab.kernels.distance import INNER_PRODUCT
from annlab.scan.centroids import half_squared_norms

_FACTORS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 100.0)  # of re-ranking
_REMEDIES = {
    "flat": "Take ExactIndex",
    "sq8": 'Take storage="flat", which scans the vectors themselves',
    "pq4": 'Take storage="sq8", whose codes are finer, or "flat", which scans the vectors themselves',
}
_SCARCE = 4  # where k is more than one row in so many, searches are exact
_ENTRIES_AT_ONCE, _FEW_QUERIES = 2**20, 16  # candidates, for as many queries as have no more, but at least so many
_FAR_QUERIES = 64
_FAR_ROWS = 16_384  # a sample that stands for all rows where these are more


@dataclass(frozen=True)
class Calibration(Promise):
    """Search parameters and what they promise.

    Attributes
    ----------
    n_probes : int
    rerank : float
        Candidates to re-rank, times k.
    """

    n_probes: int
    rerank: float


_STORED = ("n_probes", "rerank", "target", "recall", "bound", "n_queries", "k")


@dataclass(frozen=True)
class Calibrations:
    """What was measured for several k, ascending, and how many lists' worth of rows to see far away from a query."""

    each: tuple[Calibration, ...]
    far: float

    @property
    def main(self) -> Calibration:
        """That of k = 10, or the nearest to it."""
        return nearest_to_ten(self.each)

    def at(self, k: float, n_lists: int) -> tuple[int, float]:
        """Probes and re-ranking factor for k neighbours."""
        if k <= self.each[0].k:
            return self.each[0].n_probes, self.each[0].rerank
        last = self.each[-1]
        if k > last.k:
            return int(min(np.ceil(last.n_probes * k / last.k), n_lists)), last.rerank
        right = next(i for i, one in enumerate(self.each) if one.k >= k)
        low, high = self.each[right - 1], self.each[right]
        if k == high.k:  # so that one query does not wait for what follows
            return high.n_probes, high.rerank
        share = np.log(k / low.k) / np.log(high.k / low.k)
        n_probes = low.n_probes * (high.n_probes / low.n_probes) ** share
        rerank = low.rerank * (high.rerank / low.rerank) ** share
        return int(np.clip(np.ceil(n_probes - 1e-9), 1, n_lists)), float(rerank)

    def to_array(self) -> np.ndarray:
        """As an array to store, a row for each k."""
        return to_array(self.each, _STORED)

    @classmethod
    def from_array(cls, array: np.ndarray, n_lists: int, far: float) -> Self:
        """From a stored array; raises a ValueError if it makes no sense."""
        rows = from_array(array, _STORED)
        if not np.isfinite(array).all():
            raise ValueError("calibration holds numbers that are not finite")
        for row in rows:
            if not (1 <= row["n_probes"] <= n_lists and 1 <= row["rerank"] <= 1e6):
                raise ValueError(
                    f"calibration of {row['n_probes']} probes of {n_lists} lists, {row['rerank']} re-ranked"
                )
        return cls(tuple(Calibration(**row | {"n_probes": int(row["n_probes"])}) for row in rows), far)


class Searched(Protocol):
    """What is measured: an `IVFStructure`."""

    vectors: np.ndarray
    offsets: np.ndarray
    lists: Storage

    @property
    def n_lists(self) -> int: ...

    @property
    def storage(self) -> str: ...

    def probes(self, y: np.ndarray, n_probes: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest lists (q, n_probes) of converted queries, nearest first, and their surrogates."""

    def candidates(self, queries: np.ndarray, n_probes: int, keep: int, alive: np.ndarray | None,
                   threads: int) -> np.ndarray:  # fmt: skip
        """The `keep` best rows (q, keep) of the nearest lists, -1 padded."""


def scarce(k: int, n: int) -> bool:
    """Whether k is so large a share of n rows that an exact scan is no more work than probing."""
    return _SCARCE * k > n


def choose_probes(ranks: np.ndarray, target: float, n_lists: int,
                  groups: np.ndarray | None = None) -> tuple[int, np.ndarray]:  # fmt: skip
    """The fewest probes whose recall is at least the target, and each query's recall with them.

    ranks (q, k): how many lists are nearer than the one with the query's j-th neighbour; -1 where there is none.
    """
    counted = np.maximum((ranks >= 0).sum(axis=1), 1)
    low, high = 1, n_lists
    while low < high:
        middle = (low + high) // 2
        if lower_bound(((ranks >= 0) & (ranks < middle)).sum(axis=1) / counted, groups) >= target:
            high = middle
        else:
            low = middle + 1
    return low, ((ranks >= 0) & (ranks < low)).sum(axis=1) / counted


def measured(structure: Searched, held_out: HeldOut, target: float, threads: int,
             groups: np.ndarray | None = None) -> Calibrations:  # fmt: skip
    """Parameters with which searches reach the target on held-out queries, on every one of their groups (q,)."""
    n, n_lists, conversion = len(structure.vectors), structure.n_lists, structure.lists.conversion
    y, each = conversion.queries(held_out.queries), []
    ranks = ranks_of_lists(structure, y, held_out.rows)
    for k, some, own in trials(held_out, n, threads, groups):
        q = len(some.queries)
        if k > ranks.shape[1]:
            ranks = ranks_of_lists(structure, y[:q], some.rows)
        each.append(_measured_for(k, structure, some, ranks[:q, :k], target, threads, own))
    result = Calibrations(tuple(each), n_lists)
    n_probes = result.main.n_probes
    return replace(result, far=_far(structure, y[:_FAR_QUERIES], n_probes, target)) if n_probes < n_lists else result


def _measured_for(k: int, structure: Searched, held_out: HeldOut, ranks: np.ndarray, target: float, threads: int,
                  groups: np.ndarray | None) -> Calibration:  # fmt: skip
    """Parameters for k neighbours of the held-out queries; ranks (q, k) as in `choose_probes`."""
    q, n_lists = len(ranks), structure.n_lists
    shortlist, possible = structure.lists.shortlist, _factors(k, len(structure.vectors))
    factors = sorted({shortlist(k, factor): factor for factor in reversed(possible)}.values())
    wanted = 1 - (1 - target) * (1 - structure.lists.loss)  # probes lose a part of what may be lost, codes the other
    best = -1.0
    for aim in (wanted, (1 + wanted) / 2):  # where codes lose more than that, probes have to lose less
        n_probes, _ = choose_probes(ranks, aim, n_lists, groups)
        if n_probes == n_lists:
            break

        recalls: dict[int, np.ndarray] = {}

        def bound_at(i: int, n_probes: int = n_probes, recalls: dict[int, np.ndarray] = recalls) -> float:
            recalls[i] = recalls_of(structure, held_out, k, n_probes, shortlist(k, factors[i]), threads)
            return lower_bound(recalls[i], groups)

        place, reached = first_reaching(bound_at, len(factors), target)
        bound = lower_bound(recalls[place], groups)
        if reached:
            return Calibration(n_probes, factors[place], target=target, recall=float(recalls[place].mean()),
                               bound=bound, n_queries=q, k=k)  # fmt: skip
        best = max(best, bound)
    if best >= 0 and possible[-1] >= LEAST_ROWS:  # fewer candidates are no trial
        warn_of_recall(
            f"storage={structure.storage!r} cannot tell these vectors apart: for k = {k}, recall is {best:.3f} (with "
            f"95 % confidence), not {target:g}, when {shortlist(k, factors[-1])} candidates are compared by their "
            f"vectors; so searches will compare all vectors, which is slow. {_REMEDIES[structure.storage]}, or lower "
            "target_recall"
        )
    return everything(n_lists, target, k, q)


def recalls_of(structure: Searched, held_out: HeldOut, k: int, n_probes: int, keep: int, threads: int) -> np.ndarray:
    """What searches find for each of the held-out queries; so many at once that building keeps its limit of memory.

    `keep` is what searches among all rows keep. Here the held-out ones leave their places to others, so fewer are kept:
    where twenty rows look alike to the codes and two are hidden, fifteen of eighteen would promise more than there is.
    """
    if held_out.alive is not None:
        keep = max(k, int(keep * np.bitwise_count(held_out.alive).sum() / len(structure.vectors)))
    at_once, parts = max(_FEW_QUERIES, _ENTRIES_AT_ONCE // keep), []
    for start in range(0, len(held_out.queries), at_once):
        part = held_out.part(slice(start, start + at_once))
        parts.append(part.recall(structure.candidates(part.queries, n_probes, keep, held_out.alive, threads), k))
    return np.concatenate(parts)


def everything(n_lists: int, target: float, k: int = 10, n_queries: int = 0) -> Calibration:
    """The calibration of searches that probe every list, and so miss nothing."""
    return Calibration(n_lists, 1.0, target=target, recall=1.0, bound=1.0, n_queries=n_queries, k=k)


def _factors(k: int, n: int) -> list[float]:
    """Factors of re-ranking to try: up to a quarter of all rows."""
    factors = list(_FACTORS)
    while factors[-1] < 1e6:
        factors.append(2 * factors[-1])
    return [factor for factor in factors if factor == 1.0 or _SCARCE * factor * k <= n]


def ranks_of_lists(structure: Searched, y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How many lists are nearer to a converted query than the one with its j-th row (q, k); -1 for none."""
    at_once = rows_at_once(structure.n_lists)
    ranks = np.empty(rows.shape, np.int64)
    for start in range(0, len(y), at_once):
        some = rows[start : start + at_once]
        places = _places(structure, y[start : start + at_once])
        lists = np.searchsorted(structure.offsets, np.maximum(some, 0), side="right") - 1
        ranks[start : start + at_once] = np.where(some >= 0, np.take_along_axis(places, lists, axis=1), -1)
    return ranks


def _places(structure: Searched, y: np.ndarray) -> np.ndarray:
    """Which place every list has in the order of its nearness to converted queries: (q, n_lists)."""
    probes, _ = structure.probes(y, structure.n_lists)
    places = np.empty_like(probes)
    np.put_along_axis(places, probes, np.arange(structure.n_lists)[None, :], axis=1)
    return places


def _far(structure: Searched, y: np.ndarray, n_probes: int, target: float) -> float:
    """How many lists hold the nearest rows of converted queries beyond neighbourhoods that are left out.

    These are the lists that are probed, an eighth, and half of all: what is needed for the worst of them.
    """
    n, n_lists, conversion = len(structure.vectors), structure.n_lists, structure.lists.conversion
    rows = np.arange(0, n, -(-n // _FAR_ROWS))
    points = conversion.points(structure.vectors[rows])
    surrogates = -(y @ points.T)
    if conversion.metric.code != INNER_PRODUCT:
        surrogates += half_squared_norms(points).astype(np.float32)
    places = _places(structure, y)[:, np.searchsorted(structure.offsets, rows, side="right") - 1]
    far = 1
    for left_out in {n_probes, n_lists // 8, n_lists // 2}:
        beyond = np.where(places >= left_out, surrogates, np.inf)
        k = min(10, len(rows) - 1)
        nearest = np.argpartition(beyond, k, axis=1)[:, :k]
        found = np.take_along_axis(places, nearest, axis=1) - left_out
        far = max(far, choose_probes(np.maximum(found, -1), target, n_lists)[0])
    return float(min(far, n_lists))
