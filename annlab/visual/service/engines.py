"""Other kinds of index over the same vectors, to turn their knobs and watch recall and time move.

What is compared is single searches of some images drawn once, against exact search: recall is the share of the k
nearest that an index finds, time the median of the sample. All of it is over the vectors that everybody may see, so no
number and no result tells of anybody's private images. The served index holds private ones too and searches behind a
filter, so there exact search has a filter as well: both do the same, and nothing is counted while time is taken. An
index is built when somebody asks for it, by one thread at a time, and forgotten once images were added or deleted.
"""

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from annlab.common.statistics import SearchStats
from annlab.exact import ExactIndex
from annlab.index import Index
from annlab.kinds import INDEX_CLASSES
from annlab.visual.search import Filters, QueryError, Viewer
from annlab.visual.service.core import Service
from annlab.visual.shown import listed

_SAMPLE = 48
_log = logging.getLogger(__name__)

_NO_SLIDER = {("KDTreeIndex", "epsilon"), ("BallTreeIndex", "epsilon"), ("IVFIndex", "rerank")}
"""Search parameters that are no counts."""


@dataclass
class Bench:
    """What measurements share: the vectors that everybody may see, some queries, and the truth."""

    ids: np.ndarray
    keys: np.ndarray
    """By which the served index knows these pictures."""
    vectors: np.ndarray
    sample: np.ndarray
    """Places of the queries among `ids`."""
    exact: Index
    allowed: Any
    """The filter of the served index that lets through what is here."""
    changes: tuple[int, int]
    built: dict[str, Index] = field(default_factory=dict)
    truth: dict[int, np.ndarray] = field(default_factory=dict)
    """By k: ids (queries, k + 1)."""
    exact_ms: dict[tuple[int, bool], float] = field(default_factory=dict)
    """By k, and whether behind a filter: the median time of an exact search in milliseconds."""

    def shown(self, keys: np.ndarray) -> np.ndarray:
        """The ids of what the served index has found; -1 stays."""
        order = np.argsort(self.keys)
        places = order[np.minimum(np.searchsorted(self.keys, keys, sorter=order), len(order) - 1)]
        return np.where(self.keys[places] == keys, self.ids[places], -1)


class Engines:
    """All kinds of index over one service's vectors; safe from any number of threads."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._bench: Bench | None = None
        self._states: dict[str, str] = {}
        self._notes: dict[str, str] = {}
        self._lock, self._preparing, self._turn = threading.Lock(), threading.Lock(), threading.Lock()

    def overview(self) -> dict[str, Any]:
        """All kinds, what state each is in, and its knobs."""
        n = self._n_public()
        return {"vectors": n, "engines": [self._about(cls.__name__, n) for cls in INDEX_CLASSES]}

    def told(self, about: dict[str, Any]) -> dict[str, Any]:
        """Of a kind in the overview, or measured, what others than admins may know. The index that is served holds
        what is hidden, too: its memory, what it chooses by its size, and how many distances it computes tell how much
        that is."""
        if about["kind"] != self._service.search.index.kind:
            return about
        if "knobs" not in about:
            return {**about, "looked_at": None}
        knobs = [{**knob, "value": max(1, knob["high"] // 16)} for knob in about["knobs"]]
        return {**about, "knobs": knobs, "bytes": None}

    def build(self, kind: str) -> dict[str, Any]:
        """Begin to build a kind of index, unless it is there; what state it is in."""
        self._require(kind)
        if kind != self._service.search.index.kind and self._states.get(kind) != "building":
            bench = self._current()
            if kind not in bench.built:
                with self._lock:
                    self._states[kind] = "building"
                threading.Thread(target=self._build, args=(kind, bench), name=f"build {kind}", daemon=True).start()
        return self._about(kind, self._n_public())

    def measure(self, kind: str, k: int, knobs: dict[str, Any], query: np.ndarray | None) -> dict[str, Any]:
        """Recall and time of a kind with some knobs, and what it finds and misses for one query vector.

        Raises
        ------
        QueryError
            It is not built yet, there are too few images, or a knob is none of its own.
        """
        self._require(kind)
        bench = self._current()
        own = kind == self._service.search.index.kind
        index: Any = self._service.search.index if own else bench.built.get(kind)
        if index is None:
            raise QueryError(f"{kind} is not built yet")
        options: dict[str, Any] = {"allowed": bench.allowed} if own else {}
        options |= knobs
        if len(bench.ids) <= k:
            raise QueryError(f"there are only {len(bench.ids)} images: too few to compare {k} nearest")
        truth, exact_ms = self._truth(bench, k), self._exact_ms(bench, k, filtered=own)
        queries = bench.vectors[bench.sample]
        stats = SearchStats()
        shares, looked = [], []
        try:
            milliseconds = _median_ms(index, queries, k + 1, options)
            for row, vector in enumerate(queries):
                ids = index.search(vector, k=k + 1, threads=1, stats=stats, **options).ids
                ids = bench.shown(ids) if own else ids
                looked.append(int(stats.distances.sum()))
                shares.append(len(np.intersect1d(ids, truth[row])) / (k + 1))
            found, missed = self._for_query(bench, index, k, options, query, own)
        except (ValueError, TypeError) as error:
            raise QueryError(str(error)) from None
        mean = float(np.mean(shares))
        half = 1.96 * float(np.std(shares)) / np.sqrt(len(shares))
        return {"kind": kind, "k": k, "queries": len(queries), "recall": round(mean, 4),
                "low": round(max(0.0, mean - half), 4), "high": round(min(1.0, mean + half), 4),
                "milliseconds": round(milliseconds, 4), "exact_milliseconds": round(exact_ms, 4),
                "looked_at": round(float(np.mean(looked)) / len(bench.ids), 5),
                "found": found, "missed": missed}  # fmt: skip

    def _for_query(self, bench: Bench, index: Any, k: int, options: dict[str, Any],
                   query: np.ndarray | None, own: bool) -> tuple[list[int], list[int]]:  # fmt: skip
        if query is None:
            return [], []
        right = bench.exact.search(query, k=k, threads=1).ids.tolist()
        ids = index.search(query, k=k, threads=1, **options).ids
        found = (bench.shown(ids) if own else ids).tolist()
        return [id for id in found if id >= 0], [id for id in right if id not in found]

    def _truth(self, bench: Bench, k: int) -> np.ndarray:
        if k not in bench.truth:
            rows = [bench.exact.search(vector, k=k + 1, threads=1).ids for vector in bench.vectors[bench.sample]]
            bench.truth[k] = np.stack(rows)
        return bench.truth[k]

    def _exact_ms(self, bench: Bench, k: int, filtered: bool) -> float:
        if (k, filtered) not in bench.exact_ms:
            options = {"allowed": bench.exact.filter(allowed=bench.ids)} if filtered else {}
            bench.exact_ms[k, filtered] = _median_ms(bench.exact, bench.vectors[bench.sample], k + 1, options)
        return bench.exact_ms[k, filtered]

    def _current(self) -> Bench:
        """The vectors as they are now."""
        with self._preparing:
            bench = self._bench
            if bench is not None and bench.changes == self._service.changes:
                return bench
            index = self._service.search.index
            changes = self._service.changes
            (ids, keys), most = self._public(), self._service.settings.most_images
            if bench is not None and bench.changes[0] == changes[0] and np.array_equal(bench.ids, ids):
                bench.changes = changes  # only what not everybody may see has changed, of which nobody shall learn
                return bench
            if not 1 < len(ids) <= most:
                raise QueryError(f"there are {len(ids)} images that everybody may see; kinds of index are compared "
                                 f"from 2 up to {most}")  # fmt: skip
            vectors = index.vectors(keys)
            sample = np.random.default_rng(0).choice(len(ids), min(_SAMPLE, len(ids)), replace=False)
            exact = ExactIndex(metric=index.metric).fit(vectors, ids)
            with self._lock:
                self._states, self._notes = {}, {}
                self._bench = Bench(ids, keys, vectors, sample, exact, index.filter(allowed=keys), changes)
                return self._bench

    def _n_public(self) -> int:
        bench = self._bench
        if bench is not None and bench.changes == self._service.changes:
            return len(bench.ids)
        return len(self._public()[0])

    def _public(self) -> tuple[np.ndarray, np.ndarray]:
        """The images that everybody may see, one of each picture, and the keys of their vectors."""
        ids, keys = listed(self._service.search.facts(), Viewer(), Filters())
        there = np.isin(keys, self._service.search.index.ids)
        return ids[there], keys[there]

    def _build(self, kind: str, bench: Bench) -> None:
        cls = next(cls for cls in INDEX_CLASSES if cls.__name__ == kind)
        try:
            with self._turn:  # one at a time, while all the others are measured
                index = cls(metric=self._service.search.index.metric).fit(bench.vectors, bench.ids)
                index.search(bench.vectors[0], k=10, threads=1)
            bench.built[kind] = index
            state = "ready"
        except Exception as error:  # told to whoever asks for it
            _log.warning("%s could not be built: %s", kind, error)
            state, self._notes[kind] = "failed", str(error)
        with self._lock:
            self._states[kind] = state

    def _about(self, kind: str, n: int) -> dict[str, Any]:
        """What is told of a kind over n vectors: see `told`. Of the memory of the index that is served, the share of
        what everybody may see."""
        bench, own = self._bench, kind == self._service.search.index.kind
        index: Any = self._service.search.index if own else (bench.built.get(kind) if bench is not None else None)
        state = "current" if own else self._states.get(kind, "absent")
        return {"kind": kind, "state": state, "note": self._notes.get(kind),
                "knobs": [] if index is None else _knobs(kind, index, n),
                "bytes": None if index is None else index.memory()["total"] * n // max(1, len(index))}  # fmt: skip

    @staticmethod
    def _require(kind: str) -> None:
        kinds = [cls.__name__ for cls in INDEX_CLASSES]
        if kind not in kinds:
            raise QueryError(f"there is no index {kind}: choose {', '.join(kinds)}")


def _median_ms(index: Any, queries: np.ndarray, k: int, options: dict[str, Any]) -> float:
    """The median time of one search in milliseconds. What searches need once is made before."""
    index.search(queries[0], k=k, threads=1, **options)
    times = []
    for vector in queries:
        started = time.perf_counter()
        index.search(vector, k=k, threads=1, **options)
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times))


def _knobs(kind: str, index: Any, n: int) -> list[dict[str, Any]]:
    """The sliders of an index: its search parameters that are counts, from 1 to where more changes nothing."""
    ends = {"n_probes": 4096 if kind == "LSHIndex" else _lists(index, n), "rerank": min(n, 10_000),
            "max_leaves": n // 16}  # fmt: skip
    found = []
    for name in next(cls for cls in INDEX_CLASSES if cls.__name__ == kind).search_parameters:
        if (kind, name) not in _NO_SLIDER:
            high = max(2, ends.get(name, min(n, 500)))
            value = index.parameters.get(name)
            value = value if isinstance(value, int) else max(1, high // 16)
            found.append({"name": name, "low": 1, "high": high, "value": min(value, high)})
    return found


def _lists(index: Any, n: int) -> int:
    given = index.parameters.get("n_lists")
    return given if isinstance(given, int) else max(1, int(3 * n**0.5))
