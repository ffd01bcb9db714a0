"""Answers of shards become one: by (distance, id), in float64, as one index ranks its rows; then they are rounded."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from annlab.common.results import Neighbors, RadiusNeighbors
from annlab.common.statistics import SearchStats


class Ranked(NamedTuple):
    """What a shard found: distances (q, m) float64, ids (q, m); counters and `scanned` as `SearchStats.fill` takes
    them; the element type of its vectors."""

    distances: np.ndarray
    ids: np.ndarray
    counters: np.ndarray
    scanned: np.ndarray
    dtype: str


class RankedWithin(NamedTuple):
    """The same of a search by radius: lims (q + 1,), distances and ids behind each other."""

    lims: np.ndarray
    distances: np.ndarray
    ids: np.ndarray
    counters: np.ndarray
    scanned: np.ndarray
    dtype: str


def nearest(parts: Sequence[tuple[np.ndarray, np.ndarray]], q: int, k: int) -> Neighbors:
    """The k nearest (q, k) of several answers, each (distances, ids), by (distance, id); padded with inf and -1.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.array([[0.5, 2.0]]), np.array([[7, 1]])
    >>> other = np.array([[0.5, np.inf]]), np.array([[3, -1]])
    >>> nearest([one, other], q=1, k=3).ids.tolist()
    [[3, 7, 1]]
    """
    distances = np.concatenate([np.empty((q, 0)), *[part[0] for part in parts]], axis=1)
    ids = np.concatenate([np.empty((q, 0), np.int64), *[part[1] for part in parts]], axis=1)
    best, numbers = np.full((q, k), np.inf), np.full((q, k), -1, np.int64)
    if distances.shape[1] > 4 * k:  # most are not among the k, which is cheaper to see than to sort them
        for i in range(q):
            bound = np.partition(distances[i], k - 1)[k - 1]
            near = np.flatnonzero((distances[i] <= bound) & (ids[i] >= 0))
            order = near[np.lexsort((ids[i][near], distances[i][near]))][:k]
            best[i, : len(order)], numbers[i, : len(order)] = distances[i][order], ids[i][order]
        return Neighbors(best, numbers)
    distances = np.where(ids >= 0, distances, np.inf)
    order = np.lexsort((ids, distances, ids < 0), axis=1)[:, :k]  # what is no result comes last
    there = order.shape[1]
    best[:, :there], numbers[:, :there] = np.take_along_axis(distances, order, 1), np.take_along_axis(ids, order, 1)
    return Neighbors(best, numbers)


def within(parts: Sequence[RankedWithin], q: int, limit: int | None) -> RadiusNeighbors:
    """All results of several answers, query by query, by (distance, id); of each query at most `limit`."""
    queries = np.concatenate([np.empty(0, np.int64), *[np.repeat(np.arange(q), np.diff(p.lims)) for p in parts]])
    distances = np.concatenate([np.empty(0), *[part.distances for part in parts]])
    ids = np.concatenate([np.empty(0, np.int64), *[part.ids for part in parts]])
    order = np.lexsort((ids, distances, queries))
    if limit is not None:
        starts = np.concatenate([[0], np.cumsum(np.bincount(queries, minlength=q))])
        order = order[np.arange(len(order)) - starts[queries[order]] < limit]
    lims = np.concatenate([[0], np.cumsum(np.bincount(queries[order], minlength=q))]).astype(np.int64)
    return RadiusNeighbors(lims, distances[order], ids[order])


def rounded(distances: np.ndarray, dtype: Any) -> np.ndarray:
    """Distances in the type that users see."""
    with np.errstate(all="ignore"):
        return distances.astype(dtype)


def report(stats: SearchStats | None, parts: Sequence[Any], q: int) -> None:
    """The sums of what the shards counted."""
    if stats is not None:
        counters = sum((part.counters for part in parts), np.zeros((q, 3), np.int64))
        scanned = np.zeros(q, bool)
        for part in parts:
            scanned |= part.scanned
        stats.fill(counters, scanned)
