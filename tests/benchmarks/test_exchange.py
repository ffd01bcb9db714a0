"""Queries between writes, beside a fresh index: what is told of them."""

import numpy as np

import annlab
from benchmarks import exchange


def test_an_index_is_measured_through_all_exchanges(monkeypatch):
    written = []
    remove = annlab.KDTreeIndex.remove
    monkeypatch.setattr(annlab.KDTreeIndex, "remove", lambda self, ids: written.append(len(ids)) or remove(self, ids))
    told = exchange.exchanged("KDTree", 400, 50)
    assert sum(written) == exchange.TIMES * 200, "half of the rows, five times"
    assert 0 < told["median"] <= told["worst"] and told["builds a half"] > 0


def test_an_index_that_sleeps_is_slower():
    class Slow(annlab.KDTreeIndex):
        def search(self, *given, **named):
            sum(range(200_000))
            return super().search(*given, **named)

    vectors = np.random.default_rng(0).random((500, 3), dtype=np.float32)
    ratio = exchange.times_fresh(Slow().fit(vectors), annlab.KDTreeIndex().fit(vectors), vectors[:5])
    assert ratio > 5
