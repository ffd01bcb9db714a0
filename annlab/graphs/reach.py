"""Every node is reached: where a walk begins, and links for the nodes that it would not find.

Entries lie where the rows do: at the means of 128 groups of leaders. Nodes that stand for most rows are entries, too:
who misses such a node misses all neighbours, and a walk looks at every entry within its bound. What cannot be reached
from the entries is attached, one by one, to the nearest node it links to that is reached, in the place of a link that
nobody depends on (see kernels/graphs/reach.py), and brings along all that it leads to. What is left then is a part of
the data that lies by itself. Its first node becomes an entry, as long as entries are few; after that it is attached to
the entry that is nearest to it, or below that.
"""

import numpy as np

from annlab.common import pool
from annlab.graphs.graph import MOST_ENTRIES, follow, parents_of
from annlab.graphs.leaves import find_leaders, nearest_in, packed
from annlab.kernels.graphs import reach as kernels
from annlab.kernels.graphs.compare import LOW
from annlab.kernels.graphs.whole import Rows

_FEWEST, _MOST = 128, 256  # entries
_ENTRY_BYTES = 2**16  # of the rows of all: each walk looks at them, so where rows are long there are fewer
_ROWS_PER_ENTRY = 4  # where there are few rows
_PER_LEADER = 64  # rows of the sample that entries are found in
_CROWD, _MOST_CROWDS = 32, 64  # rows of a node that is an entry for that, and how many such entries there may be


def find_entries(rows: Rows, sizes: np.ndarray, rng: np.random.Generator, threads: int) -> np.ndarray:
    """Distinct nodes near the means of groups of rows, and those that stand for most rows, ascending, int32.

    sizes (n,): how many rows each node stands for.
    """
    n = len(rows.codes)
    most = max(_FEWEST, min(_MOST, _ENTRY_BYTES // rows.stride))
    n_entries = max(1, min(most, n // _ROWS_PER_ENTRY))
    some = rng.choice(n, min(n, _PER_LEADER * n_entries), replace=False).astype(np.int32)
    some.sort()
    means = find_leaders(rows, some, n_entries, rng, threads)
    nearest = nearest_in(packed(rows, some), means, np.arange(n_entries, dtype=np.int32), 1, threads)
    crowds = np.argsort(-sizes, kind="stable")[:_MOST_CROWDS]
    return np.union1d((nearest & LOW).astype(np.int32), crowds[sizes[crowds] >= _CROWD].astype(np.int32))


def reach_all(links: np.ndarray, entries: np.ndarray, rows: Rows) -> np.ndarray:
    """Change links (n, degree) such that every node can be reached; returns the entries, perhaps more."""
    n = len(links)
    parents, queue = parents_of(links, entries), np.empty(n, np.int32)
    added: list[int] = []
    _attach_by_links(links, parents, queue)
    for u in np.flatnonzero(parents == kernels.UNREACHED):
        pool.check()
        if parents[u] != kernels.UNREACHED:
            continue
        if len(entries) + len(added) < MOST_ENTRIES:
            parents[u] = -1
            added.append(int(u))
        else:
            _attach_below(links, parents, np.append(entries, np.array(added, np.int32)), rows, int(u))
        queue[0] = u
        follow(links, parents, queue, 1)
        _attach_by_links(links, parents, queue)
    return np.concatenate([entries, np.array(added, np.int32)])


def _attach_by_links(links: np.ndarray, parents: np.ndarray, queue: np.ndarray) -> None:
    """Attach nodes to what they link to, until no node that is not reached links to one that is."""
    more = 1
    while more:
        more = 0
        for start, stop in pool.portions(0, len(links), links.shape[1]):
            more += kernels.attach_by_links(links, parents, start, stop, queue)


def _attach_below(links: np.ndarray, parents: np.ndarray, entries: np.ndarray, rows: Rows, u: int) -> None:
    """Attach u to the nearest entry; where that has no place left, to the nearest of its children, and so on.

    Ends, since the nodes of a tree have children only once.
    """
    asked, v = np.array([u], np.int32), -1
    while v < 0 or not kernels.attach_one(links, parents, v, u):
        some = entries if v < 0 else links[v][parents[links[v]] == v]
        v = int(nearest_in(packed(rows, np.ascontiguousarray(some)), rows, asked, 1, 1)[0, 0] & LOW)
