"""One query of a tree by the shortcut: the answers of the general way, with tails, dead rows and several trees."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import annlab
from tests import oracle
from tests.contract.checks import same

KINDS = (annlab.KDTreeIndex, annlab.BallTreeIndex)


def by_shortcut(index, query, k):
    return index._shortcuts_now().answer(query, k, 1, {}, index._search_params)


def in_general(index, query, k):
    return index.search(query, k, threads=1, stats=annlab.SearchStats())


@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS),
    n=st.integers(1, 700),
    dim=st.sampled_from([1, 2, 3, 4, 7, 17, 40]),
    metric=st.sampled_from(["l2", "cosine"]),
    grid=st.booleans(),
    auto_compact=st.booleans(),
)
def test_the_shortcut_is_brute_force_to_the_last_bit(seed, kind, n, dim, metric, grid, auto_compact):
    rng = np.random.default_rng(seed)

    def some(m):
        rows = rng.standard_normal((m, dim))
        return (np.rint(2 * rows) if grid else rows).astype(np.float32)

    vectors, ids = some(n), rng.permutation(10 * n)[:n]
    index = kind(metric=metric, auto_compact=auto_compact).fit(vectors, ids)
    for _ in range(3):
        more = some(int(rng.integers(1, 90)))
        fresh = np.arange(len(more)) + ids.max() + 1
        index.add(more, fresh)
        vectors, ids = np.vstack([vectors, more]), np.append(ids, fresh)
        keep = rng.random(len(ids)) < 0.9
        keep[0] = True
        index.remove(ids[~keep])
        vectors, ids = vectors[keep], ids[keep]
        queries = np.vstack([vectors[:2], some(2), np.zeros((1, dim), np.float32)])
        for k in (1, 10, 12):
            expected = oracle.nearest(queries, ids, vectors, metric, k)
            for i, query in enumerate(queries):
                found = by_shortcut(index, query, k)
                assert found is not None or grid or metric == "cosine"
                same(in_general(index, query, k) if found is None else found, (expected[0][i], expected[1][i]))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_to_the_general_way(kind):
    vectors = np.random.default_rng(0).random((300, 3), np.float32)
    index = kind().fit(vectors)
    assert by_shortcut(index, vectors[0], 12) is not None
    assert by_shortcut(index, vectors[0], 13) is None, "longer than a list"
    assert by_shortcut(kind(max_leaves=3).fit(vectors), vectors[0], 5) is None, "a budget"
    assert by_shortcut(kind().fit(1e17 * vectors), 1e17 * vectors[0], 5) is None, "out of range"
    ties = kind().fit(np.ones((300, 3), np.float32))
    assert by_shortcut(ties, np.ones(3, np.float32), 5) is None, "too many ties for a list"
    loose = kind(epsilon=0.5).fit(vectors)
    for query in vectors[:50] + np.float32(0.01):
        same(by_shortcut(loose, query, 5), in_general(loose, query, 5))
        same(loose.search(query, 5), in_general(loose, query, 5))
