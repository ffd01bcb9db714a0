"""The shapes of answers, as the OpenAPI document describes them."""

import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, field_validator

from annlab.visual.service.words import clean


class Problem(BaseModel):
    """Why something was refused, in words."""

    detail: str


class ImageAnswer(BaseModel):
    """An image."""

    id: int
    date: datetime.datetime
    tags: list[str]
    name: str | None = Field(None, description="Of its file, where it has no tags and you may delete it.")
    owner: int | None = Field(description="The id of the user it belongs to.")
    private: bool
    width: int | None
    height: int | None
    kind: str = Field(description="image, or query: an upload that somebody searches with.")
    status: str
    duplicate_of: int | None = None
    own: bool = Field(description="Whether whoever asks may delete it.")


class Result(ImageAnswer):
    """An image in the answer to a search."""

    distance: float | None
    score: float | None = Field(description="How likely it is relevant, from 0 to 1.")
    folded: list[int] = Field(description="Images that show the same, folded under this one.")
    way: list[str] | None = Field(description="What each stage of the ranking did to it, with explain=true.")


class SearchAnswer(BaseModel):
    """The answer to a search."""

    results: list[Result]
    cursor: str | None = Field(description="Give it back for the next page.")
    total: int = Field(description="Results within the cut-off, as far as was looked.")
    weaker: int = Field(description="Of what was looked at, results beyond the cut-off.")
    cutoff: float
    timings: dict[str, float] = Field(description="Milliseconds, by stage.")
    plan: str
    notes: list[str]
    list: int | None = Field(description="Number of this list of results, for clicks.")
    query: ImageAnswer | None = Field(description="The image that was searched with; an upload has its id from here.")


class ImagesAnswer(BaseModel):
    """Images to begin with, or a page of all of them, newest first."""

    images: list[ImageAnswer]
    cursor: int | None


class Click(BaseModel):
    """A click on a result."""

    list: int = Field(ge=1, le=2**53, strict=True)
    image: int = Field(ge=1, le=2**53, strict=True)


class Change(BaseModel, extra="forbid"):
    """What shall be different about an image."""

    tags: list[Annotated[str, Field(max_length=60)]] | None = Field(None, max_length=20)
    private: bool | None = Field(None, strict=True)

    @field_validator("tags")
    @classmethod
    def _tags(cls, value: list[str] | None) -> list[str] | None:
        return None if value is None else [clean(word) for word in value]


class Judgement(BaseModel):
    """How similar a candidate is to a query."""

    query: int = Field(ge=1, le=2**53, strict=True)
    candidate: int = Field(ge=1, le=2**53, strict=True)
    grade: int = Field(ge=0, le=3, strict=True, description="0 not at all, 1 a little, 2 similar, 3 the same thing.")


class JudgingAnswer(BaseModel):
    """A query and candidates from several rankers, shuffled, without who proposed them."""

    query: ImageAnswer
    candidates: list[ImageAnswer]
    judged: dict[int, int] = Field(description="Grades that you gave before, by candidate.")


class Session(BaseModel):
    """Who is asking, and what the service can do for them."""

    name: str | None = Field(description="None: a key is needed.")
    role: str | None
    user: int | None = None
    keys: bool = Field(description="Whether the service asks for keys.")
    text: bool = Field(description="Whether words are compared with pictures; else they are looked for among tags.")


class KeyGiven(BaseModel):
    """A key, for the page to keep as a cookie."""

    key: str = Field(min_length=1, max_length=200)


class Suggestions(BaseModel):
    """What one can filter by, with counts of what one may see."""

    tags: list[tuple[str, int]]
    owners: list[tuple[int, int]]


class Status(BaseModel):
    """What is there, as far as one may see it."""

    images: dict[str, int]
    vectors: int
    encoder: dict[str, Any]
    index: dict[str, Any]
    uptime: float
    memory: float


class Health(BaseModel):
    """Whether requests are answered."""

    status: str


class Knob(BaseModel):
    """A parameter of searches."""

    name: str
    low: int
    high: int
    value: int


class Engine(BaseModel):
    """A kind of index over the vectors that everybody may see."""

    kind: str
    state: str = Field(description="current, ready, building, absent, or failed.")
    note: str | None = None
    knobs: list[Knob]
    bytes: int | None = None


class Engines(BaseModel):
    """All kinds of index."""

    vectors: int
    engines: list[Engine]


class Measured(BaseModel):
    """What an index finds and how long it takes, against exact search."""

    kind: str
    k: int
    queries: int
    recall: float
    low: float = Field(description="Of a 95 % interval.")
    high: float
    milliseconds: float = Field(description="Median of single searches.")
    exact_milliseconds: float
    looked_at: float | None = Field(
        description="Distances computed, as a share of all. Of the index that is served, told to admins alone."
    )
    found: list[int] = Field(description="The nearest images of the query, by this index.")
    missed: list[int] = Field(description="Those that exact search finds and this one does not.")
