"""What a replica does for whoever divides its shard (moving.py): a copy for each part, its log from there on, its end.

The log ends with a seal, an operation like others: once it is acknowledged, every later writer has it in its log, and
none takes writes any more. Once the manifest names the parts, a replica that has applied the seal refuses reads too, so
nobody goes on with what is not written any more.
"""

from collections.abc import Sequence
from typing import Any

from annlab.durable.operations import Operation
from annlab.index import Index
from annlab.sharded import origins
from annlab.sharded.errors import BehindError, LogCutError, MovedError
from annlab.sharded.journal import AT_ONCE, SEAL, SEALED
from annlab.sharded.part import Part
from annlab.sharded.store import Store
from annlab.sharded.world import Pending


class Divisible(Part):
    """The part of `Replica` that the head of the file tells of."""

    keeps_the_log = 60.0
    """Seconds for which the log is not cut after somebody has followed it."""

    _sealed_at: int | None = None
    _divided: tuple[Any, Pending] | None = None  # what was asked for, and what comes of it
    _followed_until = -1e9

    # ---- the end of the log

    def _know_the_seal(self) -> None:
        seal = self.journal.answered(SEAL)
        self._sealed_at = None if seal is None else seal.seq

    def _look_for_a_seal(self, new: Sequence[Operation]) -> None:
        """After operations were written to the log, perhaps in place of others."""
        if self._sealed_at is not None and new[0].seq <= self._sealed_at:
            self._sealed_at = None
        self._sealed_at = next((operation.seq for operation in new if operation.kind == SEALED), self._sealed_at)

    def _is_sealed(self) -> bool:
        return self._sealed_at is not None

    def _refuse_if_moved(self) -> None:
        if self._sealed_at is not None and self.applied >= self._sealed_at:
            manifest = self.manifests.current()
            if manifest is not None and not manifest.serves(self.shard):
                raise MovedError(f"shard {self.shard} was divided: read those of version {manifest.version}")

    # ---- copies, and what comes after them

    async def divided(self, n_shards: int, numbers: Sequence[int], attempt: str) -> tuple[int, list[str]]:
        """Put a copy of what belongs to the shards of these numbers, of n_shards, into the store: up to where the log
        is in it, and the keys. Who asks again in one attempt gets what was begun."""
        if not self._current:
            self._ask_writer()
            raise BehindError(f"{self.name} does not know yet what is acknowledged")
        self._followed_until = self.world.now() + self.keeps_the_log
        what = n_shards, tuple(numbers), attempt
        if self._divided is None or self._divided[0] != what:
            answered = {name: known for name, known in self.journal.answers(self.applied).items() if name != SEAL}
            arguments = self.manifests.store, self.visible, self.applied, answered, n_shards, tuple(numbers)
            self._divided = what, self.world.spawn(self._put(*arguments))
        work = self._divided[1]
        await self.world.wait([work], lambda: work.done, 1e6)
        return work.result()  # type: ignore[no-any-return]

    async def _put(self, store: Store, index: Index, seq: int, *how: Any) -> tuple[int, list[str]]:
        return seq, await self.world.work(origins.divide, store, index, seq, *how)

    async def followed(self, after: int) -> tuple[list[Operation], int]:
        """The next acknowledged operations after a place, and where they end."""
        self._followed_until = self.world.now() + self.keeps_the_log
        if after < self.journal.snapshot_seq:
            raise LogCutError(f"the log of shard {self.shard} at {self.name} begins after operation "
                              f"{self.journal.snapshot_seq}, {after} is asked for")  # fmt: skip
        if self.applied < after:
            self._ask_writer()
            raise BehindError(f"{self.name} has applied {self.applied} operations, {after} are known")
        return self.journal.read(after, min(self.applied, after + AT_ONCE)), self.applied
