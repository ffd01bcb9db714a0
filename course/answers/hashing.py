"""Answers to the exercises of notebook 04, and mistakes with words of what is said to them. Not in the wheel."""

import numpy as np


def tables(bit=1 - 30 / 180, fails=0.1):
    return int(np.ceil(np.log(fails) / np.log(1 - bit**12)))


def keys(vectors, planes):
    return (vectors @ planes.T > 0) @ (1 << np.arange(len(planes)))


ANSWERS = {
    "04-tables": tables,
    "04-keys": lambda: keys,
}
MISTAKES = [
    ("04-tables", lambda: int(np.ceil(0.9 / (1 - 30 / 180) ** 12)), "do not add up"),
    ("04-tables", lambda: tables(bit=np.cos(np.radians(30))), "cosine"),
    ("04-tables", lambda: tables(fails=0.9), "not with 0.9"),
    ("04-tables", lambda: tables() - 1, "round up"),
    ("04-tables", lambda: 100, "A key agrees with"),
    ("04-keys", lambda: lambda vectors, planes: keys(vectors, planes[::-1]), "wrong way round"),
    ("04-keys", lambda: lambda vectors, planes: keys(-vectors, planes), "negative side"),
    ("04-keys", lambda: lambda vectors, planes: (vectors @ planes.T > 0).sum(axis=1), "counts the ones"),
    ("04-keys", lambda: lambda vectors, planes: keys(vectors, planes[:8]), "One plane is missing"),
    ("04-keys", lambda: lambda vectors, planes: vectors @ planes.T > 0, "shape"),
]
