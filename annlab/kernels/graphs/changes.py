"""Lists of new rows of a graph, by walking through it."""

from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.graphs.prune import Near, measure
from annlab.kernels.graphs.whole import Rows
from annlab.kernels.simd.path import entry, kernel
from annlab.kernels.simd.registers import pointer, pointers

_OPENED = np.uint64(1) << np.uint64(31)  # in a key of the pool: row numbers are below that
_ROW = np.uint64(0x7FFFFFFF)


class Walk(NamedTuple):
    """Scratch of one thread. Made by `new_walk`."""

    pool: Any  # (width + 1,) uint64: keys, ascending, marked where they were opened
    seen: Any  # (n,) int32: the last row for which a node was compared
    width: int


def new_walk(n: int, width: int) -> Walk:
    """Scratch for walks over n nodes that keep the `width` nearest."""
    return Walk(np.zeros(width + 1, np.uint64), np.full(n, -1, np.int32), width)


@kernel
def _offer(pool, length, width, key):
    """Put a key into the pool; returns its length and the key's place (width: not taken)."""
    if length == width and (pool[width - 1] & ~_OPENED) < key:
        return length, width
    place = min(length, width - 1)
    while place > 0 and (pool[place - 1] & ~_OPENED) > key:
        pool[place] = pool[place - 1]
        place -= 1
    pool[place] = key
    return min(length + 1, width), place


@kernel
def _walk(rows, links, degree, entries, n_entries, u, near, walk, most):
    """The nodes nearest to row u, as keys in walk.pool; returns how many. Opens the nearest until all are opened."""
    length, nearest = 0, 0
    begin = 0
    while begin < n_entries:  # entries first, some at a time
        some = min(most, n_entries - begin)
        for i in range(some):
            near.keys[i] = np.uint64(entries[begin + i])
            walk.seen[entries[begin + i]] = u
        measure(near, some, u, rows)
        for i in range(some):
            length, _ = _offer(walk.pool, length, walk.width, near.keys[i])
        begin += some
    while nearest < length:
        if walk.pool[nearest] & _OPENED:
            nearest += 1
            continue
        node = np.int64(walk.pool[nearest] & _ROW)
        walk.pool[nearest] |= _OPENED
        some = 0
        for i in range(degree):
            v = links[node * degree + i]
            if v < 0:
                break
            if walk.seen[v] != u:
                walk.seen[v] = u
                near.keys[some] = np.uint64(v)
                some += 1
        measure(near, some, u, rows)
        for i in range(some):
            length, place = _offer(walk.pool, length, walk.width, near.keys[i])
            nearest = min(nearest, place)
    return length


@entry
def walk_lists(path, rows: Rows, links, entries, first, start, stop, near: Near, walk: Walk, keys):
    """keys (m, keep), NONE to begin with: the nodes of a graph that are nearest to the rows first + start...

    The rows of the nodes come first; links (n, degree) and entries are theirs.
    """
    r, work, room = pointers(Rows(*rows)), pointers(Near(*near)), pointers(Walk(*walk))
    link, some = pointer(links), pointer(entries)
    for i in range(start, stop):
        length = _walk(r, link, links.shape[1], some, entries.shape[0], np.int32(first + i), work, room, 256)
        for t in range(min(length, keys.shape[1])):
            keys[i, t] = room.pool[t] & ~_OPENED
