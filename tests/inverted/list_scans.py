"""The kernels for one query, called as the scans for a batch are."""

from typing import Any

import numpy as np

from annlab.common.statistics import DISTANCES, N_COUNTERS
from annlab.core.structure import Request
from annlab.inverted.one_query import OneQuery
from annlab.kernels.tile import PANEL_ROWS
from annlab.scan.centroids import Centroids, padded_dim


def answered(lists: Any, query: np.ndarray, centroids: Any, offsets: np.ndarray, n_probes: int, keep: int,
             alive: np.ndarray | None, keys: np.ndarray) -> OneQuery:  # fmt: skip
    """One query (dim,), answered: with its lists, their surrogates and candidates in the scratch, see `parts_of`."""
    counters = np.zeros((1, N_COUNTERS), np.int64)
    vectors = np.zeros((len(keys), len(query)), query.dtype)
    request = Request(alive, keys, {}, 1, counters)
    one = OneQuery.of(query[None, :].copy(), min(3, keep), lists.conversion, centroids, offsets, n_probes, keep,
                      vectors, lists.row_bytes(), request)  # fmt: skip
    kept = lists.search_one(one)
    probes, _, candidates = parts_of(one)
    assert kept == np.count_nonzero(candidates >= 0)
    assert counters[0, DISTANCES] == np.diff(offsets)[probes].sum() + len(offsets) - 1
    assert np.array_equal(one.ids[0] >= 0, np.arange(one.ids.shape[1]) < kept)
    return one


def parts_of(one: OneQuery) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lists that an answered query probed, their surrogates, and its candidates (keep,), -1 padded."""
    place = 2 * padded_dim(one.query.shape[1])
    surrogates = one.floats[place : place + one.n_probes]
    return one.longs[: one.n_probes], surrogates, one.longs[one.n_probes :]


def scan_one(lists: Any, query: np.ndarray, offsets: np.ndarray, probes: np.ndarray, coarse: np.ndarray, keep: int,
             alive: np.ndarray | None, keys: np.ndarray) -> np.ndarray:  # fmt: skip
    """The candidates (keep,) for a query, not yet converted, among the rows of these lists with these surrogates."""
    n_lists, panels = len(offsets) - 1, -(-(len(offsets) - 1) // PANEL_ROWS)
    centroids = Centroids(np.zeros((n_lists, len(query)), np.float32))
    centroids.half_norms = np.full(panels * PANEL_ROWS, 1e30, np.float32)
    centroids.half_norms[probes] = coarse  # all centroids are zeros, so that these are the surrogates
    one = answered(lists, query, centroids, offsets, len(probes), keep, alive, keys)
    assert set(parts_of(one)[0]) == set(probes)
    return parts_of(one)[2]
