"""Held-out queries: rows that are searched for as if they were new, their true neighbours, and the recall of a search.

Approximate indexes choose their parameters by measuring. A measurement is worth what its queries are like: rows of the
data are, if the search may find neither them nor their duplicates, which lie in the same cell, in the same bucket,
under the same code, so that finding them is no achievement. So these rows are *masked*, by the very bits with which
filters mask rows, and what is measured is the search that users run, on the rows that are left:

    chosen rows --> queries                               search(queries, alive) --> candidates --+
       |                                                                                          +--> recall
       +--> duplicates --> alive, a bit for every row --> exact scan --> true neighbours ---------+

Recall is counted by distance, not by row: of several rows that are equally far, any will do.

What was measured on q queries may be luck. The mean less 1.645 standard errors is a lower bound that holds with 95 %
confidence, and it is this bound that has to reach a target.
"""

import warnings
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from annlab.common import rowsets
from annlab.common.memory import rows_at_once
from annlab.common.statistics import N_COUNTERS
from annlab.distances import Metric
from annlab.kernels import scoring
from annlab.kernels.distance import COSINE
from annlab.scan.scanner import Scanner

CONFIDENCE = 1.645  # standard errors: one-sided, 95 %
_MOST_QUERIES = 1000
_MOST_MASKED = 4  # at most one row in so many is masked: the others are still the data
_MIXER = np.uint64(0x9E3779B97F4A7C15)  # odd, its bits without a pattern: 2^64 divided by the golden ratio


def n_held_out(n: int) -> int:
    """How many of n rows to hold out: enough for a standard error near half a percent, and never many."""
    return min(_MOST_QUERIES, n // 10)


class RecallWarning(UserWarning):
    """An index cannot reach the recall that it aims at by the means it was given."""


def warn_of_recall(message: str) -> None:
    """Warn of a recall below its target."""
    warnings.warn(message, RecallWarning, stacklevel=3)


def lower_bound(recalls: np.ndarray, groups: np.ndarray | None = None) -> float:
    """The mean of recalls (q,) less what chance may have added; of several groups (q,) of queries, the lowest."""
    if groups is not None:
        return min(lower_bound(recalls[groups == group]) for group in np.unique(groups))
    return float(recalls.mean() - CONFIDENCE * recalls.std() / np.sqrt(max(len(recalls), 1)))


@dataclass(frozen=True)
class HeldOut:
    """Queries and their true neighbours.

    Attributes
    ----------
    queries : (q, dim)
    vectors : (n, dim)
        What is searched.
    alive : (words,) uint64, or None
        Bits of the rows that a search may find, see `rowsets`; None: all.
    distances : (q, k) float64
        Of the true neighbours, nearest first; infinite where there are no more.
    rows : (q, k) int64
        The true neighbours; -1 where there are no more.
    metric : Metric
    chosen : (q,) int64, or None
        Which rows the queries are, if they are rows.
    """

    queries: np.ndarray
    vectors: np.ndarray
    alive: np.ndarray | None
    distances: np.ndarray
    rows: np.ndarray
    metric: Metric
    chosen: np.ndarray | None = None

    @classmethod
    def of_queries(cls, vectors: np.ndarray, metric: Metric, queries: np.ndarray, k: int, *, threads: int = 1,
                   alive: np.ndarray | None = None, scanner: Scanner | None = None) -> Self:  # fmt: skip
        """Queries (q, dim) that are no rows, and their k nearest of vectors (n, dim), by an exact scan."""
        queries, keys, k = np.ascontiguousarray(queries), np.arange(len(vectors)), max(1, min(k, len(vectors)))
        counters = np.zeros((len(queries), N_COUNTERS), np.int64)
        found = (scanner or Scanner(vectors, metric)).search(queries, k, alive, keys, threads, counters)
        distances, rows = _scored(queries, vectors, found, k, metric)
        return cls(queries, vectors, alive, distances, rows, metric)

    @classmethod
    def of_rows(cls, vectors: np.ndarray, metric: Metric, chosen: np.ndarray, k: int, *, threads: int = 1,
                scanner: Scanner | None = None) -> Self:  # fmt: skip
        """The chosen rows of vectors (n, dim) as queries, without neighbours among themselves and their duplicates.

        Where most rows are duplicates of few, fewer queries are left, lest nothing be left to be searched.
        """
        chosen, hidden = _masked(vectors, metric, chosen)
        alive = None if hidden is None else rowsets.pack(~hidden)
        found = cls.of_queries(vectors, metric, vectors[chosen], k, threads=threads, alive=alive, scanner=scanner)
        return replace(found, chosen=chosen)

    def first(self, q: int, k: int | None = None) -> "HeldOut":
        """The first q queries and their k nearest."""
        chosen = None if self.chosen is None else self.chosen[:q]
        return replace(self, queries=self.queries[:q], distances=self.distances[:q, :k], rows=self.rows[:q, :k],
                       chosen=chosen)  # fmt: skip

    def part(self, some: slice) -> "HeldOut":
        """Some of the queries."""
        return replace(self, queries=self.queries[some], distances=self.distances[some], rows=self.rows[some],
                       chosen=None if self.chosen is None else self.chosen[some])  # fmt: skip

    def recall(self, candidates: np.ndarray, k: int | None = None) -> np.ndarray:
        """The share (q,) of every query's k nearest that scoring its candidates (q, m), -1 for none, finds."""
        k = min(k or self.rows.shape[1], self.rows.shape[1])
        there = np.isfinite(self.distances[:, :k]).sum(axis=1)
        found, _ = _scored(self.queries, self.vectors, candidates, k, self.metric)
        last = np.take_along_axis(self.distances, np.maximum(there - 1, 0)[:, None], axis=1)
        right = np.minimum(((found <= last) & np.isfinite(found)).sum(axis=1), there)
        return np.where(there > 0, right / np.maximum(there, 1), 1.0)


def _scored(queries: np.ndarray, vectors: np.ndarray, candidates: np.ndarray, k: int,
            metric: Metric) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Distances and rows (q, k) of the nearest candidates (q, m)."""
    distances, rows = np.full((len(queries), k), np.inf), np.full((len(queries), k), -1, np.int64)
    if candidates.size:
        candidates = np.ascontiguousarray(candidates)
        scoring.score(queries, vectors, vectors[:0], np.arange(len(vectors)), candidates, metric.code,
                      scoring.scratch(candidates), distances, rows)  # fmt: skip
    return distances, rows


def _masked(vectors: np.ndarray, metric: Metric, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The chosen rows that can be queries, and the mask (n,) of all rows that are one of them; None: mask nothing."""
    n = len(vectors)
    prints = _fingerprints(vectors, metric)
    kinds, members = np.unique(prints[chosen], return_inverse=True)
    places = np.minimum(np.searchsorted(kinds, prints), len(kinds) - 1)
    is_copy = kinds[places] == prints
    sizes = np.bincount(places[is_copy], minlength=len(kinds))
    _, first = np.unique(members, return_index=True)  # kinds in the order in which they were chosen
    in_order = np.argsort(first)
    in_order = in_order[sizes[in_order] <= n // (2 * _MOST_MASKED)]
    kept = in_order[np.cumsum(sizes[in_order]) <= n // _MOST_MASKED]
    if not len(kept):
        return chosen, None
    wanted = np.zeros(len(kinds), bool)
    wanted[kept] = True
    return chosen[wanted[members]], is_copy & wanted[places]


def _fingerprints(vectors: np.ndarray, metric: Metric) -> np.ndarray:
    """A number (n,) uint64 for every row, equal for equal rows (for cosine: for rows of one direction)."""
    result, at_once = np.empty(len(vectors), np.uint64), rows_at_once(vectors.shape[1])
    for start in range(0, len(vectors), at_once):
        rows = np.array(vectors[start : start + at_once], np.float64)
        if metric.code == COSINE:
            norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
            rows = (rows / np.where(norms > 0, norms, 1.0)).astype(np.float32).astype(np.float64)
        words = (rows + 0.0).view(np.uint64)  # so that -0.0 is 0.0
        factors = np.arange(1, 2 * words.shape[1], 2, dtype=np.uint64) * _MIXER
        words ^= words >> np.uint64(29)
        result[start : start + at_once] = (words * factors).sum(axis=1)
    return result
