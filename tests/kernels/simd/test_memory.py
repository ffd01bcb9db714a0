"""Arrays that begin at a cache line."""

import numpy as np
import pytest

from annlab.kernels.simd.memory import LINE, aligned


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.uint64])
@pytest.mark.parametrize("shape", [(0,), (1,), (7, 3), (5, 40, 32), (300, 0, 2)])
def test_an_aligned_array_begins_at_a_line_and_is_one_that_kernels_take(shape, dtype):
    arrays = [aligned(shape, dtype) for _ in range(9)]
    for number, array in enumerate(arrays):
        array[...] = number
    for number, array in enumerate(arrays):  # none reaches into another
        assert array.shape == shape and array.dtype == dtype and (not array.size or array.ctypes.data % LINE == 0)
        assert array.flags.carray and (array == number).all()
