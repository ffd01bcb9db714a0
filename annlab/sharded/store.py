"""Where nodes meet: a folder, or an object store, by three calls. What is put once never changes.

    put_if_absent(key, content)   whether it is there now because of this call
    get(key)                      its content, or None
    list(prefix)                  the keys that begin so, in order

Files of indexes are named after their SHA-256 (`put_content`), and read only if they still are what their name says.
"""

import contextlib
import hashlib
import os
import secrets
from pathlib import Path
from typing import Protocol

from annlab.core.storage import CorruptIndexError
from annlab.durable.errors import StorageError


class Store(Protocol):
    """See the head of the file."""

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Put what is not there; whole or not at all."""

    def get(self, key: str) -> bytes | None:
        """What was put."""

    def list(self, prefix: str) -> list[str]:
        """Keys in order."""


class MemoryStore:
    """A store for one process."""

    def __init__(self) -> None:
        self._content: dict[str, bytes] = {}

    def put_if_absent(self, key: str, content: bytes) -> bool:
        return self._content.setdefault(key, content) is content

    def get(self, key: str) -> bytes | None:
        return self._content.get(key)

    def list(self, prefix: str) -> list[str]:
        return sorted(key for key in self._content if key.startswith(prefix))


class FolderStore:
    """A folder that all machines see. A key is the name of a file; it is linked into place when it is whole."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be made a folder ({error.strerror}): name another place") from error

    def put_if_absent(self, key: str, content: bytes) -> bool:
        temporary = self.path / f".{key}.{secrets.token_hex(8)}.tmp"
        try:
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, self.path / key)  # fails where a rename would replace
            except FileExistsError:
                return False
            with contextlib.suppress(OSError):  # some systems have no folders to be synced
                handle = os.open(self.path, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
            return True
        except OSError as error:
            raise StorageError(f"{self.path / key} cannot be written ({error.strerror}): make room, or name another "
                               "folder") from error  # fmt: skip
        finally:
            temporary.unlink(missing_ok=True)

    def get(self, key: str) -> bytes | None:
        try:
            return (self.path / key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self.path / key} cannot be read ({error.strerror})") from error

    def list(self, prefix: str) -> list[str]:
        return sorted(path.name for path in self.path.iterdir() if path.name.startswith(prefix))


def put_content(store: Store, content: bytes, kind: str = "index") -> str:
    """Put a file under the name that follows from its content; the key."""
    key = _key(content, kind)
    store.put_if_absent(key, content)
    return key


def get_content(store: Store, key: str) -> bytes:
    """A file by its key; a CorruptIndexError if it is not there, or not what was put."""
    content = store.get(key)
    if content is None:
        raise CorruptIndexError(f"{key} is not in the store: bring the file back")
    if key != _key(content, key.partition("-")[0]):
        raise CorruptIndexError(f"{key} is not the file that was put there: it is damaged, truncated or another one; "
                                "restore a copy")  # fmt: skip
    return content


def _key(content: bytes, kind: str) -> str:
    return f"{kind}-{hashlib.sha256(content).hexdigest()}.annlab"
