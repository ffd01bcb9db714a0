"""Golden files: indexes of every kind, metric and element type as an earlier version wrote them.

`python -m tests.golden.make` adds the files that are missing, for a new kind or a new version of the format; it never
writes over one, since what a file proves is that later versions read what an earlier one wrote. Each file holds sealed
rows, rows added since, removed ones and attributes. `answers.npz` has the exact answers to `queries` for each file, by
brute force at the time of writing.
"""

from pathlib import Path

import numpy as np

import annlab
from annlab.graphs.structure import GraphStructure

FOLDER = Path(__file__).parent
DIM = 6
BUILDS = {
    "exact": ("ExactIndex", {"precision": "float32"}),
    "exact-bytes": ("ExactIndex", {"precision": "int8"}),
    "kdtree": ("KDTreeIndex", {}),
    "kdtree-criteria": ("KDTreeIndex", {"criteria": ["owner"]}),
    "balltree": ("BallTreeIndex", {}),
    "lsh-scan": ("LSHIndex", {"mode": "scan", "n_bits": 64}),
    "lsh-hyperplanes": ("LSHIndex", {"mode": "buckets", "family": "hyperplanes", "n_tables": 2, "n_bits": 5}),
    "lsh-polytopes": ("LSHIndex", {"mode": "buckets", "family": "cross_polytope", "n_tables": 2, "n_bits": 6}),
    "ivf-flat": ("IVFIndex", {"storage": "flat", "n_lists": 4}),
    "ivf-sq8": ("IVFIndex", {"storage": "sq8", "n_lists": 4}),
    "ivf-pq4": ("IVFIndex", {"storage": "pq4", "n_lists": 4}),
    "vamana-flat": ("VamanaIndex", {"storage": "flat", "degree": 16}),
    "vamana-sq8": ("VamanaIndex", {"storage": "sq8", "degree": 16}),
}
METRICS = ("l2", "cosine", "ip")
DTYPES = ("float32", "float64")


def cases() -> list[tuple[str, str, str]]:
    """Build, metric and element type of every file."""
    return [
        (build, metric, dtype)
        for build, (kind, _) in BUILDS.items()
        for metric in METRICS
        if metric not in getattr(annlab, kind).metrics
        for dtype in DTYPES
    ]


def content(dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vectors (150, DIM), their ids, owners, the ids that are removed, and queries (5, DIM)."""
    rng = np.random.default_rng(7)
    vectors = rng.standard_normal((150, DIM)).astype(dtype)
    ids = rng.permutation(1000)[:150]
    return vectors, ids, np.arange(150) % 3, ids[::10], rng.standard_normal((5, DIM)).astype(dtype)


def main() -> None:
    """Write what is missing."""
    GraphStructure.exact_up_to = 50  # so that there are graphs of so few rows
    answers = dict(np.load(FOLDER / "answers.npz")) if (FOLDER / "answers.npz").exists() else {}
    for build, metric, dtype in cases():
        name = f"{build}-{metric}-{dtype}"
        if (FOLDER / f"{name}.annlab").exists():
            continue
        kind, parameters = BUILDS[build]
        vectors, ids, owners, removed, queries = content(dtype)
        index = getattr(annlab, kind)(metric=metric, **parameters)
        index.fit(vectors[:120], ids[:120], attributes={"owner": owners[:120]})
        index.add(vectors[120:], ids[120:], attributes={"owner": owners[120:]})
        index.remove(removed)
        index.save(FOLDER / f"{name}.annlab")
        exact = annlab.ExactIndex(metric=metric).fit(vectors, ids)
        exact.remove(removed)
        answers[f"{name}-distances"], answers[f"{name}-ids"] = exact.search(queries, k=7)
    np.savez_compressed(FOLDER / "answers.npz", **answers)


if __name__ == "__main__":
    main()
