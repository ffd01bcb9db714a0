"""How far the rows of a shard reach around the centers of the cells, and what follows for a query.

The *reach* of a shard is a radius for each cell: all its rows that are nearest to this center lie in a ball around it;
-1 where it has none. It is made from what the shard holds, and not from what it ought to hold: a row that came to lie
elsewhere by an update counts where it lies. So for every row x in a ball of radius r around c, and every query q,

    |q - x| >= |q - c| - r               (the triangle inequality: "l2", and "cosine" among vectors of length one)
    q . x   <= q . c + |q| r             (Cauchy and Schwarz: "ip")

and no row of the shard is nearer than the least of these bounds over its cells. A little is taken off, more than
rounding can add; so a shard whose bound is beyond the k-th distance that was found elsewhere holds none of the k
nearest, ties included.
"""

import numpy as np

from annlab.common.memory import rows_at_once
from annlab.index import Index
from annlab.sharded.cells import Cells

_SLACK = 1e-6  # of the lengths that take part; sums in float64 are wrong by less than 1e-7 of them


def none(cells: Cells) -> np.ndarray:
    """(c,) the reach of a shard without rows."""
    return np.full(len(cells.centers), -1.0)


def widened(reach: np.ndarray, cells: Cells, vectors: np.ndarray) -> np.ndarray:
    """(c,) the reach with some more rows (n, dim)."""
    reach = reach.copy()
    np.maximum.at(reach, *cells.nearest(vectors))
    return reach


def of_index(cells: Cells, index: Index) -> np.ndarray:
    """(c,) the reach of all rows of an index."""
    reach, ids = none(cells), index.ids
    at_once = rows_at_once(cells.centers.shape[1])
    for start in range(0, len(ids), at_once):
        reach = widened(reach, cells, index.vectors(ids[start : start + at_once]))
    return reach


def bounds(cells: Cells, reaches: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For queries (q, dim) and shards of some reaches (s, c): what no row can be nearer than, in the numbers of the
    metric, and how far the nearest center is whose cell the shard has rows in; both (q, s), inf where it has none."""
    queries, centers = cells.rows(queries), cells.centers
    lengths, norms = np.linalg.norm(queries, axis=1)[:, None], np.linalg.norm(centers, axis=1)
    products = queries @ centers.T
    to_centers = np.sqrt(np.maximum(lengths**2 + norms**2 - 2.0 * products, 0.0))
    found, nearest = np.full((2, len(queries), len(reaches)), np.inf)
    for shard, reach in enumerate(reaches):
        own = reach >= 0
        if not own.any():
            continue
        radii, slack = reach[own], _SLACK * (lengths + norms[own] + reach[own])
        if cells.metric == "ip":
            found[:, shard] = (-products[:, own] - lengths * (radii + slack)).min(axis=1)
            nearest[:, shard] = -products[:, own].max(axis=1)
            continue
        least = np.maximum(to_centers[:, own] - radii - slack, 0.0).min(axis=1)
        found[:, shard] = 0.5 * least**2 if cells.metric == "cosine" else least
        nearest[:, shard] = to_centers[:, own].min(axis=1)
    return found, nearest
