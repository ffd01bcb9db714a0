"""What a walk compares, a row for every node: bytes ("sq8"), or the points themselves ("flat").

A row holds no more than the kernel reads of a node that it only looks at. What else it needs to know of a node, one
number, lies beside the links that lead there (`Rows.norms`), so that it comes with them.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from annlab.common.memory import rows_at_once
from annlab.graphs.points import usual_rows
from annlab.kernels.graphs.walk_rows import MIDDLE, ROW_BYTES
from annlab.kernels.simd.memory import LINE, aligned

_SAMPLE, _COORDINATES, _FEWEST = 20_000, 2**24, 64  # rows from which the step is learned, fewer of long ones
_USUAL = 0.9999  # quantile of the coordinates that bytes are made for: few larger ones are cut off
_LEVELS = 127
_NEARLY_ALL = 0.99  # quantile of what rounding lost: a few rows lose much, as they have coordinates that were cut off
_MOST_CUT = 0.001  # share of coordinates that may be cut off before codes should be made anew


def in_line(array: np.ndarray) -> np.ndarray:
    """The array, copied where it does not begin on a line of the cache."""
    if array.ctypes.data % LINE == 0 and array.flags.writeable:
        return array
    result = aligned(array.shape, array.dtype.type)
    result[...] = array
    return result


@dataclass(frozen=True)
class Rows:
    """The rows of the nodes.

    Attributes
    ----------
    array : (n_nodes, stride) uint8 or float32
        Codes about `MIDDLE`, padded with it to whole lines; or points.
    norms : (n_nodes,) float32
        "sq8": the squared norm of the rounded point, and its term; "flat": its term (see `Lifting.terms`, and
        `left_out` in `leading.py`).
    step : float
        Of the codes; 1 for points.
    blur : float
        How far a vector's point may be from what stands for it here: by rounding, nearly always, and where a node has
        several vectors. Few rows have coordinates that were cut off; these are not asked.
    axes : (point_dim, components) float32, or None
        The directions of the leading components that codes hold in place of the points (`leading.py`).
    """

    array: np.ndarray
    norms: np.ndarray = field(repr=False)
    step: float = 1.0
    blur: float = 0.0
    axes: np.ndarray | None = field(default=None, repr=False)

    @property
    def has_codes(self) -> bool:
        return self.array.dtype == np.uint8

    @property
    def row_bytes(self) -> int:
        return int(self.array.shape[1] * self.array.itemsize)

    @property
    def noise(self) -> float:
        """The squared distance that codes usually give to a point and itself."""
        return self.step**2 * self.array.shape[1] / 12 if self.has_codes else 0.0


def rows_of(points: np.ndarray, first_rows: np.ndarray | None, terms: np.ndarray, step: float | None,
            axes: np.ndarray | None = None) -> Rows:  # fmt: skip
    """The rows of nodes: bytes of a step, or floats for None.

    points (n, dim): of all vectors, those of a node one behind the other, from `first_rows` (n_nodes,) on; None: each
    vector is a node; their leading components, if there are axes. terms (n_nodes,): see `Lifting.terms`, and
    `left_out`.
    """
    some = points if first_rows is None else points[first_rows]
    if step is None:
        rows = Rows(some, terms)
    else:
        codes = codes_of(some, step)
        rows = Rows(codes, norms_of(codes, step) + terms, step, axes=axes)
    return replace(rows, blur=_blur_of(rows, points, first_rows))


def _blur_of(rows: Rows, points: np.ndarray, first_rows: np.ndarray | None) -> float:
    """How far nearly all nodes are from what stands for them, and the farthest vector from its node."""
    blur = float(np.quantile(_lost(rows, points, first_rows), _NEARLY_ALL)) if rows.has_codes else 0.0
    if first_rows is None:
        return blur
    others, farthest = np.setdiff1d(np.arange(len(points)), first_rows, assume_unique=True), 0.0
    for some in _portions(others, points.shape[1]):
        nodes = np.searchsorted(first_rows, some, side="right") - 1
        farthest = max(farthest, float(_lengths(points[some] - points[first_rows[nodes]]).max()))
    return blur + farthest


def _lost(rows: Rows, points: np.ndarray, first_rows: np.ndarray | None) -> np.ndarray:
    """How much of each node (n_nodes,) rounding to bytes has lost."""
    dim, places = points.shape[1], np.arange(len(points)) if first_rows is None else first_rows
    lost = np.empty(len(places))
    for nodes in _portions(np.arange(len(places)), dim):
        stands = (rows.array[nodes, :dim].astype(np.float32) - np.float32(MIDDLE)) * np.float32(rows.step)
        lost[nodes] = _lengths(points[places[nodes]] - stands)
    return lost


def _portions(numbers: np.ndarray, dim: int) -> list[np.ndarray]:
    at_once = rows_at_once(dim)
    return [numbers[start : start + at_once] for start in range(0, len(numbers), at_once)]


def _lengths(gaps: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("ij,ij->i", gaps, gaps, dtype=np.float64))


def step_for(points: np.ndarray) -> float:
    """The step of codes for points (n, dim)."""
    n_some = max(_FEWEST, min(_SAMPLE, _COORDINATES // points.shape[1]))
    some = np.abs(usual_rows(points[:: max(1, len(points) // n_some)])).astype(np.float32)
    usual, largest = float(np.quantile(some, _USUAL)), float(some.max())
    return max(usual, largest / 16, 1e-30) / _LEVELS


def codes_of(points: np.ndarray, step: float) -> np.ndarray:
    """Points (n, dim) as bytes (n, stride)."""
    n, dim = points.shape
    codes = aligned((n, -(-dim // ROW_BYTES) * ROW_BYTES), np.uint8)
    at_once = rows_at_once(dim)
    for start in range(0, n, at_once):
        levels = np.rint(points[start : start + at_once] / np.float32(step))
        codes[start : start + at_once, :dim] = np.clip(levels, -MIDDLE, _LEVELS) + MIDDLE
    codes[:, dim:] = MIDDLE
    return codes


def norms_of(codes: np.ndarray, step: float) -> np.ndarray:
    """The squared norms (n,) float32 of what codes stand for."""
    result = np.empty(len(codes), np.float32)
    at_once = rows_at_once(codes.shape[1])
    for start in range(0, len(codes), at_once):
        levels = codes[start : start + at_once].astype(np.float32) - np.float32(MIDDLE)
        result[start : start + at_once] = np.einsum("ij,ij->i", levels, levels, dtype=np.float64) * step**2
    return result


def are_in_range(points: np.ndarray, step: float) -> bool:
    """Whether codes of this step hold the coordinates of (nearly) all points."""
    return not len(points) or float((np.abs(points) > _LEVELS * step).mean()) <= _MOST_CUT
