"""Routes: clicks, and judging how similar images are."""

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Query
from sqlalchemy import select
from starlette.responses import JSONResponse, Response

from annlab.visual.catalog import CatalogError, Image
from annlab.visual.interactions import log_click
from annlab.visual.judging import judge
from annlab.visual.schema import judgements, result_lists
from annlab.visual.search import Filters, NotFound
from annlab.visual.service import answers
from annlab.visual.service.browsing import some
from annlab.visual.service.core import Service
from annlab.visual.service.door import Door
from annlab.visual.service.keys import Person
from annlab.visual.service.pooling import pool
from annlab.visual.service.showing import REFUSALS, as_json


def feedback_routes(service: Service, door: Door) -> APIRouter:
    """The routes of clicks and judgements."""
    routes = APIRouter(tags=["feedback"], responses=REFUSALS)
    Reader = Annotated[Person, Depends(door.needs("reader"))]
    Writer = Annotated[Person, Depends(door.needs("writer"))]

    @routes.post("/api/clicks", status_code=204)
    def click(given: answers.Click, person: Reader) -> Response:
        """Somebody clicked an image of a list of results; a second click on it changes nothing."""
        service.impressions.wait_for(given.list)
        with service.catalog.database.reading() as connection:
            query = select(result_lists.c.user_id).where(result_lists.c.id == given.list)
            found = connection.execute(query).first()
        if found is None or found[0] != person.user_id:
            raise NotFound(f"there is no list of results {given.list}")
        try:
            log_click(service.catalog, given.list, given.image)
        except CatalogError as error:
            raise HTTPException(409, str(error)) from None
        except KeyError:
            raise NotFound(f"there is no list of results {given.list}") from None
        return Response(status_code=204)

    @routes.post("/api/judgements", status_code=204)
    def judgement(given: answers.Judgement, person: Writer) -> Response:
        """How similar a candidate is to a query; a later judgement of the same pair takes its place."""
        for id in (given.query, given.candidate):
            service.image(id, person)
        judge(service.catalog, given.query, given.candidate, given.grade, person.name)
        return Response(status_code=204)

    @routes.get("/api/judging", response_model=answers.JudgingAnswer)
    def judging(person: Writer, query: Annotated[int | None, Query(ge=1, le=2**53)] = None,
                seed: Annotated[int, Query(ge=0, le=2**31)] = 0,
                depth: Annotated[int, Query(ge=1, le=30)] = 8) -> JSONResponse:  # fmt: skip
        """A query (drawn by the seed, where none is given) and the candidates of several rankers, shuffled."""
        image = service.image(query, person) if query is not None else _drawn(service, person, seed)
        candidates = pool(service, person, image, depth)
        order = np.random.default_rng([seed, image.id]).permutation(len(candidates))
        with service.catalog.database.reading() as connection:
            c = judgements.c
            before = connection.execute(select(c.candidate_image_id, c.grade).where(
                c.query_image_id == image.id, c.judge == person.name)).all()  # fmt: skip
        ids = {candidate.id for candidate in candidates}
        return JSONResponse({
            "query": as_json(image, person), "candidates": [as_json(candidates[i], person) for i in order],
            "judged": {str(id): grade for id, grade in before if id in ids},
        })  # fmt: skip

    return routes


def _drawn(service: Service, person: Person, seed: int) -> Image:
    found = some(service, person, 1, seed, Filters())
    if not found:
        raise NotFound("there are no images yet")
    return found[0]
