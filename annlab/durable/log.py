"""The tables of the log: the operations of one or several indexes in their order, and what each index stands on.

    annlab_index       one row an index: its kind and parameters; the last operation (seq, chain); the snapshot that it
                       starts from (seq, chain, file, SHA-256 of the file); a checksum of all this
    annlab_log         (index, seq, op_id, kind, header, ids, rows, columns, chain): the operations after that snapshot
    annlab_retried     (index, op_id, seq, digest, result): writes that carried an op_id, for 100,000 operations after
                       them; a retry is answered from here, also after the log was cut

`append` compares the last seq before it moves on, so that a second writer (which the lock should have kept away) is
refused instead of interleaved. Nothing here knows the time: a clock that goes backwards changes nothing.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    inspect,
    select,
    update,
)

from annlab.durable.database import Database
from annlab.durable.errors import CorruptLogError, InUseError
from annlab.durable.operations import Operation, decode

FORMAT = 1
REMEMBERED = 100_000  # operations, for which an op_id is known

metadata = MetaData()

indexes = Table(
    "annlab_index", metadata,
    Column("name", String(64), primary_key=True),
    Column("format", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("chain", LargeBinary, nullable=False),
    Column("snapshot_seq", BigInteger, nullable=False),
    Column("snapshot_chain", LargeBinary, nullable=False),
    Column("snapshot_file", Text),
    Column("snapshot_sha256", Text),
    Column("checksum", LargeBinary, nullable=False),
)  # fmt: skip

operations = Table(
    "annlab_log", metadata,
    Column("name", String(64), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("op_id", Text),
    Column("kind", Text, nullable=False),
    Column("header", Text, nullable=False),
    Column("ids", LargeBinary, nullable=False),
    Column("rows", LargeBinary, nullable=False),
    Column("columns", LargeBinary, nullable=False),
    Column("chain", LargeBinary, nullable=False),
)  # fmt: skip

retried = Table(
    "annlab_retried", metadata,
    Column("name", String(64), primary_key=True),
    Column("op_id", String(255), primary_key=True),
    Column("seq", BigInteger, nullable=False, index=True),
    Column("digest", LargeBinary, nullable=False),
    Column("result", BigInteger),
)  # fmt: skip


@dataclass(frozen=True)
class Head:
    """The row of an index: what it is, where its log ends, and which snapshot it starts from."""

    kind: str
    parameters: str
    seq: int
    chain: bytes
    snapshot_seq: int
    snapshot_chain: bytes
    snapshot_file: str | None
    snapshot_sha256: str | None

    @classmethod
    def first(cls, kind: str, parameters: str) -> "Head":
        """Of an index to which nothing has been written."""
        chain = hashlib.sha256(f"{kind} {parameters}".encode()).digest()
        return cls(kind, parameters, 0, chain, 0, chain, None, None)

    def checksum(self) -> bytes:
        values = [v.hex() if isinstance(v, bytes) else v for v in vars(self).values()]
        return hashlib.sha256(json.dumps([FORMAT, *values]).encode()).digest()


_MOVE = (  # made once: building a statement costs more than running it
    update(indexes)
    .where(indexes.c.name == bindparam("of"), indexes.c.seq == bindparam("before"))
    .values({name: bindparam("new_" + name) for name in (*Head.__dataclass_fields__, "checksum")})
)
_APPEND = insert(operations)


class Log:
    """The log of one index in a database. Whoever writes holds a lock and passes the connection of a transaction."""

    def __init__(self, database: Database, name: str) -> None:
        self.database, self.name = database, name
        self.where = f"{database.where}, index {name!r}"

    def create_tables(self) -> None:
        with self.database.writing() as connection:
            metadata.create_all(connection)

    def has_tables(self, connection: Connection) -> bool:
        """Whether any log has ever been in this database."""
        return inspect(connection).has_table(indexes.name)

    def remove(self, connection: Connection) -> None:
        """Forget the index and all that is known of it."""
        if self.has_tables(connection):
            for table in (operations, retried, indexes):
                connection.execute(delete(table).where(table.c.name == self.name))

    # ---- the head

    def head(self, connection: Connection) -> Head | None:
        """The row of the index, checked; None if there is none."""
        row = connection.execute(select(indexes).where(indexes.c.name == self.name)).mappings().first()
        if row is None:
            return None
        if row["format"] != FORMAT:
            is_newer = isinstance(row["format"], int) and row["format"] > FORMAT  # a damaged page may hold anything
            newer = "a newer annlab wrote it: update annlab" if is_newer else "it is damaged"
            raise CorruptLogError(
                f"{self.where}: the log has format {row['format']}, this annlab reads {FORMAT}; {newer}"
            )
        head = Head(**{name: row[name] for name in Head.__dataclass_fields__})
        if _bytes(row["checksum"]) != head.checksum():
            raise CorruptLogError(f"{self.where}: the row of the index does not match its checksum: it was changed "
                                  "from outside or is damaged; restore a copy")  # fmt: skip
        return head

    def create(self, connection: Connection, head: Head) -> None:
        """Write the first row of an index."""
        connection.execute(insert(indexes), {"name": self.name, "format": FORMAT, **self._cells(head)})

    def move(self, connection: Connection, before: Head, after: Head) -> None:
        """Replace the row of the index, unless somebody else has done so since `before` was read."""
        cells = {"new_" + name: value for name, value in self._cells(after).items()}
        done = connection.execute(_MOVE, {"of": self.name, "before": before.seq, **cells})
        if done.rowcount != 1:
            raise InUseError(f"{self.where}: another process has written since operation {before.seq}: one at a time")

    @staticmethod
    def _cells(head: Head) -> dict[str, Any]:
        return {**vars(head), "checksum": head.checksum()}

    # ---- operations

    def append(self, connection: Connection, head: Head, operation: Operation) -> Head:
        """Write the next operation down. The head that it leads to is returned, and written by `move` once for all."""
        chain = operation.chain(head.chain)
        connection.execute(_APPEND, {"name": self.name, "chain": chain, **operation.encoded()})
        return replace(head, seq=operation.seq, chain=chain)

    def read(self, connection: Connection, after: int, until: int | None = None) -> Iterator[tuple[Operation, bytes]]:
        """The operations with after < seq <= until, in their order and without a gap, each with its chain."""
        columns = [c for c in operations.c if c.name != "name"]
        wanted = (operations.c.name == self.name) & (operations.c.seq > after)
        if until is not None:
            wanted &= operations.c.seq <= until
        query = select(*columns).where(wanted).order_by(operations.c.seq)
        rows = connection.execute(query.execution_options(stream_results=True, yield_per=64))
        for expected, row in enumerate(rows.mappings(), after + 1):
            if row["seq"] != expected:
                raise CorruptLogError(
                    f"{self.where}: operation {expected} is missing from the log; the next is {row['seq']}"
                )
            yield decode(dict(row), self.where), _bytes(row["chain"])

    def verified(self, connection: Connection, head: Head) -> Iterator[Operation]:
        """All operations after the snapshot, each one checked before it is returned."""
        chain, seq = head.snapshot_chain, head.snapshot_seq
        for operation, stored in self.read(connection, head.snapshot_seq):
            chain, seq = operation.chain(chain), operation.seq
            if chain != stored:
                raise CorruptLogError(f"{self.where}: operation {seq} ({operation.kind}) does not match its checksum: "
                                      "it or one before it was changed or is damaged; restore a copy")  # fmt: skip
            yield operation
        if (seq, chain) != (head.seq, head.chain):
            raise CorruptLogError(f"{self.where}: the log ends with operation {seq}, but {head.seq} were "
                                  "acknowledged: its end is missing; restore a copy")  # fmt: skip

    def size(self, connection: Connection) -> tuple[int, int]:
        """The number of operations since the snapshot, and the bytes of their vectors."""
        own = operations.c.name == self.name
        found = connection.execute(select(func.count(), func.sum(func.length(operations.c.rows))).where(own)).one()
        return int(found[0]), int(found[1] or 0)

    def cut(self, connection: Connection, seq: int) -> None:
        """Forget the operations up to this one, which a snapshot holds now, and the op_ids that are long past."""
        connection.execute(delete(operations).where((operations.c.name == self.name) & (operations.c.seq <= seq)))
        past = retried.c.seq <= seq - REMEMBERED
        connection.execute(delete(retried).where((retried.c.name == self.name) & past))

    # ---- retries

    def answer(self, connection: Connection, op_id: str) -> tuple[bytes, int | None] | None:
        """The digest and the result of a write that carried this op_id before."""
        known = (retried.c.name == self.name) & (retried.c.op_id == op_id)
        row = connection.execute(select(retried.c.digest, retried.c.result).where(known)).first()
        return None if row is None else (bytes(row[0]), row[1])

    def remember(self, connection: Connection, op_id: str, seq: int, digest: bytes, result: int | None) -> None:
        """Keep what a retry of this write shall be answered."""
        values = {"name": self.name, "op_id": op_id, "seq": seq, "digest": digest, "result": result}
        connection.execute(insert(retried), values)


def _bytes(cell: Any) -> bytes:
    """What a cell holds: nothing where that is something else, as in a damaged page."""
    return bytes(cell) if isinstance(cell, (bytes, memoryview)) else b""
