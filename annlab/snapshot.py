"""A state as named arrays and back: what `save` writes, and what `load` believes only after checking it."""

from typing import Any

import numpy as np

from annlab import bits
from annlab.distances import Metric
from annlab.ids import IdMap
from annlab.scanning import Extent
from annlab.state import Column, State
from annlab.structure import Structure

_STRUCTURE, _ATTRIBUTE = "structure.", "attribute."


def to_arrays(state: State) -> tuple[dict[str, np.ndarray], set[str]]:
    """All arrays of a state by name, and the names of those that are bulk (see storage.py)."""
    arrays = {"ids": state.by_row.array, "alive": bits.pack(state.alive.array), "tail": state.tail.array}
    for name, column in state.columns.items():
        arrays[_ATTRIBUTE + name] = column.array
    bulk = {"tail"}
    if state.structure is not None:
        arrays |= {_STRUCTURE + name: array for name, array in state.structure.arrays().items()}
        bulk |= {_STRUCTURE + name for name in state.structure.bulk}
    return arrays, bulk


def from_arrays(arrays: dict[str, np.ndarray], metric: Metric, structure_class: type[Structure],
                params: dict[str, Any], dim: int, dtype: Any) -> State:  # fmt: skip
    """The state of some arrays. Raises a ValueError (or KeyError, TypeError) wherever they do not fit together."""
    ids, tail = arrays["ids"], arrays["tail"]
    inner = {name.removeprefix(_STRUCTURE): a for name, a in arrays.items() if name.startswith(_STRUCTURE)}
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
    return State(metric, structure, Column(tail), extent, Column(ids), IdMap.of_living(ids, alive), Column(alive), columns)


def _require(name: str, array: np.ndarray, dtype: Any, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"array {name!r} is {array.dtype} {array.shape}, but should be {np.dtype(dtype)} {shape}")
