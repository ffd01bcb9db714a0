"""The one definition of a distance, bit for bit: sixteen running sums in float64, whatever the machine's registers."""

import numpy as np
import pytest

import annlab
from tests import oracle

DIMS = [1, 2, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 100, 257]


def running_sums(terms):
    """Sums of every sixteenth term, then halves added to halves."""
    sums = np.zeros(16)
    for start in range(0, len(terms), 16):
        some = terms[start : start + 16]
        sums[: len(some)] += some
    while len(sums) > 1:
        sums = sums[: len(sums) // 2] + sums[len(sums) // 2 :]
    return sums[0]


def emulated(x, q, metric):
    """The definition in NumPy, rounding as it says."""
    x, q = x.astype(np.float64), q.astype(np.float64)
    if metric == "l2":
        return np.sqrt(running_sums((x - q) * (x - q)))
    if metric == "ip":
        return -running_sums(x * q)
    squares = running_sums(x * x), running_sums(q * q)
    if min(squares) == 0:
        return 1.0
    difference = x * (1 / np.sqrt(squares[0])) - q * (1 / np.sqrt(squares[1]))
    return min(2.0, 0.5 * running_sums(difference * difference))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_the_order_of_the_sums_is_fixed(metric, dtype):
    rng = np.random.default_rng(0)
    for dim in DIMS:
        vectors, queries = (10.0 ** rng.uniform(-3, 3, (2, 12, dim)) * rng.standard_normal((2, 12, dim))).astype(dtype)
        vectors[3] = 0
        found = annlab.pairwise(queries, vectors, metric)
        expected = np.array([[emulated(x, q, metric) for x in vectors] for q in queries]).astype(dtype)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_agrees_with_the_textbook(metric):
    rng = np.random.default_rng(1)
    for dim in DIMS:
        vectors, queries = rng.standard_normal((50, dim)), rng.standard_normal((5, dim))
        vectors[0] = 0
        error = oracle.rounding(queries, vectors, metric, np.float64)
        assert (
            np.abs(annlab.pairwise(queries, vectors, metric) - oracle.distances(queries, vectors, metric)) <= error
        ).all()


def test_distances_are_symmetric_and_zero_to_themselves():
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((40, 19)).astype(np.float32)
    for metric in ("l2", "cosine"):
        matrix = annlab.pairwise(vectors, vectors, metric)
        assert (np.diag(matrix) == 0).all() and (matrix >= 0).all()
        np.testing.assert_array_equal(matrix, matrix.T)
    assert annlab.pairwise([[1.0, 0]], [[-3.0, 0], [0, 5], [2, 0], [0, 0]], "cosine").tolist() == [[2, 1, 0, 1]]
    assert annlab.pairwise([[1.0, 2]], [[3.0, 4]], "ip").tolist() == [[-11]]
    far = (1e6 + rng.standard_normal((30, 8))).astype(np.float32)  # where |x|^2/2 - q.x knows nothing any more
    true = oracle.distances(far, far, "l2")
    np.testing.assert_allclose(annlab.pairwise(far, far), true, rtol=1e-6)
