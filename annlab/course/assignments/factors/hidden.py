"""Hidden tests of the factors: exact search, cells on lines, the hypercube, centres, inverted file, factors."""

from __future__ import annotations

from functools import cache

import numpy as np

from annlab.course.answers import array, expect, expect_close
from annlab.course.assignment import Program, Tests
from annlab.course.diagnosis import Case, expect_searches, l2
from annlab.course.materials import clothes

TESTS = Tests()


@cache
def _images() -> tuple[np.ndarray, np.ndarray]:
    """500 images and 12 queries. Rows 20 and 30 are copies of row 400; the last row is nearly the first query."""
    images = clothes(512, seed=2)
    data, queries = images[:500], images[500:]
    data[20] = data[30] = data[400]
    data[-1] = queries[0] * 0.999
    queries[1] = data[400]
    queries[2] = data[0] * 0.999
    return data, queries


@cache
def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Points of a grid and queries between them: ties everywhere."""
    data = np.random.default_rng(0).permutation(np.stack(np.meshgrid(*[np.arange(6.0)] * 2), axis=2).reshape(-1, 2))
    return data, np.array([[2.5, 2.5], [0.0, 0.0], [3.0, 2.0], [5.5, 1.0]])


@TESTS.add(points=3)
def exact_search(code: Program) -> None:
    """The k nearest of every query, the smaller row first among equals."""
    for data, queries in (_images(), _grid()):
        answer = code.exact_search(data, queries, 7)
        expect(isinstance(answer, tuple) and len(answer) == 2, "Return a pair: (distances, rows).")
        distances = array(answer[0], (len(queries), 7))
        rows = array(answer[1], (len(queries), 7))
        for query, lengths, found in zip(queries, distances, rows, strict=True):
            expect_searches([Case((lengths, found), data, query, 7)])


@TESTS.add(points=2)
def projection_keys(code: Program) -> None:
    """floor((v . direction + shift) / width), for negative numbers, too."""
    rng = np.random.default_rng(1)
    data, directions, shifts = rng.normal(size=(50, 6)) * 5, rng.normal(size=(4, 6)), rng.random(4) * 3
    keys = array(code.projection_keys(data, directions, shifts, 3.0), (50, 4))
    line = data @ directions.T
    right = np.floor((line + shifts) / 3.0)
    expect_close(keys, right, "Not floor((v . direction + shift) / width).", [
        (np.trunc((line + shifts) / 3.0), "Negative numbers were rounded towards 0, as int() and astype(int) do: "
         "then the cell around 0 is twice as wide. Take np.floor."),
        (np.floor(line / 3.0), "The shift is missing: without it all lines have a border at 0."),
        (np.floor(line + shifts), "The width is missing."),
        (np.floor(line / 3.0 + shifts), "The shift was added after the division: it is inside, from 0 to width."),
        (np.floor((line - shifts) / 3.0), "The shift was taken off."),
        (np.round((line + shifts) / 3.0),
         "These were rounded to the nearest; cells begin at their lower border: np.floor."),
        (np.sign(line) > 0, "These are signs, not cells."),
        ((line + shifts) / 3.0, "The floor is missing: keys are whole numbers."),
    ])  # fmt: skip
    expect(keys.dtype.kind in "iu", f"Keys are whole numbers; these are {keys.dtype}: astype(int), after np.floor.")


@TESTS.add(points=2)
def corners(code: Program) -> None:
    """The signs of the projections as bits."""
    rng = np.random.default_rng(2)
    data, directions = rng.normal(size=(60, 5)), rng.normal(size=(6, 5))
    keys = array(code.corners(data, directions), (60,))
    bits, weights = data @ directions.T > 0, 1 << np.arange(6)
    expect(len(np.unique(keys)) > 1, "Every row is at the same corner: do all bits have one sign?")
    expect_close(keys, bits @ weights, "Not the corners: bit j is 1 where v . directions[j] > 0, and counts 2**j.", [
        (~bits @ weights, "The bits are the wrong way round: 1 is for the positive side."),
        (bits @ weights[::-1], "The bits are in reverse: bit j counts 2**j, so the first counts 1."),
        (bits.sum(axis=1), "The bits were added up; bit j counts 2**j."),
    ])  # fmt: skip


@TESTS.add(points=2)
def probed_corners(code: Program) -> None:
    """The own corner first, then those that differ in one bit, in two, ..."""
    for corner, n_bits, n_probes in ((5, 4, 1), (5, 4, 9), (0, 3, 8), (13, 5, 20)):
        given = [int(one) for one in array(code.probed_corners(corner, n_bits, n_probes), (None,), "iu")]
        expect(corner in given, f"The query's own corner, {corner}, is not among the probed: it is the first of all.")
        expect(given[0] == corner, f"The query's own corner, {corner}, comes first.")
        wanted = min(n_probes, 1 << n_bits)
        expect(len(given) != 1 or wanted == 1, f"n_probes is ignored: {wanted} corners are asked for, and only the own "
               "was returned.")  # fmt: skip
        expect(len(given) != n_probes + 1, "One corner too many: the own one is among the n_probes.")
        expect(len(given) == wanted, f"{wanted} corners are asked for, and {len(given)} were returned.")
        expect(len(set(given)) == wanted, "A corner was returned twice.")
        expect(
            all(0 <= one < 1 << n_bits for one in given), f"With {n_bits} bits corners are 0 to {(1 << n_bits) - 1}."
        )
        apart = [(one ^ corner).bit_count() for one in given]
        expect(apart == sorted(apart), f"Corner {given[-1]} is not in its place: sort by the number of bits that "
               "differ from the own corner, not by the difference of the numbers.")  # fmt: skip
        order = [(bits, one) for bits, one in zip(apart, given, strict=True)]
        expect(order == sorted(order), "Among corners that differ in equally many bits the smaller number comes first.")
        farther = [one for one in range(1 << n_bits) if one not in given]
        if farther:
            least = min((one ^ corner).bit_count() for one in farther)
            expect(
                least >= apart[-1], f"A corner that differs in {least} bits was left out, and one of {apart[-1]} taken."
            )


@TESTS.add(points=3)
def hypercube_search(code: Program) -> None:
    """The nearest among the rows of all probed corners."""
    data, queries = _images()
    middle = data.mean(axis=0)
    keys = ((data - middle) @ np.random.default_rng(4).normal(size=(784, 5)) > 0) @ (1 << np.arange(5))
    cases = []
    for number, query in enumerate(queries):
        probes = [int(one) for one in np.random.default_rng(number).permutation(32)[:6]]
        among = np.array([row for row, key in enumerate(keys) if key in probes])
        answer = code.hypercube_search(data, keys, probes, query, 7)
        by_probe = np.concatenate([np.flatnonzero(keys == corner) for corner in probes])
        cases.append(Case(answer, data, query, 7, among=among, unranked=[among, by_probe], also=[
            (np.flatnonzero(keys == probes[0]), "Only the first of the probes was looked at: the probes are ignored."),
            (np.flatnonzero(np.isin(keys, probes[:-1])), "The last of the probes was not looked at."),
            (np.flatnonzero(np.isin(keys, probes[1:])), "The first of the probes was not looked at."),
            (np.arange(len(data)), "Rows at all corners were compared; only those at the probed ones are candidates."),
        ]))  # fmt: skip
    expect_searches(cases)


@TESTS.add(points=3)
def update_centres(code: Program) -> None:
    """Means of the rows, and a centre without rows stays."""
    rng = np.random.default_rng(5)
    data, centres = rng.normal(size=(40, 3)), rng.normal(size=(5, 3))
    assigned = rng.integers(0, 4, 40)
    assigned[assigned == 2] = 4  # nobody is nearest to centre 2
    moved = np.asarray(code.update_centres(data, assigned, centres), float)
    means = np.array([data[assigned == one].mean(axis=0) if one != 2 else centres[2] for one in range(5)])
    expect(moved.shape == (5, 3), f"Five centres of three numbers are asked for: (5, 3), not {moved.shape}.")
    expect(not np.isnan(moved[2]).any(), "The centre of an empty cluster became NaN, a mean of nothing: a centre "
           "without rows stays where it is.")  # fmt: skip
    expect(
        (moved[2] != 0).any(), "The centre of an empty cluster was moved to 0: a centre without rows stays where it is."
    )
    sums = np.array([data[assigned == one].sum(axis=0) if one != 2 else centres[2] for one in range(5)])
    medians = np.array([np.median(data[assigned == one], axis=0) if one != 2 else centres[2] for one in range(5)])
    expect_close(moved, means, "Not the means of the rows that are assigned to each centre.", [
        (centres, "The centres did not move."),
        (sums, "These are sums of the rows: divide by how many there are."),
        (medians, "These are medians; k-means takes means."),
    ])  # fmt: skip


@TESTS.add(points=3)
def ivf_search(code: Program) -> None:
    """The nearest among the rows of the n_probes nearest cells."""
    data, queries = _images()
    centres = data[100:112].copy()
    assigned = np.array([l2(centres, row).argmin() for row in data])
    cases = []
    for number, query in enumerate(queries):
        n_probes = 1 + number % 5
        order = np.argsort(l2(centres, query), kind="stable")

        def rows_of(cells: np.ndarray) -> np.ndarray:
            return np.flatnonzero(np.isin(assigned, cells))

        answer = code.ivf_search(data, centres, assigned, query, 7, n_probes)
        among = rows_of(order[:n_probes])
        by_cell = np.concatenate([rows_of(cell) for cell in order[:n_probes, None]])
        cases.append(Case(answer, data, query, 7, among=among, unranked=[among, by_cell], also=[
            (rows_of(order[:1]), "n_probes is ignored: only the nearest cell was looked at."),
            (np.arange(len(data)), "n_probes is ignored: the rows of all cells were compared."),
            (rows_of(order[: n_probes + 1]), "One cell too many was looked at: n_probes counts the nearest one, too."),
            (rows_of(order[: max(n_probes - 1, 1)]),
             "One cell too few was looked at: n_probes counts the nearest one, too."),
            (rows_of(order[1 : n_probes + 1]), "The nearest cell was left out."),
            (rows_of(order[-n_probes:]), "The farthest cells were looked at, not the nearest."),
            (rows_of(np.arange(n_probes)), "The first cells were looked at, not the nearest to the query."),
        ]))  # fmt: skip
    expect_searches(cases)


@TESTS.add(points=2)
def approximation_factors(code: Program) -> None:
    """The mean and the largest of found over true, rank by rank."""
    found, true = np.array([[2.0, 3.0], [4.0, 6.0]]), np.array([[1.0, 3.0], [4.0, 4.0]])
    given = array(code.approximation_factors(found, true), (2,))
    right = np.array([(2 + 1 + 1 + 1.5) / 4, 2.0])
    sums = (found.sum(axis=1) / true.sum(axis=1)).mean()
    expect_close(given, right, "Not the mean and the largest of found / true, rank by rank.", [
        (right[::-1], "The pair is the wrong way round: the mean comes first, then the largest."),
        ([(true / found).mean(), (true / found).max()], "The factor is upside down: found over true, 1 or more."),
        ([right[0] * 2, 2.0], "The mean is over all ranks of all queries: divide by q * k, not by k."),
        ([sums, 2.0], "Rank by rank: divide each distance by its own true one, not sum by sum."),
        ([right[0], 1.5], "The largest is over all queries, not of the last."),
    ])  # fmt: skip
    nothing = np.asarray(code.approximation_factors(np.array([[0.0, 2.0]]), np.array([[0.0, 1.0]])), float)
    expect_close(nothing, [1.5, 2.0], "Where both distances are 0, as for a copy of the query, the factor is 1.")
    lost = code.approximation_factors(np.array([[1.0, 2.0]]), np.array([[0.0, 2.0]]))
    expect(np.isinf(np.asarray(lost, float)).all(), "Where only the true distance is 0, the factor is infinite.")
