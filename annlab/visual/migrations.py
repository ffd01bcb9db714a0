"""A catalog that an earlier version of the tables wrote is brought up to date when it is opened, in one transaction.

Each step says from which version it leads to the next, and uses plain SQL: tables as they were then, not as they are
now. `schema.VERSION` is the version after the last step.
"""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, insert, inspect, select, update

from annlab.visual import schema


def _several_encoders(connection: Connection) -> None:
    """From 1 to 2: each encoder has an index of its own, and images have vectors of several."""
    connection.exec_driver_sql(
        "ALTER TABLE encoders ADD COLUMN index_name TEXT CONSTRAINT encoders_index_name_not_empty "
        "CHECK (index_name <> '')"
    )
    connection.exec_driver_sql(
        "CREATE TABLE embedded (encoder TEXT NOT NULL REFERENCES encoders (fingerprint), "
        "image_id BIGINT NOT NULL REFERENCES images (id), content_hash TEXT, owner_id BIGINT, "
        "private BOOLEAN NOT NULL, reason TEXT CONSTRAINT embedded_reason_not_empty CHECK (reason <> ''), "
        "CONSTRAINT embedded_key PRIMARY KEY (encoder, image_id))"
    )


STEPS: Mapping[int, Callable[[Connection], None]] = {1: _several_encoders}
"""By the version that a step starts from. To add one: change schema.py and its VERSION, and write the step here."""


def bring_up_to_date(connection: Connection, where: str, steps: Mapping[int, Callable[[Connection], None]] = STEPS,
                     version: int = schema.VERSION) -> None:  # fmt: skip
    """Make the tables, or change those that are there step by step.

    Raises
    ------
    ValueError
        A newer annlab wrote them, or there is no step from their version.
    """
    settings = schema.settings
    mine = settings.c.name == "version"
    if not inspect(connection).has_table(settings.name):
        schema.metadata.create_all(connection)
        connection.execute(insert(settings), {"name": "version", "value": str(version)})
        return
    found = connection.scalar(select(settings.c.value).where(mine))
    if found is None or not found.isdigit():
        raise ValueError(f"{where} has tables of the names of a catalog, but is none: name another database")
    for at in range(int(found), version):
        if at not in steps:
            raise ValueError(f"{where} is a catalog of version {found}, from which no step leads to {version}")
        steps[at](connection)
    if int(found) > version:
        raise ValueError(f"{where} is a catalog of version {found}; this annlab knows up to {version}: update annlab")
    if int(found) < version:
        connection.execute(update(settings).where(mine).values(value=str(version)))
