"""The scan in float32 where there are few rows: these are measured as they are, by the kernel that measures others."""

import numpy as np
import pytest
from numba import types

from annlab import ExactIndex, SearchStats
from annlab.kernels import scoring
from annlab.kernels.scan import one
from annlab.scan import scanner
from tests import oracle
from tests.contract.checks import same


@pytest.mark.parametrize("n", [3, 40, 64, 65])
def test_few_rows_are_measured_for_every_query(n):
    rng = np.random.default_rng(0)
    index, vectors = ExactIndex(), rng.random((2 * n, 4), dtype=np.float32)
    index.fit(vectors[:n])
    index.add(vectors[n:])
    queries = rng.random((70, 4), dtype=np.float32)
    far = np.linalg.norm(queries[:, None].astype(np.float64) - vectors, axis=2)
    for k in (1, 3):
        nearest = np.argsort(far, axis=1)[:, :k]
        np.testing.assert_array_equal(index.search(queries, k).ids, nearest)
        np.testing.assert_array_equal(index.search(queries[:1], k).ids, nearest[:1])
    odd = index.search(queries, 2, allowed=np.arange(1, 2 * n, 2)).ids
    np.testing.assert_array_equal(odd, 2 * np.argsort(far[:, 1::2], axis=1)[:, :2] + 1)


def test_nothing_that_may_only_be_read_reaches_the_kernel():
    """It would be compiled again for that, which takes seconds."""
    vectors = np.random.default_rng(0).random((30, 4), dtype=np.float32)
    index = ExactIndex().fit(vectors)
    for queries in (vectors, vectors[:2], vectors[:1]):
        index.search(queries, 3)
    arrays = [each for one in scoring.score.compiled.signatures for each in one if isinstance(each, types.Array)]
    assert arrays and all(each.mutable and each.layout == "C" for each in arrays)


@pytest.fixture
def by_definition(monkeypatch):
    """Which queries of every batch were measured row by row, because bounds do not hold for them."""
    asked, measure = [], scanner.Scanner._by_definition

    def noted(self, queries, open_queries, *rest):
        asked.append(open_queries.tolist())
        return measure(self, queries, open_queries, *rest)

    monkeypatch.setattr(scanner.Scanner, "_by_definition", noted)
    return asked


@pytest.mark.parametrize(("metric", "rows", "queries", "which"), [
    ("l2", 1.0, 1.0, []),
    ("l2", 1.0, 1e16, [2]),  # a sum of squares would leave the range of float32
    ("l2", 1e-25, 1.0, [0, 1, 2, 3, 4, 5]),  # rows so near each other that squares of differences vanish
    ("ip", 1e-31, 1e-44, [2]),  # a product that is nothing in float32
    ("ip", 1.0, 1e16, []),  # the length of a query changes no order
])  # fmt: skip
def test_where_bounds_do_not_hold_rows_are_measured(by_definition, metric, rows, queries, which):
    rng = np.random.default_rng(2)
    vectors, asked = rng.standard_normal((200, 24)), rng.standard_normal((6, 24))
    vectors, asked = (rows * vectors).astype(np.float32), asked.astype(np.float32)
    asked[2] *= np.float32(queries)
    index = ExactIndex(metric=metric, precision="float32").fit(vectors)
    _, ids = oracle.nearest(asked, np.arange(200), vectors, metric, 3)
    np.testing.assert_array_equal(index.search(asked, 3, threads=1).ids, ids)
    assert [place for batch in by_definition for place in batch] == which


def test_sums_of_more_terms_than_their_error_is_bounded_for_are_no_bounds(by_definition, monkeypatch):
    rng = np.random.default_rng(3)
    vectors, rounding = rng.standard_normal((200, 24)).astype(np.float32), (1.1 * 24 + 16) * 2.0**-24
    index = ExactIndex(precision="float32").fit(vectors)
    monkeypatch.setattr(scanner, "_MOST_ROUNDING", rounding)
    found = index.search(vectors[:5], 3, threads=1)
    assert not by_definition
    monkeypatch.setattr(scanner, "_MOST_ROUNDING", 0.99 * rounding)
    again = index.search(vectors[:5], 3, threads=1)
    assert by_definition == [[0, 1, 2, 3, 4]]
    np.testing.assert_array_equal(again.ids, found.ids)
    np.testing.assert_array_equal(again.distances, found.distances)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_rows_beyond_the_cache_are_read_one_by_one_with_the_same_answers(metric, dtype):
    dim = 37  # a whole pair of registers, one more, and a rest
    rows = np.random.default_rng(6).standard_normal((one._CACHED // (4 * dim) + 5, dim)).astype(dtype)
    rows[:8, :] = rows[100:108]
    rows[100:108, -1] += 1e-3  # only the last coordinate tells them apart
    index, queries = ExactIndex(metric=metric, precision="float32").fit(rows), rows[:8] * dtype(1.5)
    together = index.search(queries, k=12)
    for query, distances, ids in zip(queries, *together):
        np.testing.assert_array_equal(index.search(query, k=12, threads=1).ids, ids)
        np.testing.assert_array_equal(index.search(query, k=12, threads=1, stats=SearchStats()).distances, distances)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_of_most_rows_beyond_the_cache_the_others_are_passed_over_with_the_same_answers(metric, dtype):
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((9_000, 240)).astype(dtype)
    vectors[1::3] = vectors[::3]  # those that are not allowed would tie
    assert vectors.nbytes > scanner._FROM_MEMORY
    index = ExactIndex(metric=metric, precision="float32").fit(vectors)
    keep = np.flatnonzero(np.arange(9_000) % 3 != 1)
    queries, among = vectors[:9:3], ExactIndex(metric=metric, precision="float32").fit(vectors[keep], keep)
    for some in (queries[:1], queries):
        stats = SearchStats()
        found = index.search(some, 20, allowed=keep, stats=stats, threads=1)
        wanted = among.search(some, 20)
        np.testing.assert_array_equal(found.ids, wanted.ids)
        np.testing.assert_array_equal(found.distances, wanted.distances)
        assert (stats.distances == 9_000).all(), "all are read, in the order of their addresses"
        radius = wanted.distances[:, 10]
        np.testing.assert_array_equal(index.search_radius(some, radius, allowed=keep).ids,
                                      among.search_radius(some, radius).ids)  # fmt: skip
    stats = SearchStats()
    index.search(queries[:1], 20, allowed=keep[:3000], stats=stats)
    assert stats.distances.tolist() == [3000]


def test_few_rows_that_are_large():
    """All of them are candidates, but for those that were removed."""
    rng = np.random.default_rng(12)
    vectors = rng.standard_normal((60, 36_000)).astype(np.float32)  # more than caches hold
    index = ExactIndex(precision="float32", auto_compact=False).fit(vectors)
    index.remove([0, 9, 50])
    living = np.setdiff1d(np.arange(60), [0, 9, 50])
    for queries in (vectors[9], vectors[9:11], vectors[5:15]):
        distances, ids = index.search(queries, 5, stats=SearchStats())
        expected = oracle.nearest(np.atleast_2d(queries), living, vectors[living], "l2", 5)
        same((np.atleast_2d(distances), np.atleast_2d(ids)), expected)
