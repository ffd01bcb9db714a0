"""Every vector operation against NumPy, on the SIMD path of this process (test_paths.py runs them on the others)."""

from typing import Any, NamedTuple

import numba
import numpy as np
import pytest

from annlab.kernels.simd import byte_vectors as simd_bytes
from annlab.kernels.simd import lanes
from annlab.kernels.simd import registers as simd
from annlab.kernels.simd.path import entry
from annlab.kernels.simd.registers import LANES

ELEMENTS = [np.float32, np.float64, np.int32, np.int8]


def _pair(dtype, n):
    rng = np.random.default_rng(n)
    values = rng.integers(-4, 5, size=(2, n)).astype(dtype)
    return values if np.dtype(dtype).kind == "i" else values + rng.integers(0, 2, size=(2, n)).astype(dtype) / 4


def _lanes(dtype):
    return LANES * 4 // np.dtype(dtype).itemsize


def _bits(mask, lanes):
    return [bool(mask >> lane & 1) for lane in range(lanes)]


class _Parts(NamedTuple):
    floats: Any
    integers: Any
    factor: Any


@entry
def _of_parts(path, parts: _Parts, out):
    named = _Parts(*parts)
    at = simd.pointers(named)
    for i in range(named.floats.shape[0]):
        out[i] = at.factor * at.floats[i] + at.integers[i]


def test_arrays_travel_together_and_become_addresses():
    out = np.zeros(3)
    for floats in (np.arange(3, dtype=np.float32), np.arange(3.0)):
        _of_parts(_Parts(floats, np.array([10, 20, 30]), 0.5), out)
        assert out.tolist() == [10.0, 20.5, 31.0]


@numba.njit
def _arithmetic(a, b, out):
    x, y, p, lanes = simd.pointer(a), simd.pointer(b), simd.pointer(out), len(a)
    simd.store(p, simd.load(x) + simd.load(y))
    p += lanes
    simd.store(p, simd.load(x) - simd.load(y))
    simd.store(p + lanes, simd.load(x) * simd.load(y))
    u, v = simd.load(x), simd.load(y)
    return u < v, u <= v, u == v


@pytest.mark.parametrize("dtype", ELEMENTS)
def test_arithmetic_and_comparisons_are_those_of_numpy(dtype):
    n = _lanes(dtype)
    a, b = _pair(dtype, n)
    out = np.zeros((3, n), dtype)
    less, less_or_equal, equal = _arithmetic(a, b, out.reshape(-1)[:n])
    np.testing.assert_array_equal(out, [a + b, a - b, a * b])
    assert [_bits(m, n) for m in (less, less_or_equal, equal)] == [
        (a < b).tolist(),
        (a <= b).tolist(),
        (a == b).tolist(),
    ]
    assert max(less, less_or_equal, equal) < 2**n or n == 64, "no bits beyond the lanes"


def test_nan_compares_false_with_everything():
    a = np.full(LANES, np.nan, np.float32)
    out = np.zeros(3 * LANES, np.float32)
    assert _arithmetic(a, np.zeros_like(a), out[:LANES]) == _arithmetic(np.zeros_like(a), a, out[:LANES]) == (0, 0, 0)


@numba.njit
def _logic(a, b, out):
    x, y, p = simd.load(simd.pointer(a)), simd.load(simd.pointer(b)), simd.pointer(out)
    simd.store(p, x & y)
    simd.store(p + len(a), x | y)
    simd.store(p + 2 * len(a), x ^ y)


def test_logic_of_integers_is_that_of_numpy():
    a, b = np.random.default_rng(0).integers(-(2**31), 2**31, size=(2, LANES)).astype(np.int32)
    out = np.zeros((3, LANES), np.int32)
    _logic(a, b, out.reshape(-1))
    np.testing.assert_array_equal(out, [a & b, a | b, a ^ b])


@numba.njit
def _first(values, length, out, eight):
    source, target = simd.pointer(values), simd.pointer(out)
    simd.store(target, simd.load_first(source, length))
    simd.store(simd.pointer(eight), simd.load_first_eight(source, length))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_partial_loads_fill_up_with_zeros(dtype):
    n = _lanes(dtype)
    values = np.arange(1, 20).astype(dtype)
    for length in range(n + 3):
        out, eight = np.full(n, -1, dtype), np.full(8, -1, dtype)
        _first(values, length, out, eight)
        np.testing.assert_array_equal(out, np.where(np.arange(n) < length, values[:n], 0))
        np.testing.assert_array_equal(eight, np.where(np.arange(8) < length, values[:8], 0))


@numba.njit
def _compress(values, mask, out):
    simd.store_compressed(simd.pointer(out), simd.load(simd.pointer(values)), mask)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_compressed_stores_keep_the_lanes_of_the_mask(dtype):
    values = np.arange(1, LANES + 1).astype(dtype)
    rng = np.random.default_rng(1)
    masks = [0, 1, 2**LANES - 1, 1 << (LANES - 1), *rng.integers(2**LANES, size=40).tolist()]
    for mask in masks:
        out = np.full(3 * LANES, -1, dtype)
        _compress(values, mask, out)
        kept = values[_bits(mask, LANES)]
        np.testing.assert_array_equal(out[: len(kept)], kept)
        assert (out[LANES:] == -1).all(), "one register is written and no more"


@numba.njit
def _shuffles(a, b, out):
    x, y, p = simd.load(simd.pointer(a)), simd.load(simd.pointer(b)), simd.pointer(out)
    n = len(a)
    simd.prefetch(simd.pointer(a))
    simd.store(p, lanes.zip_low(x, y))
    simd.store(p + n, lanes.zip_high(x, y))
    simd.store(p + 2 * n, simd.smaller(x, y))
    simd.store(p + 3 * n, simd.fma(x, y, x))
    simd.store(p + 4 * n, simd.splat(a[1]))
    registers = simd.float_registers(3)
    for i in range(3):
        registers[i] = simd.load(p + i * n)
    simd.store(p + 5 * n, registers[2])
    return lanes.total(x)


def test_shuffles_splats_and_registers():
    a, b = _pair(np.float32, LANES)
    out = np.zeros((6, LANES), np.float32)
    total = _shuffles(a, b, out.reshape(-1))
    zipped = np.stack([a, b], axis=1).reshape(-1)
    np.testing.assert_array_equal(out[0], zipped[:LANES])
    np.testing.assert_array_equal(out[1], zipped[LANES:])
    np.testing.assert_array_equal(out[2], np.minimum(a, b))
    np.testing.assert_array_equal(out[3], a * b + a)
    np.testing.assert_array_equal(out[4], np.full(LANES, a[1]))
    np.testing.assert_array_equal(out[5], out[2])
    assert total == a.sum()


def test_fma_rounds_once():
    x = np.full(LANES, 1 + 2.0**-12, np.float32)
    y = np.full(LANES, 1 - 2.0**-12, np.float32)
    out = np.zeros(6 * LANES, np.float32)

    @numba.njit
    def fused(a, b, c, out):
        p = simd.pointer
        simd.store(p(out), simd.fma(simd.load(p(a)), simd.load(p(b)), simd.load(p(c))))

    fused(x, y, np.full(LANES, -1, np.float32), out)
    assert (out[:LANES] == np.float32(-(2.0**-24))).all()


@numba.njit
def _widths(values, out, floats, ramps, mask):
    eight = simd.load_eight(simd.pointer(values))
    doubles = lanes.to_doubles(eight) * simd.splat_eight(2.0)
    simd.store(simd.pointer(out), doubles)
    simd.store(simd.pointer(floats), lanes.to_floats(doubles))
    simd.store(simd.pointer(ramps), simd.ramp(7))
    p = simd.pointer(ramps)
    p[LANES] = p[0] + p[1]
    return lanes.total(doubles), simd.count(mask), simd.first(mask)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_eights_ramps_and_masks(dtype):
    values = np.arange(8).astype(dtype)
    out, floats, ramps = np.zeros(8), np.zeros(8, np.float32), np.zeros(LANES + 1, np.int32)
    total, count, first = _widths(values, out, floats, ramps, 0b101100)
    np.testing.assert_array_equal(out, 2 * values)
    np.testing.assert_array_equal(floats, 2 * values)
    np.testing.assert_array_equal(ramps, [*range(7, 7 + LANES), 15])
    assert (total, count, first) == (56, 3, 2) and _widths(values, out, floats, ramps, 0)[2] == 64


def test_pointers_need_contiguous_arrays():
    @numba.njit
    def address(array):
        simd.pointer(array)

    with pytest.raises(numba.TypingError):
        address(np.zeros((4, 4))[:, ::2])


@numba.njit
def _total(values):
    return lanes.total(simd.load_eight(simd.pointer(values)))


def test_totals_are_added_pairwise_in_a_fixed_order():
    values = np.array([1e16, 1.0, -1e16, 1.0, 3.0, 1e-3, 7.0, 1e8])
    halves = values
    while len(halves) > 1:
        halves = halves[: len(halves) // 2] + halves[len(halves) // 2 :]
    assert _total(values) == halves[0]


@numba.njit
def _dot(sums, unsigned, signed, out):
    simd.store(simd.pointer(out), simd_bytes.dot_bytes(simd.load(simd.pointer(sums)), simd.load(simd.pointer(unsigned)),
                                                       simd.load(simd.pointer(signed))))  # fmt: skip


def test_dot_bytes_is_exact():
    rng, most = np.random.default_rng(0), simd_bytes.LARGEST_SIGNED
    for signed in (np.full(4 * LANES, most), np.full(4 * LANES, -most), rng.integers(-most, most + 1, 4 * LANES)):
        for unsigned in (np.full(4 * LANES, 255), rng.integers(0, 256, 4 * LANES)):
            sums, out = rng.integers(-(2**20), 2**20, LANES).astype(np.int32), np.zeros(LANES, np.int32)
            _dot(sums, unsigned.astype(np.uint8), signed.astype(np.int8), out)
            np.testing.assert_array_equal(out, sums + (unsigned * signed).reshape(LANES, 4).sum(axis=1))
