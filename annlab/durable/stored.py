"""What snapshot and log hold: an index as it is stored, for the process that writes it and for those that only read."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annlab import kinds
from annlab.durable import snapshots
from annlab.durable.database import Database
from annlab.durable.errors import CorruptLogError
from annlab.durable.log import Head, Log
from annlab.durable.operations import Operation
from annlab.index import Index

_TRIES = 5  # a snapshot may be replaced while it is read


def stored(log: Log, connection: Any, folder: Path, head: Head) -> Index:
    """The index that a row of the log stands for: its snapshot, and the operations after it."""
    index = snapshots.load(folder, head, log.where)
    index.rebuilds_itself = False  # rebuilds are operations of their own
    return _replayed(log, connection, index, log.verified(connection, head))


def read(path: str | os.PathLike[str], *, database: Database | None = None, name: str = "index") -> Index:
    """The content of a durable index at this moment, as an index in memory. Takes no lock: another process may write.

    Parameters
    ----------
    path, database, name
        As for `DurableIndex`.

    Raises
    ------
    FileNotFoundError
        There is no such index.
    CorruptLogError, StorageError
        It is damaged, or cannot be read.
    """
    folder = Path(path)
    if database is None:
        if not (folder / "log.db").is_file():
            raise FileNotFoundError(f"there is no durable index in {folder}")
        database = Database.open(folder / "log.db")
        try:
            return read(folder, database=database, name=name)
        finally:
            database.close()
    log = Log(database, name)
    for attempt in range(_TRIES):
        with database.reading() as connection:
            head = log.head(connection) if log.has_tables(connection) else None
            if head is None:
                raise FileNotFoundError(f"{log.where}: there is no such index")
            try:
                index = stored(log, connection, folder, head)
                index.rebuilds_itself = True
                return index
            except CorruptLogError:
                if attempt == _TRIES - 1 or (folder / (head.snapshot_file or "")).is_file():
                    raise  # it is there, and damaged
    raise CorruptLogError(f"{log.where}: its snapshot was replaced {_TRIES} times while it was read: repeat")


def _replayed(log: Log, connection: Any, index: Index, operations: Iterator[Operation]) -> Index:
    """The index after some operations; `index` itself may change."""
    began: dict[int, Index] = {}
    for operation in operations:
        try:
            if operation.kind == "compact":
                began = {operation.seq: index.branch()}  # of several beginnings only the last can have an end
            if operation.kind == "compacted":
                since = operation.options["since"]
                index = began.pop(since)
                index.compact()
                for done, _ in log.read(connection, since, operation.seq - 1):
                    done.apply(index)
            else:
                operation.apply(index)
        except (ValueError, TypeError, KeyError) as error:
            what = f"operation {operation.seq} ({operation.kind}) cannot be applied ({error})"
            raise CorruptLogError(f"{log.where}: {what}: was the log written by another version?") from error
    return index


@dataclass(frozen=True)
class Description:
    """What is known of a durable index without loading it.

    Attributes
    ----------
    kind, parameters
        The class, and what it was made with.
    seq, operations : int
        The last operation, and how many the log holds since the snapshot.
    log_bytes, file_bytes : int
        Of the vectors in the log, and of the snapshot.
    memory : int
        Bytes that it takes once it is open, about: those of the snapshot, and the vectors in the log.
    """

    kind: str
    parameters: dict[str, Any]
    seq: int
    operations: int
    log_bytes: int
    file_bytes: int
    memory: int


def describe(path: str | os.PathLike[str], database: Database, name: str) -> Description:
    """Say what a durable index is and how much it takes, whoever has it open; errors as for `read`."""
    log, memory, file_bytes = Log(database, name), 0, 0
    with database.reading() as connection:
        head = log.head(connection) if log.has_tables(connection) else None
        if head is None:
            raise FileNotFoundError(f"{log.where}: there is no such index")
        operations, log_bytes = log.size(connection)
    if head.snapshot_file is not None:
        file = Path(path) / head.snapshot_file
        try:
            file_bytes = file.stat().st_size
            parts = kinds.load(file, mmap=True).memory()
            memory = parts["total"] + parts.get("mapped", 0)
        except FileNotFoundError:  # replaced meanwhile: the next one is about as large
            pass
    return Description(head.kind, json.loads(head.parameters), head.seq, operations, log_bytes, file_bytes,
                       memory + log_bytes)  # fmt: skip


def remove(path: str | os.PathLike[str], database: Database, name: str) -> None:
    """Delete an index that nobody has open: its log, then its files. What a kill leaves of it is removed by the next
    call."""
    log = Log(database, name)
    with database.writing() as connection:
        log.remove(connection)
    snapshots.remove_others(Path(path), name, None)
