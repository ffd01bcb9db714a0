"""One write to an index, as arrays and bytes: what the log holds, what a checksum covers, what is applied again.

    kind        ids          rows              options
    add         (n,) int64   (n, dim) floats   on_duplicate; columns: the attributes
    update      (n,)         (n, dim)          columns, where attributes were given
    attributes  (n,)         -                 columns: other values of these attributes, or new attributes
    remove      (n,)         -                 missing
    compact     -            -                 a rebuild begins from here
    compacted   -            -                 since: the rebuild of that operation takes its place
    fit         -            -                 a snapshot took the place of everything; never in the log itself

An operation is exact: rows have the element type of the index, and the ids that an `add` chose are written down. So to
apply the operations of a log in their order always gives the same index, bit for bit. An attribute is written as the
arrays that `core/attributes.py` explains: the values alone, or with them what is missing, and the strings.

Each has a checksum that covers the one before it: `chain` = SHA-256(chain before, header, ids, rows, columns). An
operation that was changed, taken away or moved breaks the chain at its place.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from annlab.core.attributes import Attribute
from annlab.durable.errors import CorruptLogError
from annlab.index import Index

LARGEST = 512 * 2**20  # bytes of one operation: databases take at most 1 GB in a cell
_DTYPES = ("float32", "float64", "int64", "int32", "uint8", "bool")


@dataclass(frozen=True)
class Operation:
    """See the head of the file. `seq` counts from 1; `columns` are attributes of n rows, by name."""

    seq: int
    kind: str
    op_id: str | None = None
    ids: np.ndarray | None = None
    rows: np.ndarray | None = None
    columns: Mapping[str, Attribute] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_bytes(self) -> int:
        """Of its arrays."""
        arrays = [array for column in self.columns.values() for array in column.arrays().values()]
        return sum(array.nbytes for array in (self.ids, self.rows, *arrays) if array is not None)

    def chain(self, before: bytes) -> bytes:
        """Its checksum, given that of the operation before."""
        digest = hashlib.sha256(before)
        head = json.dumps([self.seq, self.kind, self.op_id, self.header()], sort_keys=True).encode()
        for part in (head, *_parts(self)):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        return digest.digest()

    def header(self) -> dict[str, Any]:
        """What its bytes do not say: options, element types, shapes."""
        return {
            "options": dict(self.options),
            "ids": None if self.ids is None else len(self.ids),
            "rows": None if self.rows is None else [self.rows.dtype.name, *self.rows.shape],
            "columns": [[name, _described(column)] for name, column in sorted(self.columns.items())],
        }

    def encoded(self) -> dict[str, Any]:
        """It as the cells of a row of the log."""
        ids, rows, columns = (bytes(part) for part in _parts(self))
        header = json.dumps(self.header(), sort_keys=True, allow_nan=False)
        return {"seq": self.seq, "op_id": self.op_id, "kind": self.kind, "header": header, "ids": ids, "rows": rows,
                "columns": columns}  # fmt: skip

    def apply(self, index: Index) -> None:
        """Do it to an index. Of a rebuild this is only the mark of its beginning, which changes nothing."""
        if self.kind == "add":
            index.add(self.rows, self.ids, attributes=self.columns, **self.options)
        elif self.kind == "update":
            index.update(self.ids, self.rows, attributes=self.columns or None)
        elif self.kind == "attributes":
            index.set_attributes(self.columns, self.ids)
        elif self.kind == "remove":
            index.remove(self.ids, **self.options)
        elif self.kind != "compact":
            raise ValueError(f"an operation of the unknown kind {self.kind!r}")


def decode(cells: Mapping[str, Any], where: str) -> Operation:
    """The operation of a row of the log; CorruptLogError if its cells do not fit together."""
    seq = cells["seq"]
    try:
        header = json.loads(cells["header"])
        n, shape = header["ids"], header["rows"]
        ids = None if n is None else _array(cells["ids"], "int64", (n,))
        rows = None if shape is None else _array(cells["rows"], shape[0], tuple(shape[1:]))
        columns, content, offset = {}, bytes(cells["columns"]), 0
        for name, described in header["columns"]:
            arrays = {}
            for part, dtype, length in [["attribute", described, n]] if isinstance(described, str) else described:
                size = length * np.dtype(dtype).itemsize
                arrays[part] = _array(content[offset : offset + size], dtype, (length,))
                offset += size
            columns[name] = Attribute.from_arrays(name, arrays, n)
        return Operation(seq, str(cells["kind"]), cells["op_id"], ids, rows, columns, dict(header["options"]))
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise CorruptLogError(f"{where}: operation {seq} of the log does not fit together ({error})") from None


def request_digest(kind: str, ids: np.ndarray | None, rows: np.ndarray | None, columns: Mapping[str, Attribute],
                   options: Mapping[str, Any]) -> bytes:  # fmt: skip
    """What a caller asked for, so that a retry can be told from another write under the same op_id."""
    return Operation(0, kind, None, ids, rows, columns, options).chain(b"")


def _parts(operation: Operation) -> tuple[memoryview, memoryview, memoryview]:
    ids, rows = _bytes(operation.ids), _bytes(operation.rows)
    arrays = [array for _, column in sorted(operation.columns.items()) for array in column.arrays().values()]
    return ids, rows, memoryview(b"".join(bytes(_bytes(array)) for array in arrays))


def _described(column: Attribute) -> Any:
    """What the bytes of an attribute do not say: its element type, or [part, element type, length] for each array."""
    arrays = column.arrays()
    if len(arrays) == 1:
        return column.values.array.dtype.name
    return [[part, array.dtype.name, len(array)] for part, array in arrays.items()]


def _bytes(array: np.ndarray | None) -> memoryview:
    if array is None or not array.size:
        return memoryview(b"")
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return little.reshape(-1).view(np.uint8).data


def _array(content: bytes | memoryview, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if dtype not in _DTYPES:
        raise ValueError(f"element type {dtype!r}")
    if min(shape, default=0) < 0:
        raise ValueError(f"shape {shape}")
    little = np.dtype(dtype).newbyteorder("<")
    return np.frombuffer(bytes(content), little).astype(dtype).reshape(shape)
