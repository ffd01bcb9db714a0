"""Attacks on exact search by cells: its answers are those of the plain scan and of brute force, to the last bit."""

import threading

import numpy as np
import pytest

import annlab
from annlab import exact
from annlab.scan import int8
from tests import oracle
from tests.contract.checks import same
from tests.scan.int8_data import DATA, beside, data, normal
from tests.scan.test_shortcut import by_shortcut, in_general

METRICS = ("l2", "cosine")


def built(vectors, metric="l2", n_cells=7, **more):
    return annlab.ExactIndex(metric=metric, cells=n_cells, **more).fit(vectors)


def cells_of(index):
    return index._state.structure._division.cells


def through_cells(index, queries, k):
    """How many queries are answered by the cells one at a time, each as the plain scan answers it."""
    through = 0
    for query in queries:
        found = by_shortcut(index, query, k)
        if found is not None and cells_of(index) is not None and cells_of(index).serves_one(k, None):
            same(found, in_general(index, query, k))
            through += 1
    return through


def clusters(rng, n, dim, n_clusters=40, apart=8.0):
    return apart * normal(rng, n_clusters, dim)[rng.integers(n_clusters, size=n)] + normal(rng, n, dim)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", DATA)
def test_cells_give_the_answers_of_a_plain_scan_on_hostile_data(name, metric):
    vectors, queries = data(name)
    n, by_judge = len(vectors), None
    index, plain = built(vectors, metric), annlab.ExactIndex(metric=metric, precision="float32").fit(vectors)
    if n * len(queries) * vectors.shape[1] < 2e7:
        by_judge = oracle.nearest(queries, np.arange(n), vectors, metric, n // 8 - 1)
    for k in (1, 5, n // 8 - 1):
        found = index.search(queries, k, threads=1)
        same(found, plain.search(queries, k, threads=1))
        if by_judge is not None:
            same(found, (by_judge[0][:, :k], by_judge[1][:, :k]))
        through_cells(index, queries[:9], k)
    same(index.search(np.vstack([queries, vectors[:5]]), 3, threads=2),
         plain.search(np.vstack([queries, vectors[:5]]), 3, threads=1))  # fmt: skip


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lengths_whose_squares_are_no_numbers(metric, dtype):
    rng = np.random.default_rng(8)
    vectors = normal(rng, 400, 6, dtype)
    queries = np.vstack([vectors[:9], 1e-38 * vectors[9:14], 1e38 * vectors[14:19] / 8, np.zeros((2, 6))]).astype(dtype)
    if dtype == np.float64:
        queries = np.vstack([queries, 1e-145 * vectors[:5], 1e145 * vectors[5:9]])
    for some in (vectors, np.vstack([vectors, np.zeros((3, 6), dtype)]), np.vstack([vectors, 1e-30 * vectors[:3]])):
        expected = oracle.nearest(queries, np.arange(len(some)), some, metric, 20)
        same(built(some.astype(dtype), metric).search(queries, 20), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_of_one_direction(dtype):
    """Their order by cosine is that of the last bits of the definition, which no cell knows."""
    rng = np.random.default_rng(9)
    directions = rng.standard_normal((20, 11))
    vectors = (directions.repeat(30, axis=0) * rng.uniform(0.1, 10, (600, 1))).astype(dtype)
    queries = (directions * rng.uniform(0.1, 10, (20, 1))).astype(dtype)
    for n_cells in (3, 20, 60):
        same(built(vectors, "cosine", n_cells).search(queries, 7),
             oracle.nearest(queries, np.arange(600), vectors, "cosine", 7))  # fmt: skip


@pytest.mark.parametrize("name", ["ordinary", "bytes", "outlier row", "half equal"])
@pytest.mark.parametrize("metric", METRICS)
def test_cells_keep_to_filters_tombstones_and_tails(name, metric):
    vectors, queries = data(name)
    rng, n = np.random.default_rng(5), len(vectors)
    ids, sealed = rng.permutation(2 * n)[:n], n - 40
    index = annlab.ExactIndex(metric=metric, cells=7, auto_compact=False).fit(vectors[:sealed], ids[:sealed])
    gone = rng.choice(ids[:sealed], n // 5, replace=False)
    index.remove(gone)
    index.add(vectors[sealed:], ids[sealed:])
    living, keep = ~np.isin(ids, gone), rng.random(n) < 0.7
    own = rng.random((len(queries), n)) < rng.choice([0.3, 0.6, 0.9], (len(queries), 1))
    for mask, allowed in ((living, None), (living & keep, ids[keep]), (living & own, [ids[some] for some in own])):
        expected = oracle.nearest(queries, ids, vectors, metric, 12, mask)
        for threads in (1, 3):
            same(index.search(queries, 12, allowed=allowed, threads=threads), expected)
    assert cells_of(index) is not None


def test_sizes_of_batches_and_numbers_of_cells():
    rng = np.random.default_rng(2)
    vectors = clusters(rng, 3000, 19)
    queries = beside(rng, vectors, 61)
    expected = oracle.nearest(queries, np.arange(3000), vectors, "l2", 20)
    for n_cells in (2, 33, 400, 10_000):
        index = built(vectors, n_cells=n_cells)
        for size in (4, 5, 11, 12, 13, 24, 61):
            same(index.search(queries[:size], 20, threads=1), (expected[0][:size], expected[1][:size]))
        same(index.search(queries, 20, threads=4), expected)
        assert len(cells_of(index).rows.radii) == min(n_cells, 3000)


def test_most_cells_are_left_out():
    rng = np.random.default_rng(3)
    vectors = clusters(rng, 6000, 32)
    index, stats = built(vectors, n_cells=80), annlab.SearchStats()
    index.search(vectors[:50], 10, threads=1, stats=stats)
    assert stats.distances.mean() < 6000 / 8, "a cluster of forty, and cells at its edge"


def test_rows_are_divided_when_enough_was_asked(monkeypatch):
    rng = np.random.default_rng(4)
    together, noise = clusters(rng, 3000, 32), normal(rng, 3000, 32)
    monkeypatch.setattr(int8, "PATH_NAME", "avx2")
    monkeypatch.setattr(exact, "_FEWEST_ROWS", 2000)
    monkeypatch.setattr(exact, "_ROWS_OF_CELL", 50)
    monkeypatch.setattr(exact, "_QUERIES_OF_CELL", 2)  # 60 cells: after 120 queries
    index, plain = annlab.ExactIndex().fit(together), annlab.ExactIndex(cells=1).fit(together)
    for asked in (3, 100, 20):
        index.search(together[:asked], 5, threads=1)
        assert cells_of(index) is None and "cells" not in index.memory()
    same(index.search(together[:50], 5, threads=1), plain.search(together[:50], 5))
    assert index.memory()["cells"] > together.size and index.memory()["total"] > plain.memory()["total"]
    same(index.search(together[50:90], 5, threads=1), plain.search(together[50:90], 5))
    cells_of(index).most_seen = 0.3  # these meet half of the rows
    index.search(noise[:200], 5, threads=1, stats=(stats := annlab.SearchStats()))
    assert stats.distances.mean() > 3000, "queries that would look into most cells are given to the plain scan"
    for vectors, more in ((noise, {}), (together, {"cells": 1}), (together, {"precision": "float32"}),
                          (together, {"metric": "ip"}), (together[:1900], {})):  # fmt: skip
        other = annlab.ExactIndex(**more).fit(vectors)
        for _ in range(3):
            other.search(together[:100], 5, threads=1)
        assert cells_of(other) is None, more


def test_one_query_after_the_other_goes_by_the_cells():
    rng = np.random.default_rng(7)
    vectors = clusters(rng, 3000, 24)
    for metric in METRICS:
        index = built(vectors, metric, 50, auto_compact=False)
        assert through_cells(index, vectors[:60], 1) == 60, metric
        assert through_cells(index, vectors[:60] + 0.1 * normal(rng, 60, 24), 20) == 60, metric
        index.remove(index.ids[::3])
        index.add(vectors[:40] + np.float32(0.01))
        assert through_cells(index, vectors[:60], 5) == 60, "dead rows, and some that were added"
        far = 30 * normal(rng, 9, 24)
        cells_of(index).most_seen = 0.1
        index.add(vectors[:1])  # a state without shortcuts
        assert through_cells(index, far, 20) < 9, "who would look into too much is given to the plain scan"
        for query in far:
            same(index.search(query, 20), in_general(index, query, 20))


def test_a_thread_divides_the_rows_for_queries_that_come_one_at_a_time(monkeypatch):
    rng = np.random.default_rng(4)
    vectors = clusters(rng, 3000, 32)
    monkeypatch.setattr(int8, "PATH_NAME", "avx2")
    monkeypatch.setattr(exact, "_FEWEST_ROWS", 2000)
    monkeypatch.setattr(exact, "_ROWS_OF_CELL", 50)
    monkeypatch.setattr(exact, "_QUERIES_OF_CELL", 2)  # 60 cells: after 120 queries of a batch, or 30
    index, plain = annlab.ExactIndex().fit(vectors), annlab.ExactIndex(cells=1).fit(vectors)
    for query in vectors[:30]:
        same(index.search(query, 5), plain.search(query, 5))
    assert cells_of(index) is None
    index.search(vectors[30], 5)
    for thread in threading.enumerate():
        if thread.name == "annlab cells":
            thread.join()
    assert cells_of(index) is not None
    assert through_cells(index, vectors[31:60], 5) == 29


def test_files_and_parameters(tmp_path):
    rng = np.random.default_rng(6)
    vectors = clusters(rng, 900, 12)
    index, expected = built(vectors, n_cells=9), oracle.nearest(vectors[:30], np.arange(900), vectors, "l2", 7)
    same(index.search(vectors[:30], 7), expected)
    index.save(tmp_path / "cells.annlab")
    for mmap in (False, True):
        loaded = annlab.load(tmp_path / "cells.annlab", mmap=mmap)
        same(loaded.search(vectors[:30], 7), expected)
        assert loaded.parameters["cells"] == 9 and len(cells_of(loaded).rows.radii) == 9
    for wrong, error in ((0, ValueError), ("many", TypeError), (2.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="cells"):
            annlab.ExactIndex(cells=wrong)
