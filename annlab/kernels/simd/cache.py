"""The cache of compiled kernels on disk: Numba's, which a damaged file or a full disk must not turn against its user.

Numba reads what it finds, and an error there would end the first search of every process; machine code with a wrong
byte would do worse. So every file ends with the SHA-256 of what it holds, and names the signature that it was compiled
for. Whatever goes wrong, the kernel is compiled as if there were no cache, the index of the file is emptied so that the
next process finds a sound one, and one warning says so.
"""

import contextlib
import hashlib
import warnings
from collections.abc import Callable
from typing import Any

from numba.core.caching import FunctionCache, IndexDataCacheFile

_DIGEST_BYTES = 32
_said: set[str] = set()


class _CheckedFile(IndexDataCacheFile):  # type: ignore[misc]
    """Numba's files, with a hash behind what is in them; it reads no further than to the end of that."""

    def _dump(self, obj: Any) -> bytes:
        data = super()._dump(obj)
        return bytes(data + hashlib.sha256(data).digest())

    def _load_data(self, name: str) -> Any:
        with open(self._data_path(name), "rb") as file:
            data = file.read()
        if hashlib.sha256(data[:-_DIGEST_BYTES]).digest() != data[-_DIGEST_BYTES:]:
            raise ValueError(f"{name} is damaged")
        return super()._load_data(name)

    def _load_index(self) -> Any:
        try:
            return super()._load_index()
        except (AttributeError, ImportError):  # other sources wrote it, with types that these no longer have
            return {}

    def save(self, key: Any, data: Any) -> None:
        super().save(key, (key, data))

    def load(self, key: Any) -> Any:
        found = super().load(key)
        if found is None:
            return None
        if found[0] != key:
            raise ValueError("its index names the file of another signature")
        return found[1]


class KernelCache(FunctionCache):  # type: ignore[misc]
    """The cache of one kernel. Raises a RuntimeError or OSError where there is no place for it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        locator = self._impl.locator
        self._cache_file = _CheckedFile(self._cache_path, self._impl.filename_base, locator.get_source_stamp())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # anything may come out of a damaged file
            say_once("damaged", f"the cache of compiled kernels in {self._cache_path} is damaged", error)
            with contextlib.suppress(Exception):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:
            say_once("full", f"compiled kernels cannot be kept in {self._cache_path}", error)


def cache_of(function: Callable[..., Any]) -> KernelCache | None:
    """The cache of a kernel, or None where no folder can be written: it is compiled in every process then."""
    try:
        return KernelCache(function)
    except (RuntimeError, OSError) as error:
        say_once("nowhere", "there is no place for a cache of compiled kernels", error)
        return None


def say_once(kind: str, what: str, error: Exception) -> None:
    """Warn about one kind of trouble, once in a process."""
    if kind not in _said:
        _said.add(kind)
        warnings.warn(
            f"{what} ({type(error).__name__}: {error}): kernels are compiled anew, which takes a minute or more. "
            "Make room, delete that folder, or name another one in NUMBA_CACHE_DIR",
            RuntimeWarning,
            stacklevel=2,
        )
