"""BallTreeIndex: a tree of balls, one inside the other. For comparing, and for data whose many coordinates all vary.

The idea
--------
Rows are halved again and again across the direction in which they extend furthest, until sixteen are left: a leaf. Each
part has a ball around the mean of its rows (Omohundro, Five balltree construction algorithms, 1989). By the triangle
inequality no row of a ball is nearer to a query than the distance to its center less its radius: if that exceeds the
k-th distance found so far, none of its rows can matter.

    vectors  (n, dim)                   the rows in the order of the leaves
    nodes    (n / 240, dim + 1, 16)     float32: center and radius of each of a node's sixteen children
    rows     (n,) int32                 as in KDTreeIndex, like all else: sixteen children a node, no pointers

The search
----------
That of `annlab/kdtree.py`, with another line for the bounds:

    bounds = max(0, |center - query| - radius) ** 2        # of the node's sixteen balls, rounded down

The cost
--------
A ball is described by dim + 1 numbers and a box by 2 dim, and cuts need not follow the coordinates. But a ball around
a few rows is emptier than a box, so it excludes less, and that decides on nearly all data: boxes win by up to ten times
on clusters, balls by up to two where many coordinates all vary, and there a scan beats both.

When to use it: to compare, or where rows vary in many coordinates and a scan takes too long. When not: take KDTreeIndex
in few dimensions and ExactIndex in many. `docs/measured.md` has the figures.

Where to read on
----------------
`annlab/kdtree.py` first; then `project` and `write_ball` in `kernels/trees/build.py`, and `child_bounds` in
`kernels/trees/tree.py`: nothing else differs.
"""

from collections.abc import Sequence
from typing import ClassVar

from annlab.common import validation
from annlab.index import Index
from annlab.kernels.trees.tree import BALL
from annlab.trees import parameters
from annlab.trees.structure import TreeStructure


class BallTreeStructure(TreeStructure):
    """Trees of balls."""

    shape: ClassVar[int] = BALL


class BallTreeIndex(Index):
    """Exact or approximate nearest neighbours by a tree of balls, for data of few dimensions.

    Parameters
    ----------
    metric : {"l2", "cosine"}
        See `annlab.distances`; for `cosine` the tree is built over the vectors scaled to length 1.
    dim : int, optional
        The dimension, to begin with an empty index and `add`; `fit` finds it by itself.
    criteria : sequence of str, optional
        Attributes by which the rows are divided before they are divided by coordinates: each combination of their
        values has a tree of its own, so that a search with `where=` on them visits no other. At most 64 combinations,
        the most frequent ones, have one; the rest share a tree. Worth it for attributes of few values that searches
        often ask for; a search without `where=` visits every tree and takes longer. All other attributes can be asked
        for too, as in any index.
    epsilon : float, at least 0
        Of a search: the i-th distance returned may be (1 + epsilon) times the true i-th, which lets the search leave
        out more (Arya et al., An optimal algorithm for approximate nearest neighbor searching, 1998). 0 is exact. For
        `cosine` it applies to the distance on the unit sphere, so distances may be (1 + epsilon)^2 times as large.
    max_leaves : int, optional
        Of a search: visit at most so many leaves of sixteen rows, the nearest first (best-bin-first: Beis and Lowe,
        Shape indexing using approximate nearest-neighbour search, 1997). None is exact.
    seed : int
        For the sample of queries by which the cost of a search is measured.
    auto_compact : bool
        See `Index`.

    Notes
    -----
    A radius search is always exact.

    Memory: the vectors, a sixteenth of that again in balls (float32; half as much beside float64 vectors), for
    `cosine` 4 bytes a vector, and 4 bytes for every vector that was taken in after the last `fit` or `compact`; ids
    apart.

    Examples
    --------
    >>> import annlab, numpy as np
    >>> vectors = np.random.default_rng(0).random((1000, 3), dtype=np.float32)
    >>> index = annlab.BallTreeIndex().fit(vectors)
    >>> distances, ids = index.search(vectors[:2], k=3)
    >>> distances.shape, ids[:, 0].tolist()
    ((2, 3), [0, 1])
    >>> stats = annlab.SearchStats()
    >>> _ = index.search(vectors[:2], k=3, stats=stats)
    >>> bool((stats.distances < 300).all())
    True
    """

    structure_class = BallTreeStructure
    metrics = parameters.REFUSED_METRICS
    search_parameters = parameters.SEARCH_PARAMETERS

    @validation.checks_names
    def __init__(self, *, metric: str = "l2", dim: int | None = None, criteria: Sequence[str] | None = None,
                 epsilon: float = 0.0, max_leaves: int | None = None, seed: int = 0,
                 auto_compact: bool = True) -> None:  # fmt: skip
        checked = parameters.checked(criteria, epsilon, max_leaves)
        super().__init__(metric=metric, dim=dim, seed=seed, auto_compact=auto_compact, **checked)
