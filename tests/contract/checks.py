"""What an answer has to be, whatever the index."""

import numpy as np

import annlab
from tests import oracle


def check_neighbors(found, queries, ids, vectors, metric, k, exact, allowed=None):
    """Assert that an answer (q, k) is right: equal to brute force if `exact`, else free of contradictions."""
    distances, numbers = found
    vectors, ids = np.asarray(vectors), np.asarray(ids, np.int64)
    assert distances.shape == numbers.shape == (len(queries), k)
    assert distances.dtype == vectors.dtype and numbers.dtype == np.int64
    if exact:
        expected = oracle.nearest(queries, ids, vectors, metric, k, allowed)
        np.testing.assert_array_equal(numbers, expected[1])
        np.testing.assert_array_equal(distances, expected[0])
    else:
        check_valid(distances, numbers, queries, ids, vectors, metric, allowed)


def check_valid(distances, numbers, queries, ids, vectors, metric, allowed=None):
    """Assert what approximate answers owe too: living and allowed ids, each once, their true distances, in order."""
    allowed = np.broadcast_to(True if allowed is None else allowed, (len(queries), len(ids)))
    place_of = {int(number): place for place, number in enumerate(ids)}
    for i, (row, found) in enumerate(zip(distances, numbers, strict=True)):
        n = int(np.count_nonzero(found >= 0))
        assert (found[n:] == -1).all() and np.isinf(row[n:]).all(), "results first, then padding"
        assert len(set(found[:n].tolist())) == n, f"an id twice: {found[:n]}"
        places = np.array([place_of[int(number)] for number in found[:n]], np.int64)
        assert allowed[i][places].all(), "a forbidden id"
        if n:
            query = np.asarray(queries[i : i + 1], row.dtype)
            np.testing.assert_array_equal(row[:n], annlab.pairwise(query, vectors[places], metric)[0])
            ranks = oracle.in_float64(query, vectors[places], metric)[0]
            assert (np.lexsort((found[:n], ranks)) == np.arange(n)).all(), "not sorted by (distance, id)"


def recall(found, queries, ids, vectors, metric, k):
    """The share of the k nearest that was found; a result as near as the k-th counts."""
    true, _ = oracle.nearest(queries, ids, vectors, metric, k)
    return float(np.mean(np.minimum((np.asarray(found[0]) <= true[:, -1:]).sum(axis=1), k)) / k)


def same(one, other):
    """Assert that two answers are equal to the last bit."""
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_array_equal(a, b)
