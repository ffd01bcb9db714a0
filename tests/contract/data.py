"""Data that break nearest-neighbour libraries, each a function of a generator: vectors and queries."""

import numpy as np


def _near(rng, vectors, n=13):
    """Queries: some rows themselves, and some points beside rows."""
    rows = vectors[rng.integers(len(vectors), size=n)].copy()
    spread = np.abs(rows[: n // 2]).max(axis=1, keepdims=True)
    rows[: n // 2] += (0.1 * spread * rng.standard_normal((n // 2, rows.shape[1]))).astype(rows.dtype)
    return rows


def _normal(rng, n, dim, dtype=np.float32):
    return rng.standard_normal((n, dim)).astype(dtype)


def clustered(rng, n=1500, dim=24, n_clusters=20):
    """Gaussian clusters, and queries from the same."""
    centers = 4 * rng.standard_normal((n_clusters, dim))
    points = centers[rng.integers(n_clusters, size=n + 100)] + rng.standard_normal((n + 100, dim))
    return points[:n].astype(np.float32), points[n:].astype(np.float32)


VECTORS = {
    "ordinary": lambda rng: _normal(rng, 400, 24),
    "float64": lambda rng: _normal(rng, 300, 10, np.float64),
    "one row": lambda rng: _normal(rng, 1, 5),
    "one dimension": lambda rng: _normal(rng, 300, 1),
    "one number": lambda rng: _normal(rng, 1, 1),
    "many dimensions": lambda rng: _normal(rng, 70, 801),
    "odd sizes": lambda rng: _normal(rng, 65, 17),
    "just below a register": lambda rng: _normal(rng, 31, 15),
    "duplicates": lambda rng: _normal(rng, 5, 7)[rng.integers(5, size=250)],
    "constant": lambda rng: np.full((200, 6), 0.3, np.float32),
    "all zero": lambda rng: np.zeros((150, 4), np.float32),
    "some zero rows": lambda rng: _normal(rng, 200, 8) * (rng.random((200, 1)) > 0.3).astype(np.float32),
    "integer grid": lambda rng: rng.integers(-2, 3, size=(500, 3)).astype(np.float32),
    "far from the origin": lambda rng: (3e4 + 0.01 * rng.standard_normal((300, 9))).astype(np.float32),
    "far, float64": lambda rng: 1e9 + 1e-3 * rng.standard_normal((300, 9)),
    "one far row": lambda rng: np.vstack([_normal(rng, 300, 8), np.full((1, 8), 1e7, np.float32)]),
    "huge": lambda rng: (1e18 * rng.standard_normal((200, 6))).astype(np.float32),
    "huge, float64": lambda rng: 1e100 * rng.standard_normal((200, 6)),
    "tiny": lambda rng: (1e-18 * rng.standard_normal((200, 6))).astype(np.float32),
    "tiny, float64": lambda rng: 1e-100 * rng.standard_normal((200, 6)),
    "denormal": lambda rng: (1e-41 * rng.standard_normal((200, 6))).astype(np.float32),
    "hardly more than nothing": lambda rng: (1e-44 * rng.standard_normal((200, 6))).astype(np.float32),
    "of all magnitudes": lambda rng: (10.0 ** rng.uniform(-18, 17, (300, 1)) * rng.standard_normal((300, 5))).astype(
        np.float32
    ),
    "on a line": lambda rng: (rng.standard_normal((300, 1)) * np.ones((1, 12))).astype(np.float32),
    "in few clusters": lambda rng: clustered(rng, 600, 16, 3)[0],
}


def make(name):
    """Vectors and queries by name, the same every time."""
    rng = np.random.default_rng(sum(map(ord, name)))
    vectors = VECTORS[name](rng)
    return vectors, _near(rng, vectors)
