"""Who was shown what, and what was clicked: the material of click-through rates, of experiments and of training.

A search that was answered is a *result list*: the query image, the images in the order in which they were shown, and
the ranker that made it. The list and an interaction of the kind `impression` for each of its images are written in one
transaction. A click is one more interaction, for an image that the list did show, once: so no click is without its
impression, and no rate is above 1.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, insert, select

from annlab.visual.catalog import Catalog, CatalogError
from annlab.visual.schema import interactions, result_lists

_FIRST = "first"  # among the details of a list: the position of its first image, where that is not 1
_IMPRESSIONS = f"""
INSERT INTO interactions (user_id, query_image_id, displayed_image_id, position, kind, at, result_list_id)
SELECT l.user_id, l.query_image_id, shown.value, shown.key + coalesce(json_extract(l.details, '$.{_FIRST}'), 1),
       'impression', l.made_at, l.id
FROM json_each(?) AS given JOIN result_lists AS l ON l.id = given.value JOIN json_each(l.images) AS shown
ORDER BY given.key, shown.key
"""
"""Of the lists whose ids are given, as JSON: an impression of every image, for SQLite."""


class Place(NamedTuple):
    """Where a person is, in degrees; it is rounded to a tenth of a degree when it is stored."""

    latitude: float
    longitude: float


class InteractionArrays(NamedTuple):
    """All interactions as arrays of one length, without anything personal; -1 stands for an unknown user or list."""

    user_ids: np.ndarray
    query_ids: np.ndarray
    displayed_ids: np.ndarray
    positions: np.ndarray
    clicked: np.ndarray
    result_list_ids: np.ndarray


def log_results(catalog: Catalog, query_image_id: int, displayed: Sequence[int], *, ranker: str,
                user_id: int | None = None, encoder: str | None = None, place: Place | None = None,
                details: Mapping[str, Any] | None = None, id: int | None = None, first: int = 1,
                connection: Connection | None = None) -> int:  # fmt: skip
    """Remember what was shown, with an impression of every image; the id of the result list.

    Parameters
    ----------
    query_image_id : int
        An image of the catalog or a query (`Catalog.add_query`).
    displayed : sequence of int
        The images from the first position on, each once.
    ranker : str
        What made the list: the name of an encoder, an experiment's arm.
    details : mapping, optional
        What an experiment wants to know later: propensities, parameters. No personal data.
    id : int, optional
        The id that the list shall have, where it was given away before the list is written.
    first : int
        The position of the first image: more than 1 on a later page of results.
    """
    now = catalog.now()
    row = _row_of_list(query_image_id, displayed, ranker, user_id, encoder, details, first, now)
    if id is not None:
        row["id"] = int(id)
    with catalog.writing(connection) as active:
        row["id"] = int(active.scalars(insert(result_lists).returning(result_lists.c.id), row).one())
        impressions = _impressions(row, first, now, place)
        if impressions:
            active.execute(insert(interactions), impressions)
    return row["id"]


class Listed(NamedTuple):
    """A result list that has its id already; fields as the parameters of `log_results`."""

    id: int
    query_image_id: int
    displayed: Sequence[int]
    ranker: str
    user_id: int | None = None
    encoder: str | None = None
    details: Mapping[str, Any] | None = None
    first: int = 1


def log_lists(catalog: Catalog, lists: Sequence[Listed], *, connection: Connection | None = None) -> None:
    """Remember many result lists, as `log_results` does with one, in two statements."""
    if not lists:
        return
    now = catalog.now()
    rows = [{**_row_of_list(*one[1:7], one.first, now), "id": one.id} for one in lists]
    with catalog.writing(connection) as active:
        active.execute(insert(result_lists), rows)
        if catalog.database.is_sqlite:  # reads the lists that it has just written: half the time of rows made here
            active.exec_driver_sql(_IMPRESSIONS, (json.dumps([one.id for one in lists]),))
            return
        impressions = [each for row, one in zip(rows, lists, strict=True)
                       for each in _impressions(row, one.first, now, None)]  # fmt: skip
        if impressions:
            active.execute(insert(interactions), impressions)


def _row_of_list(query: int, displayed: Sequence[int], ranker: str, user_id: int | None, encoder: str | None,
                 details: Mapping[str, Any] | None, first: int, now: Any) -> dict[str, Any]:  # fmt: skip
    shown = [int(id) for id in displayed]
    if len(set(shown)) < len(shown):
        raise CatalogError(f"a list of {len(shown)} images shows only {len(set(shown))} different ones: each once")
    more = dict(details) if details else {}
    if first != 1:
        more[_FIRST] = int(first)
    return {"user_id": user_id, "query_image_id": query, "made_at": now, "ranker": ranker, "encoder": encoder,
            "images": shown, "details": more or None}  # fmt: skip


def _impressions(row: Mapping[str, Any], first: int, now: Any, place: Place | None) -> list[dict[str, Any]]:
    """An impression of every image of a list."""
    shared = {**_row(row["id"], row["user_id"], row["query_image_id"], place, now), "kind": "impression"}
    return [{**shared, "displayed_image_id": id, "position": position}
            for position, id in enumerate(row["images"], first)]  # fmt: skip


def log_click(catalog: Catalog, result_list_id: int, displayed_image_id: int, *, place: Place | None = None,
              connection: Connection | None = None) -> None:  # fmt: skip
    """Remember a click on an image of a result list; a second click on the same one changes nothing.

    Raises
    ------
    KeyError
        There is no such list.
    CatalogError
        The list did not show the image.
    """
    with catalog.writing(connection) as active:
        found = active.execute(select(result_lists).where(result_lists.c.id == result_list_id)).mappings().first()
        if found is None:
            raise KeyError(f"result list {result_list_id} is not in the catalog")
        if displayed_image_id not in found["images"]:
            raise CatalogError(
                f"result list {result_list_id} did not show image {displayed_image_id}: no click on it counts"
            )
        c = interactions.c
        same = (c.result_list_id == result_list_id) & (c.displayed_image_id == displayed_image_id) & (c.kind == "click")
        if active.scalar(select(c.id).where(same)) is None:
            row = _row(result_list_id, found["user_id"], found["query_image_id"], place, catalog.now())
            position = found["images"].index(displayed_image_id) + int((found["details"] or {}).get(_FIRST, 1))
            row |= {"kind": "click", "displayed_image_id": displayed_image_id, "position": position}
            active.execute(insert(interactions), row)


def read_interactions(catalog: Catalog, *, ranker: str | None = None) -> InteractionArrays:
    """All interactions, or those with the lists of one ranker, in the order in which they happened."""
    c = interactions.c
    columns = (c.user_id, c.query_image_id, c.displayed_image_id, c.position, c.kind == "click", c.result_list_id)
    query = select(*columns).order_by(c.id)
    if ranker is not None:
        query = query.join(result_lists, c.result_list_id == result_lists.c.id).where(result_lists.c.ranker == ranker)
    with catalog.database.reading() as connection:
        rows: Iterable[Any] = connection.execute(query).all()
    table = np.array([[-1 if value is None else int(value) for value in row] for row in rows], np.int64).reshape(-1, 6)
    user, query_ids, displayed, position, clicked, lists = table.T.copy()
    return InteractionArrays(user, query_ids, displayed, position, clicked.astype(bool), lists)


def _row(list_id: int, user_id: int | None, query: int, place: Place | None, at: Any) -> dict[str, Any]:
    latitude, longitude = place if place is not None else (None, None)
    return {"result_list_id": list_id, "user_id": user_id, "query_image_id": query, "latitude": latitude,
            "longitude": longitude, "at": at}  # fmt: skip
