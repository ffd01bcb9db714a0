"""One query by the shortcut: the answers of the general way, to the last bit, whatever data and writes."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import annlab
from tests import oracle
from tests.contract.checks import same
from tests.scan.test_int8 import DATA, METRICS, beside, data

PRECISIONS = ("float32", "int8")


def by_shortcut(index, query, k):
    """The answer of the shortcut, None where it leaves the query to the general way."""
    return index._shortcuts_now().answer(query, k, 1, {}, index._search_params)


def in_general(index, query, k):
    """The same search, which asking for statistics keeps from the shortcut."""
    return index.search(query, k, threads=1, stats=annlab.SearchStats())


def check(index, queries, ks):
    """Assert that both ways agree; returns how many of the queries went by the shortcut."""
    through = 0
    for k in ks:
        for query in queries:
            found = by_shortcut(index, query, k)
            expected = in_general(index, query, k)
            if found is not None:
                through += 1
                same(found, expected)
            same(index.search(query, k, threads=1), expected)
    return through


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", [name for name in DATA if "float64" not in name])
def test_the_shortcut_is_exact_on_hostile_data(name, metric):
    vectors, queries = data(name)
    for precision in PRECISIONS:
        index = annlab.ExactIndex(metric=metric, precision=precision, auto_compact=False).fit(vectors)
        check(index, queries[:5], (1, 10, len(vectors)))
        index.add(vectors[:30])
        index.remove(index.ids[::9])
        check(index, queries[:5], (1, 10))


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 400),
    dim=st.sampled_from([1, 2, 3, 4, 7, 16, 17, 33, 64, 100]),
    metric=st.sampled_from(METRICS),
    precision=st.sampled_from(PRECISIONS),
    cells=st.sampled_from([1, 1, 5]),
    kind=st.sampled_from(["real", "whole", "repeated", "shifted", "zeros", "spread"]),
    writes=st.integers(0, 3),
)
def test_the_shortcut_is_brute_force_to_the_last_bit(seed, n, dim, metric, precision, cells, kind, writes):
    """Against the oracle: sealed rows, a tail, dead rows of both, k up to all of them and beyond."""
    rng = np.random.default_rng(seed)

    def some(m):
        rows = rng.standard_normal((m, dim))
        if kind == "whole":
            rows = np.rint(20 * rows)
        elif kind == "repeated":
            rows = np.rint(rows)
        elif kind == "shifted":
            rows += 1000
        elif kind == "zeros":
            rows[rng.random(m) < 0.4] = 0
        elif kind == "spread":
            rows *= 10.0 ** rng.uniform(-12, 12, (m, 1))
        return rows.astype(np.float32)

    vectors, ids = some(n), rng.permutation(10 * n)[:n]
    index = annlab.ExactIndex(metric=metric, precision=precision, cells=cells, auto_compact=False).fit(vectors, ids)
    if writes & 1:
        more = some(int(rng.integers(1, 60)))
        vectors, ids = np.vstack([vectors, more]), np.append(ids, np.arange(10 * n, 10 * n + len(more)))
        index.add(more, ids[-len(more) :])
    if writes & 2:
        keep = rng.random(len(ids)) < 0.8
        keep[0] = True
        index.remove(ids[~keep])
        vectors, ids = vectors[keep], ids[keep]
    queries = np.vstack([vectors[:2], some(2), np.zeros((1, dim), np.float32)])
    for k in (1, int(rng.integers(1, len(ids) + 1)), len(ids) + 3):
        expected = oracle.nearest(queries, ids, vectors, metric, k)
        for i, query in enumerate(queries):
            found = by_shortcut(index, query, k)
            same(index.search(query, k) if found is None else found, (expected[0][i], expected[1][i]))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_usual_queries_go_through(precision):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((900, 24)).astype(np.float32)
    for metric in METRICS:
        index = annlab.ExactIndex(metric=metric, precision=precision).fit(vectors)
        assert check(index, beside(rng, vectors), (1, 10, 100)) == 45
        index.add(vectors[:5] + 1)
        assert check(index, beside(rng, vectors), (10,)) == 15, "a tail is no reason not to"
        index.remove([3])
        assert check(index, beside(rng, vectors), (10,)) == 15, "nor are dead rows"
    few = annlab.ExactIndex(dim=24)
    few.add(vectors[:40])
    assert check(few, vectors[:15], (1, 40)) == 30, "nor is that there is no structure yet"


def test_one_row_of_a_matrix():
    vectors = np.random.default_rng(1).random((50, 4), np.float32)
    index = annlab.ExactIndex().fit(vectors)
    found = by_shortcut(index, vectors[3:4], 5)
    assert found.ids.shape == (1, 5)
    same(found, in_general(index, vectors[3:4], 5))


@pytest.mark.parametrize("bad", [
    np.full(4, np.nan, np.float32), np.float32([1, np.inf, 0, 0]), np.full(4, 3e38, np.float32), np.zeros(4),
    np.zeros(8, np.float32)[::2], np.zeros((2, 4), np.float32), np.zeros((1, 4, 1), np.float32),
    np.zeros(3, np.float32), np.zeros(0, np.float32), [0.0] * 4, np.zeros((2, 2), np.float32),
])  # fmt: skip
def test_other_queries_do_not(bad):
    index = annlab.ExactIndex().fit(np.random.default_rng(1).random((50, 4), np.float32))
    assert by_shortcut(index, bad, 5) is None


def test_other_arguments_do_not():
    vectors = np.random.default_rng(1).random((50, 4), np.float32)
    index = annlab.ExactIndex().fit(vectors)
    query = vectors[0]
    for k in (0, -1, True, 2.0, "1", None, 10**6):
        assert by_shortcut(index, query, k) is None
    for threads in (0, -3, True, 1.0, "2", 5000):
        assert index._shortcuts_now().answer(query, 3, threads, {}, index._search_params) is None
    for k, threads in ((0, 1), (True, 1), (3, 0), (3, True), (3, "2")):
        with pytest.raises((ValueError, TypeError)):
            index.search(query, k, threads=threads)
    assert by_shortcut(annlab.ExactIndex(dim=4), query, 3) is None
    double = annlab.ExactIndex().fit(vectors.astype(np.float64))
    assert by_shortcut(double, query.astype(np.float64), 3) is None
    index.remove(index.ids)
    assert by_shortcut(index, query, 3) is None


def test_shortcuts_are_those_of_the_state_and_the_parameters():
    vectors = np.random.default_rng(1).random((50, 4), np.float32)
    index = annlab.ExactIndex().fit(vectors)
    other, shortcuts = index.branch(), index._shortcuts_now()
    assert index._shortcuts_now() is shortcuts
    index.add(vectors[:1])
    assert index._shortcuts_now() is not shortcuts
    assert index.search(vectors[0], 2).ids.tolist() == [0, 50]
    assert other.search(vectors[0], 2).ids[0] == 0 and 50 not in other.search(vectors[0], 51).ids
    for k in range(1, 200):
        index.search(vectors[0], k)
    assert len(index._shortcuts_now()._known) <= 32


def test_threads_while_one_writes():
    """Ever nearer rows are added, now and then some removed: each answer is of one state, none older than the last."""
    rng = np.random.default_rng(2)
    query = np.zeros(8, np.float32)
    rows = (rng.standard_normal((1500, 8)) * np.linspace(10, 1, 1500)[:, None]).astype(np.float32)
    rows *= (np.linspace(30, 1, 1500) / np.linalg.norm(rows, axis=1)).astype(np.float32)[:, None]
    distances = annlab.pairwise(query[None], rows)[0]
    index = annlab.ExactIndex(precision="int8").fit(rows[:600], np.arange(600))
    wrong, done = [], threading.Event()

    def search():
        last = 0
        while not done.is_set():
            found = index.search(query, 3, threads=1)
            ids = found.ids
            if ids[0] < last or (ids[:-1] <= ids[1:]).any() or (distances[ids] != found.distances).any():
                wrong.append(found)
            last = int(ids[0])

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(600, 1500):
        index.add(rows[i : i + 1], [i])
        if i % 50 == 0:
            index.remove(np.arange(i - 600, i - 560))
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    assert index.search(query, 1).ids[0] == 1499
