"""The benchmarks of feedback: what they count is what they say."""

import numpy as np

from benchmarks import feedback, pinterest


def test_equal_arms_alarm_as_often_as_promised_and_daily_looks_of_the_usual_interval_far_oftener():
    found = {(each["interval"], each["looks"]): each["false alarms, %"] for each in feedback.alarms(120, users=600)}
    assert found["usual interval", "every day"] > 12 > found["usual interval", "one, at the end"]
    assert found["always-valid interval", "every day"] <= 6


def made(classes, drawings=None):
    """Vectors along a circle, in the order of their rows."""
    angles = np.linspace(0, 1, len(classes))
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    classes = np.array(classes)
    return pinterest.Labelled("made", vectors, classes, classes // 10, np.array(drawings or range(len(classes))))


def test_drawings_that_were_seen_are_no_use_a_second_time():
    data = made([1, 1, 1, 1, 11], drawings=[0, 0, 1, 1, 2])
    found = pinterest._new(data, np.array([0]), np.array([[1, 2, 3, 4]]))
    assert found.tolist() == [[0.0, 1.0, 0.0, 0.0]], "its own drawing, a new one, the same again, another category"


def test_a_gate_leaves_out_what_is_of_another_category():
    data = made([1] * 9 + [11] + [2] * 11)
    ranked = {"float": np.array([[*range(1, 21)]])}
    found = pinterest.gate(data, np.array([0]), ranked)
    assert found["lists with a gate"] == 1.0 and found["of another category, before"] == 0.1 and found["after"] == 0.0


def test_ranking_again_ends_with_the_order_of_the_vectors():
    data = made(range(30))
    again = pinterest._ranked_again(data, np.array([0]), np.array([[7, 3, 9, 1]]))
    assert again.tolist() == [[1, 3, 7, 9]]


def test_a_better_ranking_has_a_lift_and_the_same_one_is_not_compared():
    data = made([1] * 15 + [21] * 15)
    queries = np.arange(10)
    good, bad = np.tile(np.arange(1, 11), (10, 1)), np.tile(np.arange(20, 30), (10, 1))
    assert pinterest.lift(data, queries, bad, good, n_users=400)["low"] > 100
    assert pinterest.lift(data, queries, good, good) == {}
