"""One index over many processes and machines, that tells the truth about itself.

    from annlab import IVFIndex
    from annlab.sharded import ShardedIndex

    index = ShardedIndex(IVFIndex(metric="cosine"), n_shards=4, n_replicas=2, engine="ray", path="/shared/photos")
    index.fit(vectors, ids)
    index.add(more, more_ids, op_id="upload-7")      # in most logs of each shard when this returns
    index.search(query, k=10)                        # all shards; nothing older than the own writes

Rows are placed by a hash of their id, and a search asks one replica of each shard; or by the cell of their vector, and
it asks the shards whose cells can matter. Answers are merged by (distance, id), in the numbers by which one index
ranks: an exact index gives the same bits in any number of shards.

    placement.py  where a row belongs, by hash    merging.py   answers become one
    cells.py      where it belongs, by its vector
    registry.py   where an id lives then          reach.py     how far the rows of a shard reach, and bounds from that
    routing.py    a search asks some shards       trial.py     how many, where approximate searches are concerned
    placing.py    how writes find their shard     reaching.py  what a replica says of its reach
    renewing.py   other content, and other cells, all at once
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
