"""What can be tried: the variants of each index, and for each of its search parameters a ladder of values.

A ladder ascends from cheap to thorough. That recall never falls on the way up is a promise of every index
(`tests/contract/`), so the lowest rung that is good enough can be found by halving, without a look at all of them.
"""

import math
from typing import Any

import numpy as np

from annlab.balltree import BallTreeIndex
from annlab.index import Index
from annlab.ivf import IVFIndex
from annlab.kdtree import KDTreeIndex
from annlab.lsh import LSHIndex
from annlab.vamana import VamanaIndex

__all__ = ["ladders", "variants"]
_TREES_UP_TO = 64  # columns: above, a tree looks at every row (docs/measured.md)
_BUCKETS_FROM = 20_000  # rows: below, comparing all codes is quicker than looking into buckets


def variants(kind: type[Index], metric: str, n: int, dim: int) -> list[dict[str, Any]]:
    """Parameters that lead to different structures of one kind, the most promising first; none if it cannot serve.

    Search parameters are given numbers here, so that no time is spent on measuring what will be measured anyway.
    """
    if kind in (KDTreeIndex, BallTreeIndex):
        return [{}] if metric != "ip" and dim <= _TREES_UP_TO else []
    if kind is LSHIndex:
        fixed = {"n_probes": 16, "rerank": 100}
        scans = [{"mode": "scan", "n_bits": bits, **fixed} for bits in (256, 512, 128)]
        return scans + [{"mode": "buckets", **fixed}] * (n >= _BUCKETS_FROM)
    if kind is IVFIndex:
        return [{"storage": storage} for storage in ("pq4", "flat", "sq8")]
    if kind is VamanaIndex:
        return [{"degree": 32}, {"degree": 64}]
    return [{}]


def ladders(index: Index, k: int, *, exactly: bool = False) -> dict[str, list[Any]]:
    """For each search parameter of a filled index its values from cheap to thorough; empty where there is no choice.

    `exactly`: all answers must be right, so of what can be exact nothing is left out, whatever some queries would do
    without.
    """
    n = len(index)
    if isinstance(index, IVFIndex):
        widths = [1.0] if index.get_params()["storage"] == "flat" else [float(2**i) for i in range(9) if 2**i * k <= n]
        return {"n_probes": _ascending(1, index.n_lists), "rerank": widths or [1.0]}
    if isinstance(index, LSHIndex):
        candidates = _ascending(min(k, n), n)
        if index.get_params()["mode"] == "scan":
            return {"rerank": candidates}
        return {"n_probes": _ascending(16, max(16, n)), "rerank": candidates[::2]}
    if isinstance(index, VamanaIndex):
        return {"reach": [1.0 + 0.025 * i**1.5 for i in range(12)] + [np.inf]}
    if isinstance(index, (KDTreeIndex, BallTreeIndex)):
        return {} if exactly else {"max_leaves": [*_ascending(2, max(2, n // 64)), None]}
    return {}


def _ascending(low: int, high: int) -> list[int]:
    """Whole numbers from low to high, each about 1.4 times the one before."""
    steps = max(1, math.ceil(2 * math.log2(max(high / low, 1))))
    return sorted({round(low * (high / low) ** (i / steps)) for i in range(steps + 1)})
