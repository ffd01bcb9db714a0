"""Hidden tests of IVF-PQ: lengths, k-means, codebooks, codes, tables, search and recall."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from annlab import textbook
from annlab.course.answers import array, expect, expect_close
from annlab.course.assignment import Program, Tests
from annlab.course.diagnosis import Case, expect_searches, l2
from annlab.course.materials import word_like_vectors

TESTS = Tests()


@cache
def _vectors() -> tuple[np.ndarray, np.ndarray]:
    """600 vectors of length 1 and 10 queries; the last row is nearly the first query."""
    vectors = word_like_vectors(612, dim=16, topics=12, seed=3)
    vectors = np.delete(vectors, [5, 9], axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[599] = vectors[600]
    vectors[599, 0] += 1e-4
    vectors[30] = vectors[333]
    return vectors[:600], vectors[600:]


@cache
def _index() -> tuple[np.ndarray, ...]:
    """Centres, cells, codes and codebooks whose centres are rows: coarse, so that looking again at vectors matters."""
    vectors, _ = _vectors()
    centres = vectors[[0, 50, 100, 150, 200, 250, 300, 350]]
    assigned = textbook.assign(vectors, centres)
    residuals = vectors - centres[assigned]
    codebooks = residuals[3:15].reshape(12, 4, 4).swapaxes(0, 1).copy()
    codes = [textbook.assign(part, book) for part, book in zip(np.split(residuals, 4, axis=1), codebooks, strict=True)]
    return centres, assigned, np.stack(codes, axis=1).astype(np.uint8), codebooks


@TESTS.add(points=2)
def normalise(code: Program) -> None:
    """Rows of length 1, and rows of zeros as they are."""
    data = np.random.default_rng(9).normal(size=(7, 4))
    lengths = np.linalg.norm(data, axis=1, keepdims=True)
    expect_close(np.asarray(code.normalise(data), float), data / lengths, "Not every row divided by its length.", [
        (data / np.linalg.norm(data, axis=0), "The wrong axis: columns were divided by their lengths. A vector is a "
         "row: axis=1, keepdims=True."),
        (data / np.linalg.norm(data), "Everything was divided by one number, the length of the whole matrix."),
        (data / lengths**2, "Divided by the squared length: the root is missing."),
        (data / abs(data).sum(axis=1, keepdims=True), "Divided by the sum of absolute values; the Euclidean length is "
         "asked for."),
        (data / abs(data).max(axis=1, keepdims=True),
         "Divided by the largest value; the Euclidean length is asked for."),
        ((data - data.mean(axis=1, keepdims=True)) / data.std(axis=1, keepdims=True), "Rows were standardised, not "
         "divided by their lengths."),
    ])  # fmt: skip
    data[3] = 0
    given = np.asarray(code.normalise(data), float)
    expect(not np.isnan(given).any(), "A row of zeros became NaN: 0 was divided by 0. It stays as it is.")
    expect((given[3] == 0).all(), "A row of zeros stays a row of zeros.")


@TESTS.add(points=4)
def kmeans(code: Program) -> None:
    """Lloyd's steps; a centre without rows stays; rows are assigned at the end."""
    data = np.random.default_rng(10).normal(size=(120, 3)) + np.repeat(np.eye(3) * 3, 40, axis=0)
    start = np.concatenate([data[:4], [[50.0, 50.0, 50.0]]])
    history = [start]
    for _ in range(7):
        cells = textbook.assign(data, history[-1])
        history.append(np.array([data[cells == one].mean(axis=0) if (cells == one).any() else history[-1][one]
                                 for one in range(5)]))  # fmt: skip
    answer = code.kmeans(data, start, 6)
    expect(isinstance(answer, tuple) and len(answer) == 2, "Return a pair: (centres, assigned).")
    centres, assigned = np.asarray(answer[0], float), array(answer[1], (120,), "iu")
    expect(centres.shape == (5, 3), f"Five centres of three numbers are asked for: (5, 3), not {centres.shape}.")
    expect(
        not np.isnan(centres).any(),
        "The centre of an empty cluster became NaN, a mean of nothing: it stays where it is.",
    )
    expect(not (centres[4] == 0).all(), "The centre of an empty cluster was moved to 0: it stays where it is.")
    expect_close(centres, history[6], "Not the centres after 6 steps of Lloyd's.", [
        (start, "The centres did not move."),
        (history[5], "One step too few was taken."),
        (history[7], "One step too many was taken."),
        (history[1], "Only one step was taken."),
    ])  # fmt: skip
    expect_close(assigned, textbook.assign(data, history[6]), "Not the nearest of the centres that were returned.", [
        (textbook.assign(data, history[5]), "The rows are still assigned to the centres of before the last step: "
         "assign them once more."),
    ])  # fmt: skip


@TESTS.add(points=2)
def train_codebooks(code: Program) -> None:
    """Centres of its own for each part of the columns."""
    residuals = np.random.default_rng(11).normal(size=(90, 6))
    books = array(code.train_codebooks(residuals, 3, 5), (3, 5, 2))
    parts = np.split(residuals, 3, axis=1)
    right = np.array([textbook.kmeans(part, 5, 10, initial=part[:5])[0] for part in parts])
    strided = [residuals[:, part::3] for part in range(3)]
    expect_close(books, right, "Not the centres of kmeans(part, part[:n_centres], 10) for each part.", [
        (np.stack([right[0]] * 3), "All parts have the codebook of the first: each has its own."),
        (np.array([part[:5] for part in parts]),
         "The first rows themselves were returned; kmeans only starts from them."),
        (np.array([textbook.kmeans(part, 5, 10, initial=part[:5])[0] for part in strided]), "The parts are made of "
         "columns that lie side by side, not of every third."),
    ])  # fmt: skip


@TESTS.add(points=3)
def encode(code: Program) -> None:
    """The nearest centre of each part, as a byte."""
    rng = np.random.default_rng(12)
    residuals, books = rng.normal(size=(50, 6)), rng.normal(size=(3, 7, 2))
    codes = array(code.encode(residuals, books), (50, 3), "iu")
    parts = np.split(residuals, 3, axis=1)
    apart = [np.array([l2(book, row) for row in part]) for part, book in zip(parts, books, strict=True)]
    first = [np.array([l2(books[0], row) for row in part]) for part in parts]
    right = np.stack([one.argmin(axis=1) for one in apart], axis=1)
    expect_close(codes, right, "Not the nearest centre of each part.", [
        (np.stack([one.argmax(axis=1) for one in apart], axis=1),
         "These are the farthest centres: argmin, not argmax."),
        (np.stack([one.argmin(axis=1) for one in first], axis=1),
         "All parts were compared with the codebook of the first."),
        (right + 1, "Centres are counted from 0."),
    ])  # fmt: skip
    expect(codes.dtype == np.uint8, f"Codes are bytes, uint8, which is what saves the memory; these are {codes.dtype}.")


@TESTS.add(points=2)
def distance_tables(code: Program) -> None:
    """Squared distances of the query's parts to all centres."""
    rng = np.random.default_rng(13)
    residual, books = rng.normal(size=6), rng.normal(size=(3, 7, 2))
    tables = array(code.distance_tables(residual, books), (3, 7))
    right = np.array([l2(book, part) ** 2 for book, part in zip(books, np.split(residual, 3), strict=True)])
    first = np.array([l2(book, residual[:2]) ** 2 for book in books])
    expect_close(tables, right, "Not the squared distances of part i of the query to the centres of codebook i.", [
        (np.sqrt(right), "The root was taken: only squared distances of parts add up to the squared distance of the "
                         "whole."),
        (first, "The first part of the query was used for all codebooks."),
        (np.array([book @ part for book, part in zip(books, np.split(residual, 3), strict=True)]), "These are "
         "products, not squared distances."),
    ])  # fmt: skip


@TESTS.add(points=5)
def search(code: Program) -> None:
    """Cells, sums of look-ups with the residual of each cell, and the best of them by their vectors."""
    (vectors, queries), (centres, assigned, codes, codebooks) = _vectors(), _index()
    cases = []
    for number, query in enumerate(queries):
        n_probes, rerank = 2 + number % 3, 20
        answer = code.search(vectors, centres, assigned, codes, codebooks, query, 6, n_probes, rerank)
        order = np.argsort(l2(centres, query), kind="stable")
        cells = order[:n_probes]

        def best(cells: np.ndarray, rerank: int, residual: Any = None, farthest: bool = False) -> np.ndarray:
            guessed = _guessed(query, residual)  # noqa: B023  (used at once)
            rows = np.array([row for row, cell in enumerate(assigned) if cell in cells])
            return textbook.nearest(-guessed[rows] if farthest else guessed[rows], rows, rerank)[1]

        cases.append(Case(answer, vectors, query, 6, among=best(cells, rerank), unranked=[best(cells, 6)], also=[
            (best(order[:1], rerank), "n_probes is ignored: only the nearest cell was searched."),
            (best(order, rerank), "n_probes is ignored: all cells were searched."),
            (best(order[: n_probes + 1], rerank),
             "One cell too many was searched: n_probes counts the nearest one, too."),
            (best(order[: n_probes - 1], rerank),
             "One cell too few was searched: n_probes counts the nearest one, too."),
            (best(cells, rerank, query), "The tables are those of the query itself; the codes are those of "
             "residuals, so the residual of the query in each cell is needed: query - centres[cell]."),
            (best(cells, rerank, query - centres[order[0]]), "One table was used for all cells; in each cell the "
             "query has another residual."),
            (best(cells, rerank, farthest=True), "The rows with the largest sums were re-ranked, not the smallest."),
            (np.concatenate([best(order[one : one + 1], rerank) for one in range(n_probes)]), "rerank rows of every "
             "cell were compared by their vectors; it counts the best of all cells together."),
            (np.flatnonzero(np.isin(assigned, cells)), "All rows of the cells were compared by their vectors: the "
             "codes are not used, and rerank is ignored."),
        ]))  # fmt: skip
    expect_searches(cases)


@TESTS.add(points=2)
def recall(code: Program) -> None:
    """The share of the true neighbours among those found."""
    found, true = np.array([[1, 2, 3, 4], [5, 6, 7, 8]]), np.array([[4, 3, 9, 1], [5, 0, 2, 1]])
    expect_close(array(code.recall(found, true), ()), 0.5, "Not the share of the true neighbours that were found.", [
        (1 / 8, "Rows were compared rank by rank; a neighbour counts at whatever rank it was found."),
        (2.0, "The hits were divided by the number of queries, and not by k as well."),
        (4.0, "The hits were counted; divide by q * k."),
        (1.0, "Divided by k, and not by the number of queries as well."),
        (np.isin(found, true).mean(), "A row counts only for the query whose neighbour it is, not for all queries."),
    ])  # fmt: skip


def _guessed(query: np.ndarray, residual: np.ndarray | None = None) -> np.ndarray:
    """(n,): squared distances by decoded vectors; with a residual, by that one in all cells."""
    centres, assigned, codes, codebooks = _index()
    decoded = np.concatenate([book[code] for book, code in zip(codebooks, codes.T, strict=True)], axis=1)
    own = query - centres[assigned] if residual is None else residual
    squared: np.ndarray = ((own - decoded) ** 2).sum(axis=1)
    return squared
