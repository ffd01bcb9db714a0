"""Graphs that grow: reached, of bounded degree, the same for any number of threads, and still good."""

import numpy as np
import pytest

from annlab.graphs.build import build_graph
from annlab.graphs.changes import insert
from tests.graphs import graph_oracle as oracle
from tests.graphs.test_build import check, clustered, quiet

HOW = {"alpha": 1.2, "seed": 0, "progress": quiet}
DEGREE = 16


def built(x):
    graph, order = build_graph(x, degree=DEGREE, threads=2, **HOW)
    return graph, x[order]


def grown(graph, vectors, more, threads=2):
    graph, order = insert(graph, vectors, np.ascontiguousarray(more), threads=threads, **HOW)
    vectors = np.concatenate([vectors, more])[order]
    check(graph, order, len(vectors), DEGREE)
    return graph, vectors


def test_a_block_is_taken_in():
    x = clustered(4000, 10, 25, 0.5)
    graph, vectors = grown(*built(x[:3000]), x[3000:3800])
    assert (np.sort(vectors, axis=0) == np.sort(x[:3800], axis=0)).all()
    fresh, fresh_vectors = built(x[:3800])
    for queries in (x[3000:3100], x[3800:]):
        own = oracle.recall(vectors, graph, queries, 10, 1.2)
        assert own >= oracle.recall(fresh_vectors, fresh, queries, 10, 1.2) - 0.01


@pytest.mark.parametrize("m", [0, 1, 5, 200])
def test_small_blocks_and_what_lies_elsewhere(m):
    x = clustered(2000, 6, 10, 0.5)
    far = 50 + np.random.default_rng(1).normal(size=(m, 6)).astype(np.float32)
    graph, vectors = grown(*built(x), far)
    if m:
        assert oracle.recall(vectors, graph, far[:20], min(m, 5), 1.2) >= 0.95


def test_copies_of_what_is_there_join_its_nodes():
    x = clustered(2000, 8, 10, 0.5)
    before, vectors = built(x)
    graph, vectors = grown(before, vectors, np.concatenate([x[:100], x[:100], x[:1] + 7, x[:1] + 7]))
    assert len(graph.links) == 2001
    assert np.bincount(np.diff(graph.offsets)).tolist() == [0, 1900, 1, 100]


def test_a_crowd_that_is_taken_in_shares_nodes():
    rng = np.random.default_rng(2)
    x = clustered(3000, 16, 20, 0.5)
    step = np.abs(x).max() / 127
    crowd = (x[5] + 0.4 * step * rng.normal(size=(800, 16))).astype(np.float32)
    graph, vectors = grown(*built(x), crowd)
    assert len(graph.links) < 3100
    assert oracle.recall(vectors, graph, crowd[::40], 10, 1.3) >= 0.95


def test_many_blocks_leave_a_good_graph():
    x = clustered(4500, 10, 25, 0.5)
    queries = clustered(100, 10, 25, 0.5, 0)
    graph, vectors = built(x[:3000])
    for start in range(3000, 4500, 300):
        graph, vectors = grown(graph, vectors, x[start : start + 300])
    fresh, fresh_vectors = built(vectors)
    own = [oracle.recall(v, g, queries, 10, 1.15) for v, g in ((vectors, graph), (fresh_vectors, fresh))]
    assert own[0] >= own[1] - 0.01


def test_growth_is_the_same_for_any_number_of_threads():
    x = clustered(5000, 10, 25, 0.5)
    graph, vectors = built(x[:4000])
    first, order = insert(graph, vectors, x[4000:], threads=1, **HOW)
    for threads in (2, 8):
        other, other_order = insert(graph, vectors, x[4000:], threads=threads, **HOW)
        np.testing.assert_array_equal(first.links, other.links)
        np.testing.assert_array_equal(first.entries, other.entries)
        np.testing.assert_array_equal(order, other_order)
