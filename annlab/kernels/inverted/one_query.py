"""One query of an inverted file in a single call: convert it, find its lists, scan them, score the best rows.

For one query on a small set, what Python does between kernels takes longer than they do, and finds its own data gone
from the caches. So all of it is one kernel: `begin` and `end` here, and between them the scan of a storage
(`inverted/flat.py`, `inverted/byte_codes.py`, `inverted/product_codes.py`), which also holds the entry that Python
calls. Entries begin with the same arguments, those of `begin` and `end`, as `OneQuery` in `inverted.py` puts them
together.

Scratch: floats (float_scratch(...),), longs (n_probes + keep,) int64, rows (capacity_for(keep),) int32.
"""

import numpy as np

from annlab.kernels.inverted.candidates import CHUNK_WIDTH, FRONT, capacity_for, scratch_width, take_out
from annlab.kernels.inverted.nearest_lists import centroid_surrogates_one, convert_query, smallest
from annlab.kernels.scoring import nearest_of
from annlab.kernels.simd.path import kernel
from annlab.kernels.simd.registers import LANES, float_registers, pointer
from annlab.kernels.tile import ACCUMULATORS, PANEL_ROWS

_INFINITY = np.inf
_DISTANCES, _VISITED, _BYTES = 0, 1, 2  # columns of the counters, see common/statistics.py


def float_scratch(stride: int, n_panels: int, n_probes: int, keep: int) -> int:
    """Floats of scratch for a query of `stride` coordinates, whole registers of them."""
    capacity = capacity_for(keep)
    probing, scanning = 3 * n_panels * PANEL_ROWS + 4 * LANES, capacity + CHUNK_WIDTH + 2 * scratch_width(capacity)
    return 2 * stride + n_probes + max(probing, scanning)


@kernel
def begin(query, metric, center, scale, longest, panels, half_norms, n_lists, n_probes, floats, longs):
    """Convert a query (1, dim) and find its lists.

    center (dim,), scale and longest as in `convert_query`; panels and half_norms of the centroids. Returns, as places
    in the scratch, the converted query, the lists and their surrogates, nearest first, room for another query and for
    the scan.
    """
    dim, n_panels, width = query.shape[1], panels.shape[0], panels.shape[0] * PANEL_ROWS
    stride = -(-dim // LANES) * LANES
    y, probes, free = pointer(floats), pointer(longs), pointer(floats) + 2 * stride + n_probes
    coarse, block = y + 2 * stride, float_registers(ACCUMULATORS)
    convert_query(pointer(query), dim, metric, pointer(center), scale, longest, y, stride)
    centroid_surrogates_one(y, pointer(panels), pointer(half_norms), n_panels, dim, block, free)
    smallest(free, n_lists, n_probes, free + width, free + 2 * width + 2 * LANES, coarse, probes)
    return y, probes, coarse, y + stride, free


@kernel
def parts(free, capacity):
    """Values (capacity,), found (its row 0 behind FRONT), low and high, in the room for the scan."""
    low = free + capacity + CHUNK_WIDTH
    width = max(capacity, CHUNK_WIDTH) + 2 * LANES
    return free, free + capacity + FRONT, low, low + width


@kernel
def end(query, metric, vectors, keys, keep, n_lists, n_probes, longs, values, rows, length, low, high, distances, ids,
        looked_at, row_bytes, counters):  # fmt: skip
    """Fill distances and ids (1, k) with the nearest of the `keep` best rows of a scan's buffer; inf and -1 behind.

    Scoring uses the buffer anew. Counted as in `SearchStats`: the rows that were looked at, of row_bytes each, and the
    centroids.

    Returns how many rows the buffer held, `keep` at most.
    """
    candidates, k, dim = pointer(longs) + n_probes, distances.shape[1], query.shape[1]
    length = take_out(values, rows, length, keep, pointer(keys), low, high, candidates)
    x, best, best_ids = pointer(vectors), pointer(distances), pointer(ids)
    size = nearest_of(query, 0, x, vectors.shape[0], x, dim, pointer(keys), candidates, length, k, metric, best,
                      best_ids, values)  # fmt: skip
    for i in range(size, k):
        best[i], best_ids[i] = _INFINITY, -1
    counters[0, _DISTANCES] += looked_at + n_lists
    counters[0, _VISITED] += n_probes
    counters[0, _BYTES] += looked_at * row_bytes + n_lists * 4 * dim
    return length
