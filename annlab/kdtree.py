"""KDTreeIndex: a tree of boxes. Exact neighbours in few dimensions at a hundredth of a scan's cost, or less.

The rows are halved again and again along the coordinate in which they extend furthest (Bentley, Multidimensional binary
search trees, 1975), four halvings to a node, so a node has sixteen children. Each child has the smallest box around its
rows. A search leaves out all whose box is farther away than the k-th row found. `annlab/trees.py` explains the arrays
and why a search in float32 loses nothing, `kernels/tree.py` the search, `kernels/tree_build.py` the building.

When to use it: in 2 to about 16 dimensions, or more if the data vary in few directions; exact, with ties by id. When
not: in high dimensions all rows are about equally far away, every box could hold a neighbour, and the tree degenerates
into a scan that jumps about: `python -m benchmarks trees` prints where a plain scan overtakes it.
"""

from typing import ClassVar

from annlab import validation
from annlab.index import Index
from annlab.kernels.tree import BOX
from annlab.trees import NO_INNER_PRODUCT, SEARCH_PARAMETERS, TreeStructure, checked_parameters


class KDTreeStructure(TreeStructure):
    """Trees of boxes."""

    shape: ClassVar[int] = BOX


class KDTreeIndex(Index):
    """Exact or approximate nearest neighbours by a tree of boxes, for data of few dimensions.

    Parameters
    ----------
    metric : {"l2", "cosine"}
        See `annlab.distances`; for `cosine` the tree is built over the vectors scaled to length 1.
    dim : int, optional
        The dimension, to begin with an empty index and `add`; `fit` finds it by itself.
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
    Memory: the vectors, an eighth of that again in boxes (float32; half as much beside float64 vectors), and for
    `cosine` 4 bytes a vector; ids apart. A radius search is always exact.

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
    metrics: ClassVar[dict[str, str]] = NO_INNER_PRODUCT
    search_parameters = SEARCH_PARAMETERS

    @validation.checks_names
    def __init__(self, *, metric: str = "l2", dim: int | None = None, epsilon: float = 0.0,
                 max_leaves: int | None = None, seed: int = 0, auto_compact: bool = True) -> None:  # fmt: skip
        super().__init__(
            metric=metric, dim=dim, seed=seed, auto_compact=auto_compact, **checked_parameters(epsilon, max_leaves)
        )
