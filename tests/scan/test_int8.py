"""Attacks on the certified byte scan: its answers are those of the float32 scan and of brute force, to the last bit."""

import functools
import math
import mmap
import tempfile
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import annlab
from annlab.core.structure import Request
from annlab.distances import get_metric
from annlab.kernels import tile
from annlab.kernels.scan import int8 as int8_kernels
from annlab.kernels.scan import one_bytes
from annlab.kernels.simd.byte_vectors import LARGEST_SIGNED
from annlab.kernels.simd.path import entry
from annlab.kernels.simd.registers import pointer, pointers
from annlab.scan import int8
from annlab.scan.points import Extent
from tests import oracle
from tests.contract.checks import same

METRICS = ("l2", "cosine", "ip")


def normal(rng, n, dim, dtype=np.float32):
    return rng.standard_normal((n, dim)).astype(dtype)


def beside(rng, vectors, n=15, by=0.1):
    """Queries: rows, and points beside rows."""
    rows = vectors[rng.integers(len(vectors), size=n)].copy()
    rows[::2] += (by * np.abs(rows[::2]) * rng.standard_normal(rows[::2].shape)).astype(rows.dtype)
    return rows


def around_the_mean(rng, dtype):
    vectors = normal(rng, 400, 20, dtype)
    mean = vectors.mean(axis=0, dtype=np.float64)
    offsets = 10.0 ** np.arange(-12, -2)[:, None] * rng.standard_normal((10, 20))
    return vectors, np.vstack([mean[None], mean + offsets, 2 * mean - (mean + offsets)]).astype(dtype)


def of_mixed_scales(rng, factor):
    vectors = normal(rng, 500, 24)
    return vectors, beside(rng, vectors, 40) * rng.choice(np.float32([1, factor]), (40, 1))


def rows_of_mixed_scales(rng, factor):
    vectors = normal(rng, 500, 24) * rng.choice(np.float32([1, factor]), (500, 1))
    return vectors, beside(rng, vectors, 40)


def with_outlier(rng, row=None, column=None):
    vectors = normal(rng, 500, 24)
    vectors[slice(None) if row is None else row, slice(None) if column is None else column] *= 1e6
    return vectors, np.vstack([beside(rng, vectors, 20), normal(rng, 6, 24)])


def near_ties(rng, dtype, offset):
    """Groups of rows that differ in the last bit of one coordinate."""
    base = (offset + rng.standard_normal((9, 17))).astype(dtype)
    vectors = base[rng.integers(9, size=450)]
    places = np.arange(450), rng.integers(17, size=450)
    vectors[places] = np.nextafter(vectors[places], rng.choice([-np.inf, np.inf], 450).astype(dtype))
    return vectors, np.vstack([base, beside(rng, base, 6)])


def ring(rng):
    """All rows at almost the same distance of the query, an order that lies in the last bits."""
    vectors = rng.standard_normal((600, 12))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.zeros((5, 12), np.float32)


def denormal(rng):
    vectors = normal(rng, 400, 12)
    vectors[:, 4:] *= np.float32(1e-40)
    vectors[::3, :4] = 0.5
    return vectors, beside(rng, vectors)


def spikes(rng):
    """The least suitable offset: a constant query, whose sum of codes is as large as can be, and rows of few spikes."""
    vectors = np.zeros((64, 39_000), np.float32)
    for i, row in enumerate(vectors):
        row[rng.integers(39_000, size=1 + i % 7)] = rng.integers(-3, 4, size=1 + i % 7)
    vectors[::32, 5] = 127.5
    return vectors, np.ones((6, 39_000), np.float32) * np.float32([[1], [-1], [0.5], [1e-3], [3], [127]])


def repeated(rng, share):
    vectors = normal(rng, 600, 16)
    vectors[rng.random(600) < share] = vectors[0]
    return vectors, np.vstack([vectors[:3], beside(rng, vectors, 12)])


def integers(rng, low, high, dim=24):
    vectors = rng.integers(low, high + 1, size=(600, dim)).astype(np.float32)
    vectors[3, 0], vectors[77, dim - 1] = low, high
    queries = beside(rng, vectors, 30, 0)
    queries[::3] += normal(rng, 10, dim)
    queries[1::6] *= 3
    return vectors, queries


DATA = {
    "ordinary": lambda rng: (v := normal(rng, 700, 33), beside(rng, v, 29)),
    "float64": lambda rng: (v := normal(rng, 400, 33, np.float64), beside(rng, v, 20)),
    "far, float64": lambda rng: (v := 1e9 + 1e-3 * normal(rng, 400, 9, np.float64), v[:14] + 1e-4),
    "far": lambda rng: (v := 3e4 + np.float32(0.01) * normal(rng, 400, 9), beside(rng, v, 14, 1e-6)),
    "around the mean": lambda rng: around_the_mean(rng, np.float32),
    "around the mean, float64": lambda rng: around_the_mean(rng, np.float64),
    "constant": lambda rng: (np.full((300, 6), 0.3, np.float32), np.float32([[0.3] * 6, [1] * 6, [0] * 6])),
    "all zero": lambda rng: (np.zeros((300, 6), np.float32), np.float32([[0] * 6, [1] * 6, [1e-30] * 6])),
    "queries a million times larger": lambda rng: of_mixed_scales(rng, 1e6),
    "queries a million times smaller": lambda rng: of_mixed_scales(rng, 1e-6),
    "rows a million times larger": lambda rng: rows_of_mixed_scales(rng, 1e6),
    "outlier row": lambda rng: with_outlier(rng, row=123),
    "outlier dimension": lambda rng: with_outlier(rng, column=7),
    "near ties": lambda rng: near_ties(rng, np.float32, 0),
    "near ties, far": lambda rng: near_ties(rng, np.float32, 100),
    "near ties, float64": lambda rng: near_ties(rng, np.float64, 3),
    "ring": ring,
    "denormal": denormal,
    "nothing but denormals": lambda rng: (v := (1e-41 * normal(rng, 300, 6)).astype(np.float32), beside(rng, v)),
    "huge, float64": lambda rng: (v := 1e100 * normal(rng, 300, 6, np.float64), beside(rng, v)),
    "half equal": lambda rng: repeated(rng, 0.5),
    "all equal": lambda rng: repeated(rng, 1.0),
    "bytes": lambda rng: integers(rng, 0, 255),
    "negative integers": lambda rng: integers(rng, -200, -3),
    "range 255": lambda rng: integers(rng, -100, 155),
    "range 256": lambda rng: integers(rng, -100, 156),
    "bits": lambda rng: integers(rng, 0, 1),
    "integers far away": lambda rng: integers(rng, 10**6, 10**6 + 9),
    "noise, 4 dimensions": lambda rng: (rng.random((700, 4), np.float32), rng.random((25, 4), np.float32)),
    "noise, 127 dimensions": lambda rng: (rng.random((500, 127), np.float32), rng.random((13, 127), np.float32)),
    "noise, 1024 dimensions": lambda rng: (rng.random((300, 1024), np.float32), rng.random((13, 1024), np.float32)),
    "one dimension": lambda rng: (v := normal(rng, 300, 1), beside(rng, v)),
    "of all magnitudes": lambda rng: (
        v := (10.0 ** rng.uniform(-15, 15, (400, 1)) * normal(rng, 400, 5)).astype(np.float32),
        beside(rng, v, 40),
    ),
    "spikes in 39,000 dimensions": spikes,
}


@functools.cache
def data(name):
    vectors, queries = DATA[name](np.random.default_rng(sum(map(ord, name))))
    return np.ascontiguousarray(vectors), np.ascontiguousarray(queries)


def built(vectors, metric, precision="int8", **more):
    index = annlab.ExactIndex(metric=metric, precision=precision, **more).fit(vectors)
    assert precision == "auto" or index.precision == precision
    return index


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", DATA)
def test_hostile_data(name, metric):
    vectors, queries = data(name)
    n = len(vectors)
    index, plain, by_judge = built(vectors, metric), built(vectors, metric, "float32"), None
    if n * len(queries) * vectors.shape[1] < 2e7:
        by_judge = oracle.nearest(queries, np.arange(n), vectors, metric, n // 8 - 1)
    for k in (1, 5, n // 8 - 1):  # n > 8k: beyond, the bytes are not scanned at all
        found = index.search(queries, k, threads=1)
        same(found, plain.search(queries, k, threads=1))
        if by_judge is not None:
            same(found, (by_judge[0][:, :k], by_judge[1][:, :k]))
        for i in (0, len(queries) // 2):
            same(index.search(queries[i], k, threads=1), (found[0][i], found[1][i]))
    same(index.search(queries, 3, threads=2), plain.search(queries, 3, threads=1))


@pytest.mark.parametrize("name", ["ordinary", "bytes", "outlier row", "half equal"])
@pytest.mark.parametrize("metric", METRICS)
def test_filters_and_tombstones(name, metric):
    vectors, queries = data(name)
    rng, n = np.random.default_rng(5), len(vectors)
    ids = rng.permutation(2 * n)[:n]
    index = annlab.ExactIndex(metric=metric, precision="int8", auto_compact=False).fit(vectors, ids)
    gone = rng.choice(ids, n // 5, replace=False)
    index.remove(gone)
    assert index.precision == "int8"
    living, keep = ~np.isin(ids, gone), rng.random(n) < 0.7
    own = rng.random((len(queries), n)) < rng.choice([0.02, 0.5, 0.9], (len(queries), 1))
    for mask, allowed in ((living, None), (living & keep, ids[keep]), (living & own, [ids[some] for some in own])):
        expected = oracle.nearest(queries, ids, vectors, metric, 12, mask)
        for threads in (1, 3):
            same(index.search(queries, 12, allowed=allowed, threads=threads), expected)
        one = allowed[4] if isinstance(allowed, list) else allowed
        same(index.search(queries[4], 12, allowed=one), (expected[0][4], expected[1][4]))


@pytest.mark.parametrize("metric", METRICS)
def test_threads_and_sizes_of_batches(metric):
    rng = np.random.default_rng(2)
    vectors, queries = normal(rng, 3000, 19), normal(rng, 61, 19)
    index, expected = built(vectors, metric), built(vectors, metric, "float32").search(queries, 20, threads=1)
    for threads in range(1, 9):
        same(index.search(queries, 20, threads=threads), expected)
    for size in (1, 2, 3, 4, 5, 11, 12, 13, 24, 25):
        same(index.search(queries[:size], 20, threads=1), (expected[0][:size], expected[1][:size]))


def test_few_survive():
    """The bound is good: otherwise everything is scanned again, and answers are right but late."""
    rng = np.random.default_rng(3)
    vectors = normal(rng, 20_000, 8).repeat(4, axis=1) + 0.1 * normal(rng, 20_000, 32)
    index = built(vectors, "l2")
    for queries in (vectors[:100], np.vstack([vectors[:40], 1e6 * vectors[:40]])):
        found = index._state.structure.search(queries, 10, request(len(queries), 20_000))
        assert (found >= 0).sum(axis=1).max() < 300
    pixels = rng.integers(0, 256, size=(20_000, 24)).astype(np.float32)
    found = built(pixels, "l2")._state.structure.search(pixels[:100], 10, request(100, 20_000))
    assert (found >= 0).sum(axis=1).max() < 20 * 127 / LARGEST_SIGNED, "without loss, few more than k are left"


def request(q, n):
    return Request(alive=None, keys=np.arange(n), threads=1, counters=np.zeros((q, 3), np.int64), params={})


def test_auto(monkeypatch):
    rng = np.random.default_rng(4)
    groups = normal(rng, 40, 32)[rng.integers(40, size=1500)] * 8 + normal(rng, 1500, 32)
    monkeypatch.setattr(int8, "PATH_NAME", "avx2")
    assert built(groups[:500], "l2", "auto").precision == "float32", "few vectors"
    for least in (20_000, 1000):  # bytes for single queries, and for batches too
        monkeypatch.setattr(int8, "_SMALLEST", least)
        index = built(groups, "l2", "auto")
        assert index.precision == "int8" and index._state.structure._scanner.serves_batches == (least == 1000)
        assert built(rng.integers(0, 256, size=(1500, 32)).astype(np.float32), "l2", "auto").precision == "int8"
        assert built(np.ones((1500, 32), np.float32), "l2", "auto").precision == "float32", "everything survives"
        assert built(groups[:, :7], "l2", "auto").precision == "float32", "few dimensions"
    monkeypatch.setattr(int8, "PATH_NAME", "generic")
    assert built(groups, "l2", "auto").precision == "float32", "no quick multiplication of bytes"
    assert annlab.ExactIndex(dim=3).precision is None


def test_more_dimensions_than_sums_can_hold(monkeypatch):
    vectors = normal(np.random.default_rng(6), 34, 65_100)
    monkeypatch.setattr(int8, "_SMALLEST", 30)
    index = built(vectors, "l2", "auto")
    assert index.precision == "float32" and index.search(vectors, 1).ids[:, 0].tolist() == list(range(34))
    with pytest.raises(ValueError, match=r"40000 dimensions, not 65100"):
        built(vectors, "l2", "int8")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vectors_on_disk(dtype, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rng = np.random.default_rng(7)
    vectors, queries = normal(rng, 900, 40, dtype), normal(rng, 20, 40, dtype)
    index = built(vectors, "l2", keep_vectors="mmap")
    base = index._state.structure.vectors
    while not isinstance(base, mmap.mmap):
        base = base.base  # ends in an error where the vectors are ordinary memory
    assert list(tmp_path.iterdir()) == [], "the file has no name any more"
    memory = index.memory()
    assert memory["mapped"] == vectors.nbytes and memory["total"] < 900 * (40 + 60), "the vectors are not in memory"
    same(index.search(queries, 9), built(vectors, "l2", "float32").search(queries, 9))
    index.add(queries[:3])
    index.compact()
    assert index.precision == "int8" and list(tmp_path.iterdir()) == []
    together = np.vstack([vectors, queries[:3]])
    same(index.search(queries, 9), oracle.nearest(queries, np.arange(903), together, "l2", 9))


def test_the_copy_is_accounted_for_and_kept(tmp_path):
    vectors, queries = data("ordinary")
    index, plain = built(vectors, "cosine"), built(vectors, "cosine", "float32")
    more = index.memory()["total"] - plain.memory()["total"]
    n, dim = vectors.shape
    assert n * (dim + 4) <= more <= (n + 31) * (dim + 3 + 5) + 16 * dim
    index.save(tmp_path / "index")
    for mapped in (False, True):
        again = annlab.load(tmp_path / "index", mmap=mapped)
        assert again.precision == "int8"
        same(again.search(queries, 11), plain.search(queries, 11))


# ---- the bound itself


class Said(NamedTuple):
    """What the scan of some queries says: rows of their buffers and v, and the terms of the queries."""

    rows: list
    values: list
    z: np.ndarray  # (q, dim)
    steps: np.ndarray
    spans: np.ndarray
    ratios: np.ndarray
    usable: np.ndarray


def said_of_batch(scanner, queries, monkeypatch):
    n, q, seen, pack = len(scanner.vectors), len(queries), {}, int8_kernels.pack_byte_queries

    def packing(*arguments):
        seen["steps"] = np.float32(arguments[4])[:q]
        pack(*arguments)

    def finishing(codes, queries, buffers):
        lengths = buffers.lengths[:q]
        seen["rows"] = [some[:length].copy() for some, length in zip(buffers.rows, lengths, strict=False)]
        seen["values"] = [some[:length].copy() for some, length in zip(buffers.values, lengths, strict=False)]

    monkeypatch.setattr(int8_kernels, "pack_byte_queries", packing)
    monkeypatch.setattr(int8_kernels, "finish_bytes", finishing)
    packed = int8._PackedQueries(scanner, queries)
    scanner._scan_codes(packed, n, None, 0, len(scanner.codes), n + 64 + tile.PANEL_ROWS)
    monkeypatch.undo()
    asked = packed.queries
    codes = asked.packed.transpose(0, 2, 1, 3).reshape(-1, 4 * asked.packed.shape[1])[:q, : queries.shape[1]]
    back = np.argsort(packed.order)
    return Said([seen["rows"][i] for i in back], [seen["values"][i] for i in back], codes[back], seen["steps"][back],
                asked.spans[back], asked.ratios[back], packed.usable[back])  # fmt: skip


@entry
def terms(path, rows: int8_kernels.Codes, query, converted, signed, out):
    """What bounds the error of a quantized query."""
    asked = one_bytes.quantized(
        pointers(int8_kernels.Codes(*rows)), pointer(query), pointer(converted), pointer(signed)
    )
    out[0], out[1], out[2], out[3] = asked.step, asked.span, asked.ratio, np.float32(asked.usable)


def said_one_by_one(scanner, queries):
    (q, dim), n = queries.shape, len(scanner.vectors)
    rows, values, z, out = [], [], np.zeros((q, dim), np.int8), np.empty((q, 4), np.float32)
    for i, query in enumerate(queries):
        room = one_bytes.new_room(dim, n + 64 + tile.PANEL_ROWS)
        terms(scanner.for_kernels, query, room.converted, room.signed, out[i])
        z[i] = room.signed[:dim]
        length = one_bytes.scan_bytes_one(
            scanner.for_kernels, query, 0, len(scanner.codes), np.empty(0, np.uint64), room, n
        )
        assert (length == n) if out[i, 3] else length < 0
        rows.append(room.hits.rows[: max(length, 0)])
        values.append(room.hits.values[: max(length, 0)])
    return Said(rows, values, z, *out.T[:3], out[:, 3] > 0)


def values_and_limits(vectors, queries, metric, together, monkeypatch):
    """What the scan says of every query and row: v t_q, and its distance to the upper value without room for rounding.

    Both of R + r.m: returns the part z of every query too, from which r follows. Arrays (q, n) and (q, dim).
    """
    kernel, n, q = get_metric(metric), len(vectors), len(queries)
    scanner = int8.ByteScanner.of(vectors, kernel, Extent.of(vectors, kernel))
    said = said_of_batch(scanner, queries, monkeypatch) if together else said_one_by_one(scanner, queries)
    steps = said.steps.astype(np.longdouble)
    lower, upper = np.full((2, q, n), np.nan, np.longdouble)
    apart = np.repeat(scanner.limits[:, int8_kernels.ERROR], 32)[:n].astype(np.longdouble)
    size = np.repeat(scanner.limits[:, int8_kernels.SIZE], 32)[:n]
    for i, rows in enumerate(said.rows):
        assert len(rows) == n or not said.usable[i], "no bound yet, so no row is left out"
        lower[i, rows] = said.values[i] * steps[i]
        width = 2 * said.spans[i] * (apart + said.ratios[i] * size)[rows] * steps[i]
        upper[i, rows] = lower[i, rows] + width
    return scanner, steps, lower, upper, said.z * steps[:, None]


def true_values(scanner, vectors, queries, metric, z):
    """R + r.m in extended precision."""
    x, q = vectors.astype(np.longdouble), queries.astype(np.longdouble)
    scale, query_center = np.longdouble(scanner.byte_scale), scanner.byte_center
    if metric == "cosine":
        zero = ~x.any(axis=1)
        x, q = (rows / np.maximum(np.sqrt((rows * rows).sum(axis=1, keepdims=True)), 1e-300) for rows in (x, q))
    query_scale = scale
    if metric == "ip":
        query_scale, query_center = 2.0 ** -np.frexp(np.abs(queries).max(axis=1, keepdims=True))[1], 0.0
    x, q = (x - scanner.byte_center) * scale, (q - query_center) * query_scale
    half = 0 if metric == "ip" else (x * x).sum(axis=1) / 2
    if metric == "cosine":
        half = half + zero * scale**2 / 2  # at distance 1 of everything
    sizes = half + np.sqrt((q * q).sum(axis=1))[:, None] * np.sqrt((x * x).sum(axis=1))
    mean = Extent.of(vectors, get_metric(metric), None, about_mean=True).center.astype(np.longdouble)
    shift = (q - z) @ ((mean - scanner.byte_center) * scale)
    return half - q @ x.T + shift[:, None], sizes


def check_bound(vectors, queries, metric, together, monkeypatch):
    scanner, steps, lower, upper, z = values_and_limits(vectors, queries, metric, together, monkeypatch)
    true, sizes = true_values(scanner, vectors, queries, metric, z)
    known = ~np.isnan(lower)
    assert known.any()
    floor = np.longdouble(2.0) ** -95
    assert (lower <= true + floor)[known].all(), "a lower value above the truth"
    t = np.repeat(scanner.limits[:, int8_kernels.STEP], 32)[: len(vectors)].astype(np.longdouble)
    with np.errstate(all="ignore"):
        cut = np.repeat(np.asarray(scanner.half_norms).reshape(-1)[: len(vectors)][None], len(queries), 0)
        cut = cut / (steps[:, None] * t) >= 2.0**29 * (1 - 1e-5)
    room = 64 * 2.0**-24 * sizes + 3 * t * steps[:, None] + floor
    assert (upper + room >= true)[known & ~cut].all(), "an upper value below the truth"


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", ["ordinary", "far", "around the mean", "outlier row", "bytes", "noise, 127 dimensions",
                                  "rows a million times larger", "queries a million times larger",
                                  "spikes in 39,000 dimensions"])  # fmt: skip
@pytest.mark.parametrize("together", [False, True])
def test_bound_of_hostile_data(name, metric, together, monkeypatch):
    vectors, queries = data(name)
    check_bound(vectors[:200], queries[:24], metric, together, monkeypatch)


@given(
    seed=st.integers(0, 2**32 - 1),
    dim=st.sampled_from([1, 2, 3, 4, 5, 8, 17, 64, 130]),
    metric=st.sampled_from(METRICS),
    spread=st.sampled_from([0, 1, 3, 8]),
    offset=st.sampled_from([0.0, 1.0, 1e4]),
    whole=st.booleans(),
    double=st.booleans(),
)
def test_bound_holds(seed, dim, metric, spread, offset, whole, double):
    """Rows and queries whose coordinates spread over powers of ten; `whole`: rounded to integers."""
    rng = np.random.default_rng(seed)

    def some(n):
        rows = rng.standard_normal((n, dim)) * 10.0 ** rng.uniform(-spread, spread, (n, 1) if whole else (n, dim))
        rows = np.round(rows % 256) if whole else rows + offset
        return np.where(rows == 0, 1, rows).astype(np.float64 if double else np.float32)

    vectors, queries = some(70), some(14)
    queries[:4] = vectors[:4]
    queries[4] = np.where((mean := vectors.mean(axis=0)) == 0, 1, mean)
    with pytest.MonkeyPatch.context() as monkeypatch:
        check_bound(vectors, queries, metric, bool(seed % 2), monkeypatch)


@pytest.mark.parametrize("seed", [pytest.param(s, marks=[] if s == 15 else pytest.mark.slow) for s in range(60)])
def test_random_mixtures(seed):
    """Everything at once: scales, outliers, duplicates, rounding to grids, filters.

    Seed 15 is in the quick run: there a full buffer once wrote into that of the next query.
    """
    rng = np.random.default_rng(seed)
    n, dim = int(rng.integers(40, 3000)), int(rng.choice([1, 3, 8, 31, 64, 200]))
    dtype = rng.choice([np.float32, np.float64])
    vectors = rng.standard_normal((n, dim))
    vectors *= 10.0 ** rng.uniform(-1, 1, (1, dim)) ** int(rng.integers(0, 4))
    if rng.random() < 0.4:
        vectors *= rng.choice([1, 10.0 ** rng.integers(-7, 8)], (n, 1))
    if rng.random() < 0.4:
        vectors = np.round(vectors * 2 ** rng.integers(0, 9)) + rng.integers(-9, 9)
    if rng.random() < 0.4:
        vectors += 10.0 ** rng.integers(-3, 5)
    vectors = vectors[rng.integers(n, size=n)].astype(dtype) if rng.random() < 0.4 else vectors.astype(dtype)
    queries = np.vstack([beside(rng, vectors, 30, 10.0 ** rng.integers(-9, 1)), vectors.mean(axis=0)[None]])
    queries = (queries * rng.choice([1, 1, 10.0 ** rng.integers(-7, 8)], (31, 1))).astype(dtype)
    for metric in METRICS:
        index, plain = built(vectors, metric), built(vectors, metric, "float32")
        k = int(rng.integers(1, math.ceil(n / 8)))
        allowed = np.flatnonzero(rng.random(n) < rng.choice([0.3, 0.8, 1.0]))
        same(index.search(queries, k, threads=1), plain.search(queries, k, threads=1))
        same(index.search(queries, k, allowed=allowed, threads=2), plain.search(queries, k, allowed=allowed, threads=1))
