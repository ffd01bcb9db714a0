"""Columns that grow without copying, and are never seen to change."""

import numpy as np

from annlab.core.column import Column


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
