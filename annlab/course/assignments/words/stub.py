"""IVF-PQ from scratch, on vectors like those of words. See handout.md."""

import numpy as np

ASSIGNMENT = "words"


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Every row divided by its length; a row of zeros stays one.

    vectors: (n, d). Returns (n, d). For rows of length 1 the order by distance is the order by angle.
    """
    raise NotImplementedError


def kmeans(data: np.ndarray, centres: np.ndarray, n_iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """Lloyd's steps from these centres: assign rows to their nearest centres, move centres to the means of their rows.

    Of centres that are equally near, the first counts. A centre without rows stays where it is. After the last step the
    rows are assigned once more. Returns the centres (m, d) and the centre of every row (n,).
    """
    raise NotImplementedError


def train_codebooks(residuals: np.ndarray, n_parts: int, n_centres: int) -> np.ndarray:
    """Cut the columns into n_parts equal parts, and find n_centres centres in each.

    By kmeans, 10 steps, from the first n_centres rows of the part.
    residuals: (n, d). Returns (n_parts, n_centres, d / n_parts).
    """
    raise NotImplementedError


def encode(residuals: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """The number of the nearest centre for each part of each row: (n, n_parts) uint8."""
    raise NotImplementedError


def distance_tables(residual: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """The *squared* distance of each part of a query's residual to each centre: (n_parts, n_centres).

    residual: (d,), the query minus the centre of a cell.
    """
    raise NotImplementedError


def search(
    vectors: np.ndarray, centres: np.ndarray, assigned: np.ndarray, codes: np.ndarray, codebooks: np.ndarray,
    query: np.ndarray, k: int, n_probes: int, rerank: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Search the n_probes nearest cells by codes, and compare the query with the vectors of the best of them.

    vectors: (n, d). centres, assigned: of the cells. codes: of the residuals, vector minus centre of its cell.
    In each probed cell the residual of the query is its own: query minus that centre. The rerank rows with the smallest
    sums of look-ups (among equals the smaller row) are compared by their vectors.
    Returns (distances, rows) of the k nearest of these, the nearest first and, among equals, the smaller row.
    """
    raise NotImplementedError


def recall(found: np.ndarray, true: np.ndarray) -> float:
    """The share of the true neighbours that were found, at whatever rank: found and true are (q, k) rows."""
    raise NotImplementedError
