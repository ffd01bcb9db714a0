"""States that follow one another: columns that grow without copying, and what the next state need not count again."""

import numpy as np
import pytest

from annlab import ExactIndex, KDTreeIndex
from annlab.core.column import Column
from annlab.scan.points import Extent


def test_growing_copies_seldom_and_changes_nothing():
    column, seen = Column(np.empty((0, 2))), []
    buffers = set()
    for i in range(200):
        column = column.extended(np.full((3, 2), float(i)))
        seen.append(column)
        buffers.add(id(column._buffer))
    for i, old in enumerate(seen):
        np.testing.assert_array_equal(old.array[:, 0], np.repeat(np.arange(i + 1.0), 3))
    assert len(buffers) < 40, "room is made in proportion"


def test_two_continuations_of_one_column_do_not_meet():
    """As when a write fails after it has begun: the next one starts from the same column."""
    start = Column(np.arange(3)).extended(np.array([3]))
    one, other = start.extended(np.array([10, 11])), start.extended(np.array([20, 21]))
    assert one.array.tolist() == [0, 1, 2, 3, 10, 11]
    assert other.array.tolist() == [0, 1, 2, 3, 20, 21]
    assert one.extended(np.array([12])).array.tolist() == [0, 1, 2, 3, 10, 11, 12]


def test_what_is_carried_from_state_to_state_is_what_would_be_counted():
    rng = np.random.default_rng(0)
    index = ExactIndex(auto_compact=False).fit(rng.random((50, 2)), ids=rng.permutation(200)[:50])
    for step in range(30):
        if step % 3 == 0:
            index.remove(rng.choice(index.ids, 4, replace=False))
        elif step % 3 == 1:
            index.add(rng.random((3, 2)), ids=rng.permutation(200)[:3], on_duplicate="replace")
        else:
            index.add(rng.random((2, 2)))
        state = index._state
        assert state.n_live == np.count_nonzero(state.alive.array)
        assert state.largest_id == state.by_row.array[state.alive.array].max()


def test_a_tail_is_measured_from_its_first_row_on():
    index = ExactIndex(auto_compact=False).fit(np.eye(3))
    assert (index._state.tail_scanner.extent.center == 0).all(), "nothing lies nowhere"
    index.add(np.full((4, 3), 7.0))
    assert (index._state.tail_scanner.extent.center == 7).all()
    index.add(np.full((4, 3), 9.0))
    extent = index._state.tail_scanner.extent
    assert (extent.center == 7).all() and extent.reach == 2


def test_rows_that_are_taken_in_unasked_are_never_measured(monkeypatch):
    rng = np.random.default_rng(0)
    index = KDTreeIndex().fit(rng.random((5000, 3)))
    monkeypatch.setattr(Extent, "of", lambda *given: pytest.fail("measured"))
    for _ in range(5):
        index.add(rng.random((500, 3)))
    assert len(index._state.tail.array) == 0


def test_ids_are_not_continued_beyond_int64():
    index = ExactIndex().fit(np.eye(2), ids=[3, 2**63 - 2])
    assert index.add(np.eye(2)[:1]).tolist() == [2**63 - 1]
    with pytest.raises(ValueError, match="int64 ends there"):
        index.add(np.eye(2)[:1])
    assert len(index) == 3


def test_a_tail_that_reached_its_limit_exactly_is_taken_in_by_the_next_write():
    """Where nothing is rebuilt unasked: to try again at every write would cost more than it saves."""
    rng = np.random.default_rng(0)
    index = KDTreeIndex().fit(rng.random((100, 2)))
    index.rebuilds_itself = False
    most = index._state.structure.tail_limit({})
    index.add(rng.random((most, 2)))
    assert len(index._state.tail.array) == most
    index.add(rng.random((1, 2)))
    assert len(index._state.tail.array) == 0
