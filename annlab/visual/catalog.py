"""Catalog: what is known of the images, in a database that the index of their vectors shares.

    with Catalog.open("photos.db") as catalog, catalog.index(IVFIndex(metric="cosine"), "photos.index") as index:
        ids = catalog.add_images([{"path": to_text(path), "content_hash": digest} for ...])     # pending
        with index.transaction() as writes:                      # one transaction: all of it, or nothing
            catalog.mark_indexed(ids, encoder.fingerprint, connection=writes.connection)
            writes.add(vectors, ids)
        catalog.counts()        # discovered = indexed + duplicate + failed + pending, always

Every method that writes takes `connection=`, that of a transaction that somebody else ends; without it, it is a
transaction of its own. What happens to an image between its discovery and its place in the index is a change of its
column `status` (schema.py), so a kill at any moment leaves every image in exactly one state, and the next run goes on
with `due()`.

Times come from the clock of the machine and serve for retention and reports. Nothing depends on their order: that is
the order of ids. A clock that goes backwards is told when the catalog is opened.
"""

import datetime
import os
import secrets
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, bindparam, case, exc, func, insert, or_, select, update

from annlab.durable import Database, DurableIndex, Writes
from annlab.visual import migrations, schema
from annlab.visual.encoder_rows import FIRST_INDEX, CatalogError
from annlab.visual.index_rows import Indexes
from annlab.visual.schema import DUPLICATE, FAILED, INDEXED, PENDING, images

_AT_ONCE = 500  # ids in one statement


class StaleIndexError(RuntimeError):
    """Another encoder has been promoted since this index was opened: open the catalog's index and encoder again."""


@dataclass(frozen=True)
class Image:
    """One image: a row of the table, with the names of its columns."""

    id: int
    owner_id: int | None
    uploaded_at: datetime.datetime
    tags: tuple[str, ...]
    kind: str
    status: str
    private: bool
    deleted: bool
    path: str | None
    size: int | None
    modified_ns: int | None
    content_hash: str | None
    picture_hash: str | None
    width: int | None
    height: int | None
    encoder: str | None
    reason: str | None
    attempts: int
    retry_at: datetime.datetime | None
    duplicate_of: int | None
    expires_at: datetime.datetime | None


@dataclass(frozen=True)
class Counts:
    """How many images are in which state; `discovered` is counted by itself, to compare the sum with."""

    discovered: int
    indexed: int
    duplicate: int
    failed: int
    pending: int

    def __str__(self) -> str:
        return (f"{self.discovered} discovered = {self.indexed} indexed + {self.duplicate} duplicate + "
                f"{self.failed} failed + {self.pending} pending")  # fmt: skip


class Catalog(Indexes):
    """The catalog in a database; safe from any number of threads and processes. Made by `open`.

    Attributes
    ----------
    database : Database
        For transactions of one's own: `catalog.database.writing()`.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime.datetime]) -> None:
        self.database = database
        self._clock = clock
        with self.writing() as connection:
            migrations.bring_up_to_date(connection, database.where)
            names = schema.settings.c.name
            if connection.scalar(select(names).where(names == "secret")) is None:
                connection.execute(insert(schema.settings), {"name": "secret", "value": secrets.token_hex(16)})
        self._look_at_the_clock()

    @classmethod
    def open(cls, target: str | os.PathLike[str], *, clock: Callable[[], datetime.datetime] | None = None) -> Self:
        """Open a catalog, and make an empty one if there is none.

        Parameters
        ----------
        target : path or str
            A SQLite file, or an address such as ``postgresql://user@host/photos``.
        clock : callable, optional
            Returns the current time, with a time zone.

        Raises
        ------
        StorageError
            The database cannot be read or written, with the reason.
        CatalogError
            A newer version of annlab made it.
        """
        return cls(Database.open(target), clock or _utc_now)

    def close(self) -> None:
        """Close the connections to the database."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self, index: DurableIndex) -> Iterator[Writes]:
        """A transaction over the catalog and the index that is searched: yields its `Writes`.

        Raises
        ------
        StaleIndexError
            The index is that of an encoder whose place another one has taken; nothing is written.
        """
        with index.transaction() as writes:
            current = self.current_encoder(connection=writes.connection)
            if current is not None and (current["index_name"] or FIRST_INDEX) != index.name:
                raise StaleIndexError(
                    f"{self.database.where}: {current['name']} ({current['fingerprint']}) has been promoted; its "
                    f"vectors are in the index {current['index_name']!r}, not in {index.name!r}: open both again"
                )
            yield writes

    @contextmanager
    def writing(self, connection: Connection | None = None) -> Iterator[Connection]:
        """A transaction: the given one, which somebody else ends, or one of its own. Broken rules are explained."""
        try:
            if connection is not None:
                yield connection
            else:
                with self.database.writing() as own:
                    yield own
        except exc.IntegrityError as error:
            raise CatalogError(f"{self.database.where}: {schema.explain(str(error.orig))}") from None
        except exc.StatementError as error:
            if isinstance(error.orig, ValueError | TypeError):  # a value that its column's type refuses
                raise CatalogError(str(error.orig)) from None
            raise

    def now(self) -> datetime.datetime:
        """The current time, in UTC."""
        return schema.as_moment(self._clock())

    # ---- images

    def add_images(self, rows: Iterable[Mapping[str, Any]], *, connection: Connection | None = None) -> list[int]:
        """Add images, pending unless a row says otherwise; their ids, in the order of the rows.

        Parameters
        ----------
        rows : iterable of mappings
            Columns of `schema.images`. The time of upload is now, where none is given.
        """
        now = self.now()
        given = [{"uploaded_at": now, **schema.columns_of(row, images)} for row in rows]
        ids: list[int] = []
        with self.writing(connection) as active:
            for group in _alike(given):
                statement = insert(images).returning(images.c.id, sort_by_parameter_order=True)
                ids += active.scalars(statement, group).all()
        return ids

    def change_image(self, id: int, *, connection: Connection | None = None, **values: Any) -> None:
        """Give an image new values in some columns, as when its file has moved; KeyError if there is none."""
        row = schema.columns_of(values, images) or {"id": id}  # nothing to change: only whether it is there
        with self.writing(connection) as active:
            done = active.execute(update(images).where(images.c.id == id).values(row))
            _require(done.rowcount, [id])

    def change_images(self, changes: Mapping[int, Mapping[str, Any]], *, connection: Connection | None = None) -> None:
        """Give many images new values, by id; KeyError if one of them is not there."""
        groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for id, values in changes.items():
            row = schema.columns_of(values, images)
            if row:
                groups.setdefault(tuple(row), []).append({"changed": id} | {f"new_{name}": row[name] for name in row})
        with self.writing(connection) as active:
            for names, rows in groups.items():
                new: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
                done = active.execute(update(images).where(images.c.id == bindparam("changed")).values(new), rows)
                _require(done.rowcount, [row["changed"] for row in rows])

    def mark_pending(self, ids: Iterable[int], *, connection: Connection | None = None) -> None:
        """These shall be looked at again, as when their files have changed."""
        self._mark(ids, connection, status=PENDING, reason=None, duplicate_of=None, retry_at=None)

    def mark_indexed(self, ids: Iterable[int], encoder: str, *, connection: Connection | None = None) -> None:
        """The vectors of these, by the encoder of this fingerprint, are in the index; call it in that transaction."""
        self._mark(ids, connection, status=INDEXED, encoder=encoder, reason=None, duplicate_of=None, retry_at=None)

    def mark_duplicate(self, ids: Iterable[int], of: int, *, connection: Connection | None = None) -> None:
        """These show what an image shows that is indexed already."""
        self._mark(ids, connection, status=DUPLICATE, duplicate_of=of, reason=None, retry_at=None)

    def mark_failed(self, id: int, reason: str, *, retry_at: datetime.datetime | None = None,
                    connection: Connection | None = None) -> None:  # fmt: skip
        """This one could not be read or embedded, with the reason, and when to try again (None: not by itself)."""
        reason = " ".join(str(reason).split()) or "no reason was given"
        self._mark([id], connection, status=FAILED, reason=reason, duplicate_of=None, retry_at=retry_at,
                   attempts=images.c.attempts + 1)  # fmt: skip

    def mark_deleted(self, ids: Iterable[int], *, connection: Connection | None = None) -> None:
        """These are gone; their rows stay, for what was shown and clicked. Their duplicates are looked at again.

        Remove their vectors in the same transaction: ``writes.remove(ids, missing="ignore")``.
        """
        numbers = list(ids)
        with self.writing(connection) as active:
            self._mark(numbers, active, status=case((images.c.kind == "query", "query"), else_=PENDING), deleted=True,
                       reason=None, duplicate_of=None, retry_at=None)  # fmt: skip
            self.release_duplicates(numbers, connection=active)

    def release_duplicates(self, ids: Iterable[int], *, connection: Connection | None = None) -> None:
        """The duplicates of these shall be looked at again, as when an image is gone or shows something else now."""
        with self.writing(connection) as active:
            for part in _parts(list(ids)):
                orphans = images.c.duplicate_of.in_(part)
                active.execute(update(images).where(orphans).values(status=PENDING, duplicate_of=None))

    def _mark(self, ids: Iterable[int], connection: Connection | None, **values: Any) -> None:
        numbers = list(ids)
        with self.writing(connection) as active:
            done = sum(
                active.execute(update(images).where(images.c.id.in_(part)).values(**values)).rowcount
                for part in _parts(numbers)
            )
            _require(done, numbers)

    def add_query(self, *, keep: datetime.timedelta, owner_id: int | None = None,
                  connection: Connection | None = None, **values: Any) -> int:  # fmt: skip
        """Remember a picture that was uploaded to search with, for some time; its id, for the clicks."""
        if keep <= datetime.timedelta(0):
            raise ValueError(f"a query must be kept for some time, not {keep}")
        row = {**values, "kind": "query", "status": "query", "owner_id": owner_id, "expires_at": self.now() + keep}
        return self.add_images([row], connection=connection)[0]

    def expire_queries(self, *, connection: Connection | None = None) -> list[Image]:
        """Mark queries whose time is over as deleted, and empty their rows; they are returned, for their files."""
        with self.writing(connection) as active:
            over = (images.c.kind == "query") & ~images.c.deleted & (images.c.expires_at <= self.now())
            found = [_image(row) for row in active.execute(select(images).where(over)).mappings()]
            for part in _parts([image.id for image in found]):
                empty = {"deleted": True, "path": None, "content_hash": None, "picture_hash": None, "tags": ()}
                active.execute(update(images).where(images.c.id.in_(part)).values(empty))
        return found

    # ---- looking

    def image(self, id: int, *, connection: Connection | None = None) -> Image:
        """One image; KeyError if there is none, or it was deleted."""
        found = self.find(ids=[id], connection=connection)
        if not found:
            raise KeyError(f"image {id} is not in the catalog, or was deleted")
        return found[0]

    def find(self, *, ids: Sequence[int] | None = None, deleted: bool = False, tag: str | None = None,
             after: int = 0, limit: int | None = None, where: ColumnElement[bool] | None = None,
             connection: Connection | None = None, **values: Any) -> list[Image]:  # fmt: skip
        """Images in the order of their ids.

        Parameters
        ----------
        ids : sequence of int, optional
            Only these; those that are not there are left out.
        deleted : bool
            Whether to look among the deleted ones, instead of the others.
        tag : str, optional
            Only those with this tag.
        after, limit : int, optional
            Only ids greater than `after`, and at most so many: for reading page by page.
        where : condition, optional
            That their rows have to fulfil, too.
        **values
            Columns and the value that they have to have; several values as a list.
        """
        wanted = select(images).where(images.c.id > after, images.c.deleted == deleted).order_by(images.c.id)
        for name, value in schema.columns_of(values, images).items():
            column = images.c[name]
            wanted = wanted.where(column.in_(value) if isinstance(value, list | tuple | set) else column == value)
        if where is not None:
            wanted = wanted.where(where)
        if tag is not None:
            word = schema.Strings().process_bind_param([tag], None)[1:-1]  # as it stands in the list
            wanted = wanted.where(func.instr(images.c.tags, word) > 0 if self.database.is_sqlite
                                  else func.strpos(images.c.tags, word) > 0)  # fmt: skip
        found: list[Image] = []
        with self._reading(connection) as active:
            for part in [None] if ids is None else _parts(sorted(set(ids))):
                query = wanted if part is None else wanted.where(images.c.id.in_(part))
                left = None if limit is None else limit - len(found)
                found += [_image(row) for row in active.execute(query.limit(left)).mappings()]
        return found

    def due(self, limit: int | None = None, *, after: int = 0) -> list[Image]:
        """What is to be done next: pending images, and failed ones whose time to try again has come."""
        again = (images.c.status == FAILED) & (images.c.retry_at <= self.now())
        wanted = (images.c.kind == "image") & ~images.c.deleted & or_(images.c.status == PENDING, again)
        query = select(images).where(wanted, images.c.id > after).order_by(images.c.id).limit(limit)
        with self.database.reading() as connection:
            return [_image(row) for row in connection.execute(query).mappings()]

    def counts(self) -> Counts:
        """How many images are in which state, all counted at one moment."""
        own = (images.c.kind == "image") & ~images.c.deleted
        of = [func.count().filter(images.c.status == status) for status in (INDEXED, DUPLICATE, FAILED, PENDING)]
        with self.database.reading() as connection:
            return Counts(*(int(n) for n in connection.execute(select(func.count(), *of).where(own)).one()))

    # ---- helpers

    @contextmanager
    def _reading(self, connection: Connection | None) -> Iterator[Connection]:
        if connection is not None:
            yield connection
        else:
            with self.database.reading() as own:
                yield own

    def _look_at_the_clock(self) -> None:
        newest = [select(table.c[name]).order_by(table.c.id.desc()).limit(1)
                  for table, name in ((schema.interactions, "at"), (schema.result_lists, "made_at"))]  # fmt: skip
        with self.database.reading() as connection:
            times = [time for time in (connection.scalar(query) for query in newest) if time is not None]
        now = self.now()
        if times and max(times) - now > datetime.timedelta(minutes=1):
            warnings.warn(f"the clock says {now:%Y-%m-%d %H:%M} UTC, but {self.database.where} has entries of "
                          f"{max(times):%Y-%m-%d %H:%M}: has it been set back? Nothing is lost; until it is right, "
                          "queries "
                          "are kept for longer and reports by time are off", RuntimeWarning, stacklevel=3)  # fmt: skip


def _image(row: Mapping[Any, Any]) -> Image:
    return Image(**row)


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]


def _alike(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows in groups of consecutive ones that name the same columns, as one statement needs them."""
    group: list[dict[str, Any]] = []
    for row in rows:
        if group and group[0].keys() != row.keys():
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _require(found: int, ids: Sequence[int]) -> None:
    if found != len(set(ids)):
        raise KeyError(
            f"{len(set(ids)) - found} of {len(set(ids))} images are not in the catalog, among {list(ids)[:3]}"
        )
