"""The two ways of finding candidates behind one protocol: `ScanFinder` compares all codes, `BucketFinder` looks into
hash tables. Either one is complete when it is made, and never changes.
"""

from typing import NamedTuple, Protocol

import numpy as np

from annlab.core.column import Column
from annlab.hashing import costs
from annlab.hashing.buckets import Buckets, BucketStatistics, BucketTables
from annlab.hashing.codes import Encoder
from annlab.hashing.keys import Keys
from annlab.hashing.scan import CodeScan
from annlab.kernels.hashing.buckets import CANDIDATES, FOUND, PROBES

_BLOCK_PROBES = 2**20  # of one block of queries
_BLOCK_ROWS = 2**23  # candidates of one block of queries


class Found(NamedTuple):
    """Candidates of some queries.

    rows (q, keep) int64, -1 where there are none; done (q, 3) int64: buckets that were looked into, rows whose codes
    were compared, rows found.
    """

    rows: np.ndarray
    done: np.ndarray


class Ranked(NamedTuple):
    """Candidates, and how their codes judge them.

    rows (q, keep) int64, -1 where there are none; order (q, keep) int64: the smaller, the better, no number twice;
    candidates: rows whose codes were compared, on average.
    """

    rows: np.ndarray
    order: np.ndarray
    candidates: float


class Finder(Protocol):
    """Codes of rows 0..n-1, and a way to find those nearest to a query by their codes."""

    encoder: Encoder
    n_tables: int
    most_probes: int
    """As many buckets as there are; 0 for a scan, which has none."""

    def find(self, queries: np.ndarray, n_probes: int, keep: int, alive: np.ndarray | None, n_threads: int) -> Found:
        """The `keep` rows that are the best by their codes, in any order; `alive` as in `Request`."""
        ...

    def ranked(self, queries: np.ndarray, n_probes: int, keep: int, alive: np.ndarray | None) -> Ranked:
        """The rows that `find` gives, with the order in which it prefers them."""
        ...

    def nanoseconds(self, n_probes: float, candidates: float) -> float:
        """What finding costs, see `costs.py`."""
        ...

    def extended(self, vectors: np.ndarray) -> "Finder":
        """With some more rows behind these."""
        ...

    def statistics(self) -> BucketStatistics | None:
        """How rows fall into buckets, if there are any."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """What to store."""
        ...

    def check(self, n: int) -> None:
        """Raise a ValueError unless the arrays are in order for n rows: kernels rely on it."""
        ...


class ScanFinder:
    """Candidates by scanning all codes, see `scan.py`."""

    n_tables = most_probes = 0

    def __init__(self, encoder: Encoder, scan: CodeScan) -> None:
        self.encoder, self.scan = encoder, scan

    @classmethod
    def build(cls, encoder: Encoder, vectors: np.ndarray) -> "ScanFinder":
        """Of rows (n, dim)."""
        return cls(encoder, CodeScan.build(encoder.rows(vectors).bits))

    def find(self, queries: np.ndarray, n_probes: int, keep: int, alive: np.ndarray | None, n_threads: int) -> Found:
        nearest = self.scan.search(self.encoder.queries(queries).bits, keep, alive, n_threads)
        done = np.empty((len(queries), 3), np.int64)
        done[:, PROBES], done[:, CANDIDATES], done[:, FOUND] = 1, self.scan.n, nearest.lengths
        return Found(nearest.rows, done)

    def ranked(self, queries: np.ndarray, n_probes: int, keep: int, alive: np.ndarray | None) -> Ranked:
        nearest = self.scan.search(self.encoder.queries(queries).bits, keep, alive, 1)
        return Ranked(nearest.rows, _in_order(nearest.distances, nearest.rows), float(self.scan.n))

    def nanoseconds(self, n_probes: float, candidates: float) -> float:
        return costs.scanning(self.scan.n * 8 * self.encoder.n_words)

    def extended(self, vectors: np.ndarray) -> "ScanFinder":
        return ScanFinder(self.encoder, self.scan.extended(self.encoder.rows(vectors).bits))

    def statistics(self) -> None:
        return None

    def arrays(self) -> dict[str, np.ndarray]:
        return {"blocks": self.scan.blocks.array} | self.encoder.arrays()

    def check(self, n: int) -> None:
        _require("blocks", self.scan.blocks.array, (-(-n // 8), self.encoder.n_words, 8))


class BucketFinder:
    """Candidates from hash tables, see `buckets.py` and `keys.py`."""

    def __init__(self, encoder: Encoder, keys: Keys, tables: BucketTables) -> None:
        self.encoder, self.keys, self.tables = encoder, keys, tables
        self.n_tables, self.most_probes = tables.n_tables, tables.n_tables << tables.n_bits

    @classmethod
    def build(cls, encoder: Encoder, keys: Keys, vectors: np.ndarray) -> "BucketFinder":
        """Of rows (n, dim)."""
        codes = encoder.rows(vectors)
        return cls(encoder, keys, BucketTables.build(codes, keys.rows(vectors, codes), keys.n_bits))

    def find(self, queries: np.ndarray, n_probes: int, keep: int, alive: np.ndarray | None, n_threads: int) -> Found:
        size = self._at_once(n_probes, keep)
        if len(queries) <= size:
            codes = self.encoder.queries(queries)
            collected = self.tables.search(codes, self.keys.probes(queries, codes, n_probes), keep, alive)
            return Found(collected.rows, collected.done)
        parts = []
        for start in range(0, len(queries), size):
            masks = alive if alive is None or alive.ndim == 1 else alive[start : start + size]
            parts.append(self.find(queries[start : start + size], n_probes, keep, masks, n_threads))
        return Found(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def ranked(self, queries: np.ndarray, n_probes: int, keep: int, alive: np.ndarray | None) -> Ranked:
        size, parts = self._at_once(n_probes, keep), []
        for start in range(0, len(queries), size):
            some = queries[start : start + size]
            codes = self.encoder.queries(some)
            parts.append(self.tables.search(codes, self.keys.probes(some, codes, n_probes), keep, alive))
        width = max(1, max(int(done[:, FOUND].max(initial=0)) for _, _, done in parts))
        rows = np.concatenate([rows[:, :width] for rows, _, _ in parts])
        estimates = np.concatenate([estimates[:, :width] for _, estimates, _ in parts])
        done = np.concatenate([done for _, _, done in parts])
        bits = estimates.view(np.int32)
        ascending = bits ^ ((bits >> 31) & np.int32(2**31 - 1))  # whole numbers in the order of the estimates
        return Ranked(rows, _in_order(ascending, rows), float(done[:, CANDIDATES].mean()))

    def _at_once(self, n_probes: int, keep: int) -> int:
        """Queries of a block, so that its arrays stay of a moderate size."""
        probes, rows = min(n_probes, self.most_probes), min(keep, self.tables.n)
        return max(1, min(_BLOCK_PROBES // probes, _BLOCK_ROWS // rows))

    def nanoseconds(self, n_probes: float, candidates: float) -> float:
        return costs.probing(n_probes, candidates)

    def extended(self, vectors: np.ndarray) -> "BucketFinder":
        codes = self.encoder.rows(vectors)
        return BucketFinder(self.encoder, self.keys, self.tables.extended(codes, self.keys.rows(vectors, codes)))

    def statistics(self) -> BucketStatistics:
        return self.tables.statistics()

    def arrays(self) -> dict[str, np.ndarray]:
        own = {"records": self.tables.records.array}
        for name, buckets in (("base", self.tables.base), ("recent", self.tables.recent)):
            own |= {f"{name}_offsets": buckets.offsets, f"{name}_rows": buckets.rows}
        return own | self.encoder.arrays() | self.keys.arrays()

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], encoder: Encoder, keys: Keys) -> "BucketFinder":
        """The finder of stored arrays."""
        base = Buckets(arrays["base_offsets"], arrays["base_rows"])
        recent = Buckets(arrays["recent_offsets"], arrays["recent_rows"])
        return cls(encoder, keys, BucketTables(Column(arrays["records"]), base, recent, keys.n_tables, keys.n_bits))

    def check(self, n: int) -> None:
        tables = self.tables
        _require("records", tables.records.array, (n, self.encoder.n_words + 1))
        tables.base.check(tables.n_tables, tables.n_bits, 0, tables.n_base)
        tables.recent.check(tables.n_tables, tables.n_bits, tables.n_base, n)


def _require(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.dtype != np.uint64 or array.shape != shape:
        raise ValueError(f"array {name!r} is {array.dtype} {array.shape}, but should be uint64 {shape}")


def _in_order(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Numbers that ascend with the values (q, keep) int32, and of equal values with their place."""
    order = values.astype(np.int64)
    order <<= 32
    order += np.arange(values.shape[1])
    order[rows < 0] = np.iinfo(np.int64).max
    return order
