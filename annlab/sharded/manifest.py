"""The truth about a sharded index: one manifest, in numbered versions, of which the last one counts.

    manifest-000000000007    {"version": 7, "kind": ..., "ack": ..., "shards": [{name, replicas, writer, term}, ...]}

To change it is to put the next number, if it is absent: so of two who change it at once one succeeds, and the other one
looks again (compare-and-swap). The term of a shard grows with every writer; replicas listen to no earlier one.

`shards` are those that are read and written, in the order of their numbers in the placement. `moving` are those that
shall take their place (moving.py); nobody but the mover knows them before.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from annlab.core.storage import CorruptIndexError
from annlab.sharded.errors import ConflictError
from annlab.sharded.placement import ByHash, split_by
from annlab.sharded.store import Store

ACKS = ("one", "majority", "all")
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

    def find(self, shard: str) -> Entry | None:
        """The entry of a shard, if it is there."""
        return next((entry for entry in (*self.shards, *self.moving) if entry.name == shard), None)

    def serves(self, shard: str) -> bool:
        """Whether a shard is read and written."""
        return any(entry.name == shard for entry in self.shards)

    def knows(self, shard: str) -> bool:
        """Whether a shard is there, or was, before it was divided into those that are."""
        return any(shard == entry.name or shard in dict(entry.lineage) for entry in self.shards)

    def split(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """The places of those of the ids (n,) that belong to each shard; of all shards, in their order."""
        n = len(self.shards)
        places = split_by(ByHash(n).of(ids), n)
        return {entry.name: place for entry, place in zip(self.shards, places, strict=True)}

    def with_writer(self, shard: str, writer: str, term: int) -> "Manifest":
        """The next version, in which another replica writes a shard."""
        shards, moving = (
            tuple(replace(entry, writer=writer, term=term) if entry.name == shard else entry for entry in entries)
            for entries in (self.shards, self.moving)
        )
        return replace(self, version=self.version + 1, shards=shards, moving=moving)

    def with_moving(self, moving: tuple[Entry, ...]) -> "Manifest":
        """The next version, in which these shards are being made."""
        return replace(self, version=self.version + 1, moving=moving)

    def moved(self, since: Mapping[str, int]) -> "Manifest":
        """The next version, in which the new shards take the place of the old ones, from these operations on."""
        shards = tuple(replace(entry, since=since[entry.name]) for entry in self.moving)
        return replace(self, version=self.version + 1, shards=shards, moving=())

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
            for name in ("shards", "moving"):
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
