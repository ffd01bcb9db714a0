"""Copies by parts: the values are those of one call, and Ctrl-C is answered between two parts."""

import numpy as np
import pytest

from annlab.common import validation
from annlab.common.memory import copied, rows_at_once, taken
from annlab.distances import get_metric
from annlab.scan.centroids import Conversion

DIM = 4096
N = 3 * rows_at_once(DIM) + 5


class Interrupted(np.ndarray):
    """An array for which Ctrl-C comes when its second part is asked for."""

    asked = 0

    def __getitem__(self, key):
        self.asked += 1
        if self.asked > 1:
            raise KeyboardInterrupt
        return super().__getitem__(key)


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).random((N, DIM), dtype=np.float32)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, ">f8"])
def test_vectors_of_any_kind_are_converted_as_in_one_call(vectors, dtype):
    given = (1000 * vectors).astype(dtype)
    for array in (given, np.asfortranarray(given)):
        result = validation.as_vectors(array, dtype=np.dtype(np.float32))
        assert np.array_equal(result, given.astype(np.float32))
        assert result.flags.c_contiguous and not np.may_share_memory(result, given)


def test_rows_are_taken_as_in_one_call(vectors):
    rows = np.random.default_rng(1).integers(N, size=2 * N)
    assert np.array_equal(taken(vectors, rows), vectors[rows])
    assert taken(vectors, rows[:0]).shape == (0, DIM)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_points_are_those_of_their_parts(vectors, metric):
    conversion = Conversion.of(vectors[:100], get_metric(metric))
    rows = [conversion.points(vectors[i : i + 1])[0] for i in range(0, N, 97)]
    assert np.array_equal(conversion.points(vectors)[::97], rows)


@pytest.mark.parametrize(
    "work",
    [
        lambda big, rows: copied(big.view(Interrupted)),
        lambda big, rows: taken(big, rows.view(Interrupted)),
        lambda big, rows: Conversion.of(big[:100], get_metric("l2")).points(big.view(Interrupted)),
    ],
    ids=["copied", "taken", "points"],
)
def test_ctrl_c_is_answered_between_two_parts(vectors, work):
    with pytest.raises(KeyboardInterrupt):
        work(vectors, np.arange(N))
