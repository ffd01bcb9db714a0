"""What the right answer is, and how much of it an answer holds.

A library can be fast by being wrong, and its own distances would not show it. So the harness takes only the ids:
`annlab.evaluation` computes in float64 the distance of every returned row, and its `ann_recall` counts one as right
when it is no farther than the true k-th neighbour. Rows at equal distance are therefore interchangeable, which matters
on integer data and duplicates. The tolerance is relative, as an absolute one would inflate recall where distances are
small; below it there is the rounding of float64 alone.

The true neighbours come from a scan in NumPy, since a kernel of the library is not to be its own judge. A malformed
answer is an error: a row that is returned twice would be two hits.
"""

from typing import Literal, cast

import numpy as np

from annlab import evaluation

RELATIVE_TOLERANCE = 1e-6
ULPS = 64  # units in the last place, of the magnitudes that are summed
SPARE = 64  # candidates beyond k that the first, fused pass keeps for the exact second one
BLOCK = 16_384


class WrongAnswerError(RuntimeError):
    """An answer is malformed: a wrong shape, an id that does not exist, or the same row twice."""


class Oracle:
    """Float64 brute force over `train`, (n, d), for `queries`, (q, d), up to `k` neighbours."""

    def __init__(self, train: np.ndarray, queries: np.ndarray, metric: str, k: int) -> None:
        self.metric, self.k = metric, min(k, len(train))
        self.train, self.queries = train, queries
        self.distances, self.ids = self._neighbours()
        self.rounding = self._rounding()

    def _rounding(self) -> np.ndarray:
        """How far apart two sums for one distance may lie, (q,): nothing in l2, where differences come first."""
        if self.metric == "l2":
            return np.zeros(len(self.queries))
        eps = ULPS * np.finfo(np.float64).eps
        if self.metric == "cosine":
            return np.full(len(self.queries), eps)
        longest = np.linalg.norm(self.train, axis=1).max(initial=0.0)
        return eps * np.linalg.norm(self.queries, axis=1).astype(np.float64) * float(longest)

    def _neighbours(self) -> tuple[np.ndarray, np.ndarray]:
        """Sorted distances and ids, (q, k): candidates from a fused scan of centred data, then ranked by `of`."""
        keep = min(self.k + SPARE, len(self.train))
        center = self.train.mean(axis=0, dtype=np.float64) if self.metric == "l2" else 0.0
        queries = self._unit(self.queries) - center
        scores = np.full((len(queries), 0), np.inf)
        rows = np.zeros((len(queries), 0), np.int64)
        for start in range(0, len(self.train), BLOCK):
            block = self._unit(self.train[start : start + BLOCK]) - center
            fresh = -(queries @ block.T)
            if self.metric == "l2":
                fresh += np.einsum("ij,ij->i", block, block) / 2
            scores = np.concatenate([scores, fresh], axis=1)
            numbers = np.broadcast_to(np.arange(start, start + len(block)), fresh.shape)
            rows = np.concatenate([rows, numbers], axis=1)
            if scores.shape[1] > keep:
                best = np.argpartition(scores, keep - 1, axis=1)[:, :keep]
                scores, rows = np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)
        distances = self.of(rows)
        order = np.lexsort((rows, distances))[:, : self.k]
        return np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)

    def _unit(self, vectors: np.ndarray) -> np.ndarray:
        """In float64; for cosine of length one, a zero vector staying zero."""
        vectors = vectors.astype(np.float64)
        if self.metric != "cosine":
            return vectors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths > 0, lengths, 1)

    def of(self, ids: np.ndarray) -> np.ndarray:
        """Float64 distances, (q, k), of query i to the rows ids[i], by direct differences; inf for -1."""
        metric = cast(Literal["l2", "cosine", "ip"], self.metric)
        return evaluation.true_distances(self.queries[: len(ids)], self.train, ids, metric)

    def recall(self, ids: np.ndarray, k: int) -> float:
        """The share of the true k nearest that `ids`, (q, k), holds, averaged over the first q queries; ties count.

        Raises
        ------
        WrongAnswerError
            When the answer is malformed.
        """
        return float(self.recalls(ids, k).mean())

    def recalls(self, ids: np.ndarray, k: int) -> np.ndarray:
        """The same of every query, (q,).

        Raises
        ------
        WrongAnswerError
            When the answer is malformed.
        """
        ids = np.asarray(ids)
        self._check(ids, k)
        found: np.ndarray = evaluation.ann_recall(ids, self.of(ids), self.distances[: len(ids)], min(k, self.k),
                                                  rtol=RELATIVE_TOLERANCE, atol=self.rounding[: len(ids)])  # fmt: skip
        return found

    def _check(self, ids: np.ndarray, k: int) -> None:
        if ids.ndim != 2 or ids.shape[1] not in (k, min(k, len(self.train))) or len(ids) > len(self.queries):
            raise WrongAnswerError(f"the ids have shape {ids.shape}; (queries, {k}) was asked")
        if not np.issubdtype(ids.dtype, np.integer):
            raise WrongAnswerError(f"the ids are {ids.dtype}, not integers")
        if ids.size and (ids.min() < -1 or ids.max() >= len(self.train)):
            raise WrongAnswerError(f"ids run from {ids.min()} to {ids.max()}; the rows are 0..{len(self.train) - 1}")
        ordered = np.sort(ids, axis=1)
        twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
        if twice.any():
            query, column = np.argwhere(twice)[0]
            raise WrongAnswerError(f"row {ordered[query, column]} is returned twice for query {query}")
