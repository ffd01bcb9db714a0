"""Leading components: what codes hold where a few directions tell long vectors apart.

The coordinates of pictures and of texts depend on each other, so most of what separates two vectors lies in a few
directions of space, the leading principal components. A walk over these reads a fraction of the bytes. It finds the
neighbours, but not their order; so it keeps more nodes than are wanted, and the vectors, which are read whole, decide
among them.

Whether that works is measured on the data: nearly all of the ten nearest rows of a row have to be among its 32 nearest
by the components alone. The least number of components of which this is true is taken; none, where it is not true of
any that saves much: to turn a query and to read more vectors costs as much as comparing some hundred coordinates more.
"""

import numpy as np

from annlab.common import pool
from annlab.graphs.points import usual_rows
from annlab.kernels.graphs import walk_rows as kernels

LEAST_FACTOR = 3.2
"""A walk over components keeps at least so many nodes for every neighbour that is wanted."""
_CHOICES = (64, 128, 256)  # components
_SAVING = 6  # times the components: fewer coordinates are compared whole
_ROWS, _ASKED = 8192, 128  # of a sample that directions are learned from, and rows whose neighbours are looked for
_AT_ONCE = 2**15  # rows that all of these are compared with at a time
_K, _AMONG, _ENOUGH = 10, 32, 0.98


def leading_axes(points: np.ndarray, threads: int) -> np.ndarray | None:
    """The directions (dim, components) float32 of the components of points (n, dim), or None."""
    n, dim = points.shape
    choices = [some for some in _CHOICES if _SAVING * some <= dim]
    if not choices:
        return None
    sample = usual_rows(points[:: -(-n // _ROWS)]).astype(np.float32)
    if len(sample) < 2 * choices[-1] or not sample.any():
        return None
    from sklearn.utils.extmath import randomized_svd  # takes a second to import

    axes = np.ascontiguousarray(randomized_svd(sample, choices[-1], random_state=0)[2].T, np.float32)
    asked = np.arange(0, n, -(-n // _ASKED))
    near = _nearest(points, points[asked], asked, _K)
    for some in choices:
        chosen = np.ascontiguousarray(axes[:, :some])
        components = turned(points, chosen, threads)
        found = _nearest(components, components[asked], asked, _AMONG)
        if (near[:, :, None] == found[:, None, :]).any(axis=2).mean() >= _ENOUGH:
            return chosen
    return None


def turned(points: np.ndarray, axes: np.ndarray | None, threads: int) -> np.ndarray:
    """The components (n, components) float32 of points (n, dim); without axes the points themselves."""
    if axes is None:
        return points
    result = np.empty((len(points), axes.shape[1]), np.float32)

    def work(start: int, stop: int) -> None:
        for first, last in pool.portions(start, stop, axes.size):
            kernels.turn_points(points[first:last], axes, result[first:last])

    pool.run(work, pool.split(0, len(points), threads), threads)
    return result


def _nearest(rows: np.ndarray, queries: np.ndarray, own: np.ndarray, k: int) -> np.ndarray:
    """The k rows that are nearest to each query, which is the row `own` and does not find itself."""
    best, gaps = np.empty((len(own), 0), np.int64), np.empty((len(own), 0), np.float32)
    for start in range(0, len(rows), _AT_ONCE):
        pool.check()
        some = rows[start : start + _AT_ONCE]
        with np.errstate(over="ignore", invalid="ignore"):  # rows that are unlike all others are nobody's nearest
            here = np.einsum("ij,ij->i", some, some) - 2 * (queries @ some.T)
        here[np.arange(start, start + len(some)) == own[:, None]] = np.inf
        gaps = np.concatenate([gaps, here], axis=1)
        best = np.concatenate([best, np.broadcast_to(np.arange(start, start + len(some)), here.shape)], axis=1)
        least = np.argpartition(gaps, k - 1, axis=1)[:, :k] if gaps.shape[1] > k else np.argsort(gaps, axis=1)
        gaps, best = np.take_along_axis(gaps, least, axis=1), np.take_along_axis(best, least, axis=1)
    return best
