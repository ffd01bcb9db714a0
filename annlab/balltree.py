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
from annlab.trees.parameters import TreeParameters, checked
from annlab.trees.structure import TreeStructure


class BallTreeStructure(TreeStructure):
    """Trees of balls."""

    shape: ClassVar[int] = BALL


class BallTreeIndex(TreeParameters, Index):
    """Exact or approximate nearest neighbours by a tree of balls, for data of few dimensions.

    Parameters
    ----------
    metric : {"l2", "cosine"}
        See `annlab.distances`; for `cosine` the balls lie around the vectors scaled to length 1.
    dim : int, optional
        To begin with an empty index.
    criteria : sequence of str, optional
        Attributes by which rows are divided first: a tree for each combination of their values, see `KDTreeIndex`.
    epsilon : float, at least 0
        Of a search: by which share the i-th result may be farther away than the true i-th; 0 is exact.
    max_leaves : int, optional
        Of a search: how many leaves of sixteen rows to visit at most, the nearest first; None is exact.
    seed, auto_compact
        As for `KDTreeIndex`.

    Notes
    -----
    A radius search is always exact. Memory: the vectors, a sixteenth of that again in balls, and what KDTreeIndex takes
    beside its boxes.

    Examples
    --------
    >>> import annlab, numpy as np
    >>> vectors = np.random.default_rng(0).standard_normal((900, 6), dtype=np.float32)
    >>> index = annlab.BallTreeIndex(criteria=["shelf"]).fit(vectors, attributes={"shelf": np.arange(900) % 3})
    >>> index.search(vectors[:3], k=1).ids.ravel().tolist()
    [0, 1, 2]
    >>> set((index.search(vectors[1], k=5, where=annlab.col("shelf") == 2).ids % 3).tolist())
    {2}
    """

    structure_class = BallTreeStructure

    @validation.checks_names
    def __init__(self, *, metric: str = "l2", dim: int | None = None, criteria: Sequence[str] | None = None,
                 epsilon: float = 0.0, max_leaves: int | None = None, seed: int = 0,
                 auto_compact: bool = True) -> None:  # fmt: skip
        super().__init__(metric=metric, dim=dim, seed=seed, auto_compact=auto_compact,
                         **checked(criteria, epsilon, max_leaves))  # fmt: skip
