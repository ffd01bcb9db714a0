"""All kinds of index: which there are, how one is loaded whatever its kind, and kernels compiled ahead of their use."""

from typing import Any

import numpy as np

from annlab.balltree import BallTreeIndex
from annlab.core import storage
from annlab.exact import ExactIndex
from annlab.index import Index
from annlab.ivf import IVFIndex
from annlab.kdtree import KDTreeIndex
from annlab.lsh import LSHIndex
from annlab.vamana import VamanaIndex

INDEX_CLASSES: tuple[type[Index], ...] = (ExactIndex, IVFIndex, VamanaIndex, KDTreeIndex, BallTreeIndex, LSHIndex)
"""In the order in which tables show them."""


def load(path: storage.Place, *, mmap: bool = False, verify: bool | None = None) -> Index:
    """Read an index of whatever kind from a path, bytes or an open file; parameters and errors as for `Index.load`.

    Examples
    --------
    >>> import io
    >>> import annlab
    >>> file = io.BytesIO()
    >>> annlab.KDTreeIndex().fit(np.eye(3)).save(file)
    >>> annlab.load(file.getvalue())
    <KDTreeIndex(metric='l2', ...): 3 x 3>
    """
    path = storage.whole(path)
    kind: Any = storage.read_manifest(path).get("kind")
    if not isinstance(kind, str) or kind not in Index.kinds:
        raise storage.CorruptIndexError(f"{storage.in_words(path)} holds an index of the unknown kind {kind!r}")
    return Index.kinds[kind].load(path, mmap=mmap, verify=verify)


def warmup() -> None:
    """Compile (or load from the cache) the kernels of every index, so that no first search has to wait for it.

    Examples
    --------
    >>> import annlab
    >>> annlab.warmup()          # in a service, before the first request         # doctest: +SKIP
    """
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        vectors = rng.random((300, 4)).astype(dtype)
        for index_class in INDEX_CLASSES:
            for variant in index_class.variants:
                index = index_class(metric="l2", **variant).fit(vectors)
                index.search(vectors[:8], k=3)
                index.search(vectors[0], k=3)
                index.search_radius(vectors[0], 0.1)
