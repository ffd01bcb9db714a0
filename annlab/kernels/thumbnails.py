"""The comparison of two thumbnails, compiled: crops are tried by the hundred, and an image is compared with several.

A thumbnail less its margins is brought to a grid of CELLS x CELLS mean values, and compared with another one's grid. A
cell's value is the mean over the pixels that it covers, each weighed by the part that is covered.
"""

import math

import numpy as np

from annlab.kernels.simd.path import entry, kernel

SIDE = 64  # of a thumbnail
CELLS = 16  # of the grid on which pictures are compared
_CHANNELS = 3
_FLAT = 10.0  # grey levels: of less contrast, what compression changes would look large
_WIDEST = 8  # margin in percent: a crop that may go further finds the likeness of two dresses
_STARTS = (0, 3, 6)  # margins, the same on every side, from which the search begins
_STEPS = (4, 2, 1)  # by which margins move, in percent of a side
_HOPELESS = 0.6  # pictures that differ by more at all of these will not come near enough


@kernel
def _shrunk(thumb, margins, rows, cells):
    """cells (CELLS, CELLS * 3) of thumb (SIDE, SIDE * 3) less margins (left, top, right, bottom) in percent; rows
    (CELLS, SIDE * 3) is scratch."""
    top, height = margins[1] * SIDE / 100, (100 - margins[1] - margins[3]) * SIDE / 100 / CELLS
    for cell in range(CELLS):
        low, high = top + cell * height, top + (cell + 1) * height
        rows[cell, :] = 0
        for y in range(int(low), min(SIDE, math.ceil(high))):
            share = np.float32((min(y + 1.0, high) - max(y * 1.0, low)) / height)
            for x in range(SIDE * _CHANNELS):
                rows[cell, x] += share * thumb[y, x]
    left, width = margins[0] * SIDE / 100, (100 - margins[0] - margins[2]) * SIDE / 100 / CELLS
    cells[:, :] = 0
    for cell in range(CELLS):
        low, high = left + cell * width, left + (cell + 1) * width
        for x in range(int(low), min(SIDE, math.ceil(high))):
            share = np.float32((min(x + 1.0, high) - max(x * 1.0, low)) / width)
            for row in range(CELLS):
                for channel in range(_CHANNELS):
                    cells[row, cell * _CHANNELS + channel] += share * rows[row, x * _CHANNELS + channel]


@kernel
def _contrast(cells):
    """The deviation of cells from the mean of their channel."""
    total = 0.0
    for channel in range(_CHANNELS):
        sum, squares = 0.0, 0.0
        for row in range(CELLS):
            for cell in range(CELLS):
                value = float(cells[row, cell * _CHANNELS + channel])
                sum += value
                squares += value * value
        total += squares - sum * sum / (CELLS * CELLS)
    return math.sqrt(max(total, 0.0) / (CELLS * CELLS * _CHANNELS))


@kernel
def _relative(thumb, margins, target, contrast, rows, cells):
    """Root mean square of the difference from a target, relative to the smaller contrast; colours count with their
    level."""
    _shrunk(thumb, margins, rows, cells)
    apart = 0.0
    for row in range(CELLS):
        for i in range(CELLS * _CHANNELS):
            change = float(cells[row, i]) - float(target[row, i])
            apart += change * change
    return math.sqrt(apart / (CELLS * CELLS * _CHANNELS)) / max(min(contrast, _contrast(cells)), _FLAT)


@kernel
def _fitted(thumb, target, same, rows, cells):
    """The least difference over crops of a picture; given up where it cannot become small."""
    contrast = _contrast(target)
    margins, current = np.zeros(4, np.int64), np.inf
    tried = np.zeros(4, np.int64)
    for start in _STARTS:
        tried[:] = start
        value = _relative(thumb, tried, target, contrast, rows, cells)
        if value < current:
            current = value
            margins[:] = start
    if current >= _HOPELESS:
        return current
    for step in _STEPS:
        moved = True
        while moved and current > same / 10:
            moved = False
            for side in range(4):
                for change in (step, -step):
                    tried[:] = margins
                    tried[side] = min(max(tried[side] + change, 0), _WIDEST)
                    if tried[side] == margins[side]:
                        continue
                    value = _relative(thumb, tried, target, contrast, rows, cells)
                    if value < current - 1e-4:
                        current, moved = value, True
                        margins[:] = tried
        if current > same + 0.04 * step:  # what finer steps still gain is less than that
            break
    return current


@entry
def difference(path, one, other, same):
    """How much two thumbnails (SIDE, SIDE * 3) float32 differ once the one is cropped to fit the other, or the other
    way round. Below `same` they count as one picture; where that is clear, the search ends."""
    rows, cells = np.empty((CELLS, SIDE * _CHANNELS), np.float32), np.empty((CELLS, CELLS * _CHANNELS), np.float32)
    target, whole = np.empty((CELLS, CELLS * _CHANNELS), np.float32), np.zeros(4, np.int64)
    _shrunk(other, whole, rows, target)
    best = _fitted(one, target, same, rows, cells)
    if best < same / 2:
        return best
    _shrunk(one, whole, rows, target)
    return min(best, _fitted(other, target, same, rows, cells))
