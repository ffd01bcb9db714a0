"""Vectors as whole numbers: see kernels/graphs/whole.py for why, and for what can be done with them."""

import math

import numpy as np

from annlab.common import pool
from annlab.common.memory import rows_at_once
from annlab.kernels.graphs import whole as kernels
from annlab.kernels.graphs.whole import Rows
from annlab.kernels.simd.byte_vectors import LARGEST_SIGNED

_SAMPLE = 2**22  # coordinates by which the step is chosen, of some rows
_FEWEST = 64  # of these rows
_CLIPPED = 1e-4  # share of all coordinates that may lie beyond the largest number
_STRIDE = 64  # rows begin at cache lines
_MOST_SUM = 2**31 - 2**16


def largest_number(dim: int) -> int:
    """The largest whole number for which no sum of `dim` products leaves int32, nor what is compared with it."""
    most = int((math.sqrt(512.0**2 + 12.0 * _MOST_SUM / dim) - 512.0) / 6.0)  # 3 L^2 + 512 L <= _MOST_SUM / dim
    return max(1, min(LARGEST_SIGNED, most))


def whole_numbers(vectors: np.ndarray, threads: int) -> Rows:
    """Vectors (n, dim) float32, finite, as whole numbers about their mean."""
    n, dim = vectors.shape
    center, largest = _mean(vectors), largest_number(dim)
    some = vectors[:: max(1, n // max(_FEWEST, _SAMPLE // dim))]
    step = _reached_by_most(some, center) / largest
    if not step > 0.0:  # all but a few coordinates are equal
        step = max(float(np.abs(part - center).max()) for part in _parts(vectors)) / largest
    inverse = 1.0 / step if step > 0.0 and math.isfinite(1.0 / step) else 1.0
    stride = -(-dim // _STRIDE) * _STRIDE
    codes, norms, sums = np.empty((n, stride), np.uint8), np.empty(n, np.int32), np.empty(n, np.int32)

    def work(start: int, stop: int) -> None:
        for first, last in pool.portions(start, stop, 4 * dim):
            kernels.quantize(vectors, first, last, center, inverse, float(largest), codes, norms, sums)

    pool.run(work, pool.split(0, n, threads), threads)
    return Rows(codes, norms, sums, dim, stride)


def some_rows(rows: Rows, which: np.ndarray) -> Rows:
    """Some of the rows, in another order."""
    return Rows(rows.codes[which], rows.norms[which], rows.sums[which], rows.dim, rows.stride)


def _parts(vectors: np.ndarray) -> list[np.ndarray]:
    at_once = rows_at_once(vectors.shape[1])
    return [vectors[start : start + at_once] for start in range(0, len(vectors), at_once)]


def _mean(vectors: np.ndarray) -> np.ndarray:
    """In float64, added up in an order that no number of threads changes."""
    total = np.zeros(vectors.shape[1])
    for part in _parts(vectors):
        pool.check()
        total += part.sum(axis=0, dtype=np.float64)
    return total / len(vectors)


def _reached_by_most(vectors: np.ndarray, center: np.ndarray) -> float:
    """The magnitude about the center that all but a few coordinates stay below."""
    magnitudes = np.concatenate([np.abs(part - center).ravel() for part in _parts(vectors)])
    place = min(len(magnitudes) - 1, int((1.0 - _CLIPPED) * len(magnitudes)))
    return float(np.partition(magnitudes, place)[place])
