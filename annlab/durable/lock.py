"""One writer: a file that the operating system locks for the process that opened it.

The system lets go of the lock when the process ends, however it ends; so a kill leaves nothing to clean up. The number
of the process stands in the file for the message that the second one gets. The file stays: deleting it would let two
processes lock two files of one name.
"""

import os
import weakref
from pathlib import Path
from typing import IO, Any

from annlab.durable.errors import InUseError, StorageError


class FolderLock:
    """Held from its making to `release`.

    Raises
    ------
    InUseError
        Another process, or another object of this one, holds it.
    StorageError
        The file cannot be made or locked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None
        try:
            file = open(path, "a+b")
        except OSError as error:
            raise StorageError(
                f"{path} cannot be written ({error.strerror}): is the folder or the disk read-only?"
            ) from error
        try:
            _lock(file)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(32).decode("ascii", "replace").strip()
            file.close()
            own = holder == str(os.getpid())
            whom = "this process, by another object" if own else f"process {holder or '(unknown)'}"
            raise InUseError(f"{path.with_suffix('')} is in use by {whom}: one at a time may write there; "
                             "close that one first") from None  # fmt: skip
        except OSError as error:
            file.close()
            raise StorageError(f"{path} cannot be locked ({error.strerror}): use a folder of a local disk") from error
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        self._file = file
        _held.add(self)

    def release(self) -> None:
        """Let others in. Releasing twice is no error."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _lock(file: IO[bytes]) -> None:
    """Lock a file for this object alone; BlockingIOError if another one has it."""
    if os.name == "nt":
        import msvcrt

        system: Any = msvcrt  # elsewhere it is empty
        file.seek(2**20)  # a byte far behind the text, for Windows lets nobody read what is locked
        try:
            system.locking(file.fileno(), system.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError from error
    else:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


_held: "weakref.WeakSet[FolderLock]" = weakref.WeakSet()


def _close_in_child() -> None:
    """A forked child must not keep the lock of a parent that ends. Closing its copy does not unlock the parent's."""
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
