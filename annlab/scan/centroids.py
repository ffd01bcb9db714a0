"""A set of centroids, laid out for the kernels that compare points with all of them.

`KMeans` assigns with it while it trains, and `IVFIndex` finds the lists to probe. Points are float32 here, already
centred and (for cosine) normalised: `Conversion` does that.
"""

from dataclasses import dataclass

import numpy as np

from annlab.common import pool
from annlab.common.memory import rows_at_once
from annlab.distances import Metric
from annlab.kernels import kmeans as kernels
from annlab.kernels.distance import COSINE, L2
from annlab.kernels.inverted import nearest_lists
from annlab.kernels.simd.registers import LANES
from annlab.kernels.tile import PANEL_ROWS, QUERIES_IN_TILE

_FEWEST = 64  # rows that the center is the median of
LONGEST = 1e12  # coordinate of a query: longer ones are scaled down
_FARTHEST = 1e15  # coordinate of a row: it is cut there, lest products overflow float32
_LARGEST_POWER = 1000


@dataclass(frozen=True)
class Conversion:
    """From the user's vectors to the points that clusters are made of: normalised for cosine, less a common center.

    Neither distances between points nor the order of inner products depend on the center (for `ip` queries are not
    centred, which takes the same number off all inner products); float32 sums are more precise around it.
    """

    metric: Metric
    center: np.ndarray
    """(dim,) float64."""
    scale: float = 1.0
    """A power of two that brings l2 and ip data of extreme magnitude into the range of float32 squares."""

    @classmethod
    def of(cls, vectors: np.ndarray, metric: Metric) -> "Conversion":
        """Centred at the median of (a sample of) the vectors, which no single row can move far."""
        zero, scale = np.zeros(vectors.shape[1]), 1.0
        if metric.code != COSINE:
            largest = max(float(vectors.max()), -float(vectors.min()))
            if largest > 0 and not 1e-10 < largest < 1e10:
                scale = float(2.0 ** min(_LARGEST_POWER, -np.frexp(largest)[1]))
        bare, at_once = cls(metric, zero), max(_FEWEST, rows_at_once(vectors.shape[1]) // 8)
        some = bare.rows(vectors[:: max(1, len(vectors) // at_once)])
        return cls(metric, np.median(some, axis=0), scale)

    def is_sound(self) -> bool:
        """Whether the numbers are such as `of` makes, so that no point is infinite; those of a file may be others."""
        mantissa, exponent = np.frexp(self.scale)
        possible = mantissa == 0.5 and -_LARGEST_POWER <= exponent - 1 <= _LARGEST_POWER
        with np.errstate(over="ignore"):
            return bool(
                possible and np.isfinite(self.center).all() and np.abs(self.center * self.scale).max() < _FARTHEST
            )

    def rows(self, vectors: np.ndarray) -> np.ndarray:
        """The points of some vectors, in float64, cut where they are unlike all that the scale was made for."""
        rows = vectors.astype(np.float64)
        if self.metric.code == COSINE:
            norms = np.sqrt((rows * rows).sum(axis=1))
            rows *= (1.0 / np.where(norms > 0, norms, 1.0))[:, None]
        rows -= self.center
        if self.scale != 1.0:
            with np.errstate(over="ignore"):
                rows *= self.scale
        return np.clip(rows, -_FARTHEST, _FARTHEST, out=rows)

    def points(self, vectors: np.ndarray) -> np.ndarray:
        """The points of some vectors, float32, converted in chunks."""
        result, at_once = np.empty(vectors.shape, np.float32), rows_at_once(vectors.shape[1])
        shifted = self.metric.code == L2 and self.scale == 1.0
        for start in range(0, len(vectors), at_once):
            some, points = vectors[start : start + at_once], result[start : start + at_once]
            if shifted:
                with np.errstate(over="ignore"):
                    np.subtract(some, self.center, out=points, casting="unsafe")
                np.clip(points, -_FARTHEST, _FARTHEST, out=points)
            else:
                points[:] = self.rows(some)
        return result

    def queries(self, queries: np.ndarray) -> np.ndarray:
        """Queries as points (q, dim) float32; their length is limited, since far away only the direction matters."""
        return self.blurred(queries)[0]

    def blurred(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Queries as points, and how far each may be from the true one (q,) float64: infinite where nobody knows."""
        points, blurs = np.empty(queries.shape, np.float32), np.empty(len(queries))
        some = np.ascontiguousarray(queries)
        nearest_lists.convert_queries(some, self.metric.code, self.center, self.scale, LONGEST, points, blurs)
        return points, blurs


def padded_dim(dim: int) -> int:
    """dim, rounded up to whole registers."""
    return -(-dim // LANES) * LANES


class Centroids:
    """Centroids (n, dim) float32, packed into panels for the tiles of `kernels/scan/batch.py`.

    Attributes
    ----------
    array : (n, dim) float32
    panels : (n_panels, dim, PANEL_ROWS) float32
        Transposed; zeros where there is no centroid.
    half_norms : (n_panels * PANEL_ROWS,) float32
        |c|^2 / 2, infinite where there is no centroid.
    """

    def __init__(self, array: np.ndarray, offsets: np.ndarray | None = None) -> None:
        """`offsets` (n,) take the place of the half norms: zeros for the largest inner product."""
        n, dim = array.shape
        self.array = array
        n_panels = -(-n // PANEL_ROWS)
        padded = np.zeros((n_panels * PANEL_ROWS, dim), np.float32)
        padded[:n] = array
        self.panels = np.ascontiguousarray(padded.reshape(n_panels, PANEL_ROWS, dim).transpose(0, 2, 1))
        self.half_norms = np.full(n_panels * PANEL_ROWS, np.inf, np.float32)
        self.half_norms[:n] = half_squared_norms(array) if offsets is None else offsets

    def nearest(self, points: np.ndarray, n_threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """The nearest centroid of every point (m, dim), int32, and |c|^2/2 - x.c, float32.

        A tie goes to the first; the answer depends on neither the other points nor the number of threads.
        """
        labels, surrogates = np.empty(len(points), np.int32), np.empty(len(points), np.float32)

        def work(start: int, stop: int) -> None:
            packed = np.empty((points.shape[1], QUERIES_IN_TILE), np.float32)
            values, places = np.empty(LANES, np.float32), np.empty(LANES, np.int32)
            for first, last in pool.portions(start, stop, self.array.size, QUERIES_IN_TILE):
                kernels.nearest_centroids(points, self.panels, self.half_norms, first, last, packed, values, places,
                                          labels, surrogates)  # fmt: skip

        pool.run(work, pool.split(0, len(points), n_threads, QUERIES_IN_TILE), n_threads)
        return labels, surrogates


def half_squared_norms(points: np.ndarray) -> np.ndarray:
    """|x|^2 / 2 of every row, summed in float64."""
    return 0.5 * np.einsum("ij,ij->i", points, points, dtype=np.float64)


def group_by_label(labels: np.ndarray, n_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows by label: those with label l are order[offsets[l]:offsets[l + 1]], ascending. Both int64."""
    offsets, order = np.zeros(n_labels + 1, np.int64), np.empty(len(labels), np.int64)
    kernels.group_by_label(labels, offsets, order)
    return offsets, order
