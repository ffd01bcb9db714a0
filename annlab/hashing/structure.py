"""The structure behind LSHIndex: vectors, an encoder, and one of two ways of finding candidates by their codes.

    vectors --encoder--> codes --+-- CodeScan       all codes, by Hamming distance      (hashing/scan.py)
                                 +-- BucketTables   hash tables, probed; estimates      (hashing/buckets.py)
                                       keys, probes: hyperplanes or cross-polytopes     (hashing/keys.py)

Both return at most `rerank` rows a query, which `Index` scores by the one definition of a distance. What was left to
"auto" is chosen when the structure is built, and stored with it (`Settings`).
"""

import math
from dataclasses import astuple, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from annlab.common.progress import Progress
from annlab.common.statistics import BYTES, DISTANCES, N_COUNTERS, VISITED
from annlab.core.column import Column
from annlab.core.structure import Building, Request, Structure
from annlab.distances import Metric
from annlab.hashing.buckets import MAX_KEY_BITS, Buckets, BucketTables
from annlab.hashing.codes import MAX_BITS, Encoder
from annlab.hashing.keys import CROSS_POLYTOPE, FAMILIES, HYPERPLANES, CrossPolytopeKeys, HyperplaneKeys, Keys
from annlab.hashing.scan import CodeScan
from annlab.hashing.tuning import DEFAULT_AIM, Aim, HeldOut, smallest
from annlab.kernels import distance as distance_kernels
from annlab.kernels.hashing import buckets as bucket_kernels

SCAN, BUCKETS = 0, 1
MODES = {"scan": SCAN, "buckets": BUCKETS}
BUCKETS_FROM = 250_000  # rows; from there on "auto" measures which mode is the cheaper
SCAN_BITS = 256
RECORD_BITS = 192  # with its two numbers, a record is half a cache line
TABLES = 16
_LARGEST_RERANK = 2**31 - 1
_ROWS_A_BUCKET = 8
# What a single query costs, to choose between modes and parameters and for the size of the tail. Rounded means of a
# Zen 3 (AVX2) and a Zen 4 server: what is chosen must not depend on the machine.
_BYTE_NANOSECONDS = 0.04  # of a scan
_PROBE_NANOSECONDS = 150.0  # found, and its bucket looked up
_CANDIDATE_NANOSECONDS = 25.0  # found in a bucket, checked for repetition and estimated
_RERANK_NANOSECONDS = 150.0  # a vector from a random place, scored
_SEARCHES = 32  # searches that tell how many candidates buckets give
_NEARLY_ALL = 8192  # candidates of buckets: if as many are re-ranked, what is missed was not found
_BLOCK_PROBES = 2**20  # of one block of queries


@dataclass(frozen=True)
class Settings:
    """What was chosen for the data. `touched`: see `rows_touched` in core/structure.py."""

    mode: int
    family: int
    n_tables: int
    n_bits: int
    n_probes: int
    rerank: int
    touched: int

    @classmethod
    def choose(cls, params: dict[str, Any], n: int) -> Self:
        """From the parameters of the index for n rows; 0 for what remains to be measured."""
        mode, family = params["mode"], FAMILIES[params["family"]]
        if mode in ("auto", "scan"):
            mode = "scan"
            n_tables = 1 if params["n_tables"] == "auto" else params["n_tables"]
            n_bits = max(1, SCAN_BITS // n_tables) if params["n_bits"] == "auto" else params["n_bits"]
        else:
            n_tables = TABLES if params["n_tables"] == "auto" else params["n_tables"]
            n_bits = min(_key_bits(n), MAX_BITS // n_tables) if params["n_bits"] == "auto" else params["n_bits"]
            if family == CROSS_POLYTOPE:
                n_bits = max(2, n_bits - n_bits % 2)
        n_probes = 0 if params["n_probes"] == "auto" else params["n_probes"]
        rerank = 0 if params["rerank"] == "auto" else params["rerank"]
        return cls(MODES[mode], family, n_tables, n_bits, n_probes, rerank, 0)

    @property
    def code_bits(self) -> int:
        """Bits of a row's code. Hyperplanes' keys are parts of it."""
        return RECORD_BITS if self.mode == BUCKETS and self.family == CROSS_POLYTOPE else self.n_tables * self.n_bits


def _key_bits(n: int) -> int:
    """Bits of a key such that a bucket holds _ROWS_A_BUCKET of n rows on average."""
    return min(max(round(math.log2(max(n / _ROWS_A_BUCKET, 2))), 4), 20)


class LSHStructure(Structure):
    """See the head of the file."""

    bulk: ClassVar[frozenset[str]] = frozenset({"vectors", "blocks", "records"})

    def __init__(self, vectors: Column, encoder: Encoder, keys: Keys | None, finder: CodeScan | BucketTables,
                 settings: Settings, params: dict[str, Any]) -> None:  # fmt: skip
        self.column, self.vectors = vectors, vectors.array
        self.encoder, self.keys, self.finder, self.settings, self.params = encoder, keys, finder, settings, params
        self._work = np.zeros((3, N_COUNTERS), np.int64)  # what the kernels count, in terms of the statistics
        self._work[bucket_kernels.PROBES, VISITED] = 1
        for number, size in ((bucket_kernels.CANDIDATES, 8 * encoder.n_words), (bucket_kernels.FOUND, self._row_bytes)):
            self._work[number, [DISTANCES, BYTES]] = 1, size

    @property
    def _row_bytes(self) -> int:
        """Of a vector."""
        return int(self.vectors.shape[1] * self.vectors.itemsize)

    # ---- building

    @staticmethod
    def default_bits(mode: str, n: int) -> int:
        """`n_bits` for n rows where nothing is said."""
        return SCAN_BITS if mode == "scan" else _key_bits(n)

    @classmethod
    def build(cls, vectors: np.ndarray, building: Building, aim: Aim = DEFAULT_AIM) -> tuple[Self, None]:
        metric, params, rng, _, progress, owned, *_ = building
        vectors = vectors if owned else vectors.copy()
        made = cls._build(vectors, metric, params, rng, progress, aim)
        if _may_have_buckets(params) and len(vectors) >= BUCKETS_FROM:
            other = cls._build(vectors, metric, params | {"mode": "buckets"}, rng, progress, aim)
            if other.nanoseconds() < made.nanoseconds():
                made = other
                made.params = params
        return made, None

    @classmethod
    def _build(cls, vectors: np.ndarray, metric: Metric, params: dict[str, Any], rng: np.random.Generator,
               progress: Progress, aim: Aim) -> Self:  # fmt: skip
        settings = Settings.choose(params, len(vectors))
        encoder = Encoder.learn(vectors, metric, settings.code_bits, params["center"], rng)
        progress("coding", 0.0)
        codes = encoder.rows(vectors)
        progress("building", 0.5)
        keys: Keys | None = None
        finder: CodeScan | BucketTables
        if settings.mode == SCAN:
            finder = CodeScan.build(codes.bits)
        else:
            if settings.family == HYPERPLANES:
                keys = HyperplaneKeys(settings.n_tables, settings.n_bits)
            else:
                keys = CrossPolytopeKeys.draw(settings.n_tables, settings.n_bits, encoder, rng)
            finder = BucketTables.build(codes, keys.rows(vectors, codes), settings.n_bits)
        progress("measuring", 0.8)
        made = cls(Column(vectors), encoder, keys, finder, settings, params)
        made.settings = made._measured(rng, aim)
        progress("measuring", 1.0)
        return made

    def _measured(self, rng: np.random.Generator, aim: Aim) -> Settings:
        """The settings with what was left open: the smallest that reach the aim for held-out rows."""
        settings, n = self.settings, len(self.vectors)
        if not settings.rerank or (settings.mode == BUCKETS and not settings.n_probes):
            held_out = HeldOut(self.vectors, self.encoder.metric, aim.k, rng)
            if settings.mode == BUCKETS and not settings.n_probes:
                settings = self._with_probes(held_out, aim.recall)
            if not settings.rerank:
                rerank = smallest(
                    lambda r: held_out.recall(self._candidates(held_out.queries, settings, r)), n, aim.recall
                )
                settings = replace(settings, rerank=max(rerank, 32))
        return replace(settings, touched=self._touched(settings))

    def _with_probes(self, held_out: HeldOut, target: float) -> Settings:
        """Probes that reach a little more than the target when nearly everything found is re-ranked.

        Re-ranking is cheap beside finding, so it may lose the smaller part of what may be missed.
        """
        settings = self.settings
        every = settings.n_tables << settings.n_bits
        wanted = target + 0.2 * (1 - target)
        n_probes = smallest(
            lambda p: held_out.recall(self._candidates(held_out.queries, replace(settings, n_probes=p), _NEARLY_ALL)),
            min(every, 256 * settings.n_tables), wanted,
        )  # fmt: skip
        return replace(settings, n_probes=n_probes)

    def nanoseconds(self, growth: float = 1.0) -> float:
        """About what a single query costs, if there were `growth` times as many rows."""
        settings = self.settings
        if isinstance(self.finder, CodeScan):
            nanoseconds = growth * len(self.vectors) * 8 * self.encoder.n_words * _BYTE_NANOSECONDS
        else:
            queries = np.ascontiguousarray(self.vectors[:: max(1, len(self.vectors) // _SEARCHES)][:_SEARCHES])
            done = self._from_buckets(self.finder, queries, settings.n_probes, 1, None)[1]
            candidates = float(np.mean(done[:, bucket_kernels.CANDIDATES]))
            nanoseconds = growth * candidates * _CANDIDATE_NANOSECONDS + settings.n_probes * _PROBE_NANOSECONDS
        return nanoseconds + settings.rerank * (_RERANK_NANOSECONDS + self._row_bytes * _BYTE_NANOSECONDS)

    def _touched(self, settings: Settings) -> int:
        """Rows that an exact scan reads in a quarter of the time of a search, so that a tail never dominates it."""
        self.settings = settings
        share = 0.25 * self.nanoseconds() / (_BYTE_NANOSECONDS * self._row_bytes)
        return int(min(len(self.vectors), 1 + share))

    # ---- searching

    def _candidates(self, queries: np.ndarray, settings: Settings, keep: int, alive: np.ndarray | None = None,
                    n_threads: int = 1, counters: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
        """(q, keep) rows, -1 where there are none."""
        keep = min(keep, len(self.vectors))
        if isinstance(self.finder, CodeScan):
            found = self.finder.search(self.encoder.queries(queries).bits, keep, alive, n_threads)
            done = np.empty((len(queries), 3), np.int64)
            done[:, bucket_kernels.PROBES], done[:, bucket_kernels.CANDIDATES] = 1, self.finder.n
            there = found >= 0
            done[:, bucket_kernels.FOUND] = np.count_nonzero(there) if len(queries) == 1 else there.sum(axis=1)
        else:
            found, done = self._from_buckets(self.finder, queries, settings.n_probes, keep, alive)
        if counters is not None:
            counters += np.dot(done, self._work)
        return found

    def _from_buckets(self, finder: BucketTables, queries: np.ndarray, n_probes: int, keep: int,
                      alive: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Rows (q, keep) from the buckets that are probed, and what was done (q, 3)."""
        if self.keys is None:
            raise TypeError("buckets need keys")
        size = max(1, _BLOCK_PROBES // min(n_probes, finder.n_tables << finder.n_bits))
        parts = []
        for start in range(0, len(queries), size):
            some = queries[start : start + size]
            codes = self.encoder.queries(some)
            probes = self.keys.probes(some, codes, n_probes)
            masks = alive if alive is None or alive.ndim == 1 else alive[start : start + size]
            parts.append(finder.search(codes, probes, keep, masks))
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([rows for rows, _ in parts]), np.concatenate([done for _, done in parts])

    def search(self, queries: np.ndarray, k: int, request: Request) -> np.ndarray:
        settings, keep = self._asked(request.params, k)
        return self._candidates(queries, settings, keep, request.alive, request.threads, request.counters)

    def _asked(self, params: dict[str, Any], k: int) -> tuple[Settings, int]:
        """The settings of one search, and how many candidates to re-rank: more than usual for many neighbours."""
        settings = self.settings
        if params["n_probes"] != "auto":
            settings = replace(settings, n_probes=params["n_probes"])
        rerank = settings.rerank * max(1, math.isqrt(k // 10)) if params["rerank"] == "auto" else params["rerank"]
        return settings, min(max(rerank, k), _LARGEST_RERANK)

    def search_radius(self, queries: np.ndarray, radius: float, request: Request) -> tuple[np.ndarray, np.ndarray]:
        """Twice as many candidates as before, as long as the new ones bring rows within the radius."""
        found = [self._within(queries[i : i + 1], radius, request, i) for i in range(len(queries))]
        return np.cumsum([0, *map(len, found)]), np.concatenate([*found, np.empty(0, np.int64)])

    def _within(self, query: np.ndarray, radius: float, request: Request, i: int) -> np.ndarray:
        settings, keep = self._asked(request.params, 1)
        alive = request.alive if request.alive is None or request.alive.ndim == 1 else request.alive[i : i + 1]
        counters, before = request.counters[i : i + 1], -1
        while True:
            rows = self._candidates(query, settings, keep, alive, request.threads, counters)[0]
            rows = np.sort(rows[rows >= 0])
            distances = np.empty(len(rows), query.dtype)
            near = np.ascontiguousarray(self.vectors[rows])
            distance_kernels.pair_distances(near, np.tile(query, (len(rows), 1)), self.encoder.metric.code, distances)
            rows = rows[distances <= radius]
            if len(rows) == before or keep >= len(self.vectors):
                return rows
            before, keep = len(rows), 2 * keep
            settings = replace(settings, n_probes=2 * settings.n_probes)

    # ---- growing and storing

    def absorb(self, vectors: np.ndarray, building: Building) -> tuple[Self, None] | None:
        n = len(self.vectors) + len(vectors)
        if _may_have_buckets(self.params) and len(self.vectors) < BUCKETS_FROM <= n:
            return None  # now there is a choice of modes
        mode = next(name for name, number in MODES.items() if number == self.settings.mode)
        if Settings.choose(self.params | {"mode": mode}, n).n_bits != self.settings.n_bits:
            return None  # so many more rows deserve longer keys
        codes = self.encoder.rows(vectors)
        finder: CodeScan | BucketTables
        if isinstance(self.finder, CodeScan) or self.keys is None:
            finder = self.finder.extended(codes.bits)  # type: ignore[union-attr,call-arg,arg-type]
        else:
            finder = self.finder.extended(codes, self.keys.rows(vectors, codes))
        made = type(self)(self.column.extended(vectors), self.encoder, self.keys, finder, self.settings, self.params)
        made.settings = replace(self.settings, touched=made._touched(self.settings))
        return made, None

    def rows_touched(self, params: dict[str, Any]) -> int:
        settings, keep = self._asked(params, 1)
        own = self.settings
        return int(own.touched * max(keep / own.rerank, settings.n_probes / max(own.n_probes, 1)))

    def arrays(self) -> dict[str, np.ndarray]:
        own = {"vectors": self.vectors, "settings": np.array(astuple(self.settings), np.int64)}
        if isinstance(self.finder, CodeScan):
            own["blocks"] = self.finder.blocks.array
        else:
            own["records"] = self.finder.records.array
            for name, buckets in (("base", self.finder.base), ("recent", self.finder.recent)):
                own |= {f"{name}_offsets": buckets.offsets, f"{name}_rows": buckets.rows}
        return own | self.encoder.arrays() | ({} if self.keys is None else self.keys.arrays())

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], *, metric: Metric, params: dict[str, Any]) -> Self:
        vectors, numbers = arrays["vectors"], arrays["settings"]
        if numbers.dtype != np.int64 or numbers.shape != (7,):
            raise ValueError(f"settings are {numbers.dtype} {numbers.shape}, not seven int64")
        settings = Settings(*(int(number) for number in numbers))
        encoder = Encoder.from_arrays(arrays, metric, vectors.shape[1])
        _check_settings(settings)
        if settings.mode == SCAN:
            scan = CodeScan(Column(arrays["blocks"]), len(vectors))
            return cls(Column(vectors), encoder, None, scan, settings, params)
        base = Buckets(arrays["base_offsets"], arrays["base_rows"])
        recent = Buckets(arrays["recent_offsets"], arrays["recent_rows"])
        tables = BucketTables(Column(arrays["records"]), base, recent, settings.n_tables, settings.n_bits)
        keys: Keys = HyperplaneKeys(settings.n_tables, settings.n_bits)
        if settings.family == CROSS_POLYTOPE:
            keys = CrossPolytopeKeys.from_arrays(settings.n_tables, settings.n_bits, arrays, encoder)
        return cls(Column(vectors), encoder, keys, tables, settings, params)

    def check(self) -> None:
        settings, n, n_words = self.settings, len(self.vectors), self.encoder.n_words
        if -(-settings.code_bits // 64) != n_words:
            raise ValueError(f"codes of {settings.code_bits} bits do not fit {n_words} words")
        if isinstance(self.finder, CodeScan):
            _require("blocks", self.finder.blocks.array, (-(-n // 8), n_words, 8))
            return
        _require("records", self.finder.records.array, (n, n_words + 1))
        n_base = self.finder.n_base
        self.finder.base.check(settings.n_tables, settings.n_bits, 0, n_base)
        self.finder.recent.check(settings.n_tables, settings.n_bits, n_base, n)


def _may_have_buckets(params: dict[str, Any]) -> bool:
    """Whether mode "auto" may choose buckets."""
    n_bits = params["n_bits"]
    if params["mode"] != "auto" or n_bits == "auto":
        return bool(params["mode"] == "auto")
    return bool(n_bits <= MAX_KEY_BITS and (params["family"] == "hyperplanes" or n_bits % 2 == 0))


def _check_settings(settings: Settings) -> None:
    """Raise a ValueError if stored settings make no sense."""
    modes, families = (SCAN, BUCKETS), (HYPERPLANES, CROSS_POLYTOPE)
    if settings.mode not in modes or settings.family not in families:
        raise ValueError(f"mode {settings.mode}, family {settings.family}")
    if not (1 <= settings.n_tables <= MAX_BITS and 1 <= settings.n_bits <= MAX_BITS):
        raise ValueError(f"{settings.n_tables} tables of {settings.n_bits} bits")
    if settings.n_tables * settings.n_bits > MAX_BITS:
        raise ValueError(f"{settings.n_tables} tables of {settings.n_bits} bits exceed {MAX_BITS}")
    if not (1 <= settings.rerank <= _LARGEST_RERANK and 0 <= settings.n_probes < 2**31 and settings.touched >= 0):
        raise ValueError(f"settings out of range: {settings}")
    if settings.mode == BUCKETS and (settings.n_bits > MAX_KEY_BITS or settings.n_probes < 1):
        raise ValueError(f"settings out of range: {settings}")
    if settings.mode == BUCKETS and settings.family == CROSS_POLYTOPE and settings.n_bits % 2:
        raise ValueError(f"{settings.n_bits} bits are not two hashes of equally many")


def _require(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.dtype != np.uint64 or array.shape != shape:
        raise ValueError(f"array {name!r} is {array.dtype} {array.shape}, but should be uint64 {shape}")
