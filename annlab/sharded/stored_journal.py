"""The journal of a replica on a disk: the log and the snapshots of annlab/durable, and a row for what is promised.

    annlab_shard    (name, promised, snapshot_term): the earliest term that is listened to; the term of the snapshot

An append is one transaction, and on the disk when it returns. The operations stay there; in memory are their chains.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Column, MetaData, String, Table, delete, insert, select, update

from annlab.durable import snapshots
from annlab.durable.database import Database
from annlab.durable.errors import CorruptLogError
from annlab.durable.lock import FolderLock
from annlab.durable.log import Head, Log, operations, retried
from annlab.durable.operations import Operation
from annlab.index import Index
from annlab.sharded.journal import Answered, Snapshot, empty_index, head_of, opened, remembered, term_of

_NAME = "shard"
_metadata = MetaData()
_shards = Table(
    "annlab_shard", _metadata,
    Column("name", String(64), primary_key=True),
    Column("promised", BigInteger, nullable=False),
    Column("snapshot_term", BigInteger, nullable=False),
)  # fmt: skip


class StoredJournal:
    """See `Journal`. A folder belongs to one process at a time; a kill releases it."""

    def __init__(self, kind: str, parameters: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._lock = FolderLock(folder / "replica.lock")
        try:
            self._database = Database.open(folder / "log.db")
            self._log = Log(self._database, _NAME)
            self._log.create_tables()
            with self._database.writing() as connection:
                _metadata.create_all(connection)
                head = self._log.head(connection)
                if head is None:
                    head = head_of(kind, parameters)
                    self._log.create(connection, head)
                    connection.execute(insert(_shards), {"name": _NAME, "promised": 0, "snapshot_term": 0})
                elif (head.kind, head.parameters) != (kind, parameters):
                    raise CorruptLogError(f"{self._log.where} is the log of another index ({head.kind}): it was moved "
                                          "here; bring back the one of this replica")  # fmt: skip
                row = connection.execute(select(_shards).where(_shards.c.name == _NAME)).one()
            self.promised, self._snapshot_term = int(row.promised), int(row.snapshot_term)
            self._head = head
            self._read_places()
        except BaseException:
            self.close()
            raise
        snapshots.remove_others(folder, _NAME, head.snapshot_file)

    def _read_places(self) -> None:
        """Chains and terms of the log, each operation checked."""
        self._places: list[tuple[bytes, int]] = []  # chain and term after each operation of the log
        chain = self._head.snapshot_chain
        with self._database.reading() as connection:
            for operation in self._log.verified(connection, self._head):
                chain = operation.chain(chain)
                self._places.append((chain, term_of(operation, self.term)))

    def close(self) -> None:
        """Let another process have the folder."""
        self._lock.release()
        if hasattr(self, "_database"):
            self._database.close()

    @property
    def seq(self) -> int:
        return self._head.seq

    @property
    def term(self) -> int:
        return self._places[-1][1] if self._places else self._snapshot_term

    @property
    def snapshot_seq(self) -> int:
        return self._head.snapshot_seq

    def chain_at(self, seq: int) -> bytes | None:
        if seq == self._head.snapshot_seq:
            return self._head.snapshot_chain
        place = seq - self._head.snapshot_seq - 1
        return self._places[place][0] if 0 <= place < len(self._places) else None

    def append(self, new: Sequence[Operation]) -> None:
        head, places, term = self._head, [], self.term
        with self._database.writing() as connection:
            for operation in new:
                head = self._log.append(connection, head, operation)
                term = term_of(operation, term)
                places.append((head.chain, term))
                known = remembered(operation)
                if known is not None:
                    digest = known.digest.encode()
                    self._log.remember(connection, str(operation.op_id), operation.seq, digest, known.result)
            self._log.move(connection, self._head, head)
        self._head = head
        self._places += places

    def truncate(self, seq: int) -> None:
        chain = self.chain_at(seq)
        if chain is None:
            raise CorruptLogError(
                f"{self._log.where}: operation {seq} is not in the log, so nothing is cut off after it"
            )
        head = replace(self._head, seq=seq, chain=chain)
        with self._database.writing() as connection:
            for table in (operations, retried):
                connection.execute(delete(table).where((table.c.name == _NAME) & (table.c.seq > seq)))
            self._log.move(connection, self._head, head)
        self._head = head
        del self._places[seq - head.snapshot_seq :]

    def read(self, after: int, until: int) -> list[Operation]:
        if until <= after:
            return []
        with self._database.reading() as connection:
            return [operation for operation, _ in self._log.read(connection, after, until)]

    def answered(self, op_id: str) -> Answered | None:
        known = (retried.c.name == _NAME) & (retried.c.op_id == op_id)
        with self._database.reading() as connection:
            row = connection.execute(select(retried).where(known)).first()
        return None if row is None else _answered(row)

    def answers(self, until: int) -> dict[str, Answered]:
        known = (retried.c.name == _NAME) & (retried.c.seq <= until)
        with self._database.reading() as connection:
            return {str(row.op_id): _answered(row) for row in connection.execute(select(retried).where(known))}

    def promise(self, term: int) -> None:
        with self._database.writing() as connection:
            connection.execute(update(_shards).values(promised=term))
        self.promised = term

    def load(self) -> Index:
        if self._head.snapshot_file is None:
            return empty_index(self._head.kind, json.loads(self._head.parameters))
        index = snapshots.load(self.folder, self._head, self._log.where)
        index.rebuilds_itself = False
        return index

    def snapshot(self, index: Index, seq: int) -> None:
        chain, term = self._places[seq - self._head.snapshot_seq - 1]
        file, sha256 = snapshots.write(index, self.folder, _NAME, seq)
        self._cut(replace(self._head, snapshot_seq=seq, snapshot_chain=chain, snapshot_file=file,
                          snapshot_sha256=sha256), term)  # fmt: skip

    def _cut(self, head: Head, term: int) -> None:
        cut = head.snapshot_seq - self._head.snapshot_seq
        with self._database.writing() as connection:
            self._log.cut(connection, head.snapshot_seq)
            connection.execute(update(_shards).values(snapshot_term=term))
            self._log.move(connection, self._head, head)
        self._head, self._snapshot_term = head, term
        del self._places[:cut]
        snapshots.remove_others(self.folder, _NAME, head.snapshot_file)

    def whole(self) -> Snapshot:
        head = self._head
        content = b"" if head.snapshot_file is None else (self.folder / head.snapshot_file).read_bytes()
        answered = self.answers(head.snapshot_seq)
        return Snapshot(head.snapshot_seq, head.snapshot_chain, self._snapshot_term, content, answered)

    def install(self, snapshot: Snapshot) -> None:
        file, sha256 = None, None
        if snapshot.content:
            file, sha256 = snapshots.write(opened(snapshot.content), self.folder, _NAME, snapshot.seq)
        head = replace(self._head, seq=snapshot.seq, chain=snapshot.chain, snapshot_seq=snapshot.seq,
                       snapshot_chain=snapshot.chain, snapshot_file=file, snapshot_sha256=sha256)  # fmt: skip
        with self._database.writing() as connection:
            for table in (operations, retried):
                connection.execute(delete(table).where(table.c.name == _NAME))
            for op_id, known in snapshot.answered.items():
                self._log.remember(connection, op_id, known.seq, known.digest.encode(), known.result)
            connection.execute(update(_shards).values(snapshot_term=snapshot.term))
            self._log.move(connection, self._head, head)
        self._head, self._places, self._snapshot_term = head, [], snapshot.term
        snapshots.remove_others(self.folder, _NAME, file)


def _answered(row: Any) -> Answered:
    return Answered(int(row.seq), bytes(row.digest).decode(), int(row.result or 0))
