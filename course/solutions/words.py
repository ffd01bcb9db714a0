"""IVF-PQ from scratch, on vectors like those of words. See handout.md."""

import numpy as np

ASSIGNMENT = "words"


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Every row divided by its length; a row of zeros stays one.

    vectors: (n, d). Returns (n, d). For rows of length 1 the order by distance is the order by angle.
    """
    lengths = np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    return vectors / np.where(lengths == 0, 1, lengths)


def kmeans(data: np.ndarray, centres: np.ndarray, n_iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """Lloyd's steps from these centres: assign rows to their nearest centres, move centres to the means of their rows.

    Of centres that are equally near, the first counts. A centre without rows stays where it is. After the last step the
    rows are assigned once more. Returns the centres (m, d) and the centre of every row (n,).
    """
    centres = centres.copy()
    for _ in range(n_iterations):
        assigned = _assigned(data, centres)
        for centre in range(len(centres)):
            if (assigned == centre).any():
                centres[centre] = data[assigned == centre].mean(axis=0)
    return centres, _assigned(data, centres)


def train_codebooks(residuals: np.ndarray, n_parts: int, n_centres: int) -> np.ndarray:
    """Cut the columns into n_parts equal parts, and find n_centres centres in each.

    By kmeans, 10 steps, from the first n_centres rows of the part.
    residuals: (n, d). Returns (n_parts, n_centres, d / n_parts).
    """
    return np.array([kmeans(part, part[:n_centres], 10)[0] for part in np.split(residuals, n_parts, axis=1)])


def encode(residuals: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """The number of the nearest centre for each part of each row: (n, n_parts) uint8."""
    parts = np.split(residuals, len(codebooks), axis=1)
    return np.stack([_assigned(part, book) for part, book in zip(parts, codebooks)], axis=1).astype(np.uint8)


def distance_tables(residual: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """The *squared* distance of each part of a query's residual to each centre: (n_parts, n_centres).

    residual: (d,), the query minus the centre of a cell.
    """
    parts = residual.reshape(len(codebooks), 1, -1)
    return ((codebooks - parts) ** 2).sum(axis=2)


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
    _, cells = _nearest(((centres - query) ** 2).sum(axis=1), np.arange(len(centres)), n_probes)
    rows, guessed = [], []
    for cell in cells:
        table = distance_tables(query - centres[cell], codebooks)
        members = np.flatnonzero(assigned == cell)
        rows.append(members)
        guessed.append(table[np.arange(len(codebooks)), codes[members]].sum(axis=1))
    _, best = _nearest(np.concatenate(guessed), np.concatenate(rows), rerank)
    return _nearest(np.sqrt(((vectors[best] - query) ** 2).sum(axis=1)), best, k)


def recall(found: np.ndarray, true: np.ndarray) -> float:
    """The share of the true neighbours that were found, at whatever rank: found and true are (q, k) rows."""
    return float(np.mean([np.isin(one, other).mean() for one, other in zip(true, found)]))


def _assigned(data, centres):
    return np.array([((centres - row) ** 2).sum(axis=1).argmin() for row in data])


def _nearest(distances, rows, k):
    order = np.lexsort((rows, distances))[:k]
    return distances[order], rows[order]
