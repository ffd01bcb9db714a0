"""Experiments in simulation: false alarms as rare as promised, differences found, users counted once."""

import numpy as np
import pytest

from annlab.evaluation import assign, compare_arms, detectable_difference, preference, sample_ratio, team_draft


def users(rng, n, rate_a=0.1, rate_b=0.1):
    """Clicks, showings and arms of n users who differ: some see much, some click much."""
    in_b = rng.random(n) < 0.5
    showings = rng.geometric(0.06, n)
    own = rng.beta(2, 18, n) / 0.1 * np.where(in_b, rate_b, rate_a)
    return rng.binomial(showings, np.clip(own, 0, 1)), showings, in_b


def test_equal_arms_differ_in_one_of_twenty_experiments():
    rng = np.random.default_rng(0)
    alarms = [(found := compare_arms(*users(rng, 800))).low > 0 or found.high < 0 for _ in range(1000)]
    assert 0.035 < np.mean(alarms) < 0.065


def test_who_looks_every_day_is_deceived_by_the_usual_interval_and_not_by_the_other():
    rng, once, always = np.random.default_rng(1), [], []
    for _ in range(250):
        clicks, showings, in_b = users(rng, 2000)
        looks = [compare_arms(clicks[:n], showings[:n], in_b[:n], planned_users=2000) for n in range(100, 2001, 100)]
        once.append(any(look.low > 0 or look.high < 0 for look in looks))
        always.append(any(look.always_low > 0 or look.always_high < 0 for look in looks))
    assert np.mean(once) > 0.12 and np.mean(always) <= 0.06


def test_a_difference_that_can_be_detected_is():
    rng = np.random.default_rng(2)
    clicks, showings, _ = users(rng, 20_000)
    smallest = detectable_difference(clicks, showings, 3000)
    found = [compare_arms(*users(rng, 3000, 0.1, 0.1 + smallest)).low > 0 for _ in range(200)]
    assert 0.7 < np.mean(found) < 0.9, "the power that was asked for, 0.8"


def test_intervals_hold_the_difference_that_is_there():
    rng = np.random.default_rng(3)
    found = [compare_arms(*users(rng, 1500, 0.08, 0.11)) for _ in range(300)]
    truth = np.mean([each.difference for each in found])
    inside = [each.low <= truth <= each.high for each in found]
    assert 0.91 < np.mean(inside) < 0.985 and abs(truth - 0.03) < 0.003
    assert all(each.always_low < each.low and each.high < each.always_high for each in found)


def test_users_keep_their_arm_and_experiments_have_their_own_coins():
    arms = {"A": 3, "B": 1}
    chosen = np.array([assign(user, "one", arms) for user in range(8000)])
    assert abs((chosen == "B").mean() - 0.25) < 0.02
    assert (chosen == [assign(user, "one", arms) for user in range(8000)]).all()
    other = np.array([assign(user, "two", arms) for user in range(8000)])
    assert abs((other[chosen == "B"] == "B").mean() - 0.25) < 0.04
    assert {assign(str(user), "one", {"only": 2}) for user in range(9)} == {"only"}
    assert len({assign(n, "n", {str(i): 1 for i in range(50)}) for n in range(4000)}) == 50


def test_a_split_that_lost_users_is_noticed():
    assert sample_ratio([5010, 4990], [1, 1]).sound and not sample_ratio([5300, 4700], [1, 1]).sound
    assert sample_ratio([7510, 2490], [3, 1]).sound and sample_ratio([50, 50], [1, 1]).p_value == 1.0


def test_drafts_hold_the_best_of_both_and_fair_shares():
    rng = np.random.default_rng(0)
    a, b = rng.permutation(12), rng.permutation(12)
    first = []
    for _ in range(400):
        found = team_draft(a, b, 8, rng)
        assert len(set(found.items.tolist())) == 8 and abs(int(found.teams.sum()) - 4) == 0
        for team, ranking in enumerate((a, b)):
            own = found.items[found.teams == team]
            rest = [item for item in ranking if item not in found.items[found.teams != team]]
            assert own.tolist() == rest[: len(own)] or set(own) <= set(ranking[:8])
        first.append(found.teams[0])
    assert 0.42 < np.mean(first) < 0.58


def test_drafts_end_where_both_rankings_end():
    found = team_draft([1, 2], ["x"][:0], 5, np.random.default_rng(0))
    assert found.items.tolist() == [1, 2] and found.teams.tolist() == [0, 0]
    same = team_draft([1, 2, 3], [1, 2, 3], 3, np.random.default_rng(0))
    assert sorted(same.items.tolist()) == [1, 2, 3]


def clicks_on(draft, good, rng):
    """A user who looks at each position with 1 / rank, and clicks what is good."""
    look = rng.random(len(draft.items)) < 1 / np.arange(1, len(draft.items) + 1)
    return draft.teams[look & np.isin(draft.items, good)]


@pytest.mark.parametrize("better", [False, True])
def test_clicks_prefer_the_better_ranker_and_neither_of_equal_ones(better):
    rng, alarms = np.random.default_rng(4), []
    for _ in range(40):
        who, teams = [], []
        for user in range(120):
            relevance = rng.random(20)
            good = np.argsort(-relevance)[:6]
            a, b = (np.argsort(-(relevance + rng.normal(0, sd, 20))) for sd in (0.6, 0.3 if better else 0.6))
            found = clicks_on(team_draft(a, b, 8, rng), good, rng)
            who += [user] * len(found)
            teams += found.tolist()
        result = preference(who, teams, n_users=120, n_resamples=200)
        alarms.append(result.p_value < 0.05)
        assert result.wins_a + result.wins_b + result.ties == 120 and result.low <= result.share_b <= result.high
    assert np.mean(alarms) > 0.7 if better else np.mean(alarms) < 0.13


def test_a_user_who_clicks_everything_is_one_opinion():
    result = preference([1] * 50 + [2, 3], [1] * 50 + [0, 0])
    assert (result.wins_a, result.wins_b, result.ties) == (2, 1, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare_arms([3], [2], np.array([True])), "user 0 has 3 clicks on 2 showings"),
        (lambda: compare_arms([1, 1], [2, 2], np.array([True, False])), "A has 1, B 1"),
        (lambda: compare_arms([1, 1], [2, 2], [1, 0]), "in_b must be bools"),
        (lambda: compare_arms([0, 0], [0, 0], np.array([True, False])), "nothing was shown"),
        (lambda: assign(1, "x", {"A": 0}), "weights above 0"),
        (lambda: sample_ratio([1], [1]), "two or more arms"),
        (lambda: detectable_difference([1, 2], [3, 3], 100, power=1.0), "power between 0 and 1"),
        (lambda: team_draft([1, 1], [2], 2, np.random.default_rng(0)), "a holds an id twice: 1"),
        (lambda: preference([1, 2], [0, 2]), "teams must be 0 or 1"),
        (lambda: preference([1, 2], [0, 1], n_users=1), "2 users have clicked"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_numbers(call, message):
    with pytest.raises(ValueError, match=message):
        call()
