"""A page: which candidates stand behind the cursor, which of them the page shows, and where the next one begins.

Candidates are taken in their own order: by (distance, id), or by (time, id) the latest first. A *window* of this order
is ranked by the stages, and pages show what comes out, until it is shown; then comes the next window (`cursors.py`).
What was shown of a window is in the cursor, so nothing is shown twice, and nothing is left out because others came or
went.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile
from typing import Any

import numpy as np

from annlab.visual.candidates import Fetch
from annlab.visual.cursors import Cursor, Key
from annlab.visual.reranking import About, Candidate, Ranked
from annlab.visual.scoring import Scoring
from annlab.visual.viewers import Filters, QueryError, Viewer

LOOKED_AT = 250  # candidates; by time twice as many, and more where pages go deeper
MOST = 500  # results a page
_WINDOW = 4  # times k: candidates that are ranked among each other
_LARGEST_WINDOW = 200  # unless a page is larger


@dataclass(frozen=True)
class Request:
    """What is asked besides the query, checked."""

    k: int
    viewer: Viewer
    filters: Filters
    by_time: bool
    cutoff: float | None
    params: dict[str, Any]
    exact: bool


@dataclass
class Source:
    """Where the candidates of one search come from, how their scores follow from their distances, which images the
    query names, and which ones (n,) may be shown."""

    fetch: Fetch
    scoring: Scoring
    named: tuple[int, ...]
    allowed: np.ndarray
    identity: bytes
    by_vector: bool = True
    notes: list[str] = field(default_factory=list)


class Clock:
    """Milliseconds by stage."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._spent: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self._spent[stage] = self._spent.get(stage, 0.0) + 1e3 * (time.perf_counter() - began)

    def done(self) -> dict[str, float]:
        """All stages, and the total."""
        return {**self._spent, "total": 1e3 * (time.perf_counter() - self._began)}


class Page:
    """One page of a search.

    Parameters
    ----------
    request : Request
    source : Source
    about : About
    cursor : Cursor
        Where it begins.
    reach : float
        The distance of the cut.
    clock : Clock

    Attributes
    ----------
    total, weaker : int
        Candidates that were looked at, within the cut and beyond it.
    limited : bool
        Whether there may be more within the cut than were looked at.
    """

    def __init__(self, request: Request, source: Source, about: About, cursor: Cursor, reach: float,
                 clock: Clock) -> None:  # fmt: skip
        self._request, self._source, self._about, self._clock = request, source, about, clock
        self._cursor = cursor
        self._reach = reach if cursor.reach is None else min(reach, cursor.reach)
        self.looked_at = max(LOOKED_AT * (2 if request.by_time else 1), cursor.depth)
        self._look()

    def _look(self) -> None:
        """Fetch candidates, and put those within the cut into the order of the pages."""
        with self._clock("search"):
            while True:
                found = self._source.fetch(self.looked_at)
                settled = found.complete or (len(found.keys) > 0 and float(found.distances[-1]) > self._reach)
                if settled or not (self._request.by_time and self._cursor.reach is not None):
                    break
                self.looked_at *= 2  # all that the first page looked at must be looked at again, whatever came since
        facts = self._about.facts
        slots = facts.slots_of(found.keys)
        within = (found.distances <= self._reach) & (slots >= 0)
        self.limited = not settled
        keys, distances, self._slots = found.keys[within], found.distances[within], slots[within]
        self.total = len(keys) - int(np.count_nonzero(keys[:, None] == self._keys_of_the_query()))  # which are few
        self.weaker = int(np.count_nonzero(found.distances > self._reach))
        self._keys, self._distances = keys, distances
        self._sort = -facts.times[self._slots] if self._request.by_time else distances
        if self._request.by_time:
            order = np.lexsort((keys, self._sort))
            self._keys, self._distances, self._slots = keys[order], distances[order], self._slots[order]
            self._sort = self._sort[order]
            if self._cursor.reach is None and len(found.keys):
                last = self._reach if settled else float(found.distances[-1])
                self._cursor = replace(self._cursor, reach=last if np.isfinite(last) else float(found.distances[-1]))

    def _keys_of_the_query(self) -> np.ndarray:
        """The keys of pictures of which the viewer sees no other image than those that the query names."""
        facts, named = self._about.facts, self._about.named
        if not named:
            return np.empty(0, np.int64)
        slots = facts.slots_of(np.array(named, np.int64))
        leaders = facts.leaders[slots[slots >= 0]]
        if len(named) > 1:
            leaders = np.unique(leaders)
        alone = [set(group) <= set(named) for group in facts.groups(leaders, self._source.allowed)]
        return facts.ids.by_row[leaders[np.array(alone, bool)]]

    def chosen(self, stages: Callable[[Ranked], Ranked]) -> tuple[list[Candidate], Cursor | None]:
        """The candidates of this page in their order, and the cursor of the next one; None if this is the last."""
        k, cursor = self._request.k, self._cursor
        results: list[Candidate] = []
        while True:
            start = self._place_after(cursor.after)
            if cursor.end is None:
                stop = min(start + max(k, min(_WINDOW * k, _LARGEST_WINDOW)), len(self._keys))
            else:
                stop = self._place_after(cursor.end)
            if stop == len(self._keys) and self.limited and not self._request.by_time:
                self.looked_at *= 2
                self._look()
                continue
            if start == len(self._keys):
                return results, None
            waiting = self._waiting(stages(self._ranked(start, stop)), cursor.shown)
            taken = list(islice(waiting, k - len(results)))
            results += taken
            if next(waiting, None) is not None:
                end = cursor.end or self._key(stop - 1)
                shown = {*cursor.shown, *(key for one in taken for key in one.keys)}
                return results, self._next(replace(cursor, end=end, shown=tuple(sorted(shown))), start)
            if stop > start:
                cursor = replace(cursor, after=self._key(stop - 1), end=None, shown=())
            else:
                cursor = replace(cursor, after=cursor.end, end=None, shown=())
            if len(results) == k and self._place_after(cursor.after) < len(self._keys):
                return results, replace(cursor, depth=self.looked_at)

    def _ranked(self, start: int, stop: int) -> Ranked:
        """A window before any stage, each picture with the image of it that is shown."""
        scores = self._source.scoring.scores(self._distances[start:stop])
        named = self._about.named
        groups = self._about.facts.groups(self._slots[start:stop], self._source.allowed)
        for place, group in enumerate(groups):
            if len(group) > 1:  # what the query names is shown only where there is no other
                groups[place] = [id for id in group if id not in named] or group
        places = zip(self._keys[start:stop].tolist(), groups, self._distances[start:stop].tolist(), scores.tolist(),
                     strict=True)  # fmt: skip
        candidates = [Candidate(key, group[0], distance, score, score, tuple(group[1:]))
                      for key, group, distance, score in places if group]  # fmt: skip
        if self._about.explain:
            candidates = [one._replace(way=(f"found: place {place}, distance {one.distance:.4f}, "
                                            f"score {one.score:.3f}",))
                          for place, one in enumerate(candidates, start + 1)]  # fmt: skip
        return Ranked(tuple(candidates), self._about)

    def _waiting(self, ranked: Ranked, shown: tuple[int, ...]) -> Iterator[Candidate]:
        """What was not shown yet. Of what is under one that was, each by itself: it was not under it then."""
        seen = set(shown)
        candidates = ranked.candidates
        if self._request.by_time:
            places = {key: place for place, key in enumerate(self._keys.tolist())}
            candidates = tuple(sorted(candidates, key=lambda one: places[one.key]))
        for one in candidates:
            if not one.under:
                if one.key not in seen:
                    yield one
                continue
            left = tuple(each for each in one.each() if each.key not in seen)
            if one.key in seen:
                yield from left
            else:
                yield one._replace(under=left[1:])

    def _next(self, cursor: Cursor, start: int) -> Cursor:
        """The cursor, its window begun later where the first ones of it were all shown."""
        shown = set(cursor.shown)
        leading = list(takewhile(shown.__contains__, self._keys[start : start + len(shown)].tolist()))
        shown.difference_update(leading)
        after = self._key(start + len(leading) - 1) if leading else cursor.after
        return replace(cursor, after=after, shown=tuple(sorted(shown)), depth=self.looked_at)

    def _key(self, place: int) -> Key:
        return float(self._sort[place]), int(self._keys[place])

    def _place_after(self, key: Key | None) -> int:
        """The place of the first candidate behind a key."""
        if key is None:
            return 0
        left = int(np.searchsorted(self._sort, key[0], "left"))
        right = int(np.searchsorted(self._sort, key[0], "right"))
        return left + int(np.searchsorted(self._keys[left:right], key[1], "right"))


def checked(k: int, viewer: Viewer, filters: Filters, order: str, cutoff: float | None,
            params: Mapping[str, Any] | None, exact: bool) -> Request:  # fmt: skip
    """A request of what was handed in; a QueryError says what is wrong with it."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= MOST:
        raise QueryError(f"k is a whole number from 1 to {MOST}, not {k!r}")
    if not isinstance(viewer, Viewer) or not isinstance(filters, Filters):
        raise QueryError(f"a viewer is a Viewer and filters are Filters, not {viewer!r} and {filters!r}")
    if order not in ("relevance", "time"):
        raise QueryError(f"order is relevance or time, not {order!r}")
    number = isinstance(cutoff, int | float) and not isinstance(cutoff, bool)
    if cutoff is not None and (not number or not 0 <= cutoff <= 1):
        raise QueryError(f"cutoff is a score from 0 to 1, not {cutoff!r}")
    return Request(int(k), viewer, filters, order == "time", None if cutoff is None else float(cutoff),
                   dict(params or {}), bool(exact))  # fmt: skip
