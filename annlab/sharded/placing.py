"""Which shard a write goes to: by a hash of its ids, or by the cells in which its vectors lie (cells.py)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from annlab.index import Index
from annlab.sharded import registry
from annlab.sharded.cells import KIND, Cells
from annlab.sharded.client import Client
from annlab.sharded.journal import opened
from annlab.sharded.maintaining import Maintaining
from annlab.sharded.manifest import Manifest
from annlab.sharded.origins import part_of
from annlab.sharded.placement import ByHash
from annlab.sharded.renewing import Renewal
from annlab.sharded.store import put_content
from annlab.sharded.trial import shards_to_ask

PLACEMENTS = ("hash", "cells")


class Placing(Maintaining):
    """The part of `ShardedIndex` that the head of the file tells of."""

    async def _places(self, manifest: Manifest, ids: np.ndarray, rows: np.ndarray | None, named: bool,
                      seconds: float) -> Mapping[str, np.ndarray]:  # fmt: skip
        """The places of those of the ids (n,) that belong to each shard. `named`: the write has an op_id, so all ids
        get a home, also those that are nowhere: a retry has to go where the write went."""
        if not manifest.cells:
            return manifest.split(ids)
        wanted = ByHash(len(manifest.shards)).of(ids) if named else None
        if rows is not None:
            wanted = self._routes.cells(manifest).of(rows)
        client: Client = self._client
        return manifest.divided(await registry.homes(client, manifest, ids, wanted, seconds))

    def _fit_by_cells(self, whole: Index, seconds: float) -> None:
        """Share out an index by cells of its own, in new shards."""
        n = self.n_shards
        cells = Cells.learned(whole, n)
        ids, homes = whole.ids, cells.homes(whole)
        parts = [part_of(whole, ids[homes == number]) for number in range(n)]
        if hasattr(whole, "calibration"):
            cells = cells.with_asked(shards_to_ask(cells, whole, parts))
        self._renew([part.to_bytes() for part in parts], ids, homes, cells, seconds)

    def _renew(self, contents: list[bytes], ids: np.ndarray, homes: np.ndarray, cells: Cells, seconds: float) -> None:
        """Give the index other content, in new shards."""
        renewal = Renewal(self._client, seconds)
        self._engine.stop(renewal.begin(contents, registry.content(ids, homes), cells.put(self._store)))
        self._engine.start(self._client.manifest())
        self._engine.stop(self._engine.run(renewal.finish()))
        self._facts = None

    def _renew_from(self, contents: list[bytes], cells: bytes) -> None:
        """Give the index what was saved: the files of its shards, and of the cells."""
        ids = [opened(content).ids for content in contents]
        homes = np.repeat(np.arange(len(ids)), [len(each) for each in ids])
        key = put_content(self._store, cells, KIND)
        self._renew(contents, np.concatenate(ids), homes, Cells.get(self._store, key), self.timeout)

    @property
    def placement(self) -> str:
        """How rows are shared out: "hash" or "cells"."""
        return self._manifest.placement

    def asked(self) -> dict[str, Any]:
        """How many shards the searches of this object asked, query by query, of how many there were."""
        return self._routes.asked._asdict()
