"""Pictures in and out: nothing is kept or served as it came.

Every picture is decoded and written anew from its pixels, so what else was in the file (places and times of EXIF,
thumbnails of what was cropped away, text, anything behind the end) is neither kept nor served. Small ones become PNG,
which loses nothing; others JPEG. An upload to search with is scaled down first: it is only compared.

Thumbnails of the last images asked for are kept in memory, within a budget. So nothing lies on the disk that would have
to be found again when somebody wants to be forgotten.
"""

import io
import os
import secrets
import threading
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from annlab.encoders.images import decode_image
from annlab.visual.catalog import Image
from annlab.visual.paths import from_text

THUMBNAIL, PICTURE, QUERY = 256, 1600, 1024
"""The longest sides, in pixels: of a tile, of a picture that is looked at, of an upload to search with."""

_LOSSLESS = 128 * 128  # pixels
_SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg"}


class Encoded(NamedTuple):
    """A picture as it is sent and stored."""

    data: bytes
    media_type: str
    width: int
    height: int


def encode(pixels: np.ndarray, longest: int | None = None, quality: int = 88) -> Encoded:
    """Pixels (height, width, 1 or 3) uint8 as PNG or JPEG, no side longer than `longest`."""
    from PIL import Image as pillow

    image = pillow.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if longest is not None and max(image.size) > longest:
        image.thumbnail((longest, longest), pillow.Resampling.BILINEAR, reducing_gap=2.0)
    out = io.BytesIO()
    if image.width * image.height <= _LOSSLESS:
        image.save(out, "PNG")
        return Encoded(out.getvalue(), "image/png", *image.size)
    image.save(out, "JPEG", quality=quality)
    return Encoded(out.getvalue(), "image/jpeg", *image.size)


class Decoder:
    """Decodes so many pictures at once: as each has only so many pixels, there is an end to the memory this takes."""

    def __init__(self, at_once: int = 2) -> None:
        self._turns = threading.BoundedSemaphore(at_once)

    def upload(self, data: bytes, longest: int | None = None) -> Encoded:
        """An upload, written anew.

        Raises
        ------
        FormatError, TooLargeError, ValueError
            It is no picture, too large a one, or a damaged one.
        """
        with self._turns:
            return encode(decode_image(data, "the upload", longest), longest, quality=92)

    def stored(self, image: Image, longest: int) -> Encoded:
        """A picture of the catalog, no side longer than `longest`.

        Raises
        ------
        OSError, ValueError
            Its file is gone, or damaged.
        """
        if image.path is None:
            raise FileNotFoundError("this image has no file")
        with self._turns:
            return encode(decode_image(from_text(image.path), "the image", longest), longest)


class Thumbnails:
    """Small versions of the images asked for last, within a budget of bytes; safe from any number of threads."""

    def __init__(self, decoder: Decoder, budget: int = 64 * 2**20) -> None:
        self._decoder, self._budget = decoder, budget
        self._kept: OrderedDict[tuple[int, str], Encoded] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def of(self, image: Image) -> Encoded:
        """The thumbnail of an image; OSError or ValueError where its file is gone or damaged."""
        key = image.id, version_of(image)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = self._decoder.stored(image, THUMBNAIL)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += len(made.data)
            while self._bytes > self._budget:
                self._bytes -= len(self._kept.popitem(last=False)[1].data)
        return made

    def forget(self, id: int) -> None:
        """Drop what is kept of an image."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == id]:
                self._bytes -= len(self._kept.pop(key).data)


def version_of(image: Image) -> str:
    """What changes when an image shows something else: for `ETag`, and for what is remembered."""
    return f"{image.id}-{(image.content_hash or '')[:16]}-{image.modified_ns or 0}"


def keep(encoded: Encoded, folder: Path) -> Path:
    """Write a picture under a name of its own, whole or not at all; names of uploaded files are never used."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / (secrets.token_hex(16) + _SUFFIXES[encoded.media_type])
    being_written = path.with_suffix(".part")
    try:
        with being_written.open("xb") as file:
            file.write(encoded.data)
            file.flush()
            os.fsync(file.fileno())
        being_written.replace(path)
    finally:
        being_written.unlink(missing_ok=True)
    return path


def drop(image: Image, folder: Path) -> None:
    """Delete the file of an image, if it is one that `keep` wrote in this folder: others are somebody's own."""
    if image.path is not None and is_kept(image, folder):
        Path(from_text(image.path)).unlink(missing_ok=True)


def is_kept(image: Image, folder: Path) -> bool:
    """Whether an image is a file that `keep` wrote in this folder."""
    return image.path is not None and Path(from_text(image.path)).parent == folder.resolve()
