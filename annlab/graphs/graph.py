"""The graph itself: links of bounded degree, entries, and which rows a node stands for."""

from typing import NamedTuple

import numpy as np

from annlab.common import pool
from annlab.kernels.graphs import reach

MOST_ENTRIES = 1024
_AT_ONCE = 2**16  # nodes whose links are followed between two answers to Ctrl-C


class Graph(NamedTuple):
    """Nodes and their links.

    Attributes
    ----------
    links : (n_nodes, degree) int32
        Aligned to cache lines; -1 behind a node's last link.
    entries : (n_entries,) int32
        The nodes that a walk begins with. Every node can be reached from them.
    offsets : (n_nodes + 1,) int64, or None
        Node v stands for the rows offsets[v]:offsets[v + 1], and lies where the first of them does. None: for row v.
    """

    links: np.ndarray
    entries: np.ndarray
    offsets: np.ndarray | None = None

    @property
    def n_nodes(self) -> int:
        return len(self.links)

    @property
    def degree(self) -> int:
        return self.links.shape[1]

    @property
    def first_rows(self) -> np.ndarray | slice:
        """What picks the rows that nodes lie at from the vectors."""
        return slice(None) if self.offsets is None else self.offsets[:-1]


def check_graph(graph: Graph, n_rows: int) -> None:
    """Raise a ValueError unless all numbers of a graph of n_rows rows are in range and every node can be reached."""
    links, entries, offsets = graph
    n = n_rows if offsets is None else len(offsets) - 1
    if links.dtype != np.int32 or links.ndim != 2 or len(links) != n or links.shape[1] < 1:
        raise ValueError(f"links must be int32 ({n}, degree), not {links.dtype} {links.shape}")
    if entries.dtype != np.int32 or entries.ndim != 1 or not 1 <= len(entries) <= MOST_ENTRIES:
        raise ValueError(f"entries must be int32, 1 to {MOST_ENTRIES} of them, not {entries.dtype} {entries.shape}")
    if offsets is not None:
        if offsets.dtype != np.int64 or offsets.ndim != 1 or n < 1:
            raise ValueError(f"offsets must be int64 (n_nodes + 1,), not {offsets.dtype} {offsets.shape}")
        if offsets[0] != 0 or offsets[-1] != n_rows or (offsets[1:] <= offsets[:-1]).any():
            raise ValueError(f"offsets must rise from 0 to {n_rows}, by one row a node at least")
    if entries.min() < 0 or entries.max() >= n or len(np.unique(entries)) != len(entries):
        raise ValueError(f"entries must be distinct nodes from 0 to {n - 1}")
    for start in range(0, n, _AT_ONCE):
        some = links[start : start + _AT_ONCE]
        wrong = (some < -1) | (some >= n)
        if wrong.any():
            node = start + int(np.flatnonzero(wrong.any(axis=1))[0])
            raise ValueError(f"node {node} links to {int(links[node][wrong[node - start]][0])}, of nodes 0 to {n - 1}")
        gaps = (some[:, :-1] < 0) & (some[:, 1:] >= 0)
        if gaps.any():
            raise ValueError(f"node {start + int(np.flatnonzero(gaps.any(axis=1))[0])} has a link behind its last one")
    lost = np.flatnonzero(parents_of(links, entries) == reach.UNREACHED)
    if len(lost):
        raise ValueError(f"{len(lost)} of {n} nodes cannot be reached from the entries; the first is node {lost[0]}")


def parents_of(links: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """From which node each one is reached first, int32: -1 for entries, reach.UNREACHED where it is not."""
    parents = np.full(len(links), reach.UNREACHED, np.int32)
    queue = np.empty(len(links), np.int32)
    parents[entries], queue[: len(entries)] = -1, entries
    follow(links, parents, queue, len(entries))
    return parents


def follow(links: np.ndarray, parents: np.ndarray, queue: np.ndarray, end: int) -> None:
    """Reach all that can be reached from the nodes queue[:end]."""
    at = 0
    while at < end:
        pool.check()
        at, end = reach.spread(links, parents, queue, at, end, _AT_ONCE)
