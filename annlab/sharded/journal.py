"""What a replica must not forget: the log of its shard, a snapshot, the terms that it promised. The disk of a node.

    MemoryJournal   in memory, for an index without a folder
    StoredJournal   on a disk, by the log and the snapshots of annlab/durable (stored_journal.py)

The log is that of `annlab.durable.operations`: each operation has a checksum (`chain`) that covers the one before it,
so two logs with the same chain at one place are the same up to there. Added to it are:

    term     a writer begins: options = term and writer. The term of an operation is that of the last such mark
    fit      other content: options = the key of a file in the store, and its hash
    rebuild  the structure is built anew
    sealed   the last one of a shard that is divided: nothing is written after it but terms
    add, update, attributes, remove     as in annlab/durable, with what a retry is answered (digest, result) as options
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from annlab.core.storage import CorruptIndexError
from annlab.durable.log import Head
from annlab.durable.operations import Operation
from annlab.index import Index
from annlab.kinds import load
from annlab.sharded.store import Store, get_content

__all__ = ["Answered", "CorruptIndexError", "Journal", "MemoryJournal", "Snapshot", "apply", "empty_index", "head_of"]


SEALED, SEAL = "sealed", "annlab.sharded: the log ends here"
"""The kind of the operation that ends a log, and its op_id, which nobody else may use."""


AT_ONCE = 64  # operations in a message


class Answered(NamedTuple):
    """A write that is known by its op_id: its place in the log, what was asked, and the result."""

    seq: int
    digest: str
    result: int


@dataclass(frozen=True)
class Snapshot:
    """The state after operation seq: the file of the index, the chain and term there, and the writes known by name."""

    seq: int
    chain: bytes
    term: int
    content: bytes
    answered: dict[str, Answered]


class Journal(Protocol):
    """See the head of the file. What a method has done is durable when it returns."""

    promised: int
    """No writer of an earlier term is listened to."""

    @property
    def seq(self) -> int:
        """Of the last operation."""

    @property
    def term(self) -> int:
        """Of the last operation."""

    @property
    def snapshot_seq(self) -> int:
        """Of the operation that the snapshot holds."""

    def chain_at(self, seq: int) -> bytes | None:
        """The chain after an operation; None where it is not known (any more)."""

    def append(self, operations: Sequence[Operation]) -> None:
        """Write the next operations down."""

    def truncate(self, seq: int) -> None:
        """Forget the operations after this one, which nobody has acknowledged."""

    def read(self, after: int, until: int) -> list[Operation]:
        """The operations after < seq <= until; after is at least `snapshot_seq`."""

    def answered(self, op_id: str) -> Answered | None:
        """What is known of a write by its name."""

    def answers(self, until: int) -> dict[str, Answered]:
        """All writes up to an operation that are known by their names."""

    def promise(self, term: int) -> None:
        """Listen to no writer of an earlier term from now on."""

    def load(self) -> Index:
        """The index of the snapshot."""

    def snapshot(self, index: Index, seq: int) -> None:
        """Keep the index after this operation, and cut the log up to there."""

    def whole(self) -> Snapshot:
        """The snapshot, for a replica that is too far behind for the log."""

    def install(self, snapshot: Snapshot) -> None:
        """Begin from this, whatever was there."""


def empty_index(kind: str, parameters: dict[str, Any]) -> Index:
    """An index without content, whose rebuilds are operations of their own."""
    if kind not in Index.kinds:
        raise ValueError(f"the index is of the unknown kind {kind!r}: import the module that defines it first")
    index = Index.kinds[kind](**parameters)
    index.rebuilds_itself = False
    return index


def opened(content: bytes) -> Index:
    """The index of a file's content."""
    index = load(content)
    index.rebuilds_itself = False
    return index


def fetching(store: Store) -> Callable[[str, str], Index]:
    """How a replica finds the file that an operation names."""

    def fetch(key: str, content_hash: str) -> Index:
        index = opened(get_content(store, key))
        if index.content_hash() != content_hash:
            raise ValueError(f"{key} is not the index that the log names: restore a copy")
        return index

    return fetch


def head_of(kind: str, parameters: str) -> Head:
    """Where every log of an index of this kind begins."""
    return Head.first(kind, parameters)


def apply(operation: Operation, index: Index, fetch: Any) -> Index:
    """The index after an operation; `index` itself may change. `fetch(key, hash)`: the index of a file in the store."""
    options = {k: v for k, v in operation.options.items() if k not in ("digest", "result")}
    if operation.kind in ("term", SEALED):
        return index
    if operation.kind == "fit":
        return fetch(options["key"], options["hash"])  # type: ignore[no-any-return]
    if operation.kind == "rebuild":
        index.compact()
        return index
    replace(operation, options=options).apply(index)
    return index


def term_of(operation: Operation, before: int) -> int:
    """The term of an operation, given that of the one before."""
    return int(operation.options["term"]) if operation.kind == "term" else before


def remembered(operation: Operation) -> Answered | None:
    """What a retry of an operation shall be answered."""
    if operation.op_id is None:
        return None
    return Answered(operation.seq, str(operation.options["digest"]), int(operation.options["result"]))


class MemoryJournal:
    """The journal of a replica that may forget all when its process ends."""

    def __init__(self, kind: str, parameters: dict[str, Any], first_chain: bytes) -> None:
        self.kind, self.parameters = kind, parameters
        self.promised = 0
        self._base = Snapshot(0, first_chain, 0, b"", {})
        self._entries: list[tuple[Operation, bytes, int]] = []
        self._answered: dict[str, Answered] = {}

    @property
    def seq(self) -> int:
        return self._base.seq + len(self._entries)

    @property
    def term(self) -> int:
        return self._entries[-1][2] if self._entries else self._base.term

    @property
    def snapshot_seq(self) -> int:
        return self._base.seq

    def chain_at(self, seq: int) -> bytes | None:
        if seq == self._base.seq:
            return self._base.chain
        place = seq - self._base.seq - 1
        return self._entries[place][1] if 0 <= place < len(self._entries) else None

    def append(self, operations: Sequence[Operation]) -> None:
        for operation in operations:
            chain = self._entries[-1][1] if self._entries else self._base.chain
            self._entries.append((operation, operation.chain(chain), term_of(operation, self.term)))
            known = remembered(operation)
            if known is not None:
                self._answered[str(operation.op_id)] = known

    def truncate(self, seq: int) -> None:
        del self._entries[seq - self._base.seq :]
        self._answered = {name: known for name, known in self._answered.items() if known.seq <= seq}

    def read(self, after: int, until: int) -> list[Operation]:
        first = self._base.seq
        return [entry[0] for entry in self._entries[after - first : until - first]]

    def answered(self, op_id: str) -> Answered | None:
        return self._answered.get(op_id)

    def answers(self, until: int) -> dict[str, Answered]:
        return {name: known for name, known in self._answered.items() if known.seq <= until}

    def promise(self, term: int) -> None:
        self.promised = term

    def load(self) -> Index:
        return opened(self._base.content) if self._base.content else empty_index(self.kind, self.parameters)

    def snapshot(self, index: Index, seq: int) -> None:
        _, chain, term = self._entries[seq - self._base.seq - 1]
        kept = self._entries[seq - self._base.seq :]
        self._base = Snapshot(seq, chain, term, index.to_bytes(), self.answers(seq))
        self._entries = kept

    def whole(self) -> Snapshot:
        return self._base

    def install(self, snapshot: Snapshot) -> None:
        self._base, self._entries, self._answered = snapshot, [], dict(snapshot.answered)
