"""VamanaIndex beyond the contract: threads, plans, the guard, duplicates, calibration on queries."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import annlab
from annlab import RecallWarning, SearchStats, VamanaIndex
from annlab.common import rowsets
from annlab.core.structure import Request
from annlab.graphs.calibration import Calibrations
from annlab.graphs.plans import Plans
from tests import oracle
from tests.contract.data import clustered


@pytest.fixture(scope="module")
def data():
    return clustered(np.random.default_rng(0), n=4000)


@pytest.fixture(scope="module")
def index(data):
    return VamanaIndex(seed=0).fit(data[0])


def recall(found, queries, vectors, k, allowed=None):
    true = oracle.nearest(queries, np.arange(len(vectors)), vectors, "l2", k, allowed)[0]
    return float((found.distances <= true[:, -1:]).mean())


def test_the_same_index_for_any_number_of_threads(data, index):
    for threads in (1, 3):
        assert VamanaIndex(seed=0).fit(data[0], threads=threads).content_hash() == index.content_hash()


def test_one_query_and_a_batch_find_the_same(data, index):
    together = index.search(data[1], 10)
    assert recall(together, data[1], data[0], 10) >= 0.95
    for query, distances, ids in zip(data[1], *together, strict=True):
        alone = index.search(query, 10, threads=1)
        assert alone.ids.tolist() == ids.tolist() and alone.distances.tolist() == distances.tolist()
    given = index.search(data[1], 10, reach=1.0)
    for query, ids in zip(data[1], given.ids, strict=True):
        assert index.search(query, 10, reach=1.0).ids.tolist() == ids.tolist()
    for _ in range(2):  # True is as good as 1.0 to a dictionary of what was asked before
        with pytest.raises(TypeError, match="reach"):
            index.search(data[1][0], 10, reach=True)


def test_a_larger_reach_opens_more_and_infinity_is_exact(data, index):
    opened = []
    for reach in (1, 1.2, 2):
        stats = SearchStats()
        index.search(data[1], 10, reach=reach, stats=stats)
        opened.append(stats.visited.mean())
    assert opened[0] < opened[1] < opened[2]
    everything = index.search(data[1][:3], 10, reach=1e300)
    assert recall(everything, data[1][:3], data[0], 10) == 1
    exact = index.search(data[1], 10, reach=np.inf)
    assert exact.ids.tolist() == annlab.ExactIndex().fit(data[0]).search(data[1], 10).ids.tolist()
    with pytest.raises(ValueError, match=r"reach must be finite and at least 1\.0, but is 0\.9"):
        index.search(data[1], reach=0.9)


def test_where_nothing_near_is_allowed_the_walk_gives_up_and_a_scan_answers(data, index):
    vectors, queries = data
    far = np.linalg.norm(vectors - queries[0], axis=1)
    allowed = far > np.quantile(far, 0.6)
    stats = SearchStats()
    found = index.search(queries[:1], 10, allowed=allowed, stats=stats)
    assert recall(found, queries[:1], vectors, 10, allowed[None]) == 1
    assert stats.distances[0] <= 3 * len(vectors) and stats.exact_fallback.all()
    assert stats.visited[0] <= 64, "all that it opens are excluded, which it notices soon"


def test_behind_a_filter_one_query_and_a_batch_find_the_same(data):
    """Whether walks end well or give up."""
    vectors, queries = data
    index = VamanaIndex(seed=0).fit(vectors)
    away = np.linalg.norm(vectors - queries[0], axis=1)
    for share in (0.2, 0.5):
        far, stats = away > np.quantile(away, share), SearchStats()
        together = index.search(queries, 10, allowed=far, stats=stats)
        assert stats.exact_fallback.any() and not stats.exact_fallback.all()
        for i, query in enumerate(queries):
            alone = index.search(query, 10, allowed=far, threads=1, stats=(own := SearchStats()))
            assert alone.ids.tolist() == together.ids[i].tolist() and own.exact_fallback[0] == stats.exact_fallback[i]
            assert alone.distances.tolist() == together.distances[i].tolist()


def test_scans_that_come_often_read_bytes_and_find_the_same(data):
    vectors, queries = data
    far = np.linalg.norm(vectors - queries[0], axis=1)
    allowed, index = far > np.quantile(far, 0.5), VamanaIndex(seed=0).fit(vectors)
    first, before = index.search(queries[0], 10, allowed=allowed), index.memory()
    for _ in range(33):
        found = index.search(queries[0], 10, allowed=allowed)
        assert found.ids.tolist() == first.ids.tolist() and found.distances.tolist() == first.distances.tolist()
    assert "codes of scans" not in before and index.memory()["codes of scans"] >= len(vectors) * 8


def test_where_most_rows_are_left_a_walk_gets_out_of_those_that_went(data):
    """As some pictures that somebody removed, or filtered away: a scan of all others would take longer."""
    vectors, queries = data
    near = np.argsort(np.linalg.norm(vectors - queries[0], axis=1))
    gone, query, living = near[:80], vectors[near[60:61]], np.ones(len(vectors), bool)
    living[gone] = False
    index = VamanaIndex(seed=0).fit(vectors)
    for allowed in (living, None):
        if allowed is None:
            index.remove(gone)
        found = index.search(query, 10, allowed=allowed, stats=(stats := SearchStats()))
        assert recall(found, query, vectors, 10, living[None]) == 1
        assert stats.visited[0] > 24 and not stats.exact_fallback.any()


def test_behind_a_filter_a_walk_reaches_as_far_as_without(data, index):
    """A query may lie where all is allowed; and for more neighbours it need not reach as far beyond the last."""
    structure = index._state.structure
    reaches = {1: 1.3, 10: 1.2, 100: 1.1, 1000: 1.05}
    levels = tuple(replace(one, reach=reaches[one.k], visited=50) for one in structure.calibrations.each)
    plans = Plans(Calibrations(levels), structure.walkable, structure.vectors, structure.metric)
    for share in (1.0, 0.4, 0.1, 0.05):
        alive = rowsets.pack(np.arange(len(data[0])) < share * len(data[0]))
        plan = plans.of(1, Request(alive, np.arange(len(data[0])), {"reach": "auto"}, 1, np.zeros((1, 3), np.int64)))
        assert plan.table.wanted.gamma == pytest.approx(1.3**2)


def test_filters_that_take_turns_keep_their_plans(data, index):
    structure, keys = index._state.structure, np.arange(len(data[0]))
    plans = Plans(structure.calibrations, structure.walkable, structure.vectors, structure.metric)
    every_second, every_third = (
        Request(rowsets.pack(keys % m == 0), keys, {"reach": 1.0}, 1, np.zeros((1, 3), np.int64)) for m in (2, 3)
    )
    first, other = plans.of(10, every_second), plans.of(10, every_third)
    assert first is not other and first is not None
    assert plans.of(10, every_second) is first and plans.of(10, every_third) is other
    assert plans.of(10, every_second._replace(keys=keys + 1)) is not first


def test_statistics_say_which_queries_were_scanned(data, index):
    stats = SearchStats()
    for how, scanned in (({}, False), ({"reach": np.inf}, True), ({"k": len(data[0]) // 10}, True)):
        for queries in (data[1], data[1][:1]):
            index.search(queries, **how, stats=stats)
            assert stats.exact_fallback.tolist() == [scanned] * len(queries)
    per_query = np.ones((2, len(data[0])), bool)
    per_query[1, 5:] = False
    index.search(data[1][:2], allowed=per_query, stats=stats)
    assert stats.exact_fallback.tolist() == [False, True]


@pytest.mark.parametrize("storage", ["sq8", "flat"])
def test_filters_that_go_with_the_clusters_keep_the_target(storage):
    rng = np.random.default_rng(0)
    labels, centers = rng.integers(50, size=10_000), 4 * rng.standard_normal((50, 24))
    vectors = (centers[labels] + rng.standard_normal((10_000, 24))).astype(np.float32)
    index, queries = VamanaIndex(storage=storage, seed=0).fit(vectors), vectors[:150]
    alike, stats = rng.random(10_000) < 0.5, SearchStats()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RecallWarning)
        for allowed in (labels < 25, labels >= 25, alike):
            found = index.search(queries, 10, allowed=allowed, stats=stats)
            assert recall(found, queries, vectors, 10, np.tile(allowed, (150, 1))) >= 0.98
        index.search(queries, 10)  # the others say nothing of these
    assert np.median(stats.distances) < 1000, "where neighbours are as near as usual, a walk is enough"


@pytest.mark.parametrize("storage", ["sq8", "flat"])
def test_copies_are_one_node_and_all_of_them_are_found(data, storage):
    vectors = np.concatenate([data[0][:2000], np.repeat(data[0][:1], 900, axis=0), data[0][:300]])
    index = VamanaIndex(storage=storage, seed=0).fit(vectors)
    assert len(index._state.structure.walkable.graph.links) <= 2000
    found = index.search(vectors[:2000], 1)
    assert (found.distances == 0).all()
    crowd = index.search(vectors[0], 901).ids
    assert crowd.tolist() == sorted([0, *range(2000, 2901)])[:901]
    index.remove(crowd[:450])
    assert index.search(vectors[0], 3).ids.tolist() == crowd[450:453].tolist()


def test_a_crowd_of_near_copies_is_no_reason_to_scan_everything(data):
    rng = np.random.default_rng(3)
    crowd = data[0][5] + 0.002 * rng.standard_normal((500, data[0].shape[1])).astype(np.float32)
    vectors = np.concatenate([data[0][:2500], crowd])
    index = VamanaIndex(seed=0).fit(vectors)
    assert len(index._state.structure.walkable.graph.links) < 2600
    assert index.calibration.reach < 2
    assert index.search(crowd, 1).ids[:, 0].tolist() == list(range(2500, 3000))
    assert recall(index.search(data[1], 10), data[1], vectors, 10) >= 0.95


def far_queries(rng, n, dim=24):
    directions = rng.standard_normal((n, dim))
    return (14 * directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)


def test_queries_from_elsewhere_are_noticed_once_and_calibration_helps(data):
    rng = np.random.default_rng(1)
    index = VamanaIndex(seed=0).fit(data[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error", RecallWarning)
        index.search(data[1], 10)
    queries = far_queries(rng, 300)
    with pytest.warns(RecallWarning, match="as far away"):
        index.search(queries[:200], 10)
    before = index.calibration.reach
    index.calibrate(queries[:200])
    assert index.calibration.reach > before
    with warnings.catch_warnings():
        warnings.simplefilter("error", RecallWarning)
        assert recall(index.search(queries[200:], 10), queries[200:], data[0], 10) >= 0.9


def test_degrees_and_storages_are_checked():
    with pytest.raises(ValueError, match="degree must be a multiple of 16, but is 40: take 48"):
        VamanaIndex(degree=40)
    with pytest.raises(ValueError, match="storage must be one of"):
        VamanaIndex(storage="pq4")
    with pytest.raises(ValueError, match="alpha must be finite and at least"):
        VamanaIndex(alpha=0.5)
    with pytest.raises(ValueError, match="no graph yet"):
        VamanaIndex(dim=3).calibrate([[1, 2, 3]])


def test_few_rows_have_no_graph_and_are_scanned():
    index = VamanaIndex().fit(np.random.default_rng(0).random((1000, 5)))
    assert index._state.structure.walkable is None and index.calibration.reach == np.inf


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("storage", ["sq8", "flat"])
def test_memory_is_known_before(metric, storage):
    rows = np.random.default_rng(0).standard_normal((1500, 40)).astype(np.float32)
    index = VamanaIndex(metric=metric, storage=storage).fit(rows)
    assert index.memory()["total"] == pytest.approx(
        VamanaIndex.estimate_memory(1500, 40, metric=metric, storage=storage), rel=0.05
    )
