"""What is shared by all that measure themselves: few trials, and arrays that are believed only if they make sense."""

import numpy as np
import pytest

from annlab.core import calibration
from annlab.core.heldout import HeldOut
from annlab.distances import get_metric

NAMES = ("recall", "n_queries", "k")


def test_steps_are_tried_few_times_and_none_twice():
    tried = []

    def measure(step):
        tried.append(step)
        return min(1.0, (step + 1) / 13)

    assert calibration.first_reaching(measure, 29, 0.99) == (12, True)
    assert len(tried) == len(set(tried)) <= 9 and 12 in tried
    assert calibration.first_reaching(lambda step: 0.0, 29, 0.5) == (28, False)
    assert calibration.first_reaching(lambda step: 1.0, 1, 0.5) == (0, True)


@pytest.mark.parametrize("widest", [None, 1, 8])
def test_a_guess_changes_what_is_tried_but_not_what_is_found(widest):
    for n, enough in ((74, 40), (74, 0), (74, 73), (74, 99), (1, 0)):
        for guess in range(0, n, 3):
            tried = []

            def measure(step, tried=tried, enough=enough):
                tried.append(step)
                return float(step >= enough)

            found = calibration.first_reaching(measure, n, 0.5, guess, widest)
            assert found == (min(enough, n - 1), enough < n) and found[0] in tried
            assert len(tried) == len(set(tried)) and max(tried) <= max(guess, enough + (widest or n))
            assert len(tried) <= 2 or abs(guess - enough) > 1, "a good guess is tried, and what is beside it"


def test_trials_are_as_many_as_the_rows_are_enough_for_and_know_all_neighbours():
    vectors = np.random.default_rng(0).standard_normal((2000, 3)).astype(np.float32)
    held_out = HeldOut.of_rows(vectors, get_metric("l2"), np.arange(0, 2000, 5), 10)
    groups = np.arange(400) % 2
    found = {k: (some, own) for k, some, own in calibration.trials(held_out, 2000, 1, groups)}
    assert list(found) == [1, 10, 100]
    for k, (some, own) in found.items():
        assert some.rows.shape == (len(some.queries), k) and (some.rows >= 0).all()
        assert len(own) == len(some.queries) == len(some.chosen), "hidden rows stay known"
    assert len(found[100][1]) == 300 < len(found[10][1])
    np.testing.assert_array_equal(found[100][0].rows[:, :10], held_out.rows[:300])


def test_what_is_stored_is_read_again_and_checked():
    each = [calibration.Promise(target=0.9, recall=0.95, bound=0.93, n_queries=40, k=k) for k in (1, 10)]
    stored = calibration.to_array(each, NAMES)
    assert calibration.from_array(stored, NAMES) == [{"recall": 0.95, "n_queries": 40, "k": k} for k in (1, 10)]
    assert calibration.nearest_to_ten(each).k == 10
    for change, message in (
        (lambda a: a[:, :2], "rows of 3 numbers"),
        (lambda a: a.astype(np.float32), "rows of 3 numbers"),
        (lambda a: a[:0], "rows of 3 numbers"),
        (lambda a: a[::-1], "do not rise"),
        (lambda a: a * [1, 1, 0], "k = 0"),
        (lambda a: a * [1, np.nan, 1], "nan queries"),
    ):
        with pytest.raises(ValueError, match=message):
            calibration.from_array(change(stored), NAMES)
