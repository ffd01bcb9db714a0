"""Images as a viewer may see them: those of a page by the facts in memory, and the row of one as it is at a moment."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import NamedTuple

import numpy as np
from sqlalchemy import bindparam, select

from annlab.visual.catalog import Catalog, Image
from annlab.visual.facts import Facts
from annlab.visual.schema import DUPLICATE, INDEXED, images
from annlab.visual.viewers import Viewer

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
    leaders = facts.leaders[slots]
    # Of a copy of what the viewer may not see, nobody learns that there is another.
    copies = (leaders >= 0) & (leaders != slots) & visible[leaders]
    columns = (slots, facts.ids.by_row[slots], facts.owners[slots], facts.times[slots], facts.private[slots],
               facts.sizes[slots], facts.ids.by_row[leaders], copies)  # fmt: skip
    found = {}
    for slot, id, owner, at, private, (width, height), leader, is_copy in zip(*map(np.ndarray.tolist, columns),
                                                                              strict=True):  # fmt: skip
        found[id] = Seen(id, None if owner < 0 else owner, datetime.datetime.fromtimestamp(at, datetime.UTC),
                         facts.tags_of.get(slot, ()), private, width or None, height or None,
                         DUPLICATE if is_copy else INDEXED, leader if is_copy else None)  # fmt: skip
    return found


def rows_of(catalog: Catalog, ids: Sequence[int], facts: Facts, viewer: Viewer) -> dict[int, Image]:
    """By id, those of some images that the viewer may see: by the facts, and by the row as it is at this moment."""
    if not ids:
        return {}
    with catalog.database.reading() as connection:
        read = [Image(*row) for row in connection.execute(_ROWS, {"ids": list(ids)})]
    visible = np.append(facts.visible(viewer), False)
    slots = facts.slots_of(np.array([[image.id, image.duplicate_of or image.id] for image in read], np.int64).ravel())
    may_see = visible[slots].reshape(-1, 2)
    found = {}
    for image, (itself, leader) in zip(read, may_see.tolist(), strict=True):
        own = viewer.user_id is not None and image.owner_id == viewer.user_id
        if not itself or (image.private and not own and viewer.role != "admin"):
            continue
        if not leader:  # nobody learns that there is another copy
            image = replace(image, status=INDEXED, duplicate_of=None)
        found[image.id] = image
    return found
