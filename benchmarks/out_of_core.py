"""Ten million vectors, block by block, into an index that is built with less memory than they take.

``python -m benchmarks ivf --part out-of-core`` makes clustered vectors of intrinsic dimension 15 from a seed, a block
at a time, so that they never exist as a whole, and gives the blocks to `IVFIndex.fit` with a limit on memory. Reported
are the time by stages, the largest resident memory of the process's own (RssAnon, read by a thread every 10 ms; pages
of mapped files, which the system may drop, are not in it) less what it was before, the file's size, and recall and time
of a search in the saved, mapped index against an exact scan of the same blocks.
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

BLOCK = 100_000
INTRINSIC_DIM, N_CLUSTERS, DEVIATION = 15, 2000, 0.15


class Clusters:
    """Blocks of vectors on a curved surface of 15 dimensions, in Gaussian clusters."""

    def __init__(self, n: int, dim: int, seed: int = 0) -> None:
        self.n, self.dim, self.seed = n, dim, seed
        rng = np.random.default_rng(seed)
        self.centres = rng.random((N_CLUSTERS, INTRINSIC_DIM), dtype=np.float32)
        self.flat = np.linalg.qr(rng.normal(size=(dim, INTRINSIC_DIM)))[0].T.astype(np.float32)
        self.waves = rng.normal(size=(INTRINSIC_DIM, dim)).astype(np.float32)

    def some(self, n: int, stream: int) -> np.ndarray:
        """n vectors; the same stream gives the same ones."""
        rng = np.random.default_rng([self.seed, stream])
        latent = rng.standard_normal((n, INTRINSIC_DIM), dtype=np.float32) * np.float32(DEVIATION)
        latent += self.centres[rng.integers(N_CLUSTERS, size=n)]
        vectors: np.ndarray = latent @ self.flat + np.float32(0.05) * np.sin(latent @ self.waves)
        return vectors

    def blocks(self) -> Iterator[np.ndarray]:
        """All n vectors."""
        for number, start in enumerate(range(0, self.n, BLOCK)):
            yield self.some(min(BLOCK, self.n - start), number)

    def queries(self, n: int) -> np.ndarray:
        """Vectors of the same distribution that are in no block."""
        return self.some(n, 10**9)


class Memory:
    """The largest resident memory of the process's own while this is open, above what it was at the beginning."""

    def __enter__(self) -> Self:
        self.before = self.peak = _own_memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self.peak = max(self.peak, _own_memory())

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def bytes(self) -> int:
        return self.peak - self.before


def _own_memory() -> int:
    """RssAnon of this process, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no RssAnon: this measurement needs Linux")


def true_neighbours(data: Clusters, queries: np.ndarray, k: int) -> np.ndarray:
    """Distances (q, k) of the nearest vectors in all blocks."""
    import annlab

    best = np.full((len(queries), k), np.inf, np.float32)
    for block in data.blocks():
        found = annlab.ExactIndex(precision="float32").fit(block).search(queries, k=k).distances
        best = np.sort(np.hstack([best, found]), axis=1)[:, :k]
    return best


def run(n: int, dim: int, limit: str, threads: int, storage: str = "pq4") -> dict[str, Any]:
    """Build, save, search; what was measured."""
    import annlab
    from annlab import evaluation

    data, stages = Clusters(n, dim), {}
    warm = annlab.IVFIndex(storage=storage).fit(data.some(2000, 0))  # compiles
    warm.search(data.some(10, 1))
    last = ["", time.perf_counter()]

    def progress(what: str, share: float) -> None:
        now = time.perf_counter()
        if last[0]:
            stages[last[0]] = stages.get(last[0], 0.0) + now - last[1]
        last[:] = [what, now]

    with tempfile.TemporaryDirectory() as folder:
        path, start, start_cpu = Path(folder) / "index.annlab", time.perf_counter(), time.process_time()
        with Memory() as memory:
            annlab.IVFIndex(storage=storage).fit(data.blocks(), threads=threads, max_memory=limit, path=path,
                                                 progress=progress)  # fmt: skip
        seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        index = annlab.IVFIndex.load(path, mmap=True)
        queries = data.queries(1000)
        result = index.search(queries, k=10, threads=1)
        start_cpu = time.process_time()
        result = index.search(queries, k=10, threads=1)
        search = (time.process_time() - start_cpu) / len(queries)
        truth = true_neighbours(data, queries, 10)
        recall = float(evaluation.ann_recall(result.ids, result.distances, truth).mean())
        return {
            "n": n, "dim": dim, "storage": storage, "max_memory": limit, "threads": threads,
            "vectors_bytes": n * dim * 4, "peak_bytes": memory.bytes, "before_bytes": memory.before,
            "seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1),
            "stages": {name: round(value, 1) for name, value in stages.items()},
            "file_bytes": path.stat().st_size, "n_lists": index.n_lists, "n_probes": index.calibration.n_probes,
            "rerank": index.calibration.rerank, "recall_at_10": recall,
            "search_cpu_microseconds": round(search * 1e6, 1),
        }  # fmt: skip
