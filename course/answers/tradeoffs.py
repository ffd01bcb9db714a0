"""Answers to the exercises of notebook 07, and mistakes with words of what is said to them. Not in the wheel."""

import numpy as np


def front(recalls, times, strict=False, copies=True):
    keep = []
    for i, (r, t) in enumerate(zip(recalls, times, strict=True)):
        as_good = (recalls >= r) & (times <= t)
        better = (recalls > r) & (times < t) if strict else as_good & ((recalls > r) | (times < t))
        if not copies:
            same = as_good & (recalls == r) & (times == t)
            same[i] = False
            better |= same
        keep.append(not better.any())
    return np.array(keep)


ANSWERS = {
    "07-factor": lambda: 1.15,
    "07-front": lambda: front,
}
MISTAKES = [
    ("07-factor", lambda: 13 / 11, "divides the sums"),
    ("07-factor", lambda: (1 + 0.8 + 5 / 6) / 3, "at least 1"),
    ("07-factor", lambda: 1.25, "worst rank"),
    ("07-factor", lambda: 1 / 3, "recall"),
    ("07-factor", lambda: 2, "rank by rank"),
    ("07-front", lambda: lambda recalls, times: ~front(recalls, times), "other way round"),
    ("07-front", lambda: lambda recalls, times: front(recalls, times, strict=True), "as fast and finds less"),
    ("07-front", lambda: lambda recalls, times: front(recalls, times, copies=False), "both stay"),
    ("07-front", lambda: lambda recalls, times: recalls == recalls.max(), "Not the front"),
    ("07-front", lambda: lambda recalls, times: np.flatnonzero(front(recalls, times)), "shape"),
]
