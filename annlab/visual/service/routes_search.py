"""Routes: searching, and what one can filter by."""

import datetime
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, HTTPException, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from annlab.visual.catalog import Image
from annlab.visual.search import Answer, ByText, Filters, QueryError, Several
from annlab.visual.service import answers
from annlab.visual.service.core import Box, Service
from annlab.visual.service.door import Door, key_of
from annlab.visual.service.impressions import Shown
from annlab.visual.service.keys import Person
from annlab.visual.service.showing import REFUSALS, as_json, told
from annlab.visual.service.words import clean
from annlab.visual.shown import Seen

ImageId = Annotated[int, Field(ge=1, le=2**53)]
_KNOB = re.compile(r"([a-z][a-z_]{0,30}):(-?[0-9]{1,12}(?:\.[0-9]{1,6})?)")


class SearchParameters(BaseModel, extra="forbid"):
    """What to search for, among what, and how."""

    id: ImageId | None = Field(None, description="An image of the catalog, or an upload that was searched with.")
    box: str | None = Field(None, max_length=100, description="A part of it: left,top,right,bottom from 0 to 1.")
    text: str | None = Field(None, min_length=1, max_length=300)
    like: list[ImageId] = Field([], max_length=20, description="More images that results shall be like.")
    unlike: list[ImageId] = Field([], max_length=20, description="Images that results shall not be like.")
    k: int = Field(20, ge=1, le=1000)
    tag: list[str] = Field([], max_length=20)
    owner: ImageId | None = None
    after: datetime.datetime | None = None
    before: datetime.datetime | None = None
    order: Literal["relevance", "time"] = "relevance"
    cutoff: float | None = Field(None, ge=0, le=1, description="The least score; none: that of the encoder.")
    cursor: str | None = Field(None, max_length=2000)
    knob: list[str] = Field([], max_length=5, description="Parameters of the index, as n_probes:8.")
    exact: bool = Field(False, description="Search all vectors, to compare.")
    explain: bool = False
    log: bool = Field(True, description="Whether this is shown to somebody, as an impression.")
    first: int = Field(1, ge=1, le=10**6, description="The position of the first result: on later pages more than 1.")

    @field_validator("text")
    @classmethod
    def _text(cls, value: str | None) -> str | None:
        return None if value is None else clean(value)

    @field_validator("tag")
    @classmethod
    def _tags(cls, value: list[str]) -> list[str]:
        return [clean(tag) for tag in value]

    @field_validator("after", "before")
    @classmethod
    def _moments(cls, value: datetime.datetime | None) -> datetime.datetime | None:
        return value.replace(tzinfo=datetime.UTC) if value is not None and value.tzinfo is None else value

    def part(self) -> Box | None:
        """The box as four numbers."""
        if self.box is None:
            return None
        try:
            left, top, right, bottom = (float(edge) for edge in self.box.split(","))
        except ValueError:
            raise QueryError(f"box must be left,top,right,bottom from 0 to 1, not {self.box!r}") from None
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise QueryError(f"box {self.box!r} is no part of an image: 0 <= left < right <= 1, and so top, bottom")
        return left, top, right, bottom


_LISTS = frozenset(name for name, field in SearchParameters.model_fields.items() if field.default == [])


async def _asked(request: Request) -> SearchParameters:
    """The parameters of a request, checked in one go; FastAPI would look at each of them by itself, for half a
    millisecond. A word that is no parameter is refused, and of one that is given twice the last counts."""
    given: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in _LISTS:
            given.setdefault(name, []).append(value)
        else:
            given[name] = value
    try:
        return SearchParameters.model_validate(given)
    except ValidationError as error:
        wrong = [{**each, "loc": ("query", *each["loc"])} for each in error.errors(include_url=False)]
        raise RequestValidationError(wrong) from None


def _documented() -> list[dict[str, Any]]:
    """The parameters for the OpenAPI document."""
    about = SearchParameters.model_json_schema()["properties"]
    return [{"name": name, "in": "query", "required": False, "schema": schema,
             **({"description": schema["description"]} if "description" in schema else {})}
            for name, schema in about.items()]  # fmt: skip


def knobs_of(given: Sequence[str]) -> dict[str, Any]:
    """Parameters of an index from words such as n_probes:8."""
    found: dict[str, Any] = {}
    for each in given:
        match = _KNOB.fullmatch(each)
        if match is None:
            raise QueryError(f"a knob is a name and a number, as n_probes:8, not {each!r}")
        found[match[1]] = float(match[2]) if "." in match[2] else int(match[2])
    return found


def search_routes(service: Service, door: Door) -> APIRouter:
    """The routes of searching."""
    routes = APIRouter(tags=["search"], responses=REFUSALS)
    Reader = Annotated[Person, Depends(door.needs("reader"))]
    Parameters = Annotated[SearchParameters, Depends(_asked)]
    documented = {"parameters": _documented()}

    @routes.get("/api/search", response_model=answers.SearchAnswer, openapi_extra=documented)
    def search(asked: Parameters, person: Reader) -> Response:
        """Search by an image of the catalog, a part of it, several, or words."""
        return _searched(service, asked, person)

    @routes.post("/api/search", response_model=answers.SearchAnswer, openapi_extra=documented)
    def search_by_upload(asked: Parameters, person: Reader, image: Annotated[UploadFile, File()]) -> Response:
        """Search by an upload. It is kept for a while, for its owner alone, under the id in `query`."""
        if asked.text is not None or asked.id is not None:
            raise QueryError("search by an upload, by id or by text, not by two of them")
        asked.part()
        kept = service.keep_query(image.file.read(), person)
        return _answer(service, _several(service, kept, asked, person), asked, person, kept)

    return routes


def short_way(service: Service, door: Door) -> Route:
    """The route of `GET /api/search` once more, for the requests that come most: it finds the key and the parameters
    without FastAPI's dependencies and nested routers, which take as long as the search does. Put it before the others.
    """

    async def search(request: Request) -> Response:
        person = await door.let_in(request, await key_of(request), "reader")
        asked = await _asked(request)
        return await run_in_threadpool(_searched, service, asked, person)

    return ShortWay("/api/search", search)


class ShortWay(Route):
    """A route of GET alone, that says which it is, as FastAPI's do."""

    def __init__(self, path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> None:
        super().__init__(path, endpoint, include_in_schema=False)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a request is one of this route; any other method is for the routes behind it."""
        if scope["type"] != "http" or scope["method"] != "GET":
            return Match.NONE, {}
        match, more = super().matches(scope)
        return match, {**more, "route": self} if match == Match.FULL else more


def _searched(service: Service, asked: SearchParameters, person: Person) -> Response:
    if asked.text is not None and (asked.id is not None or asked.like or asked.unlike or asked.box):
        raise QueryError("search by text or by images, not by both at once")
    if asked.text is not None:
        return _answer(service, ByText(asked.text), asked, person, None)
    if asked.id is None:
        raise QueryError("say what to search for: id, text, or an upload")
    image = service.query(asked.id, person)
    return _answer(service, _several(service, image, asked, person), asked, person, image)


def _several(service: Service, image: Image | Seen, asked: SearchParameters, person: Person) -> Any:
    """The query: an image or a part of it, with others that results shall, or shall not, be like."""
    form = service.form(image, asked.part())
    if not asked.like and not asked.unlike:
        return form
    others = [
        [service.form(service.query(id, person)) for id in dict.fromkeys(ids)] for ids in (asked.like, asked.unlike)
    ]
    return Several((form, *others[0]), tuple(others[1]))


def _answer(service: Service, form: Any, asked: SearchParameters, person: Person,
            image: Image | Seen | None) -> Response:  # fmt: skip
    """Search, remember what is shown, and say it as JSON."""
    if asked.k > service.settings.most_results:
        raise HTTPException(422, f"k is {asked.k}, but a page has at most {service.settings.most_results} results")
    filters = Filters(owner=asked.owner, tags=tuple(asked.tag), after=asked.after, before=asked.before)
    serving = service.search  # it may be exchanged meanwhile
    first_page = asked.log and asked.cursor is None and asked.order == "relevance"
    turn = service.arms.turn(serving, person.user_id if asked.log else None, asked.k, first_page)
    answer = serving.search(
        form, k=asked.k, viewer=service.viewer(person), filters=filters, order=asked.order, cutoff=asked.cutoff,
        cursor=asked.cursor, search=knobs_of(asked.knob), exact=asked.exact, explain=asked.explain,
        stages=turn.stages,
    )  # fmt: skip
    service.metrics.stages(answer.timings)
    number = None
    if asked.log and answer.results:
        shown = tuple(result.id for result in answer.results)
        details = {"form": type(form).__name__, "order": asked.order, "exact": asked.exact, **turn.details(shown)}
        number = service.impressions.remember(Shown(
            person.user_id, image.id if image is not None else None, shown, turn.ranker,
            serving.encoder.fingerprint, asked.first, details,
        ))  # fmt: skip
    told = _as_json(answer, person, image, number)
    service.add_names([*told["results"], *([told["query"]] if told["query"] else [])])
    return Response(to_json(told), media_type="application/json")


def _as_json(answer: Answer, person: Person, image: Image | Seen | None, number: int | None) -> Mapping[str, Any]:
    is_admin = person.may("admin")
    return {
        "results": [
            {**told(result.image, person, is_admin), "distance": _number(result.distance),
             "score": _number(result.score), "folded": result.folded, "way": result.way}
            for result in answer.results
        ],
        "cursor": answer.cursor, "total": int(answer.total), "weaker": int(answer.weaker),
        "cutoff": float(answer.cutoff),
        "timings": {stage: round(float(ms), 3) for stage, ms in answer.timings.items()},
        "plan": _plan(answer, person), "notes": list(answer.notes), "list": number,
        "query": as_json(image, person) if image is not None else None,
    }  # fmt: skip


def _plan(answer: Answer, person: Person) -> str:
    """How the index answered. Its counts depend on all images, so others than admins learn no more than its kind."""
    return answer.plan if person.may("admin") else answer.plan.partition(":")[0]


def _number(value: float | None) -> float | None:
    """A number that JSON can hold."""
    return round(value, 6) if value is not None and math.isfinite(value) else None
