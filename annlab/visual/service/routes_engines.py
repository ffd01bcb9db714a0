"""Routes: kinds of index to compare, their knobs, and what these do to recall and time."""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import JSONResponse

from annlab.visual.search import ByUpload
from annlab.visual.service import answers
from annlab.visual.service.core import Service
from annlab.visual.service.door import Door
from annlab.visual.service.engines import Engines
from annlab.visual.service.keys import Person
from annlab.visual.service.routes_search import ImageId, knobs_of
from annlab.visual.service.showing import REFUSALS

Kind = Annotated[str, Path(pattern="^[A-Za-z]{1,40}$")]


def engine_routes(service: Service, door: Door) -> APIRouter:
    """The routes of kinds of index."""
    routes = APIRouter(tags=["engines"], responses=REFUSALS)
    Reader = Annotated[Person, Depends(door.needs("reader"))]
    Measuring = Annotated[Person, Depends(door.needs("reader", 5.0))]
    Writer = Annotated[Person, Depends(door.needs("writer", 5.0))]
    engines = Engines(service)

    def told(about: dict[str, Any], person: Person) -> dict[str, Any]:
        return about if person.may("admin") else engines.told(about)

    @routes.get("/api/engines", response_model=answers.Engines)
    def overview(person: Reader) -> JSONResponse:
        """All kinds of index, and which are built."""
        all_kinds = engines.overview()
        return JSONResponse({**all_kinds, "engines": [told(each, person) for each in all_kinds["engines"]]})

    @routes.post("/api/engines/{kind}", response_model=answers.Engine, status_code=202)
    def build(kind: Kind, person: Writer) -> JSONResponse:
        """Begin to build an index of this kind in memory, beside the one that is served."""
        return JSONResponse(told(engines.build(kind), person), 202)

    @routes.get("/api/engines/{kind}", response_model=answers.Measured)
    def measure(kind: Kind, person: Measuring, id: ImageId | None = None, k: Annotated[int, Query(ge=1, le=100)] = 10,
                knob: Annotated[list[str], Query(max_length=5)] = []) -> JSONResponse:  # fmt: skip  # noqa: B006
        """Recall and time of an index of this kind, and what it misses of an image's neighbours."""
        vector: np.ndarray | None = None
        if id is not None:
            form = service.form(service.image(id, person))
            if isinstance(form, ByUpload):
                vector = service.search.encoder.encode([form.data])[0]
            else:
                vector = service.search.vector(id, service.viewer(person))
        return JSONResponse(told(engines.measure(kind, k, knobs_of(knob), vector), person))

    return routes
