"""What data are like, as far as it decides which index is good for them."""

from dataclasses import dataclass

import numpy as np

from annlab.core.heldout import HeldOut
from annlab.distances import pairwise
from annlab.evaluation.difficulty import local_intrinsic_dimension, relative_contrast

__all__ = ["Facts"]
_TYPICAL = 200  # rows that stand for all others
_NEIGHBORS = 20  # that show the dimension around a query


@dataclass(frozen=True)
class Facts:
    """Properties of vectors and of the queries that are asked of them.

    Attributes
    ----------
    n, dim : int
    intrinsic_dimension : float
        As how many dimensions the data look around a query (median).
    contrast : float
        How much farther a typical row is than the k-th neighbour (median). Near 1, nothing is near to anything.
    copies : float
        The share of rows that are equal to another one.
    shift : float
        How much farther queries are from their k-th neighbour than rows are from theirs (medians); 1 where rows of the
        data are the queries.
    """

    n: int
    dim: int
    intrinsic_dimension: float
    contrast: float
    copies: float
    shift: float

    @classmethod
    def of(cls, held_out: HeldOut, k: int, rows: HeldOut, n: int, copies: float, rng: np.random.Generator) -> "Facts":
        """From queries with at least k true neighbours, and rows of the data with theirs."""
        near = _lengths(held_out.distances, held_out)
        some = held_out.vectors[rng.choice(len(held_out.vectors), min(_TYPICAL, len(held_out.vectors)), replace=False)]
        typical = _typical(held_out.queries, some, held_out.metric.name)
        with np.errstate(invalid="ignore"):
            dimension = float(np.nanmedian(local_intrinsic_dimension(near[:, :_NEIGHBORS])))
        kth = min(k, near.shape[1])
        contrast = float(np.nanmedian(relative_contrast(near, typical, kth)))
        usual = float(np.median(_lengths(rows.distances, rows)[:, kth - 1]))
        shift = float(np.median(near[:, kth - 1])) / usual if usual > 0 else 1.0
        return cls(n, held_out.vectors.shape[1], dimension, contrast, copies, shift)

    def sentences(self) -> list[str]:
        """The facts in words."""
        said = [f"{self.n:,} vectors of {self.dim} columns look {self.intrinsic_dimension:.0f}-dimensional around a "
                f"query, and a typical one is {self.contrast:.2g} times as far as the last neighbour"]  # fmt: skip
        if self.contrast < 1.2:
            said.append("so neighbours hardly stand out: every approximate index has to look at many rows")
        if self.copies > 0.01:
            said.append(f"{self.copies:.0%} of the vectors are copies of others")
        if self.shift > 1.5:
            said.append(f"the queries are {self.shift:.1f} times as far from their neighbours as the vectors from "
                        "theirs: what was measured on queries is right for these only")  # fmt: skip
        return said


def _lengths(distances: np.ndarray, held_out: HeldOut) -> np.ndarray:
    """Distances (q, k) that are no less than 0: of ip, how much worse a row is than the best one."""
    if held_out.metric.name != "ip":
        return np.maximum(distances, 0.0)
    return np.asarray(distances - distances[:, :1])


def _typical(queries: np.ndarray, some: np.ndarray, metric: str) -> np.ndarray:
    """Distances (q, m) to some rows, as `_lengths` gives them."""
    distances = np.asarray(pairwise(queries, some, metric=metric), np.float64)
    return np.maximum(distances - distances.min(axis=1, keepdims=True) if metric == "ip" else distances, 0.0)
