"""One replica of one shard: it keeps the log, applies what is acknowledged, and answers reads. One of them writes.

Who writes says the manifest, with a number that only grows, the *term*. The way of a write

    the writer    tries it on a branch of the index, and writes it into its own log
                  sends what the others lack: the term, the place and the chain before, the operations, and up to where
                  the log is acknowledged
    the others    refuse a term that is older than one they promised (fencing), refuse what does not follow their own
                  log (its end, and its chain), write it down, and answer where their log ends now
    the writer    once enough logs hold it, calls it acknowledged, answers, and tells the others
    everybody     applies what is acknowledged, in order, and nothing else: what was visible never vanishes

"Enough" is what the index was made with: one log, most of them, or all. A new writer must have heard so many replicas
that one of them holds everything acknowledged: with n logs, of which w make enough, n - w + 1 (`electing.py`). Its
first operation is a mark of its term. Before that mark is acknowledged it acknowledges nothing, for operations of
earlier writers may still be replaced, on other replicas, by those of another one (D. Ongaro, J. Ousterhout, "In Search
of an Understandable Consensus Algorithm", 2014, section 5.4.2).

The state after an operation is a function of the log up to it, bit for bit. So `proof` is a hash, and two replicas with
different hashes at one place of the log are an error and not a fact of life.
"""

import secrets
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from annlab.core.attributes import Attribute
from annlab.durable.operations import LARGEST, Operation
from annlab.index import Index
from annlab.sharded import origins, reading
from annlab.sharded.dividing import Divisible
from annlab.sharded.errors import (
    BehindError,
    MovedError,
    NotWriterError,
    ReplicasDisagreeError,
    UnacknowledgedError,
)
from annlab.sharded.journal import AT_ONCE, Answered, Journal, Snapshot, apply, fetching
from annlab.sharded.manifest import Entry, Manifests, needed_for
from annlab.sharded.reaching import Reaching
from annlab.sharded.world import Pending, World

SNAPSHOT_AFTER = 500  # operations


class Change(NamedTuple):
    """A write to one shard: an operation before it has a place."""

    kind: str
    ids: np.ndarray | None
    rows: np.ndarray | None
    columns: Mapping[str, Attribute]
    options: Mapping[str, Any]
    op_id: str | None
    digest: str


class Replica(Divisible, Reaching):
    """A node. All that others call is a coroutine; between two waits nothing else happens."""

    def __init__(self, name: str, shard: str, world: World, journal: Journal, manifests: Manifests, *,
                 snapshot_after: int = SNAPSHOT_AFTER) -> None:  # fmt: skip
        self.name, self.shard, self.world, self.journal, self.manifests = name, shard, world, journal, manifests
        self.fetch, self.snapshot_after = fetching(manifests.store), snapshot_after
        entry = self._entry()
        if entry is not None and entry.origin and journal.seq == 0:
            journal.install(origins.get_origin(manifests.store, entry.origin))
        self.visible, self.applied = journal.load(), journal.snapshot_seq
        self.acknowledged = self.applied
        self.leading: int | None = None  # the term in which this replica writes
        self._ahead: deque[tuple[int, Index]] = deque()  # states after operations that are not acknowledged
        self._held: dict[str, int] = {}  # up to where the others' logs are known to be this one's
        self._told: dict[str, int] = {}  # up to where they were told that it is acknowledged
        self.life = secrets.token_hex(8)  # what a writer has to name: see `append`
        self._lives: dict[str, str] = {}  # of the others, as far as they have told this writer
        self._current = False  # in this life: whether it has heard from a writer how far the log is acknowledged
        self.damage: str | None = None  # what was found that cannot be
        self._others: tuple[str, ...] = ()
        self._enough = 1
        self._first_of_term = 0
        self._know_the_seal()

    def _entry(self) -> Entry | None:
        manifest = self.manifests.current()
        return None if manifest is None else manifest.find(self.shard)

    # ---- who writes

    async def start(self) -> None:
        """After the process began: write again, if the manifest says so."""
        entry = self._entry()
        if entry is not None and entry.writer == self.name:
            await self.lead()
        else:
            self._ask_writer()

    async def promise(self, term: int) -> tuple[int, int, bool]:
        """Listen to no earlier term. Where the own log ends (term, seq), and whether the promise holds."""
        if term < self.journal.promised:
            return self.journal.term, self.journal.seq, False
        if term > self.journal.promised:
            self.journal.promise(term)
            self._stop_leading()
        return self.journal.term, self.journal.seq, True

    async def lead(self) -> bool:
        """Write from now on, if the manifest says so."""
        manifest = self.manifests.current()
        entry = None if manifest is None else manifest.find(self.shard)
        if manifest is None or entry is None or entry.writer != self.name or entry.term < self.journal.promised:
            return False
        if self.leading == entry.term:
            return True
        if entry.term > self.journal.promised:
            self.journal.promise(entry.term)
        self._others = tuple(name for name in entry.replicas if name != self.name)
        self._enough = needed_for(manifest.ack, len(entry.replicas))
        self._held, self._told = {}, {}
        index, self._ahead = self.visible, deque()
        for operation in self.journal.read(self.applied, self.journal.seq):
            index = apply(operation, index.branch(), self.fetch)
            self._ahead.append((operation.seq, index))
        self.leading = entry.term
        mark = Operation(self.journal.seq + 1, "term", options={"term": entry.term, "writer": self.name})
        self.journal.append([mark])
        self._ahead.append((mark.seq, index.branch()))
        self._first_of_term = mark.seq
        for name in self._others:
            self.world.spawn(self._bring_up(name))
        self._count()
        return True

    def _stop_leading(self) -> None:
        self.leading = None
        self._ahead.clear()

    # ---- writing

    async def write(self, change: Change, ack: str, seconds: float) -> tuple[int, int]:
        """Do a write; its seq and result once enough logs hold it."""
        if self.leading is None:
            raise NotWriterError(f"{self.name} does not write shard {self.shard} now")
        known = None if change.op_id is None else self.journal.answered(change.op_id)
        if known is None:
            known = self._logged(change)
        elif known.digest != change.digest:
            raise ValueError(
                f"op_id {change.op_id!r} has named another write before: give each write a name of its own"
            )
        n_logs = max(self._enough, needed_for(ack, len(self._others) + 1))
        await self._wait_for(known.seq, n_logs, seconds)
        return known.seq, known.result

    def _logged(self, change: Change) -> Answered:
        if self._is_sealed():
            raise MovedError(f"shard {self.shard} is being divided and takes no writes any more")
        trial = (self._ahead[-1][1] if self._ahead else self.visible).branch()
        before = len(trial)
        options = dict(change.options)
        operation = Operation(self.journal.seq + 1, change.kind, change.op_id, change.ids, change.rows, change.columns,
                              options)  # fmt: skip
        if operation.n_bytes > LARGEST:
            raise ValueError(f"one write of {operation.n_bytes / 2**20:.0f} MiB to shard {self.shard}; the log takes "
                             f"{LARGEST / 2**20:.0f} MiB at once: add in parts, or begin with fit")  # fmt: skip
        trial = apply(operation, trial, self.fetch)
        result = before - len(trial) if change.kind == "remove" else 0
        known = Answered(operation.seq, change.digest, result)
        if change.op_id is not None:
            options |= {"digest": known.digest, "result": known.result}
        self.journal.append([operation])  # durable: only now may anybody hear of it
        self._ahead.append((operation.seq, trial))
        self._look_for_a_seal([operation])
        return known

    async def _wait_for(self, seq: int, n_logs: int, seconds: float) -> None:
        """Return once n_logs logs hold an operation, and it is acknowledged."""
        term, until = self.leading, self.world.now() + seconds
        pending = self._send(seq)
        self._count()

        def done() -> bool:
            held = 1 + sum(self._held.get(name, -1) >= seq for name in self._others)
            return self.acknowledged >= seq and held >= n_logs

        while not done():
            if self.damage is not None:
                raise ReplicasDisagreeError(f"shard {self.shard}: {self.damage}: restore one of them from a copy")
            if self.leading != term:
                raise NotWriterError(f"{self.name} was replaced as the writer of shard {self.shard}")
            if self.world.now() >= until:
                held = 1 + sum(self._held.get(name, -1) >= seq for name in self._others)
                raise UnacknowledgedError(
                    f"shard {self.shard}: {held} of {len(self._others) + 1} logs hold the write after {seconds:g} s, "
                    f"{n_logs} are needed; it may survive or not: repeat it with the same op_id"
                )
            if not await self.world.wait(pending, done, until - self.world.now()) and self.leading == term:
                await self.world.sleep(0.02)
                pending = self._send(seq)

    def _send(self, seq: int) -> list[Pending]:
        """Begin to bring up all whose logs do not hold an operation."""
        return [self.world.spawn(self._bring_up(name)) for name in self._others if self._held.get(name, -1) < seq]

    async def _bring_up(self, name: str) -> None:
        """Send another replica what its log lacks, until it holds all of this one."""
        term, place = self.leading, self._held.get(name, self.journal.seq)
        while self.leading == term and term is not None:
            told, is_all, life = self.acknowledged, self._knows_all(), self._lives.get(name)
            if place < self.journal.snapshot_seq or self.journal.chain_at(place) is None:
                answer = await self._asked(name, "install", term, self.journal.whole(), self.acknowledged)
            else:
                until = min(self.journal.seq, place + AT_ONCE)
                answer = await self._asked(name, "append", term, place, self.journal.chain_at(place),
                                           self.journal.read(place, until), told, is_all, life)  # fmt: skip
            if self.leading != term or answer is None:
                return
            how, place = answer
            if how == "lacks" and place > self.journal.seq:
                self.damage = (
                    f"{name} has applied {place} operations, the log of {self.name} ends with {self.journal.seq}"
                )
                return
            if how == "fenced":  # somebody asked for a later writer, who may never have come: there has to be one now
                self._is_fenced(place)
                return
            if how == "holds":
                self._held[name] = max(place, self._held.get(name, -1))
                self._told[name] = max(min(told, place), self._told.get(name, -1))
                self._count()
                if place >= self.journal.seq:
                    self._tell()
                    return

    async def _asked(self, name: str, method: str, *arguments: Any) -> Any:
        call: Pending = self.world.call(name, method, *arguments)
        await self.world.wait([call], lambda: call.done, 1.0)
        if isinstance(call.error, ReplicasDisagreeError):
            self.damage = str(call.error)
        return call.value if call.succeeded else None

    def _count(self) -> None:
        """Acknowledge what enough logs hold."""
        logs = sorted([self.journal.seq, *(self._held.get(name, -1) for name in self._others)], reverse=True)
        seq = logs[self._enough - 1]
        if self.leading is not None and seq >= self._first_of_term and seq > self.acknowledged:
            self.acknowledged, self._current = seq, True
            while self._ahead and self._ahead[0][0] <= seq:
                self.applied, self.visible = self._ahead.popleft()
            self._snapshot_if_due()

    def _knows_all(self) -> bool:
        """Whether this writer knows of all that is acknowledged.

        Before the mark of its term is, it does not: others may have shown what it never heard of.
        """
        return self.acknowledged >= self._first_of_term

    def _tell(self) -> None:
        """Let the others apply what is acknowledged; nobody waits for that. Whoever misses it asks (`lacks`)."""
        for name in self._others:
            held = self._held.get(name, -1)
            chain = self.journal.chain_at(held) if held >= 0 else None
            if chain is not None and self._told.get(name, -1) < min(held, self.acknowledged):
                self._told[name] = min(held, self.acknowledged)
                self.world.call(name, "append", self.leading, held, chain, [], self.acknowledged, self._knows_all(),
                                self._lives.get(name))  # fmt: skip

    async def lacks(self, name: str, life: str) -> None:
        """Of the writer: another replica knows that it is behind, or may be, as it has just begun this life."""
        if self.leading is not None and name in self._others:
            self._lives[name] = life
            self._held.pop(name, None)
            await self._bring_up(name)

    def _ask_writer(self) -> None:
        entry = self._entry()
        if entry is not None and entry.writer != self.name:
            self.world.call(entry.writer, "lacks", self.name, self.life)

    # ---- following

    async def append(self, term: int, place: int, chain: bytes, operations: list[Operation], acknowledged: int,
                     is_all: bool, life: str | None) -> tuple[str, int]:  # fmt: skip
        """Take operations from the writer. "holds" and up to where, "lacks" and after where, or "fenced".

        acknowledged: up to where the log is known to be; is_all: whether nothing else is. Only then may a replica that
        has begun again answer reads: before, it could show less than it did in its last life. And only if the writer
        knew of this life: what it said earlier may arrive late, and be true no more.
        """
        if self._is_fenced(term):
            return "fenced", self.journal.promised
        if not self._follows(place, chain):
            if self.journal.snapshot_seq <= place <= self.applied:
                raise ReplicasDisagreeError(f"{self.name}: operation {place} of shard {self.shard} was acknowledged "
                                            "otherwise; restore this replica")  # fmt: skip
            return "lacks", min(self.journal.seq, max(self.applied, place - 1))
        new = [op for op in operations if not self._has(op)]
        if new:
            if new[0].seq <= self.journal.seq:
                if new[0].seq <= self.applied:
                    raise ReplicasDisagreeError(f"{self.name}: operation {new[0].seq} of shard {self.shard} was "
                                                "acknowledged otherwise; restore this replica")  # fmt: skip
                self.journal.truncate(new[0].seq - 1)
            self.journal.append(new)
            self._look_for_a_seal(new)
        holds = operations[-1].seq if operations else place
        self._apply(min(acknowledged, holds))
        if is_all and not self._current:
            if life == self.life:
                self._current = self.applied >= acknowledged
            else:
                self._ask_writer()
        return "holds", holds

    def _is_fenced(self, term: int) -> bool:
        """Whether a writer of this term is one of the past; a newer one ends what this replica leads."""
        if term < self.journal.promised:
            return True
        if term > self.journal.promised:
            self.journal.promise(term)
            self._stop_leading()
        return False

    def _follows(self, place: int, chain: bytes) -> bool:
        """Whether the own log up to a place is the writer's."""
        return self.journal.chain_at(place) == chain

    def _has(self, operation: Operation) -> bool:
        before, own = self.journal.chain_at(operation.seq - 1), self.journal.chain_at(operation.seq)
        return operation.seq <= self.journal.snapshot_seq or (
            before is not None and own is not None and operation.chain(before) == own
        )

    async def install(self, term: int, snapshot: Snapshot, acknowledged: int) -> tuple[str, int]:
        """Begin from the writer's snapshot, which holds what the log of the writer does not any more."""
        if self._is_fenced(term):
            return "fenced", self.journal.promised
        if snapshot.seq > self.applied:
            self.journal.install(snapshot)
            self.visible, self.applied = self.journal.load(), snapshot.seq
            self.acknowledged = snapshot.seq
            self._know_the_seal()
        return "holds", snapshot.seq

    def _apply(self, until: int) -> None:
        self.acknowledged = max(self.acknowledged, until)
        if self.leading is None:
            for operation in self.journal.read(self.applied, max(until, self.applied)):
                self.visible, self.applied = apply(operation, self.visible.branch(), self.fetch), operation.seq
            self._snapshot_if_due()

    def _snapshot_if_due(self) -> None:
        due = self.applied - self.journal.snapshot_seq >= self.snapshot_after
        if due and self.world.now() >= self._followed_until:
            self.journal.snapshot(self.visible, self.applied)

    async def cut(self) -> None:
        """Keep the index as it is, and forget the log up to there."""
        if self.applied > self.journal.snapshot_seq:
            self.journal.snapshot(self.visible, self.applied)

    # ---- reading

    async def read(self, method: str, arguments: tuple[Any, ...], at_least: int) -> Any:
        """What the index answers, once it holds what the reader knows of."""
        if self.applied < at_least or not self._current:
            self._ask_writer()
            raise BehindError(f"{self.name} has applied {self.applied} operations, the token asks for {at_least}")
        self._refuse_if_moved()
        return await self.world.work(reading.READS[method], self.visible, *arguments)

    async def known(self, op_id: str | None, ids: np.ndarray) -> tuple[bool, np.ndarray]:
        """Of the writer: whether a write of this name is in the log, and which ids are there, with all that is."""
        if self.leading is None:
            raise NotWriterError(f"{self.name} does not write shard {self.shard} now")
        index = self._ahead[-1][1] if self._ahead else self.visible
        return op_id is not None and self.journal.answered(op_id) is not None, np.isin(ids, index.ids)

    async def proof(self) -> tuple[int, str, str]:
        """Up to where it has applied, the chain there, and the hash of the state."""
        chain = self.journal.chain_at(self.applied)
        return self.applied, "" if chain is None else chain.hex(), self.visible.content_hash()
