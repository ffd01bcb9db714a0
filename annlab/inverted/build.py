"""Building an inverted file: centroids from a sample, a list for every vector, vectors and codes in the order of lists.

    sample       at most 100 points a list: k-means (kmeans.py); rows held out of it serve to measure recall later. The
                 first centroids are random points, dense where the vectors are, and do not overshoot: so lists are of
                 more equal lengths, and probes meet fewer rows
    assign       block by block, the nearest centroid of every vector: n * n_lists distances, most of the time
    sort         a block's vectors are grouped by list and written behind those of the blocks before
    encode       what is scanned: vectors, bytes or product codes

Nothing but labels, the order and the codes grows with n in memory: the vectors are read in blocks from where they are
and written, sorted, to where a `Workspace` puts them, which may be a file. So the same code builds in memory and beside
it, and the result is the same.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from annlab import kmeans
from annlab.common.memory import WORKING, Workspace, in_words, rows_at_once
from annlab.common.progress import Progress
from annlab.core.heldout import n_held_out
from annlab.core.structure import Building
from annlab.inverted.byte_lists import MAX_DIM, ByteLists
from annlab.inverted.coded_lists import CodedLists, sub_dim_for
from annlab.inverted.flat_lists import FlatLists
from annlab.inverted.storage import Cells, Storage
from annlab.kernels.simd.memory import aligned
from annlab.kernels.simd.registers import LANES
from annlab.scan.centroids import Centroids, Conversion, group_by_label

STORAGES: dict[str, type[Storage]] = {"flat": FlatLists, "sq8": ByteLists, "pq4": CodedLists}
SMALL = 4 * LANES  # rows: fewer are all candidates
_TRAINING_POINTS = 100  # per list: more hardly move a centroid
_FEWEST_POINTS = 8  # per list, where memory is scarce
_SORTED_AT_ONCE = 256 * 2**20  # bytes: longer blocks hardly make longer runs
IDS_BYTES = 25  # of an id, its look-up and its state, for every row
_PASSING_BYTES = 24  # for every row, while ids are sorted


def default_n_lists(n: int) -> int:
    """Lists for n vectors: scanning the centroids and scanning the probed lists then cost about the same."""
    return int(max(1, min(round(3 * np.sqrt(n)), n // 32)))


@dataclass(frozen=True)
class Parts:
    """What was built. `order` (n,): which input row each row is; `held_out`: the rows that no centroid has seen."""

    vectors: np.ndarray
    centroids: np.ndarray
    offsets: np.ndarray
    lists: Storage
    order: np.ndarray
    held_out: np.ndarray


def build(vectors: np.ndarray, building: Building) -> Parts:
    """Build over vectors (n, dim), which are not changed."""
    metric, params, rng, threads, progress = (
        building.metric,
        building.params,
        building.rng,
        building.threads,
        building.progress,
    )
    n, wanted, workspace = len(vectors), params["n_lists"], building.workspace
    n_lists = default_n_lists(n) if wanted == "auto" else min(wanted, n)
    conversion = Conversion.of(vectors, metric)
    held_out, centroids = _train(vectors, conversion, n_lists, rng, threads, progress, workspace)
    labels = assign(vectors, Centroids(centroids), conversion, threads, progress)
    ordered, offsets, order = _sorted_by_list(vectors, labels, n_lists, workspace, progress)
    del labels
    cells = Cells(conversion, centroids, offsets)
    progress("encoding", 0.0)
    storage: type[Storage] = FlatLists
    if params["storage"] == "pq4" and n >= SMALL:
        storage = CodedLists
    elif params["storage"] == "sq8" and vectors.shape[1] <= MAX_DIM:
        storage = ByteLists
    lists = storage.of(ordered, cells, rng, threads, progress, workspace)
    progress("encoding", 1.0)
    is_held_out = np.zeros(n, bool)
    is_held_out[held_out] = True
    return Parts(ordered, centroids, offsets, lists, order, np.flatnonzero(is_held_out[order]))


def _train(vectors: np.ndarray, conversion: Conversion, n_lists: int, rng: np.random.Generator, threads: int,
           progress: Progress, workspace: Workspace) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The rows that were held out, and centroids of a random sample of the others."""
    n, dim = vectors.shape
    shuffled = rng.permutation(n)
    n_held = n_held_out(n) if n > SMALL else 0
    most = workspace.rows(4 * dim + 64, max(_TRAINING_POINTS * n_lists, 4096), used=8 * n)
    training = shuffled[n_held : n_held + most].copy()
    if len(training) < n_lists:
        training = shuffled
    held_out = shuffled[:n_held].copy()
    del shuffled
    points = np.empty((len(training), dim), np.float32)
    by_row = np.argsort(training)  # the file is read from its beginning to its end
    for start in range(0, len(training), rows_at_once(dim)):
        some = by_row[start : start + rows_at_once(dim)]
        points[some] = conversion.points(vectors[training[some]])
    trained = kmeans.train(points, n_lists, rng, max_iterations=10, tolerance=0.003, n_threads=threads,
                           progress=progress, first=points[:n_lists].copy(), overshoot=0.0)  # fmt: skip
    return held_out, trained.centroids


def assign(vectors: np.ndarray, centroids: Centroids, conversion: Conversion, threads: int,
           progress: Progress) -> np.ndarray:  # fmt: skip
    """The list of every vector (n,) int32."""
    labels, at_once = np.empty(len(vectors), np.int32), rows_at_once(vectors.shape[1])
    for start in range(0, len(vectors), at_once):
        some = slice(start, start + at_once)
        labels[some] = centroids.nearest(conversion.points(vectors[some]), threads)[0]
        progress("assigning", min(1.0, (start + at_once) / len(vectors)))
    return labels


def _sorted_by_list(vectors: np.ndarray, labels: np.ndarray, n_lists: int, workspace: Workspace,
                    progress: Progress) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Vectors in the order of their lists, the lists' offsets, and the order."""
    n = len(vectors)
    if workspace.in_memory:
        offsets, order = group_by_label(labels, n_lists)
        ordered, at_once = aligned(vectors.shape, vectors.dtype.type), rows_at_once(vectors.shape[1])
        for start in range(0, n, at_once):  # all at once would not answer Ctrl-C
            np.take(vectors, order[start : start + at_once], axis=0, out=ordered[start : start + at_once])
        return ordered, offsets, order
    offsets, order = np.zeros(n_lists + 1, np.int64), np.empty(n, np.int64)
    np.cumsum(np.bincount(labels, minlength=n_lists), out=offsets[1:])
    ordered, free = workspace.empty(vectors.shape, vectors.dtype), offsets[:-1].copy()
    row_bytes = vectors.itemsize * vectors.shape[1] + 24
    at_once = workspace.rows(2 * row_bytes, max(1, _SORTED_AT_ONCE // row_bytes), used=12 * n)
    for start in range(0, n, at_once):
        own, within = group_by_label(labels[start : start + at_once], n_lists)
        sizes = np.diff(own)
        places = np.arange(len(within)) + np.repeat(free - own[:-1], sizes)
        ordered[places] = vectors[start : start + at_once][within]
        order[places] = within + start
        free += sizes
        progress("sorting", min(1.0, (start + at_once) / n))
    return ordered, offsets, order


def row_bytes(dim: int, metric: str, storage: str) -> int:
    """Bytes for every row besides its vector, its id and its state."""
    if storage == "sq8":
        return 4 + -(-dim // 64) * 64
    if storage == "pq4":
        return 4 + 4 * -(-dim // (8 * sub_dim_for(dim)))  # groups of eight subquantizers
    return 8 if metric == "cosine" else 4


def check_limit(workspace: Workspace, vectors: np.ndarray, metric: str, params: dict[str, Any]) -> None:
    """Raise a ValueError if building cannot do with the memory that it is given."""
    if workspace.limit is None:
        return
    n, dim = vectors.shape
    n_lists = default_n_lists(n) if params["n_lists"] == "auto" else min(params["n_lists"], n)
    final = n * (IDS_BYTES + _PASSING_BYTES + row_bytes(dim, metric, params["storage"]))
    training = 8 * n + n_lists * _FEWEST_POINTS * (4 * dim + 64)
    least = int(WORKING + 16 * dim * n_lists + max(final, training))
    if least > workspace.limit:
        fix = "" if params["storage"] == "pq4" else ', or storage="pq4", which takes the least'
        raise ValueError(
            f"max_memory is {in_words(workspace.limit)}, but an index of {n} x {dim} in {n_lists} lists with "
            f"storage={params['storage']!r} needs {in_words(least)} while it is built: allow more{fix}"
        )
