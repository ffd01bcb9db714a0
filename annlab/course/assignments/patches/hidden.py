"""Hidden tests of the image patches: linear search, keys, tables, search in buckets, and the error against L and k."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from annlab.course.answers import array, expect, expect_close
from annlab.course.assignment import Program, Tests
from annlab.course.diagnosis import METRICS, Case, expect_searches
from annlab.course.materials import image_patches

TESTS = Tests()
_L1 = "the L1 distance"


@cache
def _patches() -> np.ndarray:
    """600 patches. Row 599 is nearly row 7; rows 40 and 41 are copies of 300: three are equally far from anything."""
    patches = image_patches(600, seed=1)
    patches[599] = patches[7]
    patches[599, :3] ^= 1
    patches[40] = patches[41] = patches[300]
    patches.flags.writeable = False
    return patches


def _functions(n_tables: int, n_bits: int, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and thresholds, among pixels that are bright in some patches and dark in others."""
    rng = np.random.default_rng(seed)
    varied = np.argsort(-_patches().std(axis=0), kind="stable")[:100]
    return rng.choice(varied, (n_tables, n_bits)), rng.integers(20, 200, (n_tables, n_bits))


def _buckets(n_tables: int, n_bits: int, seed: int = 5) -> tuple[list[dict[int, list[int]]], np.ndarray]:
    """Tables and keys, made by looking at one patch after the other."""
    pixels, thresholds = _functions(n_tables, n_bits, seed)
    keys = np.zeros((len(_patches()), n_tables), np.int64)
    for table in range(n_tables):
        for bit in range(n_bits):
            keys[:, table] |= (_patches()[:, pixels[table, bit]] > thresholds[table, bit]).astype(np.int64) << bit
    return [{key: np.flatnonzero(column == key).tolist() for key in column.tolist()} for column in keys.T], keys


@TESTS.add(points=4)
def linear_search(code: Program) -> None:
    """The k nearest patches by the L1 distance, without the patch itself."""
    patches, few = _patches(), _patches()[:4]
    asked = [*((patches, row, 6) for row in (7, 40, 0, 12, 300, 599, 81, 200)), (few, 2, 9)]
    expect_searches([Case(code.linear_search(data, row, k), data, data[row], k, _L1, row) for data, row, k in asked])


@TESTS.add(points=3)
def hash_keys(code: Program) -> None:
    """Keys of the bits: brighter than the threshold is 1, and bit j counts 2**j."""
    pixels, thresholds = _functions(3, 5)
    patches, small = _patches(), np.array([[9, 5], [1, 5], [9, 9]], np.uint8)
    keys = array(code.hash_keys(patches, pixels, thresholds), (len(patches), 3), "iu")
    bits = patches[:, pixels] > thresholds
    expect(len(np.unique(keys)) > 1, "Every patch has the same key: do all bits have one sign?")
    reversed_bits = bits @ (1 << np.arange(5)[::-1])
    expect_close(keys, bits @ (1 << np.arange(5)), "Not the keys: bit j of a table compares pixel pixels[t, j] with "
                 "thresholds[t, j], and counts 2**j.", [
        (~bits @ (1 << np.arange(5)), "The bits are the wrong way round: 1 is for a pixel that is brighter."),
        (reversed_bits, "The bits are in reverse: bit j counts 2**j, so the first counts 1."),
        ((patches[:, pixels] >= thresholds) @ (1 << np.arange(5)), "A pixel that equals its threshold is not "
         "brighter: its bit is 0."),
        (bits.sum(axis=2), "The bits were added up: then patches with other bits get the same key. Bit j counts 2**j."),
        (keys[:, :1].repeat(3, axis=1), "All tables have the same key: each has functions of its own."),
    ])  # fmt: skip
    equal = code.hash_keys(small, np.array([[0, 1]]), np.array([[1, 5]]))
    expect_close(equal, [[1], [0], [3]], "A pixel that equals its threshold is not brighter: its bit is 0.")


@TESTS.add(points=3)
def build_tables(code: Program) -> None:
    """From each key of each table to all rows that have it."""
    right, keys = _buckets(3, 4)
    tables = code.build_tables(keys)
    expect(
        isinstance(tables, (list, tuple)) and len(tables) == 3, "A list of 3 dictionaries is asked for: one a table."
    )
    expect(all(isinstance(table, dict) for table in tables), "Each table is a dictionary, from a key to rows.")
    for number, (table, wanted) in enumerate(zip(tables, right, strict=True)):
        rows = sorted(int(row) for bucket in table.values() for row in bucket)
        n = len(keys)
        expect(rows != list(range(n - 1)), f"The last row, {n - 1}, is in no bucket: does a range end too early?")
        expect(rows != list(range(1, n)), "Row 0 is in no bucket: rows are counted from 0.")
        expect(rows == list(range(n)), f"Each of the {n} rows is in one bucket of table {number}, and there are "
               f"{len(rows)} entries.")  # fmt: skip
        plain = {int(key): [int(row) for row in bucket] for key, bucket in table.items()}
        expect(plain == wanted, f"In table {number} rows are in buckets of other keys, or not in ascending order.")


@TESTS.add(points=4)
def lsh_search(code: Program) -> None:
    """The nearest among the rows that share a bucket with the patch."""
    tables, keys = _buckets(3, 6)
    cases = []
    for row in (7, 40, 0, 12, 300, 81, 599):
        shared = [np.array(table[key]) for table, key in zip(tables, keys[row].tolist(), strict=True)]
        among = np.unique(np.concatenate(shared))
        answer = code.lsh_search(_patches(), tables, keys, row, 6)
        cases.append(Case(answer, _patches(), _patches()[row], 6, _L1, row, among, [
            (shared[0], "Only the first table was looked into: the candidates are those of all tables together."),
            (shared[-1], "Only the last table was looked into: the candidates are those of all tables together."),
            (_in_all(shared), "Only rows that share a bucket in every table were compared; one table is enough."),
            (np.arange(len(keys)), "Rows that share no bucket were compared, too: that is linear search."),
        ], [among, np.concatenate(shared)]))  # fmt: skip
    expect_searches(cases)


@TESTS.add(points=1)
def empty_buckets(code: Program) -> None:
    """A patch that is alone in its buckets finds nothing, and no error."""
    patches = np.array([[0, 0], [9, 9], [9, 8]], np.uint8)
    answer = code.lsh_search(patches, [{0: [0], 1: [1, 2]}], np.array([[0], [1], [1]]), 0, 2)
    expect_searches([Case(answer, patches, patches[0], 2, _L1, own=0, among=np.array([0]))])


@TESTS.add(points=2)
def error(code: Program) -> None:
    """The mean over the queries of a ratio of sums of distances."""
    found, true = np.array([[2.0, 4.0, 9.0], [3.0, 3.0, 3.0]]), np.array([[2.0, 3.0, 5.0], [1.0, 2.0, 3.0]])
    given = array(code.error(found, true), ())
    expect_close(given, 1.5, "Not the mean over the queries of (sum of its found distances / sum of its true ones).", [
        ((2 / 3 + 2 / 3) / 2, "The ratio is upside down: found over true, so that 1 is perfect and more is worse."),
        (3.0, "The ratios were added up and not divided by the number of queries."),
        (1.0, "The ratios were divided by k, which the sums over k neighbours have taken care of already."),
        ((found / true).mean(), "Each distance was divided by its own true one; divide the sum by the sum."),
        (found.sum() / true.sum(), "All queries were added up first; each query has its own ratio."),
        ((found.sum(axis=0) / true.sum(axis=0)).mean(), "The wrong axis: sums are over the k neighbours of a query."),
        (0.5, "1 was taken off: a perfect search has the error 1 here."),
    ])  # fmt: skip


@TESTS.add(points=3)
def study(code: Program) -> None:
    """More tables: less error and more work. More bits: the other way."""
    patches, rows = _patches(), list(range(0, 600, 50))
    settings = [(2, 8), (6, 8), (14, 8), (6, 4), (6, 12), (2, 16)]
    answer = array(code.study(patches, rows, settings, 3), (len(settings), 2))
    errors, shares = answer.T
    expect((errors >= 1 - 1e-9).all(), f"An error of {errors.min():.3f}: nothing is nearer than the true "
           "neighbours. Are they compared in the same order, and is the query left out of both?")  # fmt: skip
    expect(((shares >= 0) & (shares <= 1)).all(), f"A share of {shares.max():.2f} of the patches: it is from 0 to 1.")
    expect(len(np.unique(shares)) > 1, "All settings compare equally many patches: are n_tables and n_bits used?")
    expect(shares[0] < shares[1] < shares[2], "With more tables more patches are compared, and here they are not.")
    expect(shares[3] > shares[1] > shares[4], "With more bits fewer patches are compared, and here they are not.")
    expect(
        errors[2] <= errors[0] and errors[3] <= errors[4], "With more candidates the error falls, and here it rises."
    )
    everything: Any = code.study(patches, rows[:3], [(40, 1)], 0)
    near = "With 40 tables of one bit nearly all patches are compared, and the error is 1."
    expect_close(array(everything, (1, 2))[0, 0], 1.0, near, atol=1e-6)
    right = np.array([_studied(rows, *setting) for setting in settings])
    expect_close(shares, right[:, 1], "Not the share of the patches that were compared: distinct ones, without the "
                 "query, over n - 1; averaged over all queries.", [
        (right[:, 1] * 599 / 600, "The share is of the others: divide by n - 1."),
    ], rtol=1e-4)  # fmt: skip
    expect_close(errors, right[:, 0], "Not the errors: 3 neighbours of each query, by linear_search and by "
                 "lsh_search, with the functions that draw_functions draws from np.random.default_rng(seed), anew "
                 "for each "
                 "setting.")  # fmt: skip


def _studied(rows: list[int], n_tables: int, n_bits: int) -> tuple[float, float]:
    """The error and the share, by looking which bits agree."""
    rng, patches = np.random.default_rng(3), _patches()
    pixels, thresholds = rng.integers(0, 196, (n_tables, n_bits)), rng.integers(0, 256, (n_tables, n_bits))
    bits, ratios, compared = patches[:, pixels] > thresholds, [], []
    for row in rows:
        together = (bits == bits[row]).all(axis=2).any(axis=1)
        together[row] = False
        distances = METRICS[_L1](patches, patches[row])
        if together.sum() >= 3:
            ratios.append(np.sort(distances[together])[:3].sum() / np.sort(np.delete(distances, row))[:3].sum())
        compared.append(together.sum() / (len(patches) - 1))
    return float(np.mean(ratios)) if ratios else np.inf, float(np.mean(compared))


def _in_all(shared: list[np.ndarray]) -> np.ndarray:
    return np.array([row for row in shared[0] if all(row in bucket for bucket in shared[1:])], np.int64)
