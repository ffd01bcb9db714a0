"""The files that indexes are written to: one an index at a time, named after the operation that it holds.

    photos-0000000000000042.annlab    the index after operation 42, as `Index.save` writes it

A file counts only once the log names it, with its SHA-256. Whatever else is there under the same name was left by a
process that was killed before that, or after the next one counted, and is removed at the next start.
"""

import hashlib
import json
from pathlib import Path

from annlab import kinds
from annlab.durable.errors import CorruptLogError, StorageError
from annlab.durable.log import Head
from annlab.index import Index

_CHUNK = 8 * 2**20


def write(index: Index, folder: Path, name: str, seq: int) -> tuple[str, str]:
    """Write the snapshot of an index after operation `seq`; its file name and SHA-256."""
    path = folder / f"{name}-{seq:016d}.annlab"
    try:
        index.save(path)
        return path.name, _hash(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written ({error.strerror or error}): the old snapshot and the log are "
                           "as they were; make room and repeat") from error  # fmt: skip


def load(folder: Path, head: Head, where: str) -> Index:
    """The index that the log names, from its snapshot or, if there is none yet, empty."""
    if head.snapshot_file is None:
        return empty(head, where)
    path = folder / head.snapshot_file
    try:
        found = _hash(path)
    except OSError as error:
        raise CorruptLogError(
            f"{where}: its snapshot {path} cannot be read ({error.strerror}): put the file back"
        ) from None
    if found != head.snapshot_sha256:
        raise CorruptLogError(f"{where}: its snapshot {path} is not the file that was written: it is damaged, "
                              "truncated or another one; restore a copy")  # fmt: skip
    return kinds.load(path, verify=False)  # every byte is what was written


def empty(head: Head, where: str) -> Index:
    """An index without content, of the kind and with the parameters that the log names."""
    if head.kind not in Index.kinds:
        raise CorruptLogError(
            f"{where}: it is of the unknown kind {head.kind!r}: import the module that defines it first"
        )
    return Index.kinds[head.kind](**json.loads(head.parameters))


def others(folder: Path, name: str, current: str | None) -> list[Path]:
    """Files of this index that do not count: of snapshots before or after, and unfinished ones."""
    found = [*folder.glob(f"{name}-*.annlab"), *folder.glob(f".{name}-*.annlab.*.tmp")]
    digits = 16
    own = [p for p in found if p.name.lstrip(".").removeprefix(f"{name}-")[:digits].isdigit()]
    return [path for path in own if path.name != current]


def remove_others(folder: Path, name: str, current: str | None) -> None:
    """Delete these; one that cannot be deleted is left for the next time."""
    for path in others(folder, name, current):
        try:
            path.unlink(missing_ok=True)
        except OSError:  # on some systems, while somebody has it mapped
            continue


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
