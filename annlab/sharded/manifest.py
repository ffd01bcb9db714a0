"""The truth about a sharded index: one manifest, in numbered versions, of which the last one counts.

    manifest-000000000007    {"version": 7, "kind": ..., "ack": ..., "shards": [{name, replicas, writer, term}, ...]}

To change it is to put the next number, if it is absent: so of two who change it at once one succeeds, and the other one
looks again (compare-and-swap). The term of a shard grows with every writer; replicas listen to no earlier one.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from annlab.core.storage import CorruptIndexError
from annlab.sharded.errors import ConflictError
from annlab.sharded.store import Store

ACKS = ("one", "majority", "all")
_PREFIX, _DIGITS = "manifest-", 12


def needed_for(ack: str, n_replicas: int) -> int:
    """How many logs have to hold a write before it is acknowledged."""
    return {"one": 1, "majority": n_replicas // 2 + 1, "all": n_replicas}[ack]


@dataclass(frozen=True)
class Entry:
    """One shard: its replicas, and the one that writes, since `term`."""

    name: str
    replicas: tuple[str, ...]
    writer: str
    term: int


@dataclass(frozen=True)
class Manifest:
    """See the head of the file. `parameters` are those of the index that each shard is, as JSON."""

    version: int
    kind: str
    parameters: str
    ack: str
    shards: tuple[Entry, ...]

    def find(self, shard: str) -> Entry | None:
        """The entry of a shard, if it is there."""
        return next((entry for entry in self.shards if entry.name == shard), None)

    def with_writer(self, shard: str, writer: str, term: int) -> "Manifest":
        """The next version, in which another replica writes a shard."""
        shards = tuple(
            replace(entry, writer=writer, term=term) if entry.name == shard else entry for entry in self.shards
        )
        return replace(self, version=self.version + 1, shards=shards)

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
            shards = tuple(Entry(one["name"], tuple(one["replicas"]), one["writer"], one["term"])
                           for one in fields.pop("shards"))  # fmt: skip
            return cls(**fields, shards=shards)
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


def _key(version: int) -> str:
    return f"{_PREFIX}{version:0{_DIGITS}d}"
