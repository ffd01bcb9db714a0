"""A state as named arrays and back: what `save` writes, and what `load` believes only after checking it."""

import os
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

import annlab
from annlab import bits, storage
from annlab.distances import Metric
from annlab.ids import IdMap
from annlab.room import is_mapped
from annlab.scanning import Extent
from annlab.state import Column, State
from annlab.structure import Structure

if TYPE_CHECKING:
    from annlab.index import Index

    AnyIndex = TypeVar("AnyIndex", bound=Index)

STRUCTURE, _ATTRIBUTE = "structure.", "attribute."  # beginnings of arrays' names


def to_arrays(state: State) -> tuple[dict[str, np.ndarray], set[str]]:
    """All arrays of a state by name, and the names of those that are bulk (see storage.py)."""
    arrays = {"ids": state.by_row.array, "alive": bits.pack(state.alive.array), "tail": state.tail.array}
    for name, column in state.columns.items():
        arrays[_ATTRIBUTE + name] = column.array
    bulk = {"tail"}
    if state.structure is not None:
        arrays |= {STRUCTURE + name: array for name, array in state.structure.arrays().items()}
        bulk |= {STRUCTURE + name for name in state.structure.bulk}
    return arrays, bulk


def from_arrays(arrays: dict[str, np.ndarray], metric: Metric, structure_class: type[Structure],
                params: dict[str, Any], dim: int, dtype: Any) -> State:  # fmt: skip
    """The state of some arrays. Raises a ValueError (or KeyError, TypeError) wherever they do not fit together."""
    ids, tail = arrays["ids"], arrays["tail"]
    inner = {name.removeprefix(STRUCTURE): a for name, a in arrays.items() if name.startswith(STRUCTURE)}
    _require("tail", tail, dtype, (len(tail), dim))
    structure, n_sealed = None, 0
    if inner:
        n_sealed = len(inner["vectors"])
        _require("vectors", inner["vectors"], dtype, (n_sealed, dim))
        if not n_sealed:
            raise ValueError("a structure without vectors")
        structure = structure_class.from_arrays(inner, metric=metric, params=params)
        structure.check()
    n = n_sealed + len(tail)
    _require("ids", ids, np.int64, (n,))
    _require("alive", arrays["alive"], np.uint64, (-(-n // 64),))
    alive = bits.unpack(arrays["alive"], n).copy()
    living = np.sort(ids[alive])
    if len(living) and (living[0] < 0 or (living[1:] == living[:-1]).any()):
        raise ValueError("ids are negative or occur twice")
    columns = {}
    for name, values in arrays.items():
        if name.startswith(_ATTRIBUTE):
            _require(name, values, values.dtype, (n,))
            columns[name.removeprefix(_ATTRIBUTE)] = Column(values)
    extent = Extent.of(tail, metric) if len(tail) else None
    id_map = IdMap.of_living(ids, alive)
    return State(metric, structure, Column(tail), extent, Column(ids), id_map, Column(alive), columns)


def memory(state: State | None) -> dict[str, int]:
    """Bytes of every array of a state, and the sums of those in memory and of those that are mapped from a file."""
    if state is None:
        return {"total": 0, "mapped": 0}
    arrays = to_arrays(state)[0] | {"alive": state.alive.array}
    parts = {name: array.nbytes for name, array in arrays.items()} | {"id look-up": state.ids.lookup_bytes}
    mapped = sum(array.nbytes for array in arrays.values() if is_mapped(array))
    return parts | {"total": sum(parts.values()) - mapped, "mapped": mapped}


def _require(name: str, array: np.ndarray, dtype: Any, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"array {name!r} is {array.dtype} {array.shape}, but should be {np.dtype(dtype)} {shape}")


def save(index: "Index", state: State, path: str | os.PathLike[str]) -> None:
    """Write an index whose content is `state` to a file."""
    arrays, bulk = to_arrays(state)
    manifest = {
        "kind": type(index).__name__,
        "library": annlab.__version__,
        "parameters": index.parameters,
        "dim": state.tail.array.shape[1],
        "dtype": state.tail.array.dtype.name,
        "rows": state.n_rows,
        "vectors": state.n_live,
    }
    storage.write(path, manifest, arrays, bulk)


def load(cls: type["AnyIndex"], path: str | os.PathLike[str], mmap: bool, verify: bool | None) -> "AnyIndex":
    """Read an index of one class from a file; a CorruptIndexError says what is wrong with it."""
    manifest, arrays = storage.read(path, mmap, verify)
    try:
        kind, dim, dtype = manifest["kind"], manifest["dim"], manifest["dtype"]
        if kind != cls.__name__:
            raise storage.CorruptIndexError(f"{path} holds a {kind}, not a {cls.__name__}: use annlab.load(path)")
        if dtype not in ("float32", "float64") or type(dim) is not int or not 1 <= dim < 2**31:
            raise ValueError(f"dimension {dim!r} and dtype {dtype!r}")
        index = cls(**{**manifest["parameters"], "dim": dim})
        index._state = state = from_arrays(
            arrays, index._metric, cls.structure_class, index._params, dim, np.dtype(dtype)
        )
        if (manifest["rows"], manifest["vectors"]) != (state.n_rows, state.n_live):
            raise ValueError(f"the manifest counts {manifest['rows']} rows, the arrays {state.n_rows}")
    except storage.CorruptIndexError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise storage.CorruptIndexError(f"{path} does not fit together: {error}") from None
    return index
