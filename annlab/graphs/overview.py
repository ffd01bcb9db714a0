"""Links that lead far: a sparse graph of some nodes, laid over the graph of all.

The nearest rows of a row on an island all lie on that island, and so do its links: a walk that began on the wrong one
would stay there. Which is the right one the entries cannot tell: there may be more islands than entries, and a query
from elsewhere lies about as far from many. So every `_ONE_IN`th node gets links of another kind, chosen by the steps
of a build among these nodes alone; their nearest ones lie on other islands. Where these nodes are many, the same is
done again for every so many of them. A walk begins at an entry, which is one of them; it goes over such links as long
as they lead nearer, and then on by the others. (HNSW, Malkov and Yashunin, 2016, has such graphs as layers of their
own; here they share the links of a node, and a walk need not know of them.)

Nodes lie in the order of their leaders, so that every so many of them are spread over the data; and a graph that grows
keeps those that it has.
"""

import numpy as np

from annlab.graphs.links import joined, pruned
from annlab.graphs.lists import list_length, own_lists
from annlab.graphs.whole import some_rows
from annlab.kernels.graphs.whole import Rows

_ONE_IN = 32  # nodes


def lead_far(links: np.ndarray, entries: np.ndarray, rows: Rows, alpha: float, rng: np.random.Generator,
             threads: int) -> None:  # fmt: skip
    """Change links (n, degree): some nodes get links to others that lie far away, in place of their farthest."""
    keep, places = list_length(links.shape[1]), links.shape[1]
    some = np.arange(len(links), dtype=np.int32)
    while len(some) >= _ONE_IN * len(entries) and places > 1:
        places //= 2  # so half of the near links stay, of a node that is chosen twice a quarter
        some = np.union1d(some[::_ONE_IN], entries)
        among = some_rows(rows, some)
        own = pruned(among, own_lists(among, keep, rng, threads, _quiet), places, alpha, threads, _quiet)
        far = joined(among, own, alpha, threads, _quiet)
        links[some] = _in_front(np.where(far < 0, -1, some[far]), links[some])


def _in_front(far: np.ndarray, links: np.ndarray) -> np.ndarray:
    """Far links (m, any) in front of those that there are (m, degree), without doubles; the last ones drop out."""
    known = np.zeros(links.shape, bool)
    for column in far.T:
        known |= links == column[:, None]
    both = np.concatenate([far, np.where(known, -1, links)], axis=1)
    order = np.argsort(both < 0, axis=1, kind="stable")
    return np.take_along_axis(both, order, axis=1)[:, : links.shape[1]]


def _quiet(what: str, share: float) -> None:
    """For steps that take hardly any time."""
