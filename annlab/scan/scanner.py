"""Exact candidates from a block of rows: every row is looked at, and none that matters can be lost to rounding.

`Scanner` serves three purposes: it is the whole of ExactIndex, it scans the rows that were added to an index since its
structure was built, and it answers filters that leave only few rows. It returns candidates; the distances are computed
by `kernels/distance.py`.

Why no neighbour is lost
------------------------
Kernels rank rows by a rounded surrogate s. With u = 2^-24, c = (1.1 dim + 16) u, and sums of dim terms, the textbook
bound (Higham, Accuracy and Stability of Numerical Algorithms, ch. 3) gives an interval that holds the true ranking
value R:

*Batches* (`kernels/scan/batch.py`, l2 and cosine): s approximates R = |x|^2/2 - q.x = (D^2 - |q|^2) / 2 for the centred
and scaled x and q, with D their distance. Rounding x and q to float32, h to float32, and dim multiply-adds err by at
most c (|x|^2/2 + |q||x|). As |x| <= |q| + D, this is at most c (2.5 |q|^2 + 1.5 D^2) = c (4 |q|^2 + 3 R): rows far away
from the query, whose error is large, need not be considered, because they are far away. So the k rows with the smallest
s, of which t is the largest, all have R <= (t + 4c|q|^2) / (1 - 3c), and any row that is as near has s <= t + 9c |q|^2
+ 7c |t| (for c <= 0.01, with 2^-22 relative to spare). That is the bound up to which rows are kept. Centring makes |q|
small, so the bound is tight wherever the data lie; scaling by a power of two keeps everything in the range of float32
and is exact.

*Batches, ip*: R = -q.x errs by c |q| max|x|, so rows are kept up to t + 2c |q| max|x| + c |t|.

*Single queries* (`kernels/scan/one.py`): l2 sums squared differences, whose error is relative: t (1 + 4c'). cosine errs
by 2c' and ip by c' |q| max|x| on either side, c' = (dim + 16) u.

*Radius*: as single queries, with 2^-22 relative more, since a radius is compared with distances rounded to float32.

Where so many rows are tied within these bounds that they fill a query's buffer (half the data equal, say), the query is
repeated with a larger buffer, and then scored row by row by the definition. The same happens to queries and data whose
magnitudes leave the range in which the argument holds.
"""

import math
import threading
from functools import cached_property

import numpy as np

from annlab.common import pool, rowsets
from annlab.common.statistics import BYTES, DISTANCES
from annlab.distances import Metric
from annlab.kernels import distance as distance_kernels
from annlab.kernels import tile
from annlab.kernels.distance import COSINE, INNER_PRODUCT, L2
from annlab.kernels.scan import batch, one
from annlab.kernels.topk import PADDING
from annlab.scan.points import Extent

_U = 2.0**-24
_LARGEST = np.finfo(np.float32).max
_LEAST_REACH = {4: 2.0**-60, 8: 2.0**-400}  # of float32 and float64: below, distances (or their squares) underflow
_MOST_ROUNDING = 0.01  # c, up to which the argument above holds
_LARGEST_SQUARE = 1e30  # of a query's length, and slack: beyond, sums in float32 may overflow
_SCALES = 1e-30, 1e30  # between which a scale, and what it is multiplied with, stays in the range of float32
_TILE_FROM = 4  # queries: below, packing rows costs more than reading them once for every query
_FEW = 64  # rows that are measured sooner than buffers for what a scan finds among them are made
_SCATTERED = 4096  # the same of rows that a filter allows, for so few queries:
_FEW_QUERIES = 32  # bytes of one coordinate of each
_AT_ONCE = 2**28  # coordinates that one call of a kernel reads for single queries, so that Ctrl-C is answered soon
_BUFFER_BYTES = 32 * 2**20  # of the hit buffers of one block of queries
_WITHIN_CAPACITY = 4096  # rows within a radius that one call of a kernel lists
_FROM_MEMORY = 2**23  # bytes of vectors, more than caches hold: of most rows some are passed over sooner than sought
_MOST_ROWS = 0.65  # of all, that a filter leaves
_REMEMBERED = 2  # filters whose row numbers are kept: tombstones, and what is asked again and again
_NO_ROWS = np.empty(0, np.int32)
_NO_WORDS = np.empty(0, np.uint64)


class Scanner:
    """Exact search among all rows of a matrix (n, dim)."""

    def __init__(self, vectors: np.ndarray, metric: Metric, extent: Extent | None = None) -> None:
        self.vectors, self.metric = vectors, metric
        self.extent = extent or Extent.of(vectors, metric)
        self.scale = float(2.0 ** min(1000, -np.frexp(self.extent.reach)[1])) if self.extent.reach > 0 else 1.0
        self._numbers, self._scratch = rowsets.Remembered(_REMEMBERED), threading.local()

    @property
    def underflows(self) -> bool:
        """Whether the rows lie so close together that distances, or their squares, lose digits to underflow."""
        return self.metric.code == L2 and 0 < self.extent.reach < _LEAST_REACH[self.vectors.itemsize]

    def search(self, queries: np.ndarray, k: int, alive: np.ndarray | None, keys: np.ndarray, n_threads: int,
               counters: np.ndarray) -> np.ndarray:  # fmt: skip
        """Candidates (q, m), -1 padded, among the rows whose bit in `alive` is set; arguments as in `Request`."""
        numbers, masks = self._rows_to_scan(alive, len(queries))
        n = len(self.vectors) if numbers is None else len(numbers)
        counters[:, DISTANCES] += n
        counters[:, BYTES] += n * self.vectors.shape[1] * self.vectors.itemsize
        few = _FEW if numbers is None or not are_few(queries) else _SCATTERED
        if n <= max(k, few):
            return _every_row(len(queries), n, numbers, masks)
        capacity = max(8 * k, 256) + tile.PANEL_ROWS
        if len(queries) < _TILE_FROM:
            n_threads = pool.awake(len(queries) * n * self.vectors.shape[1] * self.vectors.itemsize, n_threads)
        if len(queries) == 1 and n_threads == 1 and n * self.vectors.shape[1] <= _AT_ONCE:
            # splitting and stacking would take longer than scanning a few rows
            found, answered = self._scan_single(queries, k, numbers, masks, 0, n, capacity)
            if answered[0]:
                return found
        block = max(tile.QUERIES_IN_TILE, _BUFFER_BYTES // (8 * capacity))
        parts = []
        for start in range(0, len(queries), block):
            some = slice(start, start + block)
            parts.append(self._block(queries[some], k, numbers, None if masks is None else masks[some], keys, n_threads,
                                     n, capacity))  # fmt: skip
        return stack(parts)

    def _rows_to_scan(self, alive: np.ndarray | None, q: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Row numbers to scan if a filter is shared by q queries, or masks if every query has its own.

        The numbers are remembered while the same filter is used, as tombstones are by every search. Where single
        queries read nearly all rows from memory, masks serve them as well: rows that are read one after the other, in
        the order of their addresses, come in half the time.
        """
        if alive is None:
            return None, None
        if alive.ndim == 2:
            return None, np.ascontiguousarray(alive)
        if q < _TILE_FROM and self.vectors.nbytes > _FROM_MEMORY:
            if int(np.bitwise_count(alive).sum()) > _MOST_ROWS * len(self.vectors):
                return None, np.tile(alive, (q, 1))
        numbers = self._numbers.get(alive)
        if numbers is None:
            numbers = np.flatnonzero(rowsets.unpack(alive, 64 * len(alive))).astype(np.int32)
            self._numbers.put(alive, numbers)
        return numbers, None

    def _block(self, queries: np.ndarray, k: int, numbers: np.ndarray | None, masks: np.ndarray | None,
               keys: np.ndarray, n_threads: int, n: int, capacity: int) -> np.ndarray:  # fmt: skip
        """Candidates of a block of queries: the fast scan, again with larger buffers, at last by the definition."""
        candidates: list[np.ndarray] = []
        open_queries = np.arange(len(queries))
        one_by_one = len(queries) < _TILE_FROM
        scan_range = self._scan_single if one_by_one else self._scan_batch
        work = len(queries) * n * self.vectors.shape[1]
        ranges = pool.split(0, n, max(n_threads, work // _AT_ONCE) if one_by_one else n_threads, 64)
        for size in (capacity, 16 * capacity):
            some_masks = None if masks is None else masks[open_queries]
            tasks = [(queries[open_queries], k, numbers, some_masks, *ends, size) for ends in ranges]
            found = pool.run(scan_range, tasks, n_threads)
            if not candidates and len(found) == 1 and found[0][1].all():  # the usual end
                return found[0][0]
            done = np.logical_and.reduce([ok for _, ok in found])
            block = np.hstack([rows for rows, _ in found])
            result = np.full((len(queries), block.shape[1]), -1, np.int64)
            result[open_queries[done]] = block[done]
            candidates.append(result)
            open_queries = open_queries[~done]
            if not len(open_queries):
                break
        if len(open_queries):
            candidates.append(self._by_definition(queries, open_queries, k, numbers, masks, keys))
        return np.hstack(candidates)

    def _scan_batch(self, queries: np.ndarray, k: int, numbers: np.ndarray | None, masks: np.ndarray | None,
                    start: int, stop: int, capacity: int) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Tiles: candidates (q, m), and which queries were answered."""
        q, dim = queries.shape
        packed, squared_norms, room = batch.new_packed(q, dim), np.zeros(q), self._room()
        query_scale, underflow = self.scale, np.zeros(q)
        if self.metric.code == INNER_PRODUCT:  # a query's own length changes no order
            (queries, underflow), query_scale = unit_queries(queries, self.scale), 1.0
        with np.errstate(over="ignore"):
            batch.pack_queries(queries, self.metric.code, self.extent.center, query_scale, room.converted[0], packed,
                              squared_norms)  # fmt: skip
        slacks, slopes = np.zeros((2, batch.padded_to_groups(q)))
        slacks[:q], slopes[:q] = self._batch_slack(squared_norms, dim)
        slacks[:q] += underflow
        usable = (
            (slacks[:q] < _LARGEST_SQUARE)
            & (squared_norms < _LARGEST_SQUARE)
            & (_batch_rounding(dim) <= _MOST_ROUNDING)
        )
        usable &= not self.underflows
        if not usable.all():  # numbers only: minus infinity passes every bound
            np.nan_to_num(packed, copy=False)
        buffers = batch.new_buffers(q, k, capacity)
        buffers.bounds[:q][usable] = _LARGEST
        alive, n_words = (_NO_WORDS, 0) if masks is None else (masks.ravel(), masks.shape[1])
        asked = batch.Queries(packed, q, slacks, slopes, alive, n_words)
        rows = self._for_batches
        if numbers is not None:
            rows = rows._replace(numbers=numbers, n_numbers=len(numbers))
        for first, last in pool.portions(start, stop, q * dim, len(room.half_norms)):  # buffers and bounds go on
            batch.scan_batch(rows, first, last, asked, buffers, room)
        usable &= buffers.lengths[:q] != batch.OVERFLOWED
        return rows_found(buffers.rows[:q], np.where(usable, buffers.lengths[:q], 0), numbers), usable

    def _room(self) -> batch.Room:
        """Scratch of this thread: new memory for every batch takes as long as a scan of few rows."""
        room: batch.Room | None = getattr(self._scratch, "room", None)
        if room is None:
            self._scratch.room = room = batch.new_room(self.vectors.shape[1], len(self.vectors))
        return room

    @cached_property
    def _for_batches(self) -> batch.Rows:
        """All rows, as the kernel of batches reads them."""
        own_center = self.extent.center.astype(self.vectors.dtype)
        fits = _SCALES[0] < self.scale < _SCALES[1] and np.array_equal(own_center, self.extent.center)
        own_scale = self.vectors.dtype.type(self.scale if fits else 0.0)
        return batch.Rows(self.vectors, self.vectors.shape[1], _NO_ROWS, 0, self.metric.code, self.extent.center,
                          self.scale, own_center, own_scale)  # fmt: skip

    def _batch_slack(self, squared_norms: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray | float]:
        """Slack and slope of the bound for queries of these squared norms: the argument at the head of this file."""
        c = _batch_rounding(dim)
        floor = 1e-30 * (1 + np.sqrt(squared_norms))  # what float32 cannot represent at all
        if self.metric.code == INNER_PRODUCT:
            return 2 * c * np.sqrt(squared_norms) * self.extent.largest_norm * self.scale + floor, c
        return 9 * c * squared_norms + floor, 7 * c

    def _scan_single(self, queries: np.ndarray, k: int, numbers: np.ndarray | None, masks: np.ndarray | None,
                     start: int, stop: int, capacity: int) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """One query at a time: candidates (q, m), and which queries were answered."""
        rows, hits = np.empty((len(queries), capacity + PADDING), np.int32), one.new_hits(capacity)
        lengths = np.full(len(queries), batch.OVERFLOWED, np.int64)
        for i, query in enumerate(queries):
            query, slack, slope = self._single_slack(query)
            if math.isfinite(slack):
                scanned = self.rows(numbers, _NO_WORDS if masks is None else masks[i], start, stop)
                rule = one.Rule(k, slack, slope)
                lengths[i] = one.scan_one(scanned, query, rule, _LARGEST, hits._replace(rows=rows[i]))
        usable = lengths != batch.OVERFLOWED
        return rows_found(rows, np.where(usable, lengths, 0), numbers), usable

    def rows(self, numbers: np.ndarray | None, words: np.ndarray, start: int, stop: int) -> one.Rows:
        """Rows to scan for one query."""
        dim, some = self.vectors.shape[1], _NO_ROWS if numbers is None else numbers
        return one.Rows(self.vectors, dim, some, len(some), words, len(words), start, stop, self.metric.code)

    def _single_slack(self, query: np.ndarray) -> tuple[np.ndarray, float, float]:
        """The query as the kernel wants it, slack and slope; an infinite slack where the kernel must not be used."""
        wide = query.astype(np.float64)
        norm = math.sqrt(np.dot(wide, wide))
        extent, code = self.extent, self.metric.code
        slack, slope = one.slack_and_slope(norm, len(query), code, extent.largest_norm, extent.smallest_norm)
        if code == COSINE and math.isfinite(slack):
            query = (query / norm).astype(query.dtype)
        return query, slack, slope

    def _by_definition(self, queries: np.ndarray, open_queries: np.ndarray, k: int, numbers: np.ndarray | None,
                       masks: np.ndarray | None, keys: np.ndarray) -> np.ndarray:  # fmt: skip
        """The k nearest rows themselves, for the queries that the scans did not answer."""
        result = np.full((len(queries), k), -1, np.int64)
        everything = np.arange(len(self.vectors)) if numbers is None else numbers.astype(np.int64)
        ordered = keys[everything]
        if not (ordered[1:] > ordered[:-1]).all():
            everything = everything[np.argsort(ordered)]
        for i in open_queries:
            pool.check()
            rows = everything
            if masks is not None:
                rows = rows[rowsets.unpack(masks[i], len(self.vectors))[rows]]
            distances = np.empty((1, k))
            distance_kernels.nearest_by_definition(
                queries[i : i + 1].copy(), self.vectors, rows, self.metric.code, distances, result[i : i + 1]
            )
        return result

    def search_radius(self, queries: np.ndarray, radius: float, alive: np.ndarray | None, n_threads: int,
                      counters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Candidates within `radius`: limits (q + 1,) and rows, as in `Structure.search_radius`."""
        numbers, masks = self._rows_to_scan(alive, len(queries))
        n = len(self.vectors) if numbers is None else len(numbers)
        counters[:, DISTANCES] += n
        counters[:, BYTES] += n * self.vectors.shape[1] * self.vectors.itemsize
        found = []
        for i, query in enumerate(queries):
            words = _NO_WORDS if masks is None else masks[i]
            ranges = pool.split(0, n, n_threads, 64)
            parts = pool.run(
                lambda a, b, query=query, words=words: self._within(query, radius, numbers, words, a, b),
                ranges,
                n_threads,
            )
            found.append(np.concatenate(parts))
        limits = np.zeros(len(queries) + 1, np.int64)
        np.cumsum([len(rows) for rows in found], out=limits[1:])
        return limits, np.concatenate(found) if found else np.empty(0, np.int64)

    def _within(self, query: np.ndarray, radius: float, numbers: np.ndarray | None, words: np.ndarray, start: int,
                stop: int) -> np.ndarray:  # fmt: skip
        """Rows of start..stop-1 that may lie within the radius."""
        query, slack, slope = self._single_slack(query)
        if not np.isfinite(slack):
            rows = np.arange(start, stop)
            if len(words):
                rows = rows[rowsets.unpack(words, len(self.vectors))[rows]]
            return rows if numbers is None else numbers[rows].astype(np.int64)
        value = {L2: abs(radius) * radius, COSINE: radius - 1.0, INNER_PRODUCT: radius}[self.metric.code]
        bound = np.float32(max(min(value + slack + (slope + 2.0**-22) * abs(value), float(_LARGEST)), -float(_LARGEST)))
        bound = np.nextafter(bound, np.float32(np.inf)) if bound < _LARGEST else bound
        hits, parts = one.new_hits(_WITHIN_CAPACITY), []
        while start < stop:
            length, start = one.scan_within(self.rows(numbers, words, start, stop), query, bound, hits)
            parts.append(hits.rows[:length].astype(np.int64))
        found = np.concatenate(parts) if parts else np.empty(0, np.int64)
        return found if numbers is None else numbers[found].astype(np.int64)


def are_few(queries: np.ndarray) -> bool:
    """Whether queries are so few that all rows of a small set are candidates sooner than a scan is prepared.

    Rows that a filter allows lie anywhere; they are measured there, in less time than it takes to copy them together.
    """
    return len(queries) * queries.itemsize <= _FEW_QUERIES


def _batch_rounding(dim: int) -> float:
    """c, see the head of the file."""
    return (1.1 * dim + 16) * _U


def unit_queries(queries: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """For `ip`: queries times powers of two that bring them near length 1 (a query's own length changes no order).

    Also what the type of a distance cannot represent, in units of these queries and of rows times `scale`: (q,).
    """
    exponents = -np.frexp(np.abs(queries).max(axis=1))[1]
    with np.errstate(over="ignore"):
        least = np.ldexp(float(np.finfo(queries.dtype).smallest_subnormal) * scale, exponents)
    return np.ldexp(queries, exponents[:, None]), queries.shape[1] * least


def _every_row(q: int, n: int, numbers: np.ndarray | None, alive: np.ndarray | None) -> np.ndarray:
    """All rows, for every query; those whose bit is not set are left out."""
    rows = np.arange(n, dtype=np.int64) if numbers is None else numbers.astype(np.int64)
    if alive is None:
        return np.broadcast_to(rows, (q, n)) if q > 1 else np.tile(rows, (q, 1))
    return np.where(rowsets.unpack(alive, n), rows, -1)


def rows_found(rows: np.ndarray, lengths: np.ndarray, numbers: np.ndarray | None) -> np.ndarray:
    """Buffers of positions (q, capacity) as rows (q, longest), -1 behind a buffer's end."""
    longest = int(lengths.max(initial=0))
    if numbers is None and (lengths == longest).all():
        return rows[:, :longest].astype(np.int64)
    found = rows[:, :longest].astype(np.int64)
    behind = np.arange(longest) >= lengths[:, None]
    found[behind] = 0
    if numbers is not None and len(numbers):
        found = numbers[found].astype(np.int64)
    found[behind] = -1
    return found


def stack(parts: list[np.ndarray]) -> np.ndarray:
    """Blocks of candidates one below the other, padded to the same width."""
    if len(parts) == 1:
        return parts[0]
    width = max((part.shape[1] for part in parts), default=0)
    result = np.full((sum(len(part) for part in parts), width), -1, np.int64)
    start = 0
    for part in parts:
        result[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return result
