"""Pictures that show nothing: one flat colour, or noise. An encoder puts them near *something*, so pixels decide.

A picture is flat if it has next to no contrast. It is noise if its neighbouring pixels know nothing of each other: the
mean square of their differences is then twice the variance, where in a picture of things it is a small part of it. That
must hold at its own size and at halves of it, since things that are finely grained are smooth when seen from afar, and
noise is noise at any size.
"""

from __future__ import annotations

import numpy as np

_FLAT = 2.0  # grey levels of standard deviation
_UNRELATED = 0.7  # of what neighbours differ by in pure noise
_SMALLEST = 12  # pixels of a side that is looked at
_LARGEST = 256  # of a side: larger pictures are thinned out by whole pixels, which leaves noise what it is


def what_is_missing(pixels: np.ndarray) -> str | None:
    """In words, why a picture (height, width, channels) uint8 shows nothing; None if it may show something."""
    height, width = pixels.shape[:2]
    step = max(1, max(height, width) // _LARGEST)
    grey = pixels[::step, ::step].astype(np.float32)
    if float(grey.reshape(-1, grey.shape[2]).std(axis=0).max()) < _FLAT:
        return "it is one flat colour"
    level = _without_border(grey.mean(axis=2))
    looked_at = 0
    while min(level.shape) >= _SMALLEST:
        if _unrelated(level) < _UNRELATED:
            return None
        looked_at += 1
        level = level[: level.shape[0] // 2 * 2, : level.shape[1] // 2 * 2]
        level = (level[::2, ::2] + level[1::2, ::2] + level[::2, 1::2] + level[1::2, 1::2]) / 4
    return "it is noise" if looked_at else None


def _without_border(level: np.ndarray) -> np.ndarray:
    """A picture less the rows and columns at its edges that are of one colour with its corner."""
    other = np.abs(level - level[0, 0]) >= 1
    rows, columns = np.flatnonzero(other.any(axis=1)), np.flatnonzero(other.any(axis=0))
    return level[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else level


def _unrelated(level: np.ndarray) -> float:
    """What neighbours differ by, as a share of what they would in pure noise."""
    variance = float(level.var())
    if variance == 0:
        return 0.0
    apart = [float(np.mean(np.diff(level, axis=axis) ** 2)) for axis in (0, 1)]
    return min(apart) / (2 * variance)
