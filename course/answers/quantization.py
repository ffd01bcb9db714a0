"""Answers to the exercises of notebook 06, and mistakes with words of what is said to them. Not in the wheel."""

import numpy as np


def candidates(estimates, error, k, times=2.0):
    return estimates <= np.sort(estimates)[k - 1] + times * error + 1e-12


ANSWERS = {
    "06-bytes": lambda: 12,
    "06-certificate": lambda: candidates,
}
MISTAKES = [
    ("06-bytes", lambda: 16, "a byte a part"),
    ("06-bytes", lambda: 96, "eight of them"),
    ("06-bytes", lambda: 128, "not 64"),
    ("06-bytes", lambda: 5, "Parts times bits"),
    ("06-certificate", lambda: lambda estimates, error, k: candidates(estimates, error, k, 0), "k smallest estimates"),
    (
        "06-certificate",
        lambda: lambda estimates, error, k: candidates(estimates, error, k, 1),
        "One error is not",
    ),
    ("06-certificate", lambda: lambda estimates, error, k: candidates(estimates, error, k, 3), "cannot be among"),
    ("06-certificate", lambda: lambda estimates, error, k: candidates(estimates, error, k, 1.5), "left out that could"),
    ("06-certificate", lambda: lambda estimates, error, k: np.ones(len(estimates), bool), "All rows could be"),
    (
        "06-certificate",
        lambda: lambda estimates, error, k: np.flatnonzero(estimates < 1),
        "are asked for, and these are",
    ),
]
