"""An index of every kind, with search parameters that miss something, and the causes that its misses may have."""

import warnings

import annlab
from annlab.explain import Cause

KINDS = {
    "exact": (annlab.ExactIndex, {}, {}, set()),
    "ivf-flat": (annlab.IVFIndex, {"storage": "flat"}, {"n_probes": 2}, {Cause.CELL}),
    "ivf-pq4": (annlab.IVFIndex, {"storage": "pq4"}, {"n_probes": 12, "rerank": 1.0}, {Cause.CELL, Cause.RERANK}),
    "ivf-sq8": (annlab.IVFIndex, {"storage": "sq8"}, {"n_probes": 3}, {Cause.CELL}),
    "lsh-scan": (annlab.LSHIndex, {"mode": "scan", "n_bits": 64}, {"rerank": 12}, {Cause.RERANK}),
    "lsh-hyperplanes": (annlab.LSHIndex, {"mode": "buckets", "family": "hyperplanes"}, {"n_probes": 20, "rerank": 14},
                        {Cause.BUCKET, Cause.RERANK}),
    "lsh-polytopes": (annlab.LSHIndex, {"mode": "buckets", "family": "cross_polytope"}, {"n_probes": 20, "rerank": 14},
                      {Cause.BUCKET, Cause.RERANK}),
    "vamana-flat": (annlab.VamanaIndex, {"degree": 16, "storage": "flat"}, {"reach": 1.0}, {Cause.ENDED}),
    "vamana-sq8": (annlab.VamanaIndex, {"degree": 16, "storage": "sq8"}, {"reach": 1.0}, {Cause.ENDED, Cause.RERANK}),
    "kdtree-budget": (annlab.KDTreeIndex, {}, {"max_leaves": 6}, {Cause.ENDED}),
    "kdtree-epsilon": (annlab.KDTreeIndex, {}, {"epsilon": 4.0}, {Cause.PRUNED}),
    "balltree-budget": (annlab.BallTreeIndex, {}, {"max_leaves": 6}, {Cause.ENDED}),
    "balltree-epsilon": (annlab.BallTreeIndex, {}, {"epsilon": 6.0}, {Cause.PRUNED}),
}  # fmt: skip


def fitted(name, vectors, ids=None, metric="l2"):
    """The index of a kind over these vectors, and its search parameters."""
    kind, made, params, _ = KINDS[name]
    index = kind(metric=metric, auto_compact=False, **made)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", annlab.RecallWarning)
        return index.fit(vectors, ids), params
