"""``python -m benchmarks claims``: what textbooks say of trees, hashing and clustering, measured.

The comparison that this project began with has a row for each question (when to use it, when not, scale, speed) and a
column for each family. Here every sentence of it is a *claim*: it names the measurements that decide it, and a rule
that turns them into a verdict: "holds", "holds if ..." or "does not hold", with the figures that say so. Rules were
written before the figures were seen; data is made, so that one property varies and the others stay.

Each family answers at the same recall (0.95 of the ten nearest, or exactly, for trees): its effort is raised until it
gets there. What is compared is CPU time of a query, in a batch, with an exact scan of the same rows as the measure.

``--out`` writes the measurements and verdicts; ``--page`` writes docs/claims.md from them.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import annlab
from annlab.datasets import synthetic
from benchmarks import environment, report
from benchmarks.oracle import Oracle

K, TARGET, QUERIES, REPEATS = 10, 0.95, 200, 3
DIMENSIONS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SIZES = (1_000, 10_000, 100_000, 1_000_000, 2_000_000)
SEPARATIONS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # distance of centres, in radii of a cluster
ROWS, INTRINSIC = 50_000, 8
PAGE = Path(__file__).parents[1] / "docs" / "claims.md"
FAMILIES = ("exact", "tree", "LSH", "clusters")


@dataclass(frozen=True)
class Point:
    """One family on one data set."""

    grid: str  # "full", "fixed", "size" or "separation": what varies
    value: float  # the dimension, number of rows, or separation
    family: str
    recall: float
    us: float
    visited: float  # rows whose distance was computed, for a query

    @property
    def place(self) -> tuple[str, float]:
        """The data set."""
        return self.grid, self.value


def measure(quick: bool = False) -> Iterator[Point]:
    """All families over all grids; `quick`: small grids, to see that it works."""
    rows = 2_000 if quick else ROWS
    for dim in DIMENSIONS[:5:2] if quick else DIMENSIONS:
        yield from families("full", dim, *_made(rows, dim, dim))
        yield from families("fixed", dim, *_made(rows, dim, min(dim, INTRINSIC)))
    for n in (500, 2_000) if quick else SIZES:
        yield from families("size", n, *_made(n, 3, 3), only=("exact", "tree"))
        yield from families("size, 64 dimensions", n, *_made(n, 64, INTRINSIC), only=("exact", "LSH", "clusters"))
    for separation in SEPARATIONS[::3] if quick else SEPARATIONS:
        yield from families("separation", separation, *separated(rows, 32, separation), only=("exact", "clusters"))


def _made(n: int, dim: int, intrinsic: int) -> tuple[np.ndarray, np.ndarray]:
    made = synthetic(n, dim, intrinsic, QUERIES)
    return made.train, made.test


def separated(n: int, dim: int, separation: float) -> tuple[np.ndarray, np.ndarray]:
    """A hundred round clusters whose centres are `separation` times a cluster's radius apart; 0: one cluster."""
    rng = np.random.default_rng(0)
    centers = separation / math.sqrt(2) * rng.standard_normal((100, dim))
    some = centers[rng.integers(100, size=n + QUERIES)] + rng.standard_normal((n + QUERIES, dim))
    return np.ascontiguousarray(some[:n], np.float32), np.ascontiguousarray(some[n:], np.float32)


def families(grid: str, value: float, train: np.ndarray, queries: np.ndarray,
             only: Sequence[str] = FAMILIES) -> Iterator[Point]:  # fmt: skip
    """A point for each family."""
    oracle = Oracle(train, queries, "l2", K)
    n = len(train)
    probes = [{"n_probes": p} for p in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024)]
    reranks = [{"rerank": r} for r in (16, 32, 64, 128, 256, 512, 1024, 4096, 16384, 65536) if r <= n]
    buckets = [{"n_probes": p, "rerank": 4 * p} for p in (4, 16, 64, 256, 1024, 4096, 16384)]
    for family in only:
        if family == "exact":
            yield _at_recall(grid, value, family, annlab.ExactIndex().fit(train), [{}], queries, oracle)
        elif family == "tree":
            yield _at_recall(grid, value, family, annlab.KDTreeIndex().fit(train), [{}], queries, oracle)
        elif family == "clusters":
            index = annlab.IVFIndex().fit(train)
            most = index.n_lists if isinstance(index.n_lists, int) else n
            yield _at_recall(grid, value, family, index, [p for p in probes if p["n_probes"] <= most] or probes[:1],
                             queries, oracle)  # fmt: skip
        else:
            both = [
                _at_recall(grid, value, family, annlab.LSHIndex(mode="scan").fit(train), reranks, queries, oracle),
                _at_recall(grid, value, family, annlab.LSHIndex(mode="buckets").fit(train), buckets, queries, oracle),
            ]
            reaching = [point for point in both if point.recall >= TARGET]
            yield min(reaching, key=lambda point: point.us) if reaching else max(both, key=lambda point: point.recall)


def _at_recall(grid: str, value: float, family: str, index: Any, ladder: Sequence[dict[str, int]], queries: np.ndarray,
               oracle: Oracle) -> Point:  # fmt: skip
    """The first step of the ladder that reaches the recall, timed; the last one where none does."""
    for step in ladder:
        recall = oracle.recall(index.search(queries, K, threads=1, **step).ids, K)
        if recall >= TARGET:
            break
    times, stats = [], annlab.SearchStats()
    for _ in range(REPEATS):
        start = time.process_time()
        index.search(queries, K, threads=1, **step)
        times.append(time.process_time() - start)
    index.search(queries, K, threads=1, stats=stats, **step)
    point = Point(
        grid, value, family, recall, float(np.median(times)) / len(queries) * 1e6, float(stats.distances.mean())
    )
    print(f"{grid} {value:g}: {family} {point.us:.1f} us at recall {recall:.3f}", flush=True)
    return point


class Measurements:
    """Points by grid and family."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = points

    def curve(self, grid: str, family: str, what: str = "us") -> dict[float, float]:
        """Microseconds, or rows visited, for each value of what varies; inf where the recall was not reached."""
        chosen = [p for p in self.points if p.grid == grid and p.family == family]
        return {p.value: getattr(p, what) if p.recall >= TARGET else math.inf for p in chosen}

    def gain(self, grid: str, family: str) -> dict[float, float]:
        """How many times as fast as an exact scan; 0 where the recall was not reached."""
        exact = self.curve(grid, "exact")
        return {value: exact[value] / us for value, us in self.curve(grid, family).items()}

    def exponent(self, grid: str, family: str, what: str = "us") -> float:
        """The power of the number of rows with which the cost grows, over the grid (least squares of logarithms)."""
        curve = {
            value: cost for value, cost in self.curve(grid, family, what).items() if math.isfinite(cost) and cost > 0
        }
        return (
            float(np.polyfit(np.log(list(curve)), np.log(list(curve.values())), 1)[0]) if len(curve) > 1 else math.nan
        )


@dataclass(frozen=True)
class Verdict:
    """What became of a claim."""

    family: str
    claim: str
    verdict: str
    figures: str


Rule = Callable[[Measurements], tuple[str, str]]


def _up_to(gains: dict[float, float], least: float = 1.0) -> float:
    """The largest value up to which all gains are at least this; 0 where the first is not."""
    last = 0.0
    for value, gain in sorted(gains.items()):
        if gain < least:
            break
        last = value
    return last


def _list(gains: dict[float, float]) -> str:
    return ", ".join(f"{value:,.15g}: {gain:.2g}x" if gain else f"{value:,.15g}: recall not reached"
                     for value, gain in sorted(gains.items()))  # fmt: skip


def trees_like_few_dimensions(m: Measurements) -> tuple[str, str]:
    """Faster than everybody where the dimension is low."""
    gains, last = m.gain("full", "tree"), 0.0
    for dim in sorted(gains):
        if gains[dim] < max(1.0, *(m.gain("full", family)[dim] for family in ("LSH", "clusters"))):
            break
        last = dim
    said = f"fastest of all families up to {last:g} dimensions of uniform data; against an exact scan {_list(gains)}"
    return ("holds" if last >= 4 else "does not hold"), said


def trees_fail_in_many(m: Measurements) -> tuple[str, str]:
    """Slower than a scan in high dimensions; what counts may be the intrinsic one."""
    full, fixed = m.gain("full", "tree"), m.gain("fixed", "tree")
    high = max(full)
    said = f"uniform data, {_list(full)}; {INTRINSIC} intrinsic dimensions in more, {_list(fixed)}"
    if full[high] >= 1:
        return "does not hold", said
    condition = (
        f"holds if the intrinsic dimension is high too: with {INTRINSIC}, trees beat a scan in {high:g} dimensions"
    )
    return ("holds" if fixed[high] < 1 else condition), said


def trees_are_logarithmic(m: Measurements) -> tuple[str, str]:
    """Rows visited grow hardly at all with the number of rows."""
    power = m.exponent("size", "tree", "visited")
    us = m.exponent("size", "tree")
    said = f"3 dimensions: rows visited grow with the power {power:.2f} of the number of rows, the time with {us:.2f}"
    return ("holds" if power < 0.15 else "does not hold"), said


def trees_struggle_when_large(m: Measurements) -> tuple[str, str]:
    """Slower, compared with a scan, at millions than at a hundred thousand."""
    gains = m.gain("size", "tree")
    large = max(gains)
    middle = sorted(gains)[len(gains) // 2]
    said = f"3 dimensions, against an exact scan: {_list(gains)}"
    return ("holds" if gains[large] < gains[middle] else "does not hold"), said


def hashing_likes_many_dimensions(m: Measurements) -> tuple[str, str]:
    """No slower against a scan in many dimensions than in few."""
    full, fixed = m.gain("full", "LSH"), m.gain("fixed", "LSH")
    high = max(full)
    said = f"{INTRINSIC} intrinsic dimensions, {_list(fixed)}; uniform data, {_list(full)}"
    if fixed[high] < 1:
        return "does not hold", said
    return (
        "holds" if full[high] >= 1 else "holds if the intrinsic dimension is low; noise has the curse as well"
    ), said


def hashing_is_best_in_many_dimensions(m: Measurements) -> tuple[str, str]:
    """The family to take there."""
    high = max(m.gain("fixed", "LSH"))
    ours = {family: m.gain("fixed", family)[high] for family in ("tree", "LSH", "clusters")}
    said = f"{high:g} dimensions, {INTRINSIC} intrinsic, against an exact scan: " + ", ".join(
        f"{family} {gain:.2g}x" for family, gain in ours.items()
    )
    return ("holds" if max(ours, key=lambda family: ours[family]) == "LSH" else "does not hold"), said


def hashing_scales(m: Measurements) -> tuple[str, str]:
    """Time grows much more slowly than the number of rows."""
    power = m.exponent("size, 64 dimensions", "LSH")
    gains = m.gain("size, 64 dimensions", "LSH")
    said = f"time grows with the power {power:.2f} of the number of rows; against an exact scan {_list(gains)}"
    return ("holds" if power < 0.75 and gains[max(gains)] > 1 else "does not hold"), said


def hashing_is_constant(m: Measurements) -> tuple[str, str]:
    """O(1): nothing grows."""
    power = m.exponent("size, 64 dimensions", "LSH")
    said = f"time at equal recall grows with the power {power:.2f} of the number of rows"
    return ("holds" if power < 0.15 else "does not hold"), said


def clusters_want_clusters(m: Measurements) -> tuple[str, str]:
    """Better the farther clusters are apart, worse where there are none."""
    gains = m.gain("separation", "clusters")
    apart, none = gains[max(gains)], gains[min(gains)]
    said = f"against an exact scan, by the distance of centres in radii of a cluster: {_list(gains)}"
    if apart < none:
        return "does not hold", said
    return ("holds" if none < 1 else f"holds, and without any cluster it still is {none:.2g}x a scan"), said


def clusters_are_no_use_when_small(m: Measurements) -> tuple[str, str]:
    """Slower than a scan of a thousand rows."""
    gains = m.gain("size, 64 dimensions", "clusters")
    small = min(gains)
    return ("holds" if gains[small] < 1 else "does not hold"), f"against an exact scan, by rows: {_list(gains)}"


def clusters_fail_in_very_many_dimensions(m: Measurements) -> tuple[str, str]:
    """Slower than a scan there."""
    full, fixed = m.gain("full", "clusters"), m.gain("fixed", "clusters")
    high = max(full)
    said = f"uniform data, {_list(full)}; {INTRINSIC} intrinsic dimensions, {_list(fixed)}"
    if full[high] >= 1:
        return "does not hold", said
    condition = "holds if the intrinsic dimension is high too"
    return ("holds" if fixed[high] < 1 else condition), said


def clusters_lie_between(m: Measurements) -> tuple[str, str]:
    """Faster than a scan, slower than trees, in low dimensions."""
    low = min(m.gain("full", "tree"))
    tree, clusters = (m.gain("full", family)[low] for family in ("tree", "clusters"))
    said = f"{low:g} dimensions, against an exact scan: trees {tree:.2g}x, clusters {clusters:.2g}x"
    return ("holds" if tree > clusters > 1 else "does not hold"), said


CLAIMS: tuple[tuple[str, str, Rule], ...] = (
    ("tree", "to be used when data is low-dimensional and about uniform", trees_like_few_dimensions),
    ("tree", "not suitable for high-dimensional data", trees_fail_in_many),
    ("tree", "logarithmic in low dimensions", trees_are_logarithmic),
    ("tree", "struggles with very large sets", trees_struggle_when_large),
    ("LSH", "works in high dimensions, without the curse of dimensionality", hashing_likes_many_dimensions),
    ("LSH", "is the family to take in high dimensions", hashing_is_best_in_many_dimensions),
    ("LSH", "scales to very large sets", hashing_scales),
    ("LSH", "looks buckets up in O(1)", hashing_is_constant),
    ("clusters", "effective where data is clustered, less so where clusters are not apart", clusters_want_clusters),
    ("clusters", "less effective where the set is too small", clusters_are_no_use_when_small),
    ("clusters", "may not do well in very high dimensions", clusters_fail_in_very_many_dimensions),
    ("clusters", "faster than exhaustive search, slower than trees in low dimensions", clusters_lie_between),
)


def judge(points: Sequence[Point]) -> list[Verdict]:
    """All claims, decided by these points."""
    measured = Measurements(points)
    return [Verdict(family, claim, *rule(measured)) for family, claim, rule in CLAIMS]


def page(verdicts: Sequence[Verdict], setting: dict[str, Any]) -> str:
    """The table for docs/."""
    rows = "\n".join(f"| {v.family} | {v.claim} | **{v.verdict}** | {v.figures} |" for v in verdicts)
    return f"""# What is said of trees, hashing and clustering, measured

Made by `python -m benchmarks claims --page` from `benchmarks/results/claims.json`. Every family answers at a recall of
{TARGET} of the {K} nearest (trees exactly), on made data of {ROWS:,} rows where nothing else is said. Figures are how
many times as fast as an exact scan of the same rows, `ExactIndex`, which is several times as fast as others' scans:
where a family loses to it, it may still beat a plain scan. Trees are `KDTreeIndex`, clusters `IVFIndex`, LSH the faster
way of `LSHIndex`. CPU: {setting.get("cpu", "not recorded")}, load {setting.get("load_average", "not recorded")}, one
thread.

| family | it is said that it | measured | figures |
|---|---|---|---|
{rows}
"""


def main(arguments: Sequence[str]) -> int:
    """Measure in a fair process, judge, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks claims", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="write points and verdicts to this JSON file")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.name} from benchmarks/results/claims.json")
    parser.add_argument("--quick", action="store_true", help="small grids: shows that it works, and proves nothing")
    options = parser.parse_args(arguments)
    if options.page:
        content = json.loads((PAGE.parents[1] / "benchmarks" / "results" / "claims.json").read_text())
        PAGE.write_text(page([Verdict(**record) for record in content["verdicts"]], content["environment"]))
        return 0
    if not environment.is_child():
        return environment.run_child(["claims", *arguments])
    environment.prepare(1)
    setting = environment.describe({})
    points = list(measure(options.quick))
    verdicts = judge(points)
    for verdict in verdicts:
        print(f"{verdict.family}: {verdict.claim}: {verdict.verdict} ({verdict.figures})")
    if options.out:
        report.write_named_records(options.out, setting, {"points": [asdict(point) for point in points],
                                                          "verdicts": [asdict(v) for v in verdicts]})  # fmt: skip
    return 0
