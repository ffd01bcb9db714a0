"""KDTreeIndex and BallTreeIndex beyond the contract: exactness, approximate modes, growth, hostile sizes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import annlab
from annlab.common.statistics import SearchStats
from annlab.kernels.trees.leaf import LEAF_ROWS
from annlab.trees import forest

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
@pytest.mark.parametrize("kind", ["uniform", "clusters", "one long axis", "grid"])
def test_what_costs_time_never_costs_recall(tree, kind):
    rng = np.random.default_rng(0)
    vectors = clustered(rng, 5000, 6) if kind == "clusters" else rng.random((5000, 6), dtype=np.float32)
    if kind == "one long axis":
        vectors[:, 0] *= 1000
    elif kind == "grid":
        vectors = np.round(4 * vectors)
    queries = vectors[::25] + np.float32(0.01)
    index = tree().fit(vectors)
    exact = index.search(queries, 10)

    def recall(**params):
        found = index.search(queries, 10, **params)
        return np.mean(found.distances <= exact.distances[:, -1:])

    for name, values in (("epsilon", (3.0, 1.0, 0.3, 0.1, 0.0)), ("max_leaves", (1, 2, 4, 16, 64, 400))):
        recalls = [recall(**{name: value}) for value in values]
        assert recalls == sorted(recalls), f"{name} {values}: {recalls}"
        assert recalls[-1] == 1.0


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
def test_counters_say_what_a_search_opened(tree):
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
    assert 1 < len(structure.trees) <= 12, f"{len(structure.trees)} trees"
    assert len(index._state.tail.array) <= 1500
    same(index.search(queries, 7), annlab.ExactIndex().fit(vectors).search(queries, 7))


def test_portions_that_become_ever_smaller_become_few_trees():
    rng = np.random.default_rng(0)
    index = annlab.KDTreeIndex().fit(rng.random((1000, 2), dtype=np.float32))
    for size in range(200, 100, -2):
        index.add(rng.random((size, 2), dtype=np.float32))
    sizes = [len(tree).bit_length() for tree in index._state.structure.trees]
    assert len(set(sizes)) == len(sizes), f"trees of the same power of two: {sizes}"


@pytest.mark.parametrize("tree", TREES)
def test_arrays_from_a_file_are_checked(tree):
    rng = np.random.default_rng(0)
    index = tree().fit(rng.random((1100, 3)))
    index.add(rng.random((500, 3)))
    structure = index._state.structure
    assert structure.arrays()["sizes"].tolist() == [1100, 500]
    again = type(structure).from_arrays(structure.arrays(), metric=structure.metric, params={})
    assert np.array_equal(again.gather(np.arange(1600)), structure.gather(np.arange(1600)))
    twice = structure.arrays()["rows"].copy()
    twice[0] = twice[1]
    for name, value, message in [
        *(("sizes", np.array(sizes, np.int64), "trees") for sizes in ([1600, 1], [0, 1600], [2**62, 2**62], [])),
        ("nodes", structure.arrays()["nodes"][1:], "nodes is"),
        ("first_rows", np.array([5, -1]), "in no tree"),
        ("first_rows", np.array([1200, -1]), "there are 1600"),
        ("first_rows", np.array([2**40, -1]), "there are 1600"),
        ("rows", twice, "in no tree"),
        ("rows", twice - 1200, "there are 1600"),
        ("groups", np.zeros((2, 0), np.int64), "groups"),
    ]:
        with pytest.raises(ValueError, match=message):
            type(structure).from_arrays(structure.arrays() | {name: value}, metric=structure.metric, params={})


@pytest.mark.parametrize("tree", TREES)
def test_bounds_that_are_not_numbers_end(tree):
    rng = np.random.default_rng(0)
    index = tree().fit(rng.random((5000, 3), dtype=np.float32))
    index._state.structure.trees[0].nodes[::2] = np.nan
    index._state.structure.trees[0].nodes[1::4] = -np.inf
    for options in ({}, {"max_leaves": 50}, {"epsilon": 1.0}):
        for k in (3, 30):
            assert index.search(rng.random((20, 3)), k, **options).ids.max() < 5000
    index.search_radius(rng.random((5, 3)), 0.3)


@pytest.mark.parametrize("tree", TREES)
def test_growth_builds_every_row_a_few_times(tree, monkeypatch):
    rng, built, grow = np.random.default_rng(0), [], forest.grow
    monkeypatch.setattr(forest, "grow", lambda *given: built.append(len(given[1])) or grow(*given))
    n, portion = 60000, 1200
    vectors = rng.random((2 * n, 2), dtype=np.float32)
    index = tree().fit(vectors[:n])
    built.clear()
    for start in range(n, 2 * n, portion):
        index.add(vectors[start : start + portion])
    levels = np.log2(n / portion)
    assert n <= sum(built) <= (levels + 1) * n, f"{sum(built) / n} builds of every row"
    assert len(index._state.structure.trees) <= levels + 2
    queries = vectors[::4000]
    same(index.search(queries, 3), annlab.ExactIndex().fit(vectors).search(queries, 3))


def test_growth_copies_nothing_of_what_is_there():
    rng = np.random.default_rng(0)
    index = annlab.KDTreeIndex().fit(rng.random((20000, 3)), attributes={"even": np.arange(20000) % 2 == 0})
    before = index._state
    index.search(rng.random(3), where=annlab.col("even"))
    index.add(rng.random((1500, 3)), attributes={"even": np.arange(1500) % 2 == 0})
    after = index._state
    assert not len(after.tail.array) and len(after.structure.trees) == 2
    assert after.structure.trees[0] is before.structure.trees[0]
    assert after.by_row.array[:20000].tolist() == before.by_row.array.tolist()


CRITERIA = {"criteria": ["gender", "size"]}


def attributes_of(rng, n):
    return {"gender": rng.integers(2, size=n), "size": rng.random(n) < 0.1, "price": rng.random(n)}


CONDITIONS = {
    "one criterion": annlab.col("gender") == 1,
    "a rare one": annlab.col("size"),
    "both": (annlab.col("gender") == 0) & annlab.col("size"),
    "with another attribute": (annlab.col("gender") == 1) & (annlab.col("price") < 0.3),
    "another attribute": annlab.col("price") < 0.01,
    "nothing": annlab.col("gender") == 5,
}


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_criteria_change_no_answer(tree, metric, tmp_path):
    rng = np.random.default_rng(0)
    vectors, queries = clustered(rng, 12000, 4), clustered(rng, 40, 4)
    attributes = attributes_of(rng, 12000)
    index, exact = tree(metric=metric, **CRITERIA), annlab.ExactIndex(metric=metric)
    for each in (index, exact):
        each.fit(vectors[:3000], attributes={name: values[:3000] for name, values in attributes.items()})
        for start in range(3000, 12000, 1500):
            some = slice(start, start + 1500)
            each.add(vectors[some], attributes={name: values[some] for name, values in attributes.items()})
        each.update(np.arange(7), vectors[:7] + 1, attributes=attributes_of(np.random.default_rng(7), 7))
        each.remove(np.arange(100, 200))
    groups = {found.group for found in index._state.structure.trees}
    assert len(groups - {None}) == 4 and None in groups, "four combinations, and new rows that wait for more"
    index.save(tmp_path / "index")
    loaded = type(index).load(tmp_path / "index", mmap=True)
    assert loaded.parameters == index.parameters
    compacted = type(index).load(tmp_path / "index")
    compacted.compact()
    assert [found.group is None for found in compacted._state.structure.trees] == [False] * 4
    for one in (index, loaded, compacted):
        same(one.search(queries, 7), exact.search(queries, 7))
        for condition in CONDITIONS.values():
            for _ in range(2):  # the second time the filter is remembered
                same(one.search(queries, 7, where=condition), exact.search(queries, 7, where=condition))
            found = one.search_radius(queries[:5], 0.2, where=condition)
            expected = exact.search_radius(queries[:5], 0.2, where=condition)
            assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_criteria_leave_out_whole_trees():
    rng = np.random.default_rng(0)
    vectors, queries = rng.random((40000, 3), dtype=np.float32), rng.random((50, 3), dtype=np.float32)
    attributes = {"rare": rng.random(40000) < 0.01}
    visited = {}
    for name, criteria in (("with", ["rare"]), ("without", None)):
        stats = SearchStats()
        index = annlab.KDTreeIndex(criteria=criteria).fit(vectors, attributes=attributes)
        index.search(queries, 10, where=annlab.col("rare"), stats=stats)
        visited[name] = stats.visited.mean()
    assert 3 * visited["with"] < visited["without"], visited


def test_criteria_of_many_values_share_a_tree():
    rng = np.random.default_rng(0)
    vectors = rng.random((3000, 3))
    owner = np.where(rng.random(3000) < 0.5, 1, rng.integers(1000, size=3000))
    index = annlab.KDTreeIndex(criteria=["owner"]).fit(vectors, attributes={"owner": owner})
    trees = index._state.structure.trees
    assert len(trees) == forest.MAX_GROUPS + 1 and trees[0].group == (1,) and trees[-1].group is None
    exact = annlab.ExactIndex().fit(vectors, attributes={"owner": owner})
    for condition in (annlab.col("owner") == 1, annlab.col("owner") == owner[-1], annlab.col("owner") > 500):
        same(index.search(vectors[:20], 5, where=condition), exact.search(vectors[:20], 5, where=condition))


def test_criteria_must_be_attributes():
    vectors = np.zeros((5, 2))
    with pytest.raises(ValueError, match=r"criteria \['size'\] are no attributes.*'gender'"):
        annlab.KDTreeIndex(**CRITERIA).fit(vectors, attributes={"gender": np.zeros(5, int)})
    with pytest.raises(ValueError, match="criteria"):
        annlab.BallTreeIndex(dim=2, **CRITERIA).add(vectors)
    with pytest.raises(TypeError, match="gender"):
        annlab.KDTreeIndex(criteria="gender")
    with pytest.raises(ValueError, match="twice"):
        annlab.KDTreeIndex(criteria=["gender", "gender"])


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("size", [1e16, 1e-25])
def test_magnitudes_beyond_float32_sums(tree, size):
    rng = np.random.default_rng(0)
    vectors, queries = size * rng.standard_normal((500, 4)), size * rng.standard_normal((10, 4))
    same(tree().fit(vectors).search(queries, 5), annlab.ExactIndex().fit(vectors).search(queries, 5))


@pytest.mark.parametrize("tree", TREES)
def test_bad_parameters_are_refused_by_name(tree):
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
