"""The tables of the catalog: what there is, and the rules that the database itself keeps.

    users           id, username, age, gender, city, country, email
    images          id, owner, upload time, tags; file, content, kind, status, encoder (see below)
    encoders        fingerprint, name, dim, role: which vectors of which encoder there are, and which are searched
    embedded        which images have a vector of an encoder that is not the current one, and of which content
    result_lists    what was shown for a query: the images in their order, the ranker that made them, when
    interactions    user, query image, displayed image, position, impression or click, latitude, longitude, time
    judgements      query image, candidate image, grade 0 to 3, judge, time
    decisions       two images, and that somebody said they are, or are not, duplicates
    settings        the version of these tables, and what belongs to this catalog alone

An image is `pending` when it was discovered, then `indexed`, `duplicate` (of which one) or `failed` (why, and when to
try again). Exactly one of the four holds for every image that was not deleted, so

    discovered = indexed + duplicate + failed + pending

is true at every moment, by the column itself. A picture that somebody uploaded to search with is a row of the kind
`query`: never indexed, kept until `expires_at`, so that what was clicked can be told.

Privacy is in the types: latitude and longitude are rounded to a tenth of a degree (11 km) wherever they enter, since
the column cannot hold more; columns marked as personal are left out by every reader but the person's own export.
"""

import datetime
import json
import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    false,
)
from sqlalchemy.types import TypeDecorator

VERSION = 2
"""Of these tables; see migrations.py."""

PENDING, INDEXED, DUPLICATE, FAILED = "pending", "indexed", "duplicate", "failed"
STATUSES = (PENDING, INDEXED, DUPLICATE, FAILED)

# ---- types


class Moment(TypeDecorator[datetime.datetime]):
    """A moment in UTC. Goes in as a datetime with a time zone, or as seconds since 1970."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> datetime.datetime | None:
        if value is None:
            return None
        moment = as_moment(value)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: Any, dialect: Any) -> datetime.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=datetime.UTC) if value.tzinfo is None else value.astimezone(datetime.UTC)


class Degrees(TypeDecorator[float]):
    """A latitude or longitude, rounded to a tenth of a degree: stored as the whole number of tenths."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> int | None:
        if value is None:
            return None
        degrees = float(value)
        if not -180 <= degrees <= 180:
            raise ValueError(f"a latitude or longitude must be between -180 and 180 degrees, not {degrees:g}")
        return round(degrees * 10)

    def process_result_value(self, value: Any, dialect: Any) -> float | None:
        return None if value is None else value / 10


class Strings(TypeDecorator[tuple[str, ...]]):
    """Some words, such as tags: each once, none empty. Stored as a JSON list."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str:
        if isinstance(value, str):
            raise ValueError(f"tags are a list of words, not the string {value!r}: give [{value!r}]")
        words = [] if value is None else [str(word).strip() for word in value]
        return json.dumps([word for word in dict.fromkeys(words) if word], ensure_ascii=False)

    def process_result_value(self, value: Any, dialect: Any) -> tuple[str, ...]:
        return strings_of(value)


def strings_of(text: str | None) -> tuple[str, ...]:
    """The words that a column of `Strings` stands for, from its text in the database."""
    return tuple(json.loads(text or "[]"))


class Json(TypeDecorator[Any]):
    """A list or a mapping of numbers and strings."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        return None if value is None else json.dumps(value, ensure_ascii=False, allow_nan=False)

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else json.loads(value)


def as_moment(value: Any) -> datetime.datetime:
    """A datetime in UTC; ValueError for one without a time zone, which could mean any of 24 hours."""
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone: give value.replace(tzinfo=datetime.UTC), if it is in UTC")
        return value.astimezone(datetime.UTC)
    return datetime.datetime.fromtimestamp(float(value), datetime.UTC)


# ---- tables

metadata = MetaData(naming_convention={
    "ix": "%(table_name)s_by_%(column_0_N_name)s", "uq": "%(table_name)s_one_%(column_0_N_name)s",
    "ck": "%(constraint_name)s", "fk": "%(table_name)s_%(column_0_name)s_exists", "pk": "%(table_name)s_key",
})  # fmt: skip

_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only in this type
_PERSONAL = {"personal": True}
_RULES: dict[str, str] = {}


def _rule(name: str, condition: str, means: str) -> CheckConstraint:
    """A rule that the database keeps, and what it means, for the message when a row breaks it."""
    _RULES[name] = means
    return CheckConstraint(condition, name=name)


def _words(table: str, name: str, **options: Any) -> Column[str]:
    """A column of text that is never empty: where there is nothing, it is NULL."""
    return Column(name, Text, _rule(f"{table}_{name}_not_empty", f"{name} <> ''", f"{name} is empty; leave it out"),
                  **options)  # fmt: skip


def _own_id(**options: Any) -> Column[int]:
    return Column("id", _Id, primary_key=True, autoincrement=True, **options)


def _image(name: str, **options: Any) -> Column[int]:
    return Column(name, BigInteger, ForeignKey("images.id"), **options)


users = Table(
    "users", metadata,
    _own_id(),
    _words("users", "username", unique=True, info=_PERSONAL),
    Column("age", Integer, _rule("users_age", "age BETWEEN 0 AND 150", "age is not between 0 and 150"), info=_PERSONAL),
    _words("users", "gender", info=_PERSONAL),
    _words("users", "city", info=_PERSONAL),
    _words("users", "country", info=_PERSONAL),
    _words("users", "email", info=_PERSONAL),
    sqlite_autoincrement=True,
)  # fmt: skip

encoders = Table(
    "encoders", metadata,
    _words("encoders", "fingerprint", primary_key=True),
    _words("encoders", "name", nullable=False),
    Column("dim", Integer, nullable=False),
    Column("role", Text, _rule("encoders_role", "role IN ('current', 'previous', 'building', 'retired')",
                               "role is none of current, previous, building, retired"), nullable=False),
    Column("added_at", Moment, nullable=False),
    _words("encoders", "index_kind"),
    _words("encoders", "index_folder"),
    _words("encoders", "index_name"),
)  # fmt: skip
Index("encoders_one_current", encoders.c.role, unique=True, sqlite_where=encoders.c.role == "current",
      postgresql_where=encoders.c.role == "current")  # fmt: skip

images = Table(
    "images", metadata,
    _own_id(),
    Column("owner_id", BigInteger, ForeignKey("users.id"), index=True),
    Column("uploaded_at", Moment, nullable=False),
    Column("tags", Strings, nullable=False, default=()),
    Column("kind", Text, _rule("images_kind", "kind IN ('image', 'query')", "kind is neither image nor query"),
           nullable=False, default="image"),
    Column("status", Text, nullable=False, default=PENDING, index=True),
    Column("private", Boolean, nullable=False, default=False),
    Column("deleted", Boolean, nullable=False, default=False),
    _words("images", "path"),
    Column("size", BigInteger),
    Column("modified_ns", BigInteger),
    _words("images", "content_hash", index=True),
    _words("images", "picture_hash", index=True),
    Column("width", Integer),
    Column("height", Integer),
    Column("encoder", Text, ForeignKey("encoders.fingerprint")),
    _words("images", "reason"),
    Column("attempts", Integer, nullable=False, default=0),
    Column("retry_at", Moment),
    Column("duplicate_of", BigInteger, ForeignKey("images.id", deferrable=True, initially="DEFERRED"), index=True),
    Column("expires_at", Moment),
    _rule("images_status", "(kind = 'query' AND status = 'query') OR (kind = 'image' AND status IN "
          "('pending', 'indexed', 'duplicate', 'failed'))", "status is none of pending, indexed, duplicate, failed"),
    _rule("images_failed_why", "(status = 'failed') = (reason IS NOT NULL)", "a failure needs a reason, and only that"),
    _rule("images_duplicate_of", "(status = 'duplicate') = (duplicate_of IS NOT NULL) AND duplicate_of <> id",
          "a duplicate needs the image that it is one of, and only that"),
    _rule("images_indexed_by", "status <> 'indexed' OR encoder IS NOT NULL", "an indexed image needs its encoder"),
    _rule("images_query_expires", "kind <> 'query' OR expires_at IS NOT NULL", "a query needs the time it is kept"),
    sqlite_autoincrement=True,
)  # fmt: skip
_THERE = images.c.deleted == false()
Index("images_one_path", images.c.path, unique=True, sqlite_where=_THERE, postgresql_where=_THERE)

embedded = Table(
    "embedded", metadata,
    Column("encoder", Text, ForeignKey("encoders.fingerprint"), primary_key=True),
    _image("image_id", primary_key=True, autoincrement=False),
    Column("content_hash", Text),
    Column("owner_id", BigInteger),
    Column("private", Boolean, nullable=False),
    _words("embedded", "reason"),
)  # fmt: skip

result_lists = Table(
    "result_lists", metadata,
    _own_id(),
    Column("user_id", BigInteger, ForeignKey("users.id"), index=True),
    _image("query_image_id", nullable=False, index=True),
    _words("result_lists", "ranker", nullable=False),
    Column("encoder", Text, ForeignKey("encoders.fingerprint")),
    Column("images", Json, nullable=False),
    Column("details", Json),
    Column("made_at", Moment, nullable=False),
    sqlite_autoincrement=True,
)  # fmt: skip

interactions = Table(
    "interactions", metadata,
    _own_id(),
    Column("user_id", BigInteger, ForeignKey("users.id"), index=True),
    _image("query_image_id", nullable=False, index=True),
    _image("displayed_image_id", nullable=False, index=True),
    Column("position", Integer, _rule("interactions_position", "position >= 1", "position counts from 1"),
           nullable=False),
    Column("kind", Text, _rule("interactions_kind", "kind IN ('impression', 'click')",
                               "kind is neither impression nor click"), nullable=False),
    Column("latitude", Degrees, info=_PERSONAL),
    Column("longitude", Degrees, info=_PERSONAL),
    Column("at", Moment, nullable=False),
    Column("result_list_id", BigInteger, ForeignKey("result_lists.id"), index=True),
    _rule("interactions_latitude", "latitude BETWEEN -900 AND 900", "latitude is not between -90 and 90"),
    sqlite_autoincrement=True,
)  # fmt: skip

judgements = Table(
    "judgements", metadata,
    _image("query_image_id", primary_key=True, autoincrement=False),
    _image("candidate_image_id", primary_key=True, autoincrement=False),
    _words("judgements", "judge", primary_key=True, info={"pseudonym": True}),
    Column("grade", Integer, _rule("judgements_grade", "grade BETWEEN 0 AND 3", "grade is none of 0, 1, 2, 3"),
           nullable=False),
    Column("judged_at", Moment, nullable=False),
)  # fmt: skip

decisions = Table(
    "decisions", metadata,
    _image("first_image_id", primary_key=True, autoincrement=False),
    _image("second_image_id", primary_key=True, autoincrement=False),
    Column("duplicates", Boolean, nullable=False),
    _words("decisions", "judge", nullable=False, info={"pseudonym": True}),
    Column("decided_at", Moment, nullable=False),
    Column("similarity", Float),
    _rule("decisions_order", "first_image_id < second_image_id", "the smaller id comes first, and they differ"),
)  # fmt: skip

settings = Table(
    "settings", metadata,
    _words("settings", "name", primary_key=True),
    Column("value", Text, nullable=False),
)  # fmt: skip

TABLES: dict[str, Table] = {
    table.name: table for table in (users, encoders, images, result_lists, interactions, judgements, decisions)
}
"""Those that are exchanged, each after those that it refers to."""


def explain(message: str, table: str = "") -> str:
    """What a database says about a row that broke a rule, in words, without any value of the row."""
    first = message.strip().splitlines()[0]
    for name, means in _RULES.items():
        if re.search(rf"\b{name}\b", first):
            return means
    if "images.path" in first or "images_one_path" in first:
        return "another image that was not deleted has this path"
    if "users.username" in first or "users_one_username" in first:
        return "another user has this name"
    if "encoders.role" in first or "encoders_one_current" in first:
        return "there is a current encoder already"
    if "FOREIGN KEY" in first or "foreign key" in first:
        return "it refers to a user, image, encoder or result list that is not in the catalog"
    if "UNIQUE" in first or "unique" in first:
        return "a row with this key is there already"
    if "NOT NULL" in first or "not-null" in first:
        return f"a value is missing ({first.split(':')[-1].strip()})"
    return first


def is_personal(column: Column[Any]) -> bool:
    """Whether this column leaves the catalog only in the person's own export."""
    return bool(column.info.get("personal"))


def columns_of(row: Mapping[str, Any], table: Table) -> dict[str, Any]:
    """The values of a row; a ValueError names what is no column of the table."""
    unknown = set(row) - set(table.c.keys())
    if unknown:
        raise ValueError(f"{table.name} has no column {sorted(unknown)[0]!r}; it has {', '.join(table.c.keys())}")
    return dict(row)
