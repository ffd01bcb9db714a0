"""New content in new shards: what `fit` and `load` do where rows are placed by cells.

With other content come other cells, and ids get other homes. So old and new must never be mixed: the new shards and
their registry are made beside the old ones, from files in the store, and take their place all at once.

    begin     put what the new shards begin from; the manifest names them as `moving`
    finish    a seal ends the log of each old shard, so that nothing more is acknowledged there; then the manifest names
              the new ones

Until then the old shards answer all reads. If it is interrupted, `fit` begins again, from new files.
"""

import hashlib
from collections.abc import Callable, Sequence

from annlab.sharded.client import Client
from annlab.sharded.errors import ConflictError, ShardedError
from annlab.sharded.journal import SEAL, SEALED, Snapshot
from annlab.sharded.manifest import Entry, Manifest
from annlab.sharded.origins import put_origin
from annlab.sharded.replica import Change

_FIRST = 1
"""The content is what the first operation of the new logs led to."""


class Renewal:
    """One client's renewal of all content."""

    def __init__(self, client: Client, seconds: float) -> None:
        self.client, self.seconds = client, seconds
        self._names: list[str] = []

    def begin(self, contents: Sequence[bytes], registry: bytes, cells: str) -> list[str]:
        """Name new shards that begin from these files of indexes; the replicas of a renewal that was interrupted, which
        nobody needs any more."""
        store = self.client.manifests.store
        keys = [put_origin(store, _snapshot(content)) for content in (*contents, registry)]
        while True:
            now = self.client.manifest(anew=True)
            n_replicas, lineage = len(now.shards[0].replicas), tuple((entry.name, 0) for entry in now.serving)
            self._names = [f"{now.version + 1}.{place}" for place in (*range(len(contents)), "ids")]
            entries = []
            for name, key in zip(self._names, keys, strict=True):
                replicas = tuple(f"{name}-{j}" for j in range(n_replicas))
                entries.append(Entry(name, replicas, replicas[0], 1, key, _FIRST, lineage))
            if self._published(lambda manifest, new=tuple(entries): manifest.with_moving(new, cells)):  # type: ignore[misc]
                return [name for entry in now.moving for name in entry.replicas]

    async def finish(self) -> list[str]:
        """End the old shards, and let the new ones take their place; the replicas of the old ones.

        Raises
        ------
        ShardedError
            Another renewal has begun meanwhile.
        """
        old = self.client.manifest(anew=True).serving
        for entry in old:
            seal = Change(SEALED, None, None, {}, {}, SEAL, SEALED)
            await self.client.write(entry.name, seal, "one", self.seconds)
        while True:
            now = self.client.manifest(anew=True)
            if [entry.name for entry in now.moving] != self._names:
                raise ShardedError("other content was given to the index at the same time, and replaces this: look at "
                                   "what it holds now")  # fmt: skip
            if self._published(lambda manifest: manifest.moved({entry.name: entry.since for entry in manifest.moving})):
                break
        self.client.token = {entry.name: 0 for entry in self.client.manifest(anew=True).serving}
        return [name for entry in old for name in entry.replicas]

    def _published(self, changed: Callable[[Manifest], Manifest]) -> bool:
        """Change the manifest as it was when it was last looked at; whether nobody else was faster."""
        try:
            self.client.manifests.publish(changed(self.client.manifest()))
        except ConflictError:
            return False
        self.client.manifest(anew=True)
        return True


def _snapshot(content: bytes) -> Snapshot:
    return Snapshot(_FIRST, hashlib.sha256(b"renewed" + content).digest(), 0, content, {})
