"""One index, one file: a manifest in JSON and raw arrays that can be memory-mapped. No pickle.

    0    magic, 8 bytes           \\x93ANNLAB\\n
    8    format version           uint32, little-endian like all that follows
    12   zero                     uint32
    16   length of the manifest   uint64
    24   SHA-256 of the manifest  32 bytes
    64   manifest                 JSON, UTF-8
    ...  arrays                   raw, each at a multiple of 64 bytes

The manifest says of every array its dtype, shape, offset and SHA-256, and whether it is *bulk*: vectors and codes, in
which a wrong value may give a wrong answer but cannot lead a kernel out of its memory. A full load verifies
everything; a mapped load verifies the manifest, the sizes and all other arrays, and bulk only when asked to.

`docs/format.md` lists the arrays of every kind of index. How a file comes to be there whole or not at all,
`common/atomic.py` says.
"""

import contextlib
import hashlib
import io
import json
import os
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from annlab.common import atomic
from annlab.kernels.simd.memory import aligned

MAGIC = b"\x93ANNLAB\n"
FORMAT_VERSION = 1
_HEADER = struct.Struct("<8sIIQ32s8x")
_ALIGNMENT = 64
_DTYPES = frozenset("float32 float64 int8 uint8 int16 uint16 int32 uint32 int64 uint64 bool".split())
_LARGEST_MANIFEST = 64 * 2**20
_CHUNK = 8 * 2**20
_MISTAKEN_FOR = {
    b"version https://git-lfs": "a git-lfs pointer: fetch the real file with `git lfs pull`",
    b"\x93NUMPY": "a NumPy array: read it with np.load and build an index with fit()",
    b"PK\x03\x04": "a zip or npz archive",
    b"\x89HDF": "an HDF5 file: read it with annlab.datasets",
    b"\x80\x04\x95": "a pickle, which annlab never reads",
    b"IxF": "a faiss index",
}


Place = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""Where an index lies: a path, bytes, or an open binary file."""


class CorruptIndexError(ValueError):
    """A file is damaged, incomplete, or no annlab index; the message says what is wrong with it."""


def write(path: str | os.PathLike[str] | BinaryIO, manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray],
          bulk: Collection[str]) -> None:  # fmt: skip
    """Write an index file, durably and atomically (see `common/atomic.py`), or into a file that is open.

    An OSError where there can be no file.
    """
    contents = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    contents = {name: a.astype(a.dtype.newbyteorder("<"), copy=False) for name, a in contents.items()}
    entries = {
        name: {
            "dtype": array.dtype.name,
            "shape": list(array.shape),
            "offset": 0,
            "sha256": _hash(array),
            "bulk": name in bulk,
        }
        for name, array in contents.items()
    }
    offset = 0
    for name, array in contents.items():  # offsets count from the first array, so they do not depend on the manifest
        entries[name]["offset"] = offset
        offset += _aligned(array.nbytes)
    text = json.dumps({**manifest, "arrays": entries}, allow_nan=False).encode()
    header = _HEADER.pack(MAGIC, FORMAT_VERSION, 0, len(text), hashlib.sha256(text).digest())
    with _written(path) as file:
        _write_padded(file, header + text)
        for array in contents.values():
            _write_padded(file, _bytes_of(array).data)


@contextlib.contextmanager
def _written(path: str | os.PathLike[str] | BinaryIO) -> Iterator[BinaryIO]:
    """The file to write into."""
    if isinstance(path, (str, os.PathLike)):
        with atomic.replacing(path, MAGIC) as file:
            yield file
    elif not hasattr(path, "write") or hasattr(path, "encoding"):  # text files have one
        raise TypeError(f"an index is written to a path or a file that is open in binary mode, not to {path!r}; "
                        "index.to_bytes() gives bytes")  # fmt: skip
    else:
        yield path


def whole(place: Place) -> Place:
    """What can be read more than once: the rest of an open file as bytes, anything else as it is."""
    if isinstance(place, (str, os.PathLike, bytes, bytearray, memoryview)):
        return place
    if not hasattr(place, "read"):
        raise TypeError(f"an index is read from a path, bytes or an open file, not from {place!r}")
    content = place.read()
    if not isinstance(content, bytes):
        raise TypeError(f"{place!r} gives {type(content).__name__}, not bytes: open it in binary mode")
    return content


def in_words(place: Place) -> str | Path:
    """What messages call it."""
    if isinstance(place, (str, os.PathLike)):
        return Path(place)
    return f"the file in {len(place)} bytes" if isinstance(place, (bytes, bytearray, memoryview)) else repr(place)


def read(place: Place, mmap: bool, verify: bool | None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read an index file: its manifest and its arrays, which are private copies or copy-on-write maps.

    `verify` None verifies everything when reading, and all but bulk when mapping.
    """
    place, source = whole(place), in_words(place)
    if mmap and not isinstance(place, (str, os.PathLike)):
        raise ValueError("mmap=True needs the path of a file; what was given is in memory already")
    with _opened(place) as (file, size):  # opened once: whoever replaces the file meanwhile does not disturb
        manifest, start = _read_manifest(file, size, source)
        entries = _check_entries(manifest.pop("arrays", None), size - start, source)
        mapped = np.asarray(np.memmap(file, np.uint8, mode="c")) if mmap else None
        arrays: dict[str, np.ndarray] = {}
        for name, entry in entries.items():
            check = bool(verify) or (verify is None and not (entry.bulk and mmap))
            if mapped is not None:
                raw = mapped[start + entry.offset : start + entry.offset + entry.n_bytes]
                digest = _hash(raw) if check else entry.sha256
            else:
                raw = aligned((entry.n_bytes,), np.uint8)  # as in a mapped file
                file.seek(start + entry.offset)
                digest = _read_into(file, raw, check, source)
            if check and digest != entry.sha256:
                raise CorruptIndexError(f"{source}: the content of array {name!r} does not match its SHA-256")
            if check and entry.dtype == np.bool_ and raw.max(initial=0) > 1:
                raise CorruptIndexError(f"{source}: array {name!r} holds {raw.max()}, which is neither true nor false")
            arrays[name] = raw.view(entry.dtype).reshape(entry.shape)
    return manifest, arrays


def read_manifest(place: Place) -> dict[str, Any]:
    """The manifest of an index file alone; of an open file, `whole` gives what can be read again."""
    with _opened(place) as (file, size):
        return _read_manifest(file, size, in_words(place))[0]


@contextlib.contextmanager
def _opened(place: Place) -> Iterator[tuple[BinaryIO, int]]:
    """An ordinary file and its size. What is none is refused before it is opened: a pipe would wait for a writer."""
    if not isinstance(place, (str, os.PathLike)):
        content = whole(place)
        yield io.BytesIO(content), len(content)  # type: ignore[arg-type]
        return
    atomic.refuse_other_kinds(Path(place), os.stat(place))
    with open(place, "rb") as file:
        yield file, os.fstat(file.fileno()).st_size


def _read_into(file: BinaryIO, raw: np.ndarray, check: bool, source: str | Path) -> str:
    """Fill an array of bytes from a file, by chunks, and return the hash of what was read, if it is to be checked."""
    digest = hashlib.sha256()
    for start in range(0, len(raw), _CHUNK):
        some = raw[start : start + _CHUNK].data
        if file.readinto(some) != len(some):  # type: ignore[attr-defined]
            raise CorruptIndexError(f"{source} became shorter while it was read")
        if check:
            digest.update(some)
    return digest.hexdigest()


def _read_manifest(file: BinaryIO, size: int, source: str | Path) -> tuple[dict[str, Any], int]:
    head = file.read(_HEADER.size)
    if head[: len(MAGIC)] != MAGIC:
        for beginning, what in _MISTAKEN_FOR.items():
            if head.startswith(beginning):
                raise CorruptIndexError(f"{source} is not an annlab index but {what}")
        raise CorruptIndexError(f"{source} is not an annlab index: it begins with {head[:8]!r} ({size} bytes in all)")
    if len(head) < _HEADER.size:
        raise CorruptIndexError(f"{source} ends within its header: {len(head)} of {_HEADER.size} bytes")
    _, version, zero, length, digest = _HEADER.unpack(head)
    if version != FORMAT_VERSION:
        newer = "; a newer annlab wrote it" if version > FORMAT_VERSION else ""
        raise CorruptIndexError(f"{source} has format version {version}, this annlab reads {FORMAT_VERSION}{newer}")
    if zero or any(head[56:]):
        raise CorruptIndexError(f"{source} has a damaged header")
    if length > min(size - _HEADER.size, _LARGEST_MANIFEST):
        raise CorruptIndexError(f"{source} has {size} bytes, too few for its manifest of {length}: it was truncated")
    text = file.read(length)
    if hashlib.sha256(text).digest() != digest:
        raise CorruptIndexError(f"{source}: the manifest does not match its SHA-256")
    try:
        manifest = json.loads(text, object_pairs_hook=_no_key_twice, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise CorruptIndexError(f"{source}: the manifest is no JSON of ours ({error})") from None
    if not isinstance(manifest, dict):
        raise CorruptIndexError(f"{source}: the manifest is no JSON object")
    return manifest, _aligned(_HEADER.size + length)


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, in which a key that is given twice would silently hide a value."""
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return result


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


class _Entry(NamedTuple):
    """What the manifest says of an array, checked."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    n_bytes: int
    sha256: str
    bulk: bool


def _check_entries(entries: Any, size: int, source: str | Path) -> dict[str, _Entry]:
    """The manifest's description of the arrays, every number of it checked against the size of the file."""
    if not isinstance(entries, dict):
        raise CorruptIndexError(f"{source}: the manifest lists no arrays")
    checked = {}
    for name, entry in entries.items():
        try:
            dtype_name, shape, offset = entry["dtype"], entry["shape"], entry["offset"]
            digest, bulk = entry["sha256"], entry["bulk"]
        except (KeyError, TypeError):
            raise CorruptIndexError(f"{source}: array {name!r} is not fully described") from None
        if not isinstance(dtype_name, str) or dtype_name not in _DTYPES:
            raise CorruptIndexError(f"{source}: array {name!r} has the unknown dtype {dtype_name!r}")
        whole = isinstance(shape, list) and len(shape) <= 4 and all(type(s) is int and 0 <= s < 2**48 for s in shape)
        if not whole or type(offset) is not int or type(bulk) is not bool or not isinstance(digest, str):
            raise CorruptIndexError(f"{source}: array {name!r} has shape {shape!r} at offset {offset!r}")
        dtype = np.dtype(dtype_name)
        n_bytes = dtype.itemsize
        for length in shape:
            n_bytes *= length
        if offset < 0 or offset % _ALIGNMENT or offset + n_bytes > size:
            raise CorruptIndexError(
                f"{source}: array {name!r} of {n_bytes} bytes at offset {offset} does not fit into {size} bytes: "
                "the file was truncated or its manifest is wrong"
            )
        checked[name] = _Entry(dtype, tuple(shape), offset, n_bytes, digest, bulk)
    end = 0
    for name, one in sorted(checked.items(), key=lambda item: (item[1].offset, item[1].n_bytes)):
        if one.offset < end and one.n_bytes:
            raise CorruptIndexError(f"{source}: array {name!r} begins within another one")
        end = max(end, one.offset + one.n_bytes)
    return checked


def _aligned(length: int) -> int:
    return -(-length // _ALIGNMENT) * _ALIGNMENT


def _write_padded(file: BinaryIO, data: bytes | memoryview) -> None:
    for start in range(0, len(data), _CHUNK):  # one call for all of it would not answer Ctrl-C
        file.write(data[start : start + _CHUNK])
    file.write(bytes(_aligned(len(data)) - len(data)))


def _bytes_of(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)


def _hash(array: np.ndarray) -> str:
    digest, flat = hashlib.sha256(), _bytes_of(array)
    for start in range(0, len(flat), _CHUNK):
        digest.update(flat[start : start + _CHUNK].data)
    return digest.hexdigest()
