"""Building a graph in five steps, bit-identical for any number of threads.

1. *Whole numbers.* Rows become bytes, so that distances are exact and no order of additions matters (`whole.py`).
2. *Leaves.* Rows that lie together meet in leaves that overlap, and are compared all with all (`leaves.py`).
3. *Lists.* The nearest rows of all its leaves, by (distance, row), are the candidates for a row's links.
4. *Links.* Alpha-pruning leaves those that lie in different directions (Vamana); links are made mutual and pruned
   again, to a fixed number, and what room is left is filled with the nearest (`links.py`).
5. *Reach.* The few nodes that the walk could not reach from its entries get a link (`reach.py`).

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
from annlab.graphs.leaves import (
    OVERLAP,
    Leaves,
    divide,
    fewer,
    find_leaders,
    group,
    leaf_rows,
    nearest_leaders,
    nearest_lists,
)
from annlab.graphs.links import joined, pruned
from annlab.graphs.nodes import Nodes
from annlab.graphs.reach import find_entries, reach_all
from annlab.graphs.whole import some_rows, whole_numbers
from annlab.kernels.graphs import rows as kernels
from annlab.kernels.graphs.compare import LOW, NONE
from annlab.kernels.graphs.prune import MOST
from annlab.kernels.graphs.whole import Rows

_SMALL = 1.5  # times the rows of a leaf: so few are one leaf


def list_length(degree: int) -> int:
    """How many candidates a node's links are chosen from: with fewer the pruning starves."""
    return min(MOST, max(64, degree + degree // 2))


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
    entries = reach_all(links, find_entries(rows, rng, threads), rows)
    return Graph(links, entries, None if nodes.all_single else nodes.offsets), nodes.order


def partition(rows: Rows, rng: np.random.Generator, threads: int,
              progress: Progress) -> tuple[Rows, Leaves, np.ndarray]:  # fmt: skip
    """Rows sorted by leader, their leaves, and which of the given rows each is (n,) int64."""
    n = len(rows.codes)
    everyone = np.arange(n, dtype=np.int32)
    if n <= _SMALL * leaf_rows(rows.dim):
        return rows, Leaves(everyone, np.array([0, n])), everyone.astype(np.int64)
    progress("finding leaders", 0.0)
    n_leaders = max(OVERLAP, round(n * OVERLAP / leaf_rows(rows.dim)))
    leaders = find_leaders(rows, everyone, n_leaders, rng, threads)
    assigned = nearest_leaders(rows, everyone, leaders, OVERLAP, threads)
    order = np.argsort(_places_of(leaders, rng, threads)[assigned[:, 0]], kind="stable")
    rows, assigned = some_rows(rows, order), np.ascontiguousarray(assigned[order])
    leaves = divide(rows, group(assigned, n_leaders), rng, threads)
    progress("finding leaders", 1.0)
    return rows, leaves, order


def own_lists(rows: Rows, keep: int, rng: np.random.Generator, threads: int, progress: Progress) -> np.ndarray:
    """The lists (n, keep) of some rows among themselves."""
    rows, leaves, places = partition(rows, rng, threads, progress)
    everyone = np.arange(len(places), dtype=np.int32)
    keys = nearest_lists(rows, leaves, everyone, keep, threads, progress)
    numbers = np.append(places, 0).astype(np.uint64)
    rows_of = (keys & LOW).astype(np.int64)
    rows_of[keys == NONE] = len(places)
    result = np.empty_like(keys)
    result[places] = np.sort(np.where(keys == NONE, NONE, (keys & ~LOW) | numbers[rows_of]), axis=1)
    return result


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


def _places_of(leaders: Rows, rng: np.random.Generator, threads: int) -> np.ndarray:
    """For every leader its place in an order in which those that are near to each other follow one another."""
    n = len(leaders.codes)
    everyone, n_groups = np.arange(n, dtype=np.int32), max(1, round(n**0.5))
    groups = nearest_leaders(leaders, everyone, find_leaders(leaders, everyone, n_groups, rng, threads), 1, threads)
    places = np.empty(n, np.int64)
    places[np.argsort(groups[:, 0], kind="stable")] = np.arange(n)
    return places


def estimate_memory(n: int, dim: int, degree: int) -> int:
    """About how many bytes `build_graph` takes at most beside the vectors of n rows."""
    lists, stride = list_length(degree), -(-dim // 64) * 64
    a_row = 8 * lists + 16 * degree + 4 * degree  # lists, links as keys from both ends, links
    before = 2 * stride + 24 * OVERLAP  # rows in two orders, leaves
    return n * (64 + stride + max(a_row, 8 * lists + before)) + WORKING
