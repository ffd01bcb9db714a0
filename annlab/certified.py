"""Exact search through bytes: an integer scan with a proven bound, and what could matter scored exactly.

`ByteScanner` answers like `Scanner`, to the last bit, while it reads a quarter of the bytes and multiplies four times as
many numbers at once. It needs a quantized copy: dim bytes and 16 bytes of terms for a row.

The bound
---------
All vectors are centred (about the mean, or about an integer where all data are integers that fit into a byte) and
scaled by a power of two into float32: x and q. A row is stored as bytes y with a step t: x = t y + e. A query becomes z
with step t_q: q = t_q z + r. The row's ranking value R = h - q.x (h = |x|^2 / 2, or 0 for `ip`) is

    R = h - t_q t (y.z) - q.e - r.(t y)  >=  h - t_q t (y.z) - |q| |e| - |r| |t y|  =: t_q v

by Cauchy and Schwarz; and at most t_q v + 2 (|q| |e| + |r| |t y|). So if U is the largest such upper value of any k rows,
every row among the k nearest has t_q v <= U. The scan keeps what passes, lowers U as it goes, and `Index` scores the
rest, some tens of rows in a million. Data without loss (SIFT, pixels: e = r = 0) leave hardly more than k.

Rounding, with u = 2^-24. (a) x and q are rounded to float32: R errs by 2u h + 2u |q||x|. (b) y.z is exact in int32: at
most 49,024 dim < 2^31 for dim <= MAX_DIM. (c) v is computed in float32 from h/t_q, (|q|/t_q) E with E = |e| + (|r|/|q|)|t y|,
and t (y.z): the conversion to float and four operations err by at most u each of the magnitudes involved, together
5u (h + |q| E + |q||x| + |r||t y|) / t_q. Therefore the terms are stored with a margin of 16u: h (1 - 16u), and
(|e| + 16u |x|)(1 + 16u), |t y| (1 + 16u), and |q| / t_q is rounded up: then the computed v is below the true one.
(d) U takes the same margins upwards, and another 2^-20 of itself and of |q|^2 for the last rounding of a distance to
float32, in which rows at slightly different R may tie.

|r| / |q| is shared by a group of queries that are scanned together, its largest value; queries are sorted by it, so that
one odd query loosens the bound of few others. A query that is (almost) the center itself is all rest: z = 0, r = q. One
whose survivors overflow its buffer goes to the float32 scan, alone.

Tried and dropped: see the notes on tighter bounds in benchmarks/README.md.
"""

from typing import Any

import numpy as np

from annlab import bits, threads
from annlab.distances import Metric
from annlab.kernels import scan, scan_bytes
from annlab.kernels.distance import COSINE, INNER_PRODUCT
from annlab.kernels.path import PATH_NAME
from annlab.kernels.simd import LANES
from annlab.kernels.topk import PADDING
from annlab.scanning import Extent, Scanner, rows_found, stack
from annlab.statistics import BYTES, DISTANCES

MAX_DIM = 40_000  # so that sums of products of bytes stay within int32
_U = 2.0**-24
_STORED = scan_bytes.STORED_ROWS
_TILE_FROM = 4  # queries: below, a tile of a whole group wastes more than reading the codes once for every query
_BUFFER_BYTES = 32 * 2**20
_FEW = 8  # where a filter leaves less than one row in so many, only those rows are scanned, in float32
_SMALLEST = 20_000  # rows: below, everything fits into the caches and the copy is not worth its memory


class ByteScanner(Scanner):
    """A scanner with a quantized copy of its vectors (n, dim).

    `codes` (panels, quads, 32, 4) uint8 and `terms` (panels, 4, 32) float32 are laid out as `kernels/scan_bytes.py`
    says; `byte_center` (dim,) and `exact_step` say how vectors become bytes.
    """

    def __init__(self, vectors: np.ndarray, metric: Metric, extent: Extent, byte_center: np.ndarray, exact_step: float,
                 codes: np.ndarray, terms: np.ndarray) -> None:  # fmt: skip
        super().__init__(vectors, metric, extent)
        self.byte_center, self.exact_step, self.codes, self.terms = byte_center, exact_step, codes, terms
        self.byte_scale = exact_step or self.scale

    @classmethod
    def of(cls, vectors: np.ndarray, metric: Metric, extent: Extent, n_threads: int = 1) -> "ByteScanner":
        """Quantize vectors (n, dim), dim <= MAX_DIM."""
        n, dim = vectors.shape
        center, exact_step = _integer_center(vectors, metric)
        if not exact_step:
            center = extent.center
            if metric.code == INNER_PRODUCT:
                center = Extent.of(vectors, metric, None, about_mean=True).center
        panels, quads = -(-n // _STORED), -(-dim // 4)
        codes = np.zeros((panels, quads, _STORED, 4), np.uint8)
        terms = np.zeros((panels, scan_bytes.N_TERMS, _STORED), np.float32)
        terms[:, scan_bytes.HALF_NORM] = np.inf
        result = cls(vectors, metric, extent, center, exact_step, codes, terms)
        threads.run(result._quantize, threads.split(0, n, n_threads, _STORED), n_threads)
        return result

    def _quantize(self, start: int, stop: int) -> None:
        dim, quads = self.vectors.shape[1], self.codes.shape[1]
        scan_bytes.quantize_rows(
            self.vectors, start, stop, self.metric.code, self.byte_center, self.byte_scale, self.exact_step,
            np.empty(dim, np.float32), np.zeros(4 * quads, np.int8), self.codes, self.terms,
        )  # fmt: skip

    def search(self, queries: np.ndarray, k: int, alive: np.ndarray | None, keys: np.ndarray, n_threads: int,
               counters: np.ndarray) -> np.ndarray:  # fmt: skip
        """Candidates (q, m), -1 padded: fewer than those of `Scanner`, with the same k nearest among them."""
        n = len(self.vectors)
        allowed = n if alive is None else int(np.bitwise_count(alive).sum(axis=-1).max(initial=0))
        if n <= max(8 * k, _STORED) or allowed < max(n // _FEW, 8 * k):
            return super().search(queries, k, alive, keys, n_threads, counters)
        counters[:, DISTANCES] += n
        counters[:, BYTES] += n * (4 * self.codes.shape[1] + 16)
        capacity = max(8 * k, 256) + scan.PANEL_ROWS
        block = max(scan.QUERIES_IN_TILE, _BUFFER_BYTES // (8 * capacity))
        parts = []
        for start in range(0, len(queries), block):
            some = slice(start, start + block)
            masks = alive if alive is None or alive.ndim == 1 else np.ascontiguousarray(alive[some])
            parts.append(self._certified_block(queries[some], k, masks, keys, n_threads, capacity, counters[some]))
        return stack(parts)

    def _certified_block(self, queries, k, masks, keys, n_threads, capacity, counters):  # type: ignore[no-untyped-def]
        """Candidates of a block of queries; those whose bound is of no use are answered by the float32 scan."""
        ranges = threads.split(0, len(self.codes), n_threads)
        group = scan.QUERIES_IN_TILE if len(queries) >= _TILE_FROM else 1
        packed = _PackedQueries(self, queries, group)
        tasks = [(packed, k, masks, *ends, capacity) for ends in ranges]
        found = threads.run(self._scan_codes, tasks, n_threads)
        lost = ~np.logical_and.reduce([usable for _, usable in found])
        result = np.full((len(queries), sum(rows.shape[1] for rows, _ in found)), -1, np.int64)
        result[packed.order] = np.hstack([rows for rows, _ in found])
        if lost.any():
            which = np.sort(packed.order[lost])
            some = masks if masks is None or masks.ndim == 1 else masks[which]
            again = super().search(queries[which], k, some, keys, n_threads, counters[which])
            result[which] = -1
            both = np.full((len(queries), again.shape[1]), -1, np.int64)
            both[which] = again
            result = np.hstack([result, both])
        return result

    def _scan_codes(self, packed, k, masks, first_panel, last_panel, capacity):  # type: ignore[no-untyped-def]
        """Scan some panels: candidates in the packed order, and which queries were answered."""
        q, padded = len(packed.order), len(packed.starts)
        words_each, alive = 0, np.empty(0, np.uint64)
        if masks is not None:
            alive = masks if masks.ndim == 1 else masks[packed.order]
            words_each = 0 if masks.ndim == 1 else masks.shape[1]
        bounds = np.full(padded, -np.inf, np.float32)
        bounds[:q][packed.usable] = np.finfo(np.float32).max
        lengths = np.zeros(padded, np.int64)
        values = np.empty((padded, capacity + PADDING), np.float32)
        rows = np.empty((padded, capacity + PADDING), np.int32)
        low = np.empty(capacity + 2 * PADDING, np.float32)
        high, surrogates = np.empty_like(low), np.empty(scan.ACCUMULATORS * LANES, np.float32)
        sizes = packed.inverse_steps, packed.spans, packed.ratios
        if packed.group > 1:
            scan_bytes.scan_bytes(packed.codes, packed.starts, q, self.codes, self.terms, first_panel, last_panel, alive,
                                  words_each, k, *sizes, packed.ties, bounds, lengths, values, rows, surrogates, low,
                                  high)  # fmt: skip
        else:
            for i in range(q):
                one = slice(i, i + 1)
                mask = alive[i] if words_each else alive
                scan_bytes.scan_bytes_one(packed.codes[one], packed.starts[one], self.codes, self.terms, first_panel,
                                          last_panel, mask, k, *(size[one] for size in sizes), packed.ties[one],
                                          bounds[one], lengths[one], values[one], rows[one], surrogates, low,
                                          high)  # fmt: skip
        scan_bytes.finish_bytes(self.terms, q, k, *sizes, packed.group, packed.ties, lengths, values, rows, low, high)
        usable = packed.usable & (lengths[:q] != scan.OVERFLOWED)
        return rows_found(rows[:q], np.where(usable, lengths[:q], 0), None), usable


class _PackedQueries:
    """Quantized queries in groups, sorted by how much quantizing cost them; `order` says which query stands where."""

    def __init__(self, scanner: ByteScanner, queries: np.ndarray, group: int) -> None:
        q, dim = queries.shape
        quads, metric = scanner.codes.shape[1], scanner.metric.code
        center, scale = scanner.byte_center, scanner.byte_scale
        if metric == INNER_PRODUCT:  # a query's own length changes no order, and a query has no center
            queries = np.ldexp(queries, -np.frexp(np.abs(queries).max(axis=1, keepdims=True))[1])
            center, scale = np.zeros(dim), 1.0
        self.group, groups = group, -(-q // group)
        padded = groups * group
        steps, norms, rests = np.ones(padded), np.zeros(padded), np.zeros(padded)
        exact_step = scanner.exact_step if metric != INNER_PRODUCT else 0.0
        self.order = np.arange(q)
        for _ in range(1 if group == 1 else 2):  # once to learn the order, once in that order
            self.codes = np.zeros((groups, quads, group, 4), np.int8)
            self.starts = np.zeros(padded, np.int32)
            scan_bytes.pack_byte_queries(queries[self.order], metric, center, scale, exact_step,
                                         np.empty(dim, np.float32), group, self.codes, self.starts, steps, norms,
                                         rests)  # fmt: skip
            ratios = rests / np.maximum(norms, 1e-300)
            if group > 1:
                self.order = self.order[np.argsort(ratios[:q], kind="stable")]
        up = 1 + 4 * _U
        self.inverse_steps = (1 / steps).astype(np.float32)
        self.spans = (norms / steps * up * up).astype(np.float32)
        self.ratios = (ratios.reshape(groups, group).max(axis=1) * up * up).astype(np.float32)
        extent = scanner.extent
        reach = norms * extent.largest_norm if metric == INNER_PRODUCT else norms**2
        self.ties = (reach * 2.0**-20 + 1e-30) / steps
        self.usable = np.isfinite(self.ties[:q]) & (norms[:q] < 1e15)


def _integer_center(vectors: np.ndarray, metric: Metric) -> tuple[np.ndarray, float]:
    """For integers that span at most a byte: the center that loses nothing, and the step 1; else nothing and 0."""
    lowest, highest = float(vectors.min()), float(vectors.max())
    if metric.code == COSINE or highest - lowest > 255 or abs(lowest) > 2**20 or lowest != np.floor(lowest):
        return np.zeros(vectors.shape[1]), 0.0
    for start in range(0, len(vectors), 65536):
        some = vectors[start : start + 65536]
        if not np.array_equal(some, np.floor(some)):
            return np.zeros(vectors.shape[1]), 0.0
    return np.full(vectors.shape[1], lowest + 128.0), 1.0


def pays(scanner: ByteScanner, rng: np.random.Generator) -> bool:
    """Whether the byte scan is worth having for these data: few survivors, measured on a sample of rows as queries."""
    n = len(scanner.vectors)
    rows = rng.choice(n, min(n, 4 * scan.QUERIES_IN_TILE), replace=False)
    counters = np.zeros((len(rows), 3), np.int64)
    queries = np.ascontiguousarray(scanner.vectors[np.sort(rows)])
    found = scanner.search(queries, 10, None, np.arange(n), 1, counters)
    survivors = np.count_nonzero(found >= 0, axis=1)
    rescanned = counters[:, DISTANCES] > n
    return bool(rescanned.mean() < 0.05 and np.median(survivors) <= max(64, n // 500))


def suits(vectors: np.ndarray) -> bool:
    """Whether `auto` should try bytes at all: enough rows and dimensions, and a CPU that multiplies bytes quickly."""
    n, dim = vectors.shape
    return n >= _SMALLEST and 8 <= dim <= MAX_DIM and PATH_NAME != "generic"


def check_arrays(arrays: dict[str, Any], n: int, dim: int) -> None:
    """Raise a ValueError unless stored codes and terms fit n vectors."""
    panels, quads = -(-n // _STORED), -(-dim // 4)
    wanted = {
        "codes": (np.uint8, (panels, quads, _STORED, 4)),
        "terms": (np.float32, (panels, scan_bytes.N_TERMS, _STORED)),
        "byte_center": (np.float64, (dim,)),
        "exact_step": (np.float64, (1,)),
    }
    for name, (dtype, shape) in wanted.items():
        if arrays[name].dtype != dtype or arrays[name].shape != shape:
            raise ValueError(f"array {name!r} is {arrays[name].dtype} {arrays[name].shape}, should be {shape}")
    if dim > MAX_DIM or not np.isfinite(arrays["byte_center"]).all() or arrays["exact_step"][0] not in (0.0, 1.0):
        raise ValueError("the quantization is out of range")
