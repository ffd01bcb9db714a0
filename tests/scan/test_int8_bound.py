"""The bound of the certified byte scan: what it says of rows and queries, against long arithmetic."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annlab.distances import get_metric
from annlab.kernels import tile
from annlab.kernels.scan import int8 as int8_kernels
from annlab.kernels.scan import one_bytes
from annlab.kernels.simd.path import entry
from annlab.kernels.simd.registers import pointer, pointers
from annlab.scan import int8
from annlab.scan.points import Extent
from tests.scan.int8_data import data

METRICS = ("l2", "cosine", "ip")


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
def test_the_bound_holds_for_rows_of_any_spread(seed, dim, metric, spread, offset, whole, double):
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
