"""What searches ask of every image, in memory: owner, time, tags, who may see it, and which picture it shows.

    slot         0 .. n-1: the place of an image here, in the order in which it became known; it keeps its slot
    ids          (n,) int64, and the way back from an id to its slot
    owners       (n,) int64, -1 for none            times      (n,) float64, seconds since 1970
    private      (n,) bool                          there      (n,) bool: indexed or a duplicate, and not deleted
    leaders      (n,) int64: the slot of the image whose picture it shows: its own, or that of the one it duplicates
    sizes        (n, 2) int32: width and height in pixels, 0 where they are not known
    tags         by word: the slots of the images that have it, ascending

All of it is one immutable `Facts`; `CatalogFacts` exchanges it for the next one when images have changed, by reading
those that did (`changes.py`). What is made private or deleted, by whichever process, is gone from the next search on.

The index holds one vector for a picture, that of its leader, and the leader may be private while a copy is public. So a
picture is allowed if *any* of its images is (`pictures`), and what is shown is the first that the viewer may see.

Memory: 50 bytes an image and some 100 for its tags, and 3 bytes an image for each of the last filters.
"""

from __future__ import annotations

import datetime
import threading
import weakref
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from sqlalchemy import Connection, String, Text, select, type_coerce

from annlab.core.filters import Filter
from annlab.core.ids import IdMap
from annlab.core.state import State
from annlab.visual import changes
from annlab.visual.catalog import Catalog
from annlab.visual.schema import DUPLICATE, INDEXED, images, strings_of
from annlab.visual.viewers import Filters, Viewer

_AT_ONCE = 500  # ids in one statement
_REMEMBERED = 64  # filters
_COLUMNS = (  # what is text in the database comes as text: to make objects of a hundred thousand takes seconds
    images.c.id, images.c.owner_id, type_coerce(images.c.uploaded_at, String), type_coerce(images.c.tags, Text),
    images.c.status, images.c.private, images.c.deleted, images.c.duplicate_of, images.c.width, images.c.height,
)  # fmt: skip
"""Width and height are written together with a status, so what watches that sees them change."""
_SLOTS = "slots of rows"  # with a numbering, a key in the cache of an index's state


@dataclass(frozen=True, eq=False)
class Facts:
    """See the head of the file."""

    ids: IdMap
    owners: np.ndarray
    times: np.ndarray
    private: np.ndarray
    there: np.ndarray
    leaders: np.ndarray
    sizes: np.ndarray
    tags: Mapping[str, np.ndarray]
    tags_of: Mapping[int, tuple[str, ...]]
    """By slot, for images that have tags."""
    change: int
    """The last change that is known here."""
    numbering: object
    """Equal where slots stand for the same images: what follows from slots may be remembered under it."""
    _known: dict[Any, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.owners)

    # ---- one image

    def slots_of(self, ids: np.ndarray) -> np.ndarray:
        """The slots of some ids, -1 where there is none."""
        return self.ids.find(ids)

    def slot_of(self, id: int) -> int:
        """The slot of an id, -1 if there is none."""
        return int(self.slots_of(np.array([id], np.int64))[0])

    def leader_of(self, id: int, visible: np.ndarray) -> int | None:
        """The id of the image under which the index knows this one; None if it is not among the visible ones."""
        slot = self.slot_of(id)
        return None if slot < 0 or not visible[slot] else int(self.ids.by_row[self.leaders[slot]])

    # ---- sets of images, as masks (n,)

    def visible(self, viewer: Viewer) -> np.ndarray:
        """What a viewer may see."""
        if viewer.role == "admin":
            return self.there
        return self._remembered(("visible", viewer.user_id), lambda: self._visible(viewer.user_id))

    def allowed(self, viewer: Viewer, filters: Filters) -> np.ndarray:
        """What a viewer may see and the filters let through."""
        seen = None if viewer.role == "admin" else viewer.user_id, viewer.role == "admin"
        return self._remembered((seen, filters), lambda: self.visible(viewer) & self._filtered(filters))

    def pictures(self, allowed: np.ndarray) -> np.ndarray:
        """The leaders of the images of a mask, as a mask."""
        result = np.zeros(len(self), bool)
        own, led = self._parted
        result[own] = allowed[own]
        result[self.leaders[led[allowed[led]]]] = True
        return result

    def groups(self, leaders: np.ndarray, allowed: np.ndarray) -> list[list[int]]:
        """For each leader, by slot, the ids of the images that show its picture and are in a mask: its own, then the
        others by id."""
        _, led = self._parted
        starts, stops = np.searchsorted(self._led_by, leaders), np.searchsorted(self._led_by, leaders, "right")
        found = [
            [id] if may else [] for id, may in zip(self.ids.by_row[leaders].tolist(), allowed[leaders], strict=True)
        ]
        for place in np.flatnonzero(stops > starts).tolist():
            others = led[starts[place] : stops[place]]
            found[place] += self.ids.by_row[others[allowed[others]]].tolist()
        return found

    def leaders_for(self, slots: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """The slots of the images that some are copies of (or they themselves), as far as somebody knows who sees the
        images of a mask: where the leader is hidden, the first by id of those that are seen, as if there were no other.
        """
        leaders = np.where(self.leaders[slots] < 0, slots, self.leaders[slots])
        hidden = np.flatnonzero(visible[slots] & ~visible[leaders])
        for place, group in zip(hidden.tolist(), self.groups(leaders[hidden], visible), strict=True):
            leaders[place] = self.slot_of(group[0]) if group else slots[place]
        return leaders

    def leading(self, visible: np.ndarray) -> np.ndarray:
        """The images that lead, in the sense of `leaders_for`, as a mask: of each picture one."""
        result = np.zeros(len(self), bool)
        own, led = self._parted
        result[own] = visible[own]
        orphans = led[visible[led] & ~visible[self.leaders[led]]]  # by leader, and then by id
        result[orphans[np.unique(self.leaders[orphans], return_index=True)[1]]] = True
        return result

    def _visible(self, user: int | None) -> np.ndarray:
        public = self.there & ~self.private
        return public if user is None else public | (self.there & (self.owners == user))

    def _filtered(self, filters: Filters) -> np.ndarray:
        result = np.ones(len(self), bool)
        if filters.owner is not None:
            result &= self.owners == filters.owner
        if filters.after is not None:
            result &= self.times >= filters.after.timestamp()
        if filters.before is not None:
            result &= self.times < filters.before.timestamp()
        for tag in filters.tags:
            has = np.zeros(len(self), bool)
            has[self.tags.get(tag, _NONE)] = True
            result &= has
        return result

    @cached_property
    def tags_with(self) -> dict[str, list[str]]:
        """By word: the tags in which it stands."""
        found: dict[str, list[str]] = {}
        for tag in self.tags:
            for word in words_of(tag):
                found.setdefault(word, []).append(tag)
        return found

    def is_said(self, word: str, visible: np.ndarray) -> bool:
        """Whether a word stands in a tag of some image of a mask."""
        return any(visible[self.tags[tag]].any() for tag in self.tags_with.get(word, ()))

    def words_beginning(self, start: str) -> list[str]:
        """The words of tags that begin so, in their order; itself among them, if it is one."""
        words = self._words
        return words[bisect_left(words, start) : bisect_left(words, start + chr(0x10FFFF))]

    @cached_property
    def _words(self) -> list[str]:
        return sorted(self.tags_with)

    @cached_property
    def _parted(self) -> tuple[np.ndarray, np.ndarray]:
        """Slots of images that lead (or have no leader), and of those that are led, by leader and then by id."""
        own = self.leaders == np.arange(len(self))
        led = np.flatnonzero(~own & (self.leaders >= 0))
        return np.flatnonzero(own), led[np.lexsort((self.ids.by_row[led], self.leaders[led]))]

    @cached_property
    def _led_by(self) -> np.ndarray:
        return self.leaders[self._parted[1]]

    def _remembered(self, key: Any, make: Any) -> np.ndarray:
        found = self._known.get(key)
        if found is None:
            found = make()
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = found
        result: np.ndarray = found
        return result

    def filter(self, viewer: Viewer, filters: Filters) -> ImageFilter:
        """The pictures that a search may return, for the index."""
        allowed = self.allowed(viewer, filters)
        key = ("filter", id(allowed))  # the mask lives as long as what is remembered of it
        found = self._known.get(key)
        if found is None or found.allowed is not allowed:
            found = self._known[key] = ImageFilter(self, allowed)
        result: ImageFilter = found
        return result


class ImageFilter(Filter):
    """The pictures of some images as a filter of the index: by the rows that hold their leaders."""

    def __init__(self, facts: Facts, allowed: np.ndarray) -> None:
        super().__init__(None, None, None)
        self.allowed, self._facts = allowed, facts
        self._pictures = np.append(facts.pictures(allowed), False)  # the last one for rows that are not known here
        self._seen: tuple[weakref.ref[State], np.ndarray] | None = None

    @property
    def ids(self) -> np.ndarray:
        """The ids that it allows."""
        found: np.ndarray = self._facts.ids.by_row[self._facts.pictures(self.allowed)]
        return found

    def mask(self, state: State) -> np.ndarray:
        """The mask (rows,) of this filter in a state."""
        seen = self._seen
        if seen is not None and seen[0]() is state:
            return seen[1]
        slots = np.minimum(_slots_of_rows(self._facts, state), len(self._facts))  # later facts may know more of them
        mask: np.ndarray = self._pictures[slots]
        self._seen = weakref.ref(state), mask
        return mask


def _slots_of_rows(facts: Facts, state: State) -> np.ndarray:
    """The slot of every row of an index, -1 where it is unknown; remembered in the state, and extended with it."""
    ids, key = state.by_row.array, (_SLOTS, facts.numbering)
    known: np.ndarray = state.cache.get(key, _NONE)
    if len(known) == len(ids):
        return known
    slots = np.concatenate([known, facts.slots_of(ids[len(known) :])])
    if not (slots < 0).any():  # else they are asked for again: they may become known
        state.cache[key] = slots
    return slots


def words_of(text: str) -> list[str]:
    """The words of a text, as they are compared: letters and digits, without case, each once."""
    plain = "".join(sign if sign.isalnum() else " " for sign in text.casefold())
    return list(dict.fromkeys(plain.split()))


class CatalogFacts:
    """The facts of a catalog, as they are now. Safe from any number of threads."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog, self._lock = catalog, threading.Lock()
        with catalog.writing() as connection:
            changes.watch(connection)
        with catalog.database.reading() as connection:
            self._facts = _read_all(connection)

    def now(self) -> Facts:
        """The facts after all that has been committed."""
        facts = self._facts
        if changes.latest(self._catalog.database) == facts.change:
            return facts
        with self._catalog.database.reading() as connection:
            change = changes.last(connection)
            with self._lock:
                before = self._facts
                if change > before.change:
                    changed = changes.since(connection, before.change)
                    self._facts = _read_all(connection) if changed is None else _changed(connection, before, changed)
                return self._facts


def _read_all(connection: Connection) -> Facts:
    none = np.empty(0, np.int64)
    empty = Facts(IdMap(none), none, np.empty(0), np.empty(0, bool), np.empty(0, bool), none,
                  np.empty((0, 2), np.int32), {}, {}, 0, object())  # fmt: skip
    rows = connection.execute(select(*_COLUMNS).where(images.c.kind == "image").order_by(images.c.id)).all()
    return _with(empty, rows, changes.last(connection))


def _changed(connection: Connection, before: Facts, ids: Sequence[int]) -> Facts:
    rows: list[Any] = []
    for start in range(0, len(ids), _AT_ONCE):
        some = images.c.id.in_(ids[start : start + _AT_ONCE]) & (images.c.kind == "image")
        rows += connection.execute(select(*_COLUMNS).where(some)).all()
    gone = set(ids) - {row.id for row in rows}
    there = before.there.copy()
    for id in gone:
        if (slot := before.slot_of(id)) >= 0:
            there[slot] = False
    kept = Facts(before.ids, before.owners, before.times, before.private, there, before.leaders, before.sizes,
                 before.tags, before.tags_of, before.change, before.numbering)  # fmt: skip
    return _with(kept, rows, changes.last(connection))


def _with(before: Facts, rows: Sequence[Any], change: int) -> Facts:
    """The facts after some images have become what their rows say."""
    columns = zip(*rows, strict=True) if rows else [[]] * len(_COLUMNS)
    numbers, owner_ids, uploaded, texts, statuses, privates, deleted, duplicates, widths, heights = columns
    given = np.array(numbers, np.int64)
    slots = before.slots_of(given)
    fresh = slots < 0
    n, more = len(before), int(fresh.sum())
    slots[fresh] = np.arange(n, n + more)
    by_row = np.concatenate([before.ids.by_row, given[fresh]])
    ids = before.ids.extended(by_row, np.ones(n + more, bool)) if more else before.ids

    def column(old: np.ndarray, values: Sequence[Any] | np.ndarray, nothing: Any) -> np.ndarray:
        new = np.concatenate([old, np.full((more, *old.shape[1:]), nothing, old.dtype)])
        new[slots] = np.array(values, old.dtype).reshape(len(slots), *old.shape[1:])
        return new

    owners = column(before.owners, [-1 if owner is None else owner for owner in owner_ids], -1)
    times = column(before.times, _seconds(uploaded), 0.0)
    private = column(before.private, privates, True)
    searched = [status in (INDEXED, DUPLICATE) for status in statuses]
    there = column(before.there, np.array(searched, bool) & ~np.array(deleted, bool), False)
    named = [id if leader is None else leader for id, leader in zip(numbers, duplicates, strict=True)]
    leaders = column(before.leaders, ids.find(np.array(named, np.int64)), -1)
    sizes = column(before.sizes, [(width or 0, height or 0) for width, height in zip(widths, heights, strict=True)], 0)
    words = {text: strings_of(text) for text in set(texts)}  # many images have the same
    tags, tags_of = _tagged(before, slots.tolist(), [words[text] for text in texts])
    return Facts(ids, owners, times, private, there, leaders, sizes, tags, tags_of, change, before.numbering)


def _seconds(moments: Sequence[Any]) -> np.ndarray:
    """Moments, as datetimes or as SQLite's text of one in UTC, in seconds since 1970."""
    texts = [str(m.astimezone(datetime.UTC).replace(tzinfo=None)) if isinstance(m, datetime.datetime) else m
             for m in moments]  # fmt: skip
    return np.array(texts, "datetime64[us]").astype(np.int64) / 1e6


def _tagged(before: Facts, slots: Sequence[int], words: Sequence[tuple[str, ...]]) -> tuple[Any, Any]:
    """The tags after some images have got these words."""
    tags_of = dict(before.tags_of)
    more: dict[str, list[int]] = {}
    less: dict[str, list[int]] = {}
    for slot, new in zip(slots, words, strict=True):
        old = tags_of.get(slot, ())
        if new == old:
            continue
        for word in set(new) - set(old):
            more.setdefault(word, []).append(slot)
        for word in set(old) - set(new):
            less.setdefault(word, []).append(slot)
        if new:
            tags_of[slot] = new
        else:
            tags_of.pop(slot, None)
    tags = dict(before.tags)
    for word in more.keys() | less.keys():
        left = np.setdiff1d(tags.get(word, _NONE), np.array(less.get(word, []), np.int64))
        tags[word] = np.union1d(left, np.array(more.get(word, []), np.int64))
        if not len(tags[word]):
            del tags[word]
    return tags, tags_of


_NONE = np.empty(0, np.int64)
