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

from annlab.kernels.tree import BOX
from annlab.trees import TreeIndex, TreeStructure


class KDTreeStructure(TreeStructure):
    """Trees of boxes."""

    shape: ClassVar[int] = BOX


class KDTreeIndex(TreeIndex):
    """Exact or approximate nearest neighbours by a tree of boxes, for data of few dimensions.

    The parameters are those of `TreeIndex`: metric, dim, criteria, epsilon, max_leaves, seed, auto_compact.

    Notes
    -----
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
