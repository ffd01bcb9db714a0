"""A state as named arrays and back: what `save` writes, and what `load` believes only after checking it."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from annlab.common import rowsets
from annlab.common.memory import is_mapped
from annlab.core import storage
from annlab.core.attributes import Attribute
from annlab.core.column import Column
from annlab.core.ids import IdMap
from annlab.core.state import State
from annlab.core.structure import Structure
from annlab.distances import Metric

_ROWS_AT_ONCE = 8192
STRUCTURE = "structure."  # the beginning of arrays' names
_PARTS = ("attribute", "missing", "strings", "string_ends")  # of an attribute: "strings.brand"


def to_arrays(state: State) -> tuple[dict[str, np.ndarray], set[str]]:
    """All arrays of a state by name, and the names of those that are bulk (see core/storage.py)."""
    arrays = {"ids": state.by_row.array, "alive": rowsets.pack(state.alive.array), "tail": state.tail.array}
    for name, column in state.columns.items():
        arrays |= {f"{part}.{name}": array for part, array in column.arrays().items()}
    bulk = {"tail"}
    if state.structure is not None:
        arrays |= {STRUCTURE + name: array for name, array in state.structure.arrays().items()}
        bulk |= {STRUCTURE + name for name in state.structure.bulk}
    return arrays, bulk


def from_arrays(arrays: dict[str, np.ndarray], metric: Metric, structure_class: type[Structure],
                params: dict[str, Any], dim: int, dtype: Any, look_at_vectors: bool = True) -> State:  # fmt: skip
    """The state of some arrays. Raises a ValueError (or KeyError, TypeError) wherever they do not fit together.

    Vectors that are mapped from a file are not looked at, for that would read all of it.
    """
    ids, tail = arrays["ids"], arrays["tail"]
    inner = {name.removeprefix(STRUCTURE): a for name, a in arrays.items() if name.startswith(STRUCTURE)}
    _require("tail", tail, dtype, (len(tail), dim))
    if look_at_vectors:
        require_finite("tail", tail)
    structure, n_sealed = None, 0
    if inner:
        n_sealed = len(inner["vectors"])
        _require("vectors", inner["vectors"], dtype, (n_sealed, dim))
        if not n_sealed:
            raise ValueError("a structure without vectors")
        if look_at_vectors:
            require_finite("vectors", inner["vectors"])
        structure = structure_class.from_arrays(inner, metric=metric, params=params)
        structure.check()
    n = n_sealed + len(tail)
    _require("ids", ids, np.int64, (n,))
    _require("alive", arrays["alive"], np.uint64, (-(-n // 64),))
    alive = rowsets.unpack(arrays["alive"], n).copy()
    living = np.sort(ids[alive])
    if len(living) and (living[0] < 0 or (living[1:] == living[:-1]).any()):
        raise ValueError("ids are negative or occur twice")
    columns = {}
    for name, parts in _attributes(arrays).items():
        try:
            columns[name] = Attribute.from_arrays(name, parts, n)
        except KeyError as error:
            raise ValueError(f"attribute {name!r} has {sorted(parts)}, but no {error.args[0]!r}") from None
    absent = [name for name in structure_class.divides_by(params) if name not in columns]
    if absent:
        raise ValueError(f"rows are divided by attribute {absent[0]!r}, which is not there, only {sorted(columns)}")
    id_map = IdMap.of_living(ids, alive)
    state = State(metric, structure, Column(tail), Column(ids), id_map, Column(alive), columns)
    former = {STRUCTURE + name for name in structure_class.former}
    unknown = arrays.keys() - to_arrays(state)[0].keys() - former
    if unknown:
        raise ValueError(f"array {min(unknown)!r} is no part of such an index")
    return state


def require_finite(name: str, vectors: np.ndarray) -> None:
    """Raise a ValueError if a value is not finite: no index holds such a vector, so a file is damaged."""
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        some = vectors[start : start + _ROWS_AT_ONCE]
        if not (np.isfinite(some.min()) and np.isfinite(some.max())):
            row = start + int(np.argmin(np.isfinite(some).all(axis=1)))
            raise ValueError(f"array {name!r} must be finite, but row {row} is not: the file is damaged")


def _attributes(arrays: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of every attribute: their parts by name."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for full_name, array in arrays.items():
        part, dot, name = full_name.partition(".")
        if dot and part in _PARTS:
            found.setdefault(name, {})[part] = array
    return found


def memory(state: State | None) -> dict[str, int]:
    """Bytes of every array of a state, and the sums of those in memory and of those that are mapped from a file."""
    if state is None:
        return {"total": 0, "mapped": 0}
    arrays = to_arrays(state)[0] | {"alive": state.alive.array}
    parts = {name: array.nbytes for name, array in arrays.items()} | {"id look-up": state.ids.lookup_bytes}
    if state.structure is not None:
        parts |= state.structure.made_since()
    mapped = sum(array.nbytes for array in arrays.values() if is_mapped(array))
    return parts | {"total": sum(parts.values()) - mapped, "mapped": mapped}


def _require(name: str, array: np.ndarray, dtype: Any, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"array {name!r} is {array.dtype} {array.shape}, but should be {np.dtype(dtype)} {shape}")


def save(state: State | None, path: str | os.PathLike[str] | BinaryIO, *, dim: int | None, **about: Any) -> None:
    """Write a state to a file; `about` the index: its kind, parameters and the version of the library.

    None is the state of an index that was never filled, of which only `dim` may be known.
    """
    if state is None:
        storage.write(path, about | {"dim": dim, "dtype": None, "rows": 0, "vectors": 0}, {}, ())
        return
    arrays, bulk = to_arrays(state)
    manifest = about | {
        "dim": dim,
        "dtype": state.tail.array.dtype.name,
        "rows": state.n_rows,
        "vectors": state.n_live,
        "attributes": list(state.columns),
    }
    storage.write(path, manifest, arrays, bulk)


def content_hash(state: State | None, **about: Any) -> str:
    """SHA-256 of a state and of what is said `about` its index: kind and parameters."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    if state is not None:
        state = state.with_columns({name: column.in_order() for name, column in state.columns.items()})
    for name, array in sorted(to_arrays(state)[0].items()) if state is not None else ():
        digest.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


class Stored(NamedTuple):
    """What a file holds, before it is believed."""

    path: str | Path
    manifest: dict[str, Any]
    arrays: dict[str, np.ndarray]
    look_at_vectors: bool

    def parameters(self, kind: str) -> dict[str, Any]:
        """The parameters of the index, which has to be of this kind."""
        manifest = self.manifest
        if manifest["kind"] != kind:
            raise storage.CorruptIndexError(
                f"{self.path} holds a {manifest['kind']}, not a {kind}: use annlab.load(path)"
            )
        dim, dtype = manifest["dim"], manifest["dtype"]
        if dtype is None and dim is None:
            return {**manifest["parameters"], "dim": None}
        if dtype not in (None, "float32", "float64") or type(dim) is not int or not 1 <= dim < 2**31:
            raise ValueError(f"dimension {dim!r} and dtype {dtype!r}")
        return {**manifest["parameters"], "dim": dim}

    def state(self, metric: Metric, structure_class: type[Structure], params: dict[str, Any]) -> State | None:
        """The state of the file, for an index with these parameters; None if it was never filled."""
        manifest = self.manifest
        if manifest["dtype"] is None:
            if self.arrays or manifest["rows"] != 0 or manifest["vectors"] != 0:
                raise ValueError(f"no element type for {manifest['rows']} rows and {len(self.arrays)} arrays")
            return None
        dtype = np.dtype(manifest["dtype"])
        state = from_arrays(self.arrays, metric, structure_class, params, manifest["dim"], dtype, self.look_at_vectors)
        named = manifest.get("attributes", list(state.columns))  # older files do not name them
        if not isinstance(named, list) or sorted(map(str, named)) != sorted(state.columns):
            raise ValueError(f"the manifest names attributes {named!r}, the arrays are those of {list(state.columns)}")
        if (manifest["rows"], manifest["vectors"]) != (state.n_rows, state.n_live):
            raise ValueError(f"the manifest counts {manifest['rows']} rows, the arrays {state.n_rows}")
        return state


@contextmanager
def read(place: storage.Place, mmap: bool, verify: bool | None) -> Iterator[Stored]:
    """What a file holds; whatever is found wrong with it while it is used becomes a CorruptIndexError."""
    path = storage.in_words(place)
    stored = Stored(path, *storage.read(place, mmap, verify), look_at_vectors=not mmap or bool(verify))
    try:
        yield stored
    except storage.CorruptIndexError:
        raise
    except KeyError as error:
        raise storage.CorruptIndexError(f"{path} does not fit together: {error.args[0]!r} is missing") from None
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise storage.CorruptIndexError(f"{path} does not fit together: {error}") from None
