"""The log in PostgreSQL: the same promises, kept by a server."""

import numpy as np
import pytest

from annlab import ExactIndex
from annlab.durable import CorruptLogError, Database, DurableIndex, InUseError, StorageError
from tests.durable.helpers import DIM, assert_holds, random_write
from tests.postgres import new_database
from tests.postgres import postgres as postgres  # a fixture

pytestmark = pytest.mark.slow


@pytest.fixture
def database(postgres):
    database = Database.open(new_database(postgres))
    yield database
    database.close()


def test_state_follows_from_snapshot_and_log(database, tmp_path):
    rng, model = np.random.default_rng(1), {}
    index = DurableIndex(ExactIndex(dim=DIM), tmp_path, database=database, snapshot_after=None)
    for step in range(30):
        random_write(index, model, rng, op_id=f"step {step}")
        if step % 10 == 3:
            index.compact()
        if step % 10 == 6:
            index.snapshot()
        if step % 5 == 4:
            expected = index.state_hash()
            index.close()
            index = DurableIndex(None, tmp_path, database=database, snapshot_after=None)
            assert index.state_hash() == expected
    assert_holds(index, model)
    assert index.add(np.eye(DIM)).tolist() == index.ids[-DIM:].tolist()
    index.close()


def test_one_writer_at_a_time_wherever_its_folder_is(database, tmp_path):
    with DurableIndex(ExactIndex(dim=DIM), tmp_path / "here", database=database) as index:
        index.add(np.eye(DIM))
        other = Database.open(database.engine.url.render_as_string(hide_password=False))
        with pytest.raises(InUseError, match="in use by another process"):
            DurableIndex(None, tmp_path / "there", database=other)
        index.snapshot()
    with pytest.raises(CorruptLogError, match="cannot be read"):
        DurableIndex(None, tmp_path / "there", database=other)
    with DurableIndex(None, tmp_path / "here", database=other) as index:
        assert len(index) == DIM
    other.close()


def test_a_connection_that_breaks_loses_nothing(database, tmp_path):
    with DurableIndex(ExactIndex(dim=DIM), tmp_path, database=database) as index:
        index.add(np.eye(DIM), op_id="first")
        seen = index.state_hash()
        with pytest.raises(StorageError, match="acknowledged is lost"), index.transaction() as writes:
            writes.add(np.eye(DIM), op_id="second")
            with database.reading() as killer:
                killer.exec_driver_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'idle "
                                       "in%%' AND pid <> pg_backend_pid()")  # fmt: skip
        assert index.state_hash() == seen
        index.add(np.eye(DIM), op_id="second")
        index.add(np.eye(DIM), op_id="second")
        assert len(index) == 2 * DIM


def test_a_change_of_the_log_is_named(database, tmp_path):
    with DurableIndex(ExactIndex(dim=DIM), tmp_path, database=database) as index:
        index.add(np.eye(DIM))
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE annlab_log SET rows = set_byte(rows, 5, 99)")
    with pytest.raises(CorruptLogError, match="operation 1"):
        DurableIndex(None, tmp_path, database=database)
