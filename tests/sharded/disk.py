"""The disk of a simulated node: a crash leaves what was synced, perhaps part of the rest, and the last record torn."""

import random
from typing import Any

from annlab.durable.errors import CorruptLogError
from annlab.durable.operations import decode
from annlab.sharded.journal import MemoryJournal, Snapshot, head_of

KIND, PARAMETERS = "ExactIndex", '{"dim": 1}'
FIRST = head_of(KIND, PARAMETERS).chain


class Crash(BaseException):
    """The node dies at this very line."""


class Disk:
    """Records, of which a crash leaves what is synced, and perhaps a part of the rest, the last of that torn."""

    def __init__(self) -> None:
        self.records: list[tuple[str, Any]] = []
        self.synced = 0

    def sync(self) -> None:
        self.synced = len(self.records)

    def crash(self, chance: random.Random) -> None:
        rest = self.records[self.synced :]
        del self.records[self.synced + chance.randint(0, len(rest)) :]
        if len(self.records) > self.synced and chance.random() < 0.5:
            kind, value = self.records[-1]
            if kind == "append":
                self.records[-1] = kind, {**value, "rows": value["rows"][: len(value["rows"]) // 2], "torn": True}
            else:
                self.records.pop()
        self.synced = len(self.records)


class SimulatedJournal(MemoryJournal):
    """A journal on such a disk. What is on the disk is read again by `decode`, and by the chain of each operation."""

    def __init__(self, disk: Disk, simulation: Any) -> None:
        super().__init__(KIND, {"dim": 1}, FIRST)
        self.disk, self.simulation = disk, simulation
        for place, (kind, value) in enumerate(disk.records):
            if kind == "append":
                try:
                    operation = decode(value, "the disk")
                except CorruptLogError:
                    del disk.records[place:]
                    break
                before = self.chain_at(self.seq)
                if operation.chain(before) != value["chain"]:
                    del disk.records[place:]
                    break
                super().append([operation])
            else:
                getattr(super(), kind)(*value)
        disk.synced = len(disk.records)

    def _written(self, kind: str, value: Any) -> None:
        self.disk.records.append((kind, value))

    def _sync(self) -> None:
        if self.simulation.faults and self.simulation.random.random() < 0.01:
            raise Crash
        self.disk.sync()

    def append(self, operations: Any) -> None:
        for operation in operations:
            before = self.chain_at(self.seq)
            super().append([operation])
            chain = self.chain_at(self.seq)
            self.simulation.appended[chain] = operation, before
            self._written("append", {**operation.encoded(), "chain": chain})
        self._sync()

    def truncate(self, seq: int) -> None:
        super().truncate(seq)
        self._written("truncate", (seq,))
        self._sync()

    def promise(self, term: int) -> None:
        super().promise(term)
        self._written("promise", (term,))
        self._sync()

    def snapshot(self, index: Any, seq: int) -> None:
        super().snapshot(index, seq)
        self._written("snapshot", (index, seq))
        self._sync()

    def install(self, snapshot: Snapshot) -> None:
        super().install(snapshot)
        self._written("install", (snapshot,))
        self._sync()
