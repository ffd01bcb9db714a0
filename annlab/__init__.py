"""annlab: nearest neighbours that a person can read, at the speed of the machine.

>>> import annlab, numpy as np
>>> vectors = np.random.default_rng(0).random((1000, 32), dtype=np.float32)
>>> index = annlab.ExactIndex(metric="l2").fit(vectors)
>>> distances, ids = index.search(vectors[:5], k=10)

Importing this package compiles nothing and imports neither Numba nor anything else: names are resolved when used.
"""

import importlib
from typing import TYPE_CHECKING, Any

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
    "LSHIndex": "lsh",
    "Structure": "structure",
    "Neighbors": "searching",
    "RadiusNeighbors": "searching",
    "SearchStats": "statistics",
    "CorruptIndexError": "storage",
    "col": "filters",
    "collision_probability": "lsh_theory",
    "pairwise": "distances",
    "load": "loading",
    "warmup": "loading",
}

__all__ = [*_HOMES, "__version__"]

if TYPE_CHECKING:
    from annlab.balltree import BallTreeIndex as BallTreeIndex
    from annlab.distances import pairwise as pairwise
    from annlab.exact import ExactIndex as ExactIndex
    from annlab.filters import col as col
    from annlab.index import Index as Index
    from annlab.ivf import IVFIndex as IVFIndex
    from annlab.kdtree import KDTreeIndex as KDTreeIndex
    from annlab.kmeans import KMeans as KMeans
    from annlab.loading import load as load
    from annlab.loading import warmup as warmup
    from annlab.lsh import LSHIndex as LSHIndex
    from annlab.lsh_theory import collision_probability as collision_probability
    from annlab.quantizers import ProductQuantizer as ProductQuantizer
    from annlab.quantizers import ScalarQuantizer as ScalarQuantizer
    from annlab.searching import Neighbors as Neighbors
    from annlab.searching import RadiusNeighbors as RadiusNeighbors
    from annlab.statistics import SearchStats as SearchStats
    from annlab.storage import CorruptIndexError as CorruptIndexError
    from annlab.structure import Structure as Structure


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'annlab' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"annlab.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
