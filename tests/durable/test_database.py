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
    other.shrink()
    assert os.path.getsize(f"{path}-wal") == 0  # no transaction of the kept connection is in the way
    database.close()
    other.close()
    assert not os.path.exists(f"{path}-wal")  # the last connection has gone
    assert database.number("SELECT 8") == 8  # a database that is used again opens again
    database.close()
