"""Which images have changed: a number for every change, written by the database itself.

Whoever keeps something of the images in memory (`facts.py`) asks for what has changed since the last number it knows.
Triggers write the numbers, so no change is missed, whichever process makes it and by whichever statement, and they are
part of the same transaction. A change is noted when it concerns what searches ask for (`WATCHED`); the attempts of the
indexing pipeline, say, do not.

Only the last ones are kept. Whoever comes later reads all images again.
"""

from collections.abc import Sequence

from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, Table, func, inspect, select, text

from annlab.durable import Database

WATCHED = ("owner_id", "uploaded_at", "tags", "kind", "status", "private", "deleted", "duplicate_of")
KEPT = 100_000  # changes

_metadata = MetaData()
image_changes = Table(
    "image_changes", _metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("image_id", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)  # fmt: skip

_LAST = "SELECT max(number) FROM image_changes"  # as plain text, since every search asks

_EVENTS = {
    "insert": ("INSERT", "NEW"),
    "update": (f"UPDATE OF {', '.join(WATCHED)}", "NEW"),
    "delete": ("DELETE", "OLD"),
}
_POSTGRES_FUNCTIONS = f"""
CREATE OR REPLACE FUNCTION image_changes_in_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('image_changes'));  -- numbers are committed in their order
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION image_changes_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE noted bigint;
BEGIN
    INSERT INTO image_changes (image_id) VALUES (CASE WHEN TG_OP = 'DELETE' THEN OLD.id ELSE NEW.id END)
        RETURNING number INTO noted;
    DELETE FROM image_changes WHERE number <= noted - {KEPT};
    RETURN NULL;
END $$;
"""


def watch(connection: Connection) -> None:
    """Begin to note changes, unless that has begun already; in a transaction that writes."""
    if inspect(connection).has_table(image_changes.name):
        return
    _metadata.create_all(connection)
    sqlite = connection.dialect.name == "sqlite"
    if not sqlite:
        connection.execute(text(_POSTGRES_FUNCTIONS))
    for name, (event, row) in _EVENTS.items():
        if sqlite:
            connection.exec_driver_sql(
                f"CREATE TRIGGER image_changes_{name} AFTER {event} ON images WHEN {row}.kind = 'image' BEGIN "
                f"INSERT INTO image_changes (image_id) VALUES ({row}.id); "
                f"DELETE FROM image_changes WHERE number <= last_insert_rowid() - {KEPT}; END"
            )
        else:
            connection.execute(text(
                f"CREATE TRIGGER image_changes_{name}_in_order BEFORE {event} ON images "
                "FOR EACH STATEMENT EXECUTE FUNCTION image_changes_in_order()"))  # fmt: skip
            connection.execute(text(
                f"CREATE TRIGGER image_changes_{name} AFTER {event} ON images FOR EACH ROW "
                f"WHEN ({row}.kind = 'image') EXECUTE FUNCTION image_changes_note()"))  # fmt: skip


def last(connection: Connection) -> int:
    """The number of the last change; 0 before the first."""
    return int(connection.exec_driver_sql(_LAST).scalar() or 0)


def latest(database: Database) -> int:
    """The same, of a database as it is now."""
    return database.number(_LAST) or 0


def since(connection: Connection, number: int) -> Sequence[int] | None:
    """The images that have changed after a number, each once; None where that is too long ago to be known."""
    oldest = connection.scalar(select(func.min(image_changes.c.number)))
    if oldest is not None and oldest > number + 1:
        return None
    wanted = select(image_changes.c.image_id).where(image_changes.c.number > number).distinct()
    return [int(id) for id in connection.scalars(wanted)]
