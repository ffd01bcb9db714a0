"""annlab's indexes for VIBE: build parameters go to the constructor, one search parameter is swept.

The runner gives values without their names, in the order of config.yml.
"""

import numpy as np

import annlab

from ..base.module import BaseANN

METRICS = {"ip": "ip", "normalized": "cosine", "cosine": "cosine", "euclidean": "l2"}


class _Annlab(BaseANN):
    """What all kinds share."""

    kind = ""

    def __init__(self, metric, parameters):
        self.parameters = parameters
        self.index = getattr(annlab, self.kind)(metric=METRICS[metric], **parameters)
        self.search = {}

    def fit(self, X):
        X = np.ascontiguousarray(X, np.float32)
        self.index.fit(X, threads=1)
        self.query(X[0], 10)  # what is compiled for one query is compiled now

    def query(self, v, n):
        ids = self.index.search(np.ascontiguousarray(v, np.float32), n, threads=1, **self.search).ids
        return ids[ids >= 0]

    def batch_query(self, X, n):
        found = self.index.search(np.ascontiguousarray(X, np.float32), n, **self.search).ids
        self.res = [ids[ids >= 0] for ids in found]

    def __str__(self):
        return f"annlab {self.kind}({self.parameters}, {self.search})"


class AnnlabVamana(_Annlab):
    """The graph."""

    kind = "VamanaIndex"

    def __init__(self, metric, degree):
        super().__init__(metric, {"degree": degree})

    def set_query_arguments(self, reach):
        self.search = {"reach": reach}


class AnnlabIVF(_Annlab):
    """Inverted lists."""

    kind = "IVFIndex"

    def __init__(self, metric, storage):
        super().__init__(metric, {"storage": storage})

    def set_query_arguments(self, n_probes, rerank):
        self.search = {"n_probes": n_probes, "rerank": rerank}
