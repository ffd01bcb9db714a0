"""From files to pixels and vectors, where no image stops the others: what goes wrong with one is said in its place."""

import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annlab.encoders.encoder import Encoder
from annlab.encoders.images import decode_image
from annlab.visual.dates import taken_at
from annlab.visual.paths import from_text

LARGEST_FILE = 2**30  # bytes
UNOPENED = "cannot be opened"
"""What the reason begins with where the image may be all right, and only its file was out of reach."""


@dataclass
class Picture:
    """What was found under a path: the hash of the bytes, the pixels and when they were taken, or a reason why not."""

    content_hash: str | None = None
    pixels: np.ndarray | None = None
    taken: datetime.datetime | None = None
    reason: str | None = None


def read_picture(path: str | None, now: datetime.datetime | None = None) -> Picture:
    """Read, hash and decode one image; `path` as text (paths.py). With `now`, ask also when it was taken."""
    found = Picture()
    try:
        file = Path(from_text(path or ""))
        size = file.stat().st_size
        if size > LARGEST_FILE:
            raise ValueError(f"{size} bytes are more than an image may have ({LARGEST_FILE})")
        data = file.read_bytes()
        found.content_hash = hashlib.sha256(data).hexdigest()
        found.pixels = decode_image(data, name="the image")
        found.taken = None if now is None else taken_at(data, now)
    except MemoryError:
        found.reason = "decoding it takes more memory than there is"
    except (ValueError, OSError) as error:
        found.reason = f"{UNOPENED}: {error.strerror}" if isinstance(error, OSError) else str(error)
    return found


def embed(encoder: Encoder, pictures: Sequence[np.ndarray]) -> list[np.ndarray | str]:
    """A vector for each picture, or the reason why there is none. A block that is refused as a whole is halved, until
    the one is found that it is."""
    if not pictures:
        return []
    try:
        return list(encoder.encode(list(pictures)))
    except (ValueError, MemoryError) as error:
        if len(pictures) == 1:
            return [str(error) or "embedding it takes more memory than there is"]
    half = len(pictures) // 2
    return embed(encoder, pictures[:half]) + embed(encoder, pictures[half:])
