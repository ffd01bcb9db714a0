"""Hidden tests of what is missed: leaves, boxes, the order of visits, search, the missed rows, precision, outlines."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from annlab.course.answers import array, expect, expect_close
from annlab.course.assignment import Program, Tests
from annlab.course.diagnosis import Case, expect_searches, l2

TESTS = Tests()
Tree = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@cache
def _tree() -> Tree:
    """Points in a grid of 4 x 4 leaves, by two sorts: data, order, starts, low, high. No solution makes leaves so."""
    data = np.random.default_rng(6).normal(size=(163, 2)).round(2)
    data[120] = data[7]  # a tie
    by_first = np.array_split(np.argsort(data[:, 0], kind="stable"), 4)
    leaves = [leaf for part in by_first for leaf in np.array_split(part[np.argsort(data[part, 1], kind="stable")], 4)]
    low = np.array([data[leaf].min(axis=0) for leaf in leaves])
    high = np.array([data[leaf].max(axis=0) for leaf in leaves])
    return data, np.concatenate(leaves), np.concatenate([[0], np.cumsum([len(leaf) for leaf in leaves])]), low, high


def _queries() -> np.ndarray:
    data, order, *_ = _tree()
    return np.concatenate([np.random.default_rng(7).normal(size=(8, 2)), data[[order[-1], order[0], 162, 7]] + 0.001])


def _visits(query: np.ndarray) -> np.ndarray:
    """Leaves by the distance of their boxes."""
    *_, low, high = _tree()
    beyond = np.maximum(np.maximum(low - query, query - high), 0)
    return np.argsort((beyond**2).sum(axis=1), kind="stable")


@TESTS.add(points=4)
def leaf_ranges(code: Program) -> None:
    """Leaves that hold every row once, are no larger than allowed, and do not overlap."""
    rng = np.random.default_rng(8)
    for n, leaf_size in ((100, 10), (67, 8), (5, 8), (33, 1)):
        data = rng.normal(size=(n, 3)) * [1, 5, 2]
        answer = code.leaf_ranges(data, leaf_size)
        expect(isinstance(answer, tuple) and len(answer) == 2, "Return a pair: (order, starts).")
        order, starts = array(answer[0], (None,), "iu"), array(answer[1], (None,), "iu")
        lost = np.setdiff1d(np.arange(n), order)
        expect(not len(lost), f"Row {lost[-1] if len(lost) else 0} of {n} is in no leaf: does a half end too early?")
        expect(
            len(order) == n, f"order holds {len(order)} entries for {n} rows: is the row at the median in both halves?"
        )
        expect(len(starts) and starts[0] == 0, "starts begins with 0.")
        expect(starts[-1] == n, f"starts ends with {starts[-1]}, and the last leaf ends at {n}: there is one more "
               "start than there are leaves.")  # fmt: skip
        sizes = np.diff(starts)
        expect((sizes > 0).all(), "A leaf is empty, or starts does not ascend.")
        expect(sizes.max() <= leaf_size, f"A leaf holds {sizes.max()} rows, and {leaf_size} are allowed.")
        expect(n <= leaf_size or sizes.min() > (leaf_size - 1) / 4, f"A leaf holds {sizes.min()} rows of {leaf_size}: "
               "halve at the median, and stop at leaf_size or less.")  # fmt: skip
        leaves = [data[order[start:stop]] for start, stop in pairwise(starts)]
        for one, leaf in enumerate(leaves):
            for two in range(one):
                apart = (leaf.min(axis=0) >= leaves[two].max(axis=0)) | (leaf.max(axis=0) <= leaves[two].min(axis=0))
                expect(apart.any(), f"Leaves {two} and {one} overlap on all axes: sort the rows of a node along the "
                       "axis that is split, and only these.")  # fmt: skip
    data = rng.normal(size=(64, 2)) * [1, 9]
    order, starts = code.leaf_ranges(data, 32)
    halves = data[np.asarray(order)[: starts[1]], 1], data[np.asarray(order)[starts[1] :], 1]
    split = max(half.min() for half in halves) >= min(half.max() for half in halves)
    expect(split, "The first split is not along the widest axis: np.ptp(data[rows], axis=0).argmax().")


@TESTS.add(points=3)
def leaf_boxes(code: Program) -> None:
    """The smallest and largest coordinates of the rows of each leaf."""
    data, order, starts, low, high = _tree()
    answer = code.leaf_boxes(data, order, starts)
    expect(isinstance(answer, tuple) and len(answer) == 2, "Return a pair: (low, high).")
    given = np.stack([array(answer[0], low.shape), array(answer[1], high.shape)])

    def boxes(first: int, last: int, rows: np.ndarray) -> np.ndarray:
        parts = [data[rows[start + first : stop + last]] for start, stop in pairwise(starts)]
        return np.stack([[part.min(axis=0) for part in parts], [part.max(axis=0) for part in parts]])

    right = boxes(0, 0, order)
    expect_close(given, right, "Not the smallest boxes around the rows order[starts[i] : starts[i + 1]].", [
        (boxes(0, -1, order), "Off by one: the last row of each leaf is left out. A slice ends before its second "
                              "number."),
        (boxes(0, 1, order), "Off by one: each leaf takes the first row of the next."),
        (boxes(1, 0, order), "Off by one: the first row of each leaf is left out."),
        (boxes(0, 0, np.arange(len(order))), "starts counts places in order, not rows: data[order[start:stop]]."),
        (right[::-1], "The pair is the wrong way round: low comes first."),
    ])  # fmt: skip


@TESTS.add(points=2)
def visit_order(code: Program) -> None:
    """The leaves by the distance of their boxes from the query."""
    *_, low, high = _tree()
    for query in _queries():
        given = array(code.visit_order(low, high, query), (len(low),), "iu")
        expect(sorted(given.tolist()) == list(range(len(low))), "Each leaf is to be there once.")
        right = _visits(query)
        beyond = np.maximum(np.maximum(low - query, query - high), 0)
        expect_close(given, right, "Not the order of the distances of the boxes (0 inside of one), the smaller "
                     "number first among equals.", [
            (right[::-1], "The order is reversed: the nearest box comes first."),
            (np.argsort(l2((low + high) / 2, query), kind="stable"), "The order is that of the centres of the "
             "boxes; the nearest point of a box counts."),
            (np.argsort(l2(low, query), kind="stable"),
             "The order is that of the low corners; the nearest point counts."),
            (np.argsort(beyond.sum(axis=1), kind="stable"), "The order is that of L1 distances; the Euclidean counts."),
        ])  # fmt: skip


@TESTS.add(points=4)
def search(code: Program) -> None:
    """The nearest among the rows of the first n_leaves leaves."""
    data, order, starts, *_ = _tree()
    cases = []
    for number, query in enumerate(_queries()):
        visits, n_leaves = _visits(query), 1 + number % 4

        def rows_of(leaves: Any, last: int = 0) -> np.ndarray:
            return np.concatenate([order[starts[leaf] : starts[leaf + 1] + last] for leaf in leaves])

        answer = code.search(data, order, starts, visits, query, 6, n_leaves)
        among = rows_of(visits[:n_leaves])
        cases.append(Case(answer, data, query, 6, among=among, unranked=[among], also=[
            (rows_of(visits[:n_leaves], -1), "Off by one: the last row of each leaf is left out. A slice ends "
             "before its second number."),
            (rows_of(visits[:n_leaves], 1), "Off by one: each leaf takes the first row of the next."),
            (rows_of(visits[:1]), "n_leaves is ignored: only the first leaf was visited."),
            (rows_of(visits), "n_leaves is ignored: all leaves were visited."),
            (rows_of(visits[: n_leaves + 1]), "One leaf too many was visited."),
            (rows_of(visits[: max(n_leaves - 1, 1)]), "One leaf too few was visited."),
            (rows_of(range(n_leaves)), "The first leaves were visited, not the first of visits."),
        ]))  # fmt: skip
    expect_searches(cases)


@TESTS.add(points=3)
def missed(code: Program) -> None:
    """Each true neighbour that was not found, with the number of leaves that would have found it."""
    data, order, starts, *_ = _tree()
    leaf_of = np.empty(len(data), int)
    for leaf, (start, stop) in enumerate(pairwise(starts)):
        leaf_of[order[start:stop]] = leaf
    something = False
    for query in _queries():
        visits = _visits(query)
        true_rows = np.argsort(l2(data, query), kind="stable")[:25]
        found = true_rows[leaf_of[true_rows] == visits[0]]
        place = {int(leaf): number for number, leaf in enumerate(visits)}
        right = [(int(row), place[leaf_of[row]] + 1) for row in true_rows if row not in found]
        something |= bool(right)
        answer = code.missed(true_rows, found, order, starts, visits)
        expect(isinstance(answer, list) and all(np.shape(one) == (2,) for one in answer), "Return a list of pairs "
               "(row, n_leaves), an empty one where nothing was missed.")  # fmt: skip
        given = [(int(row), int(count)) for row, count in answer]
        rows, wanted = [row for row, _ in given], [row for row, _ in right]
        expect(
            rows != found.tolist() or rows == wanted, "These are the rows that were found; the missed are asked for."
        )
        expect(sorted(rows) != sorted(wanted) or rows == wanted, "The rows are in the order of true_rows.")
        expect(rows == wanted, f"{len(wanted)} of the true neighbours were missed, and {len(rows)} were returned.")
        expect(given != [(row, count - 1) for row, count in right] or not right, "Off by one: n_leaves is 1 for a "
               "row of the first leaf, not 0.")  # fmt: skip
        expect(given != [(row, int(leaf_of[row])) for row in wanted] or not right, "That is the number of the leaf; "
               "its place in visits is asked for.")  # fmt: skip
        wrong = [one for one, other in zip(given, right, strict=True) if one != other]
        at_border = [row for row, _ in wrong if np.flatnonzero(order == row)[0] in starts]
        expect(not wrong or len(at_border) < len(wrong), "The first row of a leaf was counted to the leaf before it: "
               'np.searchsorted(starts, place, side="right") - 1.')  # fmt: skip
        expect(not wrong, f"Row {wrong[0][0] if wrong else 0} is found with another number of leaves than "
               f"{wrong[0][1] if wrong else 0}: where in order is it, in which leaf is that, and where is that in "
               "visits?")  # fmt: skip
    expect(something, "nothing was missed")


@TESTS.add(points=2)
def average_precision(code: Program) -> None:
    """Precision at each hit, added up, over the number of relevant rows."""
    found, relevant = np.array([4, 9, 2, 7, 5]), np.array([9, 7, 1, 4])
    hits = np.array([True, True, False, True, False])
    at_hits = np.array([1, 1, 3 / 4])
    right = at_hits.sum() / 4
    given = float(array(code.average_precision(found, relevant), ()))
    expect_close(given, right, "Not the sum of the precisions at the ranks of the hits, over the number of relevant "
                               "rows.", [
        (at_hits.mean(), "Divided by the number of hits: then a search that finds one row of a thousand, first, is "
         "perfect. Divide by the number of relevant rows, found or not."),
        (at_hits.sum() / 5, "Divided by the number of rows that were returned; divide by the number of relevant rows."),
        (at_hits.sum(), "The sum is not divided by the number of relevant rows."),
        ((np.cumsum(hits) / np.arange(1, 6)).mean(),
         "Precision was averaged over all ranks; only those of hits count."),
        ((np.cumsum(hits) / np.arange(1, 6)).sum() / 4,
         "Precision was added up over all ranks; only those of hits count."),
        (3 / 5, "That is the precision, which does not see the order."),
        (3 / 4, "That is the recall, which does not see the order."),
        ((1 / 2 + 2 / 3 + 3 / 5) / 4, "Ranks are counted from 1: the first row has the rank 1, not 2."),
    ])  # fmt: skip
    expect_close(float(code.average_precision(np.array([1, 2]), np.array([3]))), 0.0, "Without a hit it is 0.")


@TESTS.add(points=2)
def outlines(code: Program) -> None:
    """Closed rectangles of five corners."""
    *_, low, high = _tree()
    given = array(code.outlines(low, high), (len(low), 5, 2))
    expect_close(given[:, 0], given[:, 4], "The fifth corner is the first again, so that the rectangle is closed.")
    expect_close(given.min(axis=1), low, "The smallest coordinates are not those of low.")
    expect_close(given.max(axis=1), high, "The largest coordinates are not those of high.")
    steps = np.diff(given, axis=1) != 0
    expect(
        (steps.sum(axis=2) == 1).all(), "From corner to corner one coordinate changes; here the line crosses the box."
    )
