"""One search over one state: candidates from the structure and from the tail, scored by the one definition.

    queries --> blocks over threads --> structure.search  --+
                                        tail scan         --+--> candidates --> score --> (distances, ids)

Distances are float64, by which rows are ranked, and rounded to the type of the index when all is merged.

Filters and tombstones become bits of rows that the structure honours while it searches. A filter that leaves no more
rows than a search would look at anyway is answered by scanning exactly these rows.
"""

from typing import Any

import numpy as np

from annlab.common import pool
from annlab.common.results import Neighbors, RadiusNeighbors
from annlab.common.statistics import BYTES, DISTANCES, N_COUNTERS, SearchStats
from annlab.core.filters import Selection
from annlab.core.state import State
from annlab.core.structure import Request, Scored, Structure
from annlab.kernels import scoring as kernels
from annlab.kernels.distance import INNER_PRODUCT
from annlab.scan.scanner import Scanner, are_few

_BLOCK_ENTRIES = 4 * 2**20  # of candidates, or of filter masks, that one block of queries may take
_MANY_QUERIES = 24  # for a thread: so many that whole tiles of them can be split between threads
_SHORT_TAIL = 1024  # rows that one query is compared with sooner than a scan is prepared
_LARGEST_RADIUS = float(np.finfo(np.float64).max)  # what structures are asked for in place of infinity
_SHORT = 1e-6  # queries in float64 below this are made longer, where products could underflow
_FILTER_COST = 64  # rows of a mask that cost as much as one candidate (a byte against a scored row)


class Search:
    """One search: what is asked, of which state, and what was counted meanwhile.

    Attributes
    ----------
    state : State
    queries : (q, dim)
        In the element type of the state.
    selection : Selection
        Which rows may be returned.
    params : dict
        The search parameters of the index, all present.
    threads : int
    counters : (q, N_COUNTERS) int64
        See `common/statistics.py`.
    scanned : (q,) bool
        For which queries the allowed rows were so few that these were scanned.
    """

    __slots__ = ("_powers", "counters", "params", "queries", "scanned", "selection", "state", "threads")

    def __init__(self, state: State, queries: np.ndarray, selection: Selection, params: dict[str, Any],
                 threads: int) -> None:  # fmt: skip
        self.state, self.selection, self.params, self.threads = state, selection, params, threads
        self.queries, self._powers = _made_longer(queries, state.metric.code)
        self.counters, self.scanned = np.zeros((len(queries), N_COUNTERS), np.int64), np.zeros(len(queries), bool)

    def report(self, stats: SearchStats | None) -> None:
        """Fill the statistics that a user asked for."""
        if stats is not None:
            stats.fill(self.counters, self.scanned)

    # ---- the k nearest

    def nearest(self, k: int) -> Neighbors:
        """The k nearest of every query: (q, k), padded with inf and -1."""
        return self._rounded(self.ranked(k))

    def ranked(self, k: int) -> Neighbors:
        """The same with distances in float64, by which results of several searches can be merged."""
        result = self._ranked(k)
        return result if self._powers is None else Neighbors(_times(result.distances, -self._powers), result.ids)

    def _ranked(self, k: int) -> Neighbors:
        q, state = len(self.queries), self.state
        if q == 1 and not self.selection.restricts and not self.state.few_alive(k, self.params):
            return self._nearest_of_one(k)
        result = Neighbors(np.empty((q, k)), np.empty((q, k), np.int64))
        each = k + (state.n_rows // _FILTER_COST if self.selection.per_query else 0)
        block = max(16, _BLOCK_ENTRIES // max(each, 1))
        many = q >= _MANY_QUERIES * self.threads
        shares = state.structure is not None and state.structure.takes_batches
        whole = q < self.threads or (many and shares and not self.selection.per_query)

        def work(start: int, stop: int) -> None:
            for first in range(start, stop, block):
                pool.check()
                last = min(stop, first + block)
                _fill(result.distances[first:last], result.ids[first:last])  # not all at once: it may be gigabytes
                self._nearest_of_block(first, last, self.threads if whole else 1, result)

        if q == 1:
            _fill(*result)
            self._nearest_of_block(0, 1, self.threads, result)
        else:
            pool.run(work, pool.split(0, q, 1 if whole else self.threads, 12 if many else 1), self.threads)
        return result

    def _nearest_of_one(self, k: int) -> Neighbors:
        """One query that may have all living rows: the most frequent search, and on small sets most of its time would
        be spent between kernels. A short tail is scored as it is."""
        state, query, counters = self.state, self.queries, self.counters
        sealed, tail = state.living
        result = _nothing_found(1, k)
        if len(state.tail.array):
            rows = state.tail_rows
            if rows.shape[1] > _SHORT_TAIL:
                keys = state.by_row.array[state.n_sealed :]
                rows = state.tail_scanner.search(query, k, tail, keys, self.threads, counters)
            else:
                counters[0, DISTANCES] += rows.shape[1]
                counters[0, BYTES] += state.tail.array.nbytes
            _score_tail(state, query, rows, *result)
        if state.structure is not None and state.n_sealed:
            found = state.structure.search(query, k, self._request(0, 1, sealed, self.threads))
            if not isinstance(found, Scored):
                scored = _nothing_found(1, k)
                _score(state, query, found, *scored)
                found = Scored(*scored)
            if len(state.tail.array):
                _merge(found, *result)
            else:
                result = Neighbors(*found)
        return result

    def _nearest_of_block(self, start: int, stop: int, n_threads: int, result: Neighbors) -> None:
        """Fill the rows start..stop-1 of the result."""
        state, queries = self.state, np.ascontiguousarray(self.queries[start:stop])
        distances, ids = result.distances[start:stop], result.ids[start:stop]
        k, mask = ids.shape[1], self.selection.mask(start, stop)
        sealed, tail = state.living if mask is None else state.words(mask)
        candidates, scored = [], None
        if state.structure is not None and state.n_sealed:
            few = self._few_allowed(state.structure, k, len(queries), sealed)
            self.scanned[start:stop] = few
            found: np.ndarray | Scored
            if few.any() and self.selection.per_query and len(queries) > 1:
                for i in range(start, stop):
                    self._nearest_of_block(i, i + 1, n_threads, result)
                return
            if few.any() and sealed is not None:  # all of them
                allowed = sealed[0] if sealed.ndim == 2 else sealed
                found = self._scanned_rows(queries, k, start, stop, allowed, n_threads)
            else:
                found = state.structure.search(queries, k, self._request(start, stop, sealed, n_threads))
            if isinstance(found, Scored):
                scored = found
            else:
                candidates.append(found)
        if len(state.tail.array):
            keys = state.by_row.array[state.n_sealed :]
            found = state.tail_scanner.search(queries, k, tail, keys, n_threads, self.counters[start:stop])
            if scored is not None or not state.n_sealed:
                _score_tail(state, queries, found, distances, ids)
            else:
                candidates.append(np.where(found >= 0, found + state.n_sealed, -1))
        if candidates:
            together = candidates[0] if len(candidates) == 1 else np.hstack(candidates)

            def score(first: int, last: int) -> None:
                own = slice(first, last)
                _score(state, queries[own], together[own], distances[own], ids[own])

            parts = pool.split(0, len(queries), n_threads if len(queries) >= n_threads else 1)
            pool.run(score, parts, n_threads)
        if scored is not None:
            _merge(scored, distances, ids)

    def _request(self, start: int, stop: int, alive: np.ndarray | None, n_threads: int) -> Request:
        """What the structure is asked for the queries start..stop-1."""
        state = self.state
        keys = state.by_row.array if not len(state.tail.array) else state.by_row.array[: state.n_sealed]
        return Request(alive, keys, self.params, n_threads, self.counters[start:stop],
                       self.scanned[start:stop], None if alive is None else state.n_live_sealed)  # fmt: skip

    def _few_allowed(self, structure: Structure, k: int, n: int, alive: np.ndarray | None) -> np.ndarray:
        """For which of n queries so few rows are allowed that scanning these is less work than asking the structure."""
        if alive is None or structure.exhaustive:
            return np.zeros(n, bool)
        few: np.ndarray = np.bitwise_count(alive).sum(axis=-1) <= max(k, structure.rows_touched(self.params))
        return few if few.ndim else np.full(n, few)

    def _scanned_rows(self, queries: np.ndarray, k: int, start: int, stop: int, alive: np.ndarray,
                      n_threads: int) -> np.ndarray:  # fmt: skip
        """Exact candidates among the sealed rows of a bitset: for a few queries all of them, without a scanner, which
        would have to measure first where they lie."""
        state = self.state
        rows = state.sealed_rows_of(alive)
        counters = self.counters[start:stop]
        if are_few(queries) or not len(rows):
            counters[:, DISTANCES] += len(rows)
            counters[:, BYTES] += len(rows) * queries[0].nbytes
            return rows[None] if len(queries) == 1 else np.broadcast_to(rows, (len(queries), len(rows)))
        scanner = Scanner(np.ascontiguousarray(state.sealed_vectors[rows]), state.metric)
        found = scanner.search(queries, k, None, state.by_row.array[rows], n_threads, counters)
        return np.where(found >= 0, rows[found], -1)

    # ---- within a radius

    def within(self, radii: np.ndarray, limit: int | None) -> RadiusNeighbors:
        """All vectors within radius radii[i] (inclusive) of query i, by (distance, id); the `limit` nearest of them."""
        lims, distances, ids = self.ranked_within(radii, limit)
        return RadiusNeighbors(lims, self._rounded(Neighbors(distances[None], ids[None])).distances[0], ids)

    def ranked_within(self, radii: np.ndarray, limit: int | None) -> RadiusNeighbors:
        """The same with distances in float64."""
        q = len(self.queries)
        inner = self.threads if q < self.threads else 1
        parts = pool.split(0, q, self.threads if q >= self.threads else 1)

        def work(start: int, stop: int) -> list[tuple[np.ndarray, np.ndarray]]:
            found = []
            for i in range(start, stop):
                pool.check()
                found.append(self._within_of_one(i, float(radii[i]), limit, inner))
            return found

        if self._powers is not None:
            radii = _times(np.asarray(radii, np.float64)[:, None], self._powers)[:, 0]
        found = [pair for part in pool.run(work, parts, self.threads) for pair in part]
        if self._powers is not None:
            found = [
                (_times(pair[0][None], -power)[0], pair[1]) for pair, power in zip(found, self._powers, strict=True)
            ]
        lims = np.zeros(q + 1, np.int64)
        np.cumsum([len(ids) for _, ids in found], out=lims[1:])
        distances = np.concatenate([d for d, _ in found] or [np.empty(0)])
        ids = np.concatenate([i for _, i in found] or [np.empty(0, np.int64)])
        return RadiusNeighbors(lims, distances, ids)

    def _within_of_one(self, i: int, radius: float, limit: int | None, n_threads: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances and ids for query i."""
        finite = min(max(radius, -_LARGEST_RADIUS), _LARGEST_RADIUS)
        state, query = self.state, np.ascontiguousarray(self.queries[i : i + 1])
        mask = self.selection.mask(i, i + 1)
        if mask is not None and mask.ndim == 2:
            mask = mask[0]
        sealed, tail = state.living if mask is None else state.words(mask)
        rows = []
        if state.structure is not None and state.n_sealed:
            request = self._request(i, i + 1, sealed, n_threads)
            rows.append(state.structure.search_radius(query, finite, request)[1])
        if len(state.tail.array):
            counters = self.counters[i : i + 1]
            rows.append(state.tail_scanner.search_radius(query, finite, tail, n_threads, counters)[1] + state.n_sealed)
        candidates = np.concatenate(rows) if rows else np.empty(0, np.int64)
        distances, ids = _nothing_found(1, len(candidates))
        if len(candidates):
            vectors = state.gather(candidates)
            each = np.arange(len(vectors))[None, :]
            kernels.score(query, vectors, vectors[:0], state.by_row.array[candidates], each, state.metric.code,
                          kernels.scratch(each), distances, ids)  # fmt: skip
        (rounded,), (ids,) = self._rounded(Neighbors(distances, ids))
        stop = int(np.searchsorted(rounded.astype(np.float64), radius, side="right"))
        stop = min(stop, int(np.count_nonzero(ids >= 0)), stop if limit is None else limit)
        return distances[0, :stop], ids[:stop]

    def _rounded(self, result: Neighbors) -> Neighbors:
        """Distances in the type of the index; by a kernel, for which underflow is no error."""
        if self.queries.dtype == np.float64:
            return result
        distances = np.empty(result.distances.shape, self.queries.dtype)
        kernels.round_distances(result.distances, distances)
        return Neighbors(distances, result.ids)


def _made_longer(queries: np.ndarray, metric: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Queries, and the powers of two (q,) by which they are longer than they were given; None: by none.

    The inner products of short queries and short rows are 0 in float64, and all rows equal. A power of two changes no
    digit, and neither does it change which rows come first; only the distances that are returned may be 0 then.
    """
    if metric != INNER_PRODUCT or queries.dtype != np.float64 or not queries.size:
        return queries, None
    lengths = np.abs(queries).max(axis=1)
    short = (lengths > 0) & (lengths < _SHORT)
    if not short.any():
        return queries, None
    powers = np.where(short, -np.frexp(lengths)[1], 0)
    return np.ldexp(queries, powers[:, None]), powers


def _times(distances: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """Distances (q, k) times powers of two, one for each query."""
    with np.errstate(under="ignore", over="ignore"):
        result: np.ndarray = np.ldexp(distances, np.atleast_1d(powers)[:, None])
    return result


def _nothing_found(q: int, k: int) -> Neighbors:
    result = Neighbors(np.empty((q, k)), np.empty((q, k), np.int64))
    _fill(*result)
    return result


def _fill(distances: np.ndarray, ids: np.ndarray) -> None:
    distances.fill(np.inf)
    ids.fill(-1)


def _merge(scored: Scored, distances: np.ndarray, ids: np.ndarray) -> None:
    """Merge results into those of other rows, in place."""
    best, best_ids = np.empty_like(distances), np.empty_like(ids)
    kernels.merge(*scored, distances, ids, best, best_ids)
    distances[...], ids[...] = best, best_ids


def _score(state: State, queries: np.ndarray, candidates: np.ndarray, distances: np.ndarray, ids: np.ndarray) -> None:
    if candidates.size and distances.size:
        rows = state.sealed_vectors, state.tail.array, state.by_row.array
        _score_rows(queries, *rows, state.metric.code, candidates, distances, ids)


def _score_tail(state: State, queries: np.ndarray, found: np.ndarray, distances: np.ndarray, ids: np.ndarray) -> None:
    """The same for candidates from the tail alone, numbered from its first row on."""
    if found.size and distances.size:
        rows = state.tail.array[:0], state.tail.array, state.by_row.array[state.n_sealed :]
        _score_rows(queries, *rows, state.metric.code, found, distances, ids)


def _score_rows(queries: np.ndarray, sealed: np.ndarray, tail: np.ndarray, keys: np.ndarray, metric: int,
                candidates: np.ndarray, distances: np.ndarray, ids: np.ndarray) -> None:  # fmt: skip
    shared = not candidates.strides[0]  # the same rows for all queries
    candidates = np.array(candidates[:1]) if shared else np.ascontiguousarray(candidates)
    scratch = kernels.scratch(candidates)
    if len(queries) == 1:
        kernels.score(queries, sealed, tail, keys, candidates, metric, scratch, distances, ids)
        return
    for first, last in pool.portions(0, len(queries), 16 * candidates.shape[1] * queries.shape[1]):
        own = slice(first, last)
        some = candidates if shared else candidates[own]
        kernels.score(queries[own], sealed, tail, keys, some, metric, scratch, distances[own], ids[own])
