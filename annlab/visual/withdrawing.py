"""Pictures that somebody in charge takes out of the results, though their files stay where they are.

    withdraw(catalog, index, 12)     # image 12 and all that show the same picture are in no answer any more
    restore(catalog, 12)             # they are looked at again by the next run of the indexer

A picture that was taken out is a failure with a reason of its own (`WITHDRAWN`): it is counted, and no run of the
indexer takes it up again by itself, also when its file has changed. A file that is removed and comes back later, and a
copy that is added later, are new images.
"""

from annlab.durable import DurableIndex
from annlab.visual.catalog import Catalog, CatalogError, Image
from annlab.visual.decisions import group_of
from annlab.visual.schema import FAILED

WITHDRAWN = "taken out of the results"


def is_withdrawn(image: Image) -> bool:
    """Whether an image was taken out."""
    return image.status == FAILED and (image.reason or "").startswith(WITHDRAWN)


def withdraw(catalog: Catalog, index: DurableIndex, id: int) -> list[int]:
    """Take out an image, and all that show the same picture; their ids.

    Raises
    ------
    KeyError
        There is no such image.
    StaleIndexError
        The index is not the one that is searched any more; nothing is changed.
    """
    with catalog.transaction(index) as writes:
        image = catalog.image(id, connection=writes.connection)
        if is_withdrawn(image):
            return []
        leader, ids = group_of(image), {id}
        if leader is not None:
            ids |= {leader} | {i.id for i in catalog.find(duplicate_of=leader, connection=writes.connection)}
        order = sorted(ids, key=lambda each: each == leader)  # the leader last: then none is a duplicate of it
        for each in order:
            catalog.mark_failed(each, f"{WITHDRAWN}, with image {id}", connection=writes.connection)
        writes.remove(order, missing="ignore")
    return sorted(ids)


def restore(catalog: Catalog, id: int) -> list[int]:
    """Let an image, and all that were taken out with it, be looked at again; their ids.

    Raises
    ------
    KeyError
        There is no such image.
    CatalogError
        It was not taken out.
    """
    with catalog.writing() as connection:
        image = catalog.image(id, connection=connection)
        if not is_withdrawn(image):
            raise CatalogError(f"image {id} was not taken out of the results")
        ids = [i.id for i in catalog.find(status=FAILED, reason=image.reason, connection=connection)]
        catalog.mark_pending(ids, connection=connection)
        catalog.change_images({each: {"attempts": 0} for each in ids}, connection=connection)
    return ids
