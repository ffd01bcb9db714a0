"""Answers to the exercises of notebook 02, and mistakes with words of what is said to them. Not in the wheel."""

import numpy as np

import annlab


def hub(include_self=False):
    points = np.random.default_rng(5).normal(size=(1000, 50))
    ids = annlab.ExactIndex(metric="l2").fit(points).neighbors(k=5, include_self=include_self).ids
    return np.bincount(ids.ravel(), minlength=1000)


def contrast(nearest, typical):
    return typical.mean(axis=1) / nearest


ANSWERS = {
    "02-lid-by-hand": lambda: 2 / (np.log(4) + np.log(2)),
    "02-contrast": lambda: contrast,
    "02-hub": lambda: int(hub().max()),
}
MISTAKES = [
    ("02-lid-by-hand", lambda: (np.log(4) + np.log(2)) / 2, "one over it"),
    ("02-lid-by-hand", lambda: 3 / (np.log(4) + np.log(2)), "k-th row itself"),
    ("02-lid-by-hand", lambda: 2 / 3, "base 2"),
    ("02-lid-by-hand", lambda: 3, "One over the mean"),
    ("02-contrast", lambda: lambda nearest, typical: 1 / contrast(nearest, typical), "other way round"),
    ("02-contrast", lambda: lambda nearest, typical: np.full(len(nearest), typical.mean() / nearest.mean()), "its own"),
    ("02-contrast", lambda: lambda nearest, typical: typical.max(axis=1) / nearest, "farthest"),
    ("02-contrast", lambda: lambda nearest, typical: typical.min(axis=1) / nearest, "least"),
    ("02-contrast", lambda: lambda nearest, typical: contrast(nearest, typical).mean(), "shape"),
    ("02-hub", lambda: int(hub(include_self=True).max()), "found itself"),
    ("02-hub", lambda: 5, "average"),
    ("02-hub", lambda: int(hub().argmax()), "which point"),
    ("02-hub", lambda: 999, "Not that often"),
]
