"""How long a training takes, and when it ends."""

import pytest

from annlab.encoders.schedule import Schedule, fitting_batch


def test_few_images_get_as_many_steps_as_many():
    for n_images in (60, 1200, 5000):
        plan = Schedule.of(n_images, fitting_batch(n_images))
        assert plan.steps is not None and plan.steps >= 1000
        assert fitting_batch(n_images) <= max(16, n_images / 8)
    assert Schedule.of(1200, 150, epochs=3).steps == 24, "passes that are asked for are passes"
    assert Schedule.of(60_000, 256).steps_per_round == 234
    assert Schedule.of(1200, 150, steps=30).steps_per_round == 30
    by_the_clock = Schedule.of(1200, 150, minutes=2)
    assert by_the_clock.steps is None and by_the_clock.patience is None


def test_the_rate_rises_and_falls_over_steps_and_over_minutes():
    plan, clock = Schedule.of(1200, 150), Schedule.of(1200, 150, minutes=2)
    by_steps = [plan.rate(step, 1e9 * 0) for step in range(1000)]
    by_time = [clock.rate(0, 0.12 * (step + 0.5)) for step in range(1000)]
    assert max(by_steps) > 0.999 and by_steps.index(max(by_steps)) in (99, 100)
    assert by_steps[:99] == sorted(by_steps[:99]) and by_steps[101:] == sorted(by_steps[101:], reverse=True)
    assert by_steps[-1] < 1e-4 and by_time == pytest.approx(by_steps)
    assert clock.in_time(10**6, 119.9) and not clock.in_time(0, 120.0) and not plan.in_time(1000, 0.0)


def rows(scores, learned=1.0, steps=100, total=1000):
    return [
        {"steps": steps * (at + 1.0), "seconds": 0.0, "score": score, "progress": (at + 1) * steps / total,
         "learned": learned}
        for at, score in enumerate(scores)
    ]  # fmt: skip


def test_patience_counts_steps_after_the_best_but_not_on_the_plateau():
    plan = Schedule.of(1200, 150, patience=300)
    assert not plan.is_over(rows([0.5, 0.9, 0.6, 0.7]))
    assert plan.is_over(rows([0.5, 0.9, 0.6, 0.7, 0.8]))
    assert not plan.is_over(rows([0.5] * 9, learned=0.01)), "nothing was learned yet: it may begin at any time"
    assert plan.is_over(rows([0.5] * 10, learned=0.01)), "but there is an end"
    assert not plan.is_over([])
    early = Schedule.of(1200, 150, steps=1000, patience=5)
    assert not early.is_over(rows([0.9, 0.5, 0.4], steps=20)), "the rate still rises"
    small_views = Schedule.of(1000, 100, steps=1000, patience=300, undecided=2 / 3)
    scores = [0.9, *[0.5] * 5, 0.7, 0.7, 0.7]
    assert not small_views.is_over(rows(scores[:6])) and not small_views.is_over(rows(scores[:8]))
    assert small_views.is_over(rows(scores)), "300 steps after views became large"
