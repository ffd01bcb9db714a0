"""Ids to rows and back, through appends and removals."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from annlab.core.ids import IdMap


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 99), st.floats(0, 1)), max_size=25))
def test_finds_the_living_row_of_every_id(batches):
    ids, alive = IdMap(np.empty(0, np.int64)), np.empty(0, bool)
    for size, seed, share in batches:
        rng = np.random.default_rng(seed)
        new = rng.permutation(80)[:size]
        rows = ids.find(new, alive)
        alive[rows[rows >= 0]] = False  # replaced
        by_row = np.concatenate([ids.by_row, new])
        alive = np.concatenate([alive, np.ones(size, bool)])
        before, ids = ids, ids.extended(by_row, alive)
        assert len(before.by_row) == len(by_row) - size, "maps never change"
        alive = alive & (rng.random(len(alive)) > share / 3)
        expected = {int(number): row for row, number in enumerate(by_row) if alive[row]}
        asked = np.arange(-2, 82)
        assert ids.find(asked, alive).tolist() == [expected.get(int(number), -1) for number in asked]
        assert IdMap.of_living(by_row, alive).find(asked, alive).tolist() == ids.find(asked, alive).tolist()
        assert IdMap.of_living(by_row, alive).find(asked).tolist() == ids.find(asked, alive).tolist()
        in_order = [expected[number] for number in sorted(expected)]
        assert ids.rows_in_order(alive).tolist() == in_order
        order = rng.permutation(len(in_order))
        moved = IdMap.of_reordered(by_row[in_order], order)
        assert moved.by_row.tolist() == by_row[in_order][order].tolist()
        assert moved.find(moved.by_row, np.ones(len(order), bool)).tolist() == list(range(len(order)))


@given(st.integers(0, 9), st.integers(0, 20), st.sets(st.integers(0, 20)))
def test_ids_without_a_gap_are_found_as_others_are(first, n, dead):
    by_row, alive = np.arange(first, first + n), np.ones(n, bool)
    alive[[row for row in dead if row < n]] = False
    asked = np.arange(-2, 40)
    for gap in (0, 1):
        there = by_row + gap * (by_row > first + n // 2)
        rows = {int(id): row for row, id in enumerate(there)}
        assert IdMap(there).find(asked).tolist() == [rows.get(int(id), -1) for id in asked]
        living = {id: row for id, row in rows.items() if alive[row]}
        assert IdMap(there).find(asked, alive).tolist() == [living.get(int(id), -1) for id in asked]
        order = np.random.default_rng(n).permutation(n)  # as the rows of a tree
        moved = {id: int(np.flatnonzero(order == row)[0]) for id, row in rows.items()}
        assert IdMap.of_reordered(there, order).find(asked).tolist() == [moved.get(int(id), -1) for id in asked]


def test_many_single_additions_make_few_runs():
    ids, by_row = IdMap(np.empty(0, np.int64)), np.random.default_rng(0).permutation(3000)
    for n in range(1, 3001):
        ids = ids.extended(by_row[:n], np.ones(n, bool))
    assert len(ids._runs) <= 14
    assert (ids.find(by_row, np.ones(3000, bool)) == np.arange(3000)).all()


def test_the_largest_ids_are_found():
    largest = np.iinfo(np.int64).max
    ids = IdMap(np.array([largest, 0, largest - 1]))
    assert ids.find(np.array([largest - 1, largest, 1]), np.ones(3, bool)).tolist() == [2, 0, -1]
    assert IdMap(np.empty(0, np.int64)).find(np.array([0, largest]), np.empty(0, bool)).tolist() == [-1, -1]
