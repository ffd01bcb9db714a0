"""What happens when rows come from elsewhere than those that an inverted file learned from."""

import warnings
from unittest import mock

import numpy as np
import pytest

import annlab
from annlab import IVFIndex
from annlab.datasets import synthetic
from annlab.inverted.structure import IVFStructure
from tests.inverted.test_ivf import recall


def rows_of_classes(rng: np.random.Generator, classes: np.ndarray, n: int) -> np.ndarray:
    rows = classes[rng.integers(len(classes), size=n)] + 0.4 * rng.standard_normal((n, classes.shape[1]))
    return rows.astype(np.float32)


@pytest.mark.parametrize("storage", ["flat", "sq8"])
def test_other_rows_are_measured_and_learned(storage: str) -> None:
    rng = np.random.default_rng(0)
    old, new = rng.standard_normal((2, 40, 32)), rng.standard_normal((40, 32))
    index = IVFIndex(storage=storage).fit(rows_of_classes(rng, old[0], 5000))
    first, n_lists = index.calibration, index.n_lists
    index.add(rows_of_classes(rng, new, 1100))
    assert index.n_lists == n_lists and index.calibration.n_probes > 3 * first.n_probes, "measured anew"
    assert index.calibration.bound >= 0.95 and index.calibration.n_changed == 0
    index.add(rows_of_classes(rng, new, 1100))
    assert index.n_lists != n_lists and index.calibration.n_probes < 2 * first.n_probes, "built anew"
    index.remove(index.ids[:7])
    assert index.calibration.n_changed == 7


def test_the_same_kind_of_rows_builds_nothing() -> None:
    data = synthetic(9000, 24, 8, 100, seed=0)
    index = IVFIndex().fit(data.train[:5000])
    with mock.patch.object(IVFStructure, "build", side_effect=AssertionError("built")):
        for start in range(5000, 9000, 1100):
            index.add(data.train[start : start + 1100])
    assert recall(index, data) >= 0.93 and index.calibration.n_changed < 0.25 * len(index)


def test_a_warning_names_what_would_reach_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    data = synthetic(4000, 16, 8, 50, seed=0)
    monkeypatch.setattr(IVFStructure, "candidates", lambda self, queries, *_: np.zeros((len(queries), 1), np.int64))
    named = r"storage='pq4' cannot .* recall is 0\.0.*storage=\"sq8\".*target_recall"
    with pytest.warns(annlab.RecallWarning, match=named):
        index = IVFIndex(storage="pq4").fit(data.train)
    assert index.calibration.n_probes == index.n_lists and recall(index, data) == 1.0


def test_a_target_of_everything_is_met_by_a_scan() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index = IVFIndex(n_lists=300, target_recall=1.0).fit(np.random.default_rng(0).random((700, 4)))
    assert index.calibration.bound == 1.0
