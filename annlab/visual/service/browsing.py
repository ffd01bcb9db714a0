"""Images to begin with, and what one can filter by: always of those alone that somebody may see."""

import threading
import time
from typing import Any

import numpy as np

from annlab.visual.catalog import Image
from annlab.visual.search import Filters
from annlab.visual.service.core import Service
from annlab.visual.service.keys import Person
from annlab.visual.shown import counted, listed

_SECONDS, _REMEMBERED, _MOST_TAGS = 60.0, 100, 300


def newest(service: Service, person: Person, limit: int, below: int | None, filters: Filters) -> list[Image]:
    """The images added last; `below`, an id, leads on."""
    ids, _ = listed(service.search.facts(), service.viewer(person), filters)
    if below is not None:
        ids = ids[ids < below]
    return service.images(ids[-limit:].tolist(), person)[::-1]


def some(service: Service, person: Person, limit: int, seed: int, filters: Filters) -> list[Image]:
    """Some images, drawn by a seed."""
    ids, _ = listed(service.search.facts(), service.viewer(person), filters)
    drawn = np.random.default_rng(seed).permutation(ids)[:limit].tolist()
    found = {image.id: image for image in service.images(drawn, person)}
    return [found[id] for id in drawn if id in found]


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
        tags, owners = counted(self._service.search.facts(), self._service.viewer(person))
        return {"tags": sorted(tags.most_common(_MOST_TAGS)), "owners": owners.most_common(100)}
