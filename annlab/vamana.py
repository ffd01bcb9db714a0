"""VamanaIndex: vectors linked to their neighbours; a query walks from link to link until nothing nearer is in sight.

The idea. Draw a link from every vector to some vectors near it, so that from anywhere one can walk towards a query,
always by way of the nearest vector seen so far, and arrive at its neighbours after a few dozen steps, whatever n is.
Which links? Not simply the nearest: these all lead the same way. Going through the neighbours from near to far, one is
left out if another that was kept is much nearer to it than the vector itself: the way there leads by that one. So a few
links show in all directions, some of them far, and the degree is bounded. (Vamana, Subramanya et al., 2019; an older
name of the rule is that of the relative neighbourhood graph.)

The arrays.

    vectors   (n, dim)                they decide which of the found are nearest; rows are sorted by neighbourhood
    links     (n_nodes, 2 degree)     int32: the neighbours of a node, -1 behind them, then a number for each of these
    codes     (n_nodes, padded dim)   a byte for each coordinate ("sq8"): what a walk compares. "flat": the floats
    axes      (dim, components)       only if few directions tell long vectors apart: codes hold those components
    entries   (n_entries,)            nodes spread over the data; a walk begins at the nearest
    offsets   (n_nodes + 1,)          identical vectors are one node; only if there are any

The search.

    def search(query, k):
        nearest, open = {}, {the entry nearest to query}
        while open:
            node = the nearest of open, taken out
            if distance(query, node) > reach * distance(query, the k-th of nearest): break
            for neighbour in links[node], if not seen before:
                d = distance(query, codes[neighbour])
                nearest.add(neighbour, d)
                open.add(neighbour, d)
        return the k smallest of (distance(query, vectors[row]), row) for row in nearest

So a walk goes on while there is something to be opened that is not much farther away than the k-th nearest so far:
within `reach` times its distance. That is the one knob between speed and recall. "auto" is measured when the index is
fitted, on rows that were held out, for every k; `index.calibration` says what was found.

The build, in six steps (`graphs/build.py`). 1. *Leaves*: rows are put into overlapping groups of a thousand or two, by
the nearest of some leaders, means of a sample. 2. *Lists*: within each group all are compared with all; a row keeps the
nearest of all its groups. 3. *Pruning* by the rule above. 4. *Reverse links*: whoever is linked to links back, pruned
again. 5. *Overview*: every 32nd node gets links to others of these, so that a walk finds from one island of rows to
another. 6. *Repair*: what cannot be reached from the entries is linked to its nearest. Whole numbers take the place of
floats, so that the graph is the same, bit by bit, for any number of threads.

The cost. A query: some hundred to some thousand comparisons, growing with log n. Building: a few thousand comparisons
for every vector. Memory: the vectors, 8 degree bytes of links and a byte for each coordinate (padded to 64), or for
each component: see `estimate_memory`.

When to use it. For single queries on large sets at high recall, above all where clusters overlap: there cells have to
be probed by the dozen, and links lead on. Compare it with IVFIndex, which is level or ahead where clusters stand apart
and the set is small. It takes adds, updates and removals; what is removed is walked through until the index is
compacted. With a filter it walks through what is not allowed, or scans what is, whichever is less work: `SearchStats`
says which.

When not. Below some thousand vectors ExactIndex is as fast, and exact. Large batches of queries are answered faster by
IVFIndex, which shares what it reads among them, builds faster and takes less memory. Vectors must fit into memory.
Queries that are distributed otherwise than the vectors (text that searches for pictures) need a larger reach: give
`calibrate` some hundred of them; a `RecallWarning` says when it is time.

Where to read on, in this order: `graphs/structure.py`, `graphs/build.py`, `graphs/leading.py` (components),
`graphs/plans.py` (walk or scan), `graphs/calibration.py`, `kernels/graphs/walk.py` (the walk).
"""

from typing import Any

import numpy as np

from annlab.common import validation
from annlab.core.calibrated import Calibrated, as_recall
from annlab.distances import get_metric
from annlab.graphs.calibration import Calibration
from annlab.graphs.structure import GraphStructure, uses_codes
from annlab.index import Index

STORAGES = ("auto", "flat", "sq8")
_IDS_BYTES = 25  # of a row: id, state, and its place in the table of ids


def _as_reach(value: Any) -> Any:
    if isinstance(value, str) and value == "auto":
        return value
    if isinstance(value, float) and value == np.inf:
        return value
    return validation.as_number("reach", value, 1.0)


class VamanaIndex(Calibrated[Calibration], Index):
    """Approximate nearest neighbours by walking through a graph.

    Parameters
    ----------
    metric : {"l2", "cosine", "ip"}
        See `annlab.distances`.
    degree : int
        Links of a node, a multiple of 16 from 16 to 128. 64 is faster where neighbours are hard to tell apart (many
        dimensions, high recall), 32 takes half the memory for links.
    storage : {"auto", "flat", "sq8"}
        What a walk compares: a byte for each coordinate, or the floats; "auto" takes bytes above 16 dimensions. Of
        vectors of 384 and more dimensions bytes hold the leading principal components, where these are enough.
    reach : float or "auto"
        A walk opens nodes within this times the distance of the k-th nearest so far, at least 1; also a parameter of
        `search`. "auto" is what was measured to reach `target_recall`; infinity scans all vectors.
    target_recall : float
        The recall@k that "auto" aims at, whatever k is, 0 < target_recall <= 1.
    alpha : float
        At least 1: how much nearer to a kept neighbour another one has to be to be left out, as a ratio of squared
        distances. Larger values keep more links, and more far ones.
    seed : int
    dim, auto_compact
        As for every `Index`.

    Notes
    -----
    Built bit by bit alike for any number of threads, and answers do not depend on the batch or on threads. Up to 1,000
    vectors, and for k above a sixteenth of the rows, searches are exact scans.

    Warns with a `RecallWarning` where codes cannot reach `target_recall`, and where queries find their neighbours much
    farther away than those did that were measured.

    References
    ----------
    S. J. Subramanya et al., "DiskANN: Fast Accurate Billion-point Nearest Neighbor Search on a Single Node", NeurIPS
    2019.

    Examples
    --------
    >>> import annlab, numpy as np
    >>> vectors = np.random.default_rng(0).random((5000, 24), dtype=np.float32)
    >>> index = annlab.VamanaIndex().fit(vectors)
    >>> near, far = (index.search(vectors[:100], k=1, reach=reach) for reach in ("auto", np.inf))
    >>> bool((near.distances == far.distances).mean() >= index.calibration.target)
    True
    """

    structure_class = GraphStructure
    variants = ({"storage": "sq8"}, {"storage": "flat"})
    search_parameters = {"reach": _as_reach}  # noqa: RUF012

    @validation.checks_names
    def __init__(self, *, metric: str = "l2", degree: int = 32, storage: str = "auto", reach: float | str = "auto",
                 target_recall: float = 0.95, alpha: float = 1.2, seed: int = 0, dim: int | None = None,
                 auto_compact: bool = True) -> None:  # fmt: skip
        storage = validation.as_choice("storage", storage, STORAGES)
        super().__init__(metric=metric, dim=dim, seed=seed, auto_compact=auto_compact, degree=_as_degree(degree),
                         storage=storage, reach=_as_reach(reach), target_recall=as_recall(target_recall),
                         alpha=validation.as_number("alpha", alpha, 1.0))  # fmt: skip

    @property
    def calibration(self) -> Calibration:
        """The reach that "auto" stands for at k = 10, the recall measured with it, and its confidence bound.

        `calibrate` measures it on your own queries.
        """
        return self._calibration_now()

    @property
    def _structure(self) -> GraphStructure:
        structure = None if self._state is None else self._state.structure
        if not isinstance(structure, GraphStructure):
            raise ValueError("this VamanaIndex has no graph yet: fit it, or compact it once vectors were added")
        return structure

    @classmethod
    def estimate_memory(cls, n: int, dim: int, *, metric: str = "l2", degree: int = 32, storage: str = "auto",
                        dtype: Any = np.float32) -> int:  # fmt: skip
        """Bytes that an index of n different vectors will take, before anything is built: the "total" of `memory()`.

        It is less where codes hold leading components, which the vectors decide.

        Examples
        --------
        >>> import annlab, numpy as np
        >>> vectors = np.random.default_rng(0).random((3000, 64), dtype=np.float32)
        >>> estimate = annlab.VamanaIndex.estimate_memory(3000, 64)
        >>> 0.9 < estimate / annlab.VamanaIndex().fit(vectors).memory()["total"] < 1.1
        True
        """
        n, dim = validation.as_integer("n", n, 1), validation.as_integer("dim", dim, 1)
        storage, degree = validation.as_choice("storage", storage, STORAGES), _as_degree(degree)
        item, point_dim = (8 if np.dtype(dtype) == np.float64 else 4), dim + (get_metric(metric).name == "ip")
        own = item * dim + _IDS_BYTES
        if n <= GraphStructure.exact_up_to:
            return n * own
        if uses_codes(storage, dim):
            row = -(-point_dim // 64) * 64
        else:
            row = 0 if metric == "l2" and item == 4 else 4 * point_dim
        return n * (own + 8 * degree + row)


def _as_degree(value: Any) -> int:
    degree = validation.as_integer("degree", value, 16, 128)
    if degree % 16:
        raise ValueError(f"degree must be a multiple of 16, but is {degree}: take {degree // 16 * 16 + 16}")
    return degree
