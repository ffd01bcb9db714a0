"""The scan in float32 where there are few rows: these are measured as they are, by the kernel that measures others."""

import numpy as np
import pytest
from numba import types

from annlab import ExactIndex
from annlab.kernels import scoring


@pytest.mark.parametrize("n", [3, 40, 64, 65])
def test_few_rows_are_measured_for_every_query(n):
    rng = np.random.default_rng(0)
    index, vectors = ExactIndex(), rng.random((2 * n, 4), dtype=np.float32)
    index.fit(vectors[:n])
    index.add(vectors[n:])
    queries = rng.random((70, 4), dtype=np.float32)
    far = np.linalg.norm(queries[:, None].astype(np.float64) - vectors, axis=2)
    for k in (1, 3):
        nearest = np.argsort(far, axis=1)[:, :k]
        np.testing.assert_array_equal(index.search(queries, k).ids, nearest)
        np.testing.assert_array_equal(index.search(queries[:1], k).ids, nearest[:1])
    odd = index.search(queries, 2, allowed=np.arange(1, 2 * n, 2)).ids
    np.testing.assert_array_equal(odd, 2 * np.argsort(far[:, 1::2], axis=1)[:, :2] + 1)


def test_nothing_that_may_only_be_read_reaches_the_kernel():
    """It would be compiled again for that, which takes seconds."""
    vectors = np.random.default_rng(0).random((30, 4), dtype=np.float32)
    index = ExactIndex().fit(vectors)
    for queries in (vectors, vectors[:2], vectors[:1]):
        index.search(queries, 3)
    arrays = [each for one in scoring.score.compiled.signatures for each in one if isinstance(each, types.Array)]
    assert arrays and all(each.mutable and each.layout == "C" for each in arrays)
