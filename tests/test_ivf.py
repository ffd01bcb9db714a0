"""IVFIndex beyond the contract suite: list scans against NumPy, calibration, growth, damage, estimates."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import annlab
from annlab import IVFIndex
from annlab.bytelists import ByteLists
from annlab.calibration import choose_probes, lower_bound
from annlab.centroids import Conversion, group_by_label
from annlab.datasets import Dataset, synthetic, uniform_noise
from annlab.distances import get_metric
from annlab.flatlists import FlatLists
from annlab.kernels.simd_bytes import LARGEST_SIGNED

STORAGES = ("flat", "sq8", "pq4")


def recall(index: annlab.Index, data: Dataset, k: int = 10, **search: object) -> float:
    exact = annlab.ExactIndex(metric=data.metric).fit(data.train).search(data.test, k=k)
    found = index.search(data.test, k=k, **search)
    return float(np.mean(found.distances <= exact.distances[:, -1:]))


@hypothesis.given(
    dim=st.integers(1, 40),
    q=st.integers(1, 9),
    seed=st.integers(0, 99),
    metric=st.sampled_from(["l2", "cosine", "ip"]),
    dtype=st.sampled_from(["float32", "float64"]),
    filtered=st.sampled_from(["no", "shared", "each"]),
)
def test_list_scans_find_the_nearest_of_the_probed(dim: int, q: int, seed: int, metric: str, dtype: str,
                                                   filtered: str) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    n, n_lists, keep = 200, 6, 7
    labels = rng.integers(n_lists, size=n).astype(np.int32)
    offsets, _ = group_by_label(labels, n_lists)
    labels = np.sort(labels)
    vectors = rng.normal(size=(n, dim)).astype(dtype) + 3
    queries = (rng.normal(size=(q, dim)) + 3).astype(dtype)
    lists = FlatLists.of(vectors, Conversion.of(vectors, get_metric(metric)))
    assert lists.copied == (dtype == "float64")
    probes = np.stack([rng.permutation(n_lists)[:3] for _ in range(q)])
    alive = np.ones((q, n), bool) if filtered == "no" else rng.random((q, n)) < 0.7
    alive[:] = alive[:1] if filtered == "shared" else alive
    words = np.packbits(np.pad(alive, ((0, 0), (0, -n % 64))), axis=1, bitorder="little").view(np.uint64)
    given = {"no": None, "shared": words[0], "each": words}[filtered]
    y, coarse = lists.conversion.queries(queries), np.zeros((q, 3), np.float32)
    found, lengths = lists.scan(y, offsets, probes, coarse, keep, given, np.arange(n))
    distances = annlab.pairwise(queries.astype(np.float64), vectors.astype(np.float64), metric)
    for i in range(q):
        allowed = alive[i] & np.isin(labels, probes[i])
        expected = np.sort(distances[i][allowed])[:keep]
        rows = found[i][found[i] >= 0]
        assert lengths[i] == len(expected) == len(set(rows.tolist())) and allowed[rows].all()
        np.testing.assert_allclose(np.sort(distances[i][rows]), expected, rtol=1e-4, atol=2e-4)
        own = given[i : i + 1] if filtered == "each" else given
        one, _ = lists.scan(y[i : i + 1], offsets, probes[i : i + 1], coarse[:1], keep, own, np.arange(n))
        assert np.array_equal(np.sort(one[0]), np.sort(found[i]))


@hypothesis.given(dim=st.integers(1, 140), q=st.integers(1, 9), seed=st.integers(0, 99))
def test_byte_scans_rank_as_their_codes(dim: int, q: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, keep, offsets = 200, 9, np.array([0, 3, 3, 90, 200])
    vectors, queries = rng.normal(size=(n, dim)).astype(np.float32), rng.normal(size=(q, dim)).astype(np.float32)
    lists = ByteLists.of(vectors, Conversion.of(vectors, get_metric("l2")))
    points = vectors - lists.conversion.center
    np.testing.assert_allclose(lists.halves, 0.5 * (points**2).sum(axis=1), rtol=1e-4)
    restored = lists.quantizer.decode(lists.codes[:, :dim])
    assert (np.abs(restored - points) <= 0.51 * lists.quantizer.step + 1e-5).all()
    y, coarse = lists.conversion.queries(queries), np.zeros((q, 3), np.float32)
    probes = np.stack([rng.permutation(4)[:3] for _ in range(q)])
    found, lengths = lists.scan(y, offsets, probes, coarse, keep, None, np.arange(n))
    weighted = y * lists.quantizer.step
    steps = np.abs(weighted).max(axis=1, keepdims=True) / LARGEST_SIGNED
    products = np.rint(weighted / steps) @ lists.codes[:, :dim].T.astype(np.float64) * steps
    surrogates = lists.halves - products
    labels = np.searchsorted(offsets, np.arange(n), side="right") - 1
    for i in range(q):
        expected = np.sort(surrogates[i][np.isin(labels, probes[i])])[:keep]
        rows = found[i][found[i] >= 0]
        assert lengths[i] == len(expected)
        np.testing.assert_allclose(np.sort(surrogates[i][rows]), expected, rtol=1e-4, atol=1e-3)
        one, _ = lists.scan(y[i : i + 1], offsets, probes[i : i + 1], coarse[:1], keep, None, np.arange(n))
        assert np.array_equal(np.sort(one[0]), np.sort(found[i]))


def test_ties_are_kept_by_key_whatever_the_batch() -> None:
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(4, 6)), 150, axis=0).astype(np.float32)
    offsets, keys = np.array([0, 300, 600]), rng.permutation(600)
    lists = FlatLists.of(vectors, Conversion.of(vectors, get_metric("l2")))
    y, probes = lists.conversion.queries(vectors[::60]), np.tile([1, 0], (10, 1))
    batch, _ = lists.scan(y, offsets, probes, np.zeros((10, 2), np.float32), 12, None, keys)
    for i in range(10):
        group = i * 60 // 150 * 150
        assert set(batch[i]) == set((np.argsort(keys[group : group + 150])[:12] + group).tolist())
        one, _ = lists.scan(y[i : i + 1], offsets, probes[:1], np.zeros((1, 2), np.float32), 12, None, keys)
        assert set(one[0]) == set(batch[i])


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    "data",
    [
        synthetic(8000, 25, 5, 200, seed=0),
        synthetic(8000, 64, 15, 200, clusters=20, seed=1),
        synthetic(6000, 100, 40, 200, seed=2),
        synthetic(3000, 1024, 15, 100, seed=3),
        synthetic(8000, 32, 15, 200, metric="cosine", seed=4),
        uniform_noise(5000, 30, 200),
    ],
    ids=str,
)
def test_defaults_reach_the_recall_they_promise(storage: str, data: Dataset) -> None:
    index = IVFIndex(metric=data.metric, storage=storage).fit(data.train)
    assert index.calibration.bound >= 0.95 or storage == "pq4"
    assert recall(index, data) >= 0.93


def test_calibration_on_shifted_queries() -> None:
    data = synthetic(12_000, 32, 12, 300, seed=0)
    shift = 8 * np.random.default_rng(0).normal(size=32).astype(np.float32) / np.sqrt(32)
    shifted = Dataset("shifted", data.train, data.test + shift, "l2")
    index = IVFIndex(target_recall=0.9).fit(data.train)
    before, probes = recall(index, shifted), index.calibration.n_probes
    measured = index.calibrate(shifted.test[:150])
    rest = Dataset("shifted", data.train, shifted.test[150:], "l2")
    assert measured == index.calibration and measured.n_queries == 150 and measured.n_probes > probes
    assert before < 0.85 and recall(index, rest) > 0.87


def test_choice_of_probes() -> None:
    ranks = np.array([[0, 1, 2], [0, 5, -1]])
    n_probes, recalls = choose_probes(ranks, 1.0, 9)
    assert n_probes == 6 and recalls.tolist() == [1.0, 1.0]
    n_probes, recalls = choose_probes(np.tile([0, 1, 2, 7], (100, 1)), 0.75, 9)
    assert n_probes == 3 and lower_bound(recalls) == 0.75


def test_more_probes_more_recall_and_statistics() -> None:
    data = synthetic(8000, 32, 20, 200, seed=0)
    for storage in STORAGES:
        index = IVFIndex(n_lists=64, storage=storage).fit(data.train)
        found = [recall(index, data, n_probes=p, rerank=8) for p in (1, 4, 16, 64)]
        assert found == sorted(found) and found[0] < 0.8 and found[-1] == 1.0
        stats = annlab.SearchStats()
        index.search(data.test, n_probes=4, stats=stats)
        assert (stats.visited == 4).all() and (stats.distances < 8000 / 4).all()
    with pytest.raises(ValueError, match="n_probes must be at least 1"):
        index.search(data.test, n_probes=0)
    with pytest.raises(TypeError, match="did you mean 'n_probes'"):
        index.search(data.test, n_probe=3)


def test_a_filter_that_avoids_the_probed_lists_probes_more() -> None:
    data = synthetic(8000, 16, 4, 20, seed=0)
    index = IVFIndex(n_lists=80).fit(data.train)
    exact = annlab.ExactIndex().fit(data.train)
    for query in data.test:
        far = exact.search(query, k=8000).ids[4000:]
        found = index.search(query, k=10, allowed=far, n_probes=1)
        assert (found.ids >= 0).all() and np.isin(found.ids, far).all()


@pytest.mark.parametrize("storage", STORAGES)
def test_growth_appends_to_lists_and_retrain_starts_anew(storage: str) -> None:
    data = synthetic(9000, 24, 8, 200, seed=0)
    index = IVFIndex(storage=storage).fit(data.train[:5000])
    n_lists = index.n_lists
    for start in range(5000, 9000, 500):
        index.add(data.train[start : start + 500])
    assert index.n_lists == n_lists and len(index) == 9000
    assert index._structure.vectors.shape[0] > 7000  # the rest is the tail
    assert recall(index, data) >= 0.9
    index.retrain()
    assert index.n_lists > n_lists and recall(index, data) >= 0.93
    np.testing.assert_array_equal(index.vectors(), data.train)
    assert 1.0 <= index.imbalance() < 3.0


def test_imbalance_counts_what_a_probe_meets() -> None:
    index = IVFIndex(n_lists=2).fit(np.concatenate([np.zeros((30, 2)), np.ones((90, 2))]))
    assert index.imbalance() == pytest.approx(2 * (30**2 + 90**2) / 120**2)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_memory_is_estimated(storage: str, metric: str, dtype: str) -> None:
    vectors = synthetic(6000, 40, 8, seed=0).train.astype(dtype)
    index = IVFIndex(metric=metric, storage=storage).fit(vectors)
    estimate = IVFIndex.estimate_memory(6000, 40, metric=metric, storage=storage, dtype=dtype)
    assert estimate == pytest.approx(index.memory()["total"], rel=0.1)


@pytest.mark.parametrize("storage", STORAGES)
def test_damaged_arrays_are_refused(storage: str) -> None:
    index = IVFIndex(storage=storage, n_lists=10).fit(synthetic(2000, 12, 4, seed=0).train)
    good = index._structure.arrays()
    metric = get_metric("l2")
    build = index.structure_class.from_arrays
    build(good, metric=metric, params={}).check()

    def changed(name: str, place: int, value: float) -> dict[str, np.ndarray]:
        array = good[name].copy()
        array.ravel()[place] = value
        return good | {name: array}

    bad = [changed("list_offsets", 0, 1), changed("list_offsets", 3, 10**9), changed("list_offsets", 10, 1999),
           changed("list_offsets", 2, -5), changed("calibration", 0, 11), changed("calibration", 0, 0),
           changed("calibration", 1, np.nan), changed("centroids", 0, np.nan), changed("centroids", 0, 1e30),
           changed("center", 0, np.inf), changed("numbers", 0, 0)]  # fmt: skip
    sizes = ["centroids", "list_offsets", "center", "numbers", "calibration"]
    sizes += {"flat": ["halves"], "sq8": ["halves", "codes", "levels"], "pq4": ["codes", "terms", "codebooks"]}[storage]
    bad += [good | {name: good[name][:-1]} for name in sizes]
    bad += [good | {name: good[name].astype(np.float16)} for name in sizes if name not in ("numbers", "calibration")]
    if storage != "flat":
        bad.append(changed("codebooks" if storage == "pq4" else "levels", 0, np.nan))
    for arrays in bad:
        with pytest.raises((ValueError, TypeError)):
            build(arrays, metric=metric, params={}).check()


@pytest.mark.parametrize("storage", STORAGES)
def test_unverified_bulk_may_hold_anything(storage: str) -> None:
    rng = np.random.default_rng(0)
    index = IVFIndex(storage=storage, n_lists=10).fit(synthetic(2000, 12, 4, seed=0).train)
    arrays = dict(index._structure.arrays())
    for name in index.structure_class.bulk & set(arrays):
        if arrays[name].size:
            arrays[name] = rng.integers(0, 256, arrays[name].nbytes, np.uint8).view(arrays[name].dtype).reshape(
                arrays[name].shape)  # fmt: skip
    structure = index.structure_class.from_arrays(arrays, metric=get_metric("l2"), params={})
    structure.check()
    for q in (1, 30):
        y = structure.lists.conversion.queries(rng.normal(size=(q, 12)))
        probes, coarse = structure.probes(y, 3)
        found, _ = structure.lists.scan(y, structure.offsets, probes, coarse, 12, None, np.arange(2000))
        assert found.min() >= -1 and found.max() < 2000


@pytest.mark.parametrize("storage", STORAGES)
def test_data_far_away_and_of_extreme_magnitude(storage: str) -> None:
    data = synthetic(3000, 16, 5, 50, seed=0)
    for moved in (lambda x: x + np.float32(1000), lambda x: x * np.float32(1e15), lambda x: x * np.float32(1e-15)):
        other = Dataset("moved", moved(data.train), moved(data.test), "l2")
        assert recall(IVFIndex(storage=storage).fit(other.train), other) >= 0.93


def test_parameters_are_checked() -> None:
    for wrong in ({"n_lists": 0}, {"storage": "pq8"}, {"target_recall": 0.0}, {"target_recall": 1.5}, {"rerank": 0.5}):
        with pytest.raises(ValueError):
            IVFIndex(**wrong)
    with pytest.raises(ValueError, match="has no lists yet"):
        IVFIndex(dim=3).imbalance()
