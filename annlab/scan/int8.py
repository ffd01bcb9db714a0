"""Exact search through bytes: an integer scan with a proven bound, and what could matter scored exactly.

`ByteScanner` answers like `Scanner`, to the last bit, while it reads a quarter of the bytes and multiplies four times
as many numbers at once. It needs a quantized copy: dim bytes and four bytes of terms for a row.

The bound
---------
All vectors are centred (about the mean, or about an integer where all data are integers that fit into a byte) and
scaled by a power of two into float32: x and q. A row is stored as bytes y with a step t: x = t y + e. A query becomes z
with step t_q: q = t_q z + r. The row's ranking value R = h - q.x (h = |x|^2 / 2, or 0 for `ip`) is

    R + r.m = h - t_q t (y.z) - q.e - r.(t y - m)  >=  h - t_q t (y.z) - |q| |e| - |r| |t y - m|  =: t_q v

by Cauchy and Schwarz, for any m (here about the mean of the rows, which is not 0 where bytes are about an integer), and
at most t_q v + 2 (|q| |e| + |r| |t y - m|). r.m is the same for all rows of a query and changes no order. So if U is
the largest such upper value of any k rows, every row among the k nearest has t_q v <= U. The scan keeps what passes,
lowers U as it goes, and `Index` scores the rest, some tens of rows in a million; data without loss (SIFT, pixels:
e = 0, and r = 0 where a query's bytes may be as large as a row's) leave hardly more than k.

The step t and the largest |e| and |t y - m| are kept for a panel of 32 rows, and t_q for a tile's queries, which are
sorted by the step they want: that loosens v by little, and one row or query unlike all others spoils one panel or tile.

Rounding, with u = 2^-24:

(a) x and q are rounded to float32: R errs by 2u h + 2u |q||x|.
(b) y.z and the sums that a tile ends with are exact integers: |127 - y| <= 255 and |z| <= 127 give at most 32,385 dim,
    which with a start of at most 2^29 stays below 2^31 for dim <= MAX_DIM. What the 127 added is taken off in
    integers too: in many dimensions it is far larger than what remains, and beyond what float32 holds.
(c) A tile starts from h / (t_q t), rounded down; where it exceeds 2^29 it is cut off, which only lowers v, and such a
    row is never used for U. Later v is computed from the sum in float32 and (|q|/t_q) (|e| + (|r|/|q|) |t y - m|): each
    of at most eight operations errs by u of h + |q||e| + |r||t y - m| + |q||x|, over t_q. Therefore h is stored as
    h (1 - 16u), |e| as (|e| + 16u |x|) (1 + 16u), |t y - m| as |t y - m| (1 + 16u), and |q| / t_q is rounded up: the
    computed v is below the true one. The integer bound of the tile has 2^-21 of itself and 2 to spare.
(d) U takes the same margins upwards, three integer units for the roundings to integers, and another 2^-20 of itself
    and of |q|^2 to spare.

A query that is almost the center keeps a step that leaves room for h (`smallest_step`) and is nearly all rest. One
whose survivors overflow its buffer goes to the float32 scan, alone.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from annlab.common import pool
from annlab.common.statistics import BYTES, DISTANCES, N_COUNTERS
from annlab.distances import Metric
from annlab.kernels import tile
from annlab.kernels.distance import COSINE, INNER_PRODUCT
from annlab.kernels.scan import batch, one_bytes
from annlab.kernels.scan import int8 as int8_kernels
from annlab.kernels.simd.memory import aligned
from annlab.kernels.simd.path import PATH_NAME
from annlab.kernels.simd.registers import LANES
from annlab.scan.points import Extent
from annlab.scan.scanner import Scanner, rows_found, stack, unit_queries

MAX_DIM = 40_000  # so that sums of products of bytes stay within int32
_U = 2.0**-24
_STORED = int8_kernels.STORED_ROWS
_TILE_FROM = 4  # queries: below, a tile of a whole group wastes more than reading the codes once for every query
_BUFFER_BYTES = 32 * 2**20
_LEAST_CAPACITY = 1024  # of a query's buffer: on clustered data the first bounds leave many rows
_CAPACITY_OF_ONE = 4096  # the same for a query that is scanned alone: that overflows only where the bound is of no use
_FEW = 8  # where a filter leaves less than one row in so many, only those rows are scanned, in float32
_SMALLEST = 20_000  # rows: below, everything fits into the caches and batches are as fast without bytes
_SMALLEST_FOR_ONE = 512  # rows: below, one query takes as long without bytes
_LONGEST, _LARGEST_TIE = 1e15, 1e30  # of a query: beyond, the argument does not hold
_LARGEST_LOWEST = 2**20  # of data that are scanned as integers: these and a byte more are exact in float32
_MOST_RESCANNED = 0.05  # of a sample's queries: above, bytes do not pay
_NO_WORDS = np.empty(0, np.uint64)


class ByteScanner(Scanner):
    """A scanner with a quantized copy of its vectors (n, dim).

    `codes` (panels, quads, 32, 4) uint8, `half_norms` (panels, 32) and `limits` (panels, 3) float32 are laid out as
    `kernels/scan/int8.py` says; `byte_center` (dim,) and `exact_step` say how vectors become bytes.
    """

    def __init__(self, vectors: np.ndarray, metric: Metric, extent: Extent, byte_center: np.ndarray, exact_step: float,
                 codes: np.ndarray, half_norms: np.ndarray, limits: np.ndarray, *,
                 for_all: bool = True) -> None:  # fmt: skip
        """`for_all`: batches are scanned as bytes however few rows there are."""
        super().__init__(vectors, metric, extent)
        self.for_all = for_all
        self.byte_center, self.exact_step = byte_center, exact_step
        self.codes, self.half_norms, self.limits = codes, half_norms, limits
        self.byte_scale = exact_step or self.scale

    @cached_property
    def smallest_step(self) -> float:
        """The step of a query below which the half norm of a typical row would leave the range of integers."""
        some = slice(None, None, max(1, len(self.codes) // 256))
        with np.errstate(all="ignore"):
            typical = self.half_norms[some] / self.limits[some, int8_kernels.STEP, None]
        typical = typical[np.isfinite(typical)]
        return (float(np.median(typical)) if len(typical) else 0.0) * 2.0**-26 + 1e-30

    @cached_property
    def for_kernels(self) -> int8_kernels.Codes:
        """What kernels read."""
        return self._codes(self.smallest_step)

    def _codes(self, smallest_step: float) -> int8_kernels.Codes:
        dtype, scale, (n, dim) = self.vectors.dtype, self.byte_scale, self.vectors.shape
        return int8_kernels.Codes(
            self.codes, self.half_norms, self.limits, self.codes.shape[1], n, dim, self.metric.code, self.byte_center,
            scale, self.exact_step, smallest_step, self.extent.largest_norm * scale,
            float(np.finfo(dtype).smallest_subnormal),
        )  # fmt: skip

    def serves_one(self, k: int) -> bool:
        """Whether bytes are of use for a query that asks for k rows."""
        return not self.underflows and len(self.vectors) > max(8 * k, _STORED)

    @property
    def serves_batches(self) -> bool:
        """Whether bytes are of use for batches: with few rows everything is in the caches anyway."""
        return self.for_all or len(self.vectors) >= _SMALLEST

    @classmethod
    def of(cls, vectors: np.ndarray, metric: Metric, extent: Extent, n_threads: int = 1, *,
           for_all: bool = True) -> "ByteScanner":  # fmt: skip
        """Quantize vectors (n, dim), dim <= MAX_DIM."""
        n, dim = vectors.shape
        mean = extent.center
        if metric.code == INNER_PRODUCT:
            mean = Extent.of(vectors, metric, None, about_mean=True).center
        center, exact_step = _integer_center(vectors, metric)
        if not exact_step:
            center = mean
        panels, quads = -(-n // _STORED), -(-dim // 4)
        codes = aligned((panels, quads, _STORED, 4), np.uint8)  # a register of them never lies across two lines
        codes[...] = 0
        half_norms = np.zeros((panels, _STORED), np.float32)
        limits = np.zeros((panels, int8_kernels.N_LIMITS), np.float32)
        result = cls(vectors, metric, extent, center, exact_step, codes, half_norms, limits, for_all=for_all)
        tasks = [(mean, *ends) for ends in pool.split(0, n, n_threads, _STORED)]
        pool.run(result._quantize, tasks, n_threads)
        return result

    def extended(self, vectors: np.ndarray, extent: Extent, n_threads: int = 1) -> "ByteScanner | None":
        """A scanner of `vectors`, which begin with this one's, that quantizes only the panels of the new ones.

        None where the new ones need another scale, center or step, so that all must be quantized.
        """
        n, kept = len(vectors), len(self.vectors) // _STORED  # a last panel that is not full is done again
        new, mean = vectors[len(self.vectors) :], extent.center
        if self.exact_step and (
            self.metric.code == INNER_PRODUCT or not _are_bytes(new, self.byte_center[0] - 128.0, self.metric)
        ):
            return None
        if not self.exact_step:
            mean = self.byte_center
        more = -(-n // _STORED) - kept
        arrays = []
        for array in (self.codes, self.half_norms, self.limits):
            longer = aligned((kept + more, *array.shape[1:]), array.dtype.type)
            longer[:kept], longer[kept:] = array[:kept], 0
            arrays.append(longer)
        result = ByteScanner(
            vectors, self.metric, extent, self.byte_center, self.exact_step, *arrays, for_all=self.for_all
        )
        if result.scale != self.scale:
            return None
        tasks = [(mean, *ends) for ends in pool.split(kept * _STORED, n, n_threads, _STORED)]
        pool.run(result._quantize, tasks, n_threads)
        return result

    def _quantize(self, mean: np.ndarray, start: int, stop: int) -> None:
        dim, codes = self.vectors.shape[1], self._codes(0.0)  # a query's smallest step is known when all is quantized
        mean, space = (mean - self.byte_center) * self.byte_scale, int8_kernels.quantizing_space(dim)
        for first, last in pool.portions(start, stop, 8 * dim, _STORED):
            int8_kernels.quantize_rows(self.vectors, first, last, codes, mean, *space)

    def search(self, queries: np.ndarray, k: int, alive: np.ndarray | None, keys: np.ndarray, n_threads: int,
               counters: np.ndarray) -> np.ndarray:  # fmt: skip
        """Candidates (q, m), -1 padded: fewer than those of `Scanner`, with the same k nearest among them."""
        few, (n, allowed) = len(queries) < _TILE_FROM, self._read_and_allowed(alive, len(queries))
        if not self.serves_one(k) or allowed < max(n // _FEW, 8 * k) or not (few or self.serves_batches):
            return super().search(queries, k, alive, keys, n_threads, counters)
        counters[:, DISTANCES] += n
        counters[:, BYTES] += n * (4 * self.codes.shape[1] + 4)
        n_threads = pool.awake(len(queries) * self.codes.size, n_threads) if few else n_threads
        capacity = max(8 * k, _CAPACITY_OF_ONE if few else _LEAST_CAPACITY) + tile.PANEL_ROWS
        if len(queries) == 1 and n_threads == 1:  # splitting and stacking would take a good part of the time
            found, usable = self._scan_for_few(queries, k, alive, 0, len(self.codes), capacity)
            if usable[0]:
                return found
        block = max(tile.QUERIES_IN_TILE, _BUFFER_BYTES // (8 * capacity))
        parts = []
        for start in range(0, len(queries), block):
            some = slice(start, start + block)
            masks = alive if alive is None or alive.ndim == 1 else np.ascontiguousarray(alive[some])
            parts.append(self._certified_block(queries[some], k, masks, keys, n_threads, capacity, counters[some]))
        return stack(parts)

    def _read_and_allowed(self, alive: np.ndarray | None, q: int) -> tuple[int, int]:
        """How many rows q queries read as bytes, and how many the least choosy of them may have.

        One query passes over panels of which a filter allows nothing; of rows that lie sorted, these can be most.
        """
        n = len(self.vectors)
        if alive is None:
            return n, n
        allowed = int(np.bitwise_count(alive).sum(axis=-1).max(initial=0))
        if q == 1:
            n = min(n, _STORED * int(np.count_nonzero(alive.view(np.uint32))))
        return n, allowed

    def _certified_block(self, queries: np.ndarray, k: int, masks: np.ndarray | None, keys: np.ndarray, n_threads: int,
                         capacity: int, counters: np.ndarray) -> np.ndarray:  # fmt: skip
        """Candidates of a block of queries; those whose bound is of no use are answered by the float32 scan."""
        scan: Callable[..., tuple[np.ndarray, np.ndarray]]
        given: np.ndarray | _PackedQueries
        if len(queries) < _TILE_FROM:
            scan, given, order = self._scan_for_few, queries, np.arange(len(queries))
        else:
            given = _PackedQueries(self, queries)
            scan, order = self._scan_codes, given.order
        tasks = [(given, k, masks, *ends, capacity) for ends in pool.split(0, len(self.codes), n_threads)]
        found = pool.run(scan, tasks, n_threads)
        lost = ~np.logical_and.reduce([usable for _, usable in found])
        result = np.full((len(queries), sum(rows.shape[1] for rows, _ in found)), -1, np.int64)
        result[order] = np.hstack([rows for rows, _ in found])
        if lost.any():
            which = np.sort(order[lost])
            some = masks if masks is None or masks.ndim == 1 else masks[which]
            spent = np.zeros((len(which), counters.shape[1]), np.int64)
            again = super().search(queries[which], k, some, keys, n_threads, spent)
            counters[which] += spent
            result[which] = -1
            both = np.full((len(queries), again.shape[1]), -1, np.int64)
            both[which] = again
            result = np.hstack([result, both])
        return result

    def _scan_for_few(self, queries: np.ndarray, k: int, masks: np.ndarray | None, first_panel: int, last_panel: int,
                      capacity: int) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Scan some panels for one query after the other: candidates, and which queries were answered."""
        room, panel_bytes = one_bytes.new_room(queries.shape[1], capacity), self.codes[:1].nbytes
        rows, usable = [], np.ones(len(queries), bool)
        for i, query in enumerate(queries):
            words = _NO_WORDS if masks is None else masks if masks.ndim == 1 else masks[i]
            found = [np.empty(0, np.int32)]
            for panels in pool.portions(first_panel, last_panel, panel_bytes / 4):
                length = one_bytes.scan_bytes_one(self.for_kernels, query, *panels, words, room, k)
                usable[i] &= length != batch.OVERFLOWED
                found.append(room.hits.rows[: max(length, 0)].copy())
            rows.append(np.concatenate(found).astype(np.int64)[None])
        return stack(rows), usable

    def _scan_codes(self, packed: "_PackedQueries", k: int, masks: np.ndarray | None, first_panel: int,
                    last_panel: int, capacity: int) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Scan some panels: candidates in the packed order, and which queries were answered."""
        q, panel_bytes = len(packed.order), self.codes[:1].nbytes
        asked, buffers, room = packed.with_filter(masks), batch.new_buffers(q, k, capacity), int8_kernels.new_room()
        buffers.bounds[:q][packed.usable] = np.finfo(np.float32).max
        at_once = max(1, int8_kernels.BLOCK_BYTES // panel_bytes)
        for panels in pool.portions(first_panel, last_panel, q * panel_bytes / 4, at_once):
            int8_kernels.scan_bytes(self.for_kernels, *panels, asked, buffers, room)
        int8_kernels.finish_bytes(self.for_kernels, asked, buffers)
        usable = packed.usable & (buffers.lengths[:q] != batch.OVERFLOWED)
        return rows_found(buffers.rows[:q], np.where(usable, buffers.lengths[:q], 0), None), usable


class _PackedQueries:
    """Quantized queries in groups that share a step; `order` says which query stands where.

    Sorted by the step that each wants, so that a group's, the largest, suits all of it.
    """

    def __init__(self, scanner: ByteScanner, queries: np.ndarray) -> None:
        (q, dim), group = queries.shape, tile.QUERIES_IN_TILE
        quads, metric = scanner.codes.shape[1], scanner.metric.code
        center, scale, exact_step = scanner.byte_center, scanner.byte_scale, scanner.exact_step
        underflow = np.zeros(q)
        if metric == INNER_PRODUCT:  # a query's own length changes no order, and a query has no center
            queries, underflow = unit_queries(queries, scanner.byte_scale)
            center, scale, exact_step = np.zeros(dim), 1.0, 0.0
        converted, signed = int8_kernels.quantizing_space(dim)
        norms, wanted = np.empty(q), np.empty(q)
        with np.errstate(over="ignore"):
            int8_kernels.measure_queries(queries, metric, center, scale, exact_step, converted[0], signed, norms,
                                         wanted)  # fmt: skip
        wanted = np.maximum(wanted, scanner.smallest_step)
        self.order, groups = np.argsort(wanted, kind="stable"), batch.padded_to_groups(q) // group
        padded = groups * group
        self.usable = np.isfinite(norms) & (norms < _LONGEST)
        steps = np.full(padded, wanted.max())
        steps[:q] = np.where(self.usable, wanted, 1.0)[self.order]
        group_steps = steps.reshape(groups, group).max(axis=1).astype(np.float32)
        steps = np.repeat(group_steps.astype(np.float64), group)
        self.usable, norms = self.usable[self.order], norms[self.order]
        packed, spans, ratios = np.zeros((groups, quads, group, 4), np.int8), *np.zeros((2, padded + LANES), np.float32)
        offsets, rests, ties = np.zeros(padded + LANES, np.int32), np.zeros(q), np.zeros(padded)
        int8_kernels.pack_byte_queries(queries[self.order], metric, center, scale, steps, converted[0], packed, offsets,
                                       rests)  # fmt: skip
        norms = np.where(self.usable, norms, 1.0)
        up = (1 + 4 * _U) ** 2
        spans[:q] = norms / steps[:q] * up
        ratios[:q] = rests / np.maximum(norms, 1e-300) * up
        reach = scanner.extent.largest_norm * scanner.byte_scale if metric == INNER_PRODUCT else norms
        ties[:q] = (2.0**-20 * norms * reach + underflow[self.order] + int8_kernels.FLOOR) / steps[:q]
        self.usable &= ties[:q] < _LARGEST_TIE
        self.queries = int8_kernels.Queries(packed, q, 1 / group_steps, spans, ratios, offsets, ties, _NO_WORDS, 0,
                                            False)  # fmt: skip

    def with_filter(self, masks: np.ndarray | None) -> int8_kernels.Queries:
        """What kernels read, with the bits of the rows that each query (q, words), or all (words,), may have."""
        if masks is None:
            return self.queries
        if masks.ndim == 1:
            return self.queries._replace(alive=masks, has_alive=True)
        return self.queries._replace(alive=masks[self.order].ravel(), words_each=masks.shape[1], has_alive=True)


def _integer_center(vectors: np.ndarray, metric: Metric) -> tuple[np.ndarray, float]:
    """For integers that span at most a byte: the center that loses nothing, and the step 1; else nothing and 0."""
    lowest, dim = float(vectors.min()), vectors.shape[1]
    if abs(lowest) > _LARGEST_LOWEST or lowest != np.floor(lowest) or not _are_bytes(vectors, lowest, metric):
        return np.zeros(dim), 0.0
    return np.full(dim, lowest + 128.0), 1.0


def _are_bytes(vectors: np.ndarray, lowest: float, metric: Metric) -> bool:
    """Whether all values are integers from `lowest` to 255 more, and are scanned as they are."""
    if metric.code == COSINE or float(vectors.min()) < lowest or float(vectors.max()) - lowest > 255:
        return False
    portions = (vectors[start : start + 65536] for start in range(0, len(vectors), 65536))
    return all(np.array_equal(some, np.floor(some)) for some in portions)


def pays(scanner: ByteScanner, rng: np.random.Generator) -> bool:
    """Whether the byte scan is worth having for these data: few survivors, measured on a sample of rows as queries.

    What survives is measured again, which takes a scan of one query about as long as some rows for each.
    """
    n = len(scanner.vectors)
    at_once = tile.QUERIES_IN_TILE if scanner.serves_batches else 1
    rows = np.sort(rng.choice(n, min(n, 4 * tile.QUERIES_IN_TILE if at_once > 1 else 12), replace=False))
    counters, survivors = np.zeros((len(rows), N_COUNTERS), np.int64), np.zeros(len(rows))
    for start in range(0, len(rows), at_once):
        some = slice(start, start + at_once)
        queries = np.ascontiguousarray(scanner.vectors[rows[some]])
        found = scanner.search(queries, 10, None, np.arange(n), 1, counters[some])
        survivors[some] = np.count_nonzero(found >= 0, axis=1)
    rescanned = counters[:, DISTANCES] > n
    most = max(64, n // 100) if scanner.serves_batches else n // 8
    return bool(rescanned.mean() < _MOST_RESCANNED and np.median(survivors) <= most)


def suits(vectors: np.ndarray) -> bool:
    """Whether `auto` should try bytes at all: enough rows and dimensions, and a CPU that multiplies bytes quickly."""
    n, dim = vectors.shape
    return n >= _SMALLEST_FOR_ONE and 8 <= dim <= MAX_DIM and PATH_NAME != "generic"


def check_arrays(arrays: dict[str, Any], n: int, dim: int) -> None:
    """Raise a ValueError unless stored codes and their terms fit n vectors."""
    panels, quads = -(-n // _STORED), -(-dim // 4)
    wanted = {
        "codes": (np.uint8, (panels, quads, _STORED, 4)),
        "half_norms": (np.float32, (panels, _STORED)),
        "limits": (np.float32, (panels, int8_kernels.N_LIMITS)),
        "byte_center": (np.float64, (dim,)),
        "exact_step": (np.float64, (1,)),
    }
    for name, (dtype, shape) in wanted.items():
        if arrays[name].dtype != dtype or arrays[name].shape != shape:
            raise ValueError(f"array {name!r} is {arrays[name].dtype} {arrays[name].shape}, should be {shape}")
    limits = arrays["limits"]
    if not (np.isfinite(limits).all() and (limits >= 0).all() and (limits[:, int8_kernels.STEP] > 0).all()):
        raise ValueError("the limits of a panel must be finite, and its step positive")
    if dim > MAX_DIM or not np.isfinite(arrays["byte_center"]).all() or arrays["exact_step"][0] not in (0.0, 1.0):
        raise ValueError("the quantization is out of range")
