"""Arrays that begin where a cache line does: a register of 64 bytes then never lies across two."""

import numpy as np

LINE = 64  # bytes of a cache line


def aligned(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An uninitialized array of this shape and type, C-contiguous, that begins at a cache line."""
    element = np.dtype(dtype)
    size = element.itemsize * int(np.prod(shape, dtype=np.int64))
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(element).reshape(shape)
