"""What a filter leaves of every list, and how many lists it makes a search probe."""

from itertools import pairwise

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import annlab
from annlab.common import rowsets
from annlab.core.structure import Beside
from annlab.inverted.calibration import Calibration, Calibrations
from annlab.inverted.filtered import Allowed, allowed_in_lists
from annlab.inverted.structure import IVFStructure
from annlab.kernels.inverted.ways import ASK_ALL

EACH = tuple(
    Calibration(n_probes, 1.0, target=0.95, recall=0.96, bound=0.95, n_queries=100, k=k)
    for n_probes, k in ((4, 10), (8, 100))
)
MEASURED = Calibrations(EACH, 16.0)


def allowed_by(mask: np.ndarray, offsets: np.ndarray) -> Allowed:
    return Allowed(rowsets.pack(mask), offsets, np.zeros(len(offsets) + 20, np.float32))


@hypothesis.given(sizes=st.lists(st.integers(0, 150), min_size=1, max_size=9), seed=st.integers(0, 99))
def test_allowed_rows_are_counted_list_by_list(sizes: list[int], seed: int) -> None:
    offsets = np.append(0, np.cumsum(sizes))
    mask = np.random.default_rng(seed).random(offsets[-1]) < 0.4
    expected = [int(mask[start:stop].sum()) for start, stop in pairwise(offsets)]
    assert allowed_in_lists(rowsets.pack(mask), offsets).tolist() == expected


def test_a_few_removed_rows_do_not_go_with_the_lists() -> None:
    """One of a small list is far more than chance gives to it, and no reason for every query to go its own way."""
    sizes = np.concatenate([[5, 6], np.full(98, 100)])
    offsets, half_norms = np.concatenate([[0], np.cumsum(sizes)]), np.zeros(100, np.float32)
    rows = np.ones(offsets[-1], bool)
    for removed, goes in ((slice(2, 3), False), (slice(0, 2), False), (slice(500, 600), True)):
        alive = rows.copy()
        alive[removed] = False
        assert Allowed(rowsets.pack(alive), offsets, half_norms).goes_with_lists == goes, removed


def test_one_removed_row_leaves_the_shortcut() -> None:
    vectors = np.random.default_rng(0).standard_normal((6000, 8)).astype(np.float32)
    index = annlab.IVFIndex().fit(vectors)
    structure = index._state.structure
    assert isinstance(structure, IVFStructure)
    sizes = np.diff(structure.offsets)
    smallest = int(structure.offsets[np.argmin(np.where(sizes > 0, sizes, 10**9))])
    index.remove(index._state.by_row.array[[smallest]])
    state = index._state
    beside = Beside(state.metric, state.by_row.array, state.n_sealed, *state.living, state.tail_scanner)
    assert state.structure.shortcut(10, index._usual_params, beside) is not None


@hypothesis.settings(max_examples=40)
@hypothesis.given(seed=st.integers(0, 10**6), gone=st.floats(0.02, 0.9))
def test_ways_are_those_of_their_definition(seed: int, gone: float) -> None:
    """Lists in some order, of which the first of a random order are thinned; the nearest tell the same as all do."""
    rng = np.random.default_rng(seed)
    offsets = np.append(0, np.cumsum(rng.integers(0, 60, 50)))
    row_lists = np.searchsorted(offsets, np.arange(offsets[-1]), side="right") - 1
    allowed = allowed_by((rng.permutation(50) >= gone * 50)[row_lists] | (rng.random(offsets[-1]) < 0.3), offsets)
    probes = np.stack([rng.permutation(50) for _ in range(20)])
    ways = allowed.ways(probes, 10, 4, MEASURED)
    for way, order in zip(ways.tolist(), probes, strict=True):
        assert way == _way_by_definition(allowed, order)
    some = allowed.ways(np.ascontiguousarray(probes[:, :12]), 10, 4, MEASURED)
    told = some[:, 0] != ASK_ALL
    assert (some[told] == ways[told]).all()


def _way_by_definition(allowed: Allowed, order: np.ndarray) -> list[int]:
    """Of a query with this order of all lists, four of which are enough where all is allowed."""
    met, counts = allowed.rows_to_meet(10, 4, MEASURED), allowed.counts[order]
    seen, rows, there = counts.cumsum(), allowed.sizes[order].cumsum(), (counts > 0).cumsum()
    last = int(((seen >= min(met, allowed.n_allowed)) & (there >= min(4, allowed.n_lists))).argmax())
    least = (seen / np.maximum(rows, 1) / allowed.share)[: last + 1].min()
    widening = 4.0 ** (np.ceil(4 * np.clip((0.75 - least) / 0.5, 0, 1)) / 4)
    budget = min(met * widening, allowed.n_allowed)
    lists = there[max(last, int((seen >= budget).argmax()))]
    steps = [1, 2, 3] + [int(2**a * b) for a in range(2, 9) for b in (1, 1.25, 1.5, 1.75)]
    lists = min(next(step for step in steps if step >= lists), allowed.n_lists)
    return [0 if 2 * budget > allowed.n_allowed else lists, int(np.ceil(widening))]


def test_a_filter_that_thins_asks_for_the_lists_of_more_neighbours() -> None:
    offsets = np.arange(0, 4001, 40)
    thinned = allowed_by(np.random.default_rng(0).random(4000) < 0.1, offsets)
    assert not thinned.goes_with_lists and thinned.lists_for_all(10, 4, MEASURED) in (8, 9)
    assert thinned.lists_for_all(10, 40, MEASURED) >= 80, "of those that a user asks for, as many times more"
    assert thinned.lists_for_all(100, 4, MEASURED) >= 40 - 5, "beyond what was measured, as k grows"


def test_a_filter_that_goes_with_the_lists_is_followed_to_where_its_rows_are() -> None:
    offsets = np.arange(0, 4001, 40)
    mask = np.arange(4000) >= 1600  # the first forty lists are forbidden
    allowed = allowed_by(mask, offsets)
    assert allowed.goes_with_lists and allowed.n_lists == 60
    assert np.isinf(allowed.half_norms[:40]).all() and not allowed.half_norms[40:].any()
    among, outside = np.roll(np.arange(100), -50), np.arange(100)  # nearest lists first
    near, far = allowed.ways(np.stack([among, outside]), 10, 4, MEASURED).tolist()
    assert near == [4, 1] and far == [16, 4], "four times as many rows, as was measured for what is far"
    some = allowed.ways(np.stack([among, outside])[:, :8], 10, 4, MEASURED)
    assert some.tolist() == [[4, 1], [ASK_ALL, 4]], "the nearest lists tell only where they are allowed"
    few = allowed_by(np.arange(4000) >= 3800, offsets)
    assert few.ways(outside[None], 10, 4, MEASURED)[0, 0] == 0, "most of what is allowed: all of it"


@pytest.mark.parametrize("storage", ["flat", "sq8", "pq4"])
def test_one_query_with_a_filter_that_goes_with_the_lists_takes_the_same_way_as_in_a_batch(storage: str) -> None:
    rng = np.random.default_rng(0)
    labels, centers = rng.integers(16, size=6000), 4 * rng.standard_normal((16, 8))
    vectors = (centers[labels] + rng.standard_normal((6000, 8))).astype(np.float32)
    index = annlab.IVFIndex(storage=storage, n_lists=64, n_probes=4).fit(vectors)
    allowed, queries = index.filter(allowed=np.flatnonzero(labels < 10)), vectors[:40]
    ways, way = annlab.SearchStats(), annlab.SearchStats()
    expected = index.search(queries, 10, allowed=allowed, stats=ways)
    for i, query in enumerate(queries):
        found = index.search(query, 10, allowed=allowed, stats=way)
        np.testing.assert_array_equal(found.ids, expected.ids[i])
        np.testing.assert_array_equal(found.distances, expected.distances[i])
        assert way.visited[0] == ways.visited[i] and way.distances[0] == ways.distances[i]
    assert ways.distances.min() < 1000, "and not the scan of everything"
