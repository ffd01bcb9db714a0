"""What has changed in a folder of images since the catalog last saw it.

    new         a file that no row names: a row is added, pending
    changed     another size or time of change, and other bytes: pending again; its vector stays until it has a new one
    moved       a file that no row names, with the bytes of one that is gone: the row gets the new path
    removed     a row whose file is gone: the row is marked as deleted, its vector removed in the same transaction
    unreadable  what should have been an image and cannot be opened: a row that failed, with the reason

A file counts as unchanged while its size and its time of change are those of the row, so a second look at a folder
reads no file. Paths are kept as text (`paths.py`), absolute.

What cannot be looked at is not taken for gone. If the folder itself has vanished, or all of its images at once (a disk
that is not mounted looks like an empty folder), nothing is removed and an error says so; `forget_missing` is for those
who mean it.
"""

import datetime
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annlab.common.progress import Counted, uncounted
from annlab.durable import DurableIndex
from annlab.encoders.folders import find_images
from annlab.visual import folder_tags
from annlab.visual.catalog import Catalog, Image
from annlab.visual.paths import from_text, to_text
from annlab.visual.reading import UNOPENED
from annlab.visual.schema import FAILED, as_moment
from annlab.visual.withdrawing import is_withdrawn

Settled = Callable[[str, int, int], bool]

_AT_ONCE = 500  # rows in one transaction
_BLOCK = 2**20


@dataclass
class Discovered:
    """How many files were found in which state; `seen` is all of them."""

    seen: int = 0
    new: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    unreadable: int = 0
    waiting: int = 0

    def __str__(self) -> str:
        return (f"{self.seen} images: {self.new} new, {self.changed} changed, {self.moved} moved, "
                f"{self.removed} removed, {self.unreadable} that cannot be opened"
                + (f", {self.waiting} still being written" if self.waiting else ""))  # fmt: skip


def discover(catalog: Catalog, index: DurableIndex, folder: str | os.PathLike[str], *, forget_missing: bool = False,
             settled: Settled = lambda path, size, modified_ns: True,
             progress: Counted = uncounted) -> Discovered:  # fmt: skip
    """Bring the catalog's rows of a folder up to date with its files.

    Parameters
    ----------
    forget_missing : bool
        Whether images may be removed even if not one that is known is there any more.
    settled : function of path, size and time of change
        Whether a file that is new or has changed is whole; one that is not is left for the next look.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        There is no such folder.
    RuntimeError
        Not one of the images that the catalog knows there is left; nothing was changed.
    """
    root = Path(folder).resolve()
    if not root.exists():
        raise FileNotFoundError(f"there is no folder {root}")
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is a file, not a folder of images")
    progress("looking for images", 0, 0)
    found = find_images(root)
    known = {image.path: image for image in _rows_under(catalog, root)}
    files = {to_text(path): path for path in found.images}
    left_out = {to_text(root / item): reason for item, reason in found.left_out}
    gone = {path: image for path, image in known.items() if path not in files and path not in left_out}
    gone = {path: image for path, image in gone.items() if not _is_under_any(path, left_out)}
    if known and len(gone) == len(known) and not forget_missing:
        raise RuntimeError(f"none of the {len(known)} images that the catalog knows in {root} is there any more: is "
                           "the disk mounted? If they were removed on purpose, say --forget-missing")  # fmt: skip
    result = Discovered(seen=len(files) + len(left_out), unreadable=len(left_out))
    _take_in(catalog, root, files, known, gone, result, settled, progress)
    _note_unreadable(catalog, index, left_out, known)
    _remove(catalog, index, list(gone.values()))
    result.removed = len(gone)
    progress("looking for images", len(files), len(files))
    return result


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _take_in(catalog: Catalog, root: Path, files: dict[str, Path], known: dict[str | None, Image],
             gone: dict[str | None, Image], result: Discovered, settled: Settled,
             progress: Counted) -> None:  # fmt: skip
    """Rows for files that are new, changed or moved; those that moved are taken out of `gone`."""
    tagged = folder_tags.has_folder_tags(catalog)
    by_hash = {image.content_hash: image for image in gone.values() if image.content_hash}
    added: list[dict[str, Any]] = []
    now = catalog.now()
    for number, (text, path) in enumerate(files.items()):
        row = known.get(text)
        try:
            status = path.stat()
            facts: dict[str, Any] = {"size": status.st_size, "modified_ns": _stored(status.st_mtime_ns)}
            unchanged = row is not None and (row.size, row.modified_ns) == (facts["size"], facts["modified_ns"])
            if not unchanged and not settled(text, facts["size"], facts["modified_ns"]):
                result.waiting += 1
            elif row is None:
                digest = content_hash(path) if by_hash else None
                moved = by_hash.pop(digest, None) if digest else None
                if moved is not None:
                    more = _retagged(moved, root, path) if tagged else {}
                    catalog.change_image(moved.id, path=text, **facts, **more)
                    del gone[moved.path]
                    result.moved += 1
                else:
                    tags = folder_tags.tags_of(root, path) if tagged else ()
                    added.append({"path": text, "uploaded_at": _time_of(status, now), "tags": tags, **facts})
                    result.new += 1
            elif row.status == FAILED and (row.reason or "").startswith(UNOPENED) and os.access(path, os.R_OK):
                catalog.mark_pending([row.id])  # its disk was away, say
            elif not unchanged:
                same = row.content_hash is not None and content_hash(path) == row.content_hash
                with catalog.writing() as connection:
                    catalog.change_image(row.id, **facts, connection=connection)
                    if not same and not is_withdrawn(row):
                        catalog.mark_pending([row.id], connection=connection)
                        catalog.release_duplicates([row.id], connection=connection)
                        result.changed += 1
        except OSError:  # it went, or was closed to us, since the folder was read: for the next look
            result.unreadable += 1
        if len(added) >= _AT_ONCE:
            catalog.add_images(added)
            added = []
            progress("looking for images", number, len(files))
    if added:
        catalog.add_images(added)


def _retagged(image: Image, root: Path, path: Path) -> dict[str, Any]:
    """The tags of an image whose file has moved."""
    before = folder_tags.tags_of(root, Path(from_text(image.path or "")))
    return {"tags": folder_tags.moved(image.tags, before, folder_tags.tags_of(root, path))}


def _stored(nanoseconds: int) -> int:
    """A time as the catalog holds it: file systems know years that do not fit into 64 bits."""
    return max(-(2**63), min(nanoseconds, 2**63 - 1))


def _time_of(status: os.stat_result, now: datetime.datetime) -> datetime.datetime:
    """When a file was last changed, unless that cannot be; then now."""
    try:
        return min(as_moment(status.st_mtime), now)
    except (ValueError, OverflowError, OSError):
        return now


def _note_unreadable(catalog: Catalog, index: DurableIndex, left_out: dict[str, str],
                     known: dict[str | None, Image]) -> None:  # fmt: skip
    """Rows with the reason for what cannot be opened; a vector that such an image has had is removed."""
    rows = [{"path": path, "status": FAILED, "reason": reason} for path, reason in left_out.items()
            if path not in known]  # fmt: skip
    for start in range(0, len(rows), _AT_ONCE):
        catalog.add_images(rows[start : start + _AT_ONCE])
    for path, reason in left_out.items():
        row = known.get(path)
        if row is not None and (row.status, row.reason) != (FAILED, reason):
            with catalog.transaction(index) as writes:
                catalog.mark_failed(row.id, reason, connection=writes.connection)
                catalog.release_duplicates([row.id], connection=writes.connection)
                writes.remove([row.id], missing="ignore")


def _remove(catalog: Catalog, index: DurableIndex, gone: list[Image]) -> None:
    """Mark rows as deleted and remove their vectors, each part in one transaction."""
    for start in range(0, len(gone), _AT_ONCE):
        ids = [image.id for image in gone[start : start + _AT_ONCE]]
        with catalog.transaction(index) as writes:
            catalog.mark_deleted(ids, connection=writes.connection)
            writes.remove(ids, missing="ignore")


def _rows_under(catalog: Catalog, root: Path) -> list[Image]:
    beginning = to_text(root).rstrip("/") + "/"
    return [image for image in catalog.find(kind="image") if (image.path or "").startswith(beginning)]


def _is_under_any(path: str | None, folders: dict[str, str]) -> bool:
    """Whether a path lies in a folder that could not be read."""
    return path is not None and any(to_text(parent) in folders for parent in Path(from_text(path)).parents)
