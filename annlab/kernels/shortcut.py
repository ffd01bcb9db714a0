"""What all shortcuts end with: the best of some candidates, measured, sorted, and written out as users see them.

A *shortcut* is one compiled call that answers one query of one state of an index, from a table that was prepared once
(`core/shortcut.py`). Between the query and the answer stands the family's own search; here is what is the same for all.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import inner_product
from annlab.kernels.scoring import merge_two, nearest_of
from annlab.kernels.simd.path import kernel
from annlab.kernels.simd.registers import LANES, pointer

_LARGEST_SQUARE = 1e38  # of a query's length: below, nothing overflows, whatever the vectors are
_INFINITY = np.float32(np.inf)


class Waiting(NamedTuple):
    """The living rows of the tail, of which each is measured."""

    rows: Any  # (n,) int64, from the number of the structure's rows on
    n: int


class Desk(NamedTuple):
    """Room for the candidates of a query, and for measuring them."""

    candidates: Any  # (most,) int64
    best: Any  # (k,) float64
    space: Any  # float32, as `scoring.scratch` makes it


class Found(NamedTuple):
    """Room for results that were measured already, and for those of the tail beside them."""

    distances: Any  # (k,) float64, sorted, as well as ids
    ids: Any  # (k,) int64, -1 behind the last
    others: Any  # (k,) float64: of the tail
    other_ids: Any


def new_desk(most: int, k: int) -> Desk:
    """Room for so many candidates."""
    return Desk(np.empty(most, np.int64), np.empty(k), np.empty(4 * (most + 2 * LANES), np.float32))


def new_found(k: int) -> Found:
    """Room for k results."""
    return Found(np.empty(k), np.empty(k, np.int64), np.empty(k), np.empty(k, np.int64))


@kernel
def length_of(query, dim):
    """|q|, or infinity for what a shortcut must not take: NaN, infinities, and values near the end of float32."""
    square = inner_product(pointer(query), pointer(query), dim)
    return math.sqrt(square) if square < _LARGEST_SQUARE else np.inf


@kernel
def settle(query, entries, desk, m, distances, ids):
    """Fill distances and ids (k,) with the k best of the first m candidates by (distance, id); inf and -1 behind."""
    k = ids.shape[0]
    size = nearest_of(query, 0, entries, desk.candidates, m, k, desk.best, pointer(ids), desk.space)
    for i in range(size):
        distances[i] = desk.best[i]
    for i in range(size, k):
        distances[i], ids[i] = _INFINITY, -1


@kernel
def settle_found(query, entries, waiting, desk, found, distances, ids):
    """The same with what was found among the structure's rows, and the rows of the tail that are waiting."""
    k, size = ids.shape[0], 0
    if waiting.n > 0:
        size = nearest_of(query, 0, entries, waiting.rows, waiting.n, k, found.others, found.other_ids, desk.space)
    merge_two(found.distances, found.ids, k, found.others, found.other_ids, size, desk.best, pointer(ids), k)
    for i in range(k):
        distances[i] = desk.best[i]
