"""A batch of queries against inverted lists, shared between threads: every thread has lists of its own.

    pairs (query, list) --> grouped by list --> thread 0: lists 0..a-1  --> buffers (q, capacity) --+--> the best
                                                thread 1: lists a..b-1  --> buffers (q, capacity) --+     of all

A list is read from memory once and met by all queries that probe it. If threads divided the queries, nearly every list
would be read by every thread, and reading is what a batch waits for. So threads divide the lists, each keeps the best
rows of *its* lists for every query, and these are put together at the end. What is kept of them does not depend on who
has met them (`kernels/inverted/candidates.py`), so the answer does not depend on the number of threads.

Only the bounds are shared, above which rows are dropped: a thread profits from what another one has found. Nobody waits
for anybody: a bound that is out of date, or a new one that is lost because two threads write at once, is merely larger
than it could be, and what lies above *any* bound that a query ever had is not among its best.

Threads wait for each other at the end of every step, so lists that stay in a common cache are not shared out (see
`IVFStructure.takes_batches`): there every thread takes some of the queries from their beginning to their end.

The three storages of an IVFIndex differ only in the kernels behind; the rest is here.
"""

from typing import Any, NamedTuple

import numpy as np

from annlab.common import pool
from annlab.kernels.inverted.candidates import FIRST_BOUND, capacity_for, most_of
from annlab.kernels.inverted.loops import Parts, Queries, Share, new_room
from annlab.scan.centroids import group_by_label

_READING = 4  # queries that a row can be compared with in the time that it takes to come from memory
_FEWEST_PAIRS = 256  # for a thread: less is not worth starting one


class Batch(NamedTuple):
    """Queries, and the lists that they probe.

    Attributes
    ----------
    queries : (q, dim)
        As they were given, in the element type of the vectors.
    points : (q, dim) float32
        Converted, and blurs (q,) float64: how far each may be from the true one.
    probes : (q, p) int64
        And coarse (q, p) float32, the surrogates of their centroids.
    vectors : (n, dim)
        And keys (n,) int64, the ids of the rows.
    alive : (words,) or (q, words) uint64, or None
        Bits of the rows that may be returned.
    threads : int
    """

    queries: np.ndarray
    points: np.ndarray
    blurs: np.ndarray
    probes: np.ndarray
    coarse: np.ndarray
    vectors: np.ndarray
    keys: np.ndarray
    alive: np.ndarray | None = None
    threads: int = 1


def words_of(alive: np.ndarray | None) -> tuple[np.ndarray, int, bool]:
    """Bits of the rows that queries may have, flat, how many words each query has of its own, and whether to look."""
    if alive is None:
        return np.zeros(1, np.uint64), 0, False
    return alive.ravel(), alive.shape[1] if alive.ndim == 2 else 0, True


def scan(storage: Any, batch: Batch, keep: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows (q, m) of a `Storage` that are worth scoring for every query, -1 padded, and their number (q,)."""
    cells, (q, n_probes), dim = storage.cells, batch.probes.shape, batch.points.shape[1]
    if not q:
        return np.empty((0, 0), np.int64), np.zeros(0, np.int64)
    wanted = keep + storage.loose[batch.probes].sum(axis=1)
    capacity, most = capacity_for(int(wanted.max())), int(wanted.max())
    pair_offsets, pairs = group_by_label(batch.probes.ravel().astype(np.int32), cells.n_lists)
    n_pairs = np.diff(pair_offsets)
    cuts = _cut(cells.sizes, n_pairs, max(1, min(batch.threads, len(pairs) // _FEWEST_PAIRS)))
    n = len(cuts) - 1
    queries = Queries(batch.queries, batch.points, batch.blurs, batch.coarse, wanted, n_probes,
                      cells.conversion.metric.code, *words_of(batch.alive), batch.keys, batch.vectors)  # fmt: skip
    lists, width = storage.asked(batch.points), most_of(most)
    bounds, errors = np.full(q, FIRST_BOUND), np.zeros((n, q), np.float32)
    lengths, result = np.zeros((n, q), np.int64), np.full((q, width), -1, np.int64)
    values, rows = np.empty((n, q, capacity), np.float32), np.empty((n, q, capacity), np.int32)
    most_pairs = [int(n_pairs[cuts[i] : cuts[i + 1]].max(initial=0)) for i in range(n)]
    rooms = [new_room(storage.operands(), dim, of_one_list, capacity) for of_one_list in most_pairs]

    def work(i: int) -> None:
        cost = len(pairs) / cells.n_lists * len(batch.vectors) / cells.n_lists * dim
        for first, last in pool.portions(int(cuts[i]), int(cuts[i + 1]), cost):
            share = Share(first, last, pair_offsets, pairs, bounds, errors[i], lengths[i], values[i], rows[i],
                          capacity)  # fmt: skip
            storage.kernels.scan_lists(lists, queries, share, rooms[i])

    def end(i: int, start: int, stop: int) -> None:
        parts = Parts(n, q, capacity, dim, errors, lengths, values, rows, width)
        storage.finish(queries, parts, start, stop, rooms[i], result)

    pool.run(work, [(i,) for i in range(n)], n)
    pool.run(end, [(i, *part) for i, part in enumerate(pool.split(0, q, n))], n)
    return result[:, : max(int(lengths[0].max()), 1)], lengths[0]


def _cut(sizes: np.ndarray, n_pairs: np.ndarray, parts: int) -> np.ndarray:
    """Where to cut the lists into at most `parts` ranges that take about as long as each other."""
    if parts == 1:
        return np.array([0, len(sizes)])
    costs = np.cumsum(sizes * np.where(n_pairs > 0, n_pairs + _READING, 0))
    inner = np.searchsorted(costs, costs[-1] * np.arange(1, parts) / parts) + 1
    return np.unique(np.concatenate([[0], inner, [len(sizes)]]))
