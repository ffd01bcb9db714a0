"""Position bias: simulated users whose examination is known, and what is refused."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from annlab.evaluation import clicks_over_expected, examination

TRUE = 1 / np.arange(1, 9) ** 0.8


def simulated(rng, n=240_000, swap=0.5, n_queries=20, n_items=8):
    """A ranker that puts good items first, and swaps two ranks now and then; users who look at positions by TRUE."""
    attraction = np.sort(rng.beta(1.5, 4, (n_queries, n_items)))[:, ::-1]
    ranked = np.argsort(-(attraction + rng.normal(0, 0.1, attraction.shape)), axis=1)  # a fair ranker, not perfect
    queries, lists = rng.integers(0, n_queries, n // n_items), []
    for query in queries:
        order = ranked[query].copy()
        if rng.random() < swap:
            a, b = rng.choice(n_items, 2, replace=False)
            order[[a, b]] = order[[b, a]]
        lists.append(order)
    items, positions = np.concatenate(lists), np.tile(np.arange(n_items), len(lists))
    asked = np.repeat(queries, n_items)
    clicked = rng.random(len(items)) < TRUE[positions] * attraction[asked, items]
    return asked, items, positions + 1, clicked, attraction


def test_swapped_ranks_show_how_far_users_look():
    queries, items, positions, clicked, _ = simulated(np.random.default_rng(0))
    found = examination(queries, items, positions, clicked, n_resamples=60)
    np.testing.assert_allclose(found.shares, TRUE, atol=0.08)
    inside = (found.low <= TRUE) & (found.high >= TRUE)
    assert inside.sum() >= 7 and found.shares[0] == 1
    raw = np.array([clicked[positions == p].mean() for p in range(1, 9)])
    assert np.abs(raw / raw[0] - TRUE).max() > 0.12, "raw rates fall faster: what stands first is also better"


def test_what_was_seen_at_one_position_only_adds_nothing():
    clicked = np.arange(200) < np.repeat([40, 110], 100)
    pair = np.zeros(200, int), np.zeros(200, int), np.repeat([1, 2], 100), clicked
    alone = [np.r_[one, other] for one, other in zip(pair, (np.ones(50, int), np.ones(50, int), np.full(50, 2),
                                                            np.ones(50, bool)), strict=True)]  # fmt: skip
    np.testing.assert_allclose(examination(*alone, n_resamples=5).shares, [1, 0.25], atol=1e-5)


def test_a_position_that_nothing_connects_with_the_first_is_unknown():
    #          item 0 at 1 and 2, item 1 at 3 and 4
    items, positions = np.repeat([0, 0, 1, 1], 50), np.repeat([1, 2, 3, 4], 50)
    clicked = np.tile(np.arange(50) < 10, 4)
    shares = examination(items * 0, items, positions, clicked, n_resamples=5).shares
    np.testing.assert_array_equal(np.isnan(shares), [False, False, True, True])
    by_detour = examination(items * 0, np.r_[items[:150] * 0, items[150:]], positions, clicked, n_resamples=5)
    assert np.isfinite(by_detour.shares[:3]).all()


def test_clicks_over_expected_order_better_than_raw_rates():
    rng = np.random.default_rng(1)
    queries, items, positions, clicked, attraction = simulated(rng, swap=0.3)
    shares = examination(queries, items, positions, clicked, n_resamples=5).shares
    corrected, raw = [], []
    for query in range(20):
        own = queries == query
        found = clicks_over_expected(items[own], positions[own], clicked[own], shares, smoothing=0.1)
        rates = [clicked[own & (items == item)].mean() for item in found.items]
        corrected.append(kendalltau(found.ratios, attraction[query][found.items]).statistic)
        raw.append(kendalltau(rates, attraction[query][found.items]).statistic)
    assert np.mean(corrected) > 0.85 and np.mean(corrected) > np.mean(raw) + 0.03


def test_intervals_hold_what_they_promise():
    rng, covered = np.random.default_rng(2), []
    for _ in range(300):
        true, shown = rng.gamma(4, 1 / 4, 200), rng.integers(5, 40, 200)
        items = np.repeat(np.arange(200), shown)
        clicked = rng.random(len(items)) < 0.2 * true[items]
        found = clicks_over_expected(items, np.ones(len(items), int), clicked, [1.0], smoothing=4, level=0.9)
        covered.append(((found.low <= true) & (true <= found.high))[:5].mean())
    assert 0.86 < np.mean(covered) < 0.96


def test_an_item_that_was_hardly_shown_stays_near_one():
    found = clicks_over_expected(["a"] + ["b"] * 1000, np.ones(1001, int), np.arange(1001) < 101, [1.0])
    assert found.items.tolist() == ["a", "b"] and 1 < found.ratios[0] < 2 and found.high[0] - found.low[0] > 2
    assert found.expected.sum() == pytest.approx(101) and found.clicks.sum() == 101


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: examination([1, 1], [1, 2], [1, 2], [0, 1]), "none was shown at two positions"),
        (lambda: examination([1], [1, 2], [1, 2], [0, 1]), r"one length, not \[1, 2\]"),
        (lambda: examination([1, 1], [1, 1], [0, 2], [0, 1]), "positions count from 1, and one is 0"),
        (lambda: examination([1, 1], [1, 1], [1, 2], [0, 2]), "bools, or 0 and 1"),
        (lambda: clicks_over_expected([1], [2], [1], [1.0]), "at position 2, but there are 1 shares"),
        (lambda: clicks_over_expected([1], [2], [1], [1.0, np.nan]), "share of position 2 is nan"),
        (lambda: clicks_over_expected([1], [1], [1], [1.0], smoothing=0), "smoothing above 0"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_numbers(call, message):
    with pytest.raises(ValueError, match=message):
        call()
