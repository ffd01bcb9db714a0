"""Rows that take the place of those with the same key, in one statement, on either database."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def upsert(connection: Connection, table: Table, rows: Sequence[dict[str, Any]], *, replace: bool = True) -> None:
    """Insert rows that all name the same columns; where a key is taken, replace that row or leave it as it is."""
    if not rows:
        return
    kind = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = kind(table)
    keys = [column.name for column in table.primary_key]
    others = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    if replace and others:
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=others), rows)
    else:
        connection.execute(statement.on_conflict_do_nothing(index_elements=keys), rows)
