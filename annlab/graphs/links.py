"""From lists of nearest rows to links: pruned, made mutual, pruned again."""

import numpy as np

from annlab.common import pool
from annlab.common.progress import Progress
from annlab.kernels.graphs import prune, reverse
from annlab.kernels.graphs.whole import Rows
from annlab.kernels.simd.memory import aligned


def pruned(rows: Rows, keys: np.ndarray, degree: int, alpha: float, threads: int, progress: Progress) -> np.ndarray:
    """Of every list (n, keep) the links that lie in different directions: keys (n, degree)."""
    n, links = len(keys), np.empty((len(keys), degree), np.uint64)

    def work(start: int, stop: int) -> None:
        near = prune.new_near(rows.stride, degree)
        for first, last in pool.portions(start, stop, keys.shape[1] * degree * rows.dim / 32):
            prune.prune_lists(rows, keys, first, last, np.float32(alpha), near, links)

    pool.run(work, pool.split(0, n, 8 * threads), threads)
    progress("pruning", 0.5)
    return links


def reversed_links(links: np.ndarray, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The links from their other ends: keys (distance, source), those of node v at offsets[v]:offsets[v + 1].

    links (m, degree): keys of the links of the nodes from `first` on, which are the last ones.
    """
    m, degree = links.shape
    sizes = np.zeros(first + m, np.int64)
    for start, stop in pool.portions(0, m, 4 * degree):
        reverse.count_targets(links, start, stop, sizes)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    back, at = np.empty(offsets[-1], np.uint64), offsets[:-1].copy()
    for start, stop in pool.portions(0, m, 8 * degree):
        reverse.place_sources(links, first, start, stop, at, back)
    return back, offsets


def joined(rows: Rows, own: np.ndarray, alpha: float, threads: int, progress: Progress) -> np.ndarray:
    """Own links (n, degree) and those that lead here, pruned and filled up with the nearest: int32 (n, degree)."""
    links = aligned(own.shape, np.int32)
    back, offsets = reversed_links(own)
    join(rows, own, 0, back, offsets, alpha, threads, links)
    progress("pruning", 1.0)
    return links


def join(rows: Rows, own: np.ndarray, first: int, back: np.ndarray, offsets: np.ndarray, alpha: float, threads: int,
         links: np.ndarray) -> None:  # fmt: skip
    """Links of the nodes from `first` on: own ones (keys) and those of `reversed_links`, pruned and filled up."""
    n, degree = links.shape
    longest = degree + int(np.diff(offsets).max())

    def work(start: int, stop: int) -> None:
        near, candidates = prune.new_near(rows.stride, degree), np.empty(longest, np.uint64)
        for begin, end in pool.portions(start, stop, degree * degree * rows.dim / 16):
            prune.join(rows, own, first, back, offsets, begin, end, np.float32(alpha), near, candidates, links)

    pool.run(work, pool.split(first, n, 8 * threads), threads)


def relinked(rows: Rows, nodes: np.ndarray, more: np.ndarray, offsets: np.ndarray, alpha: float, threads: int,
             links: np.ndarray) -> None:  # fmt: skip
    """Choose the links of some nodes anew among those they have and more[offsets[i]:offsets[i + 1]] for nodes[i]."""
    degree = links.shape[1]
    longest = degree + int(np.diff(offsets).max(initial=0))

    def work(start: int, stop: int) -> None:
        near, candidates = prune.new_near(rows.stride, degree), np.empty(longest, np.uint64)
        for begin, end in pool.portions(start, stop, degree * degree * rows.dim / 16):
            prune.relink(rows, nodes, more, offsets, begin, end, np.float32(alpha), near, candidates, links)

    pool.run(work, pool.split(0, len(nodes), 8 * threads), threads)
