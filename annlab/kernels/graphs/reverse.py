"""Reverse edges by counting: who links to every node.

Each kernel goes on where the call before it ended, so that long work can be interrupted between calls.
"""

import numpy as np

from annlab.kernels.graphs.compare import LOW, NONE
from annlab.kernels.simd.path import entry


@entry
def count_targets(path, links, start, stop, sizes):
    """Add to sizes (n,) how often each node is a target of the links start..stop-1, keys (m, degree)."""
    for u in range(start, stop):
        for i in range(links.shape[1]):
            if links[u, i] == NONE:
                break
            sizes[np.int64(links[u, i] & LOW)] += 1


@entry
def place_sources(path, links, first, start, stop, at, back):
    """Write the links start..stop-1 to their targets, as keys (distance, source); at (n,): where the next goes.

    The links u are those of node first + u.
    """
    for u in range(start, stop):
        for i in range(links.shape[1]):
            key = links[u, i]
            if key == NONE:
                break
            target = np.int64(key & LOW)
            back[at[target]] = (key & ~LOW) | np.uint64(first + u)
            at[target] += 1
