"""Shards are divided while others read and write: nothing is lost, doubled, or answered otherwise."""

import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import annlab
from annlab import ExactIndex
from annlab.sharded import ShardedIndex, origins
from annlab.sharded.dividing import Divisible
from annlab.sharded.errors import ReplicasDisagreeError
from annlab.sharded.journal import SEAL
from annlab.sharded.moving import Move
from tests.contract.checks import same
from tests.sharded.moving_simulation import history
from tests.sharded.test_simulation import goes_wrong

DIM = 4


def rows_of(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)


def test_no_history_of_a_move_loses_or_doubles_a_write_or_reads_what_is_too_old(histories):
    given_up = of_parts = 0
    for seed in range(histories * 3 // 10):  # a division in each takes longer
        try:
            played = history(seed)
        except Exception as error:
            raise AssertionError(f"history({seed}): {error}") from error
        given_up += played.given_up
        of_parts += sum(len(found) == 2 for _, found in played.reads)
    assert given_up and of_parts, "some began again from other copies, and the parts were read"


def no_seal(patch):
    patch.setattr(Divisible, "_is_sealed", lambda replica: False)


def nothing_after_the_seal_is_asked_for(patch):
    bring = Move._bring

    async def to_the_copy_only(move, old, until):
        if until is None:
            await bring(move, old, until)

    async def believed(move, old, end):
        return None

    patch.setattr(Move, "_bring", to_the_copy_only)
    patch.setattr(Move, "_verify", believed)


def names_of_writes_are_forgotten(patch):
    put = origins.put_origin
    patch.setattr(origins, "put_origin", lambda store, snapshot: put(store, snapshot.__class__(
        snapshot.seq, snapshot.chain, snapshot.term, snapshot.content, {})))  # fmt: skip


@pytest.mark.parametrize(("safeguard", "first"), [(no_seal, 0), (nothing_after_the_seal_is_asked_for, 0),
                                                  (names_of_writes_are_forgotten, 105)])  # fmt: skip
def test_a_safeguard_of_a_move_that_is_taken_away_is_missed(safeguard, first, monkeypatch):
    safeguard(monkeypatch)
    assert goes_wrong(history, 300, first), f"three hundred histories do not miss it: {safeguard.__name__}"


@pytest.fixture(params=["memory", "folder"])
def path(request, tmp_path):
    return None if request.param == "memory" else tmp_path / "index"


def test_two_shards_become_four_while_others_search_and_write(path):
    rows, one = rows_of(600), ExactIndex(dim=DIM)
    with ShardedIndex(ExactIndex(dim=DIM), 2, 2, path=path, snapshot_after=20, timeout=60) as index:
        for each in (one, index):
            each.fit(rows, attributes={"owner": np.arange(600) % 3})
        index.add(rows[:9] + 5, np.arange(9) + 1000, attributes={"owner": [1] * 9}, op_id="before")
        assert index.remove([1, 2, 3, 4, 5], op_id="gone") == 5
        token, ends, wrong, done = index.token, threading.Event(), [], []

        def search():
            chance = np.random.default_rng(1)
            while not ends.is_set():
                some = chance.integers(10, 600, 5)
                if (index.search(rows[some], 1).ids[:, 0] != some).any():
                    wrong.append(some)
                time.sleep(0.001)

        def write():
            for i in range(2000, 2200):
                index.add(rows_of(1, i) + 9, [i], attributes={"owner": [i]}, op_id=str(i))
                done.append(i)
                time.sleep(0.001)
                if ends.is_set():
                    return

        with ThreadPoolExecutor(2) as pool:
            running = [pool.submit(search), pool.submit(write)]
            try:
                index.reshard(4)
            finally:
                ends.set()
            for each in running:
                each.result()
        assert not wrong and done and index.n_shards == 4
        one.add(rows[:9] + 5, np.arange(9) + 1000, attributes={"owner": [1] * 9})
        one.remove([1, 2, 3, 4, 5])
        for i in done:
            one.add(rows_of(1, i) + 9, [i], attributes={"owner": [i]})
        index.add(
            rows[:9] + 5, np.arange(9) + 1000, attributes={"owner": [1] * 9}, op_id="before"
        )  # retries, which the new shards know
        assert index.remove([1, 2, 3, 4, 5], op_id="gone") == 5
        index.verify()
        queries = rows_of(20, 7)
        for options in ({}, {"at_least": token}, {"where": annlab.col("owner") == 1}):
            expected = {name: value for name, value in options.items() if name != "at_least"}
            same(one.search(queries, 9, **expected), index.search(queries, 9, **options))
        index.reshard(8)  # and the new ones are divided in turn
        assert index.remove([1, 2, 3, 4, 5], op_id="gone") == 5
        same(one.search(queries, 9), index.search(queries, 9, at_least=token))
        assert set(index._engine.world.nodes) == {n for e in index._manifest.shards for n in e.replicas}
    if path is not None:
        with ShardedIndex(None, path=path) as index:
            assert index.n_shards == 8
            same(one.search(queries, 9), index.search(queries, 9))


def test_what_is_written_while_the_copies_are_made_is_passed_on_whatever_it_is(monkeypatch):
    one, index = ExactIndex(dim=DIM), ShardedIndex(ExactIndex(dim=DIM), 2, 2)
    begun = {"attributes": {"colour": ["red", "blue"] * 25}}
    index.fit(rows_of(50), **begun)
    follow = Move.follow

    def write(each):
        each.add(rows_of(20, 1), np.arange(20) + 100, attributes={"colour": ["red", None] * 10})
        each.fit(rows_of(60, 2), np.arange(60) * 2, attributes={"owner": np.arange(60.0)})
        each.update([0, 2], rows_of(2, 3))
        each.set_attributes({"owner": [7, 8], "name": ["a", "b"]}, [4, 6])
        each.remove([8, 10, 12])
        each.compact()
        each.add(rows_of(3, 4), [1, 3, 5], attributes={"owner": [0.5, 1, 2], "name": ["c", None, "d"]})

    async def later(move):
        write(index)
        await follow(move)

    monkeypatch.setattr(Move, "follow", later)
    index.reshard(6)
    one.fit(rows_of(50), **begun)
    write(one)
    index.verify()
    np.testing.assert_array_equal(index.ids, one.ids)
    np.testing.assert_array_equal(index.vectors(), one.vectors())
    for name, values in one.attributes().items():
        np.testing.assert_array_equal(index.attributes()[name], values)


def test_what_was_learned_moves_along():
    rows = rows_of(2000)
    index = ShardedIndex(annlab.IVFIndex(n_lists=20), 1).fit(rows)
    before = index.search(rows[:50], 5, n_probes=20)
    centroids = index._engine.world.nodes["0-0"].visible._state.structure.centroids.array
    index.reshard(2)
    for replica in index._engine.world.nodes.values():
        np.testing.assert_array_equal(replica.visible._state.structure.centroids.array, centroids)
    same(before, index.search(rows[:50], 5, n_probes=20))


def test_a_move_that_was_interrupted_is_carried_on_by_another_process(tmp_path, monkeypatch):
    rows = rows_of(100)
    with ShardedIndex(ExactIndex(dim=DIM), 2, path=tmp_path / "index") as index:
        index.add(rows, np.arange(100))
        with monkeypatch.context() as patch:
            patch.setattr(Move, "_verify", None)  # fails after the seal
            with pytest.raises(TypeError):
                index.reshard(4)
        assert len(index.search(rows[0], 100).ids) == 100, "searches go on"
        with pytest.raises(annlab.sharded.UnacknowledgedError, match="is being divided and takes no writes"):
            index.add(rows[:1], [100], timeout=0.2)
    with ShardedIndex(None, path=tmp_path / "index") as index:
        with pytest.raises(ValueError, match="a move to 4 shards has begun"):
            index.reshard(8)
        index.reshard(4)
        index.add(rows[:1], [100])
        assert index.n_shards == 4 and len(index) == 101


def test_rows_that_differ_are_not_taken_over(monkeypatch):
    index = ShardedIndex(ExactIndex(dim=DIM), 1)
    index.add(rows_of(20), np.arange(20))
    verify = Move._verify

    async def after_a_loss(move, old, end):
        index._engine.world.nodes["2.0-0"].visible.remove(index._engine.world.nodes["2.0-0"].visible.ids[:1])
        await verify(move, old, end)

    monkeypatch.setattr(Move, "_verify", after_a_loss)
    index._client.manifests.publish(index._manifest.with_writer("0", "0-0", 2))  # version 2
    index._engine.run(index._engine.world.nodes["0-0"].lead())
    with pytest.raises(ReplicasDisagreeError, match=r"rows of shard 2\.0 are not those that shard 0 holds"):
        index.reshard(2)
    assert len(index) == 20


def test_what_makes_no_sense_is_refused_and_a_damaged_copy_is_named(tmp_path):
    with ShardedIndex(ExactIndex(dim=DIM), 2, 2, path=tmp_path / "index") as index:
        for n in (1, 3):
            with pytest.raises(ValueError, match=f"2 shards are divided into a multiple of 2, not into {n}"):
                index.reshard(n)
        with pytest.raises(ValueError, match=r"annlab\.sharded: the log ends here"):
            index.add(rows_of(1), [1], op_id=SEAL)
        index.add(rows_of(30), np.arange(30))
        index.reshard(4)
        entry = index._manifest.shards[1]
    shutil.rmtree(tmp_path / "index" / "replicas" / entry.replicas[1])
    origin = tmp_path / "index" / entry.origin
    content = origin.read_bytes()
    origin.write_bytes(content[:-3])
    with pytest.raises(annlab.CorruptIndexError, match=entry.origin):
        ShardedIndex(None, path=tmp_path / "index")
    origin.write_bytes(content)
    with ShardedIndex(None, path=tmp_path / "index") as index:
        index.add(rows_of(1), [1000])
        index.verify()
        assert len(index) == 31
    assert json.loads(content.partition(b"\n")[0])["seq"] == 2
