"""What a search did: counters that kernels fill, and the object in which a user receives them."""

from dataclasses import dataclass, field

import numpy as np

DISTANCES, VISITED, BYTES, N_COUNTERS = 0, 1, 2, 3  # columns of a counters array (q, N_COUNTERS), int64


def _none() -> np.ndarray:
    return np.zeros(0, np.int64)


@dataclass
class SearchStats:
    """Filled by `index.search(..., stats=SearchStats())`; one entry per query, replaced by every call.

    Attributes
    ----------
    distances : (q,) int64
        Rows whose distance (exact or estimated) was computed.
    visited : (q,) int64
        Cells, buckets or tree nodes that were looked into.
    bytes : (q,) int64
        Bytes of vectors and codes that those computations read, shared reads of a batch counted for every query.
    exact_fallback : (q,) bool
        Whether all allowed rows were scanned, instead of asking the structure, or by the structure in place of a walk:
        because the filter left few, k is large, or a walk looked at too many.

    Examples
    --------
    >>> import annlab, numpy as np
    >>> index = annlab.ExactIndex().fit(np.eye(4))
    >>> stats = annlab.SearchStats()
    >>> _ = index.search(np.eye(4)[:2], k=1, stats=stats)
    >>> stats.distances.tolist()
    [4, 4]
    """

    distances: np.ndarray = field(default_factory=_none)
    visited: np.ndarray = field(default_factory=_none)
    bytes: np.ndarray = field(default_factory=_none)
    exact_fallback: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    def fill(self, counters: np.ndarray, exact_fallback: np.ndarray) -> None:
        """Take over the counters (q, N_COUNTERS) of a search."""
        self.distances = counters[:, DISTANCES].copy()
        self.visited = counters[:, VISITED].copy()
        self.bytes = counters[:, BYTES].copy()
        self.exact_fallback = exact_fallback.copy()

    def __str__(self) -> str:
        if not len(self.distances):
            return "SearchStats(nothing searched yet)"
        means = ", ".join(f"{name} {getattr(self, name).mean():.1f}" for name in ("distances", "visited", "bytes"))
        exact = f", {int(self.exact_fallback.sum())} by exact fallback" if self.exact_fallback.any() else ""
        return f"SearchStats({len(self.distances)} queries, per query: {means}{exact})"
