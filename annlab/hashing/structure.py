"""The structure behind LSHIndex: vectors, a finder of candidates by their codes, and what was tuned for it.

    vectors --encoder--> codes --+-- ScanFinder     all codes, by Hamming distance      (scan.py)
                                 +-- BucketFinder   hash tables, probed; estimates      (buckets.py, keys.py)

A search asks the finder for a few candidates, how many `Plans` (plans.py) says, and `Index` scores them by the one
definition of a distance. Behind a filter, the nearest rows may be farther than those that the tuning was measured with,
and among few rows of buckets there may be fewer than k: then the search goes on with more, in the end with all
(`_answer`).
"""

import math
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from annlab.common.memory import copied
from annlab.common.rowsets import Remembered
from annlab.common.statistics import BYTES, DISTANCES, N_COUNTERS, VISITED
from annlab.core.column import Column
from annlab.core.heldout import warn_of_recall
from annlab.core.structure import Building, Request, Scored, Structure
from annlab.distances import Metric
from annlab.hashing import costs
from annlab.hashing.codes import Encoder
from annlab.hashing.finders import BucketFinder, Finder, ScanFinder
from annlab.hashing.keys import CROSS_POLYTOPE, HYPERPLANES, CrossPolytopeKeys, HyperplaneKeys, Keys
from annlab.hashing.plans import Plan, Plans, about
from annlab.hashing.scan import CodeScan
from annlab.hashing.settings import SCAN, Settings, may_have_buckets
from annlab.hashing.tuning import DEFAULT_AIM, EVERYTHING, Aim, Level, Tuner, Tuning
from annlab.kernels import distance as distance_kernels
from annlab.kernels import scoring
from annlab.kernels.hashing.buckets import CANDIDATES, FOUND, PROBES
from annlab.scan.scanner import Scanner

BUCKETS_FROM = 250_000  # rows; from there on "auto" measures which mode is the cheaper
_COPIES = 192  # while the rows become twice as many, tables may be merged, or codes copied, about so often
_TUNE_AGAIN = 1.5  # times as many rows as were tuned for
_CHECK = 8  # the share of new rows at which a sample of them is searched
_CHECKED = 48  # rows of this sample
_BUILD_ANEW = 1.25  # times as many rows as the encoder was made for, if the tuning became dear


class LSHStructure(Structure):
    """See the head of the file."""

    bulk: ClassVar[frozenset[str]] = frozenset({"vectors", "blocks", "records"})
    most_dead: ClassVar[float] = 1 / 4  # codes of the dead are compared, too; and dropped before _TUNE_AGAIN

    def __init__(self, vectors: Column, finder: Finder, settings: Settings, tuning: Tuning, params: dict[str, Any],
                 scanner: Scanner | None = None) -> None:  # fmt: skip
        self.column, self.vectors = vectors, vectors.array
        self.finder, self.settings, self.tuning, self.params = finder, settings, tuning, params
        if scanner is not None:
            self.__dict__["scanner"] = scanner
        self._counts = Remembered()
        self.plans = Plans(finder, tuning, len(self.vectors), self._row_bytes)
        self._work = np.zeros((3, N_COUNTERS), np.int64)  # what the kernels count, in terms of the statistics
        self._work[PROBES, VISITED] = 1
        for number, size in ((CANDIDATES, 8 * finder.encoder.n_words), (FOUND, self._row_bytes)):
            self._work[number, [DISTANCES, BYTES]] = 1, size

    @property
    def _row_bytes(self) -> int:
        """Of a vector."""
        return int(self.vectors.shape[1] * self.vectors.itemsize)

    @cached_property
    def scanner(self) -> Scanner:
        """Exact scans of the vectors."""
        return Scanner(self.vectors, self.finder.encoder.metric)

    # ---- building

    @classmethod
    def build(cls, vectors: np.ndarray, building: Building, aim: Aim = DEFAULT_AIM) -> tuple[Self, None]:
        vectors = vectors if building.owned else copied(vectors)
        scanner = Scanner(vectors, building.metric)
        made = cls._build(scanner, building, building.params["mode"], aim)
        if may_have_buckets(building.params) and len(vectors) >= BUCKETS_FROM:
            other = cls._build(scanner, building, "buckets", aim)
            if other.nanoseconds < made.nanoseconds:
                made = other
        made._say_what_is_missed()
        return made, None

    @classmethod
    def _build(cls, scanner: Scanner, building: Building, mode: str, aim: Aim) -> Self:
        vectors, params, rng, progress = scanner.vectors, building.params, building.rng, building.progress
        settings = Settings.choose(params | {"mode": mode}, len(vectors))
        progress("coding", 0.0)
        encoder = Encoder.learn(vectors, building.metric, settings.code_bits, params["center"], rng)
        progress("building", 0.2)
        finder: Finder
        if settings.mode == SCAN:
            finder = ScanFinder.build(encoder, vectors)
        elif settings.family == HYPERPLANES:
            finder = BucketFinder.build(encoder, HyperplaneKeys(settings.n_tables, settings.n_bits), vectors)
        else:
            keys = CrossPolytopeKeys.draw(settings.n_tables, settings.n_bits, encoder, rng)
            finder = BucketFinder.build(encoder, keys, vectors)
        progress("measuring", 0.7)
        tuning = _tuned(finder, scanner, params, aim, rng)
        progress("measuring", 1.0)
        return cls(Column(vectors), finder, settings, tuning, params, scanner)

    def _say_what_is_missed(self) -> None:
        level, target = self.tuning.main, self.tuning.target
        if level.n_queries and level.bound < target:
            asked = [f"{name}={self.params[name]}" for name in ("n_probes", "rerank") if self.params[name] != "auto"]
            warn_of_recall(f"LSHIndex with {' and '.join(asked)} finds {level.bound:.2f} of the {level.k} nearest, as "
                           f"measured on {level.n_queries} rows, not {target}: a larger number would find more, "
                           '"auto" enough')  # fmt: skip

    @property
    def nanoseconds(self) -> float:
        """About what a single query for ten neighbours costs."""
        return self.plans.of(10, self.params).nanoseconds

    def nanoseconds_at(self, growth: float) -> float:
        """The same, if there were `growth` times as many rows."""
        level = self.tuning.main
        if level.rerank == EVERYTHING:
            return costs.scanning(growth * self.vectors.nbytes)
        finding = growth * self.finder.nanoseconds(level.n_probes / growth, level.candidates)
        return finding + costs.scoring(growth * level.rerank, self._row_bytes)

    # ---- searching

    def search(self, queries: np.ndarray, k: int, request: Request) -> np.ndarray | Scored:
        plan = self.plans.of(k, request.params)
        if request.alive is not None:
            return self._search_some(queries, k, request.alive, request)
        if plan.exact:
            return self._candidates(queries, k, None, plan, request)
        rows, done = self.finder.find(queries, plan.n_probes, plan.keep, None, request.threads)
        request.counters[:] += np.dot(done, self._work)
        wanted = min(k, len(self.vectors))
        if (done[0, FOUND] if len(done) == 1 else done[:, FOUND].min(initial=wanted)) >= wanted:
            return rows
        result = _nothing(len(queries), k)
        self._score(result, queries, rows, request)
        few = np.flatnonzero(done[:, FOUND] < wanted)
        self._answer(queries, few, len(self.vectors), request, result, widened=1)
        return result

    def _search_some(self, queries: np.ndarray, k: int, alive: np.ndarray, request: Request) -> Scored:
        """The k nearest among the living and allowed rows."""
        result = _nothing(len(queries), k)
        if alive.ndim == 1:
            allowed: int | None = self._counts.get(alive)
            if allowed is None:  # tombstones come again with every search
                allowed = int(np.bitwise_count(alive).sum())
                self._counts.put(alive, allowed)
            if allowed:
                self._answer_all(queries, allowed, request, result)
            return result
        counts = np.bitwise_count(alive).sum(axis=1)
        sizes = about(counts)  # queries of one plan are searched together
        for size in np.unique(sizes[counts > 0]):
            some = np.flatnonzero(sizes == size)
            self._answer(queries, some, int(counts[some].min()), request, result)
        return result

    def _answer_all(self, queries: np.ndarray, allowed: int, request: Request, result: Scored) -> None:
        """Search for all queries, each of which may have the same rows; further for those that this is not enough for.

        Nearly always it is: so this is the way of a single query in an index with removed rows, and short.
        """
        k = result.ids.shape[1]
        plan = self.plans.of(k, request.params, allowed, n_living=request.n_living)
        self._score(result, queries, self._candidates(queries, k, request.alive, plan, request), request)
        if plan.exact:
            return
        last = min(k, allowed) - 1
        few, far = result.ids[:, last] < 0, self._farness(queries, result, last)
        more = few | (far > plan.reach)
        if more.any():
            far[few] = 0.0
            self._answer(queries, np.flatnonzero(more), allowed, request, result, 1, far)

    def _answer(self, queries: np.ndarray, some: np.ndarray, allowed: int, request: Request, result: Scored,
                widened: int = 0, far: np.ndarray | None = None) -> None:  # fmt: skip
        """Search for some of the queries, further and further until what is found is as near as was measured.

        Each of them may have at least so many rows as are `allowed`. far (q,): how far what was found so far is, on
        average.
        """
        k, alive, last = result.ids.shape[1], request.alive, min(result.ids.shape[1], allowed) - 1
        far = np.zeros(len(queries)) if far is None else far
        while len(some):
            plan = self.plans.of(k, request.params, allowed, widened, request.n_living)
            widened += 1
            now = some[far[some] <= plan.reach]  # each query waits for a plan that reaches so far, whoever else asks
            if not len(now):
                continue
            asked, own = queries[now], request._replace(counters=request.counters[now])
            masks = alive if alive is None or alive.ndim == 1 else alive[now]
            found = _nothing(len(now), k)
            self._score(found, asked, self._candidates(asked, k, masks, plan, own), request)
            request.counters[now], (result.distances[now], result.ids[now]) = own.counters, found
            if plan.exact:
                return
            far[now] = self._farness(asked, found, last)
            far[now[found.ids[:, last] < 0]] = 0.0  # too few: a little further, wherever the others are
            some = some[(far[some] > plan.reach) | (result.ids[some, last] < 0)]

    def _candidates(self, queries: np.ndarray, k: int, alive: np.ndarray | None, plan: Plan,
                    request: Request) -> np.ndarray:  # fmt: skip
        """Rows (q, m) among which the k nearest are looked for, by a plan."""
        if plan.exact:
            return self.scanner.search(queries, k, alive, request.keys, request.threads, request.counters)
        rows, done = self.finder.find(queries, plan.n_probes, plan.keep, alive, request.threads)
        request.counters[:] += np.dot(done, self._work)
        return rows

    def _farness(self, queries: np.ndarray, found: Scored, last: int) -> np.ndarray:
        """How far (q,) the neighbours up to the last one are on average."""
        near = found.distances[:, : last + 1]
        return self.finder.encoder.farness(queries, np.add.reduce(near, axis=1) / (last + 1))

    def _score(self, result: Scored, queries: np.ndarray, rows: np.ndarray, request: Request) -> None:
        """The nearest of the queries' candidates, in a result that holds nothing."""
        if rows.size:
            scoring.score(
                queries, self.vectors, self.vectors[:0], request.keys,
                np.ascontiguousarray(rows), self.finder.encoder.metric.code, scoring.scratch(rows), *result,
            )  # fmt: skip

    def search_radius(self, queries: np.ndarray, radius: float, request: Request) -> tuple[np.ndarray, np.ndarray]:
        """By a level that reaches as far as the radius, for more neighbours than are within it."""
        found = [self._within(queries[i : i + 1], radius, request, i) for i in range(len(queries))]
        return np.cumsum([0, *map(len, found)]), np.concatenate([*found, np.empty(0, np.int64)])

    def _within(self, query: np.ndarray, radius: float, request: Request, i: int) -> np.ndarray:
        n, alive, counters = len(self.vectors), request.alive, request.counters[i : i + 1]
        if alive is not None and alive.ndim == 2:
            alive = alive[i]
        allowed = n if alive is None else int(np.bitwise_count(alive).sum())
        metric, wanted = self.finder.encoder.metric.code, 1
        far = float(self.finder.encoder.farness(query, np.array([radius]))[0])
        while True:
            plan = self.plans.of(wanted, request.params, allowed, n_living=request.n_living)
            if plan.exact:
                return self.scanner.search_radius(query, radius, alive, request.threads, counters)[1]
            if far <= plan.reach:
                rows, done = self.finder.find(query, plan.n_probes, plan.keep, alive, request.threads)
                counters += np.dot(done, self._work)
                rows = np.sort(rows[rows >= 0])
                distances = np.empty(len(rows), query.dtype)
                near = np.ascontiguousarray(self.vectors[rows])
                distance_kernels.pair_distances(near, np.tile(query, (len(rows), 1)), metric, distances)
                rows = rows[distances.astype(np.float64) <= radius]  # float32 does not hold every radius
                if len(rows) < wanted:
                    return rows
            wanted *= 2

    # ---- growing and storing

    def absorb(self, vectors: np.ndarray, building: Building) -> tuple[Self, None] | None:
        n_before, n = len(self.vectors), len(self.vectors) + len(vectors)
        if may_have_buckets(self.params) and n_before < BUCKETS_FROM <= n:
            return None  # now there is a choice of modes
        many = n >= _BUILD_ANEW * self.tuning.n_rows  # of fewer, as many may be dead
        if many and Settings.choose(self.params | {"mode": self.settings.mode_name}, n).n_bits != self.settings.n_bits:
            return None  # so many more rows deserve longer keys
        column, metric = self.column.extended(vectors), building.metric
        scanner = Scanner(column.array, metric, self.scanner.extent.extended(vectors, metric))
        finder = self.finder.extended(vectors)
        tuning = self._tuned_again(finder, scanner, building.rng)
        if tuning is None:
            return None
        return type(self)(column, finder, self.settings, tuning, self.params, scanner), None

    def _tuned_again(self, finder: Finder, scanner: Scanner, rng: np.random.Generator) -> Tuning | None:
        """What was tuned, checked with the new rows, or measured again; None if all should be built anew.

        New rows may lie where there were none. What is checked costs little beside taking the rows in, and what is
        measured again is less than a build, and is due only after so many rows.
        """
        old, n = self.tuning, len(scanner.vectors)
        tuner = _tuner(finder, scanner, self.params)
        if tuner is None or (n < _TUNE_AGAIN * old.n_rows and n - old.n_checked < old.n_checked / _CHECK):
            return old
        if n < _TUNE_AGAIN * old.n_rows:
            sample = old.n_checked + rng.permutation(n - old.n_checked)[:_CHECKED]
            if tuner.recall(self._grown(n), sample) >= min(old.target, old.main.recall):
                return replace(old, n_checked=n)
        new = tuner.tune(Aim(old.target, tuple(level.k for level in old.levels)), rng, old.n_rows)
        dear = tuner.nanoseconds(new.main) > 2 * tuner.nanoseconds(old.main)
        return None if dear and n >= _BUILD_ANEW * old.n_rows else new

    def _grown(self, n: int) -> Level:
        """What a search of n rows does, by this tuning, for ten neighbours: see `Plans`."""
        level, growth = self.tuning.main, max(1.0, n / self.tuning.n_rows)
        if level.rerank == EVERYTHING or self.params["rerank"] != "auto":
            return level
        return replace(level, rerank=min(n, math.ceil(growth * level.rerank)))

    def rows_touched(self, params: dict[str, Any]) -> int:
        """Rows that an exact scan reads in a quarter of the time of a search, so that a tail never dominates it."""
        share = 0.25 * self.plans.of(10, params).nanoseconds / costs.scanning(self._row_bytes)
        return int(min(len(self.vectors), 1 + share))

    def tail_limit(self, params: dict[str, Any]) -> int:
        return self.tail_of_copies(params, _COPIES)

    def arrays(self) -> dict[str, np.ndarray]:
        level, touched = self.tuning.main, self.rows_touched(self.params)
        settings = np.array([*self.settings, level.n_probes, level.rerank, touched], np.int64)
        return {"vectors": self.vectors, "settings": settings} | self.tuning.arrays() | self.finder.arrays()

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], *, metric: Metric, params: dict[str, Any]) -> Self:
        vectors, numbers = arrays["vectors"], arrays["settings"]
        settings = Settings.from_array(numbers)
        encoder = Encoder.from_arrays(arrays, metric, vectors.shape[1])
        if -(-settings.code_bits // 64) != encoder.n_words:
            raise ValueError(f"codes of {settings.code_bits} bits do not fit {encoder.n_words} words")
        finder: Finder
        if settings.mode == SCAN:
            finder = ScanFinder(encoder, CodeScan(Column(arrays["blocks"]), len(vectors)))
        else:
            keys: Keys = HyperplaneKeys(settings.n_tables, settings.n_bits)
            if settings.family == CROSS_POLYTOPE:
                keys = CrossPolytopeKeys.from_arrays(settings.n_tables, settings.n_bits, arrays, encoder)
            finder = BucketFinder.from_arrays(arrays, encoder, keys)
        if "levels" in arrays:
            tuning = Tuning.from_arrays(arrays["levels"], arrays["tuned"], finder.most_probes, len(vectors))
        else:  # a file of before levels
            tuning = Tuning.fixed(int(numbers[4]), int(numbers[5]), len(vectors))
        return cls(Column(vectors), finder, settings, tuning, params)

    def check(self) -> None:
        self.finder.check(len(self.vectors))


def _tuner(finder: Finder, scanner: Scanner, params: dict[str, Any]) -> Tuner | None:
    """What measures the parameters that were left open, or None if none were."""
    n_probes, rerank = (None if params[name] == "auto" else params[name] for name in ("n_probes", "rerank"))
    if rerank is not None and (n_probes is not None or not finder.most_probes):
        return None
    return Tuner(finder, scanner, n_probes, rerank)


def _tuned(finder: Finder, scanner: Scanner, params: dict[str, Any], aim: Aim, rng: np.random.Generator) -> Tuning:
    tuner = _tuner(finder, scanner, params)
    if tuner is None:
        n_probes = 0 if params["n_probes"] == "auto" else params["n_probes"]
        return Tuning.fixed(n_probes if finder.most_probes else 0, params["rerank"], len(scanner.vectors))
    return tuner.tune(aim, rng, 0)


def _nothing(q: int, k: int) -> Scored:
    result = Scored(np.empty((q, k)), np.empty((q, k), np.int64))
    result.distances.fill(np.inf)
    result.ids.fill(-1)
    return result
