"""What all storages of an inverted file need to answer one query: see `kernels/inverted/one_query.py`."""

import numpy as np

from annlab.core.structure import Request
from annlab.inverted.storage import Storage
from annlab.kernels.inverted import one_query as kernels
from annlab.kernels.inverted.candidates import capacity_for
from annlab.kernels.inverted.one_query import OneQuery, RoomOfOne
from annlab.kernels.shortcut import new_desk, new_found
from annlab.scan.centroids import LONGEST, Centroids, padded_dim

_NO_WORDS = np.zeros(1, np.uint64)


def one_query(query: np.ndarray, k: int, storage: Storage, centroids: Centroids, n_probes: int, keep: int,
              vectors: np.ndarray, request: Request) -> OneQuery:  # fmt: skip
    """A query (1, dim) that probes so many lists and keeps so many rows, with scratch, and room for the result."""
    alive, conversion = request.alive, storage.conversion
    capacity = capacity_for(keep + storage.most_loose(n_probes))
    n_floats = kernels.float_scratch(padded_dim(query.shape[1]), len(centroids.panels), n_probes, capacity)
    return OneQuery(
        query, conversion.metric.code, conversion.center, conversion.scale, LONGEST, centroids.panels,
        centroids.half_norms, len(centroids.panels), len(centroids.array), n_probes, k, keep, storage.loose, capacity,
        _NO_WORDS if alive is None else alive.ravel(), alive is not None, request.keys, vectors, len(vectors),
        np.empty(n_floats, np.float32), np.empty(kernels.long_scratch(n_probes, capacity), np.int64),
        np.empty(kernels.double_scratch(capacity)), np.empty(capacity + 1, np.int32), np.empty((1, k)),
        np.empty((1, k), np.int64), storage.row_bytes(), request.counters,
    )  # fmt: skip


def room_of_one(one: OneQuery, storage: Storage, n_waiting: int) -> RoomOfOne:
    """Scratch for a shortcut, with a query to be filled in, and a tail of so many rows."""
    operands, found = storage.operands(), new_found(one.k)
    one = one._replace(distances=found.distances, ids=found.ids)
    scratch = np.zeros(operands.stride, operands.dtype)
    return RoomOfOne(storage.asked(one.query[:0]), one, scratch, operands.stride, found, new_desk(n_waiting, one.k))
