"""One query of an inverted file by the shortcut: the answers of the general way, with a tail, on all storages."""

import numpy as np
import pytest

import annlab
from tests.contract.checks import same

STORAGES = ("flat", "sq8", "pq4")


def by_shortcut(index, query, k, **given):
    return index._shortcuts_now().answer(query, k, 1, given, index._search_params)


def in_general(index, query, k, **given):
    return index.search(query, k, threads=1, stats=annlab.SearchStats(), **given)


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("storage", STORAGES)
def test_the_shortcut_gives_the_answers_of_the_general_way(storage, metric):
    rng = np.random.default_rng(0)
    middles = rng.standard_normal((40, 20)) * 4
    groups = rng.integers(40, size=3000)
    vectors = (middles[groups] + rng.standard_normal((3000, 20))).astype(np.float32)
    ids = rng.permutation(9000)[:3000]
    index = annlab.IVFIndex(metric=metric, storage=storage, n_lists=40, n_probes=4, auto_compact=False).fit(
        vectors, ids
    )
    queries = np.vstack([vectors[:8], vectors[8:14] + 0.1, np.zeros((1, 20)), 1e6 * vectors[:2]]).astype(np.float32)

    def check(through, **given):
        for k in (1, 10, 60):
            for i, query in enumerate(queries):
                found, expected = by_shortcut(index, query, k, **given), in_general(index, query, k, **given)
                same(index.search(query, k, **given), expected)
                assert (found is not None) == through or i > 13 or k > 10
                if found is not None:
                    same(found, expected)

    check(True)
    check(True, n_probes=7)
    index.add(vectors[:50] + np.float32(0.01))
    index.add(vectors[:9])
    check(True)
    index.remove(ids[::3])  # all lists are thinned alike
    check(True)
    check(True, n_probes=7)
    index.remove(ids[groups < 15], missing="ignore")  # some lists are empty: each query goes its own way
    check(False)


@pytest.mark.parametrize("kind", [annlab.IVFIndex(n_lists=40), annlab.VamanaIndex()], ids=["ivf", "graph"])
def test_a_few_queries_are_answered_one_by_one(kind):
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((3000, 20)).astype(np.float32)
    index, queries = kind.fit(vectors), rng.standard_normal((40, 20)).astype(np.float32)
    for q in (1, 2, 4, 16):
        same(by_shortcut(index, queries[:q], 10), in_general(index, queries[:q], 10))
        same(index.search(queries[:q], 10), in_general(index, queries[:q], 10))
    assert by_shortcut(index, queries, 10) is None, "too many"
    shortcuts, params = index._shortcuts_now(), index._search_params
    assert shortcuts.answer(queries[:5], 10, 2, {}, params) is None, "enough for two threads"
    same(shortcuts.answer(queries[:4], 10, 2, {}, params), in_general(index, queries[:4], 10))
    assert by_shortcut(index, queries[:0], 10) is None and index.search(queries[:0], 10).ids.shape == (0, 10)
    queries[3, 7] = np.nan
    assert by_shortcut(index, queries[:8], 10) is None
    with pytest.raises(ValueError, match="row 3 holds nan"):
        index.search(queries[:8], 10)


@pytest.mark.parametrize("storage", STORAGES)
def test_what_is_scanned_anyway(storage):
    vectors = np.random.default_rng(1).standard_normal((600, 8)).astype(np.float32)
    index = annlab.IVFIndex(storage=storage, n_lists=10, n_probes=10).fit(vectors)
    for query in vectors[:20]:
        for k in (1, 10, 300):
            same(by_shortcut(index, query, k), in_general(index, query, k))
    index.remove([5, 6])
    for query in vectors[:20]:
        found = by_shortcut(index, query, 10)  # None where scanning what lives is less work than probing
        same(in_general(index, query, 10) if found is None else found, index.search(query, 10))


def test_parameters_that_are_given():
    vectors = np.random.default_rng(1).standard_normal((3000, 8)).astype(np.float32)
    index = annlab.IVFIndex(n_lists=30, n_probes=3).fit(vectors)
    with pytest.raises(TypeError, match="n_probes"):
        index.search(vectors[0], 3, n_probe=3)
    for bad in (0, -1, "many", [3], True):
        for _ in range(2):
            index.search(vectors[0], 3, n_probes=1)
            with pytest.raises((ValueError, TypeError)):
                index.search(vectors[0], 3, n_probes=bad)
    same(index.search(vectors[0], 3), by_shortcut(index, vectors[0], 3))
    index.set_params(n_probes=30)
    same(index.search(vectors[0], 200), in_general(index, vectors[0], 200))
