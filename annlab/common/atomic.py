"""A file that is there whole or not at all: written beside its final place, synced, and renamed over it.

Whoever has the old file open or mapped keeps it. A link is followed, so that it goes on pointing to the file; an
existing file keeps its mode (and its owner, where that is permitted), a new one gets what the umask leaves. Devices,
pipes and folders are refused by name.

A process that is killed while it writes leaves its unfinished file behind. The next one that writes into the folder
removes it. What it may remove it knows by three signs: the name, the first bytes, and that nobody holds the lock on the
file, which a living writer does and which the system takes from a dead one. Where there are no such locks, nothing
is removed.
"""

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

fcntl: Any
try:
    import fcntl
except ImportError:  # not on this system
    fcntl = None

_UNFINISHED = re.compile(r"\.annlab-[0-9a-f]{16}\.tmp")  # short, whatever the length of the final name
_NEW_FILE = 0o666  # less the umask
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_place(path: str | os.PathLike[str]) -> tuple[Path, os.stat_result | None]:
    """The file that writing to `path` makes or replaces, links followed, and its present status, if it is there.

    Raises
    ------
    OSError
        If it is there and no ordinary file, or its folder is not there; IsADirectoryError and FileNotFoundError are
        OSErrors.
    """
    name = os.fsdecode(path)
    if not name:
        raise FileNotFoundError("the path is empty: name a file")
    if name.endswith((os.sep, os.altsep or os.sep)):
        raise IsADirectoryError(f"{name} names a folder; an index is one ordinary file")
    target = Path(os.path.realpath(path))
    try:
        status = os.stat(path)
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise FileNotFoundError(f"{path} cannot be written: there is no folder {target.parent}") from None
        return target, None
    refuse_other_kinds(path, status)
    return target, status


def refuse_other_kinds(path: str | os.PathLike[str], status: os.stat_result) -> None:
    """Raise an OSError, of the class that fits, unless a status is that of an ordinary file."""
    for is_kind, name in _KINDS:
        if is_kind(status.st_mode):
            error = IsADirectoryError if is_kind is stat.S_ISDIR else OSError
            raise error(f"{path} is {name}; an index is one ordinary file")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], beginning: bytes) -> Iterator[BinaryIO]:
    """A file to write to, which takes its place when the block ends, and vanishes if that raises.

    `beginning` is what files of this kind begin with: unfinished files in the folder that do not are left alone.
    """
    target, status = check_place(path)
    _remove_unfinished(target.parent, beginning)
    file = _made_in(target.parent, _NEW_FILE if status is None else stat.S_IMODE(status.st_mode))
    try:
        with file:
            if status is not None:
                _make_alike(file.name, status)
            yield file
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()
            os.replace(file.name, target)  # while the lock is held
    except BaseException:
        Path(file.name).unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _made_in(folder: Path, mode: int) -> BinaryIO:
    """A new file that this process has locked; another one may have removed it before the lock was there."""
    while True:
        path = folder / f".annlab-{secrets.token_hex(8)}.tmp"
        file = open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode))
        if _locked(file.fileno(), wait=True) is None or _is_at(file.fileno(), path):
            return file
        file.close()


def _locked(handle: int, wait: bool) -> bool | None:
    """Whether this process got the lock on a file; None where files have none."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except OSError:
        return False


def _make_alike(path: Any, status: os.stat_result) -> None:
    """The owner, as far as that is permitted, and then the mode of the file that is to be replaced."""
    if hasattr(os, "chown") and (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        for owner in ((status.st_uid, -1), (-1, status.st_gid)):
            with contextlib.suppress(OSError):
                os.chown(path, *owner)
    os.chmod(path, stat.S_IMODE(status.st_mode))


def _remove_unfinished(folder: Path, beginning: bytes) -> None:
    """Remove what killed processes left; whatever fails here must not keep anybody from writing."""
    with contextlib.suppress(OSError):
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _UNFINISHED.fullmatch(entry.name)]
        for name in names:
            with contextlib.suppress(OSError):
                _remove_if_abandoned(folder / name, beginning)


def _remove_if_abandoned(path: Path, beginning: bytes) -> None:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return
        begins = os.read(handle, len(beginning))
        abandoned = beginning.startswith(begins) and _locked(handle, wait=False)
        if abandoned and _is_at(handle, path):
            os.unlink(path)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
