"""Leading components: what codes hold where a few directions tell long vectors apart.

The coordinates of pictures and of texts depend on each other, so most of what separates two vectors lies in a few
directions of space, the leading principal components. A walk over these reads a fraction of the bytes. It finds the
neighbours, but not their order; so it keeps more nodes than are wanted, and the vectors, which are read whole, decide
among them.

What components leave out of a vector is known by its length only. Two vectors that leave out r and r' are farther
apart than their components are by |r - r'|^2: by |r|^2 + |r'|^2, were what is left out of them unrelated, and by
nothing, were it the same. Half of |r|^2 is added, in the middle between the two: of Fashion-MNIST's ten nearest .952
rather than .921 are among the first 16 by 128 components then.

Whether that works is measured on the data: nearly all of the ten nearest rows of a row have to be among its 32 nearest
by components and half of what they leave out. The least number of components of which this is true is taken; none,
where it is not true of any that saves much: to turn a query and to read more vectors costs as much as comparing some
hundred coordinates more.
"""

import numpy as np

from annlab.common import pool
from annlab.core.heldout import HeldOut
from annlab.distances import get_metric
from annlab.graphs.directions import leading_directions
from annlab.graphs.points import usual_rows
from annlab.kernels.graphs import walk_rows as kernels
from annlab.kernels.graphs.walk_rows import ROW_BYTES
from annlab.kernels.simd.memory import aligned

LEAST_FACTOR = 1.5
"""A walk over components lets at least so many vectors decide for every neighbour that is wanted."""
_HALF = 0.5  # of the squared length that components leave out
_LEVELS = 127  # of a direction in bytes, either way
_CHOICES = (64, 128, 256)  # components
_SAVING = 6  # times the components: fewer coordinates are compared whole
_ROWS, _ASKED = 4096, 512  # of a sample that directions are learned from, and rows whose neighbours are looked for
_K, _AMONG, _ENOUGH = 10, 32, 0.98


def leading_axes(points: np.ndarray, threads: int) -> np.ndarray | None:
    """The directions (dim, components) float32 of the components of points (n, dim), or None."""
    n, dim = points.shape
    choices = [some for some in _CHOICES if _SAVING * some <= dim]
    if not choices:
        return None
    sample = usual_rows(points[:: -(-n // _ROWS)])
    if len(sample) < 2 * choices[-1] or not sample.any():
        return None
    axes, l2 = leading_directions(sample, choices[-1]).astype(np.float32), get_metric("l2")
    held_out = HeldOut.of_rows(points, l2, np.arange(0, n, -(-n // _ASKED)), _K, threads=threads)
    for some in choices:
        chosen = np.ascontiguousarray(axes[:, :some])
        components = turned(points, chosen, threads)
        rest = np.sqrt(left_out(points, components))[:, None]  # one coordinate more, of which queries have none
        queries = components[held_out.chosen]
        asked = np.hstack([queries, np.zeros((len(queries), 1), np.float32)])
        found = HeldOut.of_queries(np.hstack([components, rest]), l2, asked, _AMONG, threads=threads,
                                   alive=held_out.alive)  # fmt: skip
        if held_out.recall(found.rows).mean() >= _ENOUGH:
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


def axes_in_bytes(axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Directions (dim, components) as bytes, with which queries are turned: codes about `MIDDLE`, and their steps.

    A direction is a row, padded with `MIDDLE` to whole lines: uint8 (components, stride), and float32 (components,).
    """
    steps = np.abs(axes).max(axis=0) / np.float32(_LEVELS)
    codes = aligned((axes.shape[1], -(-len(axes) // ROW_BYTES) * ROW_BYTES), np.uint8)
    codes[:] = kernels.MIDDLE
    codes[:, : len(axes)] = (np.rint(axes / np.where(steps > 0, steps, 1.0)) + kernels.MIDDLE).T
    return codes, steps


def left_out(points: np.ndarray, components: np.ndarray) -> np.ndarray:
    """What is added to squared distances by components for what these leave out of points: (n,) float32."""
    rest = np.einsum("ij,ij->i", points, points, dtype=np.float64)
    rest -= np.einsum("ij,ij->i", components, components, dtype=np.float64)
    return np.asarray(_HALF * np.maximum(rest, 0.0), np.float32)
