"""Whether two files show the same picture: re-encoded, resized, slightly cropped.

An encoder's vectors cannot tell: two photographs of one shirt are as near to each other as two files of one
photograph. So pictures are compared as pictures, in two steps.

    sketch    63 numbers of a picture: the low frequencies of its luminance (the discrete cosine transform of 32 x 32
              mean values, as "perceptual hashes" take it), scaled to length 1. Sketches of one picture are near each
              other, those of others seldom; an exact index over all of them finds the candidates.
    compare   the two pictures at 64 x 64, in colour. One of them is cropped, by up to 8 % on each side, such that it
              fits the other best (coordinate descent over the four margins); what still differs, relative to the
              contrast, is the answer.

A comparison is compiled (`kernels/thumbnails.py`), and there are few.

C. Zauner, Implementation and benchmarking of perceptual image hash functions, 2010.
"""

import base64
import functools

import numpy as np
from scipy.fft import dct

from annlab.kernels import thumbnails
from annlab.kernels.thumbnails import SIDE

SKETCH_DIM = 63
NEAR = 0.65
"""Sketches farther apart than this are of different pictures: of one picture cropped by 6 % on each side, 99 of 100 are
nearer than 0.55."""

SAME = 0.11
"""What may differ between two files of one picture, relative to its contrast."""

_FLAT = 10.0  # grey levels: of less contrast, what compression changes would look large
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
SCALE = 127.0
"""A sketch is kept as whole numbers, so many times its values."""


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """A picture (height, width, 1 or 3) uint8 as mean values: (SIDE, SIDE, 3) float32, whatever its shape."""
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)


def sketch(thumb: np.ndarray) -> np.ndarray:
    """The sketch (SKETCH_DIM,) float32 of a thumbnail: of length 1, or zeros for one flat colour."""
    waves = _waves()
    low = (waves @ (thumb @ _LUMINANCE) @ waves.T).ravel()[1:]
    length = float(np.linalg.norm(low))
    return (low / length).astype(np.float32) if length > _FLAT else np.zeros(SKETCH_DIM, np.float32)


@functools.cache
def _waves() -> np.ndarray:
    """(8, SIDE): the eight lowest cosines over 32 means of neighbouring pixels, orthonormal."""
    cosines = dct(np.eye(32), norm="ortho", axis=0)[:8]
    return (np.repeat(cosines, SIDE // 32, axis=1) / (SIDE // 32)).astype(np.float32)


def to_text(values: np.ndarray) -> str:
    """A sketch as text for the catalog, at a byte a number."""
    return base64.b64encode(quantized(values).tobytes()).decode()


def quantized(values: np.ndarray) -> np.ndarray:
    """Sketches as they are kept: int8, of any shape."""
    result: np.ndarray = np.rint(values * SCALE).astype(np.int8)
    return result


def from_text(text: str) -> np.ndarray:
    """The sketch of a text; a ValueError if it is none."""
    raw = base64.b64decode(text, validate=True)
    if len(raw) != SKETCH_DIM:
        raise ValueError(f"a sketch has {SKETCH_DIM} bytes, not {len(raw)}")
    return np.frombuffer(raw, np.int8).astype(np.float32) / SCALE


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """How much two thumbnails differ once the one is cropped to fit the other, or the other way round.

    0 is equal, below SAME one picture, about 1 two unrelated ones. Where it is clear that the two will not come near
    each other, it is what they differed by until then.
    """
    flat = [np.ascontiguousarray(thumb, np.float32).reshape(SIDE, -1) for thumb in (one, other)]
    return float(thumbnails.difference(*flat, SAME))
