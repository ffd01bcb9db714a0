"""Who asks, what results must be, and what is said where that cannot be answered."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Literal


class QueryError(ValueError):
    """A query that cannot be answered as it stands; the message says what to change."""


class NotFound(QueryError):
    """There is no such image for this viewer: none at all, or another person's private one."""


class TextUnavailable(QueryError):
    """Words were given, but the encoder knows no text and no image has a tag."""


@dataclass(frozen=True)
class Viewer:
    """Who searches. Anybody sees public images, a user also his or her own private ones, an "admin" all of them."""

    user_id: int | None = None
    role: Literal["reader", "writer", "admin"] = "reader"

    def __post_init__(self) -> None:
        if self.role not in ("reader", "writer", "admin"):
            raise QueryError(f"a viewer's role is reader, writer or admin, not {self.role!r}")
        whole_number("a viewer's user_id", self.user_id)


@dataclass(frozen=True)
class Filters:
    """What results must be: of this owner, with all of these tags, of a date from `after` on and
    before `before`: that of the photograph where its file says so, else of the file or the upload."""

    owner: int | None = None
    tags: tuple[str, ...] = ()
    after: datetime.datetime | None = None
    before: datetime.datetime | None = None

    def __post_init__(self) -> None:
        whole_number("filters: owner", self.owner)
        tags: Any = self.tags
        if not isinstance(tags, tuple | list) or not all(isinstance(tag, str) for tag in tags):
            raise QueryError(f"filters: tags are a tuple of words, not {tags!r}")
        object.__setattr__(self, "tags", tuple(dict.fromkeys(tag.strip() for tag in self.tags if tag.strip())))
        for name in ("after", "before"):
            moment = getattr(self, name)
            if moment is not None and (not isinstance(moment, datetime.datetime) or moment.tzinfo is None):
                raise QueryError(f"filters: {name} is a time with its time zone, not {moment!r}")


def whole_number(what: str, value: Any) -> None:
    """A QueryError unless a value is None or a whole number that an id can be."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63):
        raise QueryError(f"{what} is a whole number of at least 0 and below 2^63, not {value!r}")
