"""Exercises of notebook 06: quantization."""

from __future__ import annotations

from typing import Any

import numpy as np

from annlab.course.answers import array, call, expect, expect_close, number
from annlab.course.registry import Mistake, exercise


@exercise("06-bytes", "Vectors of 128 numbers are cut into 16 parts, each coded by one of 64 centres, without a bit "
                      "wasted. "
          "How many bytes is the code of a vector?")  # fmt: skip
def code_bytes(answer: Any) -> str:
    """16 times log2(64) bits."""
    expect_close(number(answer, 0), 16 * 6 / 8, "Parts times bits a part; 64 centres take log2(64) bits.", [
        (16.0, "That is a byte a part; 64 centres take fewer bits."),
        (96.0, "These are bits; eight of them are a byte."),
        (128 * 6 / 8, "Codes are written for parts, not for single numbers."),
        (16 * 64 / 8, "A centre's number takes log2(64) bits, not 64."),
    ])  # fmt: skip
    return "12 bytes in place of 512."


@exercise("06-certificate", "Write candidates(estimates, error, k): estimates (n,) of distances, each at most "
                            "`error` away "
          "from the true one. Return a bool array (n,): the rows that could be among the k nearest, and no "
          "others.")  # fmt: skip
def certificate(answer: Any) -> str:
    """Against all rows whose least distance is within the k-th smallest of the largest distances."""
    rng = np.random.default_rng(0)
    for k, error in ((1, 0.05), (5, 0.02), (5, 0.1), (10, 0.0)):
        estimates = np.round(rng.random(300), 3)
        kth = np.sort(estimates)[k - 1]
        right = estimates - error <= kth + error + 1e-12
        given = array(call(answer, estimates, error, k), (300,), "b")
        surely = estimates - error <= kth + error - 1e-9
        if (given == right).all() or ((given >= surely) & (given <= right)).all():
            continue
        expect((given != (estimates <= kth)).any(), "These are the k smallest estimates. The error may have changed "
                                                    "their "
               "order: a row just behind could be nearer.")  # fmt: skip
        expect((given != (estimates <= kth + error + 1e-12)).any(), "One error is not enough: the k-th could be "
                                                                    "farther than "
               "it looks, and the other row nearer. Twice the error.")  # fmt: skip
        expect(not given.all(), "All rows could be, but most can be left out, and that is the point.")
        expect((given >= surely).all(), "A row is left out that could be among the k nearest.")
        raise Mistake("A row is kept that cannot be among the k nearest: even at its nearest it is farther than k "
                      "others "
                      "at their farthest.")  # fmt: skip
    return "Nothing can be lost: measure these rows, and the answer is exact."
