"""Rebuilds and snapshots in the background: while the old state serves, and whatever happens meanwhile."""

import threading
import time

import numpy as np
import pytest

from annlab import ExactIndex, IVFIndex
from annlab.core import collection, compaction
from annlab.durable import DurableIndex
from tests.durable.helpers import DIM, vectors_of


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """A rebuild is due after few rows."""
    monkeypatch.setattr(compaction, "SMALL_TAIL", 50)
    monkeypatch.setattr(compaction, "_FEW_DEAD", 20)


def settle(index):
    """Wait for what is done in the background."""
    if index._background is not None:
        index._background.join()


@pytest.mark.parametrize("make", [ExactIndex, IVFIndex])
def test_a_rebuild_is_done_aside_and_a_start_does_not_repeat_it(make, tmp_path):
    rng = np.random.default_rng(0)
    with DurableIndex(make(dim=DIM), tmp_path) as index:
        for _ in range(9):
            index.add(vectors_of(rng, 10))
            settle(index)
        assert index._index._state.structure is not None and index._head.snapshot_seq >= 7
        expected = index.state_hash()
    with DurableIndex(None, tmp_path) as index:
        assert index.state_hash() == expected and len(index) == 90


def test_removed_rows_are_dropped_aside(tmp_path):
    rng = np.random.default_rng(1)
    with DurableIndex(ExactIndex(dim=DIM), tmp_path) as index:
        index.add(vectors_of(rng, 100))
        settle(index)
        index.remove(np.arange(60))
        settle(index)
        assert index._index._state.n_rows == len(index) == 40


def test_the_old_state_serves_while_a_new_one_is_built(tmp_path, monkeypatch):
    compacted, began, go_on = collection.compaction.compacted, threading.Event(), threading.Event()

    def slowly(*arguments):
        began.set()
        assert go_on.wait(60)
        return compacted(*arguments)

    monkeypatch.setattr(collection.compaction, "compacted", slowly)
    rng = np.random.default_rng(2)
    rows = vectors_of(rng, 60)
    with DurableIndex(ExactIndex(dim=DIM), tmp_path) as index:
        index.add(rows)
        assert began.wait(60) and index.is_rebuilding
        more = vectors_of(rng, 5)
        index.add(more)  # acknowledged before the new state is there
        index.remove([3])
        assert index.search(more[2], k=1).ids[0] == 62 and 3 not in index
        go_on.set()
        settle(index)
        np.testing.assert_array_equal(index.vectors([0, 64]), [rows[0], more[4]])
        assert len(index) == 64 and 3 not in index and not index.is_rebuilding
        expected = index.state_hash()
    with DurableIndex(None, tmp_path) as index:
        assert index.state_hash() == expected


def test_the_hash_of_a_state_is_that_after_the_rebuild_that_writes_began(tmp_path, monkeypatch):
    compacted = collection.compaction.compacted

    def slowly(*arguments):
        time.sleep(0.3)
        return compacted(*arguments)

    monkeypatch.setattr(collection.compaction, "compacted", slowly)
    with DurableIndex(ExactIndex(dim=DIM), tmp_path) as index:
        index.add(vectors_of(np.random.default_rng(3), 60))
        assert index.is_rebuilding
        expected = index.state_hash()
        assert not index.is_rebuilding
    with DurableIndex(None, tmp_path) as index:
        assert index.state_hash() == expected


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_rebuild_that_fails_is_told_and_tried_again_later(tmp_path, monkeypatch):
    compacted, failures = collection.compaction.compacted, [1]

    def fails(*arguments):
        if failures:
            failures.pop()
            raise MemoryError("no memory")
        return compacted(*arguments)

    monkeypatch.setattr(collection.compaction, "compacted", fails)
    rng = np.random.default_rng(3)
    with DurableIndex(ExactIndex(dim=DIM), tmp_path, snapshot_after=4) as index:
        with pytest.warns(RuntimeWarning, match="not built anew, so searches are slower than they could be: no memory"):
            index.add(vectors_of(rng, 60))
            settle(index)
        assert len(index) == 60
        for _ in range(9):
            index.add(vectors_of(rng, 1))
            settle(index)
        assert index._index._state.structure is not None and not failures


def test_what_a_write_takes_in_follows_from_the_log_alone(tmp_path):
    """Nothing in the background: the tail is absorbed by writes, and a start does the same."""
    rng = np.random.default_rng(4)
    with DurableIndex(IVFIndex(dim=DIM, n_lists=4), tmp_path, snapshot_after=None) as index:
        index.add(vectors_of(rng, 120))
        index.compact()
        for step in range(40):
            index.add(vectors_of(rng, 1 + step % 9))
        expected = index.state_hash()
    for _ in range(2):
        with DurableIndex(None, tmp_path, snapshot_after=None) as index:
            assert index.state_hash() == expected
            index.snapshot()
