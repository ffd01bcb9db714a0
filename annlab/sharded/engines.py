"""Where nodes run: in this process ("inline"), or as actors of Ray ("ray", in ray_engine.py)."""

import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol

from annlab.index import Index
from annlab.sharded.journal import Journal, MemoryJournal, head_of, opened
from annlab.sharded.manifest import Manifest, Manifests
from annlab.sharded.replica import SNAPSHOT_AFTER, Replica
from annlab.sharded.store import Store, get_content
from annlab.sharded.world import InlineWorld, World, run_now


class Engine(Protocol):
    """Nodes, and a way to run coroutines among them."""

    @property
    def world(self) -> World:
        """Between the nodes."""

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result of a coroutine."""

    def start(self, manifest: Manifest) -> None:
        """See to it that all replicas of a manifest run."""

    def close(self) -> None:
        """Let go; where nodes live on by themselves, they do."""


def fetching(store: Store) -> Any:
    """How a replica finds the file that an operation names."""

    def fetch(key: str, content_hash: str) -> Index:
        index = opened(get_content(store, key))
        if index.content_hash() != content_hash:
            raise ValueError(f"{key} is not the index that the log names: restore a copy")
        return index

    return fetch


def new_journal(manifest: Manifest, name: str, folder: Path | None) -> Journal:
    """The journal of a replica: in a folder of its own, or in memory."""
    if folder is None:
        parameters = json.loads(manifest.parameters)
        return MemoryJournal(manifest.kind, parameters, head_of(manifest.kind, manifest.parameters).chain)
    from annlab.sharded.stored_journal import StoredJournal

    return StoredJournal(manifest.kind, manifest.parameters, folder / name)


class InlineEngine:
    """All nodes in this process."""

    def __init__(self, store: Store, folder: Path | None, snapshot_after: int = SNAPSHOT_AFTER) -> None:
        self.store, self.folder, self.snapshot_after = store, folder, snapshot_after
        self.world = InlineWorld()
        self._journals: list[Any] = []

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return run_now(coroutine)

    def start(self, manifest: Manifest) -> None:
        manifests, fetch = Manifests(self.store), fetching(self.store)
        new = []
        for entry in manifest.shards:
            for name in entry.replicas:
                if name not in self.world.nodes:
                    journal = new_journal(manifest, name, self.folder)
                    self._journals.append(journal)
                    self.world.nodes[name] = Replica(name, entry.name, self.world, journal, manifests, fetch,
                                                     snapshot_after=self.snapshot_after)  # fmt: skip
                    new.append(name)
        for name in new:
            self.run(self.world.nodes[name].start())

    def close(self) -> None:
        for journal in self._journals:
            if hasattr(journal, "close"):
                journal.close()
        self._journals.clear()
        self.world.nodes.clear()
