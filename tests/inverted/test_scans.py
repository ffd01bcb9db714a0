"""The scans of the three storages against NumPy: what is kept, how values are rounded, ties, outliers, more probes."""

from collections.abc import Callable

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import annlab
from annlab import IVFIndex
from annlab.distances import get_metric
from annlab.inverted import batch as batches
from annlab.inverted.batch import Batch
from annlab.inverted.byte_lists import ByteLists
from annlab.inverted.coded_lists import CodedLists
from annlab.inverted.flat_lists import FlatLists
from annlab.inverted.storage import Cells, Storage
from annlab.inverted.structure import IVFStructure
from annlab.kernels.inverted import flat as kernels
from annlab.kernels.inverted.candidates import FIRST_BOUND, capacity_for
from annlab.kernels.inverted.loops import Queries, Share, new_room
from annlab.scan.centroids import Centroids, Conversion, group_by_label
from tests import oracle

Make = Callable[[np.random.Generator, int, int], np.ndarray]
STORAGES = {"flat": FlatLists, "sq8": ByteLists, "pq4": CodedLists}
KINDS: dict[str, Make] = {
    "normal": lambda rng, n, dim: rng.normal(size=(n, dim)) + 3,
    "places": lambda rng, n, dim: (rng.uniform(-6.4e6, 6.4e6, (8, dim))[rng.integers(8, size=n)]
                                   + 1000 * rng.normal(size=(n, dim))),
    "bursts": lambda rng, n, dim: rng.normal(size=(n // 10, dim)).repeat(10, axis=0) + 3e-4 * rng.normal(size=(n, dim)),
    "far": lambda rng, n, dim: 1e6 + rng.normal(size=(n, dim)),
    "outlier": lambda rng, n, dim: np.append(rng.normal(size=(n - 1, dim)), [[1e6] * dim], axis=0),
    "huge": lambda rng, n, dim: np.append(rng.normal(size=(n - 1, dim)), [[1e15] * dim], axis=0),
    "tiny": lambda rng, n, dim: 1e-25 * rng.normal(size=(n, dim)),
    "copies": lambda rng, n, dim: rng.normal(size=(3, dim))[rng.integers(3, size=n)],
    "grid": lambda rng, n, dim: rng.integers(-1, 2, size=(n, dim)),
}  # fmt: skip


def sorted_into(storage: str, vectors: np.ndarray, metric: str, n_lists: int = 6) -> tuple[Storage, np.ndarray]:
    """A storage of vectors, and these sorted by list."""
    conversion = Conversion.of(vectors, get_metric(metric))
    points = conversion.points(vectors)
    centroids = points[:: max(1, len(points) // n_lists)][:n_lists].copy()
    labels, _ = Centroids(centroids).nearest(points)
    offsets, order = group_by_label(labels, len(centroids))
    kind: type[Storage] = STORAGES[storage]
    return kind.of(vectors[order], Cells(conversion, centroids, offsets), np.random.default_rng(0)), vectors[order]


def batch_of(lists: Storage, vectors: np.ndarray, queries: np.ndarray, probes: np.ndarray,
             alive: np.ndarray | None = None, keys: np.ndarray | None = None) -> Batch:  # fmt: skip
    points, blurs = lists.conversion.blurred(queries)
    centroids = lists.cells.centroids
    coarse = -(points @ centroids.T)
    if lists.conversion.metric.name != "ip":
        coarse += 0.5 * (centroids**2).sum(axis=1)
    coarse = np.take_along_axis(coarse, probes, axis=1).astype(np.float32)
    keys = np.arange(len(vectors)) if keys is None else keys
    return Batch(queries, points, blurs, probes, coarse, vectors, keys, alive)


def packed(alive: np.ndarray) -> np.ndarray:
    return np.packbits(np.pad(alive, ((0, 0), (0, -alive.shape[1] % 64))), axis=1, bitorder="little").view(np.uint64)


@hypothesis.given(
    kind=st.sampled_from(sorted(KINDS)), dim=st.integers(1, 40), q=st.integers(1, 9), k=st.sampled_from([1, 7, 60]),
    metric=st.sampled_from(["l2", "cosine", "ip"]), dtype=st.sampled_from(["float32", "float64"]),
    filtered=st.sampled_from(["no", "shared", "each"]), seed=st.integers(0, 99),
)  # fmt: skip
def test_vectors_are_scanned_without_losing_a_neighbour(kind: str, dim: int, q: int, k: int, metric: str, dtype: str,
                                                        filtered: str, seed: int) -> None:  # fmt: skip
    """The k nearest rows of the probed lists by the definition are kept, whatever the data."""
    rng = np.random.default_rng(seed)
    lists, vectors = sorted_into("flat", KINDS[kind](rng, 240, dim).astype(dtype), metric)
    n, n_lists = len(vectors), lists.cells.n_lists
    queries = vectors[rng.integers(n, size=q)]
    queries[::3] += (0.1 * vectors.std(axis=0)).astype(dtype)
    queries[-1] *= rng.choice([0, 1, 3])
    probes = np.stack([rng.permutation(n_lists)[: min(3, n_lists)] for _ in range(q)])
    alive = np.ones((q, n), bool) if filtered == "no" else rng.random((q, n)) < 0.7
    alive[:] = alive[:1] if filtered == "shared" else alive
    words = {"no": None, "shared": packed(alive)[0], "each": packed(alive)}[filtered]
    keys = rng.permutation(n)
    found, lengths = lists.scan(batch_of(lists, vectors, queries, probes, words, keys), k)
    labels = lists.cells.labels(slice(0, n))
    for i in range(q):
        allowed = alive[i] & np.isin(labels, probes[i])
        _, expected = oracle.nearest(queries[i : i + 1], keys, vectors, metric, k, allowed[None, :])
        rows = found[i][found[i] >= 0]
        assert len(rows) == lengths[i] == len(set(rows.tolist())) and allowed[rows].all()
        assert set(expected[0][expected[0] >= 0].tolist()) <= set(keys[rows].tolist())


@hypothesis.given(kind=st.sampled_from(["normal", "places", "bursts", "far", "outlier"]), dim=st.integers(1, 70),
                  metric=st.sampled_from(["l2", "cosine", "ip"]), dtype=st.sampled_from(["float32", "float64"]),
                  seed=st.integers(0, 99))  # fmt: skip
def test_values_are_within_the_proven_error(kind: str, dim: int, metric: str, dtype: str, seed: int) -> None:
    """The derivation at the head of flat_lists.py, measured in extended precision."""
    rng = np.random.default_rng(seed)
    lists, vectors = sorted_into("flat", KINDS[kind](rng, 120, dim).astype(dtype), metric)
    conversion, n, n_lists = lists.conversion, len(vectors), lists.cells.n_lists
    queries = vectors[rng.integers(n, size=4)] + vectors.std(axis=0) * rng.choice([0, 0.01, 1], size=(4, 1))
    queries = queries.astype(dtype)
    exact = [array.astype(np.longdouble) for array in (queries, vectors)]
    if metric == "cosine":
        exact = [array / np.sqrt((array**2).sum(axis=1, keepdims=True)) for array in exact]
    for i in range(4):
        for label in range(n_lists):
            batch = batch_of(lists, vectors, queries[i : i + 1], np.array([[label]]))
            asked = Queries(batch.queries, batch.points, batch.blurs, batch.coarse, np.array([n]), 1,
                            conversion.metric.code, *batches.words_of(None), batch.keys, vectors)  # fmt: skip
            capacity, pair_offsets = capacity_for(n), np.zeros(n_lists + 1, np.int64)
            pair_offsets[label + 1 :] = 1
            values, rows = np.empty((1, capacity), np.float32), np.empty((1, capacity), np.int32)
            errors, lengths = np.zeros(1, np.float32), np.zeros(1, np.int64)
            share = Share(0, n_lists, pair_offsets, np.zeros(1, np.int64), np.full(1, FIRST_BOUND), errors, lengths,
                          values, rows, capacity)  # fmt: skip
            room = new_room(lists.operands(), dim, 1, capacity)
            kernels.scan_lists(lists.asked(batch.points), asked, share, room)
            some = rows[0, : lengths[0]]
            assert sorted(some) == list(range(*lists.cells.offsets[label : label + 2]))
            if metric == "ip":
                scale = np.exp2(-np.frexp(np.abs(queries[i]).max())[1].astype(np.longdouble))
                about = conversion.center.astype(np.longdouble) if lists.copied else 0
                true = -((exact[1][some] - about) @ exact[0][i]) * scale * conversion.scale
            else:
                true = 0.5 * ((exact[1][some] - exact[0][i]) ** 2).sum(axis=1) * np.longdouble(conversion.scale) ** 2
            low = values[0, : lengths[0]].astype(np.longdouble)
            assert (low <= true).all() and (true <= low + 2 * errors[0].astype(np.longdouble)).all()


@hypothesis.given(
    storage=st.sampled_from(["sq8", "pq4"]), dim=st.integers(1, 140), q=st.integers(1, 9),
    metric=st.sampled_from(["l2", "cosine", "ip"]), framed=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_codes_are_ranked_as_what_they_stand_for(storage: str, dim: int, q: int, metric: str, framed: bool,
                                                 seed: int) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    lists, vectors = sorted_into(storage, rng.normal(size=(300, dim)).astype(np.float32), metric)
    framed = framed and metric != "ip"
    cells, keep = lists.cells, 20
    labels = cells.labels(slice(0, 300))
    if isinstance(lists, ByteLists):
        lists = ByteLists.encoded(vectors, cells, lists.widths, lists.steps, framed, None)
        levels = lists.codes[:, :dim].astype(np.float64) - 128
        restored = levels * lists.widths * lists.steps[labels, None]
        noise = 0.01
    else:
        assert isinstance(lists, CodedLists)
        lists = CodedLists.encoded(vectors, cells, lists.quantizer, lists.lengths, framed)
        codes = lists.unpacked(0, cells.n_lists, cells.sizes)
        restored = lists.quantizer.decode(codes) * lists.lengths[labels, None]
        noise = 0.03
    left = cells.residuals(vectors, labels) - restored
    queries = rng.normal(size=(q, dim)).astype(np.float32)
    probes = np.stack([rng.permutation(cells.n_lists)[:3] for _ in range(q)])
    batch = batch_of(lists, vectors, queries, probes)
    places = cells.centroids[labels] + restored
    if metric == "ip":
        true = -batch.points.astype(np.float64) @ places.T
    else:
        true = 0.5 * ((batch.points[:, None].astype(np.float64) - places[None]) ** 2).sum(axis=2)
        true += 0.5 * (left**2).sum(axis=1) if storage == "sq8" else 0.0
    found, lengths = lists.scan(batch, keep)
    for i in range(q):
        allowed = np.isin(labels, probes[i])
        expected = np.sort(true[i][allowed])[:keep]
        rows = found[i][found[i] >= 0]
        assert lengths[i] == len(set(rows.tolist())) >= len(expected) and allowed[rows].all()
        length = np.linalg.norm(batch.points[i] - (cells.centroids.mean(axis=0) if framed else 0))
        slack = noise * (length + 1) * np.sqrt((restored**2).sum(axis=1)).max() + 1e-6
        assert (np.sort(true[i][rows])[: len(expected)] <= expected + 2 * slack + 1e-4).all()
        alone, _ = lists.scan(batch_of(lists, vectors, queries[i : i + 1], probes[i : i + 1]), keep)
        assert set(alone[0].tolist()) - {-1} == set(rows.tolist())


@pytest.mark.parametrize("storage", STORAGES)
def test_allowed_rows_on_both_sides_of_a_words_end_are_found(storage: str) -> None:
    """Lists begin anywhere, so the rows of a register may have their bits in two words."""
    rng = np.random.default_rng(0)
    lists, vectors = sorted_into(storage, rng.normal(size=(400, 6)).astype(np.float32), "l2", n_lists=3)
    probes, starts = np.arange(3)[None], lists.cells.offsets[lists.cells.labels(slice(0, 400))]
    ends = np.arange(64, 385, 64)
    assert ((ends - starts[ends]) % 4 != 0).any(), "registers of every path are cut"
    for end in ends:
        alive = np.zeros((1, 400), bool)
        alive[0, end - 8 : end + 8] = True
        found, _ = lists.scan(batch_of(lists, vectors, vectors[:1], probes, packed(alive)[0]), 16)
        assert np.sort(found[0]).tolist() == np.flatnonzero(alive[0]).tolist()


@pytest.mark.parametrize("storage", STORAGES)
def test_of_equal_rows_those_with_the_smallest_ids_are_found(storage: str) -> None:
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(4, 6)), 700, axis=0).astype(np.float32)
    ids = rng.permutation(len(vectors))
    index = IVFIndex(storage=storage, n_lists=8).fit(vectors, ids)
    found = index.search(vectors[::700], k=12, n_probes=2)
    for i in range(4):
        expected = np.sort(ids[700 * i : 700 * (i + 1)])[:12]
        assert found.distances[i].max() == 0 and np.array_equal(found.ids[i], expected)
        assert np.array_equal(index.search(vectors[700 * i], k=12, n_probes=2).ids, expected)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("kind", ["places", "bursts", "outlier", "far"])
def test_one_query_is_answered_as_in_a_batch(storage: str, metric: str, kind: str) -> None:
    rng = np.random.default_rng(0)
    vectors = KINDS[kind](rng, 1500, 9).astype(np.float32)
    index = IVFIndex(storage=storage, metric=metric, n_lists=20).fit(vectors)
    queries = vectors[::90]
    for options in ({"n_probes": 3, "rerank": 2.0}, {"allowed": np.arange(0, 1500, 2), "n_probes": 5}):
        batch = index.search(queries, k=5, **options)
        for i, query in enumerate(queries):
            one = index.search(query, k=5, **options)
            assert np.array_equal(one.ids, batch.ids[i]) and np.array_equal(one.distances, batch.distances[i])


def test_an_unusual_row_is_found_and_spoils_nothing() -> None:
    """Ranges and codewords are those of usual rows; the others are always compared by their vectors."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4000, 12)).astype(np.float32)
    unusual = vectors[7::400] * np.float32(50)
    for storage in ("sq8", "pq4"):
        index = IVFIndex(storage=storage, n_lists=20).fit(np.append(vectors, unusual, axis=0))
        lists = index._structure.lists
        exact = annlab.ExactIndex().fit(np.append(vectors, unusual, axis=0)).search(vectors[:200], k=10)
        found = index.search(vectors[:200], k=10, n_probes=12, rerank=8.0)
        assert np.mean(found.distances <= exact.distances[:, -1:]) >= 0.95
        assert lists.loose.sum() > 0 and (lists.loose <= lists.cells.sizes).all()
        near = index.search(unusual, k=1, n_probes=1, rerank=1.0)
        assert np.mean(near.distances[:, 0] == 0) == 1.0


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("kind", ["line", "normal", "places", "bursts", "outlier", "copies"])
def test_more_probes_and_more_candidates_never_find_less(storage: str, kind: str) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.random((8000, 1)) if kind == "line" else KINDS[kind](rng, 8000, 3)
    vectors = vectors.astype(np.float32)
    index, queries = IVFIndex(storage=storage, target_recall=0.9).fit(vectors), vectors[:200]
    exact = annlab.ExactIndex().fit(vectors).search(queries, k=10)

    def recall(**options: float) -> float:
        return float(np.mean(index.search(queries, k=10, **options).distances <= exact.distances[:, -1:]))

    probing = [recall(n_probes=p, rerank=4.0) for p in (1, 2, 4, 8, 16, 64)]
    assert (np.diff(probing) >= -0.005).all() and probing[-1] >= 0.95, probing
    ranking = [recall(n_probes=8, rerank=f) for f in (1.0, 2.0, 4.0, 16.0)]
    assert (np.diff(ranking) >= 0).all(), ranking


@pytest.mark.parametrize("storage", STORAGES)
def test_codes_of_nearly_equal_rows_do_not_take_long(storage: str) -> None:
    """Thousands of ties are settled in time that grows with their number, not with its square."""
    vectors = np.append(np.zeros((6000, 3)), np.full((1, 3), 1e15), axis=0) + 1e-9 * np.arange(6001)[:, None]
    index = IVFIndex(storage=storage, metric="ip", n_lists=4).fit(vectors)
    assert isinstance(index._structure, IVFStructure)
    assert index.search(vectors[:50], k=10, n_probes=2).valid.all()
