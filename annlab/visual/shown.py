"""The rows of the images of a page, as a viewer may see them, read when the page is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
from sqlalchemy import bindparam, select

from annlab.visual.catalog import Catalog, Image
from annlab.visual.facts import Facts
from annlab.visual.schema import INDEXED, images
from annlab.visual.viewers import Viewer

_ROWS = select(*(images.c[each.name] for each in fields(Image))).where(
    images.c.id.in_(bindparam("ids", expanding=True)), images.c.kind == "image", ~images.c.deleted
)


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
