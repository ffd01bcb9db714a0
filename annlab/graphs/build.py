"""Building a graph in six steps, bit-identical for any number of threads.

1. *Whole numbers.* Rows become bytes, so that distances are exact and no order of additions matters (`whole.py`).
2. *Leaves.* Rows that lie together meet in leaves that overlap, and are compared all with all (`leaves.py`).
3. *Lists.* The nearest rows of all its leaves, by (distance, row), are the candidates for a row's links
   (`lists.py`).
4. *Links.* Alpha-pruning leaves those that lie in different directions (Vamana); links are made mutual and pruned
   again, to a fixed number, and what room is left is filled with the nearest (`links.py`).
5. *Overview.* Some nodes get links that lead far, so that a walk finds from island to island (`overview.py`).
6. *Reach.* The few nodes that the walk could not reach from its entries get a link (`reach.py`).

Rows of the same whole numbers share a node (`nodes.py`). Nodes are sorted by leader, so that what lies near in space
lies near in memory.
"""

from collections.abc import Callable

import numpy as np

from annlab.common import pool
from annlab.common.memory import WORKING
from annlab.common.progress import Progress
from annlab.graphs import nodes as sharing
from annlab.graphs.graph import Graph
from annlab.graphs.leaves import OVERLAP, fewer, nearest_lists
from annlab.graphs.links import joined, pruned
from annlab.graphs.lists import list_length, partition
from annlab.graphs.nodes import Nodes
from annlab.graphs.overview import lead_far
from annlab.graphs.reach import find_entries, reach_all
from annlab.graphs.whole import some_rows, whole_numbers
from annlab.kernels.graphs import rows as kernels
from annlab.kernels.graphs.whole import Rows


def build_graph(vectors: np.ndarray, *, degree: int, alpha: float, threads: int, seed: int,
                progress: Progress) -> tuple[Graph, np.ndarray]:  # fmt: skip
    """A graph of vectors (n, dim) float32, C-contiguous and finite, for squared Euclidean distances.

    degree: the most links of a node. alpha, at least 1: the larger, the more links that lie in similar directions
    stay. The result depends on no number of threads.

    Returns the graph and its order (n,) int64: which row of `vectors` each row of the graph is.
    """
    rng = np.random.default_rng(seed)
    rows = whole_numbers(vectors, threads)
    nodes = sharing.nodes_of(sharing.identical(rows, threads))
    if not nodes.all_single:
        rows = some_rows(rows, nodes.first_rows)
    rows, leaves, places = partition(rows, rng, threads, progress)
    nodes = sharing.reordered(nodes, places)
    everyone, keep = np.arange(len(places), dtype=np.int32), list_length(degree)

    def again(rows: Rows, stays: np.ndarray, which: np.ndarray) -> np.ndarray:
        nonlocal leaves
        leaves = fewer(leaves, stays)
        return nearest_lists(rows, leaves, which, keep, threads, progress)

    keys = nearest_lists(rows, leaves, everyone, keep, threads, progress)
    rows, keys, nodes = share_nodes(rows, keys, nodes, 0, again)
    own = pruned(rows, keys, degree, alpha, threads, progress)
    del keys
    links = joined(rows, own, alpha, threads, progress)
    entries = find_entries(rows, np.diff(nodes.offsets), rng, threads)
    lead_far(links, entries, rows, alpha, rng, threads)
    entries = reach_all(links, entries, rows)
    return Graph(links, entries, None if nodes.all_single else nodes.offsets), nodes.order


Again = Callable[[Rows, np.ndarray, np.ndarray], np.ndarray]
"""Finds lists again: of the rows that are left, bool which these are of those before, and whose lists are wanted."""


def share_nodes(rows: Rows, keys: np.ndarray, nodes: Nodes, first: int,
                again: Again) -> tuple[Rows, np.ndarray, Nodes]:  # fmt: skip
    """Rows, lists and nodes, fewer of them where near copies crowd each other's lists.

    keys (n - first, keep): the lists of the nodes from `first` on. Lists that had held others than leads are found
    again.
    """
    if not sharing.is_crowded(keys, rows.dim):
        return rows, keys, nodes
    for farther in (False, True):
        while (leads := sharing.near_copies(keys, rows.dim, nodes, first, farther)) is not None:
            lead = leads == np.arange(len(leads))
            nodes, rows, keys = sharing.merged(nodes, leads), some_rows(rows, lead), keys[lead[first:]]
            stale = np.zeros(len(keys), np.int8)
            numbers = np.where(lead, np.cumsum(lead) - 1, -1)
            for start, stop in pool.portions(0, len(keys), 4 * keys.shape[1]):
                kernels.renumber(keys, numbers, start, stop, stale)
            which = np.flatnonzero(stale).astype(np.int32)
            keys[which] = again(rows, lead, which)
    return rows, keys, nodes


def estimate_memory(n: int, dim: int, degree: int) -> int:
    """About how many bytes `build_graph` takes at most beside the vectors of n rows."""
    lists, stride = list_length(degree), -(-dim // 64) * 64
    a_row = 8 * lists + 16 * degree + 4 * degree  # lists, links as keys from both ends, links
    before = 2 * stride + 24 * OVERLAP  # rows in two orders, leaves
    return n * (64 + stride + max(a_row, 8 * lists + before)) + WORKING
