"""Answers to the exercises of notebook 09, and mistakes with words of what is said to them. Not in the wheel."""

import numpy as np


def dcg(grades, worth=lambda g: 2.0**g - 1, discount=np.log2, shift=1):
    return (worth(np.asarray(grades)) / discount(np.arange(1, len(grades) + 1) + shift)).sum()


def ratio(**how):
    return lambda grades, ideal: dcg(grades, **how) / dcg(ideal, **how)


ANSWERS = {
    "09-average-precision": lambda: (1 + 2 / 3 + 3 / 4) / 5,
    "09-ndcg": lambda: ratio(),
}
MISTAKES = [
    ("09-average-precision", lambda: (1 + 2 / 3 + 3 / 4) / 3, "that were found"),
    ("09-average-precision", lambda: 0.6, "does not see the places"),
    ("09-average-precision", lambda: (1 + 1 / 2 + 2 / 3 + 3 / 4 + 3 / 5) / 5, "every place"),
    ("09-average-precision", lambda: (1 + 1 / 3 + 1 / 4) / 5, "reciprocal"),
    ("09-average-precision", lambda: 0.9, "over all relevant"),
    ("09-ndcg", lambda: ratio(worth=lambda g: g), "grade itself"),
    ("09-ndcg", lambda: ratio(discount=lambda x: x, shift=0), "divides by the place"),
    ("09-ndcg", lambda: ratio(worth=lambda g: 2.0**g), "worth nothing"),
    ("09-ndcg", lambda: lambda grades, ideal: dcg(grades), "DCG"),
    ("09-ndcg", lambda: lambda grades, ideal: 1.0, "sum over the results"),
]
