"""What the contract suite cannot ask of every index: codes, selections, buckets, tuning and growth of LSHIndex."""

import numpy as np
import pytest

from annlab import LSHIndex, SearchStats
from annlab.distances import get_metric
from annlab.hashing.buckets import BucketTables
from annlab.hashing.codes import Encoder
from annlab.hashing.keys import CrossPolytopeKeys, HyperplaneKeys, cheapest_sets
from annlab.hashing.settings import BUCKETS, SCAN
from annlab.hashing.structure import LSHStructure
from annlab.lsh import pick_parameters
from tests import oracle
from tests.building import building_of

EVERYTHING = {"scan": {"rerank": 2**31 - 1}, "buckets": {"rerank": 2**31 - 1, "n_probes": 2**31 - 1}}


def clustered(n, dim=24, seed=0, clusters=30):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((clusters, dim))
    return (centers[rng.integers(0, clusters, n)] + 0.3 * rng.standard_normal((n, dim))).astype(np.float32)


def true_neighbors(queries, vectors, metric, k=10):
    return oracle.nearest(queries, np.arange(len(vectors)), vectors, metric, k)[1]


def recall(found, true):
    return np.mean([np.isin(t, f).mean() for t, f in zip(true, found, strict=True)])


def points(vectors, metric, encoder):
    """Vectors as an encoder places them, in float64: for ip on a sphere, by one coordinate more."""
    rows = vectors.astype(np.float64)
    if metric == "cosine":
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    y = (rows - encoder.center) * encoder.scale
    if metric == "ip":
        y = np.hstack([y, np.sqrt(np.maximum(encoder.reach**2 - (y**2).sum(axis=1, keepdims=True), 0))])
    return y


# ---- codes


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_codes_are_signs_of_projections(metric):
    vectors = clustered(301, 37)
    encoder = Encoder.learn(vectors, get_metric(metric), 100, True, np.random.default_rng(0))
    codes = encoder.rows(vectors)
    y = points(vectors, metric, encoder)
    if metric == "ip":
        np.testing.assert_allclose((y**2).sum(axis=1), encoder.reach**2)
    projections = y @ encoder.normals.T.astype(np.float64)
    signs = np.unpackbits(codes.bits.view(np.uint8), axis=1, bitorder="little").astype(bool)
    clear = np.abs(projections) > 1e-5
    assert clear[:, :100].mean() > 0.99 and not signs[:, 100:].any()
    np.testing.assert_array_equal(signs[clear], projections[clear] > 0)
    np.testing.assert_allclose(codes.halves, (y**2).sum(axis=1) / 2, rtol=1e-5)
    np.testing.assert_allclose(codes.slopes, (y**2).sum(axis=1) / np.abs(projections).sum(axis=1), rtol=1e-4)


def test_a_vector_has_one_code_alone_in_a_batch_and_as_a_query():
    vectors = clustered(50, 19)
    encoder = Encoder.learn(vectors, get_metric("l2"), 192, True, np.random.default_rng(0))
    together = encoder.rows(vectors).bits
    np.testing.assert_array_equal(encoder.queries(vectors).bits, together)
    for i in (0, 13, 49):
        np.testing.assert_array_equal(encoder.rows(vectors[i : i + 1]).bits[0], together[i])


def test_inner_products_keep_their_order_as_angles():
    rng = np.random.default_rng(0)
    vectors = (clustered(400, 12) + 3).astype(np.float32)
    query = rng.standard_normal((1, 12)).astype(np.float32)
    encoder = Encoder.learn(vectors, get_metric("ip"), 4032, True, rng)
    signs = np.unpackbits(encoder.rows(vectors).bits.view(np.uint8), axis=1)
    differing = (signs != np.unpackbits(encoder.queries(query).bits.copy().view(np.uint8))).sum(axis=1)
    exact = -(vectors @ query[0])
    assert np.corrcoef(differing, exact)[0, 1] > 0.97


# ---- buckets


def test_sets_of_bits_come_in_the_order_of_their_expected_cost_and_after_their_parent():
    parent, rank = cheapest_sets(6, 64)
    sets = [frozenset()]
    for i in range(1, 64):
        assert parent[i] < i and rank[i] not in sets[parent[i]]
        sets.append(sets[parent[i]] | {int(rank[i])})
    assert len(set(sets)) == 64
    assert sets[1] == {0} and sets[2] == {1}


def test_buckets_hold_every_row_once_under_its_key():
    vectors = clustered(500)
    encoder = Encoder.learn(vectors, get_metric("l2"), 5 * 13, True, np.random.default_rng(0))
    codes = encoder.rows(vectors)
    tables = BucketTables.build(codes, HyperplaneKeys(5, 13).rows(vectors, codes), 13)
    signs = np.unpackbits(codes.bits.view(np.uint8), axis=1, bitorder="little")
    for t in range(5):
        keys = signs[:, 13 * t : 13 * t + 13] @ (1 << np.arange(13))
        np.testing.assert_array_equal(np.sort(tables.base.rows[500 * t : 500 * t + 500]), np.arange(500))
        for b in np.unique(keys):
            first, last = tables.base.offsets[t * 2**13 + b], tables.base.offsets[t * 2**13 + b + 1]
            np.testing.assert_array_equal(tables.base.rows[first:last], np.flatnonzero(keys == b))
    assert tables.statistics().sizes.sum() == 5 * 500


FAMILY_BITS = [("hyperplanes", 5), ("cross_polytope", 4), ("cross_polytope", 6)]


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize(("family", "n_bits"), FAMILY_BITS)
def test_every_probe_and_every_rerank_is_exact(metric, family, n_bits):
    vectors, queries = clustered(700), clustered(20, seed=1)
    index = LSHIndex(metric=metric, mode="buckets", family=family, n_tables=3, n_bits=n_bits).fit(vectors)
    np.testing.assert_array_equal(
        index.search(queries, 10, **EVERYTHING["buckets"]).ids, true_neighbors(queries, vectors, metric)
    )


@pytest.mark.parametrize("family", ["hyperplanes", "cross_polytope"])
def test_probes_go_to_the_likeliest_buckets_first(family):
    """More probes find more, and the first few far more than as many of random buckets would."""
    vectors, queries = clustered(4000, clusters=1), clustered(50, seed=0, clusters=1)
    index = LSHIndex(mode="buckets", family=family, n_tables=4, n_bits=10, rerank=4000).fit(vectors)
    true = true_neighbors(queries, vectors, "l2")
    stats, found = SearchStats(), []
    for n_probes in (4, 40, 400):
        found.append(recall(index.search(queries, 10, n_probes=n_probes, stats=stats).ids, true))
        assert (stats.visited >= n_probes).all() and (stats.visited == n_probes).mean() > 0.9  # few find less than k
    assert found[0] < found[1] < found[2]
    share = 40 / (4 * 2**10)  # of all buckets
    assert found[1] > 8 * share


def test_weights_of_bits_follow_the_projections():
    vectors = clustered(30, 40)
    encoder = Encoder.learn(vectors, get_metric("l2"), 128, True, np.random.default_rng(0))
    queries, codes = encoder.queries(vectors), encoder.rows(vectors)
    planes, projections, steps = queries.words[:, 2:], queries.numbers[:, :128], queries.numbers[:, 128:]
    bits = np.unpackbits(planes.copy().view(np.uint8), axis=1, bitorder="little").reshape(30, 3, 128)
    weights = (bits * np.array([1, 2, 4])[:, None]).sum(axis=1)
    step = steps[:, :1] / 2
    assert weights.max() == 7
    np.testing.assert_allclose(weights * step, np.abs(projections), atol=float(0.51 * step.max()))
    np.testing.assert_allclose(steps[:, 1], (weights * step).sum(axis=1), rtol=1e-5)
    tables = BucketTables.build(codes, np.zeros((1, 30), np.int32), 2)  # all rows in one bucket
    found, values, done = tables.search(queries, np.zeros((30, 1), np.int64), 5, None)
    signs = np.where(np.unpackbits(codes.bits.view(np.uint8), axis=1, bitorder="little"), 1.0, -1.0)
    mine = np.where(np.unpackbits(queries.bits.copy().view(np.uint8), axis=1, bitorder="little"), 1.0, -1.0)
    estimates = codes.halves - codes.slopes * ((weights * mine * step) @ signs.T)
    for i in range(30):
        limit = np.sort(estimates[i])[4]
        assert (estimates[i][found[i]] <= limit + 1e-5).all() and (done[i] == (1, 30, 5)).all()
        np.testing.assert_allclose(values[i], estimates[i][found[i]], atol=1e-5)


def test_a_bucket_with_half_the_data_neither_hangs_nor_breaks():
    vectors = clustered(60_000, 8)
    vectors[::2] = vectors[0]
    index = LSHIndex(mode="buckets").fit(vectors)
    statistics = index.bucket_statistics()
    assert statistics.largest >= 0.5 and statistics.skew > 100 and "fullest" in str(statistics)
    stats = SearchStats()
    distances, ids = index.search(vectors[:1], 5, stats=stats)
    assert (distances == 0).all() and ids.min() >= 0
    assert stats.distances[0] <= 2 * 60_000
    assert recall(index.search(vectors[1:200:2], 10).ids, true_neighbors(vectors[1:200:2], vectors, "l2")) > 0.8


def test_scans_have_no_buckets():
    with pytest.raises(ValueError, match="mode"):
        LSHIndex(mode="scan").fit(clustered(100)).bucket_statistics()


# ---- what is chosen


@pytest.mark.parametrize("mode", ["scan", "buckets"])
@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_defaults_reach_their_recall_on_unseen_queries(mode, metric):
    everything = clustered(8100)
    vectors, queries = everything[:8000], everything[8000:]
    index = LSHIndex(metric=metric, mode=mode).fit(vectors)
    stats = SearchStats()
    found = index.search(queries, 10, stats=stats).ids
    assert recall(found, true_neighbors(queries, vectors, metric)) >= 0.86
    assert index._state.structure.tuning.main.rerank < 4000  # nearly everything would be no choice


def test_auto_measures_both_modes_of_large_data_and_keeps_the_cheaper_one(monkeypatch):
    vectors, built, build = clustered(3600), [], LSHStructure._build

    def recorded(*arguments):
        built.append(build(*arguments))
        return built[-1]

    monkeypatch.setattr(LSHStructure, "_build", recorded)
    monkeypatch.setattr("annlab.hashing.structure.BUCKETS_FROM", 3000)
    index = LSHIndex().fit(vectors[:2900])
    assert [made.settings.mode for made in built] == [SCAN]
    assert index._state.structure.absorb(vectors[2900:], building_of(index)) is None  # now there is a choice
    index.fit(vectors)
    assert [made.settings.mode for made in built[1:]] == [SCAN, BUCKETS]
    cheaper = min(built[1:], key=lambda made: made.nanoseconds)
    assert index._state.structure.settings == cheaper.settings
    for factor in (1e-9, 1e9):  # whichever it was, the other one is chosen when it costs less
        monkeypatch.setattr("annlab.hashing.costs._BYTE", factor)
        structure = LSHIndex().fit(vectors)._state.structure
        assert structure.settings.mode == (SCAN if factor < 1 else BUCKETS)
        grown, _ = structure.absorb(vectors[:50], building_of(index))
        assert grown.settings.mode == structure.settings.mode


def test_centring_spreads_data_that_lie_far_from_the_origin():
    everything = clustered(4100) + 10
    vectors, queries = everything[:4000], everything[4000:]
    true = true_neighbors(queries, vectors, "l2")
    spread = {
        center: recall(LSHIndex(mode="scan", center=center, rerank=100).fit(vectors).search(queries, 10).ids, true)
        for center in (True, False)
    }
    assert spread[True] > spread[False] + 0.1
    skew = {
        center: LSHIndex(mode="buckets", n_bits=8, center=center).fit(vectors).bucket_statistics().skew
        for center in (True, False)
    }
    assert skew[True] < skew[False] / 4


def test_picked_parameters_reach_the_target():
    everything = clustered(5100)
    vectors, queries = everything[:5000], everything[5000:]
    true = true_neighbors(queries, vectors, "l2")
    reranks = []
    for target in (0.7, 0.95):
        chosen = pick_parameters(vectors, recall=target, mode="scan")
        index = LSHIndex(**chosen).fit(vectors)
        assert recall(index.search(queries, 10).ids, true) >= target - 0.04
        reranks.append(chosen["rerank"] * chosen["n_bits"])
    assert reranks[0] < reranks[1]
    sample = pick_parameters(vectors[::4], recall=0.9, mode="scan", n_rows=5000)
    assert recall(LSHIndex(**sample).fit(vectors).search(queries, 10).ids, true) >= 0.87
    chosen = pick_parameters(vectors, recall=0.8, mode="buckets")
    assert recall(LSHIndex(**chosen).fit(vectors).search(queries, 10).ids, true) >= 0.76


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mode": "scna"}, "scan"),
        ({"n_bits": 0}, "n_bits"),
        ({"mode": "buckets", "n_bits": 25}, "24 bits"),
        ({"n_bits": 100, "n_tables": 100}, "4096"),
        ({"mode": "buckets", "n_bits": 9}, "even"),
        ({"family": "cross_polytopes"}, "cross_polytope"),
        ({"rerank": "some"}, "rerank"),
        ({"n_probs": 3}, "n_probes"),
    ],
)
def test_bad_parameters_are_refused_by_name(given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        LSHIndex(**given)


# ---- growing


@pytest.mark.parametrize("mode", ["scan", "buckets"])
def test_growing_by_adds_equals_neither_losing_nor_repeating_rows(mode):
    vectors, queries = clustered(12_000), clustered(30, seed=0)
    index = LSHIndex(mode=mode, n_tables=4, n_bits=8, n_probes=8, rerank=20).fit(vectors[:3000])
    built = index._state.structure.finder.encoder
    for start in range(3000, 12_000, 1500):
        index.add(vectors[start : start + 1500])
    structure = index._state.structure
    assert structure.finder.encoder is built and len(structure.vectors) > 4000  # absorbed, not built anew
    structure.check()
    found = index.search(queries, 10, **EVERYTHING[mode])
    np.testing.assert_array_equal(found.ids, true_neighbors(queries, vectors, "l2"))


@pytest.mark.parametrize("family", ["hyperplanes", "cross_polytope"])
def test_recent_buckets_are_searched_with_the_first_ones_and_merged_into_them(family):
    vectors, queries = clustered(1200), clustered(40, seed=0)
    encoder = Encoder.learn(vectors, get_metric("l2"), 4 * 6, True, np.random.default_rng(0))
    keys = HyperplaneKeys(4, 6) if family == "hyperplanes" else CrossPolytopeKeys.draw(
        4, 6, encoder, np.random.default_rng(0))  # fmt: skip

    def parts(start, stop):
        codes = encoder.rows(vectors[start:stop])
        return codes, keys.rows(vectors[start:stop], codes)

    whole = BucketTables.build(*parts(0, 1200), 6)
    grown = BucketTables.build(*parts(0, 1000), 6).extended(*parts(1000, 1060)).extended(*parts(1060, 1100))
    assert grown.n_base == 1000 and len(grown.recent.rows) == 4 * 100
    grown.base.check(4, 6, 0, 1000)
    grown.recent.check(4, 6, 1000, 1100)
    merged = grown.extended(*parts(1100, 1200))
    assert merged.n_base == 1200 and len(merged.recent.rows) == 0
    np.testing.assert_array_equal(merged.base.rows, whole.base.rows)
    np.testing.assert_array_equal(merged.base.offsets, whole.base.offsets)
    before, codes = BucketTables.build(*parts(0, 1100), 6), encoder.queries(queries)
    for n_probes in (4, 30):
        probes = keys.probes(queries, codes, n_probes)
        (a, _, done), (b, _, expected) = (t.search(codes, probes, 1100, None) for t in (grown, before))
        np.testing.assert_array_equal(np.sort(a, axis=1), np.sort(b, axis=1))
        np.testing.assert_array_equal(done, expected)


@pytest.mark.parametrize("family", ["hyperplanes", "cross_polytope"])
def test_a_mutated_file_cannot_reach_a_kernel(family):
    structure = LSHIndex(mode="buckets", family=family, n_tables=3, n_bits=6).fit(clustered(400))._state.structure
    arrays = structure.arrays()

    def broken(name, change):
        copy = {key: value.copy() for key, value in arrays.items()}
        copy[name] = change(copy[name])
        made = type(structure).from_arrays(copy, metric=get_metric("l2"), params=structure.params)
        made.check()

    def put(place, value):
        def change(array):
            array[place] = value
            return array

        return change

    broken("settings", lambda array: array)  # as it was: nothing to complain about
    for name, change in [
        ("settings", put(0, 7)), ("settings", put(1, 2)), ("settings", put(2, 9)), ("settings", put(3, 10)),
        ("settings", put(4, 0)), ("settings", put(5, 0)), ("settings", put(0, 0)), ("base_rows", put(0, 400)),
        ("settings", put(2, 2)), ("settings", put(3, 3)), ("base_rows", put(5, -1)),
        ("base_offsets", put(3, 401)), ("base_offsets", put(64, 399)), ("base_offsets", put(0, 1)),
        ("base_rows", lambda array: array[:-1].copy()), ("records", lambda array: array[:-1]),
        ("normals", lambda array: array[:-1]), ("normals", put((0, 0), np.nan)), ("center", lambda array: array[1:]),
        ("recent_offsets", lambda array: array[1:]), ("range", put(0, np.inf)),
        *([("signs", put((0, 0, 0), 2)), ("signs", lambda array: array[:2])] if family == "cross_polytope" else []),
    ]:  # fmt: skip
        with pytest.raises((ValueError, KeyError)):
            broken(name, change)
