"""The data sets of the benchmarks: real ones from a folder, and seeded synthetic ones of any size.

Real sets are HDF5 files as ann-benchmarks lays them out (`train`, `test`, attribute `distance`); only vectors and
queries are read, the neighbours are computed anew. A synthetic set is named by its kind and shape:
``uniform:100000x64`` is noise without any structure (the worst case of every index), ``clusters:100000x64`` a mixture
of a hundred Gaussians (a kind one).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

METRICS = {"euclidean": "l2", "angular": "cosine", "ip": "ip", "dot": "ip"}
N_QUERIES = 1000
_SYNTHETIC = re.compile(r"(uniform|clusters):(\d+)x(\d+)")


@dataclass(frozen=True)
class Dataset:
    """Vectors to index, `train` (n, d), queries that are not among them, `test` (q, d), both float32 in C order."""

    name: str
    train: np.ndarray
    test: np.ndarray
    metric: str

    def first(self, n: int) -> "Dataset":
        """The same queries over `n` rows, chosen by a fixed seed (files are often ordered)."""
        if n > len(self.train):
            raise ValueError(f"{self.name} has {len(self.train)} rows, fewer than {n}")
        rows = np.random.default_rng(0).permutation(len(self.train))[:n]
        return replace(self, train=np.ascontiguousarray(self.train[np.sort(rows)]))


def read(path: Path) -> Dataset:
    """The data set in an HDF5 file."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError('reading HDF5 needs h5py: pip install "annlab[bench]"') from error
    with h5py.File(path) as file:
        distance = str(file.attrs["distance"])
        if distance not in METRICS:
            raise ValueError(f"{path.name} has distance {distance!r}; known are {sorted(METRICS)}")
        train, test = (np.ascontiguousarray(file[name][:], dtype=np.float32) for name in ("train", "test"))
    return Dataset(path.stem, train, test, METRICS[distance])


def synthetic(name: str, seed: int = 0) -> Dataset:
    """The synthetic set of this name, with 1,000 queries from the same distribution; the metric is l2."""
    match = _SYNTHETIC.fullmatch(name)
    if not match:
        raise ValueError(f"{name!r} is no synthetic set; write uniform:ROWSxDIM or clusters:ROWSxDIM")
    kind, n, dim = match[1], int(match[2]), int(match[3])
    rng = np.random.default_rng(seed)
    if kind == "uniform":
        vectors = rng.random((n + N_QUERIES, dim), dtype=np.float32)
    else:
        centers = rng.normal(scale=4, size=(100, dim)).astype(np.float32)
        vectors = centers[rng.integers(100, size=n + N_QUERIES)]
        vectors += rng.standard_normal((n + N_QUERIES, dim), dtype=np.float32)
    return Dataset(name, vectors[:n], vectors[n:], "l2")


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
                f"no set {name!r} in {folder}: there are {files}, and synthetic ones such as uniform:10000x64"
            )
        chosen += matching
    return chosen


def load(folder: Path | None, name: str) -> Dataset:
    """The data set that `names` returned."""
    if _SYNTHETIC.fullmatch(name) or folder is None:
        return synthetic(name)
    return read(folder / f"{name}.hdf5")
