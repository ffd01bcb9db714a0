"""Vectors as scans see them: where they lie, and so how they are centred and scaled."""

from dataclasses import dataclass

import numpy as np

from annlab.common.memory import rows_at_once
from annlab.distances import Metric
from annlab.kernels.distance import COSINE, INNER_PRODUCT

_LARGEST = np.finfo(np.float32).max
_FAINT, _MAGNIFIED = 2.0**-450, 2.0**600
_FAR = 64.0  # times as far from the middle as half of the rows: such rows are unlike all others
_IN_CACHE = 2**15  # numbers in float64 that a core keeps by it
_FOR_MEDIAN = 1024  # rows that tell where the middle of a sample is


@dataclass(frozen=True)
class Extent:
    """Where vectors lie, as far as the error bounds ask: any `center` is right, a good one gives tight bounds.

    `reach` is the largest coordinate of any row about the center, `largest_norm` and `smallest_norm` those of the rows
    themselves (zero rows aside). Rows that are not finite, as only a damaged file can hold that is mapped unseen, are
    left out: they are no neighbours of anything, and the others stay as near as they were.
    """

    center: np.ndarray
    reach: float
    largest_norm: float
    smallest_norm: float

    @classmethod
    def of(cls, vectors: np.ndarray, metric: Metric, center: np.ndarray | None = None,
           about_mean: bool = False) -> "Extent":  # fmt: skip
        """Measure vectors (n, dim), n >= 1, in chunks of bounded size, about a center or their mean (ip: about 0)."""
        dim, at_once = vectors.shape[1], rows_at_once(vectors.shape[1])
        if center is None:
            center = np.zeros(dim)
            if metric.code != INNER_PRODUCT or about_mean:
                sample = vectors[:: max(1, len(vectors) // at_once)]
                rows = _converted(sample, metric)[0]
                center = rows.mean(axis=0) if len(rows) else center
                if np.abs(center).max() < _LARGEST:
                    center = center.astype(np.float32).astype(np.float64)
        reach, largest, smallest = 0.0, 0.0, np.inf
        at_once = max(16, _IN_CACHE // dim)  # what is read again and again stays in a cache
        for start in range(0, len(vectors), at_once):
            converted, norms = _converted(vectors[start : start + at_once], metric)
            reach = max(reach, float(np.abs(converted - center).max(initial=0.0)))
            largest = max(largest, float(norms.max(initial=0.0)))
            smallest = min(smallest, float(norms[norms > 0].min(initial=np.inf)))
        return cls(center, reach, largest, smallest)

    @classmethod
    def of_nothing(cls, dim: int) -> "Extent":
        """That of no rows."""
        return cls(np.zeros(dim), 0.0, 0.0, np.inf)

    def extended(self, vectors: np.ndarray, metric: Metric) -> "Extent":
        """The extent of these and some more vectors, about the same center."""
        if not len(vectors):
            return self
        more = Extent.of(vectors, metric, self.center)
        return Extent(
            self.center,
            max(self.reach, more.reach),
            max(self.largest_norm, more.largest_norm),
            min(self.smallest_norm, more.smallest_norm),
        )


def ordinary(sample: np.ndarray) -> np.ndarray:
    """Which rows of a sample (m, dim) float64 are not very far from all others, (m,) bool.

    What is learned from these alone, a middle or a range, a few broken rows do not spoil: a single row of 1e6 among
    normal numbers moves the mean of a thousand by a thousand, and makes ranges in which all others are equal.
    """
    middle = np.median(sample[:: max(1, len(sample) // _FOR_MEDIAN)], axis=0)
    distances = np.linalg.norm(sample - middle, axis=1)
    usual = np.median(distances)
    return distances <= _FAR * usual if usual > 0 else np.ones(len(sample), bool)


def _converted(vectors: np.ndarray, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """Finite rows in float64 as scans see them before centring, and the norms of the rows."""
    with np.errstate(invalid="ignore", over="ignore"):  # rows of a file that nobody checked may be no numbers at all
        rows = vectors.astype(np.float64)
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    finite = np.isfinite(norms)
    if not finite.all():
        rows, norms = rows[finite], norms[finite]
    faint = norms < _FAINT
    if faint.any():  # squares underflow: measure what is magnified
        some = rows[faint] * _MAGNIFIED
        norms[faint] = np.sqrt(np.einsum("ij,ij->i", some, some)) / _MAGNIFIED
    if metric.code == COSINE:
        rows /= np.where(norms > 0, norms, 1.0)[:, None]
    return rows, norms
