"""Shards are divided, each into the same number of new ones, while others read and write.

    begin    each old shard puts a copy of what belongs to each of its parts into the store, with the place in its log;
             the manifest names the new shards as `moving`. They begin from the copies, with replicas of their own
    follow   what the log of an old shard holds after that place is written to its parts, each operation under the name
             that it has, so that it is done once, whoever moves it and however often
    finish   a seal ends the log of each old shard; the rest is passed on; old and new rows are compared by hash; and
             the manifest names the new shards in place of the old ones

Until that last moment the old shards answer all reads, and until the seal they take all writes. In between a write
waits; then whoever holds an old manifest is told (`MovedError`), and does all of it again by the new one. What was
acknowledged before the seal is known by its op_id in the parts, so a repeated write is still done once.

Anybody may carry a move on that somebody else began: all that counts is in the manifest, the store and the logs.
"""

from collections.abc import Callable, Iterator
from typing import Any

from annlab.durable.operations import Operation
from annlab.sharded.client import Client
from annlab.sharded.errors import ConflictError, MovedError, ReplicasDisagreeError, UnacknowledgedError
from annlab.sharded.journal import SEAL, SEALED, fetching
from annlab.sharded.manifest import Entry, Manifest
from annlab.sharded.origins import part_of
from annlab.sharded.placement import ByHash
from annlab.sharded.replica import Change
from annlab.sharded.store import put_content

_ROUNDS = 3  # of following before the seal: what is left then is what was written during the last one
_PAUSE = 0.02  # seconds


class Move:
    """A move to n shards, as one client carries it on. Each step may be repeated, in order."""

    def __init__(self, client: Client, n_shards: int, seconds: float) -> None:
        self.client, self.n_shards, self.seconds = client, n_shards, seconds
        self._at: dict[str, int] = {}  # up to where the parts of an old shard hold its operations

    async def begin(self) -> Manifest:
        """Name the new shards, unless that was done; the manifest that does, or that has nothing to move any more."""
        manifest = self.client.manifest(anew=True)
        if not manifest.moving and len(manifest.shards) != self.n_shards:
            m = len(manifest.shards)
            if self.n_shards < m or self.n_shards % m:
                raise ValueError(f"{m} shards are divided into a multiple of {m}, not into {self.n_shards}")
            entries = await self._copied(manifest)
            old = _names(manifest.shards)
            manifest = self._publish(
                lambda now: now.with_moving(entries) if not now.moving and _names(now.shards) == old else None
            )
        if manifest.moving and len(manifest.moving) != self.n_shards:
            raise ValueError(f"a move to {len(manifest.moving)} shards has begun: carry that one on first")
        return manifest

    async def _copied(self, manifest: Manifest) -> tuple[Entry, ...]:
        """New shards from copies of the old ones, which these put into the store."""
        new: dict[int, Entry] = {}
        for i, old in enumerate(manifest.shards):
            numbers = tuple(range(i, self.n_shards, len(manifest.shards)))
            arguments = self.n_shards, numbers, str(manifest.version)
            seq, keys = await self.client.ask(old, "divided", arguments, self.seconds)
            for number, key in zip(numbers, keys, strict=True):
                name = f"{manifest.version}.{number}"
                replicas = tuple(f"{name}-{j}" for j in range(len(old.replicas)))
                new[number] = Entry(name, replicas, replicas[0], 1, key, seq, (*old.lineage, (old.name, seq)))
        return tuple(new[number] for number in range(self.n_shards))

    async def follow(self) -> None:
        """Bring the new shards nearly as far as the old ones."""
        for _ in range(_ROUNDS):
            for old in self.client.manifest().shards:
                await self._bring(old, None)

    async def finish(self) -> None:
        """End the old shards, and let the new ones take their place."""
        manifest = self.client.manifest(anew=True)
        if not manifest.moving:
            return
        try:
            ends = {}
            for old in manifest.shards:
                seal = Change(SEALED, None, None, {}, {}, SEAL, SEALED)
                ends[old.name], _ = await self.client.write(old.name, seal, "one", self.seconds)
            for old in manifest.shards:
                await self._bring(old, ends[old.name])
            for old in manifest.shards:
                await self._verify(old, ends[old.name])
        except MovedError:
            if not self.client.manifest(anew=True).moving:
                return  # somebody else was faster
            raise
        since = {entry.name: self._end_of(entry) for entry in manifest.moving}
        self._publish(lambda now: now.moved(since) if _names(now.moving) == _names(manifest.moving) else None)

    def give_up(self) -> list[str]:
        """Forget the new shards, whose copies are too old for the logs; their replicas."""
        manifest = self.client.manifest()
        self._publish(lambda now: now.with_moving(()) if _names(now.moving) == _names(manifest.moving) else None)
        self._at.clear()
        return [name for entry in manifest.moving for name in entry.replicas]

    def _publish(self, changed: Callable[[Manifest], Manifest | None]) -> Manifest:
        """Change the manifest as it is now; None: there is nothing to change any more."""
        while True:
            new = changed(self.client.manifest(anew=True))
            if new is None:
                return self.client.manifest()
            try:
                self.client.manifests.publish(new)
            except ConflictError:
                continue
            return self.client.manifest(anew=True)

    # ---- passing on

    def _parts(self, old: Entry) -> list[tuple[int, Entry]]:
        """The new shards that come from an old one, by number."""
        return [(number, entry) for number, entry in enumerate(self.client.manifest().moving)
                if entry.lineage[-1][0] == old.name]  # fmt: skip

    def _end_of(self, entry: Entry) -> int:
        """The last operation of a new shard that was passed on, or its copy."""
        return max(self.client.token.get(entry.name, 0), entry.lineage[-1][1])

    async def _bring(self, old: Entry, until: int | None) -> None:
        """Pass on the operations of an old shard up to a place, or to where its log ends now."""
        world, parts = self.client.world, self._parts(old)
        at, give_up = self._at.get(old.name, min((e.lineage[-1][1] for _, e in parts), default=0)), None
        while parts:
            operations, end = await self.client.ask(old, "followed", (at,), self.seconds)
            until = end if until is None else until
            for operation in operations:
                await self._pass_on(parts, operation)
                self._at[old.name] = at = operation.seq
            if at >= until:
                return
            if not operations:  # that replica is behind the others
                give_up = give_up or world.now() + self.seconds
                if world.now() >= give_up:
                    raise UnacknowledgedError(f"shard {old.name}: its replicas have not applied operation {until} "
                                              f"within {self.seconds:g} s")  # fmt: skip
                await world.sleep(_PAUSE)

    async def _pass_on(self, parts: list[tuple[int, Entry]], operation: Operation) -> None:
        """Write an operation to the new shards that it concerns, at once."""
        world = self.client.world
        changes = self._changes(parts, operation)
        calls = [world.spawn(self.client.write(name, change, "one", self.seconds)) for name, change in changes]
        await world.wait(calls, lambda: all(call.done for call in calls), 1.05 * self.seconds)
        for call in calls:
            if not call.done:
                raise UnacknowledgedError(f"operation {operation.seq} was not passed on within {self.seconds:g} s")
            call.result()

    def _changes(self, parts: list[tuple[int, Entry]], operation: Operation) -> Iterator[tuple[str, Change]]:
        if operation.kind in ("term", SEALED):
            return
        options = {name: value for name, value in operation.options.items() if name not in ("digest", "result")}
        named: tuple[Any, ...] = (operation.op_id, operation.options["digest"])
        if operation.kind == "fit":
            whole = fetching(self.client.manifests.store)(options["key"], options["hash"])
            homes = ByHash(self.n_shards).of(whole.ids)
            for number, entry in parts:
                part = part_of(whole, whole.ids[homes == number])
                key = put_content(self.client.manifests.store, part.to_bytes())
                yield entry.name, Change("fit", None, None, {}, {"key": key, "hash": part.content_hash()}, *named)
        elif operation.ids is None:
            for _, entry in parts:
                yield entry.name, Change(operation.kind, None, None, {}, options, *named)
        else:
            homes = ByHash(self.n_shards).of(operation.ids)
            for number, entry in parts:
                own = homes == number
                if own.any():
                    rows = None if operation.rows is None else operation.rows[own]
                    columns = {name: column[own] for name, column in operation.columns.items()}
                    yield entry.name, Change(operation.kind, operation.ids[own], rows, columns, options, *named)

    async def _verify(self, old: Entry, end: int) -> None:
        """Compare the rows of an old shard with those of its parts."""
        parts = self._parts(old)
        numbers = [number for number, _ in parts]
        expected = await self.client.read(old, "digests", (self.n_shards, numbers), end, self.seconds)
        for (number, entry), digest in zip(parts, expected, strict=True):
            arguments = self.n_shards, [number]
            found = await self.client.read(entry, "digests", arguments, self._end_of(entry), self.seconds)
            if found != [digest]:
                raise ReplicasDisagreeError(f"the rows of shard {entry.name} are not those that shard {old.name} holds "
                                            f"for it after operation {end}: restore a copy")  # fmt: skip


def _names(entries: tuple[Entry, ...]) -> list[str]:
    return [entry.name for entry in entries]
