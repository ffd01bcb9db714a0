"""From lists of nearest rows to links: pruned, made mutual, pruned again."""

import numpy as np

from annlab.common import pool
from annlab.common.progress import Progress
from annlab.graphs.graph import aligned
from annlab.kernels.graphs import prune, reverse
from annlab.kernels.graphs.whole import Rows


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


def reversed_links(links: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The links from their other ends: keys (distance, source), those of node v at offsets[v]:offsets[v + 1]."""
    n, degree = links.shape
    sizes = np.zeros(n, np.int64)
    for start, stop in pool.portions(0, n, 4 * degree):
        reverse.count_targets(links, start, stop, sizes)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    back, at = np.empty(offsets[-1], np.uint64), offsets[:-1].copy()
    for start, stop in pool.portions(0, n, 8 * degree):
        reverse.place_sources(links, start, stop, at, back)
    return back, offsets


def joined(rows: Rows, own: np.ndarray, alpha: float, threads: int, progress: Progress) -> np.ndarray:
    """Own links (n, degree) and those that lead here, pruned and filled up with the nearest: int32 (n, degree)."""
    n, degree = own.shape
    back, offsets = reversed_links(own)
    links = aligned((n, degree))
    longest = degree + int(np.diff(offsets).max())

    def work(start: int, stop: int) -> None:
        near, candidates = prune.new_near(rows.stride, degree), np.empty(longest, np.uint64)
        for first, last in pool.portions(start, stop, degree * degree * rows.dim / 16):
            prune.join(rows, own, back, offsets, first, last, np.float32(alpha), near, candidates, links)

    pool.run(work, pool.split(0, n, 8 * threads), threads)
    progress("pruning", 1.0)
    return links
