"""The catalog's rows of encoders: which there are, which one is searched, and which index holds the vectors of each."""

import datetime
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection, insert, select, update

from annlab.durable import Database
from annlab.visual import schema
from annlab.visual.schema import encoders

FIRST_INDEX = "images"
"""The name of the index of a catalog's first encoder."""


class CatalogError(ValueError):
    """A row that breaks a rule of the catalog; the message says which, and holds no personal value."""


class Encoders:
    """The part of `Catalog` that knows encoders."""

    database: Database

    def now(self) -> datetime.datetime:
        """The current time, in UTC."""
        raise NotImplementedError

    def writing(self, connection: Connection | None = None) -> AbstractContextManager[Connection]:
        """A transaction: the given one, or one of its own."""
        raise NotImplementedError

    def _reading(self, connection: Connection | None) -> AbstractContextManager[Connection]:
        raise NotImplementedError

    def index_name(self) -> str:
        """The name of the index that is searched: that of the current encoder."""
        current = self.current_encoder()
        return (current and current["index_name"]) or FIRST_INDEX

    def add_encoder(self, fingerprint: str, name: str, dim: int, *, role: str = "current",
                    connection: Connection | None = None, **values: Any) -> None:  # fmt: skip
        """Make an encoder known, unless it is: only then can images be marked as indexed by it."""
        with self.writing(connection) as active:
            known = active.scalar(select(encoders.c.dim).where(encoders.c.fingerprint == fingerprint))
            if known is None:
                row = {"fingerprint": fingerprint, "name": name, "dim": dim, "role": role, "added_at": self.now()}
                active.execute(insert(encoders), row | schema.columns_of(values, encoders))
            elif known != dim:
                raise CatalogError(f"encoder {fingerprint} gives vectors of {known} dimensions, not {dim}")

    def encoders(self) -> list[dict[str, Any]]:
        """All encoders, each as a mapping with the names of the columns."""
        with self.database.reading() as connection:
            return [dict(row) for row in connection.execute(select(encoders).order_by(encoders.c.added_at)).mappings()]

    def current_encoder(self, *, connection: Connection | None = None) -> dict[str, Any] | None:
        """The encoder whose vectors are searched, with the names of the columns; None for a catalog without vectors."""
        query = select(encoders).where(encoders.c.role == "current")
        if connection is not None:  # nobody may promote another one before that transaction ends
            query = query.with_for_update(read=True)
        with self._reading(connection) as active:
            row = active.execute(query).mappings().first()
        return None if row is None else dict(row)

    def set_roles(self, roles: Mapping[str, str], *, connection: Connection | None = None) -> None:
        """Give encoders new roles all at once, as when one takes the other's place."""
        with self.writing(connection) as active:
            for role in ("retired", *roles.values()):  # first away from `current`, of which there is one
                for fingerprint in [f for f, new in roles.items() if role in ("retired", new)]:
                    active.execute(update(encoders).where(encoders.c.fingerprint == fingerprint).values(role=role))
