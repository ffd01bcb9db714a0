"""Where nodes run: in this process ("inline"), or as actors of Ray ("ray", in ray_engine.py)."""

import json
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, Protocol

from annlab.sharded.journal import Journal, MemoryJournal, head_of
from annlab.sharded.manifest import Manifest, Manifests
from annlab.sharded.replica import SNAPSHOT_AFTER, Replica
from annlab.sharded.store import Store
from annlab.sharded.world import InlineWorld, World, run_now


class Engine(Protocol):
    """Nodes, and a way to run coroutines among them."""

    @property
    def world(self) -> World:
        """Between the nodes."""

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result of a coroutine."""

    def start(self, manifest: Manifest) -> None:
        """See to it that all replicas of a manifest run, those of shards that are being made included."""

    def stop(self, replicas: Iterable[str]) -> None:
        """End some replicas. What they wrote stays where it is."""

    def close(self) -> None:
        """Let go; where nodes live on by themselves, they do."""


def new_journal(manifest: Manifest, name: str, folder: Path | None) -> Journal:
    """The journal of a replica: in a folder of its own, or in memory."""
    kind, parameters = manifest.kind_of(name)
    if folder is None:
        return MemoryJournal(kind, json.loads(parameters), head_of(kind, parameters).chain)
    from annlab.sharded.stored_journal import StoredJournal

    return StoredJournal(kind, parameters, folder / name)


class InlineEngine:
    """All nodes in this process."""

    def __init__(self, store: Store, folder: Path | None, snapshot_after: int = SNAPSHOT_AFTER) -> None:
        self.store, self.folder, self.snapshot_after = store, folder, snapshot_after
        self.world = InlineWorld()
        self._journals: dict[str, Any] = {}

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return run_now(coroutine)

    def start(self, manifest: Manifest) -> None:
        manifests, new = Manifests(self.store), []
        for entry in manifest.entries:
            for name in entry.replicas:
                if name not in self.world.nodes:
                    self._journals[name] = journal = new_journal(manifest, name, self.folder)
                    self.world.nodes[name] = Replica(name, entry.name, self.world, journal, manifests,
                                                     snapshot_after=self.snapshot_after)  # fmt: skip
                    new.append(name)
        for name in new:
            self.run(self.world.nodes[name].start())

    def stop(self, replicas: Iterable[str]) -> None:
        for name in replicas:
            self.world.nodes.pop(name, None)
            journal = self._journals.pop(name, None)
            if hasattr(journal, "close"):
                journal.close()

    def close(self) -> None:
        self.stop(list(self._journals))
        self.world.nodes.clear()
