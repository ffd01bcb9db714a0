"""Images as a viewer may see them: those of pages and lists by the facts in memory, and rows as they are stored."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import NamedTuple

import numpy as np
from sqlalchemy import bindparam, select

from annlab.visual.catalog import Catalog, Image
from annlab.visual.facts import Facts
from annlab.visual.schema import DUPLICATE, INDEXED, images
from annlab.visual.viewers import Filters, Viewer

_ROWS = select(*(images.c[each.name] for each in fields(Image))).where(
    images.c.id.in_(bindparam("ids", expanding=True)), images.c.kind == "image", ~images.c.deleted
)


class Seen(NamedTuple):
    """An image of a page: what a viewer may know of it; the names are those of `Image`."""

    id: int
    owner_id: int | None
    uploaded_at: datetime.datetime
    tags: tuple[str, ...]
    private: bool
    width: int | None
    height: int | None
    status: str
    duplicate_of: int | None
    kind: str = "image"


def seen(facts: Facts, ids: Sequence[int], viewer: Viewer) -> dict[int, Seen]:
    """By id, those of some images that the viewer may see."""
    visible = facts.visible(viewer)
    slots = facts.slots_of(np.array(ids, np.int64))
    slots = slots[slots >= 0]
    slots = slots[visible[slots]]
    leaders = facts.leaders_for(slots, visible)  # of what the viewer may not see, nobody learns that there is a copy
    copies = leaders != slots
    columns = (slots, facts.ids.by_row[slots], facts.owners[slots], facts.times[slots], facts.private[slots],
               facts.sizes[slots], facts.ids.by_row[leaders], copies)  # fmt: skip
    found = {}
    for slot, id, owner, at, private, (width, height), leader, is_copy in zip(*map(np.ndarray.tolist, columns),
                                                                              strict=True):  # fmt: skip
        found[id] = Seen(id, None if owner < 0 else owner, datetime.datetime.fromtimestamp(at, datetime.UTC),
                         facts.tags_of.get(slot, ()), private, width or None, height or None,
                         DUPLICATE if is_copy else INDEXED, leader if is_copy else None)  # fmt: skip
    return found


def listed(facts: Facts, viewer: Viewer, filters: Filters) -> tuple[np.ndarray, np.ndarray]:
    """The images that a list shows, of each picture one: their ids (n,), ascending, and those by which the index knows
    their pictures."""
    slots = np.flatnonzero(_leading(facts, viewer) & facts.allowed(viewer, filters))
    ids, keys = facts.ids.by_row[slots], facts.ids.by_row[facts.leaders[slots]]
    order = np.argsort(ids, kind="stable")
    return ids[order], keys[order]


def counted(facts: Facts, viewer: Viewer) -> tuple[Counter[str], Counter[int]]:
    """How many of these images have each tag, and each owner."""
    leading = _leading(facts, viewer)
    tags = Counter({tag: int(np.count_nonzero(leading[slots])) for tag, slots in facts.tags.items()})
    owners, counts = np.unique(facts.owners[leading & (facts.owners >= 0)], return_counts=True)
    return +tags, Counter(dict(zip(owners.tolist(), counts.tolist(), strict=True)))


def _leading(facts: Facts, viewer: Viewer) -> np.ndarray:
    return facts.leading(facts.visible(viewer))


def rows_of(catalog: Catalog, ids: Sequence[int], facts: Facts, viewer: Viewer) -> dict[int, Image]:
    """By id, those of some images that the viewer may see: by the facts, and by the row as it is at this moment."""
    if not ids:
        return {}
    with catalog.database.reading() as connection:
        read = [Image(*row) for row in connection.execute(_ROWS, {"ids": list(ids)})]
    visible = np.append(facts.visible(viewer), False)
    slots = facts.slots_of(np.array([image.id for image in read], np.int64))
    found = {}
    for image, may_see in zip(as_known(read, facts, viewer), visible[slots].tolist(), strict=True):
        own = viewer.user_id is not None and image.owner_id == viewer.user_id
        if may_see and (own or not image.private or viewer.role == "admin"):
            found[image.id] = image
    return found


def as_known(rows: Sequence[Image], facts: Facts, viewer: Viewer) -> list[Image]:
    """Rows of images as the viewer may know them: a copy of one that the viewer may not see is a copy of the first that
    the viewer sees, or none."""
    slots = facts.slots_of(np.array([image.id for image in rows], np.int64))
    there = slots >= 0  # else it is not searched yet
    leaders = np.full(len(rows), -1)
    leaders[there] = facts.ids.by_row[facts.leaders_for(slots[there], facts.visible(viewer))]
    known = []
    for image, leader in zip(rows, leaders.tolist(), strict=True):
        if image.duplicate_of is not None and leader != image.duplicate_of:
            alone = leader in (image.id, -1)
            image = replace(image, status=INDEXED if alone else DUPLICATE, duplicate_of=None if alone else leader)
        known.append(image)
    return known
