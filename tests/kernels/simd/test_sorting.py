"""Sorting by networks: every number of runs, with many equal values and infinities among them."""

import numba
import numpy as np
import pytest

from annlab.kernels.simd.registers import pointer
from annlab.kernels.simd.sorting import sort_pairs


@numba.njit
def _sorted(values, places, n, more, more_places, out, out_places):
    found, order = sort_pairs(pointer(values), pointer(places), n, pointer(more), pointer(more_places))
    for i in range(n):
        out[i], out_places[i] = found[i], order[i]


@pytest.mark.parametrize("kind", ["any", "few", "rising", "falling", "infinite"])
@pytest.mark.parametrize("n_runs", [0, 1, 2, 3, 4, 5, 7, 8, 13, 32])
def test_pairs_are_sorted_and_stay_together(n_runs: int, kind: str) -> None:
    rng, n = np.random.default_rng(n_runs), 16 * n_runs
    values = {
        "any": rng.normal(size=n),
        "few": rng.integers(-2, 3, size=n),
        "rising": np.arange(n),
        "falling": -np.arange(n),
        "infinite": rng.choice([-np.inf, 0, np.inf], n),
    }[kind].astype(np.float32)
    out, places = np.empty(n, np.float32), np.empty(n, np.int32)
    more, more_places = np.empty(n, np.float32), np.empty(n, np.int32)
    _sorted(values.copy(), np.arange(n, dtype=np.int32), n, more, more_places, out, places)
    np.testing.assert_array_equal(out, np.sort(values))
    np.testing.assert_array_equal(np.sort(places), np.arange(n))
    np.testing.assert_array_equal(values[places], out)
