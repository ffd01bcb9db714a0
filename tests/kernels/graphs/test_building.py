"""Kernels of building against NumPy: whole numbers, lists, pruning, reverse edges, reaching; with many ties."""

import numpy as np
import pytest

from annlab.graphs.graph import parents_of
from annlab.graphs.leaves import Leaves, group, nearest_in, nearest_lists, packed
from annlab.graphs.links import joined, pruned, reversed_links
from annlab.graphs.whole import largest_number, whole_numbers
from annlab.kernels.graphs import compare, prune, reach
from annlab.kernels.graphs import whole as kernels
from annlab.kernels.graphs.compare import LOW, NONE
from tests.graphs import graph_oracle as oracle


def lists_of(rows, leaves, keep, threads=1):
    return nearest_lists(rows, leaves, np.arange(len(rows.codes), dtype=np.int32), keep, threads, quiet)


def quiet(what, share):
    return None


def few_values(n, dim, seed=0, values=5):
    """Rows of few values: many equal distances."""
    return np.random.default_rng(seed).integers(values, size=(n, dim)).astype(np.float32)


def split(keys):
    return [[(int(k >> np.uint64(32)), int(k & LOW)) for k in row if k != NONE] for row in keys]


@pytest.mark.parametrize("dim", [1, 3, 64, 65, 130])
def test_rows_become_whole_numbers_with_their_norms(dim):
    x = np.random.default_rng(dim).normal(size=(200, dim)).astype(np.float32) * 3 + 7
    rows = whole_numbers(x, 2)
    y = oracle.whole_of(rows)
    assert np.abs(y).max() == largest_number(dim)
    np.testing.assert_array_equal(rows.norms, (y**2).sum(axis=1))
    np.testing.assert_array_equal(rows.sums, y.sum(axis=1))
    assert (rows.codes[:, dim:] == 128).all() and rows.codes.shape[1] % 64 == 0
    centered = x - x.mean(axis=0)
    step = (centered * y).sum() / (y * y).sum()
    assert np.abs(centered / step - y)[np.abs(y) < largest_number(dim)].max() < 0.6


@pytest.mark.parametrize("x", [np.zeros((5, 3)), np.full((4, 2), 1e30), np.eye(6) * 1e-30, np.array([[3e38], [-3e38]])])
def test_whole_numbers_of_extremes(x):
    y = oracle.whole_of(whole_numbers(x.astype(np.float32), 1))
    assert np.abs(y).max(initial=0) <= largest_number(x.shape[1])
    assert (len(np.unique(y, axis=0)) > 1) == (len(np.unique(x, axis=0)) > 1)


def test_the_largest_number_keeps_sums_within_int32():
    for dim in [1, 100, 10_000, 20_000, 65_536, 10**6]:
        most = largest_number(dim)
        assert most >= 1 and dim * (3 * most**2 + 512 * most) < 2**31


@pytest.mark.parametrize(("n", "dim", "keep"), [(2, 3, 4), (33, 5, 8), (300, 7, 64), (150, 70, 16)])
def test_a_leaf_compares_all_with_all(n, dim, keep):
    rows = whole_numbers(few_values(n, dim), 1)
    ids = np.arange(n, dtype=np.int32)
    keys = lists_of(rows, Leaves(ids, np.array([0, n])), keep)
    whole = oracle.whole_of(rows)
    assert split(keys) == [oracle.keys_of(whole, u, ids)[:keep] for u in range(n)]


@pytest.mark.parametrize("threads", [1, 3])
def test_lists_are_the_least_of_all_leaves_whatever_their_order(threads):
    rng = np.random.default_rng(1)
    rows, n, keep = whole_numbers(few_values(400, 6, 1), 1), 400, 20
    parts = [np.sort(rng.choice(n, 90, replace=False)).astype(np.int32) for _ in range(12)]
    whole = oracle.whole_of(rows)
    near = [set().union(*[set(part.tolist()) for part in parts if u in part]) for u in range(n)]
    expected = [oracle.keys_of(whole, u, near[u])[:keep] for u in range(n)]
    for some in (parts, parts[::-1]):
        leaves = Leaves(np.concatenate(some), np.cumsum([0, *map(len, some)]))
        assert split(lists_of(rows, leaves, keep, threads)) == expected
        some = np.arange(5, n, 7, dtype=np.int32)
        assert split(nearest_lists(rows, leaves, some, keep, threads, quiet)) == [expected[u] for u in some]


def test_the_nearest_of_a_leaf_of_others():
    rows = whole_numbers(few_values(500, 9, 2), 1)
    ids, which = np.arange(0, 500, 3, dtype=np.int32), np.arange(1, 500, 7, dtype=np.int32)
    keys, whole = nearest_in(packed(rows, ids), rows, which, 5, 2), oracle.whole_of(rows)
    others = [i for i, u in enumerate(which) if u not in ids]
    assert [split(keys)[i] for i in others] == [oracle.keys_of(whole, which[i], ids)[:5] for i in others]


def test_members_are_grouped_by_cell():
    assigned = np.array([[0, 2], [2, 1], [0, 1], [2, 0]], np.int32)
    grouped = group(assigned, 4)
    assert grouped.members.tolist() == [0, 2, 3, 1, 2, 0, 1, 3] and grouped.offsets.tolist() == [0, 3, 5, 8, 8]


def test_means_are_rounded():
    rows = whole_numbers(few_values(60, 5, 3, 90), 1)
    members, offsets = np.arange(60, dtype=np.int32), np.array([0, 7, 7, 60])
    codes, norms, sums = rows.codes[:3].copy(), rows.norms[:3].copy(), rows.sums[:3].copy()
    kernels.means(rows, members, offsets, 0, 3, codes, norms, sums)
    whole = oracle.whole_of(rows)
    np.testing.assert_array_equal(codes[0, :5].astype(int) - 128, np.rint(whole[:7].mean(axis=0)))
    np.testing.assert_array_equal(codes[1], rows.codes[1])
    last = np.rint(whole[7:].mean(axis=0))
    assert norms[2] == (last**2).sum() and sums[2] == last.sum()


@pytest.mark.parametrize(("dim", "alpha", "values"), [(6, 1.0, 4), (40, 1.2, 50), (70, 1.4, 250)])
def test_pruning_is_the_textbook_rule(dim, alpha, values):
    n, keep, degree = 150, 70, 16
    rows = whole_numbers(few_values(n, dim, 4, values), 1)
    ids = np.arange(n, dtype=np.int32)
    keys = lists_of(rows, Leaves(ids, np.array([0, n])), keep)
    whole, own = oracle.whole_of(rows), pruned(rows, keys, degree, alpha, 2, quiet)
    expected = [oracle.filled(oracle.pruned(whole, row, degree, alpha), row, degree // 2) for row in split(keys)]
    assert split(own) == expected
    links = joined(rows, own, alpha, 2, quiet)
    assert [[v for v in row if v >= 0] for row in links.tolist()] == oracle.joined(whole, expected, degree, alpha)


def test_reversed_links_lead_back():
    own = np.full((4, 2), NONE, np.uint64)
    own[0, 0], own[2, 0], own[2, 1] = (5 << 32) | 1, (7 << 32) | 1, (9 << 32) | 3
    back, offsets = reversed_links(own)
    assert offsets.tolist() == [0, 0, 2, 2, 3]
    assert [(int(k >> np.uint64(32)), int(k & LOW)) for k in back] == [(5, 0), (7, 2), (9, 2)]


def test_links_are_chosen_anew_among_candidates():
    n, degree = 700, 16
    rows = whole_numbers(few_values(n, 10, 5, 30), 1)
    rng, whole = np.random.default_rng(5), oracle.whole_of(rows)
    nodes = np.array([3, 600], np.int32)
    more = [rng.choice(n, 650).astype(np.int32), np.array([1, 600, 2, 2], np.int32)]
    links = np.full((n, degree), -1, np.int32)
    links[3, :4], links[600, [0, 5]] = [9, -1, 8, 7], [1, 10]
    prune.relink(rows, nodes, np.concatenate(more), np.array([0, 650, 654]), 0, 2, np.float32(1.2),
                 prune.new_near(rows.stride, degree), np.empty(700, np.uint64), links)  # fmt: skip
    keys = oracle.keys_of(whole, 3, {*more[0].tolist(), 9, 8, 7})[: prune.MOST]
    chosen = oracle.filled(oracle.pruned(whole, keys, degree, 1.2), keys, degree)
    assert links[3].tolist() == [v for _, v in chosen]
    assert links[600].tolist() == [v for _, v in oracle.keys_of(whole, 600, {1, 2, 10})] + [-1] * 13
    assert (np.delete(links, nodes, axis=0) == -1).all()


def test_attaching_takes_the_place_of_a_link_that_nobody_needs():
    links = np.array([[1, 2], [2, -1], [1, 0], [0, -1]], np.int32)
    parents = parents_of(links, np.array([0], np.int32))
    assert parents.tolist() == [-1, 0, 0, reach.UNREACHED]
    assert not reach.attach_one(links, parents, 0, 3)  # both links hold somebody in
    assert reach.attach_one(links, parents, 2, 3) and links[2].tolist() == [1, 3]
    assert parents_of(links, np.array([0], np.int32)).tolist() == [-1, 0, 0, 2]


def test_a_full_buffer_keeps_the_first_of_equal_distances():
    n, keep = 2000, 8  # all at one distance from row 0
    x = np.zeros((n, 2), np.float32)
    x[1:, 0] = 1
    rows = whole_numbers(x, 1)
    found = nearest_in(packed(rows, np.arange(1, n, dtype=np.int32)), rows, np.array([0], np.int32), keep, 1)
    assert [v for _, v in split(found)[0]] == list(range(1, keep + 1))
    assert compare.FAR == np.iinfo(np.int32).max
