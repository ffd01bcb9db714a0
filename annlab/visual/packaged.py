"""A catalog of the packaged pictures: something pleasant to search in, made in seconds.

    place/pictures/food fruit/red apple.png    the pictures as files, by sub-group and name
    place/emoji.db, place/emoji.index          their catalog and index

The pictures are known to be different, so nobody looks for duplicates among them, which would take longer than all the
rest. They go into the catalog in one transaction: a kill leaves all of them or none, and the next call completes it.
Names, kinds and groups are their tags.
"""

import hashlib
import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from annlab.common.progress import Counted, uncounted
from annlab.datasets import Emoji, emoji
from annlab.visual import pictures
from annlab.visual.attributes import attributes_of
from annlab.visual.catalog import Catalog
from annlab.visual.commands import opened_pair
from annlab.visual.paths import to_text

ENCODER = "emoji"
_BLOCK = 256


def data_folder() -> Path:
    """Where a person's catalogs are kept: $ANNLAB_HOME, else the place that the system has for such things."""
    if given := os.environ.get("ANNLAB_HOME"):
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "annlab"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "annlab"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "annlab"


def packaged_catalog(place: Path, *, threads: int = 1, progress: Counted = uncounted,
                     say: Callable[[str], None] = lambda line: None) -> Path:  # fmt: skip
    """The catalog of the packaged pictures, made in a folder if it is not there.

    Parameters
    ----------
    place : path
        A folder of its own; it is made.
    threads : int
        Of the encoder.

    Returns
    -------
    path of the catalog
    """
    catalog = place / "emoji.db"
    if catalog.is_file() and _is_filled(catalog):
        return catalog
    say(f"Making a catalog of the packaged pictures in {place}")
    found = emoji()
    files = [place / "pictures" / _file_of(found, row) for row in range(len(found.names))]
    contents = _write_files(found, files, progress)
    _fill(catalog, place / "pictures", found, files, contents, threads, progress)
    say(f"{len(files)} pictures are indexed")
    return catalog


def _is_filled(path: Path) -> bool:
    with Catalog.open(path) as catalog:
        return bool(catalog.find(kind="image", limit=1) or catalog.find(kind="image", deleted=True, limit=1))


def _file_of(found: Emoji, row: int) -> str:
    """A picture's file, by sub-group and name, in signs that every file system takes."""
    kind, name = found.class_names[found.labels[row]], found.names[row]
    return f"{kind}/{re.sub(r'[^0-9A-Za-z ,&.()-]+', '-', name).strip('. ')} {found.codes[row].lower()}.png"


def _write_files(found: Emoji, files: list[Path], progress: Counted) -> list[bytes]:
    """Write what is not there yet as PNG; the contents of all files, for their hashes."""
    from PIL import Image

    contents = []
    for folder in {file.parent for file in files}:
        folder.mkdir(parents=True, exist_ok=True)
    for row, file in enumerate(files):
        stream = io.BytesIO()
        Image.fromarray(found.images[row]).save(stream, "PNG", compress_level=1)
        contents.append(stream.getvalue())
        if not file.is_file() or file.stat().st_size != len(contents[-1]):
            temporary = file.with_name(f".{os.getpid()}.tmp")
            temporary.write_bytes(contents[-1])
            os.replace(temporary, file)
        if row % _BLOCK == 0:
            progress("writing pictures", row, len(files))
    return contents


def _fill(path: Path, folder: Path, found: Emoji, files: list[Path], contents: list[bytes], threads: int,
          progress: Counted) -> None:  # fmt: skip
    """Rows and vectors of all pictures, in one transaction."""
    with opened_pair(str(folder), str(path), ENCODER, "exact", None, threads) as (catalog, index, encoder):
        parts = []
        for start in range(0, len(files), _BLOCK):
            parts.append(encoder.encode(found.images[start : start + _BLOCK]))
            progress("embedding", start, len(files))
        rows = [_row(found, row, file, contents[row]) for row, file in enumerate(files)]
        with index.transaction() as writes:
            ids = catalog.add_images(rows, connection=writes.connection)
            catalog.mark_indexed(ids, encoder.fingerprint, connection=writes.connection)
            images = catalog.find(ids=ids, connection=writes.connection)
            writes.add(np.concatenate(parts), ids, attributes=attributes_of(images))
        progress("embedding", len(files), len(files))


def _row(found: Emoji, row: int, file: Path, content: bytes) -> dict[str, object]:
    """What the catalog knows of a picture, as if a folder had been looked through."""
    status, side = file.stat(), found.images.shape[1]
    sketch = pictures.sketch(pictures.thumbnail(found.images[row]))
    name, _, tone = found.names[row].partition(": ")
    tags = [name, found.class_names[found.labels[row]], found.groups[row], *([tone] if tone else [])]
    return {
        "path": to_text(file.resolve()), "size": status.st_size, "modified_ns": status.st_mtime_ns,
        "content_hash": hashlib.sha256(content).hexdigest(), "picture_hash": pictures.to_text(sketch),
        "width": side, "height": side, "tags": tuple(dict.fromkeys(tags)),
    }  # fmt: skip
