"""Which rows share a node.

Rows whose whole numbers are the same are one node: identical ones, and those that are nearer to each other than bytes
can tell. As many nodes they would fill each other's lists: nothing would lead out of them, and only some could be
reached. As one they are found together, and scoring them exactly says which is nearest.
"""

from typing import NamedTuple

import numpy as np

from annlab.common import pool
from annlab.kernels.graphs import rows as kernels
from annlab.kernels.graphs.whole import Rows


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


def nodes_of(labels: np.ndarray) -> Nodes:
    """Nodes of rows that have the same label, in the order of their first rows."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    place = np.empty(len(first), np.int64)
    place[np.argsort(first, kind="stable")] = np.arange(len(first))
    numbers = place[inverse]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(numbers, minlength=len(first)))])
    return Nodes(np.argsort(numbers, kind="stable"), offsets)


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
