"""The truth about a sharded index: one manifest, in numbered versions, of which the last one counts.

    manifest-000000000007    {"version": 7, "kind": ..., "ack": ..., "shards": [{name, replicas, writer, term}, ...]}

To change it is to put the next number, if it is absent: so of two who change it at once one succeeds, and the other one
looks again (compare-and-swap). The term of a shard grows with every writer; replicas listen to no earlier one.

`shards` are those that are read and written, in the order of their numbers in the placement. `moving` are those that
shall take their place (moving.py, renewing.py); nobody but the mover knows them before.

Where rows are placed by cells, `cells` is the file of the store that says which, and `registry` holds, as one shard
more, where each id lives (registry.py). `moving_cells` is the file that belongs to `moving`, of which the last one is a
registry then.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from annlab.core.storage import CorruptIndexError
from annlab.exact import ExactIndex
from annlab.sharded.errors import ConflictError
from annlab.sharded.placement import ByHash, split_by
from annlab.sharded.store import Store

ACKS = ("one", "majority", "all")
REGISTRY = "ExactIndex", json.dumps(ExactIndex(dim=1).parameters, sort_keys=True)
"""The index that a registry is: the number of a shard for each id, as a vector of one dimension."""
_PREFIX, _DIGITS = "manifest-", 12


def needed_for(ack: str, n_replicas: int) -> int:
    """How many logs have to hold a write before it is acknowledged."""
    return {"one": 1, "majority": n_replicas // 2 + 1, "all": n_replicas}[ack]


@dataclass(frozen=True)
class Entry:
    """One shard: its replicas, and the one that writes, since `term`.

    A shard that was divided off another one begins from a file in the store (`origin`), and is never read before its
    own operation `since`. `lineage` says whose operations the early ones are: (shard, up to which seq), oldest first.
    """

    name: str
    replicas: tuple[str, ...]
    writer: str
    term: int
    origin: str = ""
    since: int = 0
    lineage: tuple[tuple[str, int], ...] = ()

    def place_of(self, seq: int) -> tuple[str, int]:
        """The shard that an operation of this log was written to, and its place there."""
        return next(((shard, seq) for shard, last in self.lineage if seq <= last), (self.name, seq))


@dataclass(frozen=True)
class Manifest:
    """See the head of the file. `parameters` are those of the index that each shard is, as JSON."""

    version: int
    kind: str
    parameters: str
    ack: str
    shards: tuple[Entry, ...]
    moving: tuple[Entry, ...] = ()
    placement: str = "hash"
    cells: str = ""
    registry: tuple[Entry, ...] = ()
    moving_cells: str = ""

    @property
    def serving(self) -> tuple[Entry, ...]:
        """What is read and written: the shards, and the registry if there is one."""
        return (*self.shards, *self.registry)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All whose replicas run."""
        return (*self.serving, *self.moving)

    def find(self, shard: str) -> Entry | None:
        """The entry of a shard, if it is there."""
        return next((entry for entry in self.entries if entry.name == shard), None)

    def serves(self, shard: str) -> bool:
        """Whether a shard is read and written."""
        return any(entry.name == shard for entry in self.serving)

    def knows(self, shard: str) -> bool:
        """Whether a shard is there, or was, before others took its place."""
        return any(shard == entry.name or shard in dict(entry.lineage) for entry in self.serving)

    def kind_of(self, replica: str) -> tuple[str, str]:
        """The kind of index that a replica holds, and its parameters."""
        registries = (*self.registry, *(self.moving[-1:] if self.moving_cells else ()))
        if any(replica in entry.replicas for entry in registries):
            return REGISTRY
        return self.kind, self.parameters

    def split(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """The places of those of the ids (n,) that belong to each shard by hash; of all shards, in their order."""
        return self.divided(ByHash(len(self.shards)).of(ids))

    def divided(self, homes: np.ndarray) -> dict[str, np.ndarray]:
        """The places of each shard, given the numbers (n,) of the shards."""
        places = split_by(homes, len(self.shards))
        return {entry.name: place for entry, place in zip(self.shards, places, strict=True)}

    def with_writer(self, shard: str, writer: str, term: int) -> "Manifest":
        """The next version, in which another replica writes a shard."""
        shards, registry, moving = (
            tuple(replace(entry, writer=writer, term=term) if entry.name == shard else entry for entry in entries)
            for entries in (self.shards, self.registry, self.moving)
        )
        return replace(self, version=self.version + 1, shards=shards, registry=registry, moving=moving)

    def with_moving(self, moving: tuple[Entry, ...], cells: str = "") -> "Manifest":
        """The next version, in which these shards are being made (and a registry, where rows go by cells)."""
        return replace(self, version=self.version + 1, moving=moving, moving_cells=cells)

    def moved(self, since: Mapping[str, int]) -> "Manifest":
        """The next version, in which the new shards take the place of the old ones, from these operations on."""
        shards = tuple(replace(entry, since=since[entry.name]) for entry in self.moving)
        n = len(shards) - bool(self.moving_cells)
        return replace(self, version=self.version + 1, shards=shards[:n], registry=shards[n:], moving=(),
                       cells=self.moving_cells, moving_cells="")  # fmt: skip

    def to_bytes(self) -> bytes:
        """As it is stored, with a checksum."""
        body = json.dumps(asdict(self), sort_keys=True)
        return json.dumps({"manifest": body, "sha256": hashlib.sha256(body.encode()).hexdigest()}).encode()

    @classmethod
    def from_bytes(cls, content: bytes, where: str) -> "Manifest":
        """From what is stored; a CorruptIndexError if it is not whole."""
        try:
            outer = json.loads(content)
            body = outer["manifest"]
            if hashlib.sha256(body.encode()).hexdigest() != outer["sha256"]:
                raise ValueError("it does not match its checksum")
            fields: dict[str, Any] = json.loads(body)
            for name in ("shards", "moving", "registry"):
                fields[name] = tuple(_entry(one) for one in fields.get(name, ()))
            return cls(**fields)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptIndexError(f"{where} is damaged ({error}): restore a copy") from None


class Manifests:
    """All versions in a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def current(self) -> Manifest | None:
        """The last version; None where there is no index."""
        keys = self.store.list(_PREFIX)
        if not keys:
            return None
        manifest = Manifest.from_bytes(self.store.get(keys[-1]) or b"", keys[-1])
        if _key(manifest.version) != keys[-1]:
            raise CorruptIndexError(f"{keys[-1]} holds version {manifest.version}: it is another file; restore a copy")
        return manifest

    def publish(self, manifest: Manifest) -> None:
        """Put the next version.

        Raises
        ------
        ConflictError
            Somebody was faster: look at what is there now, and begin again.
        """
        if not self.store.put_if_absent(_key(manifest.version), manifest.to_bytes()):
            raise ConflictError(f"version {manifest.version} of the manifest is there already")


def _entry(fields: dict[str, Any]) -> Entry:
    lineage = tuple((str(shard), int(last)) for shard, last in fields.pop("lineage", ()))
    return Entry(replicas=tuple(fields.pop("replicas")), lineage=lineage, **fields)


def _key(version: int) -> str:
    return f"{_PREFIX}{version:0{_DIGITS}d}"
