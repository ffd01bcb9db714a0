"""NumPy brute force: what every index is judged by.

Two judges. `distances` is written from the definitions in words, in float64, and shares nothing with the package: it
says what a distance is, up to rounding. `nearest` orders by `annlab.pairwise`, the package's own numbers: it says which
ids an exact index has to return, to the last tie, and is right if `pairwise` agrees with `distances` (which is tested).
Rows are ranked in float64, whatever the type of the vectors; only what is returned is rounded to it.
"""

import numpy as np

import annlab


def distances(queries, vectors, metric):
    """All distances (q, n) in float64, straight from the textbook."""
    q, x = np.asarray(queries, np.float64), np.asarray(vectors, np.float64)
    if metric == "ip":
        return -(q[:, None, :] * x[None, :, :]).sum(axis=2)
    if metric == "l2":
        return np.sqrt(((q[:, None, :] - x[None, :, :]) ** 2).sum(axis=2))
    q_norms, x_norms = (np.linalg.norm(rows, axis=1, keepdims=True) for rows in (q, x))
    with np.errstate(invalid="ignore"):
        result = 1 - (q / q_norms) @ (x / x_norms).T
    return np.where((q_norms > 0) & (x_norms > 0).T, result, 1.0)


def rounding(queries, vectors, metric, dtype):
    """A bound (q, 1) on how far a returned distance may lie from `distances`: the last rounding, and a little."""
    q, x = np.asarray(queries, np.float64), np.asarray(vectors, np.float64)
    size = {
        "l2": np.linalg.norm(q, axis=1) + np.linalg.norm(x, axis=1).max(initial=0),
        "cosine": np.full(len(q), 2.0),
        "ip": np.linalg.norm(q, axis=1) * np.linalg.norm(x, axis=1).max(initial=0),
    }[metric]
    return (4 * np.finfo(dtype).eps * size + np.finfo(dtype).tiny)[:, None]


def in_float64(queries, vectors, metric):
    """The distances (q, n) that rank: the package's own, before they are rounded to the type of the vectors."""
    return annlab.pairwise(np.asarray(queries, np.float64), np.asarray(vectors, np.float64), metric)


def nearest(queries, ids, vectors, metric, k, allowed=None):
    """The k nearest by (distance, id), padded with inf and -1; `allowed` is a mask (n,) or (q, n)."""
    ids = np.asarray(ids, np.int64)
    dtype = np.asarray(vectors).dtype
    found = np.full((len(queries), k), np.inf, dtype), np.full((len(queries), k), -1, np.int64)
    if len(ids) and len(queries):
        everything = in_float64(np.asarray(queries, dtype), vectors, metric)
        allowed = np.broadcast_to(True if allowed is None else allowed, everything.shape)
        for i, row in enumerate(everything):
            places = np.flatnonzero(allowed[i])
            order = places[np.lexsort((ids[places], row[places]))][:k]
            with np.errstate(under="ignore"):
                found[0][i, : len(order)], found[1][i, : len(order)] = row[order], ids[order]
    return found


def within(query, ids, vectors, metric, radius, allowed=None):
    """Distances and ids of all vectors within a radius of one query, by (distance, id)."""
    row, numbers = nearest(np.asarray(query)[None], ids, vectors, metric, len(ids), allowed)
    inside = (numbers[0] >= 0) & (row[0].astype(np.float64) <= radius)
    return row[0][inside], numbers[0][inside]
