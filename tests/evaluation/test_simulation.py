"""Simulated users, and the loop in which a ranker learns from its own lists."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from annlab.evaluation import clicks_over_expected
from annlab.evaluation.simulation import Users, feedback_loop, make_world, show


@pytest.fixture(scope="module")
def loops():
    """Twenty rounds of both learners, in the same world."""
    world, users = make_world(seed=1), Users.falling(10)
    return world, {learn: feedback_loop(world, users, learn, seed=1) for learn in ("coec", "raw")}


def test_after_twenty_rounds_corrected_clicks_have_helped_and_raw_ones_have_done_harm(loops):
    _, found = loops
    coec, raw = found["coec"], found["raw"]
    assert coec.ndcg[0] == raw.ndcg[0] and len(coec.ndcg) == 21
    assert coec.ndcg[-1] > coec.ndcg[0], "nDCG has not fallen: it has risen"
    assert raw.ndcg[-1] < raw.ndcg[0] - 0.03, "nDCG has fallen"
    assert (coec.served < coec.ndcg[:-1]).mean() > 0.9, "exploring costs something"


def test_the_loop_finds_out_where_its_users_look(loops):
    _, found = loops
    truth = 1 / np.arange(1, 11)
    assert np.abs(found["coec"].looks - truth).max() < 0.12
    assert (found["raw"].looks == 1).all()


def test_coec_orders_items_better_than_raw_rates():
    """By Kendall's tau with the truth, in a log of one ranker that explores a little."""
    world, users, rng = make_world(200, 100, seed=2), Users.falling(10), np.random.default_rng(0)
    order = np.argsort(-world.scores, axis=1)[:, :50]
    log = show(order, rng.integers(0, 200, 40_000), world.relevance, users, 10, 0.1, rng)
    seen = log.items.ravel()
    truth = np.bincount(seen, world.relevance[np.repeat(log.queries, 10), seen], 100) / np.bincount(seen, minlength=100)
    enough = np.bincount(seen, minlength=100) >= 200
    taus = []
    for looks in (log.examined(), np.ones(10)):
        found = clicks_over_expected(seen, log.positions, log.clicked.ravel(), looks)
        ratios = np.ones(100)
        ratios[found.items] = found.ratios
        taus.append(kendalltau(ratios[enough], truth[enough]).statistic)
    assert taus[0] > 0.4 and taus[1] < 0.1, f"it was 0.50 and -0.08: {taus}"


def test_a_list_explores_as_often_as_it_should_and_shows_each_item_once():
    rng, order = np.random.default_rng(0), np.argsort(np.random.default_rng(1).random((5, 30)), axis=1)
    log = show(order, rng.integers(0, 5, 4000), np.full((5, 30), 0.5), Users.falling(8), 8, 0.25, rng)
    moved = (log.ranks != np.arange(1, 9)).any(axis=1)
    assert abs(moved.mean() - 0.25) < 0.03
    assert all(len(set(items)) == 8 for items in log.items[:200].tolist())
    assert (order[log.queries[:, None], log.ranks - 1] == log.items).all()
    assert (show(order, np.arange(5), np.zeros((5, 30)), Users.falling(8), 8, 0.0, rng).ranks == np.arange(1, 9)).all()


def test_users_look_and_err_as_often_as_they_should():
    users, rng = Users((1.0, 0.5), noise=0.1), np.random.default_rng(0)
    liked, not_liked = (users.clicks(np.full((20_000, 2), value), rng).mean(axis=0) for value in (1.0, 0.0))
    assert np.abs(liked - [0.9, 0.45]).max() < 0.015 and np.abs(not_liked - [0.1, 0.05]).max() < 0.015


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Users((1.0, 1.5)), "between 0 and 1"),
        (lambda: Users((1.0,), noise=0.5), "below 0.5"),
        (lambda: Users((1.0,)).clicks([[0.1, 0.2]], np.random.default_rng(0)), "at most 1 positions"),
        (lambda: feedback_loop(make_world(3, 20), Users.falling(5), "ctr"), "coec or raw"),
        (lambda: feedback_loop(make_world(3, 20), Users.falling(5), "raw", k=8), "look at 5 positions"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
