"""A search asks the shards whose cells can matter.

    exact         each query first asks the shard whose reach (reach.py) comes nearest to it, and then, at once, all
                  others whose bound is no farther than the k-th distance that it has found. So the answer is that of
                  all shards, bit for bit, whatever the filter
    approximate   each query asks the so many shards that have rows in the cells nearest to it; how many was tried out
                  by `fit` (trial.py), so that recall is at least that of one index

What is known of a shard's reach was true after some operation of its log. To pass over the shard is to read it as it
was then: that is allowed where the token of the read asks for nothing later, and for a second. Otherwise it is asked
anew.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from annlab.common.statistics import N_COUNTERS
from annlab.sharded import reach
from annlab.sharded.cells import Cells
from annlab.sharded.client import Client
from annlab.sharded.errors import MissingShardError
from annlab.sharded.manifest import Manifest
from annlab.sharded.merging import Ranked, RankedWithin
from annlab.sharded.reading import Query

_SECONDS = 1.0  # for which a reach is known, where no write of the reader's own asks for a later one

Found = dict[str, Any]
Missing = dict[str, str]


class Asked(NamedTuple):
    """How many times a query asked a shard, and how many times it would have without routing."""

    shards: int
    of: int


class Routes:
    """What one user of the index knows of where rows lie."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.asked = Asked(0, 0)
        self._cells: tuple[str, Cells] | None = None
        self._reaches: dict[str, tuple[int, float, np.ndarray]] = {}

    def cells(self, manifest: Manifest) -> Cells:
        """The cells that a manifest names."""
        if self._cells is None or self._cells[0] != manifest.cells:
            self._cells = manifest.cells, Cells.get(self.client.manifests.store, manifest.cells)
            self._reaches.clear()
        return self._cells[1]

    async def search(self, query: Query, k: int, how: int | str | None, seconds: float,
                     at_least: Mapping[str, int] | None) -> tuple[Found, Missing]:  # fmt: skip
        """The answers of shards, each with a row for every query; `how`: None for exact, a number, or "auto"."""
        token = self.client.known_token(at_least)

        async def by(manifest: Manifest, seconds: float) -> tuple[Found, Missing]:
            until = self.client.world.now() + seconds
            bounds, nearest, missing = await self._bounds(manifest, query, token, seconds)
            n_asked = _number(self.cells(manifest), how, k, query, len(manifest.shards))
            need = _first(bounds, 1) if n_asked is None else _first(nearest, n_asked)
            found, more = await self._ask(manifest, "search", query, need, (k,), token, until)
            if n_asked is None:
                reached = bounds <= _kth(found, k, len(query.vectors))[:, None]
                rest = reached & (bounds < np.inf) & ~need
                found, more = _both((found, more), await self._ask(manifest, "search", query, rest, (k,), token, until))
            return found, missing | more

        result: tuple[Found, Missing] = await self.client.by_manifest(by, seconds, MissingShardError)
        return result

    async def search_radius(self, query: Query, radii: np.ndarray, limit: int | None, seconds: float,
                            at_least: Mapping[str, int] | None) -> tuple[Found, Missing]:  # fmt: skip
        """The answers of all shards that can hold a row within the radii (q,)."""
        token = self.client.known_token(at_least)

        async def by(manifest: Manifest, seconds: float) -> tuple[Found, Missing]:
            until = self.client.world.now() + seconds
            bounds, _, missing = await self._bounds(manifest, query, token, seconds)
            need = (bounds <= radii[:, None]) & (bounds < np.inf)
            found, more = await self._ask(manifest, "search_radius", query, need, (radii, limit), token, until)
            return found, missing | more

        result: tuple[Found, Missing] = await self.client.by_manifest(by, seconds, MissingShardError)
        return result

    async def _bounds(self, manifest: Manifest, query: Query, token: Mapping[str, int],
                      seconds: float) -> tuple[np.ndarray, np.ndarray, Missing]:  # fmt: skip
        """Bounds and nearest centers (q, s), and the shards whose reach nobody tells."""
        cells, now, reads = self.cells(manifest), self.client.world.now(), {}
        for entry in manifest.shards:
            least = max(token.get(entry.name, 0), entry.since)
            seq, when, _ = self._reaches.get(entry.name, (-1, now, None))
            if seq < least or now > when + _SECONDS:
                reads[entry.name] = self.client.ask(entry, "reach", (manifest.cells, least), seconds)
        answers, missing = await self.client.answers(reads, seconds)
        for name, (seq, radii) in answers.items():
            self._reaches[name] = seq, now, radii
        known = {name: radii for name, (_, _, radii) in self._reaches.items()}
        nothing = reach.none(cells)
        self.asked = Asked(self.asked.shards, self.asked.of + len(query.vectors) * len(manifest.shards))
        reaches = [nothing if e.name in missing else known[e.name] for e in manifest.shards]
        return *reach.bounds(cells, np.array(reaches), query.vectors), missing

    async def _ask(self, manifest: Manifest, method: str, query: Query, need: np.ndarray, arguments: Sequence[Any],
                   token: Mapping[str, int], until: float) -> tuple[Found, Missing]:  # fmt: skip
        """Ask shards for those queries that need them (q, s); answers with a row for every query."""
        self.asked = Asked(self.asked.shards + int(need.sum()), self.asked.of)
        seconds, places, reads = max(until - self.client.world.now(), 0.0), {}, {}
        for number, entry in enumerate(manifest.shards):
            place = np.flatnonzero(need[:, number])
            if len(place):
                places[entry.name] = place
                own = [each[place] if isinstance(each, np.ndarray) else each for each in arguments]
                reads[entry.name] = self.client.read(entry, method, (_some(query, place), *own),
                                                     token.get(entry.name, 0), seconds)  # fmt: skip
        found, missing = await self.client.answers(reads, seconds)
        return {name: _spread(part, places[name], len(need)) for name, part in found.items()}, missing


def _number(cells: Cells, how: int | str | None, k: int, query: Query, n_shards: int) -> int | None:
    """How many shards to ask; None: those that the bounds say."""
    if how == "auto":  # what was tried out was tried without a filter
        is_filtered = any(each is not None for each in query.selection)
        how = None if is_filtered else next((n for most, n in cells.asked if k <= most), None)
    return how if isinstance(how, int) and how < n_shards else None


def _first(scores: np.ndarray, n: int) -> np.ndarray:
    """(q, s) bool: the n smallest of each row; those that are infinite are none."""
    need, order = np.zeros(scores.shape, bool), np.argsort(scores, axis=1, kind="stable")[:, :n]
    np.put_along_axis(need, order, True, axis=1)
    return need & (scores < np.inf)


def _kth(found: Found, k: int, q: int) -> np.ndarray:
    """(q,) the k-th distance among what one shard each has found."""
    kth = np.full(q, np.inf)
    for part in found.values():
        if part.ids.shape[1] >= k:
            kth = np.minimum(kth, np.where(part.ids[:, k - 1] >= 0, part.distances[:, k - 1], np.inf))
    return kth


def _both(one: tuple[Found, Missing], other: tuple[Found, Missing]) -> tuple[Found, Missing]:
    """Two rounds together: a shard that answered in both has answered other queries."""
    found = {f"{name} {i}": part for i, (parts, _) in enumerate((one, other)) for name, part in parts.items()}
    return found, one[1] | other[1]


def _some(query: Query, place: np.ndarray) -> Query:
    """Some of the queries."""
    if len(place) == len(query.vectors):
        return query
    allowed, excluded, where = (
        [each[i] for i in place] if isinstance(each, list) else each for each in query.selection
    )  # fmt: skip
    return query._replace(vectors=query.vectors[place], selection=(allowed, excluded, where))


def _spread(part: Any, place: np.ndarray, q: int) -> Any:
    """An answer to some of q queries as one to all, of which the others have found nothing."""
    if len(place) == q:
        return part
    counters, scanned = np.zeros((q, N_COUNTERS), np.int64), np.zeros(q, bool)
    counters[place], scanned[place] = part.counters, part.scanned
    if isinstance(part, RankedWithin):
        sizes = np.zeros(q, np.int64)
        sizes[place] = np.diff(part.lims)
        lims = np.concatenate([[0], np.cumsum(sizes)])
        return part._replace(lims=lims, counters=counters, scanned=scanned)
    m = part.ids.shape[1]
    distances, ids = np.full((q, m), np.inf), np.full((q, m), -1, np.int64)
    distances[place], ids[place] = part.distances, part.ids
    return Ranked(distances, ids, counters, scanned, part.dtype)
