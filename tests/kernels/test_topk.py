"""The k smallest: selection, the buffer and the heap, with many equal values and infinities among them."""

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numba
import numpy as np
from hypothesis import given

from annlab.kernels import topk
from annlab.kernels.simd.registers import LANES, pointer
from annlab.kernels.topk import PADDING

FEW = st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 1e-45, 1.0, 2.0, 3.4e38, np.inf])
ANY = st.floats(width=32, allow_nan=False)


def values(elements):
    return hnp.arrays(np.float32, st.integers(1, 300), elements=elements)


@numba.njit
def _kth(array, length, k, low, high):
    return topk.kth_smallest(pointer(array), length, k, pointer(low), pointer(high))


def _check_kth(array, k):
    n = len(array)
    padded = np.concatenate([array, np.full(PADDING, -7e37, np.float32)])  # what lies behind must not count
    low, high = np.full((2, n + 2 * PADDING), -8e37, np.float32)
    assert _kth(padded, n, k, low, high) == np.sort(array)[k - 1]
    np.testing.assert_array_equal(padded[:n], array)  # the buffer itself stays
    assert (low[n + PADDING :] == np.float32(-8e37)).all() and (high[n + PADDING :] == np.float32(-8e37)).all()


@given(st.one_of(values(FEW), values(ANY)), st.floats(0, 1))
def test_the_kth_smallest_is_that_of_a_sorted_array(array, share):
    _check_kth(array, 1 + round(share * (len(array) - 1)))


def test_kth_smallest_of_every_rank():
    rng = np.random.default_rng(0)
    for n in [1, 2, LANES - 1, LANES, LANES + 1, 2 * LANES, 2 * LANES + 1, 5 * LANES + 3]:
        for array in (np.sort(rng.random(n)), -np.sort(rng.random(n)), np.zeros(n), rng.integers(3, size=n)):
            for k in range(1, n + 1):
                _check_kth(array.astype(np.float32), k)


def test_kth_smallest_of_whole_numbers():
    """As graphs are built with."""
    rng = np.random.default_rng(1)
    for n in (1, LANES, LANES + 1, 40, 300):
        array = rng.integers(0, 2**31 - 2**16, n + PADDING).astype(np.int32)
        low, high = np.empty((2, n + 2 * PADDING), np.int32)
        for k in {1, 1 + n // 2, n}:
            assert _kth(array, n, k, low, high) == np.sort(array[:n])[k - 1]


@numba.njit
def _keep(array, rows, length, bound):
    return topk.keep_at_most(pointer(array), pointer(rows), length, bound)


@given(st.one_of(values(FEW), values(ANY)), st.one_of(FEW, ANY))
def test_what_is_at_most_the_bound_is_kept(array, bound):
    n = len(array)
    padded = np.concatenate([array, np.full(PADDING, -np.inf, np.float32)])
    rows = np.arange(n + PADDING, dtype=np.int32)
    kept = _keep(padded, rows, n, np.float32(bound))
    expected = np.flatnonzero(array <= np.float32(bound))
    np.testing.assert_array_equal(rows[:kept], expected)
    np.testing.assert_array_equal(padded[:kept], array[expected])


@numba.njit
def _heap(distances, keys, k, best, best_keys):
    size = 0
    for i in range(len(distances)):
        size = topk.push(pointer(best), pointer(best_keys), size, k, distances[i], keys[i])
    topk.sort_heap(pointer(best), pointer(best_keys), size)
    return size


@given(st.one_of(values(FEW), values(ANY)), st.integers(1, 40), st.integers(0, 5))
def test_the_heap_holds_the_best_and_breaks_ties_by_key(distances, k, seed):
    n = len(distances)
    rng = np.random.default_rng(seed)
    keys = rng.permutation(n)
    distances[rng.random(n) < 0.1] = np.nan  # never taken
    best, best_keys = np.full(k, np.inf, np.float32), np.full(k, -1)
    size = _heap(distances, keys, k, best, best_keys)
    real = np.flatnonzero(~np.isnan(distances))
    order = real[np.lexsort((keys[real], distances[real]))][:k]
    assert size == len(order)
    np.testing.assert_array_equal(best_keys[:size], keys[order])
    np.testing.assert_array_equal(best[:size], distances[order])


@numba.njit
def _append(array, rows, length, block, row, mask):
    from_block = topk.load(pointer(block))
    return topk.append(pointer(array), pointer(rows), length, from_block, row, mask)


def test_appended_lanes_are_those_of_the_mask():
    block = np.arange(LANES).astype(np.float32) / 2
    for mask in (0, 1, 0b1010, 2**LANES - 1):
        array, rows = np.full(3 * LANES, -1, np.float32), np.full(3 * LANES, -1, np.int32)
        length = _append(array, rows, 3, block, 100, mask)
        lanes = [lane for lane in range(LANES) if mask >> lane & 1]
        assert length == 3 + len(lanes) and rows[3:length].tolist() == [100 + lane for lane in lanes]
        np.testing.assert_array_equal(array[3:length], block[lanes])
        assert (array[:3] == -1).all()
