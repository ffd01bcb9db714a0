"""The scan for one query, called as the scan for a batch is."""

from typing import Any

import numpy as np

from annlab.centroids import padded_dim


def scan_one(lists: Any, y: np.ndarray, offsets: np.ndarray, probes: np.ndarray, coarse: np.ndarray, keep: int,
             alive: np.ndarray | None, keys: np.ndarray) -> np.ndarray:  # fmt: skip
    """The rows (keep,) that `lists.scan_one` finds for a converted query (dim,), -1 padded."""
    padded, result = np.zeros(padded_dim(len(y)), np.float32), np.empty(keep, np.int64)
    padded[: len(y)] = y
    words = np.zeros(1, np.uint64) if alive is None else alive
    length, looked_at = lists.scan_one(padded, offsets, probes, coarse, words, alive is not None, keys, result)
    assert length == np.count_nonzero(result >= 0) and looked_at == np.diff(offsets)[probes].sum()
    return result
