"""KDTreeIndex: a tree of boxes. Exact neighbours in few dimensions at a hundredth of a scan's cost, or less.

The rows are halved again and again along the coordinate in which they extend furthest (Bentley, Multidimensional binary
search trees, 1975), four halvings to a node, so a node has sixteen children. Each child has the smallest box around its
rows. A search leaves out all whose box is farther away than the k-th row found. `annlab/trees/structure.py` explains
the arrays and why a search in float32 loses nothing, `kernels/trees/search.py` the search, `kernels/trees/build.py` the
building.

When to use it: in 2 to about 16 dimensions, or more if the data vary in few directions; exact, with ties by id. When
not: in high dimensions all rows are about equally far away, every box could hold a neighbour, and the tree degenerates
into a scan that jumps about: `python -m benchmarks trees` prints and draws where a plain scan overtakes it. Uniform
rows, batches, one thread, AVX2, on a busy machine (CPU time, median of interleaved rounds; the others got their queries
sorted along a Z-curve); how many times as long the others take:

    rows       dim  type     k    a query   pykdtree   nanoflann   scipy   build   pykdtree   nanoflann
    1,000,000  2    float32  1     1.0 us   1.9        1.5                 0.14 s  1.5        4.1
                             10    1.8 us   2.5        1.9
    1,000,000  3    float32  1     0.9 us   2.3        2.2                 0.18 s  1.2        3.4
                             10    1.9 us   3.2        2.9
    1,000,000  8    float32  1     9.8 us   6.7        6.0                 0.34 s  0.6        3.1
                             10     25 us   8.3        6.7
    1,000,000  3    float64  1     1.4 us   2.3                    2.5     0.14 s  1.4
                             10    2.7 us   3.3                    3.5

Growing from 1,000,000 to 2,000,000 rows in 3 dimensions by portions of 1,000 rows took 1.95 times as long as one build
of 2,000,000, by portions of 10,000 as long as one; single queries meanwhile took 1.05 times as long as of a fresh tree
(median), queries in batches 1.7 to 1.9 times.

Time of a query divided by ExactIndex's (100,000 rows, k = 10): in batches of uniform rows 0.10 in 2 dimensions, 0.28 in
8, 0.68 in 10, 1.6 in 12, 21 in 32, so the scan wins from 12 on; for single queries from about 16 on. On clusters of at
most 16 intrinsic dimensions the tree wins everywhere, by 4 in 8 to 48 dimensions.

A filter by criteria (300,000 rows of 3 dimensions, half of them, a tenth, ... allowed anywhere; batches): nodes visited
with `criteria` and without 6.0 and 6.9, 4.6 and 10, 2.8 and 26, 2.5 and 36; microseconds 4.5 and 5.9, 4.3 and 8.0, 3.6
and 11, 4.0 and 8.2. Filtering the answers afterwards takes 26, 105, 984 and 6,468.
"""

from collections.abc import Sequence
from typing import ClassVar

from annlab.common import validation
from annlab.index import Index
from annlab.kernels.trees.tree import BOX
from annlab.trees import parameters
from annlab.trees.structure import TreeStructure


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
    metrics = parameters.REFUSED_METRICS
    search_parameters = parameters.SEARCH_PARAMETERS

    @validation.checks_names
    def __init__(self, *, metric: str = "l2", dim: int | None = None, criteria: Sequence[str] | None = None,
                 epsilon: float = 0.0, max_leaves: int | None = None, seed: int = 0,
                 auto_compact: bool = True) -> None:  # fmt: skip
        checked = parameters.checked(criteria, epsilon, max_leaves)
        super().__init__(metric=metric, dim=dim, seed=seed, auto_compact=auto_compact, **checked)
