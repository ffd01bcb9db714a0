"""Index: what every index of this library can do, whatever algorithm finds the neighbours.

An index is a dictionary from ids to vectors that can be asked for the entries nearest to a vector. The algorithm is a
`Structure` (core/structure.py); this class composes it with what all algorithms share, and keeps the locks:

    common/validation.py  what users hand in is checked at the door
    core/state.py         one immutable state; searches read it, writers publish the next one
    core/ids.py           the users' ids
    core/filters.py       allowed, excluded, where
    core/builder.py       structures are made
    core/writes.py        the next state after rows were added
    core/compaction.py    when added rows are taken into the structure, and removed ones dropped
    core/search.py        candidates and their scoring, over threads (common/pool.py)
    core/snapshot.py, core/storage.py     files

A new index is one file: its structure, and a subclass of `Index` that names the parameters.

Threads: any number of threads may search while others write. Writers wait for each other; a search sees the state that
was current when it began. `compact` builds aside and then replays what happened meanwhile.
"""

import copy
import io
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, ClassVar, Self

import numpy as np

from annlab import __version__
from annlab.common import pool, slices, validation
from annlab.common.progress import as_progress
from annlab.common.results import Neighbors, RadiusNeighbors
from annlab.common.statistics import SearchStats
from annlab.core import compaction, snapshot, storage, writes
from annlab.core.attributes import as_columns
from annlab.core.builder import Builder
from annlab.core.conditions import Condition
from annlab.core.filters import Filter, Selection, condition_mask, to_ids
from annlab.core.search import Search
from annlab.core.state import State
from annlab.core.structure import Structure
from annlab.distances import get_metric


class Index:
    """The base of all indexes; see `ExactIndex` for the simplest one.

    Parameters
    ----------
    metric : {"l2", "cosine", "ip"}
    dim : int, optional
        Needed only to begin with an empty index.
    seed : int
        Everything random follows from it.
    auto_compact : bool
        Whether writes take added rows into the structure, and drop removed ones, by themselves once they slow searches
        down. A service that must never wait switches this off and calls `compact` in the background.
    params
        Parameters of the structure, for building.
    """

    structure_class: ClassVar[type[Structure]]
    metrics: ClassVar[dict[str, str]] = {}
    """Metrics that this index does not support, and what to use instead."""

    search_parameters: ClassVar[dict[str, Callable[[Any], Any]]] = {}
    """Names of the parameters of a search, and a function that checks a value for each."""

    variants: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    """Parameters that lead to different code: the demonstration shows them all, and `warmup` compiles them."""

    kinds: ClassVar[dict[str, type["Index"]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "structure_class"):
            Index.kinds[cls.__name__] = cls

    def __init__(self, *, metric: str, dim: int | None = None, seed: int = 0, auto_compact: bool = True,
                 **params: Any) -> None:  # fmt: skip
        self._metric = get_metric(metric)
        if metric in self.metrics:
            raise ValueError(f"{type(self).__name__} does not support metric={metric!r}: {self.metrics[metric]}")
        self._dim = self._given_dim = None if dim is None else validation.as_integer("dim", dim, 1)
        self._seed = validation.as_integer("seed", seed, 0)
        self._auto_compact = bool(auto_compact)
        self._params = params
        self._own_search_params: dict[str, Any] | None = None
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
        state = State.sealed(self._metric, structure, numbers, columns)
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
            rows = self._rows_of(numbers)
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
            self._state = writes.with_attributes(state, attributes, self._rows_of(numbers, state))

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
        numbers = np.unique(validation.as_ids(ids))
        with self._writing():
            state = self._state
            rows = self._rows_of(numbers) if missing == "raise" else writes.rows_present(state, numbers)
            if state is not None and len(rows):
                self._state = state.without(rows)
        return len(rows)

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

    @contextmanager
    def _writing(self, threads: int | None = None) -> Iterator[None]:
        """Hold the lock for one write, and tidy up after it. If that is interrupted, the write has not happened."""
        with self._write_lock:
            before = self._state, self._dim
            yield
            after = self._state
        try:
            self._tidy(threads)
        except BaseException:
            with self._write_lock:
                if self._state is after:  # otherwise others have written since, or it was done in time
                    self._state, self._dim = before
            raise

    def _tidy(self, threads: int | None) -> None:
        """Take in the tail once scanning it costs as much as a search; drop the dead once they are most.

        A write that comes while another thread compacts does not wait for it: what is due then is found by the next
        write.
        """
        if self._auto_compact and self._compact_lock.acquire(blocking=False):
            try:
                state = self._state
                if state is None:
                    return
                if compaction.many_dead(state):
                    self.compact(threads=threads)
                elif compaction.tail_is_long(state, self._search_params({})):
                    absorbed = self._builder.absorb(state, pool.resolve(threads))
                    if absorbed is None:
                        self.compact(threads=threads)
                        return
                    with self._write_lock:  # only rows and tombstones can have been added since
                        self._state = self._require_state().resealed(*absorbed, n_taken=state.n_rows)
            finally:
                self._compact_lock.release()

    @property
    def _builder(self) -> Builder:
        return Builder(self.structure_class, self._metric, self._params, self._seed)

    # ---- searching

    def search(self, queries: Any, k: int = 10, *, allowed: Any = None, excluded: Any = None,
               where: Condition | None = None, max_distance: Any = None, threads: int | None = None,
               stats: SearchStats | None = None, **params: Any) -> Neighbors:  # fmt: skip
        """The k nearest vectors of every query.

        Parameters
        ----------
        queries : array of shape (q, dim), or (dim,) for one
        k : int, at least 1
        allowed, excluded : optional
            Ids, a boolean array that follows `index.ids`, or an `index.filter(...)`; or a list of these, one per
            query. Ids that are not in the index are ignored.
        where : condition, optional
            On attributes, such as `annlab.col("owner") == 7`.
        max_distance : float or array of shape (q,), optional
            Of what was found, only what is at most so far away; inclusive, as in `search_radius`.
        threads : int, optional
        stats : SearchStats, optional
            Filled with what the search did.
        **params
            The search parameters of this index, see its class.

        Returns
        -------
        Neighbors
            distances (q, k) in the element type of the index, smaller is nearer, and ids (q, k) int64, sorted by
            (distance, id); (k,) for a 1-d query. Too few results are padded with inf and -1.

        Raises
        ------
        ValueError, TypeError
            If anything handed in is unusable.
        """
        k = validation.as_integer("k", k, 1, 2**31 - 1)
        search, single = self._prepared(queries, (allowed, excluded, where), threads, params)
        distances, ids = search.nearest(min(k, max(search.state.n_live, 1)))
        search.report(stats)
        if max_distance is not None:
            beyond = distances > validation.as_radii("max_distance", max_distance, len(ids), self.metric)[:, None]
            distances, ids = np.where(beyond, distances.dtype.type(np.inf), distances), np.where(beyond, -1, ids)
        if distances.shape[1] < k:
            more = ((0, 0), (0, k - distances.shape[1]))
            distances, ids = np.pad(distances, more, constant_values=np.inf), np.pad(ids, more, constant_values=-1)
        return Neighbors(distances[0], ids[0]) if single else Neighbors(distances, ids)

    def neighbors(self, k: int = 10, *, include_self: bool = False, threads: int | None = None,
                  stats: SearchStats | None = None, **params: Any) -> Neighbors:  # fmt: skip
        """The k nearest vectors of every vector in the index, in the order of `index.ids`.

        Parameters
        ----------
        k : int, at least 1
        include_self : bool
            Whether a vector counts as a neighbour of itself.
        threads, stats, **params
            As in `search`.

        Returns
        -------
        Neighbors
            distances and ids (n, k).

        Examples
        --------
        >>> import annlab, numpy as np
        >>> index = annlab.ExactIndex().fit(np.array([[0.0], [1.0], [3.0]]))
        >>> index.neighbors(k=1).ids.ravel().tolist()
        [1, 0, 1]
        """
        k = validation.as_integer("k", k, 1, 2**31 - 2)
        state = self._state  # ids and vectors of one moment, whoever writes meanwhile
        ids = np.empty(0, np.int64) if state is None else state.by_row.array[state.live_rows]
        vectors = np.empty((0, self.dim)) if state is None else state.gather(state.live_rows)
        found = self.search(vectors, k if include_self else k + 1, threads=threads, stats=stats, **params)
        if include_self:
            return found
        drop = np.argmax(found.ids == ids[:, None], axis=1)  # among many equals it may be missing: then the last goes
        drop[(found.ids != ids[:, None]).all(axis=1)] = k
        keep = np.arange(k + 1) != drop[:, None]
        return Neighbors(found.distances[keep].reshape(-1, k), found.ids[keep].reshape(-1, k))

    def search_radius(self, queries: Any, radius: Any, *, limit: int | None = None, allowed: Any = None,
                      excluded: Any = None, where: Condition | None = None, threads: int | None = None,
                      stats: SearchStats | None = None, **params: Any) -> RadiusNeighbors:  # fmt: skip
        """All vectors whose distance to a query is at most `radius`, nearest first.

        Parameters are those of `search`, and

        radius : float or array of shape (q,)
            A distance of the index's metric, for all queries or one each: inclusive, at least 0 but for "ip", and
            infinite where all vectors are wanted.
        limit : int, optional
            At most so many for each query, the nearest.

        Returns
        -------
        RadiusNeighbors
            lims (q + 1,), distances and ids: those of query i at lims[i]:lims[i + 1].
        """
        limit = None if limit is None else validation.as_integer("limit", limit, 1)
        search, _ = self._prepared(queries, (allowed, excluded, where), threads, params)
        radii = validation.as_radii("radius", radius, len(search.queries), self.metric)
        found = search.within(radii, limit)
        search.report(stats)
        return found

    def _prepared(self, queries: Any, chosen: tuple[Any, Any, Any], threads: int | None,
                  params: dict[str, Any]) -> tuple[Search, bool]:  # fmt: skip
        """A search of the present state, everything handed in being checked, and whether it is for one 1-d query.

        `chosen` is what was given as allowed, excluded and where.
        """
        search_params = self._search_params(params)
        state = self._state
        if state is None:
            if self._dim is None:
                raise ValueError(f"this {type(self).__name__} is empty and knows no dimension: fit it, or give dim=")
            state = State.empty(self._metric, self._dim, np.float32)
        dtype = state.tail.array.dtype
        array, single = validation.as_queries(queries, state.tail.array.shape[1], dtype, self.metric)
        selection = Selection(state, len(array), *chosen)
        return Search(state, array, selection, search_params, _threads(threads)), single

    def _search_params(self, given: dict[str, Any]) -> dict[str, Any]:
        """All search parameters: as given, else as the index was made. Nobody changes what this returns."""
        own = self._own_search_params
        if own is None:
            own = {name: check(self._params.get(name)) for name, check in self.search_parameters.items()}
            self._own_search_params = own
        if not given:
            return own
        validation.unknown_names(given, self.search_parameters, "search of " + type(self).__name__)
        return own | {name: self.search_parameters[name](value) for name, value in given.items()}

    def filter(self, *, allowed: Any = None, excluded: Any = None, where: Condition | None = None) -> Filter:
        """A reusable filter: pass it as `allowed=`; cheaper than ids that are looked up for every search.

        Parameters as in `search`, for all queries alike.
        """
        state = self._require_state()
        result = Filter(
            None if allowed is None else np.unique(to_ids(allowed, state, "allowed")),
            None if excluded is None else np.unique(to_ids(excluded, state, "excluded")),
            where,
        )
        result.mask(state)
        return result

    def select(self, where: Condition) -> np.ndarray:
        """The ids (n,) of the vectors that fulfil a condition on attributes, in ascending order."""
        state = self._require_state()
        rows = state.live_rows
        return state.by_row.array[rows[condition_mask(where, state)[rows]]]

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

    @property
    def parameters(self) -> dict[str, Any]:
        """What the index was made with: `type(index)(**index.parameters)` makes an empty one like it."""
        own = {"metric": self.metric, "dim": self._dim, "seed": self._seed, "auto_compact": self._auto_compact}
        known = validation.parameter_names(type(self).__init__)
        return {name: value for name, value in (own | self._params).items() if name in known}

    def branch(self) -> Self:
        """A second index with this one's content: what is written to one of them is not seen by the other.

        It costs nothing but an object, since states never change and are shared.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._write_lock, other._compact_lock = threading.RLock(), threading.RLock()
        return other

    def content_hash(self) -> str:
        """SHA-256 of everything that a file of this index would hold: equal where two indexes are equal bit by bit."""
        parameters = {name: value for name, value in self.parameters.items() if name != "dim"}
        return snapshot.content_hash(self._state, kind=type(self).__name__, parameters=parameters)

    def memory(self) -> dict[str, int]:
        """Bytes by part; "total" is what is held in memory, "mapped" what lies in a file and is read when needed."""
        return snapshot.memory(self._state)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items() if name != "dim")
        size = f"{len(self)} x {self._dim}" if self._state is not None else "empty"
        return f"<{type(self).__name__}({settings}): {size}>"

    # ---- parameters and copies, as scikit-learn and Python ask for them

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters, as they were given."""
        return {name: self._given_dim if name == "dim" else value for name, value in self.parameters.items()}

    def set_params(self, **params: Any) -> Self:
        """Change parameters; of an index that holds vectors only those of searches.

        Raises
        ------
        ValueError
            If the vectors would have to be indexed anew.
        """
        validation.unknown_names(params, self.get_params(), type(self).__name__)
        fixed = [name for name in params if name not in self.search_parameters]
        if fixed and self._state is not None:
            raise ValueError(f"{fixed[0]} of an index that holds {len(self)} vectors cannot be changed: make another "
                             "with type(index)(**{**index.get_params(), ...}) and fit it")  # fmt: skip
        other = type(self)(**{**self.get_params(), **params})
        with self._write_lock:
            if self._state is None:
                self._metric, self._seed, self._auto_compact = other._metric, other._seed, other._auto_compact
                self._dim = self._given_dim = other._dim
            self._params, self._own_search_params = other._params, None
        return self

    def __sklearn_clone__(self) -> Self:
        return type(self)(**copy.deepcopy(self.get_params()))

    def __copy__(self) -> Self:
        return self.branch()

    def __reduce__(self) -> Any:
        """By the file format: what unpickles an index runs the checked load, and nothing else."""
        return _from_bytes, (type(self), self.to_bytes())

    # ---- files

    def save(self, path: str | os.PathLike[str] | BinaryIO) -> None:
        """Write the index to one file, atomically: after a crash the old file or the new one is there, whole.

        `path` may also be a file that is open for writing in binary mode, which is simply written into.
        """
        snapshot.save(self._state, path, dim=self._dim, **self._about)

    def to_bytes(self) -> bytes:
        """The content of the file that `save` writes; `load` takes it."""
        file = io.BytesIO()
        self.save(file)
        return file.getvalue()

    @classmethod
    def load(cls, path: storage.Place, *, mmap: bool = False, verify: bool | None = None) -> Self:
        """Read an index from a file.

        Parameters
        ----------
        path : path, bytes, or file that is open for reading in binary mode
        mmap : bool
            Map the file instead of reading it: starts at once, vectors are read when they are needed.
        verify : bool, optional
            True verifies the hashes of everything. Otherwise a full load does too, and a mapped one leaves out
            vectors and codes: damage there may change an answer but cannot crash a search.

        Raises
        ------
        CorruptIndexError
            If the file is damaged or no index, with what is wrong; or holds another kind of index than this class.
        FileNotFoundError
        """
        with snapshot.read(path, mmap, verify) as stored:
            index = cls(**stored.parameters(cls.__name__))
            index._state = stored.state(index._metric, cls.structure_class, index._params)
        return index

    @property
    def _about(self) -> dict[str, Any]:
        """What a file says of the index besides its content."""
        return {"kind": type(self).__name__, "library": __version__, "parameters": self.parameters}

    # ---- helpers

    def _require_state(self) -> State:
        if self._state is None:
            raise ValueError(f"this {type(self).__name__} has no content yet: fit or add first")
        return self._state

    def _asked_rows(self, ids: Any, state: State) -> np.ndarray:
        return state.live_rows if ids is None else self._rows_of(validation.as_ids(ids, ordered=True), state)

    def _rows_of(self, ids: np.ndarray, state: State | None = None) -> np.ndarray:
        state = state or self._state
        rows = np.full(len(ids), -1, np.int64) if state is None else state.ids.find(ids, state.alive.array)
        if (rows < 0).any():
            absent = ids[rows < 0]
            raise KeyError(f"id {int(absent[0])} is not in the index ({len(absent)} of {len(ids)} are not)")
        return rows


def _threads(wanted: int | None) -> int:
    return pool.resolve(wanted)


def _from_bytes(index_class: type[Index], content: bytes) -> Index:
    """What `pickle` calls."""
    return index_class.load(content)
