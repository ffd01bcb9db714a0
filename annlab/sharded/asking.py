"""The reading half of `ShardedIndex`: the contract of an index, put together from the answers of shards."""

from collections.abc import Iterator, Mapping, Set
from typing import Any, NamedTuple

import numpy as np

from annlab.common import validation
from annlab.common.results import Neighbors, RadiusNeighbors
from annlab.common.statistics import SearchStats
from annlab.core.attributes import FLOAT, INT, Attribute
from annlab.core.conditions import Condition
from annlab.index import Index
from annlab.sharded import merging
from annlab.sharded.client import Client
from annlab.sharded.engines import Engine
from annlab.sharded.errors import MissingShardError, ShardedError
from annlab.sharded.manifest import Manifest
from annlab.sharded.reading import Chosen, Facts, Query
from annlab.sharded.routing import Routes


class PartialNeighbors(NamedTuple):
    """What a search with `partial=True` returns: distances and ids as `Neighbors`, and the shards that are missing in
    it, by name, with the reason; empty where none is."""

    distances: np.ndarray
    ids: np.ndarray
    missing: dict[str, str]


class Asking:
    """See the head of the file."""

    _engine: Engine
    _client: Client
    _empty: Index
    _facts: Facts | None
    _routes: Routes
    timeout: float

    # ---- searching

    def search(self, queries: Any, k: int = 10, *, allowed: Any = None, excluded: Any = None,
               where: Condition | None = None, max_distance: Any = None, threads: int | None = None,
               stats: SearchStats | None = None, partial: bool = False, timeout: float | None = None,
               at_least: Mapping[str, int] | None = None, n_shards_asked: int | str = "auto",
               **params: Any) -> Any:  # fmt: skip
        """The k nearest vectors of every query, as `Index.search` finds them, and

        partial : bool
            Return what there is although shards are missing: a `PartialNeighbors`, which names them.
        timeout : float, optional
            Seconds, in place of those of the index.
        at_least : token, optional
            Read nothing older than this; if not given, nothing older than the own writes.
        n_shards_asked : int or "auto"
            Where rows are placed by cells: how many shards each query asks, those with the nearest cells. "auto" asks
            all that can hold a result, of exact indexes; of others as many as recall needs, which `fit` has tried out,
            but under a filter, or for more neighbours than it tried, all that can hold a result.

        Raises
        ------
        MissingShardError
            No replica of a shard answered in time, and `partial` is not set.
        """
        k = validation.as_integer("k", k, 1, 2**31 - 1)
        until = self._engine.world.now() + self._seconds(timeout)
        known = self._known(partial=partial, timeout=timeout, at_least=at_least)
        array, single = self._queries(queries, known)
        selection = self._selection(allowed, excluded, where, len(array))
        if len(array) == 0:
            parts, missing = dict[str, Any](), dict[str, str]()
        else:
            query = Query(array, selection, threads, self._params(params), known.columns)
            parts, missing = self._searched(query, k, n_shards_asked, partial, self._left(until), at_least)
        answers = list(parts.values())
        distances, ids = merging.nearest([(part.distances, part.ids) for part in answers], len(array), k)
        distances = merging.rounded(distances, array.dtype)
        merging.report(stats, answers, len(array))
        if max_distance is not None:
            beyond = distances > validation.as_radii("max_distance", max_distance, len(ids), self.metric)[:, None]
            distances, ids = np.where(beyond, distances.dtype.type(np.inf), distances), np.where(beyond, -1, ids)
        if single:
            distances, ids = distances[0], ids[0]
        return PartialNeighbors(distances, ids, missing) if partial else Neighbors(distances, ids)

    def _searched(self, query: Query, k: int, how: Any, partial: bool, seconds: float,
                  at_least: Mapping[str, int] | None) -> tuple[dict[str, Any], dict[str, str]]:  # fmt: skip
        """The answers of those shards that have to be asked, and which are missing."""
        if how != "auto":
            how = validation.as_integer("n_shards_asked", how, 1)
        if not self._manifest.cells:
            if how != "auto":
                raise ValueError(f"n_shards_asked={how}, but rows are placed by hash: every search asks every shard")
            return self._answers("search", (query, k), partial, seconds, at_least)
        found: tuple[dict[str, Any], dict[str, str]]
        found = self._engine.run(self._routes.search(query, k, how, seconds, at_least))
        if not partial:
            _raise_if_missing(found[1])
        return found

    def search_radius(self, queries: Any, radius: Any, *, limit: int | None = None, allowed: Any = None,
                      excluded: Any = None, where: Condition | None = None, threads: int | None = None,
                      stats: SearchStats | None = None, timeout: float | None = None,
                      at_least: Mapping[str, int] | None = None, **params: Any) -> RadiusNeighbors:  # fmt: skip
        """All vectors within a distance of every query, as `Index.search_radius` finds them; more as for `search`."""
        limit = None if limit is None else validation.as_integer("limit", limit, 1)
        until = self._engine.world.now() + self._seconds(timeout)
        known = self._known(timeout=timeout, at_least=at_least)
        array, _ = self._queries(queries, known)
        radii = validation.as_radii("radius", radius, len(array), self.metric)
        selection = self._selection(allowed, excluded, where, len(array))
        query = Query(array, selection, threads, self._params(params), known.columns)
        if self._manifest.cells and len(array):
            how = self._left(until), at_least
            found, missing = self._engine.run(self._routes.search_radius(query, radii, limit, *how))
            _raise_if_missing(missing)
        else:
            found, _ = self._answers("search_radius", (query, radii, limit), False, self._left(until), at_least)
        answers = list(found.values())
        merging.report(stats, answers, len(array))
        lims, distances, ids = merging.within(answers, len(array), limit)
        return RadiusNeighbors(lims, merging.rounded(distances, array.dtype), ids)

    def filter(self, *, allowed: Any = None, excluded: Any = None, where: Condition | None = None) -> Chosen:
        """A reusable filter for searches: pass it as `allowed=`."""
        if where is not None:
            self.select(where)
        ids = [None if one is None else np.unique(self._as_ids(one, name))
               for one, name in ((allowed, "allowed"), (excluded, "excluded"))]  # fmt: skip
        return Chosen(ids[0], ids[1], where)

    def select(self, where: Condition) -> np.ndarray:
        """The ids (n,) of the vectors that fulfil a condition on attributes, in ascending order."""
        if not isinstance(where, Condition):
            raise TypeError(f"where= takes a condition such as annlab.col('owner') == 7, not {where!r}")
        parts = self._answers("select", (where, self._known().columns))[0]
        return np.sort(np.concatenate([np.empty(0, np.int64), *parts.values()]))

    def _queries(self, queries: Any, known: Facts) -> tuple[np.ndarray, bool]:
        if known.dim is None:
            raise ValueError("this ShardedIndex is empty and knows no dimension: fit it, or give dim=")
        return validation.as_queries(queries, known.dim, np.dtype(known.dtype or np.float32), self.metric)

    def _params(self, given: dict[str, Any]) -> dict[str, Any]:
        self._empty._search_params(given)
        return given

    def _selection(self, allowed: Any, excluded: Any, where: Any, q: int) -> tuple[Any, Any, Any]:
        if where is not None and not isinstance(where, Condition):
            raise TypeError(f"where= takes a condition such as annlab.col('owner') == 7, not {where!r}")
        return self._sent(allowed, "allowed", q), self._sent(excluded, "excluded", q), where

    def _sent(self, chosen: Any, name: str, q: int) -> Any:
        """A selection as it can be sent: ids as an array, conditions and filters as they are, or a list of these."""
        if chosen is None or isinstance(chosen, (Condition, Chosen)):
            return chosen
        several = isinstance(chosen, np.ndarray) and chosen.ndim == 2
        if isinstance(chosen, (list, tuple)):
            several = any(isinstance(one, (Chosen, Condition, Set, Iterator)) or np.ndim(one) == 1 for one in chosen)
        if several:
            if len(chosen) != q:
                raise ValueError(f"{name} has {len(chosen)} entries for {q} queries: give one each")
            return [self._sent(one, name, 0) for one in chosen]
        return self._as_ids(chosen, name)

    def _as_ids(self, chosen: Any, name: str) -> np.ndarray:
        """Ids from ids, or from a boolean array that follows `ids`."""
        is_list = isinstance(chosen, (list, tuple))
        if is_list and set(map(type, chosen)) <= {bool, np.bool_} and len(chosen):
            chosen = np.array(chosen, bool)
        if isinstance(chosen, np.ndarray) and chosen.dtype == bool:
            own = self.ids
            if chosen.shape != own.shape:
                raise ValueError(f"{name} is a mask of shape {chosen.shape}, but the index holds {len(own)} vectors "
                                 "(a mask follows index.ids)")  # fmt: skip
            return own[chosen]
        return validation.as_ids(chosen, name=name)

    # ---- what is inside

    @property
    def ids(self) -> np.ndarray:
        """(n,) int64: the ids of all vectors, in ascending order."""
        return np.sort(np.concatenate([np.empty(0, np.int64), *self._answers("ids", ())[0].values()]))

    def vectors(self, ids: Any = None) -> np.ndarray:
        """The vectors of some ids (or of `index.ids`); KeyError for an id that is not there."""
        asked, known = self._asked(ids), self._known()
        result = np.empty((len(asked), known.dim or 0), known.dtype or np.float32)
        for place, (there, rows) in self._at_home(asked, "vectors"):
            result[place[there]] = rows
        return result

    def attributes(self, ids: Any = None) -> dict[str, np.ndarray]:
        """The attributes of some ids (or of `index.ids`) by name; KeyError for an id that is not there."""
        asked, known = self._asked(ids), self._known()
        places, found = np.empty(0, np.int64), {name: like[:0] for name, like in known.columns.items()}
        for place, (there, columns) in self._at_home(asked, "columns"):
            n = int(there.sum())
            places = np.concatenate([places, place[there]])
            for name, so_far in found.items():
                found[name] = so_far.extended(name, columns.get(name, Attribute.all_missing(n)))
        order = np.argsort(places)
        return {name: column[order].array() for name, column in found.items()}

    def _asked(self, ids: Any) -> np.ndarray:
        return self.ids if ids is None else validation.as_ids(ids, ordered=True)

    def _by_home(self, asked: np.ndarray, method: str) -> list[tuple[np.ndarray, Any]]:
        """Ask each shard for those ids that belong to it; the places of these in `asked`, and the answer."""
        places: dict[str, np.ndarray] = {}

        def by_shard(manifest: Manifest) -> dict[str, tuple[Any, ...]]:
            places.clear()
            places.update(self._may_be_at(manifest, asked))
            return {name: (asked[place],) for name, place in places.items()}

        return [(places[name], answer) for name, answer in self._answers(method, by_shard)[0].items()]

    def _may_be_at(self, manifest: Manifest, asked: np.ndarray) -> dict[str, np.ndarray]:
        """The places of those of some ids that each shard may hold: where cells decide, any of them."""
        if manifest.cells:
            return {entry.name: np.arange(len(asked)) for entry in manifest.shards}
        return {name: place for name, place in manifest.split(asked).items() if len(place)}

    def _at_home(self, asked: np.ndarray, method: str) -> list[tuple[np.ndarray, Any]]:
        """The same of ids that have to be there."""
        found, absent = self._by_home(asked, method), np.ones(len(asked), bool)
        for place, (there, _) in found:
            absent[place[there]] = False
        if absent.any():
            raise KeyError(f"id {int(asked[absent][0])} is not in the index ({absent.sum()} of {len(asked)} are not)")
        return found

    def __len__(self) -> int:
        return self._known(anew=True).n

    def present(self, ids: Any) -> np.ndarray:
        """(n,) bool: which of some ids are there."""
        asked, found = validation.as_ids(ids, ordered=True), np.zeros(np.shape(ids), bool)
        for place, there in self._by_home(asked, "present"):
            found[place] |= there
        return found

    def __contains__(self, id: object) -> bool:
        if not isinstance(id, (int, np.integer)) or not 0 <= id < 2**63:
            return False
        return bool(self.present(np.array([id], np.int64))[0])

    @property
    def rebuild_due(self) -> bool:
        """Whether a shard should be built anew, by `compact`, since many of its rows were added or removed."""
        return any(part.rebuild_due for part in self._answers("facts", ())[0].values())

    @property
    def dim(self) -> int:
        """The dimension of the vectors."""
        dim = self._known().dim
        if dim is None:
            raise ValueError("this ShardedIndex is empty and knows no dimension: fit it, or give dim=")
        return dim

    @property
    def metric(self) -> str:
        """The name of the metric."""
        return self._empty.metric

    @property
    def kind(self) -> str:
        """The name of the class that each shard is."""
        return type(self._empty).__name__

    @property
    def parameters(self) -> dict[str, Any]:
        """What each shard was made with."""
        return self._empty.parameters

    @property
    def search_parameters(self) -> Mapping[str, Any]:
        """Names of the parameters that a search takes, each with a function that checks a value."""
        return self._empty.search_parameters

    @property
    def n_shards(self) -> int:
        """How many shards there are."""
        return len(self._manifest.shards)

    def memory(self) -> dict[str, int]:
        """Bytes by part, of one replica of each shard."""
        return self._known(anew=True).memory

    # ---- helpers

    @property
    def _manifest(self) -> Manifest:
        return self._client.manifest()

    def _answers(self, method: str, arguments: Any, partial: bool = False, timeout: float | None = None,
                 at_least: Mapping[str, int] | None = None) -> tuple[dict[str, Any], dict[str, str]]:  # fmt: skip
        seconds = self._seconds(timeout)
        found: tuple[dict[str, Any], dict[str, str]]
        found = self._engine.run(self._client.read_all(method, arguments, seconds, at_least))
        if not partial:
            _raise_if_missing(found[1])
        return found

    def _seconds(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else validation.as_number("timeout", timeout, 0.0)

    def _left(self, until: float) -> float:
        """Of the seconds that a search may take."""
        return max(until - self._engine.world.now(), 0.0)

    def _known(self, anew: bool = False, partial: bool = False, timeout: float | None = None,
               at_least: Mapping[str, int] | None = None) -> Facts:  # fmt: skip
        """What all shards say of themselves, together; asked for again after a write of this object."""
        if self._facts is None or anew:
            answers, missing = self._answers("facts", (), partial, timeout, at_least)
            parts = list(answers.values())
            columns: dict[str, Attribute] = {}
            memory: dict[str, int] = {}
            for part in parts:
                for name, column in part.columns.items():
                    known = columns.get(name)
                    is_new = known is None or not len(known) or (known.kind, column.kind) == (INT, FLOAT)
                    if known is None or (is_new and len(column)):
                        columns[name] = column
                for name, n_bytes in part.memory.items():
                    memory[name] = memory.get(name, 0) + n_bytes
            dims = {part.dim for part in parts if part.dim is not None}
            if len(dims) > 1:
                raise ShardedError(f"shards hold vectors of {sorted(dims)} dimensions: restore a copy")
            dtype = next((part.dtype for part in parts if part.dtype is not None), None)
            largest = max((part.largest_id for part in parts), default=-1)
            due = any(part.rebuild_due for part in parts)
            found = Facts(sum(part.n for part in parts), next(iter(dims), None), dtype, largest, columns, memory, due)
            if missing:
                return found
            self._facts = found
        return self._facts


def _raise_if_missing(missing: Mapping[str, str]) -> None:
    if missing:
        raise MissingShardError("; ".join(missing.values()))
