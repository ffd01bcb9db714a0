"""One search over one state: candidates from the structure and from the tail, scored by the one definition.

    queries --> blocks over threads --> structure.search  --+
                                        tail scan         --+--> candidates --> score --> (distances, ids)

Filters and tombstones become bits of rows that the structure honours while it searches. A filter that leaves no more
rows than a search would look at anyway is answered by scanning exactly these rows.
"""

from typing import Any, NamedTuple

import numpy as np

from annlab.common import pool, rowsets
from annlab.common.results import Neighbors, RadiusNeighbors
from annlab.common.statistics import BYTES, DISTANCES, N_COUNTERS, SearchStats
from annlab.core.filters import Selection
from annlab.core.state import State
from annlab.core.structure import Request, Scored, Structure
from annlab.kernels import scoring as kernels
from annlab.scan.scanner import Scanner

_BLOCK_ENTRIES = 4 * 2**20  # of candidates, or of filter masks, that one block of queries may take
_MANY_QUERIES = 24  # for a thread: so many that whole tiles of them can be split between threads
_SHORT_TAIL = 1024  # rows that one query is compared with sooner than a scan is prepared
_FILTER_COST = 64  # rows of a mask that cost as much as one candidate (a byte against a scored row)






class Plan(NamedTuple):
    """What all blocks of one search share."""

    state: State
    selection: Selection
    params: dict[str, Any]
    k: int
    counters: np.ndarray
    fallback: np.ndarray

    def request(self, start: int, stop: int, alive: np.ndarray | None, n_threads: int) -> Request:
        keys = self.state.by_row.array[: self.state.n_sealed]
        return Request(alive, keys, self.params, n_threads, self.counters[start:stop])


def search(state: State, queries: np.ndarray, k: int, selection: Selection, params: dict[str, Any], n_threads: int,
           stats: SearchStats | None) -> Neighbors:  # fmt: skip
    """The k nearest of every query (q, dim)."""
    q = len(queries)
    if q == 1 and not selection.restricts and state.all_alive:
        return _search_one(state, queries, k, params, n_threads, stats)
    distances = np.full((q, k), np.inf, state.tail.array.dtype)
    ids = np.full((q, k), -1, np.int64)
    plan = Plan(state, selection, params, k, np.zeros((q, N_COUNTERS), np.int64), np.zeros(q, bool))
    each = k + (state.n_rows // _FILTER_COST if selection.per_query else 0)
    block = max(16, _BLOCK_ENTRIES // max(each, 1))
    many = q >= _MANY_QUERIES * n_threads
    whole = q < n_threads or (many and not selection.per_query and state.structure is not None
             and state.structure.takes_batches)

    def work(start: int, stop: int) -> None:
        for first in range(start, stop, block):
            last = min(stop, first + block)
            _search_block(plan, queries, first, last, n_threads if whole else 1, distances, ids)

    if q == 1:
        _search_block(plan, queries, 0, 1, n_threads, distances, ids)
    else:
        parts = pool.split(0, q, 1 if whole else n_threads, 12 if many else 1)
        pool.run(work, parts, n_threads)
    if stats is not None:
        stats.fill(plan.counters, plan.fallback)
    return Neighbors(distances, ids)


def _search_one(state: State, query: np.ndarray, k: int, params: dict[str, Any], n_threads: int,
                stats: SearchStats | None) -> Neighbors:  # fmt: skip
    """One query, where all rows are alive and allowed: the most frequent search, and on small sets most of its time
    would be spent between kernels. A short tail is scored as it is."""
    counters, result = np.zeros((1, N_COUNTERS), np.int64), _nothing_found(k, query.dtype)
    if len(state.tail.array):
        rows = state.tail_rows
        if rows.shape[1] > _SHORT_TAIL:
            keys = state.by_row.array[state.n_sealed :]
            rows = state.tail_scanner.search(query, k, None, keys, n_threads, counters)
        else:
            counters[0, DISTANCES] += rows.shape[1]
            counters[0, BYTES] += state.tail.array.nbytes
        _score_tail(state, query, rows, *result)
    if state.structure is not None and state.n_sealed:
        keys = state.by_row.array if not len(state.tail.array) else state.by_row.array[: state.n_sealed]
        found = state.structure.search(query, k, Request(None, keys, params, n_threads, counters))
        if not isinstance(found, Scored):
            scored = _nothing_found(k, query.dtype)
            _score(state, query, found, *scored)
            found = Scored(*scored)
        if len(state.tail.array):
            _merge(found, *result)
        else:
            result = Neighbors(*found)
    if stats is not None:
        stats.fill(counters, np.zeros(1, bool))
    return result


def _nothing_found(k: int, dtype: Any) -> Neighbors:
    distances, ids = np.empty((1, k), dtype), np.empty((1, k), np.int64)
    distances.fill(np.inf)
    ids.fill(-1)
    return Neighbors(distances, ids)


def _search_block(plan: Plan, queries: np.ndarray, start: int, stop: int, n_threads: int, distances: np.ndarray,
                  ids: np.ndarray) -> None:  # fmt: skip
    state, some = plan.state, np.ascontiguousarray(queries[start:stop])
    mask = plan.selection.mask(start, stop)
    sealed, tail = state.living if mask is None else state.words(mask)
    candidates, scored = [], None
    if state.structure is not None and state.n_sealed:
        few = _few_allowed(plan, state.structure, len(some), sealed)
        plan.fallback[start:stop] = few
        found: np.ndarray | Scored
        if few.any() and plan.selection.per_query and len(some) > 1:
            for i in range(start, stop):
                _search_block(plan, queries, i, i + 1, n_threads, distances, ids)
            return
        if few.any() and sealed is not None:  # all of them
            found = _scan_rows(plan, some, start, stop, sealed.ravel(), n_threads)
        else:
            found = state.structure.search(some, plan.k, plan.request(start, stop, sealed, n_threads))
        if isinstance(found, Scored):
            scored = found
        else:
            candidates.append(found)
    if len(state.tail.array):
        keys = state.by_row.array[state.n_sealed :]
        found = state.tail_scanner.search(some, plan.k, tail, keys, n_threads, plan.counters[start:stop])
        if scored is not None or not state.n_sealed:
            _score_tail(state, some, found, distances[start:stop], ids[start:stop])
        else:
            candidates.append(np.where(found >= 0, found + state.n_sealed, -1))
    if candidates:
        together = candidates[0] if len(candidates) == 1 else np.hstack(candidates)

        def score(first: int, last: int) -> None:
            own = slice(start + first, start + last)
            _score(state, some[first:last], together[first:last], distances[own], ids[own])

        pool.run(score, pool.split(0, len(some), n_threads if len(some) >= n_threads else 1), n_threads)
    if scored is not None:
        _merge(scored, distances[start:stop], ids[start:stop])


def _merge(scored: Scored, distances: np.ndarray, ids: np.ndarray) -> None:
    """Merge results into those of other rows, in place."""
    best, best_ids = np.empty_like(distances), np.empty_like(ids)
    kernels.merge(*scored, distances, ids, best, best_ids)
    distances[...], ids[...] = best, best_ids


def _score(state: State, queries: np.ndarray, candidates: np.ndarray, distances: np.ndarray, ids: np.ndarray) -> None:
    if candidates.size and distances.size:
        kernels.score(queries, state.sealed_vectors, state.tail.array, state.by_row.array,
                      np.ascontiguousarray(candidates), state.metric.code, kernels.scratch(candidates), distances,
                      ids)  # fmt: skip


def _score_tail(state: State, queries: np.ndarray, found: np.ndarray, distances: np.ndarray, ids: np.ndarray) -> None:
    """The same for candidates from the tail alone, numbered from its first row on."""
    if found.size and distances.size:
        tail, keys = state.tail.array, state.by_row.array[state.n_sealed :]
        kernels.score(queries, tail[:0], tail, keys, np.ascontiguousarray(found), state.metric.code,
                      kernels.scratch(found), distances, ids)  # fmt: skip


def _few_allowed(plan: Plan, structure: Structure, n: int, alive: np.ndarray | None) -> np.ndarray:
    """For which of n queries so few rows are allowed that scanning these is less work than asking the structure."""
    if alive is None or structure.exhaustive:
        return np.zeros(n, bool)
    allowed = np.bitwise_count(alive).sum(axis=-1)
    return np.broadcast_to(allowed <= max(plan.k, structure.rows_touched(plan.params)), n)


def _scan_rows(plan: Plan, queries: np.ndarray, start: int, stop: int, alive: np.ndarray,
               n_threads: int) -> np.ndarray:  # fmt: skip
    """Exact candidates among the sealed rows of a bitset."""
    state = plan.state
    rows = np.flatnonzero(rowsets.unpack(alive, state.n_sealed))
    if not len(rows):
        return np.empty((len(queries), 0), np.int64)
    scanner = Scanner(np.ascontiguousarray(state.sealed_vectors[rows]), state.metric)
    found = scanner.search(queries, plan.k, None, state.by_row.array[rows], n_threads, plan.counters[start:stop])
    return np.where(found >= 0, rows[found], -1)


def search_radius(state: State, queries: np.ndarray, radius: float, limit: int | None, selection: Selection,
                  params: dict[str, Any], n_threads: int, stats: SearchStats | None) -> RadiusNeighbors:  # fmt: skip
    """All vectors within `radius` (inclusive) of every query, sorted by (distance, id); the `limit` nearest of them."""
    q = len(queries)
    plan = Plan(state, selection, params, 1, np.zeros((q, N_COUNTERS), np.int64), np.zeros(q, bool))
    inner = n_threads if q < n_threads else 1
    parts = pool.split(0, q, n_threads if q >= n_threads else 1)

    def work(start: int, stop: int) -> list[tuple[np.ndarray, np.ndarray]]:
        return [_radius_one(plan, queries, i, radius, limit, inner) for i in range(start, stop)]

    found = [pair for part in pool.run(work, parts, n_threads) for pair in part]
    lims = np.zeros(q + 1, np.int64)
    np.cumsum([len(ids) for _, ids in found], out=lims[1:])
    distances = np.concatenate([d for d, _ in found] or [np.empty(0, state.tail.array.dtype)])
    ids = np.concatenate([i for _, i in found] or [np.empty(0, np.int64)])
    if stats is not None:
        stats.fill(plan.counters, plan.fallback)
    return RadiusNeighbors(lims, distances, ids)


def _radius_one(plan: Plan, queries: np.ndarray, i: int, radius: float, limit: int | None,
                n_threads: int) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    state, query = plan.state, np.ascontiguousarray(queries[i : i + 1])
    mask = plan.selection.mask(i, i + 1)
    if mask is not None and mask.ndim == 2:
        mask = mask[0]
    sealed, tail = state.living if mask is None else state.words(mask)
    rows = []
    if state.structure is not None and state.n_sealed:
        request = plan.request(i, i + 1, sealed, n_threads)
        rows.append(state.structure.search_radius(query, radius, request)[1])
    if len(state.tail.array):
        counters = plan.counters[i : i + 1]
        rows.append(state.tail_scanner.search_radius(query, radius, tail, n_threads, counters)[1] + state.n_sealed)
    candidates = np.concatenate(rows) if rows else np.empty(0, np.int64)
    distances = np.full((1, len(candidates)), np.inf, query.dtype)
    ids = np.full((1, len(candidates)), -1, np.int64)
    if len(candidates):
        some = state.gather(candidates)
        all_of_them = np.arange(len(some))[None, :]
        kernels.score(query, some, some[:0], state.by_row.array[candidates], all_of_them, state.metric.code,
                      kernels.scratch(all_of_them), distances, ids)  # fmt: skip
    stop = int(np.searchsorted(distances[0].astype(np.float64), radius, side="right"))
    stop = min(stop, int(np.count_nonzero(ids[0] >= 0)), stop if limit is None else limit)
    return distances[0, :stop], ids[0, :stop]
