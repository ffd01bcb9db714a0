"""Routes: images, their pictures, adding and deleting them."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, HTTPException, Path, Query, Request, UploadFile
from starlette.responses import JSONResponse, Response

from annlab.visual.catalog import Image
from annlab.visual.search import Filters
from annlab.visual.service import answers, picturing
from annlab.visual.service.browsing import newest, some
from annlab.visual.service.core import Service
from annlab.visual.service.door import Door
from annlab.visual.service.keys import Person
from annlab.visual.service.routes_search import ImageId
from annlab.visual.service.showing import REFUSALS, as_json
from annlab.visual.service.words import clean

_KEPT = "private, max-age=300"
"""Browsers show a picture again for so long without asking; then they ask whether it has changed."""

_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}, "image/jpeg": {}}, "description": "The picture."},
    304: {"description": "It is as it was."},
}


def image_routes(service: Service, door: Door) -> APIRouter:
    """The routes of images."""
    routes = APIRouter(tags=["images"], responses=REFUSALS)
    Reader = Annotated[Person, Depends(door.needs("reader"))]
    Looking = Annotated[Person, Depends(door.needs("reader", 0.1))]
    Writer = Annotated[Person, Depends(door.needs("writer"))]
    Admin = Annotated[Person, Depends(door.needs("admin"))]
    Id = Annotated[int, Path(ge=1, le=2**53)]

    @routes.get("/api/images", response_model=answers.ImagesAnswer)
    def images(person: Reader, limit: Annotated[int, Query(ge=1, le=200)] = 60,
               cursor: Annotated[int | None, Query(ge=1, le=2**53)] = None,
               sample: Annotated[int | None, Query(ge=0, le=2**31)] = None,
               tag: Annotated[list[str], Query(max_length=20)] = [],  # noqa: B006
               owner: ImageId | None = None) -> JSONResponse:  # fmt: skip
        """Images to begin with: the newest, page by page, or with `sample` some that this number draws."""
        filters = Filters(owner=owner, tags=tuple(clean(word) for word in tag))
        if sample is None:
            found = newest(service, person, limit, cursor, filters)
        else:
            found = some(service, person, limit, sample, filters)
        last = found[-1].id if sample is None and len(found) == limit else None
        told = [as_json(image, person) for image in found]
        service.add_names(told)
        return JSONResponse({"images": told, "cursor": last})

    @routes.post("/api/images", response_model=answers.ImageAnswer, status_code=201)
    def add(person: Writer, image: Annotated[UploadFile, File()],
            tags: Annotated[str, Form(max_length=1000, description="Words, with commas between them.")] = "",
            private: Annotated[bool, Form()] = False) -> JSONResponse:  # fmt: skip
        """Add an image. It is searchable when this answers; a copy of one that is there becomes its duplicate."""
        words = [clean(word) for word in tags.split(",") if word.strip()]
        if len(words) > 20 or any(len(word) > 60 for word in words):
            raise HTTPException(422, "at most 20 tags of 60 letters each")
        added = service.add(image.file.read(), person, words, private)
        shown = as_json(added, person)
        if added.duplicate_of is not None:
            shown["duplicate_of"] = added.duplicate_of
        return JSONResponse(shown, 201, {"Location": f"/api/images/{added.id}"})

    @routes.get("/api/images/{id}", response_model=answers.ImageAnswer)
    def image(id: Id, person: Looking) -> JSONResponse:
        """What is known of an image."""
        return JSONResponse(as_json(service.image(id, person), person))

    @routes.patch("/api/images/{id}", response_model=answers.ImageAnswer)
    def change(id: Id, given: answers.Change, person: Writer) -> JSONResponse:
        """Give an image other tags, or make it private or public: one's own, or as an admin anybody's."""
        return JSONResponse(as_json(service.change(id, person, given.tags, given.private), person))

    @routes.post("/api/images/{id}/restore", response_model=answers.ImageAnswer)
    def restore(id: Id, person: Admin) -> JSONResponse:
        """Index again what an admin has taken out of the results, and what was taken out with it."""
        return JSONResponse(as_json(service.restore(id), person))

    @routes.delete("/api/images/{id}", status_code=204)
    def delete(id: Id, person: Writer) -> Response:
        """Delete an image that was added here: one's own, or as an admin anybody's. A file of a folder stays; an admin
        takes it, and all that show the same picture, out of the results."""
        try:
            service.delete(id, person)
        except PermissionError as error:
            raise HTTPException(409 if person.may("admin") else 403, str(error)) from None
        return Response(status_code=204)

    @routes.get("/api/images/{id}/thumbnail", response_class=Response, responses=_PICTURE)
    def thumbnail(id: Id, person: Looking, request: Request) -> Response:
        """A small picture, at most 256 pixels a side, upright and without anything but pixels."""
        image = service.image(id, person)
        return _picture(image, request, "t", lambda: service.thumbnails.of(image))

    @routes.get("/api/images/{id}/picture", response_class=Response, responses=_PICTURE)
    def picture(id: Id, person: Looking, request: Request) -> Response:
        """A picture of at most 1600 pixels a side."""
        image = service.image(id, person)
        return _picture(image, request, "p", lambda: service.decoder.stored(image, picturing.PICTURE))

    return routes


def _picture(image: Image, request: Request, size: str, make: Callable[[], picturing.Encoded]) -> Response:
    tag = f'"{size}-{picturing.version_of(image)}"'
    headers = {"ETag": tag, "Cache-Control": _KEPT, "Vary": "Cookie, Authorization"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    try:
        made = make()
    except (OSError, ValueError):
        raise HTTPException(404, "the picture of this image cannot be read any more") from None
    return Response(made.data, media_type=made.media_type, headers=headers)
