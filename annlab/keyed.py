"""String keys and metadata over any index: what one looks up by name in place of by number.

    key   "img/42.png" --> id 7 --> vector, attributes      the index inside, with ids of this class's own
    id 7  --> "img/42.png", {"width": 640, ...}             for results

The keys and the metadata (any JSON value) travel as two attributes of the index inside, named ``key:`` and
``metadata:``. So they are in the same file, a filter on other attributes works as always, and nothing can get out of
step. In memory, two dictionaries lead from keys to ids and back: about 200 bytes a key.

A search by others meanwhile sees all of a write or nothing of it, as in the index inside: ids are never used twice, so
what a search has found is looked up by id, and where it was removed in that moment the search is repeated.
"""

from __future__ import annotations

import copy
import json
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np

from annlab import kinds
from annlab.common import validation
from annlab.core.storage import CorruptIndexError
from annlab.index import Index

KEY, METADATA = "key:", "metadata:"

_LARGEST_NUMBER = 2**62  # of a vector; new ones are numbered onwards, in int64


class KeyedNeighbors(NamedTuple):
    """What a search of a `KeyedIndex` returns.

    Attributes
    ----------
    distances : array of shape (q, k), or (k,) for one query
        Nearest first; inf pads.
    keys : object array of the same shape
        Strings; None pads.
    """

    distances: np.ndarray
    keys: np.ndarray


class KeyedIndex:
    """Any index, with strings as keys and a JSON value for each.

    Parameters
    ----------
    index : Index
        An empty one; it is this class's own from then on.

    Raises
    ------
    TypeError
        `index` is no index of annlab.
    ValueError
        It holds vectors that have no keys, or keys or metadata that this class did not write.

    Examples
    --------
    >>> import annlab, numpy as np
    >>> index = KeyedIndex(annlab.ExactIndex(metric="l2"))
    >>> index.fit(["a", "b"], np.eye(2), metadata=[{"colour": "red"}, None]).search([0.9, 0.1], k=1).keys.tolist()
    ['a']
    >>> index.metadata(["a"])
    [{'colour': 'red'}]
    """

    def __init__(self, index: Index) -> None:
        if not isinstance(index, Index):
            raise TypeError(f"a KeyedIndex is made over an index of annlab, not over {type(index).__name__}")
        self._index = index
        self._lock = threading.RLock()  # of writers
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._next = 0
        if len(index):
            self._read_keys()

    def _read_keys(self) -> None:
        """The dictionaries of an index that has keys already."""
        columns = self._index.attributes()
        if KEY not in columns or METADATA not in columns:
            raise ValueError(f"this {type(self._index).__name__} holds {len(self._index)} vectors without keys: give "
                             "an empty one, and the vectors with their keys to fit or add")  # fmt: skip
        numbers, keys = self._index.ids.tolist(), columns[KEY].tolist()
        if not all(isinstance(key, str) for key in keys):
            raise ValueError(
                f"the vector of id {numbers[[isinstance(key, str) for key in keys].index(False)]} has no key"
            )
        self._ids, self._names = dict(zip(keys, numbers, strict=True)), dict(zip(numbers, keys, strict=True))
        if len(self._ids) < len(keys):
            raise ValueError(f"{len(keys)} vectors have {len(self._ids)} different keys")
        self._next = max(numbers) + 1
        if self._next > _LARGEST_NUMBER:
            raise ValueError(f"vectors are numbered up to {self._next - 1}; new keys could not be numbered from there")
        for key, text in zip(keys, columns[METADATA].tolist(), strict=True):
            if text and not _is_json(text):
                raise ValueError(f"the metadata of {key!r} is no JSON text: {text!r:.60}")

    # ---- writing

    def fit(self, keys: Sequence[str], vectors: Any, *, metadata: Sequence[Any] | None = None,
            attributes: Mapping[str, Any] | None = None, **options: Any) -> Self:  # fmt: skip
        """Learn what must be learned from vectors (n, dim), and hold these, in place of whatever was there.

        Parameters
        ----------
        keys : sequence of n distinct, non-empty strings
        vectors : array of shape (n, dim)
        metadata : sequence of n JSON values, optional
        attributes : mapping of names to arrays of n values
            For conditions (`where=`), as in `Index.fit`.
        **options
            Such as `threads`: as in `Index.fit`.

        Raises
        ------
        ValueError, TypeError
            A key is there twice or is no string, or anything else is unusable; nothing is changed then.
        """
        names = _as_keys(keys)
        with self._lock:
            numbers = np.arange(self._next, self._next + len(names))
            self._index.fit(vectors, numbers, attributes=_columns(names, metadata, attributes), **options)
            self._next += len(names)
            self._ids = dict(zip(names, numbers.tolist(), strict=True))
            self._names = dict(zip(numbers.tolist(), names, strict=True))
        return self

    def add(self, keys: Sequence[str], vectors: Any, *, metadata: Sequence[Any] | None = None,
            attributes: Mapping[str, Any] | None = None, on_duplicate: str = "raise") -> None:  # fmt: skip
        """Add vectors under new keys; `on_duplicate="replace"` exchanges those that are there, metadata included.

        Raises
        ------
        ValueError, TypeError
            A key is there already (it is named), or anything else is unusable; nothing is added then.
        """
        validation.as_choice("on_duplicate", on_duplicate, ("raise", "replace"))
        names = _as_keys(keys)
        with self._lock:
            known = [name for name in names if name in self._ids]
            if known and on_duplicate == "raise":
                raise ValueError(f"the key {known[0]!r} is in the index already ({len(known)} of {len(names)} are): "
                                 'pass on_duplicate="replace", or use update')  # fmt: skip
            fresh = iter(range(self._next, self._next + len(names)))
            numbers = [self._ids[name] if name in self._ids else next(fresh) for name in names]
            new = {number: name for number, name in zip(numbers, names, strict=True) if number not in self._names}
            self._names.update(new)  # first: a search may find them at once
            try:
                columns = _columns(names, metadata, attributes)
                self._index.add(vectors, numbers, attributes=columns, on_duplicate=on_duplicate)
            except BaseException:
                for number in new:
                    del self._names[number]
                raise
            self._ids.update(zip(names, numbers, strict=True))
            self._next = next(fresh, self._next + len(names))

    def update(self, keys: Sequence[str], vectors: Any, *, metadata: Sequence[Any] | None = None) -> None:
        """Give keys that are there other vectors; metadata stays if none is given. KeyError for a key that is not."""
        names = _as_keys(keys)
        with self._lock:
            numbers = self._numbers(names)
            columns = None
            if metadata is not None:
                columns = {**self._index.attributes(numbers), **_columns(names, metadata, None)}
            self._index.update(numbers, vectors, attributes=columns)

    def remove(self, keys: Iterable[str], missing: str = "raise") -> int:
        """Remove vectors by key, and return how many there were; `missing="ignore"` leaves out what is not there."""
        validation.as_choice("missing", missing, ("raise", "ignore"))
        with self._lock:
            names = dict.fromkeys([keys] if isinstance(keys, str) else keys)
            present = [name for name in names if name in self._ids] if missing == "ignore" else list(names)
            numbers = self._numbers(present)
            self._index.remove(numbers)
            for name, number in zip(present, numbers.tolist(), strict=True):
                del self._ids[name], self._names[number]
        return len(present)

    # ---- reading

    def search(self, queries: Any, k: int = 10, *, allowed: Any = None, excluded: Any = None,
               **options: Any) -> KeyedNeighbors:  # fmt: skip
        """The k nearest of queries (q, dim) or (dim,).

        Parameters
        ----------
        queries, k
            As in `Index.search`.
        allowed, excluded : keys, optional
            Search among these only, or among all others. A key that is not there is nowhere.
        **options
            `where=`, `threads=`, `stats=` and the index's own parameters, as in `Index.search`.
        """
        for name, keys in (("allowed", allowed), ("excluded", excluded)):
            if keys is not None:
                options[name] = [self._ids[key] for key in _as_keys(keys) if key in self._ids]
        while True:
            distances, ids = self._index.search(queries, k, **options)
            names = self._names
            keys = [names.get(id) if id >= 0 else "" for id in ids.ravel().tolist()]
            if None not in keys:
                break  # else one of them was removed just now, and is not found any more
        found = np.empty(ids.shape, object)
        found.ravel()[:] = [key or None for key in keys]
        return KeyedNeighbors(distances, found)

    def vectors(self, keys: Sequence[str]) -> np.ndarray:
        """The vectors (n, dim) of some keys; KeyError for one that is not there."""
        return self._index.vectors(self._numbers(_as_keys(keys)))

    def metadata(self, keys: Sequence[str]) -> list[Any]:
        """The metadata of some keys, None where there is none; KeyError for a key that is not there."""
        texts = self._index.attributes(self._numbers(_as_keys(keys)))[METADATA].tolist()
        return [json.loads(text) if text else None for text in texts]

    @property
    def keys(self) -> list[str]:
        """All keys, in the order in which they came."""
        return list(self._ids)

    @property
    def index(self) -> Index:
        """The index inside: for its statistics and memory. Write to this class only."""
        return self._index

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, key: object) -> bool:
        return key in self._ids

    def __repr__(self) -> str:
        return f"KeyedIndex({self._index!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are made by the index inside, which has all that there is."""
        with self._lock:
            return _with_keys, (type(self), copy.copy(self._index))

    # ---- files

    def save(self, path: str | os.PathLike[str] | BinaryIO) -> None:
        """Write the index with keys and metadata to one file, as `Index.save` does."""
        with self._lock:
            self._index.save(path)

    @classmethod
    def load(cls, path: Any, *, mmap: bool = False) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        CorruptIndexError
            The file is damaged, or was written by an index without keys; the message says which.
        """
        index = kinds.load(path, mmap=mmap)
        try:
            return cls(index)
        except ValueError as error:
            raise CorruptIndexError(f"{path} is no index with keys: {error}") from None

    def _numbers(self, names: Iterable[str]) -> np.ndarray:
        """The ids of keys; KeyError for the first that is not there."""
        try:
            return np.array([self._ids[name] for name in names], np.int64)
        except KeyError as error:
            raise KeyError(f"the key {error.args[0]!r} is not in the index") from None


def _with_keys(cls: type[KeyedIndex], index: Index) -> KeyedIndex:
    """The KeyedIndex over an index that has keys already, or is empty."""
    return cls(index)


def _as_keys(keys: Any) -> list[str]:
    """Distinct, non-empty strings."""
    names = [keys] if isinstance(keys, str) else list(keys)
    for place, name in enumerate(names):
        if not isinstance(name, str):
            raise TypeError(f"keys must be strings, but key {place} is {name!r}: pass str(...) of it")
        if not name:
            raise ValueError(f"key {place} is an empty string")
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} is given twice")
    return [str(name) for name in names]


def _columns(names: list[str], metadata: Sequence[Any] | None, attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Attributes, with keys and metadata among them."""
    columns = dict(attributes or {})
    for own in (KEY, METADATA):
        if own in columns:
            raise ValueError(f"an attribute cannot be called {own!r}: that is where keys and metadata are")
    if metadata is not None and len(metadata) != len(names):
        raise ValueError(f"{len(names)} keys, but metadata of {len(metadata)}")
    values = [None] * len(names) if metadata is None else metadata
    columns[KEY] = names
    columns[METADATA] = ["" if value is None else _as_text(name, value)
                         for name, value in zip(names, values, strict=True)]  # fmt: skip
    return columns


def _as_text(name: str, value: Any) -> str:
    try:
        _check_names(value)
        return json.dumps(value, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"the metadata of {name!r} is no JSON value: {error}") from None


def _is_json(text: Any) -> bool:
    try:
        json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _check_names(value: Any) -> None:
    """Raise a TypeError for an object with a name that is no string, which would become one."""
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
        _check_names(part)
    if isinstance(value, dict) and not all(isinstance(name, str) for name in value):
        wrong = next(name for name in value if not isinstance(name, str))
        raise TypeError(f"the name {wrong!r} is no string: pass {str(wrong)!r}")
