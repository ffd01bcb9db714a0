"""The buckets that a query probed, or the scan of all codes; and in which bits a row's key differs from the query's."""

import numpy as np

from annlab.explain.trace import Step, Trace
from annlab.explain.traces.asked import Asked
from annlab.hashing.finders import BucketFinder
from annlab.hashing.keys import HyperplaneKeys
from annlab.hashing.plans import Plan
from annlab.hashing.structure import LSHStructure

_NAN = float("nan")


def trace(structure: LSHStructure, asked: Asked, visited: int) -> Trace:
    """Of a search that looked into so many buckets (of a scan: that scanned the codes so many times)."""
    plans = _plans(structure, asked, visited)
    finder = structure.finder
    if not isinstance(finder, BucketFinder):
        steps: list[Step] = []
        for plan in plans:
            n = len(structure.vectors)
            steps.append(Step("codes", -1, _NAN, asked.ids(np.arange(n)), n, n * 8 * finder.encoder.n_words))
            steps.append(_reranked(structure, asked, plan))
        return Trace("", tuple(steps), rule="behind the re-ranked ones by their codes")
    parts: list[Step] = []
    for plan in plans:
        parts += _buckets(finder, asked, plan.n_probes)
        parts.append(_reranked(structure, asked, plan))
    return Trace("the cost of the bits that were flipped" if isinstance(finder.keys, HyperplaneKeys) else "",
                 tuple(parts), _next_buckets(finder, asked, plans[-1].n_probes),
                 rule="whose keys are less probable")  # fmt: skip


def _plans(structure: LSHStructure, asked: Asked, visited: int) -> list[Plan]:
    """The rounds of a search: it goes on with more probes until what it finds is near enough."""
    params, alive, living = asked.request.params, asked.request.alive, asked.request.n_living
    allowed = None if alive is None else int(np.bitwise_count(alive).sum())
    plans, total, widened = [structure.plans.of(asked.k, params, allowed, n_living=living)], 0, 0
    total = _visits(structure, plans[0])
    while total < visited:
        widened += 1
        allowed = len(structure.vectors) if allowed is None else allowed
        plan = structure.plans.of(asked.k, params, allowed, widened, living)
        if plan.exact:
            break
        plans.append(plan)
        total += _visits(structure, plan)
    return plans


def _visits(structure: LSHStructure, plan: Plan) -> int:
    return plan.n_probes if structure.finder.most_probes else 1


def _reranked(structure: LSHStructure, asked: Asked, plan: Plan) -> Step:
    """The rows whose vectors were compared."""
    rows, done = structure.finder.find(asked.query, plan.n_probes, plan.keep, asked.request.alive, 1)
    n = int(done[0, 2])
    return Step("re-ranking", -1, _NAN, asked.ids(np.sort(rows[0][rows[0] >= 0])), n, n * asked.vector_bytes)


def _buckets(finder: BucketFinder, asked: Asked, n_probes: int) -> list[Step]:
    """The probed buckets, the cheapest first, with the rows that no bucket before held."""
    numbers, costs = _ordered_probes(finder, asked, n_probes)
    seen = np.zeros(finder.tables.n, bool)
    steps = []
    for number, cost in zip(numbers.tolist(), costs.tolist()):
        rows = rows_of_bucket(finder, number)
        new = rows[~seen[rows] & asked.may[rows]]
        seen[rows] = True
        steps.append(Step("bucket", number, cost, asked.ids(new), len(new), len(new) * 8 * finder.encoder.n_words))
    return steps


def _next_buckets(finder: BucketFinder, asked: Asked, n_probes: int) -> tuple[Step, ...]:
    """Those that would have been probed next: as many as were."""
    most = min(2 * n_probes, finder.most_probes)
    probed = set(_ordered_probes(finder, asked, n_probes)[0].tolist())
    numbers, costs = _ordered_probes(finder, asked, most)
    return tuple(
        Step("bucket", number, cost, asked.ids(rows_of_bucket(finder, number)), len(rows_of_bucket(finder, number)), 0)
        for number, cost in zip(numbers.tolist(), costs.tolist())
        if number not in probed
    )


def _ordered_probes(finder: BucketFinder, asked: Asked, n_probes: int) -> tuple[np.ndarray, np.ndarray]:
    """Probed buckets and their costs, the cheapest first; for cross-polytopes in the order of the search."""
    codes = finder.encoder.queries(asked.query)
    numbers = finder.keys.probes(asked.query, codes, n_probes)[0]
    if not isinstance(finder.keys, HyperplaneKeys):
        return numbers, np.full(len(numbers), _NAN)
    costs = costs_of_buckets(finder, asked, numbers)
    order = np.argsort(costs, kind="stable")
    return numbers[order], costs[order]


def costs_of_buckets(finder: BucketFinder, asked: Asked, numbers: np.ndarray) -> np.ndarray:
    """What it costs to flip a query's bits to the keys of some buckets: the sum of the squared projections."""
    bits, n_buckets = finder.tables.n_bits, 1 << finder.tables.n_bits
    codes = finder.encoder.queries(asked.query)
    own = query_keys(finder, asked)
    tables, keys = numbers // n_buckets, numbers % n_buckets
    flipped = ((own[tables] ^ keys)[:, None] >> np.arange(bits)) & 1
    projections = codes.numbers[0][(tables * bits)[:, None] + np.arange(bits)].astype(np.float64)
    return np.asarray((flipped * projections**2).sum(axis=1))


def query_keys(finder: BucketFinder, asked: Asked) -> np.ndarray:
    """The query's own key in every table (n_tables,) int64."""
    if isinstance(finder.keys, HyperplaneKeys):
        codes = finder.encoder.queries(asked.query)
        bits, places = finder.tables.n_bits, np.arange(finder.tables.n_bits)
        at = np.arange(finder.n_tables)[:, None] * bits + places
        code = (codes.bits[0][at // 64] >> (at % 64).astype(np.uint64)) & np.uint64(1)
        return np.asarray((code.astype(np.int64) << places).sum(axis=1))
    numbers = finder.keys.probes(asked.query, finder.encoder.queries(asked.query), finder.n_tables)[0]
    own = np.full(finder.n_tables, -1, np.int64)
    for number in numbers[::-1].tolist():  # a table's own key costs nothing, so it is among as many probes as tables
        own[number >> finder.tables.n_bits] = number & ((1 << finder.tables.n_bits) - 1)
    return own


def rows_of_bucket(finder: BucketFinder, number: int) -> np.ndarray:
    """The rows of a bucket by its number among those of all tables, ascending, int64."""
    parts = [
        buckets.rows[buckets.offsets[number] : buckets.offsets[number + 1]]
        for buckets in (finder.tables.base, finder.tables.recent)
    ]
    return np.concatenate(parts).astype(np.int64)


def keys_of_row(finder: BucketFinder, row: int) -> np.ndarray:
    """The key of a row in every table (n_tables,) int64: read from the buckets, which hold each row once a table."""
    keys, n_buckets = np.empty(finder.n_tables, np.int64), 1 << finder.tables.n_bits
    for buckets in (finder.tables.base, finder.tables.recent):
        places = np.flatnonzero(buckets.rows == row)
        numbers = np.searchsorted(buckets.offsets, places, side="right") - 1
        keys[numbers // n_buckets] = numbers % n_buckets
    return keys
