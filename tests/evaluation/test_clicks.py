"""The click-through rate: what counts as shown and as clicked, and how sure the rate is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annlab.evaluation import click_through

# The interaction table of the design this system follows: user, query, displayed, position, interaction, timestamp.
TABLE = {
    "users": [8, 6, 91],
    "queries": [2, 3, 5],
    "displayed": [6, 9, 1],
    "positions": [1, 2, 2],
    "clicked": ["Click", "Click", "Impression"],
    "timestamps": [1658450539, 1658451341, 1658451365],
}


def test_the_source_s_table_by_hand():
    log = click_through(**TABLE)
    # Two clicks; three showings, though only one row says "impression": 2 / 3 = 66.67 %.
    assert (log.overall.clicks, log.overall.impressions) == (2, 3)
    assert log.overall.rate == pytest.approx(2 / 3)
    assert log.overall.percent == pytest.approx(66.6667, abs=1e-4)
    # Position 1: one shown, one clicked. Position 2: two shown, one clicked.
    assert {p: (r.clicks, r.impressions) for p, r in log.by_position.items()} == {1: (1, 1), 2: (1, 2)}
    # 1658450539 s = 19195 days and 2539 s after 1970-01-01: the 22nd of July 2022, all three.
    assert {d: (r.clicks, r.impressions) for d, r in log.by_day.items()} == {"2022-07-22": (2, 3)}
    assert str(log).startswith("CTR 66.67% (2 of 3)")


def test_a_click_with_its_impression_and_clicked_twice_is_one_of_one():
    log = click_through([1] * 4, [2] * 4, [3] * 4, [False, True, True, False], timestamps=[0, 5, 9, 20])
    assert (log.overall.clicks, log.overall.impressions) == (1, 1)


def test_what_makes_two_showings():
    def shown(**columns):
        log = click_through(
            **{"users": [1, 1], "queries": [2, 2], "displayed": [3, 3], "clicked": [True, True]} | columns
        )
        return log.overall.clicks, log.overall.impressions

    assert shown() == (1, 1)  # no times: one user, query and image are one showing
    assert shown(users=[1, 9]) == shown(queries=[2, 9]) == shown(displayed=[3, 9]) == (2, 2)
    assert shown(timestamps=[0, 1800]) == (1, 1)  # within half an hour
    assert shown(timestamps=[0, 1801]) == (2, 2)  # after it
    assert shown(timestamps=[0, 1801], session_gap=3600) == (1, 1)
    assert shown(sessions=[4, 4], timestamps=[0, 10**6]) == (1, 1)  # the log knows better than the clock
    assert shown(sessions=[4, 5], timestamps=[0, 1]) == (2, 2)


def test_a_run_may_be_longer_than_the_gap():
    log = click_through([1] * 3, [2] * 3, [3] * 3, [False] * 3, timestamps=[0, 1500, 3000])
    assert log.overall.impressions == 1  # no pause of more than half an hour


def test_position_and_day_are_those_of_the_earliest_row():
    midnight = 19_195 * 86_400
    log = click_through(
        [1, 1], [2, 2], [3, 3], ["click", "impression"], positions=[7, 4], timestamps=[midnight + 60, midnight - 60]
    )
    assert list(log.by_position) == [4]
    assert list(log.by_day) == ["2022-07-21"]
    same_time = click_through([1, 1], [2, 2], [3, 3], ["click", "impression"], positions=[7, 4], timestamps=[5, 5])
    assert list(same_time.by_position) == [4]  # the impression's, at equal times
    assert same_time.overall.clicks == 1
    before_1970 = click_through([1], [2], [3], [True], timestamps=[-1])
    assert list(before_1970.by_day) == ["1969-12-31"]


def _slow_showings(rows, gap):
    """Showings as (clicked, position, day), by a loop over the rows of each user, query and image."""
    showings = []
    for key in {row[:3] for row in rows}:
        mine = sorted((row for row in rows if row[:3] == key), key=lambda row: (row[5], row[4]))
        last = None
        for *_, position, clicked, time in mine:
            if last is None or time - last > gap:
                showings.append([clicked, position, time // 86_400])
            showings[-1][0] |= clicked
            last = time
    return showings


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(0, 1),
            st.integers(0, 2),
            st.integers(1, 3),
            st.booleans(),
            st.integers(86_000, 90_000),
        ),
        min_size=1,
        max_size=25,
        unique_by=lambda row: row[5],
    ),
    st.integers(0, 2000),
)
def test_showings_are_those_of_the_slow_loop(rows, gap):
    users, queries, displayed, positions, clicked, times = zip(*rows, strict=True)
    log = click_through(
        users, queries, displayed, clicked, positions=positions, timestamps=times, session_gap=gap, n_resamples=5
    )
    slow = _slow_showings(rows, gap)
    assert (log.overall.clicks, log.overall.impressions) == (sum(s[0] for s in slow), len(slow))
    for position, rate in log.by_position.items():
        assert rate.impressions == sum(s[1] == position for s in slow)
        assert rate.clicks == sum(s[0] for s in slow if s[1] == position)
    assert [rate.impressions for rate in log.by_day.values()] == [
        sum(s[2] == day for s in slow) for day in sorted({s[2] for s in slow})
    ]


def _simulated(rng, n_users, per_user):
    """Users differ in how readily they click: Beta(2, 6), so the expected rate is 0.25."""
    users = np.repeat(np.arange(n_users), per_user)
    clicked = rng.random(len(users)) < np.repeat(rng.beta(2, 6, size=n_users), per_user)
    return click_through(
        users, np.zeros_like(users), np.arange(len(users)), clicked, positions=np.arange(len(users)) % 2 + 1,
        level=0.9, n_resamples=300,
    )  # fmt: skip


def test_the_interval_covers_the_truth_because_it_draws_users():
    rng = np.random.default_rng(1)
    logs = [_simulated(rng, n_users=80, per_user=25) for _ in range(150)]
    covered = np.mean([log.overall.low <= 0.25 <= log.overall.high for log in logs])
    assert 0.82 <= covered <= 0.97  # 0.9, standard error 0.024
    # Drawing rows instead would take them for independent, and be far too sure of itself.
    width = np.mean([log.overall.high - log.overall.low for log in logs])
    independent = 2 * 1.645 * np.sqrt(0.25 * 0.75 / (80 * 25))
    assert width > 1.5 * independent
    by_position = np.mean([log.by_position[2].low <= 0.25 <= log.by_position[2].high for log in logs[:60]])
    assert by_position >= 0.75


def test_intervals_are_seeded_and_follow_the_level():
    rng = np.random.default_rng(3)
    users, clicked = rng.integers(0, 30, 400), rng.random(400) < 0.3
    columns = {"users": users, "queries": np.zeros(400, int), "displayed": np.arange(400), "clicked": clicked}

    def interval(**options):
        overall = click_through(**columns, **options).overall
        return overall.low, overall.high

    assert interval() == interval() != interval(seed=1)
    assert interval(n_resamples=50) != interval()
    assert interval(level=0.99)[0] < interval(level=0.5)[0] < clicked.mean() < interval(level=0.5)[1]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"clicked": ["click", "hover", "click"]}, ValueError, "row 1 says 'hover'"),
        ({"clicked": [1, 0, 2]}, ValueError, r"clicked must be 0 or 1, got 0\.\.2"),
        ({"clicked": [1.0, 0.0, 1.0]}, TypeError, "bools, 0 and 1, or the words"),
        ({"clicked": [[True]]}, ValueError, r"got shape \(1, 1\)"),
        ({"positions": [0, 1, 2]}, ValueError, "positions start at 1, got 0"),
        ({"users": [1, 2]}, ValueError, "'queries': 3.*'users': 2"),
        ({"users": [1.5, 2, 3]}, TypeError, "users must be integers"),
        ({"timestamps": [0, np.nan, 1]}, ValueError, r"timestamps\[1\] is nan"),
        ({"session_gap": -1}, ValueError, "0 seconds or more, got -1"),
        ({"level": 95}, ValueError, "got 95"),
        ({name: [] for name in TABLE}, ValueError, "no interactions"),
    ],
)
def test_errors_name_the_numbers(change, error, message):
    with pytest.raises(error, match=message):
        click_through(**(TABLE | change))


def test_rates_that_the_log_cannot_give():
    log = click_through([1], [2], [3], [True])
    with pytest.raises(ValueError, match="needs the positions"):
        _ = log.by_position
    with pytest.raises(ValueError, match="needs the timestamps"):
        _ = log.by_day
