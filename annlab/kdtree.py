"""KDTreeIndex: a tree of boxes. Exact neighbours in few dimensions at a hundredth of a scan's cost, or less.

The idea
--------
Rows are halved again and again along the coordinate in which they extend furthest (Bentley, Multidimensional binary
search trees, 1975), until sixteen of them are left: a leaf. Each part has the smallest box around its rows. If that box
is farther from a query than the k-th row found so far, none of its rows can matter. In few dimensions boxes of
neighbours are small, and nearly all are left out.

Four halvings make a node, so a node has sixteen children, and their sixteen distances are computed at once:

    vectors  (n, dim)                   the rows in the order of the leaves, so that a leaf is read in one go
    nodes    (n / 240, 2 dim, 16)       float32: lowest and highest coordinate of each of a node's sixteen children
    rows     (n,) int32                 which row of the index each is; none after `fit`, which orders rows like leaves

All leaves but the last are full. So a node's children follow from its number, and no pointer is stored.

The search
----------
In plain Python, for one query, with `limit` the squared distance of the k-th row found so far:

    def visit(node, level):
        bounds = squared distances of the query to the node's sixteen boxes
        for child in order of bounds:
            if bounds[child] > limit:
                return                                     # this one and all that are left
            if level > 0:
                visit(node * 16 + child, level - 1)
            else:
                offer the sixteen rows of the leaf node * 16 + child; limit = the k-th best so far

    visit(root, height - 1)

Bounds and leaves are computed in float32 and loosened by their proven error; what passes is measured by the definition.
A search may be told to be content with less: `epsilon` leaves out more boxes, `max_leaves` stops after so many leaves.

The cost
--------
Building is n log n. A query visits some leaves around its neighbours: a number that does not grow with n, but with the
dimension d it does, as 2^d and more. Rows that are added become trees of their own, merged by and by
(`trees/forest.py`), and a search visits each.

When to use it: in 2 to about 16 dimensions, or more if the data vary in few directions; exact, with ties by id. When
not: in high dimensions all rows are about equally far away, every box could hold a neighbour, and the tree becomes a
scan that jumps about: from about 12 dimensions of uniform rows on ExactIndex is faster. `python -m benchmarks trees`
prints and draws where a plain scan overtakes it; `docs/measured.md` has the figures.

Where to read on
----------------
`trees/forest.py` (the arrays, growth, criteria), `trees/structure.py` (why a search in float32 loses nothing),
`kernels/trees/build.py` (halving), then `tree.py`, `walk.py`, `leaf.py`, `collect.py` and `search.py` beside it.
"""

from collections.abc import Sequence
from typing import ClassVar

from annlab.common import validation
from annlab.index import Index
from annlab.kernels.trees.tree import BOX
from annlab.trees.parameters import TreeParameters, checked
from annlab.trees.structure import TreeStructure


class KDTreeStructure(TreeStructure):
    """Trees of boxes."""

    shape: ClassVar[int] = BOX


class KDTreeIndex(TreeParameters, Index):
    """Exact or approximate nearest neighbours by a tree of boxes, for data of few dimensions.

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

    Memory: the vectors, an eighth of that again in boxes (float32; half as much beside float64 vectors), for
    `cosine` 4 bytes a vector, and 4 bytes for every vector that was taken in after the last `fit` or `compact`; ids
    apart.

    Examples
    --------
    >>> import annlab, numpy as np
    >>> vectors = np.random.default_rng(0).random((1000, 3), dtype=np.float32)
    >>> index = annlab.KDTreeIndex().fit(vectors)
    >>> distances, ids = index.search(vectors[:2], k=3)
    >>> distances.shape, ids[:, 0].tolist()
    ((2, 3), [0, 1])
    >>> stats = annlab.SearchStats()
    >>> _ = index.search(vectors[:2], k=3, stats=stats)
    >>> bool((stats.distances < 300).all())
    True
    """

    structure_class = KDTreeStructure

    @validation.checks_names
    def __init__(self, *, metric: str = "l2", dim: int | None = None, criteria: Sequence[str] | None = None,
                 epsilon: float = 0.0, max_leaves: int | None = None, seed: int = 0,
                 auto_compact: bool = True) -> None:  # fmt: skip
        super().__init__(metric=metric, dim=dim, seed=seed, auto_compact=auto_compact,
                         **checked(criteria, epsilon, max_leaves))  # fmt: skip
