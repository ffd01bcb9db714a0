"""annlab's indexes for ann-benchmarks: build parameters go to the constructor, one search parameter is swept."""

import numpy as np

import annlab

from ..base.module import BaseANN

METRICS = {"angular": "cosine", "euclidean": "l2"}


class Annlab(BaseANN):
    """One kind of index; `kind` is the name of a class of annlab, `parameters` its own."""

    def __init__(self, metric, kind, parameters):
        if metric not in METRICS:
            raise NotImplementedError(f"annlab knows no distance {metric!r}; {', '.join(METRICS)} can be asked for")
        self.kind, self.parameters = kind, dict(parameters)
        self.index = getattr(annlab, kind)(metric=METRICS[metric], **self.parameters)
        self.search = {}
        self.name = f"annlab {kind} {self.parameters}"

    def fit(self, X):
        X = np.ascontiguousarray(X, np.float32)
        self.index.fit(X, threads=1)
        self.query(X[0], 10)  # what is compiled for one query is compiled now

    def set_query_arguments(self, *values):
        """In the order of config.yml: the effort, and for lists how many candidates are ranked again."""
        names = {"VamanaIndex": ("reach",), "IVFIndex": ("n_probes", "rerank"), "LSHIndex": ("rerank",)}[self.kind]
        self.search = dict(zip(names, values))
        self.name = f"annlab {self.kind} {self.parameters} {self.search}"

    def query(self, v, n):
        ids = self.index.search(np.ascontiguousarray(v, np.float32), n, threads=1, **self.search).ids
        return ids[ids >= 0]  # the harness looks every id up: no padding

    def batch_query(self, X, n):
        found = self.index.search(np.ascontiguousarray(X, np.float32), n, **self.search).ids
        self.res = [ids[ids >= 0] for ids in found]

    def get_memory_usage(self):
        return self.index.memory()["total"] / 1024
