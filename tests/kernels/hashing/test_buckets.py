"""The best estimates among the candidates of buckets."""

import numba
import numpy as np
import pytest

from annlab.kernels.hashing import buckets
from annlab.kernels.simd.registers import pointer
from annlab.kernels.topk import PADDING


@numba.njit
def _keep_best(estimates, candidates, n_found, keep, low, high, chosen, values):
    return buckets.keep_best(pointer(estimates), pointer(candidates), n_found, keep, pointer(low), pointer(high),
                             pointer(chosen), pointer(values))  # fmt: skip


@pytest.mark.parametrize("n", [1, 3, 31, 64, 500])
@pytest.mark.parametrize("levels", [1, 4, 10_000])
def test_the_first_found_of_equal_estimates_are_kept_and_no_more_than_asked(n, levels):
    rng = np.random.default_rng(n + levels)
    estimates = rng.integers(0, levels, n + PADDING).astype(np.float32)
    estimates[n:] = -1  # what lies behind must not count
    candidates = rng.permutation(n).astype(np.int32)
    low, high = np.empty((2, n + 2 * PADDING), np.float32)
    for keep in {1, min(7, n), n // 2 + 1, n, n + 5}:
        chosen = np.full(2 * n + 5, -1, np.int64)
        values = np.zeros(2 * n + 5, np.float32)
        kept = _keep_best(estimates, candidates, n, keep, low, high, chosen, values)
        expected = np.sort(np.argsort(estimates[:n], kind="stable")[:keep])
        np.testing.assert_array_equal(chosen[:kept], candidates[expected])
        np.testing.assert_array_equal(values[:kept], estimates[expected])
        assert (chosen[kept:] == -1).all()
