"""annlab: nearest neighbours that a person can read, at the speed of the machine.

>>> import annlab, numpy as np
>>> vectors = np.random.default_rng(0).random((1000, 32), dtype=np.float32)
>>> index = annlab.ExactIndex(metric="l2").fit(vectors)
>>> distances, ids = index.search(vectors[:5], k=10)

Importing this package compiles nothing and imports neither Numba nor anything else: names are resolved when used.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "ExactIndex": "exact",
    "IVFIndex": "ivf",
    "KMeans": "kmeans",
    "ProductQuantizer": "quantizers",
    "ScalarQuantizer": "quantizers",
    "KDTreeIndex": "kdtree",
    "BallTreeIndex": "balltree",
    "Index": "index",
    "KeyedIndex": "keyed",
    "LSHIndex": "lsh",
    "VamanaIndex": "vamana",
    "Structure": "core.structure",
    "Neighbors": "common.results",
    "RadiusNeighbors": "common.results",
    "SearchStats": "common.statistics",
    "RecallWarning": "core.heldout",
    "CorruptIndexError": "core.storage",
    "col": "core.conditions",
    "collision_probability": "hashing.theory",
    "pairwise": "distances",
    "recommend": "tuning",
    "tune": "tuning",
    "load": "kinds",
    "warmup": "kinds",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'annlab' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"annlab.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
