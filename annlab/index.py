"""Index: what every index of this library can do, whatever algorithm finds the neighbours.

An index is a dictionary from ids to vectors that can be asked for the entries nearest to a vector. The dictionary is a
`Collection` (core/collection.py): filling, writing, reading. The algorithm is a `Structure` (core/structure.py). This
class asks, and adds what indexes are as objects and as files:

    common/validation.py  what users hand in is checked at the door
    core/state.py         one immutable state; searches read it, writers publish the next one
    core/ids.py           the users' ids
    core/filters.py       allowed, excluded, where
    core/search.py        candidates and their scoring, over threads (common/pool.py)
    core/snapshot.py, core/storage.py     files

A new index is one file: its structure, and a subclass of `Index` that names the parameters.

Threads: any number of threads may search while others write. Writers wait for each other; a search sees the state that
was current when it began. `compact` builds aside and then replays what happened meanwhile.
"""

import copy
import importlib
import io
import os
import threading
from typing import Any, BinaryIO, ClassVar, Self

import numpy as np

from annlab import __version__
from annlab.common import pool, validation
from annlab.common.results import Neighbors, RadiusNeighbors
from annlab.common.statistics import SearchStats
from annlab.core import snapshot, storage
from annlab.core.collection import Collection
from annlab.core.conditions import Condition
from annlab.core.filters import Filter, Selection, condition_mask, to_ids
from annlab.core.search import Search
from annlab.core.shortcut import Shortcuts
from annlab.core.state import State


class Index(Collection):
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

    variants: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    """Parameters that lead to different code: the demonstration shows them all, and `warmup` compiles them."""

    kinds: ClassVar[dict[str, type["Index"]]] = {}

    _shortcuts: Shortcuts | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "structure_class"):
            Index.kinds[cls.__name__] = cls

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
        if allowed is excluded is where is max_distance is stats is None:
            found = self._shortcuts_now().answer(queries, k, threads, params, self._search_params)
            if found is not None:
                return found
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

    def _shortcuts_now(self) -> Shortcuts:
        """The shortcuts of the present state, see `core/shortcut.py`."""
        shortcuts, state = self._shortcuts, self._state
        if shortcuts is None or shortcuts.state is not state or shortcuts.params is not self._kept_params:
            shortcuts = self._shortcuts = Shortcuts(state, self._usual_params)
        return shortcuts

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
        return Search(state, array, selection, search_params, pool.resolve(threads)), single

    def _search_params(self, given: dict[str, Any]) -> dict[str, Any]:
        """All search parameters: as given, else as the index was made. Nobody changes what this returns."""
        own = self._usual_params
        if not given:
            return own
        validation.unknown_names(given, self.search_parameters, "search of " + type(self).__name__)
        return own | {name: self.search_parameters[name](value) for name, value in given.items()}

    def explain(self, query: Any, k: int = 10, **how: Any) -> Any:
        """What a search for one query did, and for every neighbour that it missed the cause: `annlab.explain.explain`.

        Examples
        --------
        >>> import annlab, numpy as np
        >>> vectors = np.random.default_rng(0).random((100, 8), dtype=np.float32)
        >>> print(annlab.ExactIndex().fit(vectors).explain(vectors[0], k=3))
        ExactIndex, 3 nearest of 100 vectors
        looked into 0 cells, buckets or nodes, compared 100 rows (100.0%), read 3,200 bytes
        returned 3 of 3 expected
        """
        return importlib.import_module("annlab.explain").explain(self, query, k, **how)  # a room above this one

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
            self._params, self._kept_params = other._params, None
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


def _from_bytes(index_class: type[Index], content: bytes) -> Index:
    """What `pickle` calls."""
    return index_class.load(content)
