"""Writes: numbered by one, durable before they are acknowledged, applied once; replicas follow, and prove it."""

import numpy as np
import pytest

from annlab import ExactIndex
from annlab.durable import CorruptLogError
from annlab.sharded import ConflictError, MissingShardError, ShardedIndex, UnacknowledgedError
from annlab.sharded.electing import elect
from annlab.sharded.manifest import Manifests
from annlab.sharded.store import FolderStore

DIM = 3


def rows_of(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)


def nodes(index):
    return index._engine.world.nodes


@pytest.fixture(params=["memory", "folder"])
def path(request, tmp_path):
    return None if request.param == "memory" else tmp_path / "index"


def test_a_retry_is_answered_and_not_done_again(path):
    with ShardedIndex(ExactIndex(dim=DIM), 3, 2, path=path) as index:
        rows = rows_of(20)
        for _ in range(2):
            index.add(rows, np.arange(20), op_id="first")
        assert len(index) == 20
        assert index.remove([1, 2, 3], op_id="second") == index.remove([1, 2, 3], op_id="second") == 3
        index.add(rows[:3], [1, 2, 3])
        assert index.remove([1, 2, 3], op_id="second") == 3 and len(index) == 20
        with pytest.raises(ValueError, match="op_id 'first' has named another write before"):
            index.add(rows[::-1].copy(), np.arange(20), on_duplicate="replace", op_id="first")
        with pytest.raises(ValueError, match="op_id needs ids"):
            index.add(rows, op_id="third")


def test_what_is_refused_changes_no_shard(path):
    with ShardedIndex(ExactIndex(dim=DIM), 4, path=path) as index:
        index.add(rows_of(20), np.arange(20))
        before = index.verify()
        with pytest.raises(ValueError, match="id 19 is already in the index"):
            index.add(rows_of(20), np.arange(19, 39))
        with pytest.raises(KeyError, match="id 99 is not in the index"):
            index.remove([0, 1, 2, 3, 4, 99])
        with pytest.raises(KeyError, match="id 99 is not in the index"):
            index.update([0, 1, 2, 3, 4, 99], rows_of(6))
        with pytest.raises(KeyError, match="id 99 is not in the index"):
            index.vectors([99])
        assert index.verify() == before


def test_a_log_holds_what_is_acknowledged_and_a_start_finds_it(tmp_path):
    path = tmp_path / "index"
    with ShardedIndex(ExactIndex(dim=DIM), 2, 2, path=path, snapshot_after=5) as index:
        for i in range(13):
            index.add(rows_of(4, i), np.arange(4) + 4 * i, op_id=f"write {i}", attributes={"colour": ["red"] * 4})
        index.fit(rows_of(30), attributes={"colour": ["blue"] * 30})
        index.remove([0, 1])
        index.compact()
        hashes, found = index.verify(), index.search(rows_of(5), 6)
    with ShardedIndex(None, path=path, snapshot_after=5) as index:
        assert index.verify() == hashes and index.n_shards == 2
        np.testing.assert_array_equal(index.search(rows_of(5), 6).ids, found.ids)
        index.add(
            rows_of(4, 3), np.arange(4) + 12, op_id="write 3", attributes={"colour": ["red"] * 4}
        )  # a retry, though the log was cut
        assert len(index) == 28
    with pytest.raises(ValueError, match="shards are ExactIndex, not KDTreeIndex"):
        from annlab import KDTreeIndex

        ShardedIndex(KDTreeIndex(), path=path)


def test_a_replica_that_lost_its_disk_is_brought_up_from_the_snapshot(tmp_path):
    import shutil

    path = tmp_path / "index"
    with ShardedIndex(ExactIndex(dim=DIM), 1, 3, path=path, snapshot_after=5) as index:
        for i in range(23):
            index.add(rows_of(4, i), np.arange(4) + 4 * i, op_id=f"write {i}")
    shutil.rmtree(path / "replicas" / "0-2")
    with ShardedIndex(None, path=path, snapshot_after=5) as index:
        index.add(rows_of(1), [1000])
        index.verify()
        lost = nodes(index)["0-2"]
        assert lost.applied == nodes(index)["0-0"].applied and len(lost.visible) == 93
        assert lost.journal.answered("write 0") is not None


def test_a_replica_that_begins_again_answers_nothing_until_it_knows_what_is_acknowledged(tmp_path):
    path = tmp_path / "index"
    with ShardedIndex(ExactIndex(dim=DIM), 1, 2, path=path) as index:
        index.add(rows_of(5), np.arange(5))
    with ShardedIndex(None, path=path, timeout=0.3) as index:
        nodes(index)["0-1"]._current = False
        writer = nodes(index).pop("0-0")
        with pytest.raises(MissingShardError):
            index.search(rows_of(1), 1, at_least={})
        nodes(index)["0-0"] = writer
        for _ in range(4):
            assert len(index) == 5


def test_a_damaged_log_is_named(tmp_path):
    import sqlite3

    path = tmp_path / "index"
    with ShardedIndex(ExactIndex(dim=DIM), 1, 1, path=path) as index:
        index.add(rows_of(4))
    with sqlite3.connect(path / "replicas" / "0-0" / "log.db") as database:
        database.execute("UPDATE annlab_log SET rows = zeroblob(48) WHERE seq = 2")
    with pytest.raises(CorruptLogError, match="operation 2"):
        ShardedIndex(None, path=path)


@pytest.mark.parametrize(("ack", "alone", "both"), [("one", True, True), ("majority", False, True)])
def test_as_many_logs_as_were_asked_for_hold_a_write(ack, alone, both):
    index = ShardedIndex(ExactIndex(dim=DIM), 1, 3, ack=ack, timeout=0.2)
    gone = {name: nodes(index).pop(name) for name in ("0-1", "0-2")}

    def adds(id, **how):
        try:
            index.add(rows_of(1), [id], op_id=str(id), **how)
        except UnacknowledgedError as error:
            assert "of 3 logs hold the write" in str(error) or "not acknowledged" in str(error)
            return False
        return True

    assert adds(1) == alone
    nodes(index)["0-1"] = gone["0-1"]
    assert adds(2) == both
    assert not adds(3, ack="all")
    nodes(index)["0-2"] = gone["0-2"]
    assert adds(3, ack="all") and adds(1)
    assert set(index.ids.tolist()) == {1, 2, 3}
    index.verify()


def test_another_writer_takes_over_and_the_old_one_is_refused():
    index = ShardedIndex(ExactIndex(dim=DIM), 1, 3, timeout=1.0)
    index.add(rows_of(5), np.arange(5))
    old = nodes(index).pop("0-0")
    index.add(rows_of(1), [10])  # finds another writer by itself
    assert index._client.manifest(anew=True).shards[0].writer != "0-0"
    nodes(index)["0-0"] = old
    assert old.leading == 1, "it has heard of nothing"
    change = _change(99)
    with pytest.raises((UnacknowledgedError, RuntimeError), match="replaced as the writer"):
        index._engine.run(old.write(change, "one", 0.1))
    index.add(rows_of(1), [11], ack="all")
    assert set(index.ids.tolist()) == {0, 1, 2, 3, 4, 10, 11}
    index.verify()
    assert old.applied == 5 and 99 not in old.visible


def _change(id):
    from annlab.sharded.replica import Change

    return Change("add", np.array([id]), rows_of(1), {}, {"on_duplicate": "raise"}, f"op {id}", "digest")


def test_reads_are_never_older_than_their_token():
    index = ShardedIndex(ExactIndex(dim=DIM), 2, 2, ack="one", timeout=0.3)
    index.add(rows_of(6), np.arange(6))
    behind = {name: nodes(index).pop(name) for name in ("0-1", "1-1")}
    index.add(rows_of(6), np.arange(6) + 6)
    token = index.token
    nodes(index).update(behind)
    writers = {name: nodes(index).pop(name) for name in ("0-0", "1-0")}
    with pytest.raises(MissingShardError, match=r"shard 0 \(0-0, 0-1\) did not answer within 0.3 s .*the token asks"):
        index.search(rows_of(1), 1, at_least=token)
    assert (index.search(rows_of(1), 12, at_least={}).ids < 6).all(), "who asks for nothing newer gets what there is"
    nodes(index).update(writers)
    for _ in range(4):
        assert len(index) == 12
    assert len(behind["0-1"].visible) == len(writers["0-0"].visible), "who finds itself behind asks the writer"


def test_a_missing_shard_is_named_and_partial_answers_say_so():
    index = ShardedIndex(ExactIndex(dim=DIM), 3, 2, timeout=0.2)
    index.add(rows_of(30), np.arange(30))
    whole = index.search(rows_of(2), 30)
    answer = index.search(rows_of(2), 30, partial=True)
    assert answer.missing == {} and (answer.ids == whole.ids).all()
    gone = nodes(index)["1-0"].visible.ids
    del nodes(index)["1-0"], nodes(index)["1-1"]
    with pytest.raises(MissingShardError, match=r"shard 1 \(1-0, 1-1\)"):
        index.search(rows_of(2), 30)
    index._facts = None  # as somebody who comes now
    answer = index.search(rows_of(2), 30, partial=True)
    assert list(answer.missing) == ["1"]
    for row, all_of_them in zip(answer.ids, whole.ids):
        kept = all_of_them[~np.isin(all_of_them, gone)]
        np.testing.assert_array_equal(row[: len(kept)], kept)
        assert (row[len(kept) :] == -1).all()


def test_of_two_who_change_the_manifest_one_succeeds(tmp_path):
    with ShardedIndex(ExactIndex(dim=DIM), 1, 2, path=tmp_path / "index") as index:
        manifests = Manifests(FolderStore(tmp_path / "index"))
        now = manifests.current()
        manifests.publish(now.with_writer("0", "0-1", 2))
        with pytest.raises(ConflictError, match="version 2"):
            manifests.publish(now.with_writer("0", "0-0", 2))
        assert manifests.current().shards[0].writer == "0-1"
        assert index._engine.run(elect(index._engine.world, manifests, "0"))
        index.add(rows_of(2))
        index.verify()
    (tmp_path / "index" / "manifest-000000000004").write_bytes(b'{"manifest": "{}", "sha256": ""}')
    with pytest.raises(ValueError, match="manifest-000000000004 is damaged"):
        ShardedIndex(None, path=tmp_path / "index")
