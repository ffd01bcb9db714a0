"""IVFIndex: vectors sorted into the cells of a clustering; a query looks into the nearest cells only.

The idea. Vectors that are near each other mostly lie in the same cell of a k-means clustering. So keep, for every cell,
the list of its vectors (an *inverted file*: from a cell to what lies in it), and compare a query with the vectors of
the cells that are nearest to it. Neighbours in other cells are lost; how many, is measured.

The arrays.

    centroids      (n_lists, dim)    the means of the cells
    vectors        (n, dim)          sorted by cell, so that every list is a contiguous range of rows
    list_offsets   (n_lists + 1,)    the rows of list l are list_offsets[l] .. list_offsets[l + 1] - 1
    codes                            what is scanned in place of the vectors: none ("flat"), a byte for each coordinate
                                     ("sq8"), or 4 bits for two of them ("pq4")

The search.

    def search(query, k):
        lists = the n_probes centroids nearest to query
        candidates = []
        for l in lists:
            for row in range(list_offsets[l], list_offsets[l + 1]):
                candidates.append((distance by its code (query, row), row))
        best = the rerank * k smallest of candidates       # "flat": the k smallest, and what rounding cannot tell apart
        return the k smallest of (distance(query, vectors[row]), row) for row in best

How many lists, and how many candidates, depends on the data and on k, so it is measured when the index is fitted, by
searching for rows that were held out: for "auto" recall is at least `target_recall`, with 95 % confidence, for every k
and with every filter, and it is measured again as the index grows. `index.calibration` says what was found. Where codes
cannot reach the target, a `RecallWarning` says so, and what would.

The cost. A query: n_lists + n_probes * n / n_lists distances, with n_lists about 3 sqrt(n) some multiple of sqrt(n).
Building: n * n_lists distances, a few times. Memory: the vectors, the codes beside them, and the centroids.

When to use it. From some ten thousand vectors to many millions it is the index to begin with: it builds fast, answers
batches fast, grows by appending to lists, and is the only one that is built of more vectors than fit into memory. Of
the storages, "pq4" is the fastest for many long vectors, and can leave these on disk; "sq8" needs little re-ranking, so
take it where every neighbour counts or dimensions are few; "flat" takes the least memory, builds the fastest, and tells
the nearest of near rows apart.

When not. Below some thousand vectors ExactIndex is as fast, and exact. The more dimensions data really have, the more
lists have to be probed: where `index.calibration.n_probes` is a third of them, little is gained over a scan of bytes,
`ExactIndex(precision="int8")`. Queries that are distributed otherwise than the vectors lie between the cells: give
`calibrate` some hundred of them. Vectors that replace each other faster than searches come are better scanned.

Where to read on, in this order: `inverted/build.py` (clustering and sorting), `inverted/structure.py` (the search),
`inverted/storage.py` and `flat_lists.py` (what is scanned; then `byte_lists.py`, `coded_lists.py`),
`inverted/calibration.py` (from recall to parameters), `inverted/filtered.py` (filters), `inverted/drift.py` (growth),
`kernels/inverted/` (the loops). Figures: `docs/measured.md`.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

import numpy as np

from annlab.common import pool, validation
from annlab.common.memory import Workspace, as_bytes
from annlab.common.progress import as_progress
from annlab.core import blocks, snapshot, storage
from annlab.core.calibrated import Calibrated, as_recall
from annlab.core.ids import IdMap
from annlab.core.state import State
from annlab.distances import get_metric
from annlab.index import Index
from annlab.inverted.build import IDS_BYTES, check_limit, default_n_lists, row_bytes
from annlab.inverted.calibration import Calibration
from annlab.inverted.structure import IVFStructure

STORAGES = ("flat", "sq8", "pq4")


def _as_probes(value: Any) -> Any:
    return value if isinstance(value, str) and value == "auto" else validation.as_integer("n_probes", value, 1)


def _as_rerank(value: Any) -> Any:
    return value if isinstance(value, str) and value == "auto" else validation.as_number("rerank", value, 1.0)


class IVFIndex(Calibrated[Calibration], Index):
    """Approximate nearest neighbours by probing the nearest lists of an inverted file.

    Parameters
    ----------
    metric : {"l2", "cosine", "ip"}
        See `annlab.distances`.
    n_lists : int or "auto"
        Cells of the clustering; "auto" takes about 3 sqrt(n), the size at which finding the lists and scanning them
        cost about the same.
    n_probes : int or "auto"
        Lists that a query looks into; also a parameter of `search`. "auto" is what was measured to reach
        `target_recall` when the index was fitted. `search_radius` then looks into more the more it finds, so that the
        target holds for small radii and large ones.
    storage : {"flat", "sq8", "pq4"}
        What is scanned: the vectors, codes of a byte for each coordinate, or 4-bit product codes of dim / 4 bytes. The
        best candidates by their codes are re-ranked by the vectors, so codes take memory beside these; they are faster,
        the more so the more dimensions and vectors there are.
    rerank : float or "auto"
        Candidates to re-rank, times k, for "sq8" and "pq4"; also a parameter of `search`. "auto" is what was measured.
    target_recall : float
        The recall@k that "auto" aims at, whatever k is, 0 < target_recall <= 1.
    seed : int
    dim : int, optional
        To begin with an empty index.
    auto_compact : bool
        Whether writes tidy up by themselves, see `Index`.

    Notes
    -----
    Memory: the vectors, 4 (cosine: 8) bytes for each, 25 for its id and state, and the centroids: `estimate_memory`.
    Time of a query: n_lists + n_probes * n / n_lists distances, and n * n_lists distances, several times, to build.

    Answers do not depend on the batch or on the number of threads. With a filter as many lists are probed as it takes
    for the same recall; one that leaves few rows, or only such as are far from the query, is answered exactly.

    Warns with a `RecallWarning` where codes cannot reach `target_recall`, so that searches have to look at all vectors.

    References
    ----------
    J. Sivic, A. Zisserman, "Video Google: A Text Retrieval Approach to Object Matching in Videos", ICCV 2003.

    Examples
    --------
    >>> import annlab, numpy as np
    >>> vectors = np.random.default_rng(0).random((5000, 8), dtype=np.float32)
    >>> index = annlab.IVFIndex(seed=0).fit(vectors)
    >>> index.search(vectors[:3], k=5).ids[:, 0].tolist()
    [0, 1, 2]
    >>> index.calibration.bound >= 0.95
    True
    """

    structure_class = IVFStructure
    variants = ({"storage": "flat"}, {"storage": "sq8"}, {"storage": "pq4"})
    search_parameters = {"n_probes": _as_probes, "rerank": _as_rerank}  # noqa: RUF012

    @validation.checks_names
    def __init__(self, *, metric: str = "l2", n_lists: int | str = "auto", storage: str = "flat",
                 n_probes: int | str = "auto", rerank: float | str = "auto", target_recall: float = 0.95,
                 seed: int = 0, dim: int | None = None, auto_compact: bool = True) -> None:  # fmt: skip
        if n_lists != "auto":
            n_lists = validation.as_integer("n_lists", n_lists, 1, 2**20)
        recall, storage = as_recall(target_recall), validation.as_choice("storage", storage, STORAGES)
        super().__init__(metric=metric, dim=dim, seed=seed, auto_compact=auto_compact, n_lists=n_lists, storage=storage,
                         n_probes=_as_probes(n_probes), rerank=_as_rerank(rerank), target_recall=recall)  # fmt: skip

    def fit(self, vectors: Any, ids: Any = None, *, attributes: Mapping[str, Any] | None = None,
            threads: int | None = None, progress: Any = None, max_memory: int | str | None = None,
            path: str | os.PathLike[str] | None = None) -> Self:  # fmt: skip
        """Replace the content: learn what must be learned from the vectors, and add them; these may exceed the memory.

        Given blocks of vectors, `max_memory` or `path`, the index is built *out of core*: memory holds ids, states and
        codes, and the vectors, sorted by list, lie in a file from which searches read what they score. With storage
        "sq8" or "pq4" these are the few that are re-ranked; "flat" scans them there, which is fast as long as the
        system can keep most of them in its cache. The index is the same as one that is built in memory.

        Parameters
        ----------
        vectors : array of shape (n, dim), or iterator (or list) of such arrays
            float64 is kept as float64, everything else becomes float32. Blocks are first written to a file, since
            building needs them three times; an array, also a memory-mapped one, is read in place.
        ids : array of n distinct non-negative integers, or iterator of such arrays, one for each block; optional
            0..n-1 if not given.
        attributes : mapping of names to arrays of n numbers or bools, or to iterators like those of ids; optional
            For `where=` in searches.
        threads, progress : optional
            As for every index.
        max_memory : int or str, optional
            Bytes, or "2GB", that building may take beside what the process holds already and the block in hand. Pages
            of mapped files, which the system drops when memory is short, do not count.
        path : path, optional
            Save the index there, and read its vectors from there; temporary files then lie beside it, and take the
            size of the vectors once or (for blocks) twice. Otherwise they lie in the system's temporary folder (see
            `tempfile`), the sorted vectors until the index is gone.

        Returns
        -------
        self : IVFIndex

        Raises
        ------
        ValueError, TypeError
            If anything handed in is unusable, with the block and the row, or `max_memory` is too little, with what it
            takes; the index is then unchanged.
        OSError
            If the disk is full, or a folder does not exist; the index is then unchanged.

        Examples
        --------
        >>> import annlab, numpy as np
        >>> def blocks():
        ...     for seed in range(4):
        ...         yield np.random.default_rng(seed).random((1000, 8), dtype=np.float32)
        >>> index = annlab.IVFIndex(storage="pq4").fit(blocks(), max_memory="1GB")
        >>> len(index), index.memory()["mapped"]
        (4000, 128000)
        """
        if max_memory is None and path is None and not blocks.are_blocks(vectors):
            return super().fit(vectors, ids, attributes=attributes, threads=threads, progress=progress)
        if path is not None and Path(path).is_dir():
            raise IsADirectoryError(f"{path} is a folder; an index is one file")
        folder = None if path is None else Path(path).absolute().parent
        workspace = Workspace.in_files(folder, None if max_memory is None else as_bytes("max_memory", max_memory))
        source = blocks.read(vectors, ids, attributes, self._dim, workspace.folder, as_progress(progress),
                             self.metric)  # fmt: skip
        check_limit(workspace, source.vectors, self.metric, self._params)
        structure, order = self._builder.build(
            source.vectors,
            source.columns,
            pool.resolve(threads),
            as_progress(progress),
            owned=True,
            workspace=workspace,
        )
        order = np.arange(len(source.vectors)) if order is None else order
        numbers = order if source.ids is None else source.ids[order]
        columns = {name: values[order] for name, values in source.columns.items()}
        state = State.sealed(self._metric, structure, IdMap(numbers), columns)
        if path is not None:
            snapshot.save(state, path, dim=source.vectors.shape[1], **self._about)
            stored = storage.read(path, mmap=True, verify=None)[1][snapshot.STRUCTURE + "vectors"]
            state = dataclasses.replace(state, structure=cast(IVFStructure, structure).with_vectors(stored))
        with self._compact_lock, self._write_lock:
            self._dim, self._state = source.vectors.shape[1], state
        return self

    @property
    def _structure(self) -> IVFStructure:
        structure = None if self._state is None else self._state.structure
        if not isinstance(structure, IVFStructure):
            raise ValueError("this IVFIndex has no lists yet: fit it, or compact it once vectors were added")
        return structure

    @property
    def n_lists(self) -> int:
        """The number of lists, as it was chosen."""
        return self._structure.n_lists

    @property
    def calibration(self) -> Calibration:
        """The parameters that "auto" stands for at k = 10, the recall measured with them, and its confidence bound.

        Other k have parameters of their own, measured for k = 1, 100 and 1,000 too: `annlab/inverted/calibration.py`.
        `calibrate` measures all of them on your own queries.
        """
        return self._calibration_now()

    def imbalance(self) -> float:
        """How many more rows a probe meets than if all lists were equally long: 1 is perfect, above 2 is poor.

        Growth by vectors from elsewhere than the first ones raises it; `retrain` brings it down.
        """
        return self._structure.imbalance

    def retrain(self, *, threads: int | None = None, progress: Any = None) -> None:
        """Learn centroids anew from the living vectors, and measure the search parameters anew."""
        self.compact(threads=threads, progress=progress)

    @classmethod
    def estimate_memory(cls, n: int, dim: int, *, metric: str = "l2", n_lists: int | str = "auto",
                        storage: str = "flat", dtype: Any = np.float32) -> int:  # fmt: skip
        """Bytes that an index of n vectors will take, before anything is built: the "total" of `memory()`.

        An index that is built out of core, or loaded with mmap=True, holds n * dim * itemsize less in memory.

        Examples
        --------
        >>> import annlab, numpy as np
        >>> vectors = np.random.default_rng(0).random((20_000, 64), dtype=np.float32)
        >>> estimate = annlab.IVFIndex.estimate_memory(20_000, 64, storage="pq4")
        >>> 0.9 < estimate / annlab.IVFIndex(storage="pq4").fit(vectors).memory()["total"] < 1.1
        True
        """
        n, dim = validation.as_integer("n", n, 1), validation.as_integer("dim", dim, 1)
        metric, storage = get_metric(metric).name, validation.as_choice("storage", storage, STORAGES)
        lists = default_n_lists(n) if n_lists == "auto" else min(validation.as_integer("n_lists", n_lists, 1), n)
        item = 8 if np.dtype(dtype) == np.float64 else 4
        copy = 4 * dim if item == 8 and storage == "flat" else 0  # float64 vectors are scanned as float32
        rows = n * (item * dim + IDS_BYTES + copy + row_bytes(dim, metric, storage))
        padding = 32 * -(-dim // 16) if storage == "pq4" else 0  # to whole blocks: half of one in every list
        return rows + lists * (4 * dim + 8 + padding) + 72 * dim
