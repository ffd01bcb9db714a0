"""Numbers that a database is asked for often, by a connection that is kept for them."""

import os

import pytest
from sqlalchemy import text

from annlab.durable import StorageError
from annlab.durable.database import Database

COUNT = "SELECT count(*) FROM t"


def test_a_number_is_that_of_this_moment_and_keeps_nobody_waiting(tmp_path):
    path = tmp_path / "numbers.db"
    database, other = Database.open(path), Database.open(path)
    assert database.number("SELECT NULL") is None
    with other.writing() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    for count in range(3):
        assert database.number(COUNT) == count
        with other.writing() as connection:
            connection.execute(text("INSERT INTO t VALUES (1)"))
            assert database.number(COUNT) == count  # not committed yet
    with other.writing() as connection:
        connection.execute(text("DROP TABLE t"))
    with pytest.raises(StorageError):
        database.number(COUNT)
    assert database.number("SELECT 7") == 7
    with database.reading() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
        connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar()
        with other.writing() as writing:
            writing.execute(text("CREATE TABLE u (y INTEGER)"))
        other.shrink(wait=False)  # somebody reads: it is left to the next time
        assert os.path.getsize(f"{path}-wal") > 0
    other.shrink(wait=True)
    assert os.path.getsize(f"{path}-wal") == 0  # no transaction of the kept connection is in the way
    database.close()
    other.close()
    assert not os.path.exists(f"{path}-wal")  # the last connection has gone
    assert database.number("SELECT 8") == 8  # a database that is used again opens again
    database.close()
