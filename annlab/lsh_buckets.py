"""Finding candidates in hash tables: rows that share a key with the query, or nearly.

A key is `n_bits` signs; rows that are near the query share it often, others rarely. What a single table misses, others
find, and so do neighbouring buckets of the same table: which of them to look into first, the query's own projections
tell (`kernels/buckets.py`). The arrays:

    records   (n, words + 1) uint64       a row's code, then its two estimation numbers (float32 each)
    offsets   (n_tables, 2^n_bits + 1)    int32, of the rows of each bucket
    rows      (n_tables, n)               int32, ascending in each bucket

New rows go to a second, small set of tables (`recent`), which is rebuilt when rows are added and merged with the first
when it has grown to an eighth of it, so that growing costs little more than building once.
"""

import heapq
from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

import numpy as np

from annlab.kernels import buckets as kernels
from annlab.kernels.topk import PADDING
from annlab.lsh_codes import Codes
from annlab.state import Column

MAX_KEY_BITS = 24
_MERGE_AT = 8  # the share of the first tables' rows at which the second ones are merged with them
_NO_WORDS = np.empty((0, 0), np.uint64)
_SMALLEST_CAP = 4096


@dataclass(frozen=True)
class Tables:
    """Hash tables over some consecutive rows."""

    offsets: np.ndarray
    rows: np.ndarray

    @classmethod
    def build(cls, codes: np.ndarray, first_row: int, n_tables: int, n_bits: int) -> Self:
        """Of codes (m, words), which are the rows first_row, first_row + 1, ..."""
        offsets = np.zeros((n_tables, 2**n_bits + 1), np.int32)
        rows = np.empty((n_tables, len(codes)), np.int32)
        kernels.fill(codes, first_row, n_bits, offsets, rows)
        return cls(offsets, rows)

    def check(self, first_row: int, stop_row: int) -> None:
        """Raise a ValueError unless every bucket lies within `rows`, and every row within first_row..stop_row-1."""
        offsets, rows = self.offsets, self.rows
        if offsets.dtype != np.int32 or rows.dtype != np.int32 or offsets.ndim != 2 or rows.ndim != 2:
            raise ValueError(f"bucket offsets {offsets.dtype} {offsets.shape} and rows {rows.dtype} {rows.shape}")
        if len(rows) != len(offsets) or rows.shape[1] != stop_row - first_row:
            raise ValueError(f"buckets of {rows.shape} for {len(offsets)} tables of {stop_row - first_row} rows")
        if (offsets[:, 0] != 0).any() or (offsets[:, -1] != rows.shape[1]).any() or (np.diff(offsets) < 0).any():
            raise ValueError("bucket offsets do not ascend from 0 to the number of rows")
        if rows.size and not (first_row <= rows.min() and rows.max() < stop_row):
            raise ValueError(f"a bucket holds a row outside {first_row}..{stop_row - 1}")


@dataclass(frozen=True)
class BucketStatistics:
    """How evenly rows fall into buckets, over all tables.

    Attributes
    ----------
    sizes : (buckets,) int32
        Rows in every bucket of every table.
    empty : float
        The share of buckets without rows.
    largest : float
        The share of all rows that the fullest bucket of a table holds.
    skew : float
        How many rows share the bucket of a random row, times the number of buckets, over the number of rows: 1 if all
        buckets are equal, more the more a few buckets hold.
    """

    sizes: np.ndarray
    empty: float
    largest: float
    skew: float

    def __str__(self) -> str:
        return (f"BucketStatistics({len(self.sizes)} buckets, {self.empty:.1%} empty, the fullest holds "
                f"{self.largest:.2%} of the rows, skew {self.skew:.1f})")  # fmt: skip


class BucketTables:
    """Records of rows 0..n-1 and tables over them."""

    def __init__(self, records: Column, base: Tables, recent: Tables, n_bits: int) -> None:
        self.records, self.base, self.recent, self.n_bits = records, base, recent, n_bits
        self._templates: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    @classmethod
    def build(cls, codes: Codes, n_tables: int, n_bits: int) -> Self:
        """From the codes of all rows."""
        base = Tables.build(codes.bits, 0, n_tables, n_bits)
        return cls(Column(_records(codes)), base, _no_tables(base), n_bits)

    @property
    def n(self) -> int:
        return len(self.records.array)

    @property
    def n_tables(self) -> int:
        return len(self.base.offsets)

    def extended(self, codes: Codes) -> Self:
        """With some more rows behind these."""
        records = self.records.extended(_records(codes))
        n_base = self.base.rows.shape[1]
        if len(records.array) - n_base > n_base // _MERGE_AT:
            base = Tables.build(records.array, 0, self.n_tables, self.n_bits)
            return type(self)(records, base, _no_tables(base), self.n_bits)
        recent = Tables.build(records.array[n_base:], n_base, self.n_tables, self.n_bits)
        return type(self)(records, self.base, recent, self.n_bits)

    def cap(self, keep: int) -> int:
        """Candidates after which a query stops looking into further buckets: see the kernel."""
        return min(self.n, max(_SMALLEST_CAP, 4 * keep, self.n // 8))

    def search(self, codes: np.ndarray, projections: np.ndarray, n_probes: int, keep: int,
               alive: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Rows (q, keep), -1 where none, and what was done (q, 3): see `kernels.probe`."""
        cap, n_tables = self.cap(keep), self.n_tables
        keep = min(keep, cap)
        parent, rank = self._template(n_probes)
        size = len(parent) * n_tables + PADDING
        words = _NO_WORDS if alive is None else np.atleast_2d(np.ascontiguousarray(alive))
        found, done = np.full((len(codes), keep), -1, np.int64), np.zeros((len(codes), 3), np.int64)
        low = np.empty(max(size, cap) + 2 * PADDING, np.float32)
        kernels.probe(
            projections, codes, self.n_bits, min(n_probes, n_tables << self.n_bits), parent, rank, self.base.offsets,
            self.base.rows, self.recent.offsets, self.recent.rows, self.records.array,
            self.records.array.view(np.float32), words, cap, keep, np.empty(size, np.float32), np.empty(size, np.int64),
            low, np.empty_like(low), np.zeros(self.n // 64 + 1, np.uint64), np.empty(cap, np.int32),
            np.empty(cap + PADDING, np.float32), found, done,
        )  # fmt: skip
        return found, done

    def _template(self, n_probes: int) -> tuple[np.ndarray, np.ndarray]:
        """Sets of flipped bits that can be among the n_probes cheapest of all tables, for most queries."""
        share = -(-n_probes // self.n_tables)
        n_sets = min(4 * share + 8, n_probes, 2**self.n_bits) if self.n_tables > 1 else min(n_probes, 2**self.n_bits)
        n_sets = 1 << (n_sets - 1).bit_length()
        n_sets = min(n_sets, 2**self.n_bits)
        if n_sets not in self._templates:
            self._templates[n_sets] = cheapest_sets(self.n_bits, n_sets)
        return self._templates[n_sets]

    def statistics(self) -> BucketStatistics:
        """How rows fall into buckets."""
        sizes = np.diff(self.base.offsets, axis=1)
        if self.recent.rows.size:
            sizes = sizes + np.diff(self.recent.offsets, axis=1)
        squares = (sizes.astype(np.float64) ** 2).sum(axis=1)
        skew = float((squares * sizes.shape[1] / self.n**2).mean())
        return BucketStatistics(sizes.ravel(), float((sizes == 0).mean()), float(sizes.max() / self.n), skew)


def cheapest_sets(n_bits: int, n_sets: int) -> tuple[np.ndarray, np.ndarray]:
    """Sets of ranks in the order of their expected cost, as (parent, rank): set i is set parent[i] and rank[i].

    The bit of rank j has the j-th smallest squared projection of n_bits; the expectation is that of normal numbers.
    Set 0 is the empty one. Sets are grown by their largest rank, so every set comes after its parent.
    """
    normal = NormalDist()
    expected = [normal.inv_cdf(0.5 + 0.5 * (j + 1) / (n_bits + 1)) ** 2 for j in range(n_bits)]
    parent, rank = np.zeros(n_sets, np.int32), np.zeros(n_sets, np.int32)
    heap = [(expected[0], 0, 0)]  # cost, parent, largest rank
    for i in range(1, n_sets):
        cost, parent[i], rank[i] = heapq.heappop(heap)
        last = int(rank[i])
        if last + 1 < n_bits:
            heapq.heappush(heap, (cost - expected[last] + expected[last + 1], int(parent[i]), last + 1))
            heapq.heappush(heap, (cost + expected[last + 1], i, last + 1))
    return parent, rank


def _records(codes: Codes) -> np.ndarray:
    """Codes and estimation numbers of rows in one piece of memory each."""
    n, n_words = codes.bits.shape
    records = np.empty((n, n_words + 1), np.uint64)
    records[:, :n_words] = codes.bits
    numbers = records.view(np.float32)
    numbers[:, 2 * n_words], numbers[:, 2 * n_words + 1] = codes.halves, codes.slopes
    return records


def _no_tables(base: Tables) -> Tables:
    """Tables like these without rows."""
    return Tables(np.zeros_like(base.offsets[:, :2]), np.empty((len(base.offsets), 0), np.int32))
