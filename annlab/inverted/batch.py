"""A batch of queries against inverted lists, shared between threads: every thread has lists of its own.

    pairs (query, list) --> grouped by list --> thread 0: lists 0..a-1  --> buffers (q, capacity) --+--> the best
                                                thread 1: lists a..b-1  --> buffers (q, capacity) --+     of all

A list is read from memory once and met by all queries that probe it. If threads divided the queries, nearly every list
would be read by every thread, and reading is what a batch waits for. So threads divide the lists, each keeps the best
rows of *its* lists for every query, and these are put together at the end. What is kept are the smallest by
(surrogate, key), whoever has met them, so the answer does not depend on the number of threads.

Only the bounds are shared, above which rows are dropped: a thread profits from what another one has found. Nobody waits
for anybody: a bound that is out of date, or a new one that is lost because two threads write at once, is merely larger
than it could be, and what lies above *any* bound that a query ever had is not among its best.

Threads wait for each other at the end of every step, so lists that stay in a common cache are not shared out (see
`IVFStructure.takes_batches`): there every thread takes some of the queries from their beginning to their end.

The three storages of an IVFIndex differ only in the kernel that scans some lists; the rest is here.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from annlab.common import pool
from annlab.kernels.inverted.candidates import FIRST_BOUND, capacity_for, finish, scratch_width
from annlab.scan.centroids import group_by_label

_READING = 4  # queries that a row can be compared with in the time that it takes to come from memory
_FEWEST_PAIRS = 256  # for a thread: less is not worth starting one


class Share(NamedTuple):
    """The lists first..last-1, the pairs query * n_probes + rank that probe them, and where to keep what is found.

    pairs[pair_offsets[i]:pair_offsets[i + 1]] are those of list first + i. Per query: bounds (q,) float32, which all
    shares have in common, lengths (q,) int64, values float32 and rows int32 (q, capacity), see
    `kernels/inverted/candidates.py`; low and high are scratch.
    """

    first: int
    last: int
    pair_offsets: np.ndarray
    pairs: np.ndarray
    bounds: np.ndarray
    lengths: np.ndarray
    values: np.ndarray
    rows: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def most_pairs(self) -> int:
        """The largest number of pairs of a list."""
        return int(np.diff(self.pair_offsets).max(initial=0))


def words_of(alive: np.ndarray | None) -> tuple[np.ndarray, int, bool]:
    """Bits of the rows that queries may have, flat, how many words each query has of its own, and whether to look."""
    if alive is None:
        return np.zeros(1, np.uint64), 0, False
    return alive.ravel(), alive.shape[1] if alive.ndim == 2 else 0, True


def scan_lists(scan: Callable[[Share], None], offsets: np.ndarray, probes: np.ndarray, keep: int, keys: np.ndarray,
               n_threads: int) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The `keep` best rows (q, keep) of the probed lists (q, p), -1 padded, and their number (q,); `scan` a share."""
    q, capacity = len(probes), capacity_for(keep)
    pair_offsets, pairs = group_by_label(probes.ravel().astype(np.int32), len(offsets) - 1)
    cuts = _cut(np.diff(offsets), np.diff(pair_offsets), max(1, min(n_threads, len(pairs) // _FEWEST_PAIRS)))
    n = len(cuts) - 1
    values, rows = np.empty((n, q, capacity), np.float32), np.empty((n, q, capacity), np.int32)
    lengths, bounds, result = np.zeros((n, q), np.int64), np.full(q, FIRST_BOUND), np.empty((q, keep), np.int64)
    scratch = np.empty((n, 2, scratch_width(capacity)), np.float32)

    def work(i: int) -> None:
        first, last = int(cuts[i]), int(cuts[i + 1])
        scan(Share(first, last, pair_offsets[first : last + 1], pairs, bounds, lengths[i], values[i], rows[i],
                   *scratch[i]))  # fmt: skip

    def end(i: int, start: int, stop: int) -> None:
        finish(start, stop, lengths, values, rows, keep, keys, *scratch[i], result)

    pool.run(work, [(i,) for i in range(n)], n)
    pool.run(end, [(i, *part) for i, part in enumerate(pool.split(0, q, n))], n)
    return result, lengths[0]


def _cut(sizes: np.ndarray, n_pairs: np.ndarray, parts: int) -> np.ndarray:
    """Where to cut the lists into at most `parts` ranges that take about as long as each other."""
    costs = np.cumsum(sizes * np.where(n_pairs > 0, n_pairs + _READING, 0))
    inner = np.searchsorted(costs, costs[-1] * np.arange(1, parts) / parts) + 1
    return np.unique(np.concatenate([[0], inner, [len(sizes)]]))
