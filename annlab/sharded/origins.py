"""What a shard begins from that is divided off another one: a file in the store, named after its content.

    a line of JSON (seq, chain, term, and the writes that are known by name), and then the file of an index

All replicas of the new shard begin from the same file, so they are equal from the first operation on. The seq is that
of the old shard, up to which the file holds its operations; the log of the new one goes on with the next number.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from annlab.core.storage import CorruptIndexError
from annlab.index import Index
from annlab.sharded.journal import Answered, Snapshot
from annlab.sharded.placement import ByHash
from annlab.sharded.store import Store, get_content, put_content

_KIND = "origin"


def part_of(index: Index, ids: np.ndarray) -> Index:
    """Some vectors of an index, with what it has learned; perhaps none of them."""
    if not len(index):
        return index.branch()
    part = index.part(ids if len(ids) else index.ids[:1])
    if not len(ids):
        part.remove(part.ids)
        part.compact()
    part.rebuilds_itself = False
    return part


def divide(store: Store, index: Index, seq: int, answered: Mapping[str, Answered], n_shards: int,
           numbers: Sequence[int]) -> list[str]:  # fmt: skip
    """Put what the shards of these numbers, of n_shards, begin from; the keys of the files."""
    homes, keys = ByHash(n_shards).of(index.ids), []
    for number in numbers:
        content = part_of(index, index.ids[homes == number]).to_bytes() if len(index) else b""
        chain = hashlib.sha256(f"{number} of {n_shards} after {seq}".encode() + content).digest()
        keys.append(put_origin(store, Snapshot(seq, chain, 0, content, dict(answered))))
    return keys


def put_origin(store: Store, snapshot: Snapshot) -> str:
    """Put what a shard begins from; the key."""
    head = {"seq": snapshot.seq, "chain": snapshot.chain.hex(), "term": snapshot.term, "answered": snapshot.answered}
    return put_content(store, json.dumps(head, sort_keys=True).encode() + b"\n" + snapshot.content, _KIND)


def get_origin(store: Store, key: str) -> Snapshot:
    """What a shard begins from; a CorruptIndexError if the file is not there, or not what was put."""
    head, _, content = get_content(store, key).partition(b"\n")
    try:
        fields: dict[str, Any] = json.loads(head)
        answered = {name: Answered(int(seq), str(digest), int(result))
                    for name, (seq, digest, result) in fields["answered"].items()}  # fmt: skip
        return Snapshot(int(fields["seq"]), bytes.fromhex(fields["chain"]), int(fields["term"]), content, answered)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptIndexError(f"{key} is not what a shard begins from ({error}): restore a copy") from None
