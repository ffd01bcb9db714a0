"""The data sets of the benchmarks: real ones from a folder, and seeded synthetic ones of any size.

Real sets are HDF5 files as ann-benchmarks lays them out; only vectors and queries are used, in float32 and C order, and
the neighbours are computed anew. A synthetic set is named by its kind and shape: ``uniform:100000x64`` is noise without
any structure (the worst case of every index), ``clusters:100000x64`` a mixture of a hundred Gaussians of intrinsic
dimension 16 (a kind one); ``elsewhere:100000x64`` has queries of another distribution than its rows;
``copies:100000x64`` is the clusters with a fifth of the rows being copies of others.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from annlab.datasets import Dataset, load_hdf5, synthetic, uniform_noise

N_CLUSTERS, INTRINSIC_DIM = 100, 16
COPIES = 0.2  # of the rows
_SYNTHETIC = re.compile(r"(uniform|clusters|elsewhere|copies):(\d+)x(\d+)")


def bare(dataset: Dataset, name: str | None = None, rows: np.ndarray | slice = slice(None)) -> Dataset:
    """Only what is measured: vectors (these `rows`) and queries, float32 in C order."""
    train, test = (np.ascontiguousarray(part, dtype=np.float32) for part in (dataset.train[rows], dataset.test))
    return Dataset(name or dataset.name, train, test, dataset.metric)


def first(dataset: Dataset, n: int) -> Dataset:
    """The same queries over `n` rows, chosen by a fixed seed (files are often ordered)."""
    if n > len(dataset.train):
        raise ValueError(f"{dataset.name} has {len(dataset.train)} rows, fewer than {n}")
    return bare(dataset, rows=np.sort(np.random.default_rng(0).permutation(len(dataset.train))[:n]))


def names(folder: Path | None, wanted: Sequence[str], default: Sequence[str]) -> list[str]:
    """Which sets to run: the `wanted`, synthetic names or beginnings of file names; else all files and the `default`.

    Raises
    ------
    ValueError
        When a wanted set is neither a synthetic name nor a file in the folder.
    """
    files = sorted(path.stem for path in folder.glob("*.hdf5")) if folder else []
    if not wanted:
        return [*files, *default]
    chosen = []
    for name in wanted:
        matching = [name] if _SYNTHETIC.fullmatch(name) else [stem for stem in files if stem.startswith(name)]
        if not matching:
            raise ValueError(
                f"no set {name!r} in {folder}: there are {files}, and synthetic ones such as uniform:9000x64"
            )
        chosen += matching
    return chosen


def load(folder: Path | None, name: str) -> Dataset:
    """The data set that `names` returned."""
    match = _SYNTHETIC.fullmatch(name)
    if match is None and folder is not None:
        return bare(load_hdf5(folder / f"{name}.hdf5"))
    if match is None:
        raise ValueError(f"{name!r} is no synthetic set; write uniform:ROWSxDIM or clusters:ROWSxDIM")
    n, dim = int(match[2]), int(match[3])
    if match[1] == "uniform":
        return bare(uniform_noise(n, dim), name)
    if match[1] == "elsewhere":
        return elsewhere(n, dim, name)
    made = bare(synthetic(n, dim, min(dim, INTRINSIC_DIM), clusters=N_CLUSTERS), name)
    if match[1] == "copies":
        rng = np.random.default_rng(0)
        some = rng.permutation(n)[: round(COPIES * n)]
        made.train[some] = made.train[rng.choice(np.setdiff1d(np.arange(n), some), size=len(some))]
    return made


def elsewhere(n: int, dim: int, name: str, n_queries: int = 1000, seed: int = 0) -> Dataset:
    """Rows and queries as an encoder of pictures and one of texts make them: unit vectors that are not mixed.

    Both show what 200 clusters in 24 dimensions hold, but a row and a query through maps that differ, and queries lie
    off to one side, by half their length. So the neighbours of a query are some 1.6 times as far away as those of a
    row (100,000 rows, 128 dimensions), and its tenth neighbour is hardly farther than its first. `gap` says how far.
    """
    rng = np.random.default_rng(seed)
    inner = min(24, dim)
    centers = rng.standard_normal((200, inner))
    of_rows, other = (rng.standard_normal((inner, dim)) / dim**0.5 for _ in range(2))
    aside = rng.standard_normal(dim)
    aside *= 0.5 / np.linalg.norm(aside)

    def unit(rows: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    inside, asked = (centers[rng.integers(200, size=m)] + 0.5 * rng.standard_normal((m, inner)) for m in (n, n_queries))
    noise = 0.1 / dim**0.5
    train = unit(inside @ of_rows) + noise * rng.standard_normal((n, dim))
    test = unit(unit(asked @ (of_rows + 0.7 * other)) + aside + noise * rng.standard_normal((n_queries, dim)))
    return Dataset(name, unit(train), test, "l2")


def gap(dataset: Dataset, distances: np.ndarray, k: int = 10) -> float:
    """How many times as far away the k-th neighbour of a query is as that of a row, given distances (q, k) of queries.

    The median over queries by that over 500 of the rows.
    """
    import annlab

    some = dataset.train[:: max(1, len(dataset.train) // 500)][:500]
    rows = annlab.ExactIndex(metric=dataset.metric).fit(dataset.train).search(some, k + 1).distances[:, k]
    return float(np.median(distances[:, k - 1]) / np.median(rows))
