"""Graphs that grow: rows are taken in as a block, and every node is reached again.

The new rows find their nearest old ones by walking through the graph, and their nearest new ones in leaves,
as in a build; a list is made of both. Then follow the steps of a build: new links are pruned, the nodes that they lead
to choose anew among the links they had and those that lead back, some get links that lead far, and what cannot be
reached is attached.

Where much of a graph would be new, it is built anew, which is then quicker. (After FreshDiskANN, A. Singh et al., arXiv
2105.09613, whose removal is not here: to compact is to build.) The result depends on no number of threads.
"""

import numpy as np

from annlab.common import pool
from annlab.common.progress import Progress
from annlab.graphs.build import build_graph, share_nodes
from annlab.graphs.graph import Graph
from annlab.graphs.links import join, pruned, relinked, reversed_links
from annlab.graphs.lists import list_length, own_lists, partition
from annlab.graphs.nodes import Nodes, identical
from annlab.graphs.overview import lead_far
from annlab.graphs.reach import find_entries, reach_all
from annlab.graphs.whole import some_rows, whole_numbers
from annlab.kernels.graphs import changes as kernels
from annlab.kernels.graphs.compare import LOW, NONE
from annlab.kernels.graphs.prune import new_near
from annlab.kernels.graphs.whole import Rows
from annlab.kernels.simd.memory import aligned

_MOST_NEW = 3  # a block of more than n / _MOST_NEW rows: the whole is built anew
_WIDER = 32  # a walk keeps so many nodes more than a list needs


def insert(graph: Graph, vectors: np.ndarray, more: np.ndarray, *, alpha: float, threads: int, seed: int,
           progress: Progress) -> tuple[Graph, np.ndarray]:  # fmt: skip
    """The graph of vectors (n, dim), in its order, with `more` rows (m, dim) taken in; both float32, C-contiguous.

    Returns it and its order (n + m,) int64: which of the rows of `vectors`, and of `more` behind them, each row is.
    """
    n, m = len(vectors), len(more)
    if m == 0:
        return graph, np.arange(n)
    if m * _MOST_NEW > n:
        return build_graph(np.concatenate([vectors, more]), degree=graph.degree, alpha=alpha, threads=threads,
                           seed=seed, progress=progress)  # fmt: skip
    rng, n_old = np.random.default_rng(seed), graph.n_nodes
    rows, nodes = _with_new_nodes(graph, whole_numbers(vectors, threads, more), n, rng, threads)
    keep = list_length(graph.degree)
    found = _nearest_by_walking(graph, rows, keep, threads, progress)

    def lists_of_new(rows: Rows) -> np.ndarray:
        keys = own_lists(some_rows(rows, np.arange(n_old, len(rows.codes))), keep, rng, threads, progress)
        keys[keys != NONE] += np.uint64(n_old)
        return np.sort(np.concatenate([found, keys], axis=1), axis=1)[:, :keep].copy()

    def again(rows: Rows, stays: np.ndarray, which: np.ndarray) -> np.ndarray:
        nonlocal found
        found = found[stays[n_old:]]
        return lists_of_new(rows)[which]

    rows, keys, nodes = share_nodes(rows, lists_of_new(rows), nodes, n_old, again)
    own = pruned(rows, keys, graph.degree, alpha, threads, progress)
    back, offsets = reversed_links(own, n_old)
    links = aligned((len(rows.codes), graph.degree), np.int32)
    links[:n_old] = graph.links
    join(rows, own, n_old, back, offsets, alpha, threads, links)
    changed = np.flatnonzero(offsets[1 : n_old + 1] > offsets[:n_old])
    of_changed = np.append(offsets[changed], offsets[n_old])
    relinked(rows, changed, (back & LOW).astype(np.int32), of_changed, alpha, threads, links)
    progress("pruning", 1.0)
    entries = find_entries(rows, np.diff(nodes.offsets), rng, threads)
    lead_far(links, entries, rows, alpha, rng, threads)
    entries = reach_all(links, entries, rows)
    return Graph(links, entries, None if nodes.all_single else nodes.offsets), nodes.order


def _with_new_nodes(graph: Graph, rows: Rows, n: int, rng: np.random.Generator,
                    threads: int) -> tuple[Rows, Nodes]:  # fmt: skip
    """Rows of the old nodes and, behind them, of the new ones, sorted by leader; and all rows by node."""
    n_old, m = graph.n_nodes, len(rows.codes) - n
    offsets = np.arange(n + 1) if graph.offsets is None else graph.offsets
    candidates = np.concatenate([offsets[:-1], np.arange(n, n + m)])
    labels = identical(some_rows(rows, candidates), threads)[n_old:]
    first = np.flatnonzero(labels == np.arange(n_old, n_old + m))  # of the new rows
    inner = some_rows(rows, n + first)
    first = first[partition(inner, rng, threads, lambda what, share: None)[2]]
    numbers = np.arange(n_old + m)
    numbers[n_old + first] = np.arange(n_old, n_old + len(first))
    owners = np.concatenate([np.repeat(np.arange(n_old), np.diff(offsets)), numbers[labels]])
    nodes = Nodes(np.argsort(owners, kind="stable"), np.concatenate([[0], np.cumsum(np.bincount(owners))]))
    return some_rows(rows, np.concatenate([offsets[:-1], n + first])), nodes


def _nearest_by_walking(graph: Graph, rows: Rows, keep: int, threads: int, progress: Progress) -> np.ndarray:
    """Keys (new nodes, keep) of the old nodes that are nearest to the new ones, which come behind them."""
    n_old = graph.n_nodes
    m = len(rows.codes) - n_old
    found = np.full((m, keep), NONE, np.uint64)

    def work(start: int, stop: int) -> None:
        near, walk = new_near(rows.stride, graph.degree), kernels.new_walk(n_old, keep + _WIDER)
        for first, last in pool.portions(start, stop, 2000.0 * rows.dim):
            kernels.walk_lists(rows, graph.links, graph.entries, n_old, first, last, near, walk, found)

    pool.run(work, pool.split(0, m, threads), threads)
    progress("walking", 1.0)
    return found
