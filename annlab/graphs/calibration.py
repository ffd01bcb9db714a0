"""From a target recall to `reach`, measured on the data themselves.

How far beyond the k-th nearest a walk has to open nodes depends on the data, so it is measured: on rows that searches
may not find (`core/heldout.py`), and that their own walk must not even see, for the links of a row lead straight to its
neighbours. For k = 1, 10, 100 and 1,000 the smallest reach is taken whose recall, less what chance may have added, is
at least the target; a search for another k takes the larger of its neighbours' reaches. Never below 1: there a walk
ends before it has left the neighbourhood that it came to first, and what was measured on one kind of query says nothing
of another (recall of 0.95 became 0.32).

What a walk found out about near rows by their codes, vectors decide. Where a hundred times the target's candidates
would not be enough, codes cannot tell these vectors apart: a `RecallWarning` says so, and searches look at all rows.
Where a walk compares more than there is before it reaches the target, they do so too, and nothing more is tried. And
before all else some short walks are made: where a single coordinate of 1e6 made the codes of all others equal, or all
vectors are equally far from each other, a walk goes everywhere, and to measure that would take longer than the build.

The distances of the k-th neighbours are noted too: queries that find them much farther away come from elsewhere, and
nothing was promised for these (`graphs/guard.py`).
"""

import bisect
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Protocol, Self

import numpy as np

from annlab.core.calibration import Promise, first_reaching, from_array, nearest_to_ten, to_array, trials
from annlab.core.heldout import CONFIDENCE, HeldOut, lower_bound, warn_of_recall

REACHES = (1.0, *(1.0 + 0.001 * 1.12**i for i in range(74)))  # up to about 5
_FACTORS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0)  # of nodes whose vectors decide
_MOST_KEPT = 4096
_NEAR = 1.05  # reach: below, to keep more nodes would hardly shorten the walk
_MANY, _SHORT = 32, 1.2  # vectors that decide: with fewer for components, what no short walk reaches is not walked for
_HARDLY, _LEAST_SPREAD = 3.0, 0.1  # standard deviations beyond which hardly a query is; what may be chance
_LARGEST_LOG = 700.0
_PROBES, _FEW_OPENED = 32, 4096  # queries whose walks come first, and the nodes that one of these may open
_USELESS = 0.25  # share of them that open more: a walk is no use
_SOME, _WIDEST = 200, 8  # queries that a guess is made with; steps between two reaches that are tried
EVERYTHING = np.inf  # the reach of a search that looks at all rows


@dataclass(frozen=True)
class Calibration(Promise):
    """Search parameters and what they promise.

    Attributes
    ----------
    reach : float
        A walk opens nodes within this times the distance of the k-th nearest; infinite: all rows are scanned.
    rerank : float
        Nodes whose vectors decide, times k.
    visited : float
        Nodes that a query was compared with, on average.
    nearness, spread : float
        Mean and standard deviation of the logarithm of the k-th squared distance.
    """

    reach: float
    rerank: float
    visited: float = 0.0
    nearness: float = 0.0
    spread: float = 0.0


_STORED = ("reach", "rerank", "target", "recall", "bound", "n_queries", "k", "visited", "nearness", "spread")


@dataclass(frozen=True)
class Calibrations:
    """What was measured for several k, ascending."""

    each: tuple[Calibration, ...]

    @property
    def main(self) -> Calibration:
        """That of k = 10, or the nearest to it."""
        return nearest_to_ten(self.each)

    @cached_property
    def _ks(self) -> list[int]:
        return [one.k for one in self.each]

    @cached_property
    def _counts(self) -> list[float]:
        return [max(one.visited, 1.0) for one in self.each]

    def at(self, k: float) -> tuple[float, float]:
        """Reach and re-ranking factor for k neighbours: the larger ones of what was measured below and above."""
        above = bisect.bisect_left(self._ks, k)  # the first that is not below
        low = self.each[max(bisect.bisect_right(self._ks, k) - 1, 0)]
        high = self.each[min(above, len(self.each) - 1)]
        return max(low.reach, high.reach), max(low.rerank, high.rerank)

    def visited(self, k: float) -> float:
        """About how many nodes a query for k neighbours is compared with."""
        ks, counts = self._ks, self._counts
        if k >= ks[-1]:
            return counts[-1] * k / ks[-1]
        if k <= ks[0]:
            return counts[0]
        i = bisect.bisect(ks, k)
        return float(
            counts[i - 1] * (counts[i] / counts[i - 1]) ** (math.log(k / ks[i - 1]) / math.log(ks[i] / ks[i - 1]))
        )

    def nearest_to(self, k: int) -> Calibration:
        """That of the next larger k, or the last."""
        return next((one for one in self.each if one.k >= k), self.each[-1])

    def farthest(self, k: float) -> float:
        """The squared distance within which nearly all queries had k neighbours; infinite where nobody measured it."""
        level = next((one for one in self.each if one.k >= k), None)
        if level is None or not level.n_queries or level.reach == EVERYTHING:
            return float(np.inf)
        return math.exp(min(level.nearness + _HARDLY * max(level.spread, _LEAST_SPREAD), _LARGEST_LOG))

    def to_array(self) -> np.ndarray:
        """As an array to store, a row for each k."""
        return to_array(self.each, _STORED)

    @classmethod
    def from_array(cls, array: np.ndarray) -> Self:
        """From a stored array; raises a ValueError if it makes no sense."""
        rows = from_array(array, _STORED)
        if not np.isfinite(array[:, 1:]).all() or not (array[:, 0] >= 1).all():
            raise ValueError("calibration holds numbers that are not finite, or a reach below 1")
        for row in rows:
            if not (1 <= row["rerank"] <= 1e6 and 0 <= row["visited"] < 2**40):
                raise ValueError(f"calibration of re-ranking {row['rerank']}, {row['visited']} nodes visited")
        return cls(tuple(Calibration(**row) for row in rows))


class Found(NamedTuple):
    """What a trial search found: rows (q, k), nodes visited (q,), and the squared distances of the k-th (q,)."""

    rows: np.ndarray
    visited: np.ndarray
    nearness: np.ndarray


class Searched(Protocol):
    """What is measured: a `GraphStructure`."""

    vectors: np.ndarray

    @property
    def has_codes(self) -> bool:
        """Whether walks compare codes."""

    @property
    def least_factor(self) -> float:
        """At least how many nodes a walk has to keep, times k."""

    @property
    def vector_weight(self) -> float:
        """In the time for how many rows that a walk compares a vector is measured."""

    def tried(self, held_out: HeldOut, k: int, reach: float, factor: float, threads: int,
              most: int | None = None) -> Found:  # fmt: skip
        """Search for held-out queries, which do not see themselves; a scan answers where a walk opens too many."""


def unmeasured(target: float) -> Calibrations:
    """All rows are scanned."""
    return Calibrations((_everything(target, 10, 0),))


def _everything(target: float, k: int, n_queries: int, visited: float = 0.0) -> Calibration:
    return Calibration(EVERYTHING, 1.0, visited, target=target, recall=1.0, bound=1.0, n_queries=n_queries, k=k)


def measured(structure: Searched, held_out: HeldOut, target: float, threads: int,
             groups: np.ndarray | None = None) -> Calibrations:  # fmt: skip
    """Parameters with which searches reach the target on held-out queries, on every one of their groups (q,)."""
    probes = structure.tried(held_out.first(_PROBES), 1, REACHES[0], structure.least_factor, threads, _FEW_OPENED)
    went_everywhere = float(np.isinf(probes.nearness).mean())
    if went_everywhere > _USELESS:
        warn_of_recall(
            f"a walk cannot tell these vectors apart: for {went_everywhere:.0%} of the queries it goes nearly "
            f"everywhere; so searches will compare all vectors, which is slow. {_advice(structure)}"
        )
        visited = max(float(probes.visited.mean()), len(structure.vectors) + 1.0)
        return Calibrations((_everything(target, 10, len(held_out.queries), visited),))
    each = [
        _measured_for(k, structure, some, target, threads, own)
        for k, some, own in trials(held_out, len(structure.vectors), threads, groups)
    ]
    return Calibrations(tuple(each))


def _measured_for(k: int, structure: Searched, held_out: HeldOut, target: float, threads: int,
                  groups: np.ndarray | None) -> Calibration:  # fmt: skip
    q, n = len(held_out.queries), len(structure.vectors)
    best, cheapest, least_work, scanned = -1.0, None, np.inf, 0.0
    least, place = structure.least_factor, _guess(k, structure, held_out, target, threads)
    for factor in (least, *(more for more in _FACTORS if more > least)):
        if factor > least and factor * k > min(_MOST_KEPT, n // 4):
            break
        tries: dict[int, tuple[np.ndarray, Found]] = {}

        def bound_at(i: int, factor: float = factor, tries: dict[int, tuple[np.ndarray, Found]] = tries) -> float:
            found = structure.tried(held_out, k, REACHES[i], factor, threads)
            tries[i] = held_out.recall(found.rows, k), found
            if found.visited.mean() > n:  # a scan costs less, and misses nothing; larger reaches need not be tried
                return np.inf
            return lower_bound(tries[i][0], groups)

        n_steps = len(REACHES)
        if least > 1.0 and factor * k < _MANY:
            n_steps = bisect.bisect(REACHES, _SHORT)
            if bound_at(n_steps - 1) < target:
                continue
        place, reached = first_reaching(bound_at, n_steps, target, min(place, n_steps - 1), _WIDEST)
        recalls, found = tries[place]
        visited = float(found.visited.mean())
        if visited > n:
            scanned = visited
            if least == 1.0 or cheapest is not None:
                break
            continue
        work = visited + factor * k * structure.vector_weight
        if cheapest is not None and not (reached and work < least_work):
            break
        if reached:
            nearness, spread = _nearness(found)
            cheapest, least_work = Calibration(REACHES[place], factor, visited, nearness, spread, target=target,
                                               recall=float(recalls.mean()), bound=lower_bound(recalls, groups),
                                               n_queries=q, k=k), work  # fmt: skip
            if least == 1.0 or REACHES[place] < _NEAR:  # codes that keep the order, or a walk that is short anyway
                break
        best = max(best, lower_bound(recalls, groups))
    if cheapest is not None:
        return cheapest
    if scanned:
        return _everything(target, k, q, scanned)
    warn_of_recall(
        f"a walk cannot tell these vectors apart: for k = {k}, recall is {best:.3f} (with 95 % confidence), not "
        f"{target:g}; so searches will compare all vectors, which is slow. {_advice(structure)}, or a lower "
        "target_recall"
    )
    return _everything(target, k, q)


def _guess(k: int, structure: Searched, held_out: HeldOut, target: float, threads: int) -> int:
    """Which reach will be enough for all queries, to judge by some of them: with all, far walks take long to try."""
    q = len(held_out.queries)
    if q < 2 * _SOME or structure.least_factor > 1.0:  # with so few vectors that decide, no reach may be enough
        return 0
    some = held_out.first(_SOME)

    def bound_at(i: int) -> float:
        found = structure.tried(some, k, REACHES[i], 1.0, threads)
        if found.visited.mean() > len(structure.vectors):
            return np.inf
        recalls = some.recall(found.rows, k)
        return float(recalls.mean() - CONFIDENCE * recalls.std() / math.sqrt(q))

    return first_reaching(bound_at, len(REACHES), target, 0, _WIDEST)[0]


def checked(structure: Searched, known: Calibrations, held_out: HeldOut, threads: int,
            groups: np.ndarray) -> Calibrations | None:  # fmt: skip
    """What is known, if searches for about ten neighbours still reach the target on every group (q,) of the queries.

    None where they do not, or where neighbours are not as far away as they were: then all is to be measured again.
    """
    main = known.main
    if main.reach == EVERYTHING or not main.n_queries:
        return None
    found = structure.tried(held_out, main.k, main.reach, main.rerank, threads)
    recalls, (nearness, _) = held_out.recall(found.rows, main.k), _nearness(found)
    missed = min(recalls[groups == group].mean() for group in np.unique(groups)) < main.target
    elsewhere = abs(nearness - main.nearness) > max(main.spread, _LEAST_SPREAD)
    if missed or elsewhere or found.visited.mean() > len(structure.vectors):
        return None
    now = replace(main, recall=float(recalls.mean()), bound=lower_bound(recalls, groups), n_queries=len(recalls),
                  visited=float(found.visited.mean()))  # fmt: skip
    return Calibrations(tuple(now if one is main else one for one in known.each))


def _nearness(found: Found) -> tuple[float, float]:
    """Mean and standard deviation of the logarithm of the k-th squared distances."""
    logs = np.log(np.maximum(found.nearness[np.isfinite(found.nearness)], 1e-30))
    return (float(logs.mean()), float(logs.std())) if len(logs) else (0.0, 0.0)


def _advice(structure: Searched) -> str:
    """What to do where a walk is no use."""
    if structure.has_codes:
        return 'Look for vectors with coordinates far larger than all others; take storage="flat", or ExactIndex'
    return "Take ExactIndex"
