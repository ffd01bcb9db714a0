"""Routes: who is asking, what there is, whether it is well, and what is counted."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from sqlalchemy import case, func, select
from starlette.responses import JSONResponse, Response

from annlab.visual.schema import INDEXED, STATUSES, images
from annlab.visual.search import Filters
from annlab.visual.service import answers
from annlab.visual.service.browsing import Suggestions
from annlab.visual.service.core import Service
from annlab.visual.service.door import ANYBODY, COOKIE, Door, Given, Kept
from annlab.visual.service.keys import Person
from annlab.visual.service.metrics import resident_bytes
from annlab.visual.service.showing import REFUSALS
from annlab.visual.shown import listed


def status_routes(service: Service, door: Door) -> APIRouter:
    """The routes of status."""
    routes = APIRouter(tags=["status"], responses=REFUSALS)
    Reader = Annotated[Person, Depends(door.needs("reader"))]
    Admin = Annotated[Person, Depends(door.needs("admin"))]
    suggestions = Suggestions(service)

    def session_of(person: Person | None) -> dict[str, Any]:
        return {"name": person.name if person else None, "role": person.role if person else None,
                "user": person.user_id if person else None, "keys": service.settings.keys,
                "text": service.search.can_search_text}  # fmt: skip

    @routes.get("/api/session", response_model=answers.Session)
    async def session(request: Request, given: Given, kept: Kept) -> JSONResponse:
        """Who is asking. The page begins with this."""
        person: Person | None = ANYBODY
        if service.settings.keys:
            try:
                person = await door.person_of(given.credentials if given is not None else kept, request)
            except HTTPException as error:
                if error.status_code != 401:
                    raise
                person = None
        return JSONResponse(session_of(person))

    @routes.post("/api/session", response_model=answers.Session)
    async def enter(request: Request, given: answers.KeyGiven) -> JSONResponse:
        """Give the key once; the page keeps it as a cookie that no script can read."""
        person = await door.person_of(given.key.strip(), request) if service.settings.keys else ANYBODY
        answer = JSONResponse(session_of(person))
        if service.settings.keys:
            answer.set_cookie(COOKIE, given.key.strip(), max_age=30 * 86400, httponly=True, samesite="strict",
                              secure=request.url.scheme == "https")  # fmt: skip
        return answer

    @routes.delete("/api/session", status_code=204)
    async def leave() -> Response:
        """Forget the key in this browser."""
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    @routes.get("/api/suggestions", response_model=answers.Suggestions)
    def suggest(person: Reader) -> JSONResponse:
        """Tags and owners to filter by, with counts of the images that one may see."""
        return JSONResponse(suggestions.of(person))

    @routes.get("/api/status", response_model=answers.Status)
    def status(person: Reader) -> JSONResponse:
        """What there is. Counts are of what one may see; an admin's are those of the whole catalog."""
        index, encoder = service.search.index, service.search.encoder
        counts = _counts(service, person)
        vectors = len(index) if person.may("admin") else counts["indexed"]
        return JSONResponse({
            "images": counts, "vectors": vectors, "encoder": {"name": encoder.name, "dim": encoder.dim,
                                                              "fingerprint": encoder.fingerprint},
            # An index of more vectors has more lists, so parameters tell how many there are.
            "index": {"kind": index.kind, "metric": index.metric,
                      "parameters": _plain(index.parameters) if person.may("admin") else {}},
            "uptime": round(time.time() - service.started, 1),
            "memory": resident_bytes() if person.may("admin") else 0.0,
        })  # fmt: skip

    @routes.get("/health", response_model=answers.Health)
    def health() -> JSONResponse:
        """Whether requests are answered: reads the database. Needs no key."""
        with service.catalog.database.reading() as connection:
            connection.execute(select(1))
        return JSONResponse({"status": "ok"})

    @routes.get("/metrics", response_class=Response,
                responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' format."}})  # fmt: skip
    def metrics(person: Admin) -> Response:
        """What is counted and timed, for Prometheus, whose configuration can hold a key."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


def _counts(service: Service, person: Person) -> dict[str, int]:
    if not person.may("admin"):
        ids, _ = listed(service.search.facts(), service.viewer(person), Filters())
        return {"discovered": len(ids), **dict.fromkeys(STATUSES, 0), INDEXED: len(ids)}
    own = (images.c.kind == "image") & ~images.c.deleted
    of = [func.count(case((images.c.status == status, 1))) for status in STATUSES]
    with service.catalog.database.reading() as connection:
        row = connection.execute(select(func.count(), *of).where(own)).one()
    return {"discovered": int(row[0]), **{status: int(n) for status, n in zip(STATUSES, row[1:], strict=True)}}


def _plain(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, int | float | str | None) else str(value)
            for name, value in parameters.items()}  # fmt: skip
