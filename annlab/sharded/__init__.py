"""One index over many processes and machines, that tells the truth about itself.

    from annlab import IVFIndex
    from annlab.sharded import ShardedIndex

    index = ShardedIndex(IVFIndex(metric="cosine"), n_shards=4, n_replicas=2, engine="ray", path="/shared/photos")
    index.fit(vectors, ids)
    index.add(more, more_ids, op_id="upload-7")      # in most logs of each shard when this returns
    index.search(query, k=10)                        # all shards; nothing older than the own writes

Rows are placed by a hash of their id. A search asks one replica of each shard and merges by (distance, id), in the
numbers by which one index ranks: an exact index gives the same bits in any number of shards.

    placement.py  where a row belongs             merging.py   answers become one
    index.py      ShardedIndex: writes, files     asking.py    its reading half
    maintaining.py   what keeps it in order
    moving.py     shards are divided into more, while others read and write
    dividing.py   what a replica does for that; origins.py: what the new shards begin from
    client.py     asks the right replicas, in time, and again where that is harmless
    replica.py    keeps the log, applies what is acknowledged; one of them writes
    electing.py   another writer, where one does not answer
    journal.py    what a replica must not forget; stored_journal.py keeps it by annlab/durable
    manifest.py   the truth, in numbered versions; store.py is where nodes meet
    world.py      calls, time and work aside, as an interface: inline, Ray, or the simulation of the tests
    engines.py    where nodes run; ray_engine.py: as actors of Ray, which places and restarts them, and knows no truth

State is a function of the log, bit for bit: `verify()` compares all replicas by hash.
"""

from annlab.sharded.asking import PartialNeighbors
from annlab.sharded.errors import (
    ConflictError,
    MissingShardError,
    MovedError,
    ReplicasDisagreeError,
    ShardedError,
    UnacknowledgedError,
    UnreachableError,
)
from annlab.sharded.index import ShardedIndex

__all__ = ["ConflictError", "MissingShardError", "MovedError", "PartialNeighbors", "ReplicasDisagreeError",
           "ShardedError", "ShardedIndex", "UnacknowledgedError", "UnreachableError"]  # fmt: skip
