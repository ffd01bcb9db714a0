"""Finding candidates in hash tables: rows that share a key with the query, or nearly.

Rows that are near the query share its key often, others rarely. What a single table misses, others find, and so do
neighbouring buckets of the same table: which of them to look into, the query's own projections tell. What a key is and
which buckets to probe is the matter of `hashing/keys.py`; here they are filled and read (`kernels/hashing/buckets.py`).
The arrays:

    records   (n, words + 1) uint64           a row's code, then its two estimation numbers (float32 each)
    offsets   (n_tables * 2^n_bits + 1,)      int64: where the rows of each bucket of each table begin
    rows      (n_tables * n,)                 int32, ascending in each bucket

New rows go to a second, small set of buckets (`recent`), which is merged with the first when it has grown to an eighth
of it, so that growing costs little more than building once.
"""

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from annlab.common import pool
from annlab.core.column import Column
from annlab.hashing.codes import QueryCodes
from annlab.kernels.hashing import buckets as kernels
from annlab.kernels.hashing.signs import Codes
from annlab.kernels.simd.memory import aligned

MAX_KEY_BITS = 24
_MERGE_AT = 8  # the share of the first buckets' rows at which the second ones are merged with them
_NO_WORDS = np.empty((0, 0), np.uint64)


@dataclass(frozen=True)
class Buckets:
    """The buckets of all tables over some consecutive rows."""

    offsets: np.ndarray
    rows: np.ndarray

    @classmethod
    def fill(cls, keys: np.ndarray, first_row: int, n_bits: int) -> Self:
        """Of keys (n_tables, m), which are of the rows first_row, first_row + 1, ..."""
        made = cls(np.zeros((len(keys) << n_bits) + 1, np.int64), np.empty(keys.size, np.int32))
        kernels.fill(keys, first_row, 2**n_bits, made.offsets, made.rows)
        return made

    @classmethod
    def none(cls, n_tables: int, n_bits: int) -> Self:
        """Without rows."""
        return cls.fill(np.empty((n_tables, 0), np.int32), 0, n_bits)

    def merged(self, later: "Buckets") -> "Buckets":
        """With the rows of another set of buckets behind those of this one."""
        offsets, rows = np.empty_like(self.offsets), np.empty(len(self.rows) + len(later.rows), np.int32)
        kernels.merge(self.offsets, self.rows, later.offsets, later.rows, offsets, rows)
        return Buckets(offsets, rows)

    def check(self, n_tables: int, n_bits: int, first_row: int, stop_row: int) -> None:
        """Raise a ValueError unless every table has every one of the rows first_row..stop_row-1 in a bucket."""
        offsets, rows, m = self.offsets, self.rows, stop_row - first_row
        if offsets.dtype != np.int64 or rows.dtype != np.int32:
            raise ValueError(f"bucket offsets are {offsets.dtype} and rows {rows.dtype}, not int64 and int32")
        if offsets.shape != ((n_tables << n_bits) + 1,) or rows.shape != (n_tables * m,):
            raise ValueError(f"bucket offsets {offsets.shape} and rows {rows.shape} do not fit {n_tables} tables of "
                             f"{n_bits} bits and {m} rows")  # fmt: skip
        if (np.diff(offsets) < 0).any() or (offsets[:: 2**n_bits] != m * np.arange(n_tables + 1)).any():
            raise ValueError("bucket offsets do not ascend from 0 to the number of rows in every table")
        if rows.size and not (first_row <= rows.min() and rows.max() < stop_row):
            raise ValueError(f"a bucket holds a row outside {first_row}..{stop_row - 1}")


@dataclass(frozen=True)
class BucketStatistics:
    """How evenly rows fall into buckets, over all tables.

    Attributes
    ----------
    sizes : (buckets,) int64
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


class Collected(NamedTuple):
    """What was found in buckets for each query, not in the order of the estimates.

    rows (q, keep) int64, -1 behind the last one; their estimates (q, keep) float32; done (q, 3) int64: buckets probed,
    candidates estimated, rows found.
    """

    rows: np.ndarray
    estimates: np.ndarray
    done: np.ndarray


class BucketTables:
    """Records of rows 0..n-1 and buckets over them."""

    def __init__(self, records: Column, base: Buckets, recent: Buckets, n_tables: int, n_bits: int) -> None:
        self.records, self.base, self.recent, self.n_tables, self.n_bits = records, base, recent, n_tables, n_bits
        self._scratch = threading.local()

    @classmethod
    def build(cls, codes: Codes, keys: np.ndarray, n_bits: int) -> Self:
        """From the codes and keys (n_tables, n) of all rows."""
        base, none = Buckets.fill(keys, 0, n_bits), Buckets.none(len(keys), n_bits)
        return cls(Column(_records(codes)), base, none, len(keys), n_bits)

    @property
    def n(self) -> int:
        return len(self.records.array)

    @property
    def n_base(self) -> int:
        """The rows of the first set of buckets; the second has the others."""
        return len(self.base.rows) // self.n_tables

    def extended(self, codes: Codes, keys: np.ndarray) -> Self:
        """With some more rows behind these."""
        base, recent = self.base, self.recent.merged(Buckets.fill(keys, self.n, self.n_bits))
        if len(recent.rows) > len(base.rows) // _MERGE_AT:
            base, recent = base.merged(recent), Buckets.none(self.n_tables, self.n_bits)
        return type(self)(self.records.extended(_records(codes)), base, recent, self.n_tables, self.n_bits)

    def search(self, codes: QueryCodes, probes: np.ndarray, keep: int, alive: np.ndarray | None) -> Collected:
        """The `keep` rows with the smallest estimates among those in the probed buckets (q, n_probes)."""
        q, keep = len(probes), min(keep, self.n)
        words = _NO_WORDS if alive is None else np.atleast_2d(np.ascontiguousarray(alive))
        rows, estimates = np.empty((q, keep), np.int64), np.empty((q, keep), np.float32)
        done = np.empty((q, 3), np.int64)
        rows.fill(-1)
        if q == 1:  # what follows would take longer than it
            kernels.collect(probes, *codes, self._tables, words, keep, *self._space(), rows, estimates, done)
            return Collected(rows, estimates, done)
        for first, last in pool.portions(0, q, 8.0 * self.n):
            own = slice(first, last)
            masks, some = words[own] if len(words) > 1 else words, (array[own] for array in codes)
            kernels.collect(probes[own], *some, self._tables, masks, keep, *self._space(), rows[own], estimates[own],
                            done[own])  # fmt: skip
        return Collected(rows, estimates, done)

    @cached_property
    def _tables(self) -> kernels.Tables:
        """What kernels read."""
        records = self.records.array
        return kernels.Tables(self.base.offsets, self.base.rows, self.recent.offsets, self.recent.rows, records,
                              records.view(np.float32))  # fmt: skip

    def _space(self) -> tuple[np.ndarray, np.ndarray]:
        """Scratch of this thread: new memory for every query is slow, and its marks of rows are zeros again."""
        space: tuple[np.ndarray, np.ndarray] | None = getattr(self._scratch, "space", None)
        if space is None:
            self._scratch.space = space = kernels.collect_space(self.n)
        return space

    def statistics(self) -> BucketStatistics:
        """How rows fall into buckets."""
        sizes = np.diff(self.base.offsets) + np.diff(self.recent.offsets)
        skew = float((sizes.astype(np.float64) ** 2).sum() * 2.0**self.n_bits / self.n_tables / self.n**2)
        return BucketStatistics(sizes, float((sizes == 0).mean()), float(sizes.max() / self.n), skew)


def _records(codes: Codes) -> np.ndarray:
    """Codes and estimation numbers of rows in one piece of memory each."""
    n, n_words = codes.bits.shape
    records = aligned((n, n_words + 1), np.uint64)  # those of half a line then never lie across two
    records[:, :n_words] = codes.bits
    numbers = records.view(np.float32)
    numbers[:, 2 * n_words], numbers[:, 2 * n_words + 1] = codes.halves, codes.slopes
    return records
