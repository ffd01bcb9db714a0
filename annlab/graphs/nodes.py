"""Which rows share a node: those that bytes cannot tell apart.

*Identical* whole numbers are one node. As many nodes they would fill each other's lists: nothing would lead out of
them, and only some could be reached. As one they are found together, and scoring them exactly says which is nearest.

*Near copies* differ by about a step of the whole numbers in every coordinate, which is hardly more than rounding. Where
they are so many that lists hold little else, they share a node too: the first leads, and others join it. Then lists are
found anew, for the nodes that had lost a neighbour, until nothing changes any more. In many dimensions the rows of a
crowd are all about as far from each other; should that be just beyond what counts as near, the few nodes that are left
of it join in a second round, which reaches farther.
"""

from typing import NamedTuple

import numpy as np

from annlab.common import pool
from annlab.kernels.graphs import rows as kernels
from annlab.kernels.graphs.whole import Rows

_APART = 1.25  # squared steps a coordinate: three quarters of a step of noise in both rows, and their rounding
_FARTHER = 2.0  # times as far, squared


class Nodes(NamedTuple):
    """Node v stands for the rows order[offsets[v]:offsets[v + 1]], ascending, and lies where the first of them does."""

    order: np.ndarray
    offsets: np.ndarray

    @property
    def first_rows(self) -> np.ndarray:
        return self.order[self.offsets[:-1]]

    @property
    def all_single(self) -> bool:
        return len(self.offsets) == len(self.order) + 1


def nodes_of(firsts: np.ndarray) -> Nodes:
    """Nodes of rows (n,) that say which is the first of their node, in the order of these."""
    n = len(firsts)
    is_first = firsts == np.arange(n)
    if is_first.all():
        return Nodes(np.arange(n), np.arange(n + 1))
    numbers = (np.cumsum(is_first) - 1)[firsts]
    return Nodes(np.argsort(numbers, kind="stable"), np.concatenate([[0], np.cumsum(np.bincount(numbers))]))


def identical(rows: Rows, threads: int) -> np.ndarray:
    """For every row the first one with the same whole numbers, (n,) int64."""
    words = rows.codes.view(np.uint64)
    n, width = words.shape
    hashes, firsts = np.empty(n, np.uint64), np.arange(n)

    def work(start: int, stop: int) -> None:
        for first, last in pool.portions(start, stop, 4 * width):
            kernels.hash_rows(words, first, last, hashes)

    pool.run(work, pool.split(0, n, threads), threads)
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    begins = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    heads = order[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    for start, stop in pool.portions(0, n, 4 * width):
        kernels.mark_identical(words, order, heads, start, stop, firsts)
    return firsts


def reordered(nodes: Nodes, places: np.ndarray) -> Nodes:
    """The nodes in another order: node i is nodes' places[i]."""
    sizes = np.diff(nodes.offsets)[places]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    begins = np.repeat(nodes.offsets[:-1][places] - offsets[:-1], sizes)
    return Nodes(nodes.order[begins + np.arange(len(nodes.order))], offsets)


def is_crowded(keys: np.ndarray, dim: int) -> bool:
    """Whether near copies fill half of one of the lists keys (n, keep)."""
    radius, place = np.uint64(_APART * dim), keys.shape[1] // 2
    return any(kernels.is_crowded(keys, place, radius, start, stop) for start, stop in pool.portions(0, len(keys), 1))


def near_copies(keys: np.ndarray, dim: int, nodes: Nodes, first: int, farther: bool) -> np.ndarray | None:
    """For every node the one that it joins, or itself; None where none joins another.

    keys (n - first, keep): the lists of the nodes from `first` on. `farther`: those that have become crowds also join
    what is somewhat farther than a near copy.
    """
    leads, sizes = np.arange(first + len(keys)), np.diff(nodes.offsets)
    radius, least = np.uint64((_FARTHER if farther else 1.0) * _APART * dim), keys.shape[1] // 2 if farther else 1
    return leads if kernels.near_copies(keys, radius, first, sizes, least, leads) else None


def merged(nodes: Nodes, leads: np.ndarray) -> Nodes:
    """The nodes, those that have the same lead as one, in the order of the leads."""
    labels = np.repeat(leads, np.diff(nodes.offsets))
    order = np.argsort(labels, kind="stable")
    offsets = np.concatenate(
        [[0], np.cumsum(np.bincount(labels, minlength=len(leads))[leads == np.arange(len(leads))])]
    )
    return Nodes(nodes.order[order], offsets)
