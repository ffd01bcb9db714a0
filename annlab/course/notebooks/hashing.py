"""Exercises of notebook 04: locality-sensitive hashing."""

from __future__ import annotations

from typing import Any

import numpy as np

from annlab.course.answers import array, call, expect, expect_close, whole
from annlab.course.registry import Mistake, exercise


@exercise("04-tables", "Keys have 12 bits. How many independent tables does it take at least, so that two vectors "
                       "at an "
          "angle of 30 degrees share a bucket in one of them with a probability of 0.9?")  # fmt: skip
def tables(answer: Any) -> str:
    """1 - (1 - p^12)^t >= 0.9, solved for t."""
    given, bit = whole(answer, 0), 1 - 30 / 180
    key = bit**12
    right = int(np.ceil(np.log(0.1) / np.log(1 - key)))
    expect(given != int(np.ceil(0.9 / key)), "Probabilities of tables do not add up: two of them may both succeed. All "
           "t fail with (1 - p)^t.")  # fmt: skip
    cosine = np.cos(np.radians(30)) ** 12
    expect(given != int(np.ceil(np.log(0.1) / np.log(1 - cosine))), "A bit agrees with probability 1 - angle / pi, not "
           "with the cosine.")  # fmt: skip
    expect(given != int(np.ceil(np.log(0.9) / np.log(1 - key))), "All may fail with 0.1, not with 0.9.")
    expect(given != right - 1, "That is just too few: round up.")
    if given != right:
        raise Mistake(
            "A key agrees with p = (1 - 30/180)^12. All t tables fail with (1 - p)^t, which may be 0.1 at most."
        )
    return f"One table finds such a neighbour with {key:.2f}; the last few per cent are what costs tables."


@exercise("04-keys", "Write keys(vectors, planes): vectors (n, d), planes (b, d); whole numbers (n,) whose bit i, "
                     "worth "
          "2^i, is 1 where the vector lies on the positive side of plane i.")  # fmt: skip
def keys(answer: Any) -> str:
    """On random vectors, with planes that differ in each bit."""
    rng = np.random.default_rng(0)
    vectors, planes = rng.normal(size=(200, 6)), rng.normal(size=(9, 6))
    sides = vectors @ planes.T > 0
    worth = 1 << np.arange(9)
    given = array(call(answer, vectors, planes), (200,), "iu")
    expect_close(given, sides @ worth, "Bit i is (vector . plane i) > 0, and it is worth 2^i.", [
        (sides @ worth[::-1], "The bits are the wrong way round: plane 0 is worth 1."),
        (~sides @ worth, "That is the negative side: 1 is for a positive product."),
        (sides.sum(axis=1), "That counts the ones. Keys with equally many ones are not equal: each bit has its own "
                            "worth."),
        (sides[:, :8] @ worth[:8], "One plane is missing: a key of bytes holds eight bits only."),
    ])  # fmt: skip
    return "One product of matrices for all keys."
