"""Vectors as whole numbers: see kernels/graphs/whole.py for why, and for what can be done with them."""

import math

import numpy as np

from annlab.common import pool
from annlab.common.memory import rows_at_once
from annlab.graphs.points import usual_rows
from annlab.kernels.graphs import whole as kernels
from annlab.kernels.graphs.whole import Rows
from annlab.kernels.simd.byte_vectors import LARGEST_SIGNED

_SAMPLE = 2**20  # coordinates by which the step is chosen, of some rows
_SMALL_SAMPLE = 2**18  # of those where few rows are taken in: to read all would cost as much as to find their place
_FEWEST = 64  # of these rows
_CLIPPED = 1e-4  # share of all coordinates that may lie beyond the largest number
_STRIDE = 64  # rows begin at cache lines
_MOST_SUM = 2**31 - 2**16


def largest_number(dim: int) -> int:
    """The largest whole number for which no sum of `dim` products leaves int32, nor what is compared with it."""
    most = int((math.sqrt(512.0**2 + 12.0 * _MOST_SUM / dim) - 512.0) / 6.0)  # 3 L^2 + 512 L <= _MOST_SUM / dim
    return max(1, min(LARGEST_SIGNED, most))


def whole_numbers(vectors: np.ndarray, threads: int, more: np.ndarray | None = None) -> Rows:
    """Vectors (n, dim) float32, finite, and `more` behind them, as whole numbers about the mean of a sample.

    A few rows that are far from all others are cut off, so that the others keep their numbers.
    """
    dim, sources = vectors.shape[1], [vectors] if more is None else [vectors, more]
    n, stride, largest = sum(map(len, sources)), -(-dim // _STRIDE) * _STRIDE, largest_number(dim)
    apart = max(1, n // max(_FEWEST, (_SAMPLE if more is None else _SMALL_SAMPLE) // dim))
    some = usual_rows(np.concatenate([source[::apart] for source in sources]))
    center = some.mean(axis=0)
    step = _reached_by_most(some - center) / largest
    if not step > 0.0:  # all but a few coordinates are equal
        step = max(_farthest(source, center) for source in sources) / largest
    inverse = 1.0 / step if step > 0.0 and math.isfinite(1.0 / step) else 1.0
    codes, norms, sums = np.empty((n, stride), np.uint8), np.empty(n, np.int32), np.empty(n, np.int32)
    begin = 0
    for source in sources:
        at = slice(begin, begin + len(source))
        own = codes[at], norms[at], sums[at]

        def work(start: int, stop: int, source: np.ndarray = source, own: tuple[np.ndarray, ...] = own) -> None:
            for first, last in pool.portions(start, stop, 4 * dim):
                kernels.quantize(source, first, last, center, inverse, float(largest), *own)

        pool.run(work, pool.split(0, len(source), threads), threads)
        begin += len(source)
    return Rows(codes, norms, sums, dim, stride)


def some_rows(rows: Rows, which: np.ndarray) -> Rows:
    """Some of the rows: row numbers in any order, or bool for each."""
    numbers = np.flatnonzero(which) if which.dtype == bool else which
    codes = np.empty((len(numbers), rows.stride), np.uint8)
    for start, stop in pool.portions(0, len(numbers), 4 * rows.stride):
        codes[start:stop] = rows.codes[numbers[start:stop]]
    return Rows(codes, rows.norms[numbers], rows.sums[numbers], rows.dim, rows.stride)


def _farthest(vectors: np.ndarray, center: np.ndarray) -> float:
    """The largest magnitude about the center."""
    at_once = rows_at_once(vectors.shape[1])
    parts = (vectors[start : start + at_once] for start in range(0, len(vectors), at_once))
    return max((float(np.abs(part - center).max()) for part in parts), default=0.0)


def _reached_by_most(magnitudes: np.ndarray) -> float:
    """The magnitude that all but a few coordinates stay below."""
    flat = np.abs(magnitudes).ravel()
    place = min(len(flat) - 1, int((1.0 - _CLIPPED) * len(flat)))
    return float(np.partition(flat, place)[place])
