"""``python -m benchmarks claims``: what textbooks say of trees, hashing and clustering, measured.

The comparison that this project began with has a row for each question (when to use it, when not, scale, speed) and a
column for each family. Here every sentence of it is a *claim*, and a rule (`claim_rules.py`) turns measurements into a
verdict. Data is made, so that one property varies and the others stay.

Each family answers at the same recall (0.95 of the ten nearest, or exactly, for trees): its effort is raised until it
gets there. The steps of effort are written down here, and not those of `annlab.recommend`: what is judged does not say
where it may stop. What is compared is CPU time of a query, in a batch, with an exact scan of the same rows as the
measure.

``--out`` keeps the measurements, set by set, so that a run that was stopped goes on; ``--page`` writes docs/claims.md.
"""

import argparse
import json
import math
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import annlab
from annlab.choosing.measuring import lowest
from annlab.datasets import synthetic
from benchmarks import environment, report
from benchmarks.claim_rules import INTRINSIC, TARGET, Point, judge
from benchmarks.oracle import Oracle

K, QUERIES, REPEATS = 10, 100, 7
ROWS = 20_000
DIMENSIONS = (2, 4, 8, 16, 32, 64, 128, 256, 1024)
SIZES = (1_000, 10_000, 100_000, 1_000_000, 2_000_000)
SEPARATIONS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # distance of centres, in radii of a cluster
SPREADS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # about a ray, in lengths of a row
RECALLS = (0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
GRIDS = {"full": DIMENSIONS, "fixed": DIMENSIONS, "separation": SEPARATIONS, "rays": SPREADS, "accuracy": RECALLS,
         "size": SIZES, "size, 64 dimensions": SIZES}  # fmt: skip
WIDTH = 120  # of a line of the page
FAMILIES = ("exact", "tree", "LSH", "clusters")
ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs" / "claims.md", ROOT / "benchmarks" / "results" / "claims.json"
Vectors = tuple[np.ndarray, np.ndarray]  # rows (n, d) and queries (q, d)


@dataclass(frozen=True)
class Set:
    """One made data set, and who is asked on it."""

    grid: str
    value: float
    make: Callable[[], Vectors]
    families: Sequence[str] = FAMILIES
    target: float = TARGET


def sets(quick: bool = False) -> Iterator[Set]:
    """All grids, the smallest sizes first; `quick`: small grids, to see that it works."""
    rows, sizes = (2_000, (500, 2_000)) if quick else (ROWS, SIZES)
    for dim in DIMENSIONS[:5:2] if quick else DIMENSIONS:
        yield Set("full", dim, lambda dim=dim: _made(rows, dim, dim))  # type: ignore[misc]
        yield Set("fixed", dim, lambda dim=dim: _made(rows, dim, min(dim, INTRINSIC)))  # type: ignore[misc]
    for far in SEPARATIONS[::3] if quick else SEPARATIONS:
        yield Set("separation", far, lambda far=far: separated(rows, 32, far), ("exact", "clusters"))  # type: ignore[misc]
    for spread in SPREADS[::3] if quick else SPREADS:
        yield Set("rays", spread, lambda spread=spread: rays(rows, 64, spread), ("exact", "LSH", "clusters"))  # type: ignore[misc]
    for recall in RECALLS[::3] if quick else RECALLS:
        yield Set("accuracy", recall, lambda: _made(rows, 64, 2 * INTRINSIC), ("exact", "LSH", "clusters"), recall)
    for n in sizes:
        yield Set("size", n, lambda n=n: _made(n, 3, 3), ("exact", "tree"))  # type: ignore[misc]
        yield Set("size, 64 dimensions", n, lambda n=n: _made(n, 64, INTRINSIC), ("exact", "LSH", "clusters"))  # type: ignore[misc]


def _made(n: int, dim: int, intrinsic: int) -> Vectors:
    made = synthetic(n, dim, intrinsic, QUERIES)
    return made.train, made.test


def separated(n: int, dim: int, separation: float) -> Vectors:
    """A hundred round clusters whose centres are `separation` times a cluster's radius apart; 0: one cluster."""
    rng = np.random.default_rng(0)
    centers = separation / math.sqrt(2) * rng.standard_normal((100, dim))
    some = centers[rng.integers(100, size=n + QUERIES)] + rng.standard_normal((n + QUERIES, dim))
    return np.ascontiguousarray(some[:n], np.float32), np.ascontiguousarray(some[n:], np.float32)


def rays(n: int, dim: int, spread: float) -> Vectors:
    """Rows along a hundred rays from the origin, at lengths of 0.5 to 1.5, and off them by `spread` of their length.

    The less they are off, the less does the side of a plane through the origin, or a direction, say of who is near.
    """
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((100, dim)) / dim**0.5
    some = directions[rng.integers(100, size=n + QUERIES)] + spread / dim**0.5 * rng.standard_normal((n + QUERIES, dim))
    some *= rng.uniform(0.5, 1.5, (n + QUERIES, 1))
    return np.ascontiguousarray(some[:n], np.float32), np.ascontiguousarray(some[n:], np.float32)


def measure(given: Iterator[Set], known: Sequence[Point] = ()) -> Iterator[list[Point]]:
    """The points of one set after the other; those of sets that are `known` already are not measured again."""
    for one in given:
        own = [point for point in known if point.place == (one.grid, one.value)]
        yield own if len(own) == len(one.families) else list(families(one))


def families(one: Set) -> Iterator[Point]:
    """A point for each family."""
    train, queries = one.make()
    oracle = Oracle(train, queries, "l2", K)
    probes = [{"n_probes": p} for p in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024)]
    reranks = [{"rerank": r} for r in (16, 32, 64, 128, 256, 512, 1024, 4096, 16384, 65536) if r <= len(train)]
    buckets = [{"n_probes": p, "rerank": 4 * p} for p in (4, 16, 64, 256, 1024, 4096, 16384)]
    for family in one.families:
        if family == "exact":
            yield _at_recall(one, family, annlab.ExactIndex().fit(train), [{}], oracle)
        elif family == "tree":
            yield _at_recall(one, family, annlab.KDTreeIndex().fit(train), [{}], oracle)
        elif family == "clusters":
            index = annlab.IVFIndex().fit(train)
            most = index.n_lists if isinstance(index.n_lists, int) else len(train)
            few = [p for p in probes if p["n_probes"] <= most] or probes[:1]
            yield _at_recall(one, family, index, few, oracle)
        else:
            both = [_at_recall(one, family, annlab.LSHIndex(mode="scan").fit(train), reranks, oracle),
                    _at_recall(one, family, annlab.LSHIndex(mode="buckets").fit(train), buckets, oracle)]  # fmt: skip
            reaching = [point for point in both if point.recall >= one.target]
            yield min(reaching, key=lambda point: point.us) if reaching else max(both, key=lambda point: point.recall)


def _at_recall(one: Set, family: str, index: Any, ladder: Sequence[dict[str, int]], oracle: Oracle) -> Point:
    """The lowest step of the ladder that reaches the recall, timed; the last one where none does."""
    recalls: dict[int, float] = {}

    def reaches(at: int) -> bool:
        recalls[at] = oracle.recall(index.search(oracle.queries, K, threads=1, **ladder[at]).ids, K)
        return recalls[at] >= one.target

    found = lowest(list(range(len(ladder))), reaches)
    at = len(ladder) - 1 if found is None else found
    times, stats = [], annlab.SearchStats()
    for _ in range(REPEATS):
        start = time.process_time()
        index.search(oracle.queries, K, threads=1, **ladder[at])
        times.append(time.process_time() - start)
    index.search(oracle.queries, K, threads=1, stats=stats, **ladder[at])
    us = float(np.median(times)) / len(oracle.queries) * 1e6
    print(f"{one.grid} {one.value:g}: {family} {us:.1f} us at recall {recalls[at]:.3f}", flush=True)
    return Point(one.grid, one.value, family, recalls[at], us, float(stats.distances.mean()), one.target)


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="  " * text.startswith("- "), break_on_hyphens=False)


def page(points: Sequence[Point], setting: dict[str, Any]) -> str:
    """The table for docs/."""
    verdicts = judge(points)
    rows = "\n".join(f"| {v.family} | {v.claim} | **{v.verdict}** |" for v in verdicts)
    figures = "\n".join(
        _filled(f"- *{v.family}, {v.claim}*: {v.verdict}. {v.figures[0].upper()}{v.figures[1:]}.") for v in verdicts
    )
    head = _filled(
        "Made by `python -m benchmarks claims --page` from `benchmarks/results/claims.json`. Every family answers at "
        f"a recall of {TARGET} of the {K} nearest (trees exactly) where no other is said, on made data of {ROWS:,} "
        "rows where nothing else is said. Figures are how many times as fast as an exact scan of the same rows, "
        "`ExactIndex`, which is several times as fast as others' scans: where a family loses to it, it may still beat "
        "a plain scan. Trees are `KDTreeIndex`, clusters `IVFIndex`, LSH the faster way of `LSHIndex`, with their "
        'defaults but for the effort of a search. "Holds" and its opposite are what fixed rules say of the figures '
        f"(`benchmarks/claim_rules.py`). CPU: {setting.get('cpu', 'not recorded')}, load "
        f"{setting.get('load_average', 'not recorded')} at the start, so the machine may have been busy; CPU time, one "
        f"thread, batches of {QUERIES} queries, the median of {setting.get('repeats', REPEATS)} times."
    )
    return f"""# What is said of trees, hashing and clustering, measured

{head}

| family | it is said that it | measured |
|---|---|---|
{rows}

## The figures

Before each colon stands what varies: the number of dimensions or rows, the distance, the spread or the recall.

{figures}
"""


def read(path: Path) -> tuple[dict[str, Any], list[Point]]:
    """The environment and the points of a result file."""
    content = json.loads(path.read_text())
    return content["environment"], [Point(**record) for record in content["points"]]


def main(arguments: Sequence[str]) -> int:
    """Measure in a fair process, judge, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks claims", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="keep the measurements in this JSON file, and go on where it ends")
    parser.add_argument(
        "--page", action="store_true", help=f"write docs/{PAGE.name} from benchmarks/results/{RESULTS.name}"
    )
    parser.add_argument("--quick", action="store_true", help="small grids: shows that it works, and proves nothing")
    options = parser.parse_args(arguments)
    if options.page:
        setting, points = read(RESULTS)
        PAGE.write_text(page(points, setting))
        return 0
    if not environment.is_child():
        return environment.run_child(["claims", *arguments])
    environment.prepare(1)
    going_on = options.out is not None and options.out.exists()
    setting, known = read(options.out) if going_on else (environment.describe({}), [])
    points = []
    for some in measure(sets(options.quick), known):
        points += some
        if options.out:
            report.write_named_records(options.out, setting, {"points": [asdict(point) for point in points]})
    for verdict in judge(points):
        print(f"{verdict.family}: {verdict.claim}: {verdict.verdict} ({verdict.figures})")
    return 0
