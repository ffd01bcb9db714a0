"""Scanning one query against rows quantized to bytes: every byte is used once, so the time is that of reading them.

The bound is that of `kernels/scan/int8.py`; here v is computed for every row, for there is no tile to spare it in.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import INNER_PRODUCT, inner_product
from annlab.kernels.scan.batch import OVERFLOWED, ROOM, first_trigger, next_trigger
from annlab.kernels.scan.int8 import (
    ERROR,
    FLOOR,
    N_LIMITS,
    QUAD_BYTES,
    SIZE,
    STEP,
    STORED_ROWS,
    Codes,
    U,
    largest_magnitude,
    quantize,
    start_sums,
    step_for,
    tighten_bytes,
)
from annlab.kernels.scan.one import Hits, new_hits
from annlab.kernels.simd.byte_vectors import LARGEST_SIGNED, dot_bytes, ints_to_floats, splat_quad
from annlab.kernels.simd.path import entry, inlined, kernel
from annlab.kernels.simd.registers import LANES, load, pointer, pointers, prefetch, splat
from annlab.kernels.tile import PANEL_ROWS, convert_row
from annlab.kernels.topk import append

_AHEAD = 4096  # bytes to ask for ahead of their use
_MOST = float(LARGEST_SIGNED)  # of a query's bytes
_LONGEST, _LARGEST_TIE = 1e15, 1e30  # beyond, the argument does not hold


class Query(NamedTuple):
    """A quantized query z, and what bounds its error: see the head of `kernels/scan/int8.py`."""

    codes: Any  # (4 * quads,) int8
    step: Any  # float32: t_q
    span: Any  # float32: |q| / t_q, rounded up
    ratio: Any  # float32: |r| / |q|, rounded up
    offset: Any  # int32: -127 sum(z)
    tie: float  # what upper values take besides
    usable: bool


@kernel
def quantized(rows, q, converted, signed):
    """The query q (dim,) as bytes in `signed`; converted (dim,) is scratch."""
    dim, scale, underflow = rows.dim, rows.scale, 0.0
    if rows.metric == INNER_PRODUCT:  # a query has no center, and its own length changes no order
        _, exponent = math.frexp(largest_magnitude(q, dim))
        factor = math.ldexp(1.0, -exponent)
        for i in range(dim):
            converted[i] = q[i] * factor
        underflow = dim * rows.faint * scale * factor
    else:
        convert_row(q, dim, rows.metric, rows.center, scale, converted)
    norm, exact = math.sqrt(inner_product(converted, converted, dim)), rows.exact_step
    largest = largest_magnitude(converted, dim)
    for i in range(4 * rows.quads - 4, 4 * rows.quads):
        signed[i] = 0
    wanted = np.float64(step_for(largest, _MOST))
    if rows.metric != INNER_PRODUCT and exact > 0.0 and largest <= _MOST * exact:
        if quantize(converted, dim, exact, -_MOST, _MOST, signed, 4) == 0.0:
            wanted = exact
    step = np.float32(max(wanted, rows.smallest_step))
    rest = quantize(converted, dim, step, -_MOST, _MOST, signed, 4)
    total = 0
    for i in range(dim):
        total += signed[i]
    t, up = np.float64(step), (1.0 + 4.0 * U) ** 2
    reach = rows.reach if rows.metric == INNER_PRODUCT else norm
    tie = (2.0**-20 * norm * reach + underflow + FLOOR) / t
    usable = norm < _LONGEST and tie < _LARGEST_TIE
    span, ratio = np.float32(norm / t * up), np.float32(rest / max(norm, 1e-300) * up)
    return Query(signed, step, span, ratio, np.int32(-127 * total), tie, usable)


@inlined
def panel_sums(codes, norms, inverse, z, quads):
    """h / (t_q t) - y.z of PANEL_ROWS rows of a panel, in four chains: two would wait for each other."""
    low, high = start_sums(norms, inverse), start_sums(norms + LANES, inverse)
    more_low, more_high = splat(np.int32(0)), splat(np.int32(0))
    j = 0
    while j + 2 <= quads:
        for line in range(0, 2 * QUAD_BYTES, 64):
            prefetch(codes + _AHEAD + line)
        a, b = splat_quad(z + 4 * j), splat_quad(z + 4 * j + 4)
        low, high = dot_bytes(low, load(codes), a), dot_bytes(high, load(codes + 4 * LANES), a)
        codes += QUAD_BYTES
        more_low, more_high = dot_bytes(more_low, load(codes), b), dot_bytes(more_high, load(codes + 4 * LANES), b)
        codes += QUAD_BYTES
        j += 2
    if j < quads:
        a = splat_quad(z + 4 * j)
        low, high = dot_bytes(low, load(codes), a), dot_bytes(high, load(codes + 4 * LANES), a)
    return low + more_low, high + more_high


@kernel
def offer_codes(rows, q, first_panel, last_panel, alive, n_words, hits, k):
    """The buffer receives what can be among the k nearest rows of some panels; returns its length, or OVERFLOWED."""
    inverse_step = np.float32(1.0) / q.step
    bound, length, trigger = np.finfo(np.float32).max, 0, first_trigger(k, hits.capacity)
    for p in range(first_panel, last_panel):
        limit = rows.limits + p * N_LIMITS
        step, inverse = splat(limit[STEP]), inverse_step / limit[STEP]
        apart, offset = splat(np.float32(q.span * (limit[ERROR] + q.ratio * limit[SIZE]))), splat(q.offset)
        for strip in range(0, STORED_ROWS, PANEL_ROWS):
            row = p * STORED_ROWS + strip
            wanted = (1 << PANEL_ROWS) - 1
            if n_words > 0:
                wanted = np.int64(alive[row // 64] >> np.uint64(row % 64)) & wanted
                if wanted == 0:  # where rows lie sorted, filters leave whole panels out
                    continue
            low, high = panel_sums(rows.codes + p * rows.quads * QUAD_BYTES + 4 * strip, rows.half_norms + row, inverse,
                                   q.codes, rows.quads)  # fmt: skip
            v, w = ints_to_floats(low + offset) * step - apart, ints_to_floats(high + offset) * step - apart
            passed = ((v <= splat(bound)) | ((w <= splat(bound)) << LANES)) & wanted
            if passed == 0:
                continue
            if row + PANEL_ROWS > rows.n:
                passed &= (1 << max(0, rows.n - row)) - 1
            length = append(hits.values, hits.rows, length, v, row, passed & ((1 << LANES) - 1))
            length = append(hits.values, hits.rows, length, w, row + LANES, passed >> LANES)
            if length > trigger:
                length, bound = _tighten(rows, q, hits, length, k)
                trigger = next_trigger(trigger, length, hits.capacity)
                if length > hits.capacity - ROOM:
                    return OVERFLOWED
    if length > k:
        length, _ = _tighten(rows, q, hits, length, k)
    return length


@kernel
def _tighten(rows, q, hits, length, k):
    return tighten_bytes(rows, hits.values, hits.rows, length, k, np.float32(1.0) / q.step, q.span, q.ratio, q.tie,
                         hits.low, hits.high)  # fmt: skip


class ByteRoom(NamedTuple):
    """Scratch for a query, and its buffer."""

    converted: Any  # (dim,) float32
    signed: Any  # (4 * quads,) int8
    hits: Hits


def new_room(dim: int, most: int) -> ByteRoom:
    """Room for a query of `dim` coordinates and a buffer for about so many rows."""
    return ByteRoom(np.empty(dim, np.float32), np.empty(4 * -(-dim // 4), np.int8), new_hits(most))


@kernel
def offer_bytes(rows, q, first_panel, last_panel, alive, n_words, room, k):
    """Quantize a query and offer it some panels, as `offer_codes` does."""
    asked = quantized(rows, q, room.converted, room.signed)
    if not asked.usable:
        return OVERFLOWED
    return offer_codes(rows, asked, first_panel, last_panel, alive, n_words, room.hits, k)


@entry
def scan_bytes_one(path, rows: Codes, query, first_panel, last_panel, alive, room: ByteRoom, k):
    """Offer some panels to a query (dim,); alive: bits of the rows that it may have, or empty."""
    r = ByteRoom(*room)
    opened = ByteRoom(pointer(r.converted), pointer(r.signed), pointers(Hits(*r.hits)))
    return offer_bytes(pointers(Codes(*rows)), pointer(query), first_panel, last_panel, pointer(alive), alive.shape[0],
                       opened, k)  # fmt: skip
