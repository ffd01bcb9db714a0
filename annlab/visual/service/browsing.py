"""Images to begin with, and what one can filter by: always of those alone that somebody may see."""

import collections
import threading
import time
from typing import Any

import numpy as np
from sqlalchemy import func, or_, select

from annlab.visual.catalog import Image
from annlab.visual.schema import INDEXED, Strings, images
from annlab.visual.search import Filters
from annlab.visual.service.core import Service, may_see
from annlab.visual.service.keys import Person

_SECONDS, _REMEMBERED, _MOST_TAGS = 60.0, 100, 300


def visible(person: Person) -> Any:
    """The condition on rows: indexed, there, and somebody may see them."""
    there = (images.c.kind == "image") & (images.c.status == INDEXED) & ~images.c.deleted
    if person.may("admin"):
        return there
    return there & or_(~images.c.private, images.c.owner_id == person.user_id)


def newest(service: Service, person: Person, limit: int, below: int | None, filters: Filters) -> list[Image]:
    """The images added last; `below`, an id, leads on."""
    wanted = visible(person)
    if below is not None:
        wanted = wanted & (images.c.id < below)
    if filters.owner is not None:
        wanted = wanted & (images.c.owner_id == filters.owner)
    for tag in filters.tags:
        word = str(Strings().process_bind_param([tag], None))[1:-1]  # as it stands in the list
        at = func.instr if service.catalog.database.is_sqlite else func.strpos
        wanted = wanted & (at(images.c.tags, word) > 0)
    with service.catalog.database.reading() as connection:
        rows = connection.execute(select(images).where(wanted).order_by(images.c.id.desc()).limit(limit)).mappings()
        return [Image(**row) for row in rows]


def some(service: Service, person: Person, limit: int, seed: int, filters: Filters) -> list[Image]:
    """Some images, drawn by a seed; among few, or with a filter, the newest in an order that the seed draws."""
    rng = np.random.default_rng(seed)
    found: list[Image] = []
    ids = np.asarray(service.search.index.ids)
    if filters == Filters() and len(ids):
        drawn = rng.choice(ids, min(len(ids), 4 * limit), replace=False)
        found = [each for each in service.catalog.find(ids=drawn.tolist(), status=INDEXED) if may_see(each, person)]
    if len(found) < limit:
        found = newest(service, person, 4 * limit, None, filters)
    return [found[place] for place in rng.permutation(len(found))[:limit]]


class Suggestions:
    """Tags and owners with their counts, as somebody may know them; remembered for a minute, or until a change."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._known: dict[tuple[int | None, str], tuple[float, tuple[int, int], dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def of(self, person: Person) -> dict[str, Any]:
        """What this person can filter by."""
        key, now, changes = (person.user_id, person.role), time.monotonic(), self._service.changes
        found = self._known.get(key)
        if found is not None and now - found[0] < _SECONDS and found[1] == changes:
            return found[2]
        counted = self._counted(person)
        with self._lock:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = now, changes, counted
        return counted

    def _counted(self, person: Person) -> dict[str, Any]:
        tags: collections.Counter[str] = collections.Counter()
        owners: collections.Counter[int] = collections.Counter()
        query = select(images.c.tags, images.c.owner_id, func.count()).where(visible(person))
        with self._service.catalog.database.reading() as connection:
            for words, owner, count in connection.execute(query.group_by(images.c.tags, images.c.owner_id)):
                for word in words:
                    tags[word] += count
                if owner is not None:
                    owners[owner] += count
        return {"tags": sorted(tags.most_common(_MOST_TAGS)), "owners": owners.most_common(100)}
