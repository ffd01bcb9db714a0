"""What keeps a sharded index in order: replicas are compared, shards built anew, logs cut, and shards divided."""

import secrets
import threading
from typing import Any

from annlab.common import validation
from annlab.sharded.asking import Asking
from annlab.sharded.client import ByShard, Client
from annlab.sharded.errors import LogCutError, MissingShardError, ReplicasDisagreeError
from annlab.sharded.manifest import Entry, Manifests
from annlab.sharded.moving import Move
from annlab.sharded.replica import Change
from annlab.sharded.store import Store


class Maintaining(Asking):
    """The part of `ShardedIndex` that the head of the file tells of."""

    _store: Store
    _write_lock: threading.RLock  # type: ignore[valid-type]

    def _write(self, changes: ByShard[Change], ack: str, timeout: float | None) -> int:
        raise NotImplementedError

    def verify(self) -> dict[str, str]:
        """Compare all replicas: the hash of every shard. A replica that is still behind is not compared.

        Raises
        ------
        ReplicasDisagreeError
            Two replicas of a shard differ at one place of the log.
        """
        hashes = {}
        for entry in self._manifest.serving:
            proofs = self._engine.run(self._proofs(entry))
            newest = max(proof[0] for proof in proofs.values())
            found = {proof[1:]: name for name, proof in proofs.items() if proof[0] == newest}
            if len(found) > 1:
                raise ReplicasDisagreeError(f"shard {entry.name}: replicas {', '.join(found.values())} differ after "
                                            f"operation {newest}: restore one from a copy")  # fmt: skip
            hashes[entry.name] = next(iter(found))[1]
        return hashes

    def status(self) -> dict[str, Any]:
        """What the manifest says, and how far each replica has come (None for one that does not answer)."""
        manifest = self._client.manifest(anew=True)
        shards = []
        for entry in manifest.serving:
            try:
                proofs = self._engine.run(self._proofs(entry))
            except MissingShardError:
                proofs = {}
            applied = {name: proofs[name][0] if name in proofs else None for name in entry.replicas}
            shards.append({"name": entry.name, "writer": entry.writer, "term": entry.term,
                           "replicas": [{"name": name, "applied": seq} for name, seq in applied.items()]})  # fmt: skip
        return {"version": manifest.version, "kind": manifest.kind, "ack": manifest.ack, "vectors": len(self),
                "placement": manifest.placement, "shards": shards, "moving": len(manifest.moving)}  # fmt: skip

    async def _proofs(self, entry: Entry) -> dict[str, tuple[int, str, str]]:
        calls = {name: self._engine.world.call(name, "proof") for name in entry.replicas}
        await self._engine.world.wait(calls.values(), lambda: all(call.done for call in calls.values()), self.timeout)
        found = {name: call.value for name, call in calls.items() if call.succeeded}
        if not found:
            raise MissingShardError(f"shard {entry.name}: no replica proves its state within {self.timeout:g} s")
        return found

    def compact(self, *, timeout: float | None = None) -> None:
        """Build the structure of every shard anew over its living vectors. Writes of a shard wait meanwhile."""
        with self._write_lock:
            change = Change("rebuild", None, None, {}, {}, secrets.token_hex(16), "rebuild")
            self._write(lambda manifest: {entry.name: change for entry in manifest.shards}, "one", timeout)

    def snapshot(self, *, timeout: float | None = None) -> None:
        """Let every replica write its index to a file and cut its log, so that the logs hold nothing of the past.

        Raises
        ------
        MissingShardError
            A replica did not do so in time; the message names it.
        """
        seconds, world = self._seconds(timeout), self._engine.world
        names = [name for entry in self._manifest.serving for name in entry.replicas]

        async def all_of_them() -> dict[str, str]:
            calls = {name: world.call(name, "cut") for name in names}
            await world.wait(calls.values(), lambda: all(call.done for call in calls.values()), seconds)
            return {name: str(call.error or "no answer") for name, call in calls.items() if not call.succeeded}

        failed = self._engine.run(all_of_them())
        if failed:
            name, why = next(iter(failed.items()))
            raise MissingShardError(f"{len(failed)} of {len(names)} replicas wrote no snapshot: {name}: {why}")

    def reshard(self, n_shards: int, *, timeout: float = 3600.0) -> None:
        """Divide the shards into more, a multiple of how many there are, while others search and write. Only where rows
        are placed by hash: cells are shared out anew by `fit`.

        Searches go on all the time. Writes wait for the last part, in which the rest of the logs is passed on and the
        rows of old and new shards are compared by hash; where others use the index too, their `timeout` should bear
        that. What was interrupted goes on when this is called again. What the old shards wrote stays in the folder.

        Parameters
        ----------
        n_shards : int
            How many there shall be.
        timeout : float
            Seconds that each step may take.

        Raises
        ------
        ReplicasDisagreeError
            The rows of a new shard are not those of the old one. The old shards still answer searches.
        """
        n_shards = validation.as_integer("n_shards", n_shards, 1)
        if self._client.manifest(anew=True).placement == "cells":
            raise ValueError("reshard divides shards by the hash of ids, and these rows are placed by cells: make an "
                             f"index of {n_shards} shards, and fit it with vectors() and ids of this one")  # fmt: skip
        client = Client(self._engine.world, Manifests(self._store), hedge_after=60.0)
        move = Move(client, n_shards, validation.as_number("timeout", timeout, 0.0))
        while (manifest := self._engine.run(move.begin())).moving:
            self._engine.start(manifest)
            try:
                self._engine.run(move.follow())
                with self._write_lock:
                    self._engine.run(move.finish())
            except LogCutError:  # it took longer than the logs were kept
                self._engine.stop(move.give_up())
                continue
            self._client.manifest(anew=True)
            self._engine.stop(name for entry in manifest.shards for name in entry.replicas)
