"""One transaction: writes to one or several indexes, and to whatever else is in their database.

    with transaction(index) as (writes,):
        writes.connection.execute(...)        # rows of the catalog
        writes.add(vectors, ids)              # their vectors

Each write is done at once to a *branch* of the index, a second index with the same content that nobody else sees. So
everything that can be wrong with it is found before it is logged, and what is logged has been seen to work. When the
transaction has been committed, the branches become the indexes that searches use. If anything fails before, they are
dropped, the database takes its rows back, and nothing has happened.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from annlab.common import validation
from annlab.core.attributes import Attribute, as_columns
from annlab.durable.database import Database
from annlab.durable.log import Head, Log
from annlab.durable.operations import LARGEST, Operation, request_digest
from annlab.index import Index


class Owner(Protocol):
    """What a transaction needs of a `DurableIndex`."""

    name: str
    database: Database
    _log: Log
    _index: Index
    _head: Head
    _behind: bool

    def _writing(self) -> AbstractContextManager[None]: ...

    def _publish(self, index: Index, head: Head, ops: int, n_bytes: int) -> None: ...

    def _maintain_if_due(self) -> None: ...


@contextmanager
def transaction(*indexes: Owner) -> Iterator[tuple["Writes", ...]]:
    """Begin a transaction over indexes that live in one database; committed at the end, dropped by an exception.

    Yields one `Writes` an index, in the order given; `writes.connection` is the connection of the transaction, the same
    for all. Other writers wait; searches go on with what was there before.

    Raises
    ------
    ValueError
        The indexes are in different databases.
    StorageError
        The database cannot be written; nothing of the transaction happened.
    """
    if len({id(index.database) for index in indexes}) != 1 or len(set(indexes)) < len(indexes):
        raise ValueError("one transaction takes indexes of one database, each once: open them with the same Database")
    with ExitStack() as stack:
        for index in sorted(set(indexes), key=lambda index: index.name):  # always in one order, against deadlock
            stack.enter_context(index._writing())
        with indexes[0].database.writing() as connection:
            all_writes = tuple(Writes(index, connection) for index in indexes)
            yield all_writes
            for writes in all_writes:
                writes._finish()
            for index in indexes:
                index._behind = True  # until its branch is in place: whatever happens between, the log is right
        for writes in all_writes:
            writes._publish()
    for index in indexes:
        index._maintain_if_due()


class Writes:
    """Writes to one index within a transaction. Reads of the index do not see them before the transaction ends.

    Attributes
    ----------
    connection : sqlalchemy.Connection
        That of the transaction, for rows that shall be committed together with the vectors.
    """

    def __init__(self, index: Owner, connection: Any) -> None:
        self.connection = connection
        self._owner = index
        self._branch: Index = index._index.branch()
        self._before: Head = index._head
        self._head: Head = index._head
        self._logged = 0, 0  # operations, and the bytes of their vectors

    def add(self, vectors: Any, ids: Any = None, *, attributes: Mapping[str, Any] | None = None,
            on_duplicate: str = "raise", op_id: str | None = None) -> np.ndarray:  # fmt: skip
        """Add vectors, as `Index.add` does.

        Parameters
        ----------
        op_id : str, optional
            A name of this write, of the caller's choice. The same write under the same name is done once, however often
            it is repeated, also after a restart: the answer is that of the first time.

        Returns
        -------
        (n,) int64
            The ids, of the first time if it is repeated.

        Raises
        ------
        ValueError, TypeError
            If anything handed in is unusable, or `op_id` has named another write; nothing is written then.
        """
        rows = self._rows(vectors)
        given = None if ids is None else validation.as_ids(ids, length=len(rows))
        columns = as_columns(attributes or {}, len(rows))
        options = {"on_duplicate": on_duplicate}
        digest = request_digest("add", given, rows, columns, options)
        known, first = self._answer(op_id, digest)
        if known:
            return np.arange(first, first + len(rows)) if given is None else given
        trial = self._branch.branch()
        numbers = trial.add(rows, given, attributes=columns, on_duplicate=on_duplicate)
        if len(numbers):
            self._log("add", numbers, rows, columns, options, op_id)
            self._branch = trial
        self._remember(op_id, digest, int(numbers[0]) if len(numbers) else 0)
        return numbers

    def update(self, ids: Any, vectors: Any, *, attributes: Mapping[str, Any] | None = None,
               op_id: str | None = None) -> None:  # fmt: skip
        """Give existing ids new vectors, as `Index.update` does; `op_id` as for `add`."""
        rows = self._rows(vectors)
        numbers, columns = validation.as_ids(ids, length=len(rows)), as_columns(attributes or {}, len(rows))
        digest = request_digest("update", numbers, rows, columns, {})
        if self._answer(op_id, digest)[0]:
            return
        trial = self._branch.branch()
        trial.update(numbers, rows, attributes=columns or None)
        if len(numbers):
            self._log("update", numbers, rows, columns, {}, op_id)
            self._branch = trial
        self._remember(op_id, digest, None)

    def set_attributes(self, attributes: Mapping[str, Any], ids: Any = None, *, op_id: str | None = None) -> None:
        """Give vectors other values of some attributes, or new ones, as `Index.set_attributes` does.

        `op_id` as for `add`; it needs `ids`, since without them a retry could mean other vectors.
        """
        if ids is None and op_id is not None:
            raise ValueError("set_attributes with an op_id needs ids: without them a retry could mean other vectors")
        numbers = self._branch.ids if ids is None else validation.as_ids(ids, ordered=True)
        columns = as_columns(attributes, len(numbers))
        digest = request_digest("attributes", numbers, None, columns, {})
        if self._answer(op_id, digest)[0]:
            return
        trial = self._branch.branch()
        trial.set_attributes(columns, numbers)
        if columns:
            self._log("attributes", numbers, None, columns, {}, op_id)
            self._branch = trial
        self._remember(op_id, digest, None)

    def remove(self, ids: Any, missing: str = "raise", *, op_id: str | None = None) -> int:
        """Remove vectors by id, as `Index.remove` does; `op_id` as for `add`. Returns how many there were."""
        numbers = np.unique(validation.as_ids(ids))
        digest = request_digest("remove", numbers, None, {}, {"missing": missing})
        known, count = self._answer(op_id, digest)
        if known:
            return count
        trial = self._branch.branch()
        count = trial.remove(numbers, missing)
        if count:
            self._log("remove", numbers, None, {}, {"missing": missing}, op_id)
            self._branch = trial
        self._remember(op_id, digest, count)
        return count

    # ---- for DurableIndex

    def _log(self, kind: str, ids: np.ndarray | None = None, rows: np.ndarray | None = None,
             columns: Mapping[str, Attribute] | None = None, options: Mapping[str, Any] | None = None,
             op_id: str | None = None) -> int:  # fmt: skip
        """Write an operation into the log; its seq."""
        operation = Operation(self._head.seq + 1, kind, op_id, ids, rows, columns or {}, options or {})
        if operation.n_bytes > LARGEST:
            raise ValueError(f"one write of {operation.n_bytes / 2**20:.0f} MiB; the log takes {LARGEST / 2**20:.0f} "
                             "MiB at once: add in parts, or begin with fit")  # fmt: skip
        self._head = self._owner._log.append(self.connection, self._head, operation)
        self._logged = self._logged[0] + 1, self._logged[1] + (0 if rows is None else rows.nbytes)
        return operation.seq

    def _answer(self, op_id: str | None, digest: bytes) -> tuple[bool, int]:
        """Whether this write has been done before, and its result."""
        if op_id is None:
            return False, 0
        if not isinstance(op_id, str) or not 0 < len(op_id) <= 255 or "\0" in op_id:
            raise ValueError(f"op_id must be a string of 1 to 255 characters, not {op_id!r}")
        known = self._owner._log.answer(self.connection, op_id)
        if known is None:
            return False, 0
        if known[0] != digest:
            raise ValueError(f"op_id {op_id!r} has named another write before: give each write a name of its own")
        return True, known[1] or 0

    def _remember(self, op_id: str | None, digest: bytes, result: int | None) -> None:
        if op_id is not None:
            self._owner._log.remember(self.connection, op_id, self._head.seq, digest, result)

    def _rows(self, vectors: Any) -> np.ndarray:
        """Vectors in the element type of the index, so that the log holds exactly what the index does."""
        return validation.as_vectors(vectors, dtype=self._branch.dtype)

    def _finish(self) -> None:
        if self._head is not self._before:
            self._owner._log.move(self.connection, self._before, self._head)

    def _publish(self) -> None:
        self._owner._publish(self._branch, self._head, *self._logged)

    def _replace(self, branch: Index, logged: tuple[int, int], **changes: Any) -> None:
        """Take another index in place of the branch; the log is longer by so many operations and bytes of vectors."""
        self._branch, self._logged, self._head = branch, logged, replace(self._head, **changes)
