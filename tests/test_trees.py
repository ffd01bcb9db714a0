"""KDTreeIndex and BallTreeIndex beyond the contract: exactness, approximate modes, growth, hostile sizes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import annlab
from annlab.kernels.tree_leaf import LEAF_ROWS
from annlab.statistics import SearchStats

TREES = [annlab.KDTreeIndex, annlab.BallTreeIndex]


def clustered(rng, n, dim, dtype=np.float32):
    centers = rng.standard_normal((20, dim))
    return (centers[rng.integers(20, size=n)] + 0.1 * rng.standard_normal((n, dim))).astype(dtype)


def same(found, expected):
    assert np.array_equal(found.ids, expected.ids) and np.array_equal(found.distances, expected.distances)


@pytest.mark.parametrize("tree", TREES)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 700),
    dim=st.integers(1, 20),
    k=st.integers(1, 20),
    dtype=st.sampled_from([np.float32, np.float64]),
    metric=st.sampled_from(["l2", "cosine"]),
    kind=st.sampled_from(["normal", "grid", "far away", "one constant"]),
)
def test_finds_what_a_scan_finds(tree, seed, n, dim, k, dtype, metric, kind):
    rng = np.random.default_rng(seed)
    vectors, queries = rng.standard_normal((n, dim)), rng.standard_normal((9, dim))
    if kind == "grid":
        vectors, queries = np.round(vectors), np.round(queries)
    elif kind == "far away":
        vectors, queries = vectors + 1e4, queries + 1e4
    elif kind == "one constant":
        vectors[:, 0] = 3.0
    ids = rng.permutation(3 * n)[:n]
    index = tree(metric=metric).fit(vectors.astype(dtype), ids)
    exact = annlab.ExactIndex(metric=metric).fit(vectors.astype(dtype), ids)
    same(index.search(queries, k), exact.search(queries, k))
    radius = float(np.median(exact.search(queries, min(k, n)).distances))
    for found, expected in zip(index.search_radius(queries, radius), exact.search_radius(queries, radius), strict=True):
        assert np.array_equal(found, expected)
    allowed = ids[rng.random(n) < 0.1]
    same(index.search(queries, k, allowed=allowed), exact.search(queries, k, allowed=allowed))


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("epsilon", [0.1, 0.5, 2.0])
def test_epsilon_keeps_its_promise_and_saves_work(tree, epsilon):
    rng = np.random.default_rng(0)
    vectors, queries = rng.random((20000, 5), dtype=np.float32), rng.random((200, 5), dtype=np.float32)
    index, exactly, loosely = tree().fit(vectors), SearchStats(), SearchStats()
    exact = index.search(queries, 10, stats=exactly)
    found = index.search(queries, 10, epsilon=epsilon, stats=loosely)
    assert (found.distances <= (1 + epsilon) * exact.distances * (1 + 1e-6)).all()
    assert loosely.distances.mean() < exactly.distances.mean()


@pytest.mark.parametrize("tree", TREES)
def test_a_budget_of_leaves_is_kept_and_spent_on_the_nearest(tree):
    rng = np.random.default_rng(0)
    vectors = clustered(rng, 20000, 8)
    queries = vectors[:200] + 0.05
    index = tree().fit(vectors)
    exact = index.search(queries, 10)
    recalls = []
    for max_leaves in (1, 8, 64, 100000):
        stats = SearchStats()
        found = index.search(queries, 10, max_leaves=max_leaves, stats=stats)
        assert (stats.distances <= max_leaves * LEAF_ROWS).all()
        recalls.append(np.mean([np.isin(a, b).mean() for a, b in zip(found.ids, exact.ids, strict=True)]))
    assert recalls == sorted(recalls) and recalls[1] > 0.3 and recalls[3] == 1.0
    same(found, exact)


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("kind", ["all equal", "two values", "many copies"])
def test_low_entropy_ends_and_is_no_slower_than_a_scan(tree, kind):
    rng = np.random.default_rng(0)
    n = 4000
    vectors = {
        "all equal": np.ones((n, 3)),
        "two values": np.repeat(rng.integers(2, size=(n, 1)), 3, axis=1),
        "many copies": rng.random((40, 3))[rng.integers(40, size=n)],
    }[kind].astype(np.float32)
    index, stats = tree().fit(vectors), SearchStats()
    same(index.search(vectors[:20], 5, stats=stats), annlab.ExactIndex().fit(vectors).search(vectors[:20], 5))
    assert (stats.distances <= 2 * n).all(), "once by the list and once by the heap"


@pytest.mark.parametrize("tree", TREES)
def test_counters(tree):
    rng = np.random.default_rng(0)
    vectors = rng.random((50000, 2), dtype=np.float32)
    index, stats = tree().fit(vectors), SearchStats()
    index.search(vectors[:100], 1, stats=stats)
    assert (stats.visited >= 3).all(), "50,000 rows are 3,125 leaves: three levels of nodes, and every one is passed"
    assert (stats.distances >= 1).all() and stats.distances.mean() < 200
    assert (stats.bytes > stats.distances * 8).all()


@pytest.mark.parametrize("tree", [*TREES, annlab.ExactIndex])
@pytest.mark.parametrize("copies", [1, 8])
def test_all_neighbours_of_all(tree, copies):
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.random((60, 3)), copies, axis=0)
    ids = rng.permutation(1000)[: len(vectors)]
    index = tree().fit(vectors, ids)
    found = index.neighbors(k=4)
    for i, own in enumerate(index.ids):
        same_row = index.search(index.vectors([own])[0], 4, excluded=[own])
        assert np.array_equal(found.ids[i], same_row.ids) and np.array_equal(found.distances[i], same_row.distances)
    same(index.neighbors(k=4, include_self=True), index.search(index.vectors(), 4))


@pytest.mark.parametrize("tree", TREES)
def test_growth_keeps_few_trees_and_right_answers(tree):
    rng = np.random.default_rng(0)
    vectors, queries = rng.random((40000, 3), dtype=np.float32), rng.random((50, 3), dtype=np.float32)
    index = tree().fit(vectors[:10000])
    for start in range(10000, 40000, 1500):
        index.add(vectors[start : start + 1500])
    structure = index._state.structure
    assert 1 < len(structure.sizes) <= 12, f"{len(structure.sizes)} trees"
    assert len(index._state.tail.array) <= 1500
    same(index.search(queries, 7), annlab.ExactIndex().fit(vectors).search(queries, 7))


@pytest.mark.parametrize("tree", TREES)
def test_sizes_from_a_file_are_checked(tree):
    structure = tree().fit(np.random.default_rng(0).random((500, 3)))._state.structure
    structure.check()
    for sizes in ([499], [501], [0, 500], [-1, 501], [2**62, 2**62], []):
        with pytest.raises(ValueError, match="trees"):
            type(structure).from_arrays(
                structure.arrays() | {"sizes": np.array(sizes, np.int64)}, metric=structure.metric, params={}
            )
    with pytest.raises(ValueError, match="nodes is"):
        type(structure).from_arrays(
            structure.arrays() | {"nodes": structure.nodes[1:]}, metric=structure.metric, params={}
        )


@pytest.mark.parametrize("tree", TREES)
def test_bounds_that_are_not_numbers_end(tree):
    rng = np.random.default_rng(0)
    index = tree().fit(rng.random((5000, 3), dtype=np.float32))
    index._state.structure.nodes[::2] = np.nan
    index._state.structure.nodes[1::4] = -np.inf
    for options in ({}, {"max_leaves": 50}, {"epsilon": 1.0}):
        for k in (3, 30):
            assert index.search(rng.random((20, 3)), k, **options).ids.max() < 5000
    index.search_radius(rng.random((5, 3)), 0.3)


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("size", [1e16, 1e-25])
def test_magnitudes_beyond_float32_sums(tree, size):
    rng = np.random.default_rng(0)
    vectors, queries = size * rng.standard_normal((500, 4)), size * rng.standard_normal((10, 4))
    same(tree().fit(vectors).search(queries, 5), annlab.ExactIndex().fit(vectors).search(queries, 5))


@pytest.mark.parametrize("tree", TREES)
def test_parameters_are_checked(tree):
    for wrong in ({"epsilon": -0.1}, {"max_leaves": 0}, {"epsilon": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            tree(**wrong)
    with pytest.raises(ValueError, match="ExactIndex"):
        tree(metric="ip")


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("dim", [2, 3, 8, 16])
def test_memory_beside_the_vectors(tree, dim):
    vectors = np.random.default_rng(0).random((20000, dim), dtype=np.float32)
    structure = tree().fit(vectors)._state.structure
    assert sum(array.nbytes for array in structure.arrays().values()) <= 1.15 * vectors.nbytes
