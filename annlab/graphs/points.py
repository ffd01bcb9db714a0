"""Points: vectors as a graph sees them, so that the squared Euclidean distance has the order of the index's metric.

`kernels/graphs/walk_rows.py` has the three formulas, and converts queries. For `ip` a vector is lifted to the sphere
whose radius is the longest vector, which takes a coordinate more (Bachrach et al., RecSys 2014).
"""

from dataclasses import dataclass

import numpy as np

from annlab.common import pool
from annlab.common.memory import rows_at_once
from annlab.distances import Metric
from annlab.kernels.distance import COSINE, INNER_PRODUCT, L2
from annlab.kernels.graphs import walk_rows as kernels
from annlab.scan.centroids import Conversion
from annlab.scan.points import ordinary

_LONGEST = 1e150  # norms beyond would have no square
_FAR = 1e15  # no coordinate of a center is so large
_FEW = 0.01  # share of rows that may be unlike all others: more of them are a part of the data


@dataclass(frozen=True)
class Lifting:
    """From vectors (n, dim) to points (n, point_dim).

    Attributes
    ----------
    metric : Metric
    center : (point_dim,) float64
        What points are about.
    scale : float
        For l2 and ip.
    """

    metric: Metric
    center: np.ndarray
    scale: float = 1.0

    @classmethod
    def of(cls, vectors: np.ndarray, metric: Metric, centred: bool = True) -> "Lifting":
        """About the middle of the vectors, or about zero."""
        dim = vectors.shape[1]
        if metric.code != INNER_PRODUCT:
            conversion = Conversion.of(vectors, metric)
            return cls(metric, conversion.center if centred else np.zeros(dim), conversion.scale)
        longest = max(float(_norms(vectors[some]).max()) for some in _blocks(vectors))
        bare = cls(metric, np.zeros(dim + 1), 1.0 / longest if 1.0 / _LONGEST < longest < _LONGEST else 1.0)
        some = vectors[:: max(1, len(vectors) // rows_at_once(dim))]
        return cls(metric, usual_rows(bare.points(some)).mean(axis=0), bare.scale) if centred else bare

    @property
    def dim(self) -> int:
        """Of the points."""
        return len(self.center)

    def is_sound(self) -> bool:
        """Whether the numbers are such as `of` makes, so that no point is infinite; those of a file may be others."""
        if self.metric.code == INNER_PRODUCT:  # points are no longer than 1
            return 0 < self.scale < np.inf and bool(np.abs(self.center).max() < _FAR)
        return Conversion(self.metric, self.center, self.scale).is_sound()

    def points(self, vectors: np.ndarray, threads: int = 1) -> np.ndarray:
        """The points of some vectors: (n, point_dim) float32."""
        result = np.empty((len(vectors), self.dim), np.float32)

        def work(start: int, stop: int) -> None:
            for first, last in pool.portions(start, stop, 8 * self.dim):
                for some in _blocks(vectors, first, last):
                    result[some] = self._converted(vectors[some])

        pool.run(work, pool.split(0, len(vectors), threads), threads)
        return result

    def _converted(self, vectors: np.ndarray) -> np.ndarray:
        if self.metric.code != INNER_PRODUCT:
            return Conversion(self.metric, self.center, self.scale).rows(vectors)
        rows = vectors.astype(np.float64) * self.scale
        lifted = np.sqrt(np.maximum(1.0 - np.einsum("ij,ij->i", rows, rows), 0.0))
        return np.asarray(np.column_stack([rows, lifted]) - self.center)

    def terms(self, vectors: np.ndarray) -> np.ndarray:
        """What is added to the squared distances of some vectors (n,) float32: for zeros, which have no direction."""
        if self.metric.code != COSINE:
            return np.zeros(len(vectors), np.float32)
        return np.asarray(~vectors.any(axis=1), np.float32)

    def queries(self, queries: np.ndarray) -> np.ndarray:
        """The points of queries (q, point_dim) float32."""
        points = np.empty((len(queries), self.dim), np.float32)
        kernels.convert_queries(np.ascontiguousarray(queries), self.metric.code, self.center, self.scale, points)
        return points

    def fits(self, vectors: np.ndarray) -> bool:
        """Whether more vectors can be lifted too."""
        if self.metric.code != INNER_PRODUCT:
            return True
        return all(float(_norms(vectors[some]).max()) * self.scale <= 1.0 + 1e-9 for some in _blocks(vectors))

    def are_vectors(self, vectors: np.ndarray) -> bool:
        """Whether the points are the vectors themselves."""
        plain = self.metric.code == L2 and self.scale == 1.0 and not self.center.any()
        return plain and vectors.dtype == np.float32


def usual_rows(sample: np.ndarray) -> np.ndarray:
    """A sample (m, dim) in float64, without a few rows that are unlike all others: they own no middle and no range."""
    rows = sample.astype(np.float64)
    usual = ordinary(rows)
    return rows if usual.all() or usual.mean() < 1.0 - _FEW else rows[usual]


def _norms(vectors: np.ndarray) -> np.ndarray:
    rows = vectors.astype(np.float64)
    return np.sqrt(np.einsum("ij,ij->i", rows, rows))


def _blocks(vectors: np.ndarray, start: int = 0, stop: int | None = None) -> list[slice]:
    """Ranges of rows to convert at a time."""
    stop, at_once = len(vectors) if stop is None else stop, rows_at_once(vectors.shape[1])
    return [slice(first, min(stop, first + at_once)) for first in range(start, stop, at_once)]
