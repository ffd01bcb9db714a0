"""People: users, what the catalog holds of one of them, and forgetting one everywhere.

Personal columns (schema.py marks them) have one way out, `own_data`: everything that is held of one person, for that
person. No other function of this package returns them, no export contains them, no message quotes them.

`forget` takes a person away in one transaction:

    users           the row
    interactions    the person's rows, and the result lists that were shown to the person
    images          the person's pictures: vectors, files and all columns that say anything; an empty row stays, so that
                    what others were shown and clicked keeps its meaning
    judgements      the grades stay, under a name that says nothing
    settings        the person's keys to a service
    encoders' indexes, their logs and snapshots: the vectors; see below

The vectors leave the index in that transaction too. To take them out of its files as well, a rebuild and a snapshot
follow: after these, the log is cut and SQLite has overwritten what was deleted. Copies of the database or of snapshots
that were made before are beyond reach.
"""

import json
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from annlab.durable import DurableIndex, transaction
from annlab.visual.catalog import Catalog, CatalogError, Image
from annlab.visual.schema import (
    columns_of,
    decisions,
    embedded,
    images,
    interactions,
    judgements,
    result_lists,
    settings,
    users,
)

KEY_PREFIX = "key:"
"""Of settings that are the keys of a service: the hash of the key follows; the value says whose it is."""

_EMPTY: dict[str, Any] = {
    "owner_id": None, "tags": (), "private": True, "deleted": True, "path": None, "size": None, "modified_ns": None,
    "content_hash": None, "picture_hash": None, "width": None, "height": None, "encoder": None, "reason": None,
    "retry_at": None, "duplicate_of": None,
}  # fmt: skip


def add_user(catalog: Catalog, *, connection: Connection | None = None, **values: Any) -> int:
    """Add a user: username, age, gender, city, country, email, or none of these; the id."""
    with catalog.writing(connection) as active:
        return int(active.scalars(insert(users).returning(users.c.id), columns_of(values, users)).one())


def find_user(catalog: Catalog, user: int | str) -> int:
    """The id of a user, by id or name; KeyError if there is none."""
    number = user if isinstance(user, int) else int(user) if user.isdecimal() else -1
    with catalog.database.reading() as connection:
        found = connection.scalar(select(users.c.id).where(users.c.username == str(user)))
        found = found if found is not None else connection.scalar(select(users.c.id).where(users.c.id == number))
    if found is None:
        raise KeyError("there is no user of this name or id")
    return int(found)


def own_data(catalog: Catalog, user: int | str) -> dict[str, list[dict[str, Any]]]:
    """Everything that the catalog holds of one person, by table: for that person, and nobody else."""
    id = find_user(catalog, user)
    with catalog.database.reading() as connection:
        name = connection.scalar(select(users.c.username).where(users.c.id == id))
        wanted = [
            (users, users.c.id == id),
            (images, images.c.owner_id == id),
            (result_lists, result_lists.c.user_id == id),
            (interactions, interactions.c.user_id == id),
            (judgements, judgements.c.judge == name),
            (decisions, decisions.c.judge == name),
        ]
        return {
            table.name: [dict(row) for row in connection.execute(select(table).where(own)).mappings()]
            for table, own in wanted
        }


def forget(catalog: Catalog, user: int | str, indexes: Sequence[DurableIndex] = ()) -> list[Image]:
    """Remove a person everywhere.

    Parameters
    ----------
    user : int or str
        The id or the name.
    indexes : sequence of DurableIndex
        All indexes of this catalog that hold vectors: those of the person's images are removed from them, and from
        their files.

    Returns
    -------
    list of Image
        The person's images as they were, so that the caller can delete their files.

    Raises
    ------
    KeyError
        There is no such user.
    CatalogError
        The person has indexed images, but no index was given.
    """
    id = find_user(catalog, user)
    own = catalog.find(owner_id=id) + catalog.find(owner_id=id, deleted=True)
    if not indexes and any(image.status == "indexed" and not image.deleted for image in own):
        raise CatalogError("this person has indexed images: give the index, so that their vectors are forgotten too")
    if indexes:
        with transaction(*indexes) as all_writes:
            own = _forget(catalog, id, all_writes[0].connection)
            for writes in all_writes:
                writes.remove([image.id for image in own], missing="ignore")
        for index in indexes:
            index.compact()
            index.snapshot()
    else:
        with catalog.writing() as connection:
            own = _forget(catalog, id, connection)
    catalog.database.shrink(wait=True)  # whoever reads meanwhile would leave it in the write-ahead log
    return own


def _forget(catalog: Catalog, id: int, connection: Connection) -> list[Image]:
    """Take a person out of all tables; the images as they were."""
    name = connection.scalar(select(users.c.username).where(users.c.id == id))
    own = [image for deleted in (False, True)
           for image in catalog.find(owner_id=id, deleted=deleted, connection=connection)]  # fmt: skip
    catalog.mark_deleted([image.id for image in own], connection=connection)
    owned = select(images.c.id).where(images.c.owner_id == id)
    connection.execute(delete(embedded).where(embedded.c.image_id.in_(owned)))
    connection.execute(update(images).where(images.c.owner_id == id).values(_EMPTY))
    lists = select(result_lists.c.id).where(result_lists.c.user_id == id)
    shown = (interactions.c.user_id == id) | interactions.c.result_list_id.in_(lists)
    connection.execute(delete(interactions).where(shown))
    connection.execute(delete(result_lists).where(result_lists.c.user_id == id))
    if name is not None:
        nobody = f"somebody-{secrets.token_hex(8)}"
        for table in (judgements, decisions):
            connection.execute(update(table).where(table.c.judge == name).values(judge=nobody))
    keys = connection.execute(select(settings).where(settings.c.name.startswith(KEY_PREFIX))).mappings()
    lost = [row["name"] for row in keys if json.loads(row["value"]).get("user") == id]
    connection.execute(delete(settings).where(settings.c.name.in_(lost)))
    connection.execute(delete(users).where(users.c.id == id))
    return own
