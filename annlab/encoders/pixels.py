"""Images of any size and colour as one array, which is what a network learns from."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from annlab.encoders.image_sets import ImageSet
from annlab.encoders.images import decode_image
from annlab.encoders.preprocess import ColorMode, Resize, Step
from annlab.encoders.telling import every

__all__ = ["Pixels", "read_pixels"]

DEFAULT_SIDE = 32


class Pixels(NamedTuple):
    """What was read of an image set."""

    steps: list[Step]  # the color mode and the resize that were applied
    pixels: NDArray[np.uint8]  # (n, height, width, 1 or 3); grayscale only if every image is
    read: NDArray[np.int64]  # (n,) the rows of the image set that could be read


def read_pixels(images: ImageSet, size: int | None, say: Callable[[str], None]) -> Pixels:
    """Bring images to one colour mode and size: squares of this side. None: 32 for files, their own size for an array.

    A file that cannot be read is left out, and named.
    """
    resize = None
    if size is not None or not isinstance(images.images, np.ndarray):
        side = size or DEFAULT_SIDE
        resize = Resize(side, side, "crop")
    for note in images.notes:
        say(note)
    rows: list[NDArray[np.uint8]] = []
    read: list[int] = []
    tell = every(say)
    for number in range(len(images)):
        tell(f"decoded {number} of {len(images)} images")
        try:
            image = decode_image(images.images[number])[np.newaxis]
        except (ValueError, OSError) as error:
            say(f"left out: {error}")
            continue
        rows.append(image if resize is None else resize(image))
        read.append(number)
    if not rows:
        raise ValueError(f"none of the {len(images)} images in {images.name} could be read")
    color_mode = ColorMode("grayscale" if all(row.shape[3] == 1 for row in rows) else "rgb")
    pixels = np.concatenate([color_mode(row) for row in rows])
    return Pixels([color_mode, resize or Resize(pixels.shape[1], pixels.shape[2])], pixels, np.array(read))
