"""Data on which a scan of bytes could go wrong: of all magnitudes, far away, tied, of few values."""

import functools

import numpy as np


def normal(rng, n, dim, dtype=np.float32):
    return rng.standard_normal((n, dim)).astype(dtype)


def beside(rng, vectors, n=15, by=0.1):
    """Queries: rows, and points beside rows."""
    rows = vectors[rng.integers(len(vectors), size=n)].copy()
    rows[::2] += (by * np.abs(rows[::2]) * rng.standard_normal(rows[::2].shape)).astype(rows.dtype)
    return rows


def around_the_mean(rng, dtype):
    vectors = normal(rng, 400, 20, dtype)
    mean = vectors.mean(axis=0, dtype=np.float64)
    offsets = 10.0 ** np.arange(-12, -2)[:, None] * rng.standard_normal((10, 20))
    return vectors, np.vstack([mean[None], mean + offsets, 2 * mean - (mean + offsets)]).astype(dtype)


def of_mixed_scales(rng, factor):
    vectors = normal(rng, 500, 24)
    return vectors, beside(rng, vectors, 40) * rng.choice(np.float32([1, factor]), (40, 1))


def rows_of_mixed_scales(rng, factor):
    vectors = normal(rng, 500, 24) * rng.choice(np.float32([1, factor]), (500, 1))
    return vectors, beside(rng, vectors, 40)


def with_outlier(rng, row=None, column=None):
    vectors = normal(rng, 500, 24)
    vectors[slice(None) if row is None else row, slice(None) if column is None else column] *= 1e6
    return vectors, np.vstack([beside(rng, vectors, 20), normal(rng, 6, 24)])


def near_ties(rng, dtype, offset):
    """Groups of rows that differ in the last bit of one coordinate."""
    base = (offset + rng.standard_normal((9, 17))).astype(dtype)
    vectors = base[rng.integers(9, size=450)]
    places = np.arange(450), rng.integers(17, size=450)
    vectors[places] = np.nextafter(vectors[places], rng.choice([-np.inf, np.inf], 450).astype(dtype))
    return vectors, np.vstack([base, beside(rng, base, 6)])


def ring(rng):
    """All rows at almost the same distance of the query, an order that lies in the last bits."""
    vectors = rng.standard_normal((600, 12))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.zeros((5, 12), np.float32)


def denormal(rng):
    vectors = normal(rng, 400, 12)
    vectors[:, 4:] *= np.float32(1e-40)
    vectors[::3, :4] = 0.5
    return vectors, beside(rng, vectors)


def spikes(rng):
    """The least suitable offset: a constant query, whose sum of codes is as large as can be, and rows of few spikes."""
    vectors = np.zeros((64, 39_000), np.float32)
    for i, row in enumerate(vectors):
        row[rng.integers(39_000, size=1 + i % 7)] = rng.integers(-3, 4, size=1 + i % 7)
    vectors[::32, 5] = 127.5
    return vectors, np.ones((6, 39_000), np.float32) * np.float32([[1], [-1], [0.5], [1e-3], [3], [127]])


def repeated(rng, share):
    vectors = normal(rng, 600, 16)
    vectors[rng.random(600) < share] = vectors[0]
    return vectors, np.vstack([vectors[:3], beside(rng, vectors, 12)])


def integers(rng, low, high, dim=24):
    vectors = rng.integers(low, high + 1, size=(600, dim)).astype(np.float32)
    vectors[3, 0], vectors[77, dim - 1] = low, high
    queries = beside(rng, vectors, 30, 0)
    queries[::3] += normal(rng, 10, dim)
    queries[1::6] *= 3
    return vectors, queries


DATA = {
    "ordinary": lambda rng: (v := normal(rng, 700, 33), beside(rng, v, 29)),
    "float64": lambda rng: (v := normal(rng, 400, 33, np.float64), beside(rng, v, 20)),
    "far, float64": lambda rng: (v := 1e9 + 1e-3 * normal(rng, 400, 9, np.float64), v[:14] + 1e-4),
    "far": lambda rng: (v := 3e4 + np.float32(0.01) * normal(rng, 400, 9), beside(rng, v, 14, 1e-6)),
    "around the mean": lambda rng: around_the_mean(rng, np.float32),
    "around the mean, float64": lambda rng: around_the_mean(rng, np.float64),
    "constant": lambda rng: (np.full((300, 6), 0.3, np.float32), np.float32([[0.3] * 6, [1] * 6, [0] * 6])),
    "all zero": lambda rng: (np.zeros((300, 6), np.float32), np.float32([[0] * 6, [1] * 6, [1e-30] * 6])),
    "queries a million times larger": lambda rng: of_mixed_scales(rng, 1e6),
    "queries a million times smaller": lambda rng: of_mixed_scales(rng, 1e-6),
    "rows a million times larger": lambda rng: rows_of_mixed_scales(rng, 1e6),
    "outlier row": lambda rng: with_outlier(rng, row=123),
    "outlier dimension": lambda rng: with_outlier(rng, column=7),
    "near ties": lambda rng: near_ties(rng, np.float32, 0),
    "near ties, far": lambda rng: near_ties(rng, np.float32, 100),
    "near ties, float64": lambda rng: near_ties(rng, np.float64, 3),
    "ring": ring,
    "denormal": denormal,
    "nothing but denormals": lambda rng: (v := (1e-41 * normal(rng, 300, 6)).astype(np.float32), beside(rng, v)),
    "huge, float64": lambda rng: (v := 1e100 * normal(rng, 300, 6, np.float64), beside(rng, v)),
    "half equal": lambda rng: repeated(rng, 0.5),
    "all equal": lambda rng: repeated(rng, 1.0),
    "bytes": lambda rng: integers(rng, 0, 255),
    "negative integers": lambda rng: integers(rng, -200, -3),
    "range 255": lambda rng: integers(rng, -100, 155),
    "range 256": lambda rng: integers(rng, -100, 156),
    "bits": lambda rng: integers(rng, 0, 1),
    "integers far away": lambda rng: integers(rng, 10**6, 10**6 + 9),
    "noise, 4 dimensions": lambda rng: (rng.random((700, 4), np.float32), rng.random((25, 4), np.float32)),
    "noise, 127 dimensions": lambda rng: (rng.random((500, 127), np.float32), rng.random((13, 127), np.float32)),
    "noise, 1024 dimensions": lambda rng: (rng.random((300, 1024), np.float32), rng.random((13, 1024), np.float32)),
    "one dimension": lambda rng: (v := normal(rng, 300, 1), beside(rng, v)),
    "of all magnitudes": lambda rng: (
        v := (10.0 ** rng.uniform(-15, 15, (400, 1)) * normal(rng, 400, 5)).astype(np.float32),
        beside(rng, v, 40),
    ),
    "spikes in 39,000 dimensions": spikes,
}


@functools.cache
def data(name):
    vectors, queries = DATA[name](np.random.default_rng(sum(map(ord, name))))
    return np.ascontiguousarray(vectors), np.ascontiguousarray(queries)
