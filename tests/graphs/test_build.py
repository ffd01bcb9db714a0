"""Whole graphs: the same for any number of threads, every node reached, few rows, duplicates, and what a walk finds."""

import numpy as np
import pytest

from annlab.graphs.build import build_graph, estimate_memory
from annlab.graphs.graph import Graph, check_graph
from annlab.graphs.lists import own_lists
from annlab.graphs.whole import whole_numbers
from tests.graphs import graph_oracle as oracle


def quiet(what, share):
    return None


def build(vectors, degree=16, alpha=1.2, threads=2, seed=0):
    graph, order = build_graph(np.ascontiguousarray(vectors, np.float32), degree=degree, alpha=alpha, threads=threads,
                               seed=seed, progress=quiet)  # fmt: skip
    check(graph, order, len(vectors), degree)
    return graph, np.ascontiguousarray(vectors, np.float32)[order]


def check(graph, order, n, degree):
    check_graph(graph, n)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    assert graph.links.shape[1] == degree and graph.links.ctypes.data % 64 == 0
    for u, row in enumerate(graph.links.tolist()):
        links = [v for v in row if v >= 0]
        assert u not in links and len(set(links)) == len(links)


def clustered(n, dim, n_clusters, spread, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(n_clusters, dim))
    return (centers[rng.integers(n_clusters, size=n)] + spread * rng.normal(size=(n, dim))).astype(np.float32)


def test_the_same_graph_for_any_number_of_threads():
    x = clustered(5000, 12, 30, 0.3)
    x[4000:] = x[:1000]  # and some rows twice
    first, order = build_graph(x, degree=16, alpha=1.2, threads=1, seed=0, progress=quiet)
    for threads in (2, 3, 8):
        other, other_order = build_graph(x, degree=16, alpha=1.2, threads=threads, seed=0, progress=quiet)
        for a, b in zip((*first, order), (*other, other_order), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("kind", "least"), [("uniform", 0.95), ("clusters", 0.97)])
def test_a_plain_walk_finds_the_nearest(kind, least):
    rng = np.random.default_rng(1)
    x = rng.random((6000, 8)).astype(np.float32) if kind == "uniform" else clustered(6000, 24, 40, 0.6, 1)
    graph, vectors = build(x[:-200], degree=32)
    assert oracle.recall(vectors, graph, x[-200:], 10, 1.2) >= least


@pytest.mark.parametrize("n", [1, 2, 3, 5, 16, 17, 50, 120, 300])
def test_a_graph_of_few_rows_finds_them_all(n):
    x = np.random.default_rng(n).normal(size=(n, 5))
    graph, vectors = build(x)
    assert (graph.links >= 0).sum(axis=1).min() >= min(n - 1, 1)
    assert oracle.recall(vectors, graph, vectors[:20], min(n, 5), 2.0) == 1.0


@pytest.mark.parametrize("x", [np.zeros((40, 3)), np.ones((3000, 2)), np.repeat(np.eye(3), 700, axis=0),
                               np.full((300, 2), 3e38), np.outer(np.arange(2000.0), [1e-30, 1e-30])])  # fmt: skip
def test_data_without_shape_builds_a_sound_graph(x):
    build(x)


def test_identical_rows_share_a_node():
    rng = np.random.default_rng(2)
    distinct = clustered(3000, 8, 20, 0.5, 2)
    x = np.concatenate([distinct, distinct[rng.integers(3000, size=1000)], np.tile(distinct[7], (900, 1))])
    x = x[rng.permutation(len(x))]
    graph, vectors = build(x)
    assert len(graph.links) == 3000 and np.diff(graph.offsets).max() >= 901
    beside = distinct[7] + 0.2 * rng.normal(size=(50, 8)).astype(np.float32)
    assert oracle.recall(vectors, graph, beside, 10, 1.2) >= 0.99
    _, order = build_graph(x.astype(np.float32), degree=16, alpha=1.2, threads=1, seed=0, progress=quiet)
    assert all((np.diff(order[a:b]) > 0).all() for a, b in zip(graph.offsets[:-1], graph.offsets[1:], strict=True))


def test_near_copies_that_crowd_a_place_share_nodes():
    rng = np.random.default_rng(6)
    around = clustered(3000, 16, 20, 0.5, 6)
    step = np.abs(around).max() / 127
    copies = around[5] + 0.4 * step * rng.normal(size=(1500, 16))
    graph, vectors = build(np.concatenate([around, copies]), degree=32)
    assert 3000 <= len(graph.links) < 3100
    assert np.isin(np.flatnonzero(np.diff(graph.offsets) >= 32), graph.entries).all()
    beside = around[5] + 0.2 * rng.normal(size=(40, 16))
    assert oracle.recall(vectors, graph, beside, 10, 1.3) >= 0.95
    assert oracle.recall(vectors, graph, copies[::50] + 0.1 * step, 10, 1.3) >= 0.95
    assert oracle.recall(vectors, graph, around[:100], 10, 1.3) >= 0.95


@pytest.mark.parametrize("n_clusters", [150, 1500])
def test_clusters_far_apart_are_all_reached(n_clusters):
    rng = np.random.default_rng(3)
    centers = 1000 * rng.normal(size=(n_clusters, 6))
    x = (np.repeat(centers, 30, axis=0) + rng.normal(size=(30 * n_clusters, 6))).astype(np.float32)
    graph, vectors = build(x)
    assert len(graph.entries) <= 1024
    assert oracle.recall(vectors, graph, x[::997], 5, 1.5) >= 0.95


def test_a_dense_ball_is_reached_through_its_own_links():
    rng = np.random.default_rng(7)  # in many dimensions many rows are near to nobody
    x = np.concatenate([clustered(1000, 64, 20, 0.5), 3 + 0.15 * rng.normal(size=(2000, 64))])
    graph, _ = build(x)
    assert len(graph.entries) <= 258


def test_the_estimate_of_memory_is_above_what_is_returned():
    graph, _ = build(clustered(2000, 8, 10, 0.5))
    assert estimate_memory(2000, 8, 16) > graph.links.nbytes + 2000 * 64


@pytest.mark.parametrize(("change", "message"), [
    (lambda g: g._replace(links=g.links[:-1]), "links must be int32"),
    (lambda g: g._replace(links=g.links.astype(np.int64)), "links must be int32"),
    (lambda g: g._replace(entries=g.entries[:0]), "entries must be int32"),
    (lambda g: g._replace(entries=np.array([0, 0], np.int32)), "distinct"),
    (lambda g: g._replace(entries=np.array([3000], np.int32)), "distinct"),
    (lambda g: g._replace(links=np.where(g.links == 77, 3000, g.links)), "links to 3000"),
    (lambda g: g._replace(links=np.where(g.links == 77, -2, g.links)), "links to -2"),
    (lambda g: g._replace(links=np.where(g.links == 77, g.links[:, :1], g.links)), "the first is node 77"),
    (lambda g: g._replace(links=np.where(np.arange(16) == 0, -1, g.links)), "behind its last"),
    (lambda g: g._replace(offsets=np.arange(3001, dtype=np.int32)), "offsets must be int64"),
    (lambda g: g._replace(offsets=np.minimum(np.arange(3001), 2999)), "offsets must rise"),
])  # fmt: skip
def test_a_wrong_graph_is_named(change, message):
    global _graph
    if _graph is None:
        _graph = build(clustered(3000, 8, 20, 0.5))[0]._replace(entries=np.arange(10, dtype=np.int32))
    with pytest.raises(ValueError, match=message):
        check_graph(change(_graph), 3000)


_graph: Graph | None = None


def test_lists_of_rows_among_themselves():
    x = clustered(3500, 6, 20, 0.5, 8)
    rows = whole_numbers(x, 1)
    keys = own_lists(rows, 20, np.random.default_rng(0), 2, quiet)
    whole, found = oracle.whole_of(rows), 0
    for u in range(0, 3500, 100):
        exact = oracle.keys_of(whole, u, range(3500))[:20]
        own = [(int(key >> np.uint64(32)), int(key & np.uint64(0xFFFFFFFF))) for key in keys[u]]
        assert own == oracle.keys_of(whole, u, [v for _, v in own])
        found += len(set(own) & set(exact))
    assert found >= 0.95 * 35 * 20
