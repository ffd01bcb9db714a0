"""Whether two files show the same picture: re-encoded, resized, slightly cropped.

An encoder's vectors cannot tell: two photographs of one shirt are as near to each other as two files of one
photograph. So pictures are compared as pictures, in two steps.

    sketch    63 numbers of a picture: the low frequencies of its luminance (the discrete cosine transform of 32 x 32
              mean values, as "perceptual hashes" take it), scaled to length 1. Sketches of one picture are near each
              other, those of others seldom; an exact index over all of them finds the candidates.
    compare   the two pictures at 64 x 64, in colour. One of them is cropped, by up to 15 % on each side, such that it
              fits the other best (coordinate descent over the four margins); what still differs, relative to the
              contrast, is the answer.

Cost: 1 ms for a sketch beside decoding; 1 to 20 ms for a comparison, of which there are few.

C. Zauner, Implementation and benchmarking of perceptual image hash functions, 2010.
"""

import base64
from typing import Any

import numpy as np
from scipy.fft import dctn

SIDE = 64  # of a thumbnail
SKETCH_DIM = 63
NEAR = 0.65
"""Sketches farther apart than this are of different pictures: of one picture cropped by 6 % on each side, 99 of 100 are
nearer than 0.55."""

SAME = 0.13
"""What may differ between two files of one picture, relative to its contrast."""

_CELLS = 16  # of the grid on which pictures are compared
_STEPS = (0.04, 0.02, 0.01)  # by which margins move
_WIDEST = 0.15  # margin
_STARTS = (0.0, 0.03, 0.06)  # margins, the same on every side, from which the search begins
_HOPELESS = 0.6  # pictures that differ by more at all of these will not come near enough
_FLAT = 8.0  # grey levels: of less contrast, what compression changes would look large
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
_SCALE = 127.0


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """A picture (height, width, 1 or 3) uint8 as mean values: (SIDE, SIDE, 3) float32, whatever its shape."""
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)


def sketch(thumb: np.ndarray) -> np.ndarray:
    """The sketch (SKETCH_DIM,) float32 of a thumbnail: of length 1, or zeros for one flat colour."""
    luminance = (thumb @ _LUMINANCE).reshape(32, SIDE // 32, 32, SIDE // 32).mean(axis=(1, 3))
    low = dctn(luminance, norm="ortho")[:8, :8].ravel()[1:]
    length = float(np.linalg.norm(low))
    return (low / length).astype(np.float32) if length > _FLAT else np.zeros(SKETCH_DIM, np.float32)


def to_text(values: np.ndarray) -> str:
    """A sketch as text for the catalog, at a byte a number."""
    return base64.b64encode(np.rint(values * _SCALE).astype(np.int8).tobytes()).decode()


def from_text(text: str) -> np.ndarray:
    """The sketch of a text; a ValueError if it is none."""
    raw = base64.b64decode(text, validate=True)
    if len(raw) != SKETCH_DIM:
        raise ValueError(f"a sketch has {SKETCH_DIM} bytes, not {len(raw)}")
    return np.frombuffer(raw, np.int8).astype(np.float32) / _SCALE


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """How much two thumbnails differ once the one is cropped to fit the other, or the other way round.

    0 is equal, below SAME one picture, about 1 two unrelated ones. Where it is clear that the two will not come near
    each other, it is what they differed by until then.
    """
    nothing = (0.0, 0.0, 0.0, 0.0)
    sums = _sums(one), _sums(other)
    whole = _cells(sums[0], nothing), _cells(sums[1], nothing)
    best = np.inf
    for side in range(2):
        starts = [(_relative(_cells(sums[side], [margin] * 4), whole[1 - side]), margin) for margin in _STARTS]
        current, margin = min(starts)
        if current < _HOPELESS:
            current = _fitted(sums[side], whole[1 - side], margin, current)
        best = min(best, current)
        if best < SAME / 2:
            break
    return float(best)


def _fitted(sums: np.ndarray, target: np.ndarray, margin: float, current: float) -> float:
    """The least difference over crops of a picture; given up where it cannot become small."""
    margins = [margin] * 4
    for step in _STEPS:
        moved = True
        while moved and current > SAME / 10:
            moved = False
            for side in range(4):
                for change in (step, -step):
                    tried = list(margins)
                    tried[side] = min(max(tried[side] + change, 0.0), _WIDEST)
                    value = _relative(_cells(sums, tried), target) if tried != margins else current
                    if value < current - 1e-4:
                        current, margins, moved = value, tried, True
        if current > SAME + 4 * step:  # what finer steps still gain is less than that
            break
    return current


def _sums(thumb: np.ndarray) -> np.ndarray:
    """Sums over all rectangles from the corner: (SIDE + 1, SIDE + 1, 3)."""
    return np.pad(thumb.astype(np.float64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0), (0, 0)))


def _cells(sums: np.ndarray, margins: Any) -> np.ndarray:
    """Mean values in a grid over the picture less its margins (left, top, right, bottom), as shares of a side."""
    left, top, right, bottom = margins
    columns = np.linspace(left, 1 - right, _CELLS + 1) * SIDE
    rows = np.linspace(top, 1 - bottom, _CELLS + 1) * SIDE
    i, j = np.minimum(rows.astype(int), SIDE - 1), np.minimum(columns.astype(int), SIDE - 1)
    down, along = (rows - i)[:, None, None], (columns - j)[None, :, None]
    corner = (
        sums[np.ix_(i, j)] * (1 - down) * (1 - along)
        + sums[np.ix_(i, j + 1)] * (1 - down) * along
        + sums[np.ix_(i + 1, j)] * down * (1 - along)
        + sums[np.ix_(i + 1, j + 1)] * down * along
    )
    cells = corner[1:, 1:] - corner[1:, :-1] - corner[:-1, 1:] + corner[:-1, :-1]
    return cells / ((columns[1] - columns[0]) * (rows[1] - rows[0]))


def _relative(one: np.ndarray, other: np.ndarray) -> float:
    """Root mean square of the difference, relative to the smaller contrast; colours count with their level."""
    contrast = min(_contrast(one), _contrast(other))
    return float(np.sqrt(((one - other) ** 2).mean())) / max(contrast, _FLAT)


def _contrast(cells: np.ndarray) -> float:
    return float(np.sqrt(((cells - cells.mean(axis=(0, 1))) ** 2).mean()))
