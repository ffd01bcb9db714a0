"""IVFIndex beyond the contract suite: list scans against NumPy, calibration, growth, damage, estimates."""

import numpy as np
import pytest

import annlab
from annlab import IVFIndex
from annlab.common.statistics import N_COUNTERS
from annlab.core.structure import Request
from annlab.datasets import Dataset, synthetic
from annlab.distances import get_metric
from annlab.inverted.byte_lists import ByteLists
from annlab.inverted.coded_lists import CodedLists
from annlab.inverted.flat_lists import FlatLists
from annlab.inverted.structure import IVFStructure
from annlab.scan.centroids import Centroids
from tests.building import building_of

STORAGES = ("flat", "sq8", "pq4")


def recall(index: annlab.Index, data: Dataset, k: int = 10, **search: object) -> float:
    exact = annlab.ExactIndex(metric=data.metric).fit(data.train).search(data.test, k=k)
    found = index.search(data.test, k=k, **search)
    return float(np.mean(found.distances <= exact.distances[:, -1:]))


@pytest.mark.parametrize("n_lists", [1, 5, 70])
def test_probes_are_the_nearest_lists_and_ties_go_to_the_first(n_lists: int) -> None:
    rng = np.random.default_rng(0)
    points = rng.integers(-2, 3, size=(n_lists, 7)).astype(np.float32)  # so that sums are exact and often equal
    queries = rng.integers(-2, 3, size=(30, 7)).astype(np.float32)
    centroids = Centroids(points)
    surrogates = 0.5 * (points**2).sum(axis=1) - queries @ points.T
    structure = IVFIndex(n_lists=2).fit(rng.random((300, 7)))._structure
    structure.centroids = centroids
    for n_probes in {1, min(3, n_lists), n_lists}:
        expected = np.argsort(surrogates, axis=1, kind="stable")[:, :n_probes]
        probes, values = structure.probes(queries, n_probes)
        np.testing.assert_array_equal(probes, expected)
        np.testing.assert_array_equal(values, np.take_along_axis(surrogates, expected, axis=1))


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


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_a_radius_finds_what_lies_in_it_however_many(metric: str) -> None:
    data = synthetic(6000, 24, 8, n_queries=40, clusters=50, metric=metric)
    index, exact = IVFIndex(metric=metric).fit(data.train), annlab.ExactIndex(metric=metric).fit(data.train)
    index.remove(index.ids[::7])
    distances = exact.search(data.test, k=2000).distances
    for k in (3, 60, 500, 2000):
        true = exact.search_radius(data.test, distances[:, k - 1].astype(np.float64), excluded=exact.ids[::7])
        found = index.search_radius(data.test, distances[:, k - 1].astype(np.float64))
        assert not len(np.intersect1d(found.ids, exact.ids[::7]))
        assert len(found.ids) >= 0.95 * len(true.ids), f"{len(found.ids)} of {len(true.ids)} for radii of {k} rows"
    alone = index.search_radius(data.test, 1.0 if metric == "l2" else 0.0, n_probes=1)
    assert len(alone.ids) < len(index.search_radius(data.test, 1.0 if metric == "l2" else 0.0).ids)


def test_a_filter_that_avoids_the_probed_lists_probes_more() -> None:
    data = synthetic(8000, 16, 4, 20, seed=0)
    index = IVFIndex(n_lists=80).fit(data.train)
    exact = annlab.ExactIndex().fit(data.train)
    for query in data.test:
        far = exact.search(query, k=8000).ids[4000:]
        found = index.search(query, k=10, allowed=far, n_probes=1)
        assert (found.ids >= 0).all() and np.isin(found.ids, far).all()


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(("metric", "dtype"), [("l2", "float32"), ("cosine", "float64"), ("ip", "float32")])
def test_merged_lists_are_those_of_all_rows(storage: str, metric: str, dtype: str) -> None:
    data = synthetic(3000, 20, 6, seed=0, dtype=dtype)
    data.train[5] = 0  # at cosine distance 1 from everything
    index = IVFIndex(storage=storage, metric=metric).fit(data.train[:2000])
    old = index._structure
    grown, order = old.absorb(data.train[2000:], building_of(index))
    vectors = np.concatenate([old.vectors, data.train[2000:]])[order]
    np.testing.assert_array_equal(grown.vectors, vectors)
    conversion, centroids = old.lists.conversion, old.centroids.array
    labels, _ = Centroids(centroids).nearest(conversion.points(vectors))
    assert np.array_equal(labels, np.repeat(np.arange(old.n_lists), np.diff(grown.offsets)))
    cells = old.lists.cells.over(grown.offsets)
    if storage == "flat":
        fresh = FlatLists.of(vectors, cells)
    elif storage == "sq8":
        fresh = ByteLists.encoded(vectors, cells, old.lists.widths, old.lists.steps, old.lists.framed, None)
    else:
        fresh = CodedLists.encoded(vectors, cells, old.lists.quantizer, old.lists.lengths, old.lists.framed)
    for name, array in fresh.arrays().items():
        np.testing.assert_array_equal(grown.lists.arrays()[name], array, err_msg=name)


@pytest.mark.parametrize("storage", STORAGES)
def test_growth_costs_a_copy_of_the_rows_for_each_merge(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From n to 2n by small adds: counted, not timed. A build compares every row with every centroid several times."""
    data, counts = synthetic(8000, 16, 6, seed=0), {"assigned": 0, "merged": 0, "built": 0}
    nearest, absorb, build = Centroids.nearest, IVFStructure.absorb, IVFStructure.build

    def counted_nearest(self: Centroids, points: np.ndarray, n_threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        counts["assigned"] += len(points) * len(self.array)
        return nearest(self, points, n_threads)

    def counted_absorb(self: IVFStructure, vectors: np.ndarray, rng: np.random.Generator) -> object:
        counts["merged"] += len(self.vectors) + len(vectors)
        return absorb(self, vectors, rng)

    def counted_build(*args: object, **how: object) -> object:
        counts["built"] += 1
        return build(*args, **how)

    monkeypatch.setattr(Centroids, "nearest", counted_nearest)
    monkeypatch.setattr(IVFStructure, "absorb", counted_absorb)
    monkeypatch.setattr(IVFStructure, "build", counted_build)
    index = IVFIndex(storage=storage).fit(data.train[:4000])
    of_a_build, counts["assigned"], counts["merged"] = counts["assigned"], 0, 0
    for start in range(4000, 8000, 40):
        index.add(data.train[start : start + 40])
    assert counts["built"] == 1 and counts["assigned"] < of_a_build / 4
    assert counts["merged"] <= 8000 * 4000 / 64  # one merge for each tail of at least 64 rows
    assert len(index._state.tail.array) <= index._structure.tail_limit(index._search_params({})) == 64


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
@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_memory_is_estimated_within_a_tenth(storage: str, metric: str, dtype: str) -> None:
    for n, dim, n_lists in ((6000, 40, "auto"), (3000, 7, 20), (700, 130, 50)):
        vectors = np.random.default_rng(0).normal(size=(n, dim)).astype(dtype)
        index = IVFIndex(metric=metric, storage=storage, n_lists=n_lists, n_probes=1, rerank=1).fit(vectors)
        estimate = IVFIndex.estimate_memory(n, dim, metric=metric, n_lists=n_lists, storage=storage, dtype=dtype)
        assert estimate == pytest.approx(index.memory()["total"], rel=0.1)
    with pytest.raises(ValueError, match="storage must be one of"):
        IVFIndex.estimate_memory(10, 3, storage="sq4")


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
    bad += [good | {"calibration": rows} for rows in (good["calibration"][::-1], good["calibration"][:, 1:],
                                                      good["calibration"][:0], good["calibration"][0])]  # fmt: skip
    sizes = ["centroids", "list_offsets", "center", "numbers"]
    sizes += {"flat": ["halves", "reach"], "sq8": ["halves", "codes", "widths", "steps", "loose", "framed"],
              "pq4": ["codes", "terms", "codebooks", "lengths", "loose", "framed"]}[storage]  # fmt: skip
    bad += [good | {name: good[name][:-1]} for name in sizes]
    bad += [good | {name: good[name].astype(np.float16)} for name in sizes if name != "numbers"]
    if storage != "flat":
        bad.append(changed("codebooks" if storage == "pq4" else "steps", 0, np.nan))
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
        queries = rng.normal(size=(q, 12)).astype(np.float32)
        batch = structure.batch(queries, *structure.lists.conversion.blurred(queries), 3, np.arange(2000))
        found, _ = structure.lists.scan(batch, 12)
        assert found.min() >= -1 and found.max() < 2000
        asked = Request(None, np.arange(2000), {"n_probes": 3, "rerank": 2.0}, 1, np.zeros((q, N_COUNTERS), np.int64))
        structure.search(queries, 5, asked)
        structure.scan_all(queries, 5, asked)  # what a search falls back on that finds too few


@pytest.mark.parametrize("storage", STORAGES)
def test_data_far_away_and_of_extreme_magnitude(storage: str) -> None:
    data = synthetic(3000, 16, 5, 50, seed=0)
    for moved in (lambda x: x + np.float32(1000), lambda x: x * np.float32(1e15), lambda x: x * np.float32(1e-15)):
        other = Dataset("moved", moved(data.train), moved(data.test), "l2")
        assert recall(IVFIndex(storage=storage).fit(other.train), other) >= 0.93


def test_bad_parameters_are_refused_by_name() -> None:
    for wrong in ({"n_lists": 0}, {"storage": "pq8"}, {"target_recall": 0.0}, {"target_recall": 1.5}, {"rerank": 0.5}):
        with pytest.raises(ValueError):
            IVFIndex(**wrong)
    with pytest.raises(ValueError, match="has no lists yet"):
        IVFIndex(dim=3).imbalance()


@pytest.mark.parametrize("storage", STORAGES)
def test_a_re_ranking_beyond_all_numbers_is_one_of_all_rows(storage: str) -> None:
    data = synthetic(3000, 8, 5, 20, seed=0)
    index = IVFIndex(storage=storage, n_lists=20).fit(data.train)
    for q in (data.test, data.test[0]):
        most = index.search(q, 5, n_probes=10, rerank=1e308).ids
        np.testing.assert_array_equal(most, index.search(q, 5, n_probes=10, rerank=1e9).ids)
