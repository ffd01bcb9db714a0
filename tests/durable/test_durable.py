"""An index whose acknowledged writes survive: what it holds, and that its state follows from snapshot and log."""

import threading

import numpy as np
import pytest

from annlab import ExactIndex, IVFIndex, KDTreeIndex, LSHIndex, col
from annlab.durable import Database, DurableIndex, InUseError, transaction
from tests.durable.helpers import DIM, assert_holds, random_write, vectors_of

KINDS = [
    pytest.param(ExactIndex, {}, id="exact"),
    pytest.param(KDTreeIndex, {}, id="kdtree"),
    pytest.param(LSHIndex, {"mode": "scan"}, id="lsh"),
    pytest.param(IVFIndex, {"n_lists": 8}, id="ivf"),
    pytest.param(IVFIndex, {"n_lists": 8, "storage": "pq4"}, id="ivf-pq4"),
]


@pytest.fixture
def empty():
    return ExactIndex(dim=DIM)


@pytest.mark.parametrize("make, parameters", KINDS)
def test_state_follows_from_snapshot_and_log(make, parameters, tmp_path):
    """One index is opened anew and written to snapshots now and then, the other never: they are equal bit by bit."""
    rng, model = np.random.default_rng(1), {}
    start = vectors_of(rng, 300)
    straight = DurableIndex(make(dim=DIM, **parameters), tmp_path / "straight", snapshot_after=None)
    broken = DurableIndex(make(dim=DIM, **parameters), tmp_path / "broken", snapshot_after=None)
    for index in (straight, broken):
        index.fit(start)
    model.update(enumerate(start))
    for step in range(24):
        seed = int(rng.integers(2**31))
        before = dict(model)
        for index, held in ((straight, model), (broken, before)):
            random_write(index, held, np.random.default_rng(seed), op_id=f"step {step}")
            if step in (5, 15):
                index.add(np.random.default_rng(step).standard_normal((1200, DIM)), np.arange(1000, 2200) * (step + 1))
            if step in (7, 18):
                index.compact()
        for factor in (6, 16):
            if step == factor - 1:
                more = np.random.default_rng(step).standard_normal((1200, DIM)).astype(np.float32)
                model.update(zip((np.arange(1000, 2200) * factor).tolist(), more))
        if step % 5 == 4:
            broken.snapshot()
        if step % 3 == 2:
            broken.close()
            broken = DurableIndex(None, tmp_path / "broken", snapshot_after=None)
        assert straight.state_hash() == broken.state_hash(), step
    assert_holds(broken, model)
    query = start[:3]
    np.testing.assert_array_equal(straight.search(query, 5).ids, broken.search(query, 5).ids)
    straight.close()
    broken.close()


def test_writes_during_a_rebuild_are_replayed_in_the_same_place(empty, tmp_path, monkeypatch):
    rng = np.random.default_rng(2)
    with DurableIndex(empty, tmp_path, snapshot_after=None) as index:
        index.add(vectors_of(rng, 50))
        compact = ExactIndex.compact

        def slow(self, **options):
            monkeypatch.setattr(ExactIndex, "compact", compact)

            def write():
                index.remove([3])
                index.add(vectors_of(rng, 100))
                index.remove([60])

            writer = threading.Thread(target=write)  # it does not wait for the rebuild
            writer.start()
            writer.join(20)
            assert not writer.is_alive()
            assert 60 not in index and len(index) == 148, "searches see what was written meanwhile"
            compact(self, **options)

        monkeypatch.setattr(ExactIndex, "compact", slow)
        index.compact()
        assert len(index) == 148
        expected, ids = index.state_hash(), index.ids
    with DurableIndex(None, tmp_path) as index:
        assert index.state_hash() == expected
        np.testing.assert_array_equal(index.ids, ids)


def test_a_rebuild_that_fails_changes_nothing(empty, tmp_path, monkeypatch):
    with DurableIndex(empty, tmp_path) as index:
        index.add(np.eye(DIM))
        monkeypatch.setattr(ExactIndex, "compact", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            index.compact()
        monkeypatch.undo()
        index.add(np.eye(DIM))
        expected = index.state_hash()
    with DurableIndex(None, tmp_path) as index:
        assert index.state_hash() == expected and len(index) == 2 * DIM
        index.compact()


@pytest.mark.parametrize("cut", [False, True])
def test_a_retried_write_is_done_once(cut, empty, tmp_path):
    rows = np.eye(DIM)
    with DurableIndex(empty, tmp_path) as index:
        first = index.add(rows, op_id="add")
        index.update([0], 2 * rows[:1], op_id="update")
        assert index.remove([1, 99], "ignore", op_id="remove") == 1
        if cut:
            index.snapshot()
    with DurableIndex(None, tmp_path) as index:
        seq = index.seq
        np.testing.assert_array_equal(index.add(rows, op_id="add"), first)
        index.update([0], 2 * rows[:1], op_id="update")
        assert index.remove([1, 99], "ignore", op_id="remove") == 1
        assert index.seq == seq and len(index) == DIM - 1
        with pytest.raises(ValueError, match="'add' has named another write"):
            index.add(rows[:2], op_id="add")
        with pytest.raises(ValueError, match="op_id must be a string"):
            index.add(rows, op_id=7)


def test_attributes_and_element_types_come_back(tmp_path):
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((20, DIM))
    with DurableIndex(ExactIndex(), tmp_path) as index:
        index.add(rows, attributes={"owner": np.arange(20) % 3, "score": rng.random(20), "private": np.arange(20) > 9})
        index.update([4], rows[:1])
        expected = index.state_hash()
    with DurableIndex(ExactIndex(), tmp_path) as index:
        assert index.state_hash() == expected
        assert index.vectors().dtype == np.float64
        assert set(index.search(rows[0], 20, where=col("owner") == 2).ids.tolist()) <= {-1, *range(2, 20, 3)}


def test_strings_missing_values_and_set_attributes_go_through_the_log(tmp_path):
    rows = np.eye(DIM)
    brands, sizes = ["acme", "other", None, "acme", "très", ""], [1, None, 3, 4, None, 6]
    with DurableIndex(ExactIndex(), tmp_path) as index:
        index.add(rows, attributes={"brand": brands, "size": sizes})
        index.update([4], rows[:1])
        index.set_attributes({"brand": ["new", None], "sold": [True, False]}, ids=[1, 0], op_id="once")
        index.set_attributes({"brand": ["new", None], "sold": [True, False]}, ids=[1, 0], op_id="once")
        index.set_attributes({"price": np.arange(DIM) / 2})
        with pytest.raises(ValueError, match="already in the index"):  # its strings must leave no trace
            index.add(rows[:1], [0], attributes={"brand": ["unseen"], "size": [1], "sold": [True], "price": [1.0]})
        with pytest.raises(KeyError):
            index.set_attributes({"brand": ["lost"]}, ids=[99])
        with pytest.raises(ValueError, match="needs ids"):
            index.set_attributes({"brand": brands}, op_id="again")
        index.add(rows[:1], [7], attributes={"brand": ["late"], "size": [1], "sold": [None], "price": [None]})
        expected, seq = index.state_hash(), index.seq
        assert seq == 5
    for snapshot in (False, True):
        with DurableIndex(None, tmp_path) as index:
            assert (index.seq, index.state_hash()) == (seq, expected)
            found = index.attributes()
            assert found["brand"].tolist() == [None, "new", None, "acme", "très", "", "late"]
            assert found["size"].tolist() == [1, None, 3, 4, None, 6, 1]
            assert found["sold"].tolist() == [False, True, None, None, None, None, None]
            np.testing.assert_array_equal(found["price"], [0, 0.5, 1, 1.5, 2, 2.5, np.nan])
            assert index.select(col("brand") == "acme").tolist() == [3]
            if not snapshot:
                index.snapshot()


def test_a_bad_write_changes_nothing_and_logs_nothing(empty, tmp_path):
    with DurableIndex(empty, tmp_path) as index:
        index.add(np.eye(DIM))
        seq, state = index.seq, index.state_hash()
        for bad in (
            lambda: index.add(np.eye(DIM), np.arange(DIM)),
            lambda: index.add(np.full((1, DIM), np.nan)),
            lambda: index.add(np.eye(DIM + 1)),
            lambda: index.add(np.eye(DIM), attributes={"owner": [b"a"] * DIM}),
            lambda: index.add(np.eye(DIM), on_duplicate="maybe"),
        ):
            with pytest.raises((ValueError, TypeError)):
                bad()
        for bad in (lambda: index.update([77], np.eye(DIM)[:1]), lambda: index.remove([77])):
            with pytest.raises(KeyError):
                bad()
        assert index.remove([77], missing="ignore") == 0
        assert len(index.add(np.empty((0, DIM)))) == 0
        assert (index.seq, index.state_hash()) == (seq, state)


def test_a_transaction_holds_rows_and_vectors_or_neither(empty, tmp_path):
    from sqlalchemy import text

    rows = np.eye(DIM)
    with DurableIndex(empty, tmp_path) as index:
        with index.transaction() as writes:
            writes.connection.execute(text("CREATE TABLE photos (id INTEGER)"))
        with pytest.raises(ZeroDivisionError), index.transaction() as writes:
            writes.connection.execute(text("INSERT INTO photos VALUES (1)"))
            writes.add(np.eye(DIM), op_id="x")
            raise ZeroDivisionError
        assert len(index) == 0 and index.seq == 0
        with index.transaction() as writes:
            writes.connection.execute(text("INSERT INTO photos VALUES (2)"))
            writes.add(np.eye(DIM), op_id="x")
            assert len(index) == 0, "nothing is seen before the commit"
            with pytest.raises(ValueError, match="already"):
                writes.add(np.eye(DIM), [0, 1, 2, 3, 4, 5])  # writes of one transaction see each other
            writes.remove([0])
            for forbidden in (index.snapshot, index.compact, lambda: index.fit(rows), lambda: index.add(rows)):
                with pytest.raises(RuntimeError, match="transaction"):
                    forbidden()
        assert index.ids.tolist() == [1, 2, 3, 4, 5]
        with index.database.reading() as connection:
            assert connection.scalars(text("SELECT id FROM photos")).all() == [2]


def test_two_indexes_in_one_database_commit_together(tmp_path):
    database = Database.open(tmp_path / "shared.db")
    old = DurableIndex(ExactIndex(dim=2), tmp_path, database=database, name="old")
    new = DurableIndex(ExactIndex(dim=3), tmp_path, database=database, name="new")
    with transaction(new, old) as (to_new, to_old):
        assert to_new.connection is to_old.connection
        to_old.add(np.eye(2), [1, 2])
        to_new.add(np.eye(3)[:2], [1, 2])
    with pytest.raises(ValueError, match="3 dimensions"), transaction(old, new) as (to_old, to_new):
        to_new.add(np.eye(3)[2:], [3])
        to_old.add(np.eye(3)[2:], [3])
    assert old.ids.tolist() == new.ids.tolist() == [1, 2]
    with pytest.raises(ValueError, match="each once"), transaction(old, old):
        pass
    with pytest.raises(InUseError, match="in use by this process"):
        DurableIndex(None, tmp_path / "elsewhere", database=database, name="old")
    for index in (old, new):
        index.snapshot()
        index.close()
    with DurableIndex(None, tmp_path, database=database, name="new") as new:
        assert new.dim == 3 and len(new) == 2
    database.close()


def test_what_was_committed_but_not_published_is_found_again(empty, tmp_path, monkeypatch):
    """As when Ctrl-C falls between the commit and the publication."""
    with DurableIndex(empty, tmp_path) as index:
        index.add(np.eye(DIM))

        def interrupted(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(index, "_publish", interrupted)
            with pytest.raises(KeyboardInterrupt):
                index.add(np.eye(DIM))
        index.remove([11])
        assert len(index) == 2 * DIM - 1
        expected = index.state_hash()
    with DurableIndex(None, tmp_path) as index:
        assert index.state_hash() == expected


def test_content_that_exists_is_taken_over_and_never_mixed(empty, tmp_path):
    filled = ExactIndex(metric="cosine").fit(np.eye(DIM))
    with DurableIndex(filled, tmp_path) as index:
        index.remove([0])
    assert len(filled) == DIM, "the index that was given is not written to"
    with DurableIndex(ExactIndex(metric="cosine", dim=DIM), tmp_path) as index:
        assert len(index) == DIM - 1
    for wrong, message in (
        (filled, "holds 6 vectors"),
        (ExactIndex(dim=DIM), "metric='cosine', not 'l2'"),
        (ExactIndex(metric="cosine", dim=4), "dim"),
        (LSHIndex(metric="cosine"), "stored as ExactIndex, not LSHIndex"),
    ):
        with pytest.raises(ValueError, match=message):
            DurableIndex(wrong, tmp_path)
    with pytest.raises(FileNotFoundError, match="no such index"):
        DurableIndex(None, tmp_path / "other")


def test_the_log_is_cut_in_the_background(empty, tmp_path):
    rng, model = np.random.default_rng(4), {}
    with DurableIndex(empty, tmp_path, snapshot_after=5) as index:
        for _ in range(17):
            random_write(index, model, rng)
        index.close()
        assert index._head.snapshot_seq >= 5
    assert len(list(tmp_path.glob("*.annlab"))) == 1
    with DurableIndex(None, tmp_path) as index:
        assert_holds(index, model)


def test_a_closed_index_says_so(empty, tmp_path):
    index = DurableIndex(empty, tmp_path)
    index.close()
    index.close()
    with pytest.raises(InUseError, match="is closed"):
        index.add(np.eye(DIM))


def test_searches_go_on_while_others_write(empty, tmp_path):
    rng, errors = np.random.default_rng(5), []
    with DurableIndex(empty, tmp_path, snapshot_after=10) as index:
        index.add(vectors_of(rng, 200))
        done = threading.Event()

        def search():
            try:
                while not done.is_set():
                    found = index.search(np.zeros(DIM), 5)
                    assert (found.ids >= 0).all()
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=search) for _ in range(2)]
        for thread in threads:
            thread.start()
        for i in range(40):
            index.add(vectors_of(rng, 3))
            index.remove([i])
        done.set()
        for thread in threads:
            thread.join()
    assert not errors


def test_an_attribute_beyond_int64_is_refused_with_its_value(tmp_path):
    with DurableIndex(ExactIndex(dim=2), tmp_path / "index") as index:
        with pytest.raises(ValueError, match=str(2**63)):
            index.add(np.eye(2), attributes={"n": np.array([1, 2**63], np.uint64)})
        assert len(index) == 0
