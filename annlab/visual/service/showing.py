"""Small things that routes share: an image as JSON, and the refusals that the document lists."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from sqlalchemy import select

from annlab.visual import schema
from annlab.visual.catalog import Catalog, Image
from annlab.visual.paths import from_text
from annlab.visual.service import answers
from annlab.visual.service.keys import Person
from annlab.visual.shown import Seen

REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": answers.Problem, "description": "The parts of the request do not go together."},
    401: {"model": answers.Problem, "description": "A key is needed, or this one is not known."},
    403: {"model": answers.Problem, "description": "The role does not suffice, or another site's page asked."},
    404: {"model": answers.Problem, "description": "There is no such thing, or none that you may see."},
    408: {"model": answers.Problem, "description": "The request did not come in time."},
    409: {"model": answers.Problem, "description": "It cannot be done to this one."},
    410: {"model": answers.Problem, "description": "The cursor is of before another encoder was promoted."},
    413: {"model": answers.Problem, "description": "The body or the picture is too large."},
    415: {"model": answers.Problem, "description": "It is no picture of a format that is read here."},
    421: {"model": answers.Problem, "description": "The service is not called by that name."},
    422: {"model": answers.Problem, "description": "A value is out of its range, or a picture damaged."},
    429: {"model": answers.Problem, "description": "Too many requests from you."},
    503: {
        "model": answers.Problem,
        "description": "Too many at once, the database does not answer, or "
        "another encoder is just being promoted: come again.",
    },
}


def as_json(image: Image | Seen, person: Person) -> dict[str, Any]:
    """What is told of an image: neither where its file lies nor anything personal."""
    return told(image, person, person.may("admin"))


def told(image: Image | Seen, person: Person, is_admin: bool) -> dict[str, Any]:
    """The same, where it was asked already whether the person is an admin."""
    return {
        "id": image.id, "date": image.uploaded_at.isoformat(), "tags": list(image.tags), "owner": image.owner_id,
        "private": image.private, "width": image.width, "height": image.height, "kind": image.kind,
        "status": image.status, "own": is_admin or (
            image.owner_id is not None and image.owner_id == person.user_id),
    }  # fmt: skip


def add_names(told: Sequence[dict[str, Any]], catalog: Catalog, uploads: PurePath, *,
              also_tagged: bool = False) -> None:  # fmt: skip
    """Give images without a tag the names of their files, where these are files of a folder: to those alone who may
    delete them, for others were never shown the folder. `also_tagged`: those with tags, too."""
    nameless = {each["id"]: each for each in told if each["own"] and each["kind"] == "image"
                and (also_tagged or not each["tags"])}  # fmt: skip
    if not nameless:
        return
    c = schema.images.c
    with catalog.database.reading() as connection:
        rows = connection.execute(select(c.id, c.path).where(c.id.in_(nameless), c.path.is_not(None))).all()
    for id, path in rows:
        place = PurePath(from_text(path))
        if place.parent != uploads:
            nameless[id]["name"] = place.stem.encode("utf-8", "replace").decode()
