"""What all shortcuts end with: the best of some candidates, measured, sorted, and written out as users see them.

A *shortcut* is one compiled call that answers one query of one state of an index, from a table that was prepared once
(`core/shortcut.py`). Between the query and the answer stands the family's own search; here is what is the same for all.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import inner_product
from annlab.kernels.scoring import nearest_of
from annlab.kernels.simd.path import kernel
from annlab.kernels.simd.registers import LANES, pointer

_LARGEST_SQUARE = 1e38  # of a query's length: below, nothing overflows, whatever the vectors are
_INFINITY = np.float32(np.inf)


class Entries(NamedTuple):
    """The rows of a state: arrays in Python, pointers inside."""

    sealed: Any  # (n, dim)
    n: int
    tail: Any  # (t, dim): rows n.. n + t - 1
    keys: Any  # (n + t,) int64: the ids of the rows
    dim: int
    metric: int


class Desk(NamedTuple):
    """Room for the candidates of a query, and for measuring them."""

    candidates: Any  # (most,) int64
    best: Any  # (k,) float64
    space: Any  # float32, as `scoring.scratch` makes it


def new_desk(most: int, k: int) -> Desk:
    """Room for so many candidates."""
    return Desk(np.empty(most, np.int64), np.empty(k), np.empty(4 * (most + 2 * LANES), np.float32))


@kernel
def length_of(query, dim):
    """|q|, or infinity for what a shortcut must not take: NaN, infinities, and values near the end of float32."""
    square = inner_product(pointer(query), pointer(query), dim)
    return math.sqrt(square) if square < _LARGEST_SQUARE else np.inf


@kernel
def settle(query, entries, desk, m, distances, ids):
    """Fill distances and ids (k,) with the k best of the first m candidates by (distance, id); inf and -1 behind."""
    k = ids.shape[0]
    size = nearest_of(query, 0, entries.sealed, entries.n, entries.tail, entries.dim, entries.keys, desk.candidates, m,
                      k, entries.metric, desk.best, pointer(ids), desk.space)  # fmt: skip
    for i in range(size):
        distances[i] = desk.best[i]
    for i in range(size, k):
        distances[i], ids[i] = _INFINITY, -1
