"""Image patches: linear search, and locality-sensitive hashing for the L1 distance. See handout.md."""

import numpy as np

ASSIGNMENT = "patches"


def draw_functions(
    n_tables: int, n_bits: int, n_pixels: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Given: the random functions. A pixel and a threshold for each bit of each table, both (n_tables, n_bits)."""
    return rng.integers(0, n_pixels, (n_tables, n_bits)), rng.integers(0, 256, (n_tables, n_bits))


def linear_search(patches: np.ndarray, row: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Compare a patch with all others, by the L1 distance: the sum of the absolute differences.

    patches: (n, d) uint8. row: the patch that is asked for, which is not to be found itself.
    Returns (distances, rows) of the k nearest, by distance and, among equals, by row. Fewer if there are fewer.
    """
    distances = _l1(patches, patches[row])
    others = np.flatnonzero(np.arange(len(patches)) != row)
    return _nearest(distances[others], others, k)


def hash_keys(patches: np.ndarray, pixels: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The key of every patch in every table.

    pixels, thresholds: (n_tables, n_bits). Bit j of table t is 1 where the patch is brighter than thresholds[t, j] at
    pixels[t, j], and counts 2**j.
    Returns (n, n_tables) whole numbers.
    """
    bits = patches[:, pixels] > thresholds
    return bits @ (1 << np.arange(pixels.shape[1]))


def build_tables(keys: np.ndarray) -> list[dict[int, list[int]]]:
    """For each table, from a key to the rows that have it, ascending.

    keys: (n, n_tables). Returns n_tables dictionaries.
    """
    tables = []
    for column in keys.T:
        table = {}
        for row, key in enumerate(column.tolist()):
            table.setdefault(key, []).append(row)
        tables.append(table)
    return tables


def lsh_search(
    patches: np.ndarray, tables: list[dict[int, list[int]]], keys: np.ndarray, row: int, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest by L1 among the rows that share a bucket with the patch in at least one table, without itself.

    tables, keys: as build_tables and hash_keys return them. Returns (distances, rows), as linear_search does.
    """
    candidates = set()
    for table, key in zip(tables, keys[row].tolist()):
        candidates.update(table.get(key, ()))
    candidates.discard(row)
    rows = np.array(sorted(candidates), dtype=int)
    return _nearest(_l1(patches[rows], patches[row]), rows, k)


def error(found: np.ndarray, true: np.ndarray) -> float:
    """How much farther what was found is: for each query the sum of its distances over that of the true ones, averaged.

    found, true: (n_queries, k) distances, of lsh_search and of linear_search. 1.0 is perfect.
    """
    return float((found.sum(axis=1) / true.sum(axis=1)).mean())


def study(
    patches: np.ndarray, rows: list[int], settings: list[tuple[int, int]], seed: int
) -> list[tuple[float, float]]:
    """The error against L and k: (error, share of the patches that was compared) for each (n_tables, n_bits).

    rows: patches to ask for, 3 neighbours each. Draw the functions of each setting from np.random.default_rng(seed).
    A query that finds fewer than 3 is left out of the error (inf if all are). The share is the number of distinct
    patches that share a bucket with the query, without itself, over n - 1; averaged over all queries.
    """
    return [_studied(patches, rows, n_tables, n_bits, seed) for n_tables, n_bits in settings]


def _studied(patches, rows, n_tables, n_bits, seed):
    pixels, thresholds = draw_functions(n_tables, n_bits, patches.shape[1], np.random.default_rng(seed))
    keys = hash_keys(patches, pixels, thresholds)
    tables = build_tables(keys)
    compared, found, true = [], [], []
    for row in rows:
        distances, _ = lsh_search(patches, tables, keys, row, len(patches))
        compared.append(len(distances) / (len(patches) - 1))
        if len(distances) >= 3:
            found.append(distances[:3])
            true.append(linear_search(patches, row, 3)[0])
    return error(np.array(found), np.array(true)) if found else np.inf, float(np.mean(compared))


def _l1(patches, query):
    return abs(patches.astype(int) - query.astype(int)).sum(axis=1)


def _nearest(distances, rows, k):
    order = np.lexsort((rows, distances))[:k]
    return distances[order], rows[order]
