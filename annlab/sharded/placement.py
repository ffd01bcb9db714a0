"""Where a row belongs: by a hash of its id. Every shard has a fair share of everything, and a search asks all of them.

The hash is a bijection of 64 bits (the last steps of splitmix64), so ids that follow each other are spread evenly. The
shard is the hash modulo the number of shards: with twice as many of them, the rows of one go to two.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np


def hashed(ids: np.ndarray) -> np.ndarray:
    """(n,) uint64: the hashes of ids (n,) int64."""
    x = np.asarray(ids).astype(np.uint64)
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


@dataclass(frozen=True)
class ByHash:
    """By a hash of the id.

    Examples
    --------
    >>> import numpy as np
    >>> np.bincount(ByHash(4).of(np.arange(4000))).tolist()
    [958, 1054, 985, 1003]
    """

    n_shards: int

    def of(self, ids: np.ndarray) -> np.ndarray:
        """(n,) the shards of ids (n,), by number."""
        return (hashed(ids) % np.uint64(self.n_shards)).astype(np.int64)

    def described(self) -> dict[str, Any]:
        """For the manifest."""
        return {"by": "hash", "n_shards": self.n_shards}


def split_by(shards: np.ndarray, n_shards: int) -> list[np.ndarray]:
    """The places of the rows of each shard, in their order."""
    return [np.flatnonzero(shards == shard) for shard in range(n_shards)]
