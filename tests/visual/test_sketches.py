"""The search among sketches, compared with plain distances; replacing, removing, and what it takes."""

import numpy as np
import pytest

from annlab.visual import sketches
from annlab.visual.pictures import SCALE, SKETCH_DIM, quantized
from annlab.visual.sketches import Sketches, distances


def random_sketches(rng, n, spread=1.0):
    rows = rng.normal(size=SKETCH_DIM) + spread * rng.normal(size=(n, SKETCH_DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def expected(known, query, k, within):
    """What `near` should answer, number by number."""
    whole = quantized(query).astype(int)
    found = sorted((sum((quantized(one).astype(int) - whole) ** 2), id) for id, one in known.items())
    return [(square**0.5 / SCALE, id) for square, id in found if square <= (within * SCALE) ** 2][:k]


@pytest.mark.parametrize(("spread", "within"), [(0.3, 0.65), (1.0, 0.65), (1.0, 2.0)])
def test_the_nearest_are_found_whatever_was_replaced_and_removed(monkeypatch, spread, within):
    monkeypatch.setattr(sketches, "_ROWS", 16)  # several blocks
    rng = np.random.default_rng(0)
    rows = random_sketches(rng, 100, spread)
    same, known = Sketches(), {}
    for step in range(60):
        ids = rng.choice(80, 4, replace=False).tolist()
        if step % 3 == 2:
            same.remove([*ids, 1000])
            known = {id: row for id, row in known.items() if id not in ids}
        else:
            new = {id: rows[rng.integers(100)] for id in ids}  # some are the same: then the smaller id is first
            same.add(new)
            known |= new
        assert len(same) == len(known)
        queries = rows[rng.integers(100, size=3)]
        for query, found in zip(queries, same.near(queries, 3, within), strict=True):
            wanted = expected(known, query, 3, within)
            assert [id for _, id in found] == [id for _, id in wanted]
            assert [apart for apart, _ in found] == pytest.approx([apart for apart, _ in wanted])


def test_distances_are_those_that_near_measures():
    rows = random_sketches(np.random.default_rng(1), 20)
    same = Sketches()
    same.add(dict(enumerate(rows)))
    table = distances(rows)
    for place, found in enumerate(same.near(rows, 20, 2.0)):
        assert found == sorted((apart, id) for id, apart in enumerate(table[place].tolist()))


def test_a_flat_picture_has_a_sketch_of_zeros_and_free_places_are_none():
    same = Sketches()
    same.add({5: np.zeros(SKETCH_DIM, np.float32)})
    assert same.near(np.zeros((1, SKETCH_DIM), np.float32), 3, 0.65) == [[(0.0, 5)]]
    same.remove([5])
    assert same.near(np.zeros((1, SKETCH_DIM), np.float32), 3, 0.65) == [[]]
    assert Sketches().near(np.zeros((2, SKETCH_DIM), np.float32), 3, 0.65) == [[], []]
    assert len(same) == len(Sketches()) == 0


def test_places_are_used_again():
    rows, same = random_sketches(np.random.default_rng(2), 64), Sketches()
    for _ in range(100):
        same.add(dict(enumerate(rows)))
    assert len(same._blocks) == 1 and len(same) == 64
