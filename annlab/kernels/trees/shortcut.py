"""One query of a forest in one call, by a list: the search of `search.py`, and then what waits in the tail."""

from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.scoring import Entries
from annlab.kernels.shortcut import Desk, Found, Waiting, length_of, new_desk, new_found, settle_found
from annlab.kernels.simd.path import entry
from annlab.kernels.simd.prepared import opened
from annlab.kernels.simd.registers import pointer
from annlab.kernels.trees.collect import DONE
from annlab.kernels.trees.search import Asked, fill_lists
from annlab.kernels.trees.tree import N_COUNTERS, Allowed, Forest, Results, Space, new_space


class Table(NamedTuple):
    """All that one query needs to know of a state."""

    entries: Entries  # but for the vectors of the forest, which measures them itself
    waiting: Waiting
    forest: Forest
    allowed: Allowed
    epsilon: float


class Room(NamedTuple):
    """Scratch of a thread."""

    space: Space
    order: Any  # (1,) int64: zero
    status: Any  # (1,) uint8
    counters: Any  # (N_COUNTERS,) int64: for nobody
    found: Found
    desk: Desk


def new_room(dim: int, most: int, k: int) -> Room:
    """Room for a query of `dim` coordinates and a tail of so many rows."""
    order, status, counters = np.zeros(1, np.int64), np.zeros(1, np.uint8), np.zeros(N_COUNTERS, np.int64)
    return Room(new_space(dim, np.float32), order, status, counters, new_found(k), new_desk(most, k))


@entry
def search_trees(path, table, query, room, distances, ids):
    """Fill distances and ids (k,), k <= LIST_K, for a query (dim,); whether that was possible."""
    t, r = opened(table), opened(room)
    dim, k = t.entries.dim, ids.shape[0]
    if not length_of(query, dim) < np.inf:
        return False
    for i in range(k):
        r.found.distances[i], r.found.ids[i] = np.inf, -1
    asked = Asked(pointer(query), dim, r.order, 1, k, t.epsilon)
    fill_lists(t.forest, t.allowed, r.space, asked, Results(r.found.distances, r.found.ids, r.counters), r.status)
    if r.status[0] != DONE:
        return False
    settle_found(query, t.entries, t.waiting, r.desk, r.found, distances, ids)
    return True
