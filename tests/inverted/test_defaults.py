"""What IVFIndex does when no parameter is given: the recall of its defaults, their calibration, and its repair."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from annlab import ExactIndex, IVFIndex
from annlab.core.heldout import lower_bound
from annlab.datasets import Dataset, synthetic, uniform_noise
from annlab.inverted.calibration import Calibration, Calibrations, choose_probes
from tests.inverted.test_ivf import STORAGES, recall

EASY = [
    partial(synthetic, 8000, 25, 5, 200, seed=0),
    partial(synthetic, 3000, 64, 15, 200, clusters=20, seed=1),
    partial(synthetic, 2500, 1024, 15, 200, seed=3),
    partial(synthetic, 8000, 32, 15, 200, metric="cosine", seed=4),
]
LONG = [
    partial(synthetic, n, dim, intrinsic, 500, clusters=clusters, seed=dim)
    for n, dim, clusters in [(20_000, 25, 0), (30_000, 128, 50), (4000, 1024, 0)]
    for intrinsic in (5, 15, 25 if dim == 25 else 40)
] + [
    partial(synthetic, 20_000, 64, 15, 500, metric="cosine", clusters=30, seed=5),
    partial(synthetic, 20_000, 64, 15, 500, metric="ip", seed=6),
    partial(synthetic, 700, 32, 15, 500, seed=7),
    partial(uniform_noise, 20_000, 30, 500),
]


def check_defaults(storage: str, data: Dataset) -> None:
    index = IVFIndex(metric=data.metric, storage=storage).fit(data.train)
    assert index.calibration.bound >= (0.95 if storage != "pq4" else 0.94)
    for k in (1, 10, 100):
        assert recall(index, data, k) >= 0.93, k


def arguments(make: "partial[Dataset]") -> str:
    return "-".join(map(str, make.args))


@pytest.fixture(scope="module", params=EASY, ids=arguments)
def easy(request: pytest.FixtureRequest) -> Dataset:
    return request.param()


@pytest.mark.parametrize("storage", STORAGES)
def test_defaults_reach_the_recall_they_promise(storage: str, easy: Dataset) -> None:
    check_defaults(storage, easy)


@pytest.mark.slow
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("make", LONG, ids=arguments)
def test_defaults_reach_the_recall_on_more_data(storage: str, make: Callable[[], Dataset]) -> None:
    check_defaults(storage, make())


def test_duplicates_do_not_make_data_look_easy() -> None:
    data = synthetic(3000, 32, 12, 300, seed=0)
    many = Dataset("copies", np.concatenate([data.train, *[data.train[:300]] * 20]), data.test, "l2")
    index = IVFIndex().fit(many.train)
    assert recall(index, many) >= 0.93
    everything = IVFIndex().fit(np.repeat(data.train[:20], 100, axis=0))
    assert everything.search(data.train[:20], k=10).distances.max() == 0


def test_what_was_measured_for_other_k() -> None:
    each = [
        Calibration(n_probes, rerank, target=0.95, recall=1.0, bound=1.0, n_queries=9, k=k)
        for n_probes, rerank, k in ((4, 8.0, 1), (16, 2.0, 10), (32, 1.0, 100))
    ]
    several = Calibrations(tuple(each), 40.0)
    assert [several.at(k, 99) for k in (1, 10, 100)] == [(4, 8.0), (16, 2.0), (32, 1.0)]
    n_probes, rerank = several.at(3, 99)
    assert n_probes == 8 and rerank == pytest.approx(8 / 4 ** np.log10(3))
    assert several.at(200, 99) == (64, 1.0) and several.at(10**6, 99)[0] == 99
    assert several.main is each[1] and Calibrations.from_array(several.to_array(), 40, 40.0) == several
    assert Calibrations((each[1],), 9.0).at(25, 99) == (40, 2.0)


@pytest.mark.parametrize("storage", STORAGES)
def test_calibration_on_shifted_queries(storage: str) -> None:
    data = synthetic(12_000, 32, 12, 600, seed=0)
    off = (data.test + np.random.default_rng(0).normal(size=data.test.shape)).astype(np.float32)
    rest = Dataset("shifted", data.train, off[300:], "l2")
    index = IVFIndex(target_recall=0.9, storage=storage).fit(data.train)
    before, chosen = recall(index, rest, 1), index.calibration
    measured = index.calibrate(off[:300])
    assert measured == index.calibration and measured.n_queries == 300 and measured.target == 0.9
    assert measured.n_probes * measured.rerank > chosen.n_probes * chosen.rerank and measured.bound >= 0.9
    assert before < 0.87 and all(recall(index, rest, k) > 0.85 for k in (1, 10, 100))


@pytest.mark.parametrize("storage", STORAGES)
def test_calibration_is_saved_and_survives_growth(storage: str, tmp_path: Path) -> None:
    data = synthetic(6000, 24, 8, 300, seed=0)
    index = IVFIndex(storage=storage).fit(data.train[:3000])
    index.save(tmp_path / "index.annlab")
    for mmap in (False, True):
        loaded = IVFIndex.load(tmp_path / "index.annlab", mmap=mmap)
        assert loaded.calibration == index.calibration and 0.9 < index.calibration.bound <= index.calibration.recall
        assert loaded._structure.calibrations == index._structure.calibrations
    index.add(data.train[3000:])
    assert index.calibration.n_changed < 600 and index.calibration.bound >= 0.9, "measured again as it grew"
    assert recall(index, data) >= 0.93


def test_the_fewest_probes_that_reach_the_target_are_chosen() -> None:
    ranks = np.array([[0, 1, 2], [0, 5, -1]])
    n_probes, recalls = choose_probes(ranks, 1.0, 9)
    assert n_probes == 6 and recalls.tolist() == [1.0, 1.0]
    n_probes, recalls = choose_probes(np.tile([0, 1, 2, 7], (100, 1)), 0.75, 9)
    assert n_probes == 3 and lower_bound(recalls) == 0.75


@pytest.mark.parametrize("storage", ["sq8", "pq4"])
def test_what_is_hidden_while_recall_is_measured_leaves_its_place_to_others(storage):
    """Twenty rows of a burst look alike to the codes, and only some eighteen of them when recall is measured."""
    rng = np.random.default_rng(11)
    stamps = 1.7e9 + rng.integers(0, 3.15e7, 400).repeat(20) + 3 * rng.random(8000)
    vectors = rng.permutation(stamps)[:, None]
    index = IVFIndex(storage=storage).fit(vectors, threads=1)
    found = index.search(vectors[:1000], 10)
    expected = ExactIndex().fit(vectors).search(vectors[:1000], 10)
    assert np.isclose(found.distances, expected.distances).mean() >= 0.98
