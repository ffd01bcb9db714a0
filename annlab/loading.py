"""Indexes from files of any kind, and kernels compiled ahead of their first use."""

import os
from typing import Any

import numpy as np

import annlab
from annlab import storage
from annlab.index import Index


def index_classes() -> list[type[Index]]:
    """All index classes that the package exports."""
    values = [getattr(annlab, name) for name in annlab.__all__ if name.endswith("Index") and name != "Index"]
    return [value for value in values if isinstance(value, type) and issubclass(value, Index)]


def load(path: str | os.PathLike[str], *, mmap: bool = False, verify: bool | None = None) -> Index:
    """Read an index of whatever kind from a file; parameters and errors as for `Index.load`."""
    kind: Any = storage.read_manifest(path).get("kind")
    index_classes()  # makes them known
    if not isinstance(kind, str) or kind not in Index.kinds:
        raise storage.CorruptIndexError(f"{path} holds an index of the unknown kind {kind!r}")
    return Index.kinds[kind].load(path, mmap=mmap, verify=verify)


def warmup() -> None:
    """Compile (or load from the cache) the kernels of every index, so that no first search has to wait for it."""
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        vectors = rng.random((300, 4)).astype(dtype)
        for index_class in index_classes():
            for variant in index_class.variants:
                index = index_class(metric="l2", **variant).fit(vectors)
                index.search(vectors[:8], k=3)
                index.search(vectors[0], k=3)
                index.search_radius(vectors[0], 0.1)
