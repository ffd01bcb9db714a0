"""The kinds of nonsense that are measured, and what is told of them."""

import numpy as np
import pytest

pytest.importorskip("PIL")
from benchmarks.nonsense import KINDS, on_black, told
from benchmarks.nonsense_words import kinds


@pytest.mark.parametrize("draw", KINDS)
def test_pictures_of_a_kind_are_drawn_by_a_seed_and_all_others(draw):
    for side in (64, 256):
        one, other = (draw(np.random.default_rng(seed), side) for seed in (1, 2))
        assert one.shape == (side, side, 3) and one.dtype == np.uint8 and one.std() > 1
        assert (one != other).any() and (one == draw(np.random.default_rng(1), side)).all()


def test_on_black_is_grey_and_on_black():
    for ground in (0, 255):
        picture = np.full((80, 80, 3), ground, np.uint8)
        picture[20:60, 20:60] = 128, 30, 200
        small = on_black(picture)
        assert small.shape == (28, 28, 1) and not small[0].any() and not small[:, -1].any() and small[14, 14] > 50


def test_what_is_refused_shows_nothing():
    given = told(np.array([0.2, 0.04, 0.1, 0.0]), np.array([True, False, False, False]))
    assert given == {"queries": 4, "refused": 0.25, "shown": 0.035, "many": 1, "by_vector": 0.085, "many_by_vector": 2}


def test_texts_of_a_kind_are_drawn_by_a_seed():
    one, again, other = (kinds(30, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == again and one.keys() == other.keys()
    for kind in ("keys", "sounds", "codes", "figures"):
        assert len(one[kind]) == 30 and one[kind] != other[kind]
        assert all(any(sign.isalnum() for sign in text) for text in one[kind])
