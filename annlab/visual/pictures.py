"""Whether two files show the same picture: re-encoded, resized, slightly cropped.

An encoder's vectors cannot tell: two photographs of one shirt are as near to each other as two files of one
photograph. So pictures are compared as pictures, in two steps.

    sketch    63 numbers of a picture: the low frequencies of its luminance (the discrete cosine transform of 32 x 32
              mean values, as "perceptual hashes" take it), scaled to length 1. Sketches of one picture are near each
              other, those of others seldom; an exact index over all of them finds the candidates.
    compare   the two pictures at 64 x 64, in colour. One of them is cropped, by up to 8 % on each side, such that it
              fits the other best (coordinate descent over the four margins); what still differs, relative to the
              contrast, is the answer.

Cost: 1 ms for a sketch beside decoding; 0.3 to 5 ms for a comparison, of which there are few.

C. Zauner, Implementation and benchmarking of perceptual image hash functions, 2010.
"""

import base64
import functools
import math

import numpy as np
from scipy.fft import dctn

SIDE = 64  # of a thumbnail
SKETCH_DIM = 63
NEAR = 0.65
"""Sketches farther apart than this are of different pictures: of one picture cropped by 6 % on each side, 99 of 100 are
nearer than 0.55."""

SAME = 0.11
"""What may differ between two files of one picture, relative to its contrast."""

_CELLS = 16  # of the grid on which pictures are compared
_STEPS = (4, 2, 1)  # by which margins move, in percent of a side
_WIDEST = 8  # margin: a crop that may go further finds the likeness of two dresses
_STARTS = (0, 3, 6)  # margins, the same on every side, from which the search begins
_HOPELESS = 0.6  # pictures that differ by more at all of these will not come near enough
_FLAT = 10.0  # grey levels: of less contrast, what compression changes would look large
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
    best = np.inf
    for cropped, target in ((one, _cells(other)), (other, _cells(one))):
        contrast = _contrast(target)
        starts = [(_relative(_cells(cropped, (margin,) * 4), target, contrast), margin) for margin in _STARTS]
        current, margin = min(starts)
        if current < _HOPELESS:
            current = _fitted(cropped, target, contrast, margin, current)
        best = min(best, current)
        if best < SAME / 2:
            break
    return float(best)


def _fitted(thumb: np.ndarray, target: np.ndarray, contrast: float, margin: int, current: float) -> float:
    """The least difference over crops of a picture; given up where it cannot become small."""
    margins = [margin] * 4
    for step in _STEPS:
        moved = True
        while moved and current > SAME / 10:
            moved = False
            for side in range(4):
                for change in (step, -step):
                    tried = list(margins)
                    tried[side] = min(max(tried[side] + change, 0), _WIDEST)
                    value = current
                    if tried != margins:
                        value = _relative(_cells(thumb, tuple(tried)), target, contrast)
                    if value < current - 1e-4:
                        current, margins, moved = value, tried, True
        if current > SAME + 0.04 * step:  # what finer steps still gain is less than that
            break
    return current


def _cells(thumb: np.ndarray, margins: tuple[int, ...] = (0, 0, 0, 0)) -> np.ndarray:
    """Mean values (3, cells, cells) of a grid over a thumbnail less its margins: left, top, right, bottom, in percent
    of a side."""
    left, top, right, bottom = margins
    return _means(top, bottom) @ thumb.transpose(2, 0, 1) @ _means(left, right).T


@functools.lru_cache(maxsize=1024)
def _means(before: int, behind: int) -> np.ndarray:
    """(cells, SIDE): which share of each pixel belongs to each cell of an axis less its margins."""
    edges = np.linspace(before / 100, 1 - behind / 100, _CELLS + 1) * SIDE
    pixels = np.arange(SIDE)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.maximum(overlap, 0) / (edges[1] - edges[0])).astype(np.float32)


def _relative(cells: np.ndarray, target: np.ndarray, contrast: float) -> float:
    """Root mean square of the difference, relative to the smaller contrast; colours count with their level."""
    apart = (cells - target).ravel()
    return math.sqrt(np.dot(apart, apart) / apart.size) / max(min(contrast, _contrast(cells)), _FLAT)


def _contrast(cells: np.ndarray) -> float:
    about_mean = cells.reshape(3, -1) - cells.reshape(3, -1).mean(axis=1)[:, None]
    return math.sqrt(np.dot(about_mean.ravel(), about_mean.ravel()) / about_mean.size)
