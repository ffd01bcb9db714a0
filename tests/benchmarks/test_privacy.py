"""What is said of two questions' times."""

import numpy as np
import pytest

pytest.importorskip("scipy")
from benchmarks.privacy import compared, timed


def test_what_takes_longer_is_told_from_what_does_not():
    noise = np.random.default_rng(0).standard_normal((3, 400))
    same, other = compared(5 + noise[0], 5 + noise[1]), compared(5.5 + noise[0], 5 + noise[1])
    assert same["low"] < 0.5 < same["high"] and 0.5 < other["low"] < other["longer"] < other["high"]
    assert compared(5 + noise[1], 5.5 + noise[0])["longer"] == pytest.approx(1 - other["longer"], abs=0.002)


def test_both_are_asked_equally_often_and_in_turn():
    asked = []
    first, second = timed(lambda: asked.append(0), lambda: asked.append(1), 40)
    assert len(first) == len(second) == 40 and (first > 0).all() and (second > 0).all()
    pairs = np.array(asked).reshape(-1, 2)
    assert (pairs.sum(axis=1) == 1).all() and 0 < pairs[:, 0].mean() < 1
