"""What all storages of an inverted file need to answer one query: see `kernels/inverted/one_query.py`."""

from typing import NamedTuple

import numpy as np

from annlab.core.structure import Request
from annlab.kernels.inverted import one_query as kernels
from annlab.kernels.inverted.candidates import capacity_for
from annlab.scan.centroids import LONGEST, Centroids, Conversion, padded_dim


class OneQuery(NamedTuple):
    """The arguments with which every kernel for one query begins, in their order."""

    query: np.ndarray
    """(1, dim), of the element type of the vectors."""
    metric: int
    center: np.ndarray
    scale: float
    longest: float
    panels: np.ndarray
    half_norms: np.ndarray
    list_offsets: np.ndarray
    n_probes: int
    keep: int
    """Rows that the scan keeps, to be scored by the vectors."""
    alive: np.ndarray
    """(words,) of the rows that may be returned, read if has_alive."""
    has_alive: bool
    keys: np.ndarray
    """(n,) int64: the ids of the rows."""
    vectors: np.ndarray
    floats: np.ndarray
    longs: np.ndarray
    rows: np.ndarray
    distances: np.ndarray
    """(1, k) float64: the result, as well as ids."""
    ids: np.ndarray
    row_bytes: int
    """Bytes that the scan reads for a row."""
    counters: np.ndarray
    """(1, N_COUNTERS) int64, added to."""

    @classmethod
    def of(
        cls,
        query: np.ndarray,
        k: int,
        conversion: Conversion,
        centroids: Centroids,
        offsets: np.ndarray,
        n_probes: int,
        keep: int,
        vectors: np.ndarray,
        row_bytes: int,
        request: Request,
    ) -> "OneQuery":
        """With scratch, and room for the result."""
        alive = request.alive
        n_floats = kernels.float_scratch(padded_dim(query.shape[1]), len(centroids.panels), n_probes, keep)
        return cls(
            query, conversion.metric.code, conversion.center, conversion.scale, LONGEST, centroids.panels,
            centroids.half_norms, offsets, n_probes, keep, _NO_WORDS if alive is None else alive.ravel(),
            alive is not None, request.keys, vectors, np.empty(n_floats, np.float32),
            np.empty(n_probes + keep, np.int64),
            np.empty(capacity_for(keep), np.int32), np.empty((1, k)), np.empty((1, k), np.int64),
            row_bytes, request.counters,
        )  # fmt: skip


_NO_WORDS = np.zeros(1, np.uint64)
