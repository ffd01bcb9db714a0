"""Links that lead far: from whatever island a walk begins on, it finds the right one."""

import numpy as np
import pytest

from annlab.graphs import overview
from annlab.graphs.build import build_graph
from annlab.graphs.graph import check_graph
from annlab.graphs.overview import lead_far
from annlab.graphs.reach import find_entries, reach_all
from annlab.graphs.whole import whole_numbers
from tests.graphs import graph_oracle as oracle
from tests.graphs.test_build import quiet

N_ISLANDS, ON_EACH, ENTRIES = 60, 100, 4


@pytest.fixture(scope="module")
def islands():
    """Rows on islands, and queries that lie off to one side of these."""
    rng = np.random.default_rng(4)
    centers, aside = rng.normal(size=(N_ISLANDS, 16)), 4 * rng.normal(size=16)
    x = np.repeat(centers, ON_EACH, axis=0) + 0.1 * rng.normal(size=(N_ISLANDS * ON_EACH, 16))
    queries = centers[rng.integers(N_ISLANDS, size=100)] + 0.1 * rng.normal(size=(100, 16)) + aside
    graph, order = build_graph(x.astype(np.float32), degree=32, alpha=1.2, threads=2, seed=0, progress=quiet)
    return graph, x[order].astype(np.float32), queries.astype(np.float32)


def led_far(graph, vectors, threads):
    """The links with those that lead far, some entries, and rows."""
    rows, links, entries = whole_numbers(vectors, 1), graph.links.copy(), few_of(graph.entries)
    lead_far(links, entries, rows, 1.2, np.random.default_rng(0), threads)
    return links, entries, rows


def few_of(entries):
    return entries[:: len(entries) // ENTRIES][:ENTRIES].copy()


def test_a_walk_finds_from_island_to_island(islands):
    graph, vectors, queries = islands
    links, entries, rows = led_far(graph, vectors, 2)
    led = graph._replace(links=links, entries=reach_all(links, entries, rows))
    assert len(led.entries) == ENTRIES
    check_graph(led, len(vectors))
    before, after = (oracle.recall(vectors, one, queries, 10, 1.02)
                     for one in (graph._replace(entries=entries), led))  # fmt: skip
    assert before < 0.2 < 0.9 < after


def test_few_nodes_get_such_links_and_keep_their_nearest(islands):
    graph, vectors, _ = islands
    links, _, _ = led_far(graph, vectors, 1)
    changed = np.flatnonzero((links != graph.links).any(axis=1))
    assert len(changed) <= len(links) / 32 + ENTRIES + 1
    for u in changed:
        now, before = ([v for v in some[u].tolist() if v >= 0] for some in (links, graph.links))
        assert u not in now and len(set(now)) == len(now)
        assert set(before[:4]) <= set(now)  # chosen three times: an eighth of 32 places
    np.testing.assert_array_equal(led_far(graph, vectors, 3)[0], links)


def test_far_links_come_first_and_none_comes_twice():
    far, links = np.array([[7, 3, -1], [5, 6, 8]]), np.array([[3, 1, 2, -1], [4, 1, 2, 3]])
    found = overview._in_front(far, links)
    np.testing.assert_array_equal(found, [[7, 3, 1, 2], [5, 6, 8, 4]])


@pytest.mark.parametrize(("dim", "most"), [(16, 256), (300, 204), (784, 128)])
def test_there_are_fewer_entries_where_rows_are_long(dim, most):
    rng = np.random.default_rng(5)
    rows = whole_numbers(rng.normal(size=(1100, dim)).astype(np.float32), 1)
    assert 0.8 * most <= len(find_entries(rows, np.ones(len(rows.codes), int), rng, 1)) <= most
