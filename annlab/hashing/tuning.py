"""Parameters of LSH from a target recall, by measuring on held-out rows.

Theory (`annlab/hashing/theory.py`) says how often two vectors at a known angle collide; it does not know at which
angles the neighbours of your data lie, nor how many others lie almost as near. So both are measured: some rows of the
data are taken as queries, their true neighbours are found by an exact scan, and the index's own search ranks the rows.
From the ranks of the true neighbours follows the recall for every number of candidates at once. The fewest are taken
whose recall, less a margin for chance, is at least the target.

*Every k.* The 100 nearest are farther away than the 10 nearest, and more of them have to be found; where clusters end,
what is needed jumps. So this is done for many k from 1 to 1000 (`Level`). Another k takes what the next larger one
needs; beyond the last one, candidates grow with k.

*How far.* What is far away is found less often than what is near. Each level also says up to which distance enough is
found (`reach`). Behind a filter the nearest rows may be farther: then the search takes a level that reaches so far, or
looks at everything.

*Everything.* Where a level would cost much more than an exact scan, the level is an exact scan.

*From a sample to all* (`pick_parameters`). Whether the keys of two vectors meet in the probed buckets depends on the
two alone, but the ten nearest of n rows are nearer than the ten nearest of a sample of m: about as near as the sample's
10 m / n nearest. So these are what has to be found in the sample, and as many candidates as were needed there times
n / m will be needed.
"""

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from itertools import pairwise
from typing import Self

import numpy as np

from annlab.core.heldout import HeldOut, lower_bound
from annlab.hashing import costs
from annlab.hashing.finders import Finder, Ranked
from annlab.scan.scanner import Scanner

EVERYTHING = 2**31 - 1
NOT_FOUND = 2**62  # the rank of a row that is no candidate
_GROUPS = {(1, 3, 10): 192, (18, 30, 55, 100): 96, (180, 300, 550, 1000): 48}
"""Numbers of neighbours that are measured with the same queries, and how many: fewer, the more neighbours each has."""
_LADDER = [int(16 * 2 ** (i / 2)) for i in range(2, 25)]  # 32, 45, 64, ... 65536
_MOST_PROBES = 256  # for each table
_NEARLY_ALL = 8192  # candidates: if as many are re-ranked, what is missed was not found
_TYPICAL = 0.95  # a level's reach is at most so that this share of the neighbours is within it
_LESS = 0.03  # than the target may be found of neighbours at the end of the reach: others are nearer
_LEAST_RERANK = 32
_WIDENS = 0.5  # how probes grow with k where it was not measured: with its square root


@dataclass(frozen=True)
class Aim:
    """What to reach: so much of the k nearest neighbours, for these k."""

    recall: float = 0.9
    ks: tuple[int, ...] = tuple(k for ks in _GROUPS for k in ks)


DEFAULT_AIM = Aim()


@dataclass(frozen=True)
class Level:
    """What k neighbours need, and what is found of them.

    Attributes
    ----------
    k : int
    n_probes : int
        Buckets to look into, 0 for a scan.
    rerank : int
        Candidates to score; EVERYTHING: all rows are scanned exactly.
    candidates : float
        Rows whose codes are compared.
    recall, bound : float
        The mean over the queries that were measured, and its lower confidence bound (95 %); NaN if none were.
    reach : float
        How far (`Encoder.farness`) neighbours may be, on average, so that about as many of them are found.
    n_queries : int
    """

    k: int
    n_probes: int
    rerank: int
    candidates: float
    recall: float
    bound: float
    reach: float
    n_queries: int


@dataclass(frozen=True)
class Tuning:
    """What was measured: levels of ascending k, the target, for how many rows, and up to which row it was checked."""

    levels: tuple[Level, ...]
    target: float
    n_rows: int
    n_checked: int

    @property
    def main(self) -> Level:
        """That of k = 10, or the nearest to it."""
        return min(self.levels, key=lambda level: abs(level.k - 10))

    def at(self, k: float) -> Level:
        """What k neighbours need: the level of the next larger k that was measured, or more than the last one's."""
        enough = next((level for level in self.levels if level.k >= k), None)
        if enough is not None:
            return enough
        last = self.levels[-1]
        factor = k / last.k
        wider = factor**_WIDENS
        return replace(last, k=int(k), n_probes=math.ceil(wider * last.n_probes), candidates=wider * last.candidates,
                       rerank=min(EVERYTHING, math.ceil(factor * last.rerank)))  # fmt: skip

    def arrays(self) -> dict[str, np.ndarray]:
        """What to store: a row for each level, and the other numbers."""
        levels = np.array([astuple(level) for level in self.levels], np.float64)
        return {"levels": levels, "tuned": np.array([self.target, self.n_rows, self.n_checked], np.float64)}

    @classmethod
    def from_arrays(cls, levels: np.ndarray, tuned: np.ndarray, most_probes: int, n: int) -> Self:
        """From stored arrays of a structure of n rows; a ValueError if they make no sense."""
        if levels.dtype != np.float64 or levels.ndim != 2 or levels.shape[1] != 8 or not 1 <= len(levels) <= 16:
            raise ValueError(f"levels of the tuning are {levels.dtype} {levels.shape}, not rows of eight numbers")
        if tuned.dtype != np.float64 or tuned.shape != (3,) or not (0 <= tuned[0] <= 1 <= tuned[1] <= tuned[2] <= n):
            raise ValueError(f"the tuning's numbers are {tuned.dtype} {tuned.tolist()} for {n} rows")
        made = []
        for k, n_probes, rerank, candidates, recall, bound, reach, n_queries in levels.tolist():
            whole = all(number == math.floor(number) for number in (k, n_probes, rerank, n_queries) if number < 2**31)
            probes = (1 if most_probes else 0) <= n_probes < 2**31
            if not (whole and 1 <= k < 2**31 and probes and 1 <= rerank <= EVERYTHING and 0 <= n_queries < 2**31):
                raise ValueError(f"a level of k={k} with {n_probes} probes, re-ranking {rerank}")
            if not (0 <= candidates < 2**31 and not reach < 0):
                raise ValueError(f"a level of k={k} with {candidates} candidates within {reach}")
            made.append(Level(int(k), int(n_probes), int(rerank), candidates, recall, bound, reach, int(n_queries)))
        if any(low.k >= high.k for low, high in pairwise(made)):
            raise ValueError(f"levels for k = {[level.k for level in made]}, which do not rise")
        return cls(tuple(made), float(tuned[0]), int(tuned[1]), int(tuned[2]))

    @classmethod
    def fixed(cls, n_probes: int, rerank: int, n: int) -> Self:
        """Of an index that was told what to do; nothing is measured."""
        level = Level(10, n_probes, rerank, 0.0, math.nan, math.nan, math.inf, 0)
        return cls((level,), 0.0, n, n)


class Tuner:
    """Measures what a finder over the vectors of a scanner needs.

    `n_probes` and `rerank` are those that the user asked for, or None.
    """

    def __init__(self, finder: Finder, scanner: Scanner, n_probes: int | None, rerank: int | None) -> None:
        self.finder, self.scanner, self.n_probes, self.rerank = finder, scanner, n_probes, rerank
        self.row_bytes = scanner.vectors.shape[1] * scanner.vectors.itemsize

    def tune(self, aim: Aim, rng: np.random.Generator, first_recent: int) -> Tuning:
        """What the aim needs, for all rows and for the rows from `first_recent` on: of both, whatever is more."""
        n, levels, smallest, last = len(self.scanner.vectors), list[Level](), 0, max(_GROUPS)
        samples = self._samples(rng, first_recent)
        for group, n_queries in _GROUPS.items():
            largest = max(group) if group != last else max(aim.ks)
            ks = [k for k in aim.ks if smallest < k <= largest and k <= max(1, n // 4)]
            smallest = largest
            if not ks or (levels and levels[-1].rerank == EVERYTHING):
                continue  # more neighbours need no less than all
            measured = Ranks(self, [self._with_neighbors(sample, n_queries, max(ks)) for sample in samples], aim.recall)
            for k in ks:
                levels.append(self._level(measured, k, aim.recall, levels[-1] if levels else None))
                if levels[-1].rerank == EVERYTHING:
                    break
        return Tuning(tuple(levels), aim.recall, n, n)

    def _samples(self, rng: np.random.Generator, first_recent: int) -> list[HeldOut]:
        """Rows to take as queries: of all, and of the recent ones where these are not all."""
        n, size = len(self.scanner.vectors), max(_GROUPS.values())
        if not 0 < first_recent < n:
            return [self._held_out(rng.permutation(n)[:size])]
        recent = first_recent + rng.permutation(n - first_recent)[: size // 2]
        return [self._held_out(rng.permutation(n)[: size // 2]), self._held_out(recent)]

    def _held_out(self, rows: np.ndarray) -> HeldOut:
        scanner = self.scanner
        k = min(10, len(scanner.vectors))
        return HeldOut.of_rows(scanner.vectors, scanner.metric, rows, k, scanner=scanner)

    def _with_neighbors(self, sample: HeldOut, n_queries: int, k: int) -> HeldOut:
        """The first of a sample's queries with k neighbours."""
        if k <= sample.rows.shape[1]:
            return sample.first(n_queries, k)
        return HeldOut.of_queries(sample.vectors, sample.metric, sample.queries[:n_queries], k, alive=sample.alive,
                                  scanner=self.scanner)  # fmt: skip

    def recall(self, level: Level, rows: np.ndarray) -> float:
        """What a level finds of the neighbours of some rows."""
        if level.rerank == EVERYTHING:
            return 1.0
        held_out = self._held_out(rows)
        found = self.finder.find(held_out.queries, level.n_probes, level.rerank, held_out.alive, 1)
        return float(held_out.recall(found.rows, level.k).mean())

    def _level(self, measured: "Ranks", k: int, target: float, before: Level | None) -> Level:
        least_probes, least_rerank = (before.n_probes, before.rerank) if before else (1, 1)
        n_probes = self.n_probes or 0
        if self.finder.most_probes and not n_probes:
            wanted = target + 0.2 * (1 - target)  # re-ranking, which is cheap, may lose the smaller part
            most = min(self.finder.most_probes, _MOST_PROBES * self.finder.n_tables)
            steps = np.array([step for step in _LADDER if least_probes <= step < most] + [most])
            n_probes = _climb(steps, lambda p: measured.bound(p, k, NOT_FOUND) >= wanted or self._too_dear(measured, p))
        part = measured.part  # of the rows are searched here: of all rows, more will come before a neighbour
        keep = max(1, int(part * self.rerank)) if self.rerank else 0
        if not keep:
            steps = np.maximum(measured.steps(n_probes, k), max(int(part * least_rerank), _LEAST_RERANK, k))
            keep = _first(steps, lambda step: measured.bound(n_probes, k, step) >= target)
        rerank = self.rerank or max(math.ceil(keep / part), least_rerank)
        recalls, bound = measured.recalls(n_probes, k, keep), measured.bound(n_probes, k, keep)
        reach = measured.reach(n_probes, k, keep, target - _LESS)
        level = Level(k, n_probes, rerank, measured.candidates(n_probes), float(recalls.mean()), bound, reach,
                      len(recalls))  # fmt: skip
        free = self.rerank is None and self.n_probes is None
        if free and (bound < target or self.nanoseconds(level) > self.worth()):
            return replace(level, rerank=EVERYTHING, recall=1.0, bound=1.0, reach=math.inf)
        return level

    def _too_dear(self, measured: "Ranks", n_probes: int) -> bool:
        """Whether looking into so many buckets costs more than an exact scan, which then takes over."""
        finding = self.finder.nanoseconds(n_probes, measured.candidates(n_probes))
        return self.rerank is None and finding > self.worth()

    def nanoseconds(self, level: Level) -> float:
        """What a search with a level's parameters costs."""
        if level.rerank == EVERYTHING:
            return costs.scanning(len(self.scanner.vectors) * self.row_bytes)
        rows = min(level.rerank, level.candidates or math.inf)
        return self.finder.nanoseconds(level.n_probes, level.candidates) + costs.scoring(rows, self.row_bytes)

    def worth(self) -> float:
        """What a search may cost before an exact scan is the better way."""
        return costs.worth(len(self.scanner.vectors) * self.row_bytes)


class Ranks:
    """At which place of its candidates, the best first, a finder has the true neighbours of held-out queries.

    For each number of probes that is asked for, they are found once. Several sets of queries are kept apart: what
    counts is the set of which least is found.
    """

    def __init__(self, tuner: Tuner, held_outs: list[HeldOut], target: float) -> None:
        self.tuner, self.held_outs, self.target = tuner, held_outs, target
        n = len(held_outs[0].vectors)
        self.part = min(1.0 if h.alive is None else int(np.bitwise_count(h.alive).sum()) / n for h in held_outs)
        self._known: dict[int, tuple[list[np.ndarray], float]] = {}

    def of(self, n_probes: int) -> list[np.ndarray]:
        """The ranks (q, k) of each set."""
        if n_probes not in self._known:
            found = [self._measured(held_out, n_probes) for held_out in self.held_outs]
            self._known[n_probes] = [ranks for ranks, _ in found], float(np.mean([seen for _, seen in found]))
        return self._known[n_probes][0]

    def candidates(self, n_probes: int) -> float:
        """How many candidates a query has on average."""
        self.of(n_probes)
        return self._known[n_probes][1]

    def _measured(self, held_out: HeldOut, n_probes: int) -> tuple[np.ndarray, float]:
        """Ranks among so many candidates that the target is reached, or that it is not worth it."""
        tuner, n = self.tuner, len(held_out.vectors)
        depth = max(_NEARLY_ALL, 8 * held_out.rows.shape[1])
        while True:
            depth = min(depth, n)
            ranked = tuner.finder.ranked(held_out.queries, n_probes, depth, held_out.alive)
            ranks = _ranks(held_out.rows, ranked)
            enough = lower_bound(_recalls(held_out, ranks, depth)) >= self.target
            too_dear = tuner.n_probes is None and costs.scoring(depth, tuner.row_bytes) > tuner.worth()
            if enough or depth == n or ranked.rows.shape[1] < depth or too_dear:
                return ranks, ranked.candidates
            depth *= 8

    def recalls(self, n_probes: int, k: int, keep: int) -> np.ndarray:
        """The share of each query's k neighbours that are among its first `keep` candidates."""
        pairs = zip(self.held_outs, self.of(n_probes), strict=True)
        return np.concatenate([_recalls(held_out.first(len(ranks), k), ranks, keep) for held_out, ranks in pairs])

    def bound(self, n_probes: int, k: int, keep: int) -> float:
        """The mean of these, less what chance may have added."""
        sets = np.repeat(np.arange(len(self.held_outs)), [len(held_out.queries) for held_out in self.held_outs])
        return lower_bound(self.recalls(n_probes, k, keep), sets)

    def steps(self, n_probes: int, k: int) -> np.ndarray:
        """Numbers of candidates at which recall rises."""
        ranks = np.concatenate([ranks[:, :k].ravel() for ranks in self.of(n_probes)])
        found = np.unique(ranks[ranks < NOT_FOUND]) + 1
        return found if len(found) else np.ones(1, np.int64)

    def reach(self, n_probes: int, k: int, keep: int, wanted: float) -> float:
        """How far neighbours may be, so that of those about as far away the share `wanted` is found.

        Of what is farther, less is found. So the sum of how much more than wanted is found, from the nearest neighbour
        to the farthest, rises up to there and falls from there on.
        """
        encoder, pairs = self.tuner.finder.encoder, []
        for held_out, ranks in zip(self.held_outs, self.of(n_probes), strict=True):
            rows, distances = held_out.rows[: len(ranks), :k], held_out.distances[: len(ranks), :k]
            far = encoder.farness(held_out.queries[: len(ranks)], distances.T).T
            pairs.append(np.stack([far[rows >= 0], ranks[:, :k][rows >= 0] < keep]))
        far, found = np.concatenate(pairs, axis=1)
        if not len(far):
            return math.inf
        order = np.argsort(far, kind="stable")
        last = int(np.argmax(np.cumsum(found[order] - wanted)))
        return float(min(far[order[last]], np.quantile(far, _TYPICAL)))


def _ranks(true: np.ndarray, ranked: Ranked) -> np.ndarray:
    """How many candidates come before each of the rows `true` (q, k), or NOT_FOUND."""
    result, ascending = np.full(true.shape, NOT_FOUND), np.sort(ranked.order, axis=1)
    by_row = ranked.rows << 32
    by_row += np.arange(by_row.shape[1])
    by_row.sort(axis=1)
    for i, wanted in enumerate(true):
        places = np.minimum(np.searchsorted(by_row[i], wanted << 32), by_row.shape[1] - 1)
        there = (by_row[i, places] >> 32 == wanted) & (wanted >= 0)
        places = by_row[i, places[there]] & (2**32 - 1)
        result[i, there] = np.searchsorted(ascending[i], ranked.order[i, places])
    return result


def _recalls(held_out: HeldOut, ranks: np.ndarray, keep: int) -> np.ndarray:
    """The share (q,) of every query's neighbours that have a rank below `keep`; a query without neighbours has all."""
    k = held_out.rows.shape[1]
    there = (held_out.rows >= 0).sum(axis=1)
    return np.where(there > 0, (ranks[:, :k] < keep).sum(axis=1) / np.maximum(there, 1), 1.0)


def _climb(steps: np.ndarray, reaches: Callable[[int], bool]) -> int:
    """The same where large steps are the dear ones: upwards by two, and back by one."""
    for i in range(0, len(steps), 2):
        if reaches(int(steps[i])):
            return int(steps[i - 1] if i and reaches(int(steps[i - 1])) else steps[i])
    return int(steps[-1])


def _first(steps: np.ndarray, reaches: Callable[[int], bool]) -> int:
    """The first of the ascending steps that is enough, or the last one, by bisection."""
    low, high = 0, len(steps) - 1
    while low < high:
        middle = (low + high) // 2
        if reaches(int(steps[middle])):
            high = middle
        else:
            low = middle + 1
    return int(steps[low])
