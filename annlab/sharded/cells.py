"""Where a row belongs by its neighbourhood: space is divided into cells, and each cell belongs to a shard.

The cells are those of k-means, learned once, by `fit`, and kept in a file of the store that the manifest names by its
hash: so all who place rows place them alike. Cells that lie near each other go to one shard, and each shard gets about
as many rows: the centers are halved along the direction in which they spread most, again and again.

A search then asks the shards whose cells can matter (routing.py). What is near is measured in the space in which the
metric is a distance: for "cosine" among vectors of length one, for "ip" among the vectors as they are.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from annlab.common.memory import rows_at_once
from annlab.core.storage import CorruptIndexError
from annlab.index import Index
from annlab.kmeans import KMeans
from annlab.sharded.store import Store, get_content, put_content

KIND = "cells"
_MOST, _A_SHARD = 1024, 16
"""Cells in all, at most, and for each shard, at least, as far as there are rows for them."""
_LEARNED_FROM = 256  # rows a cell


@dataclass(frozen=True)
class Cells:
    """See the head of the file.

    Attributes
    ----------
    metric : str
    centers : (c, dim) float64
    shard_of : (c,) int64
        The number of the shard that a cell belongs to.
    asked : tuple of (k, shards)
        How many shards an approximate search for up to k neighbours asks; see `trial.py`. Empty for exact indexes.
    """

    metric: str
    centers: np.ndarray
    shard_of: np.ndarray
    asked: tuple[tuple[int, int], ...] = ()

    @classmethod
    def learned(cls, index: Index, n_shards: int) -> "Cells":
        """The cells of the vectors of an index."""
        n, rng = len(index), np.random.default_rng(0)
        if not n:
            raise ValueError('placement="cells" learns its cells from the vectors of fit, and there are none')
        n_cells = max(1, min(_MOST, n // 8, max(_A_SHARD * n_shards, int(np.sqrt(n)))))
        ids = index.ids
        some = np.sort(rng.choice(ids, min(n, _LEARNED_FROM * n_cells), replace=False))
        found = cls(index.metric, np.empty((0, index.dim)), np.empty(0, np.int64))
        means = KMeans(n_cells, metric="cosine" if index.metric == "cosine" else "l2", seed=0).fit(index.vectors(some))
        sizes, centers = np.bincount(means.labels_, minlength=n_cells), means.cluster_centers_.astype(np.float64)
        return replace(found, centers=centers, shard_of=_shared_out(centers, sizes, n_shards))

    def rows(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (n, dim) in float64, in the space of the cells."""
        rows = np.asarray(vectors, np.float64)
        if self.metric == "cosine":
            lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
            rows = rows / np.where(lengths > 0, lengths, 1.0)
        return rows

    def nearest(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The cell of every vector (n, dim), and how far its center is."""
        cells, distances = np.empty(len(vectors), np.int64), np.empty(len(vectors))
        halves, at_once = 0.5 * np.einsum("ij,ij->i", self.centers, self.centers), rows_at_once(len(self.centers))
        for start in range(0, len(vectors), at_once):
            rows = self.rows(vectors[start : start + at_once])
            own = np.argmin(halves - rows @ self.centers.T, axis=1)
            cells[start : start + len(rows)] = own
            distances[start : start + len(rows)] = np.linalg.norm(rows - self.centers[own], axis=1)
        return cells, distances

    def of(self, vectors: np.ndarray) -> np.ndarray:
        """(n,) the shards of vectors (n, dim), by number."""
        return self.shard_of[self.nearest(vectors)[0]]

    def homes(self, index: Index) -> np.ndarray:
        """(n,) the shards of `index.ids`."""
        ids, at_once = index.ids, rows_at_once(index.dim)
        parts = [self.of(index.vectors(ids[i : i + at_once])) for i in range(0, len(ids), at_once)]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def with_asked(self, asked: tuple[tuple[int, int], ...]) -> "Cells":
        """These cells, and how many shards approximate searches ask."""
        return replace(self, asked=asked)

    # ---- files

    def put(self, store: Store) -> str:
        """Put them into the store; the key, which is named after the content."""
        head = {"metric": self.metric, "shape": self.centers.shape, "asked": self.asked}
        content = (self.centers.astype("<f8").tobytes(), self.shard_of.astype("<i8").tobytes())
        return put_content(store, json.dumps(head).encode() + b"\n" + b"".join(content), KIND)

    @classmethod
    def get(cls, store: Store, key: str) -> "Cells":
        """From the store; a CorruptIndexError if the file is not there, or not what was put."""
        head, _, content = get_content(store, key).partition(b"\n")
        try:
            fields: dict[str, Any] = json.loads(head)
            n, dim = (int(one) for one in fields["shape"])
            centers = np.frombuffer(content, "<f8", n * dim).reshape(n, dim)
            shard_of = np.frombuffer(content, "<i8", n, offset=8 * n * dim)
            return cls(str(fields["metric"]), centers.astype(np.float64), shard_of.astype(np.int64),
                       tuple((int(k), int(m)) for k, m in fields["asked"]))  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptIndexError(f"{key} holds no cells ({error}): restore a copy") from None


def _shared_out(centers: np.ndarray, sizes: np.ndarray, n_shards: int) -> np.ndarray:
    """(c,) the shard of each cell: near cells together, and about as many rows in each shard."""
    shard_of = np.zeros(len(centers), np.int64)

    def divide(cells: np.ndarray, first: int, n: int) -> None:
        if n == 1 or not len(cells):
            shard_of[cells] = first
            return
        about = centers[cells] - centers[cells].mean(axis=0)
        along = np.linalg.svd(about, full_matrices=False)[2][0]
        order, half = cells[np.argsort(about @ along, kind="stable")], n // 2
        share = np.cumsum(sizes[order]) - 0.5 * sizes[order]
        is_left = share < sizes[order].sum() * half / n
        divide(order[is_left], first, half)
        divide(order[~is_left], first + half, n - half)

    divide(np.arange(len(centers)), 0, n_shards)
    return shard_of
