"""A collection: the part of an index that is a dictionary from ids to vectors, whatever finds the neighbours.

It holds one immutable state (core/state.py) and publishes the next one by assignment, so whoever has read the state
once is not disturbed by writers. What is to be in the next state is computed elsewhere, by functions from state to
state; this class keeps their order:

    core/builder.py       structures are made
    core/writes.py        the next state after rows were added, changed or removed
    core/compaction.py    when added rows are taken into the structure, and removed ones dropped

Locks: a write takes `_write_lock` for as long as it makes the next state. Building takes `_compact_lock`, and the other
one only to publish; who needs both takes this one first.
"""

import copy
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np

from annlab.common import pool, slices, validation
from annlab.common.progress import as_progress
from annlab.core import compaction, writes
from annlab.core.attributes import as_columns
from annlab.core.builder import Builder
from annlab.core.ids import IdMap
from annlab.core.state import State
from annlab.core.structure import Structure
from annlab.distances import get_metric


class Collection:
    """Vectors with ids and attributes, in a structure: filled, added to, changed, removed from, read.

    `Index` is what is used; its docstring has the parameters.
    """

    structure_class: ClassVar[type[Structure]]
    metrics: ClassVar[dict[str, str]] = {}
    """Metrics that this index does not support, and what to use instead."""

    search_parameters: ClassVar[dict[str, Callable[[Any], Any]]] = {}
    """Names of the parameters of a search, and a function that checks a value for each."""

    rebuilds_itself = True
    """Whether a write that makes it due builds the structure anew. If not, `rebuild_due` says so to an owner that does
    it aside; what a write then does follows from the state and the write alone."""

    def __init__(self, *, metric: str, dim: int | None = None, seed: int = 0, auto_compact: bool = True,
                 **params: Any) -> None:  # fmt: skip
        self._metric = get_metric(metric)
        if metric in self.metrics:
            raise ValueError(f"{type(self).__name__} does not support metric={metric!r}: {self.metrics[metric]}")
        self._dim = self._given_dim = None if dim is None else validation.as_integer("dim", dim, 1)
        self._seed = validation.as_integer("seed", seed, 0)
        self._auto_compact = bool(auto_compact)
        self._params = params
        self._kept_params: dict[str, Any] | None = None
        self._state: State | None = None
        self._write_lock, self._compact_lock = threading.RLock(), threading.RLock()

    # ---- writing

    def fit(self, vectors: Any, ids: Any = None, *, attributes: Mapping[str, Any] | None = None,
            threads: int | None = None, progress: Any = None) -> Self:  # fmt: skip
        """Replace the content: learn what must be learned from the vectors, and add them.

        Parameters
        ----------
        vectors : array of shape (n, dim), n >= 1
            float64 is kept as float64, everything else becomes float32. The array is copied.
        ids : array of n distinct non-negative integers, optional
            0..n-1 if not given.
        attributes : mapping of names to arrays of n numbers, bools or strings, optional
            For `where=` in searches; None (or NaN) where a value is missing.
        threads : int, optional
            All CPUs that this process may use, or `ANNLAB_THREADS`, if not given.
        progress : bool or function of (what, share), optional
            True prints to standard error.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If anything handed in is unusable; the index is then unchanged.
        """
        sliced = slices.is_sliced(vectors)
        given = vectors if sliced else validation.as_array(vectors, "vectors")
        array = validation.as_vectors(given, dim=self._dim, metric=self.metric)
        if not len(array):
            raise ValueError(f"fit needs a vector; to begin empty: {type(self).__name__}(dim={array.shape[1]})")
        numbers = np.arange(len(array)) if ids is None else validation.as_ids(ids, length=len(array))
        validation.no_duplicates(numbers)
        columns = as_columns(attributes or {}, len(array))
        owned = sliced or not np.may_share_memory(array, given)
        structure, order = self._builder.build(
            array, columns, pool.resolve(threads), as_progress(progress), owned=owned
        )
        if order is not None:
            numbers, columns = numbers[order], {name: values[order] for name, values in columns.items()}
        state = State.sealed(self._metric, structure, IdMap(numbers), columns)
        with self._compact_lock, self._write_lock:
            self._dim, self._state = array.shape[1], state
        return self

    def add(self, vectors: Any, ids: Any = None, *, attributes: Mapping[str, Any] | None = None,
            on_duplicate: str = "raise", threads: int | None = None) -> np.ndarray:  # fmt: skip
        """Add vectors; they are found from the next search on.

        Parameters
        ----------
        vectors : array of shape (n, dim)
            Converted to the element type that the first vectors gave the index.
        ids : array of n distinct non-negative integers, optional
            Continued from the largest id so far if not given.
        attributes : mapping of names to arrays of n numbers, bools or strings
            The names that there are, and new ones: those are missing in all rows before. Values become of the kind that
            is there (integers, say) if nothing is lost by that, and integers become floats where floats come.
        on_duplicate : {"raise", "replace"}
            What to do about ids that are already there.
        threads : int, optional
            For taking the rows into the structure, when that is due.

        Returns
        -------
        (n,) int64, the ids.

        Raises
        ------
        ValueError, TypeError
            If anything handed in is unusable; nothing is added then.
        """
        validation.as_choice("on_duplicate", on_duplicate, ("raise", "replace"))
        with self._writing(threads):
            numbers = self._append(vectors, ids, attributes, on_duplicate)
        return numbers

    def _append(self, vectors: Any, ids: Any, attributes: Mapping[str, Any] | None, on_duplicate: str) -> np.ndarray:
        """`add` without what may follow it. Locks are always taken in one order, compaction first."""
        with self._write_lock:
            numbers, self._state = writes.appended(
                self._state,
                self._metric,
                self._dim,
                vectors,
                ids,
                attributes or {},
                on_duplicate,
                self.structure_class.divides_by(self._params),
            )
            self._dim = self._state.tail.array.shape[1]
        return numbers

    def update(self, ids: Any, vectors: Any, *, attributes: Mapping[str, Any] | None = None) -> None:
        """Give the vectors of existing ids new values; their attributes stay if none are given.

        Raises
        ------
        KeyError
            If an id is not in the index; nothing is changed then.
        """
        with self._writing():
            numbers = validation.as_ids(ids, ordered=True)
            rows = writes.rows_of(self._state, numbers)
            if attributes is None and self._state is not None:
                attributes = {name: column[rows] for name, column in self._state.columns.items()}
            self._append(vectors, numbers, attributes, on_duplicate="replace")

    def set_attributes(self, attributes: Mapping[str, Any], ids: Any = None) -> None:
        """Give some vectors other values of some attributes, or values of new attributes.

        Parameters
        ----------
        attributes : mapping of names to arrays of n numbers, bools or strings
            None (or NaN) where a value is to be missing. A new attribute is missing in all other vectors.
        ids : array of n integers, optional
            All vectors, in the order of `index.ids`, if not given.

        Raises
        ------
        KeyError
            If an id is not in the index; nothing is changed then.
        ValueError, TypeError
            If a value is of another kind than those that are there; nothing is changed then.

        Examples
        --------
        >>> import annlab, numpy as np
        >>> index = annlab.ExactIndex().fit(np.eye(3), ids=[10, 20, 30])
        >>> index.set_attributes({"brand": ["acme", "other"]}, ids=[30, 10])
        >>> index.select(annlab.col("brand") == "acme").tolist()
        [30]
        """
        with self._write_lock:
            state = self._require_state()
            numbers = self.ids if ids is None else validation.as_ids(ids, ordered=True)
            validation.no_duplicates(numbers)
            self._state = writes.with_attributes(state, attributes, writes.rows_of(state, numbers))

    def remove(self, ids: Any, missing: str = "raise") -> int:
        """Remove vectors by id; returns how many there were.

        Parameters
        ----------
        ids : array of integers
        missing : {"raise", "ignore"}
            What to do about ids that are not in the index. An id given twice counts once.

        Raises
        ------
        KeyError
            If an id is missing and that is not to be ignored; nothing is removed then.
        """
        validation.as_choice("missing", missing, ("raise", "ignore"))
        numbers = validation.as_ids(ids)
        with self._writing():
            self._state, n_removed = writes.removed(self._state, numbers, missing)
        return n_removed

    def compact(self, *, threads: int | None = None, progress: Any = None) -> None:
        """Build the structure anew over the living vectors. Answers of exact indexes do not change.

        Searches and writes go on meanwhile; what was written is replayed before the new state is published.
        """
        with self._compact_lock:
            before = self._state
            if before is None or not before.n_rows:  # an empty state may still change its element type
                return
            new, rows = compaction.compacted(before, self._builder, pool.resolve(threads), as_progress(progress))
            with self._write_lock:
                self._state = new.replayed(before, self._require_state(), rows)

    def part(self, ids: Any, *, threads: int | None = None) -> Self:
        """An index of some of the vectors. What was learned from all of them, such as centroids, is taken over.

        Parameters
        ----------
        ids : array of distinct integers
        threads : int, optional
            For building, where nothing can be taken over.

        Raises
        ------
        KeyError
            If an id is not in the index.

        Examples
        --------
        >>> import annlab, numpy as np
        >>> vectors = np.random.default_rng(0).random((2000, 8), dtype=np.float32)
        >>> index = annlab.IVFIndex(n_lists=20).fit(vectors)
        >>> half = index.part(np.arange(0, 2000, 2))
        >>> len(half), half.n_lists, half.calibration == index.calibration
        (1000, 20, True)
        """
        numbers = validation.as_ids(ids)
        validation.no_duplicates(numbers)
        state = self._require_state()
        rows = np.sort(writes.rows_of(state, numbers))
        other = copy.copy(self)
        other._state = compaction.part(state, rows, self._builder, pool.resolve(threads))
        return other

    @contextmanager
    def _writing(self, threads: int | None = None) -> Iterator[None]:
        """Hold the lock for one write, and tidy up after it. If that is interrupted, the write has not happened."""
        with self._write_lock:
            before = self._state, self._dim
            yield
            after = self._state
        try:
            self._tidy(threads, before[0])
        except BaseException:
            with self._write_lock:
                if self._state is after:  # otherwise others have written since, or it was done in time
                    self._state, self._dim = before
            raise

    @property
    def rebuild_due(self) -> bool:
        """Whether searches have to look at so many added or removed rows that `compact` is worth its time."""
        state = self._state
        if state is None or not self._auto_compact:
            return False
        return compaction.many_dead(state) or compaction.tail_is_long(state, self._usual_params)

    def _tidy(self, threads: int | None, before: State | None) -> None:
        """Take in the tail once scanning it costs as much as a search; drop the dead once they are most.

        A write that comes while another thread compacts does not wait for it: what is due then is found by the next
        write.
        """
        if not self._auto_compact or not self._compact_lock.acquire(blocking=False):
            return
        try:
            state, params = self._state, self._usual_params
            if state is None:
                return
            if self.rebuilds_itself and compaction.many_dead(state):
                self.compact(threads=threads)
            elif self.rebuilds_itself and compaction.tail_is_long(state, params):
                if not self._absorb(state, threads):
                    self.compact(threads=threads)
            elif compaction.tail_has_grown(before, state, params):
                self._absorb(state, threads)
        finally:
            self._compact_lock.release()

    def _absorb(self, state: State, threads: int | None) -> bool:
        """Take the tail into the structure; False where that cannot be done, and it has to be built anew."""
        absorbed = self._builder.absorb(state, pool.resolve(threads))
        if absorbed is not None:
            with self._write_lock:  # only rows and tombstones can have been added since
                self._state = self._require_state().resealed(*absorbed, n_taken=state.n_rows)
        return absorbed is not None

    @property
    def _builder(self) -> Builder:
        return Builder(self.structure_class, self._metric, self._params, self._seed)

    @property
    def _usual_params(self) -> dict[str, Any]:
        """The search parameters with which the index was made. Nobody changes what this returns."""
        usual = self._kept_params
        if usual is None:
            usual = {name: check(self._params.get(name)) for name, check in self.search_parameters.items()}
            self._kept_params = usual
        return usual

    # ---- what is inside

    @property
    def ids(self) -> np.ndarray:
        """(n,) int64: the ids of all vectors, in ascending order."""
        state = self._state
        return np.empty(0, np.int64) if state is None else state.by_row.array[state.live_rows]

    def vectors(self, ids: Any = None) -> np.ndarray:
        """The vectors of some ids (or of `index.ids`), as they were given; KeyError for an id that is not there."""
        state = self._require_state()
        return state.gather(self._asked_rows(ids, state))

    def attributes(self, ids: Any = None) -> dict[str, np.ndarray]:
        """The attributes of some ids (or of `index.ids`) by name: arrays, with None where a value is missing.

        A float that is missing is NaN. KeyError for an id that is not there.
        """
        state = self._require_state()
        rows = self._asked_rows(ids, state)
        return {name: column[rows].array() for name, column in state.columns.items()}

    def __len__(self) -> int:
        return 0 if self._state is None else self._state.n_live

    def __contains__(self, id: object) -> bool:
        return self._state is not None and self._state.has(id)

    @property
    def dim(self) -> int:
        """The dimension of the vectors."""
        if self._dim is None:
            raise AttributeError(f"this {type(self).__name__} knows its dimension once it has vectors (or give dim=)")
        return self._dim

    @property
    def metric(self) -> str:
        """The name of the metric."""
        return self._metric.name

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The element type of the vectors; None while there are none, for the first ones choose it."""
        state = self._state
        return None if state is None or not state.n_rows else state.tail.array.dtype

    # ---- helpers

    def _require_state(self) -> State:
        if self._state is None:
            raise ValueError(f"this {type(self).__name__} has no content yet: fit or add first")
        return self._state

    def _asked_rows(self, ids: Any, state: State) -> np.ndarray:
        return state.live_rows if ids is None else writes.rows_of(state, validation.as_ids(ids, ordered=True))
