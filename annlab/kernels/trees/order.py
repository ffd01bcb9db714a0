"""The order in which a batch of queries visits a tree: along a space-filling curve, so that neighbours share caches.

Every query falls into a cell of a grid over the (at most four) coordinates in which the queries extend furthest. The
bits of the cell's coordinates, interleaved, are its place on the Z-curve (Morton 1966); a counting sort by it follows.
"""

import numpy as np

from annlab.kernels.simd.path import entry

_COORDINATES = 4


@entry
def visiting_order(path, queries, n_bits, order):
    """Fill order (q,) int64 for queries (q, dim), with keys of about n_bits bits."""
    n, dim = queries.shape
    low, high = np.full(dim, np.inf), np.full(dim, -np.inf)
    for i in range(n):
        for j in range(dim):
            low[j], high[j] = min(low[j], queries[i, j]), max(high[j], queries[i, j])
    used = min(dim, _COORDINATES)
    columns = np.argsort(low - high)[:used]
    each = max(1, n_bits // used)
    cells = 1 << each
    scales = np.zeros(used)
    for c in range(used):
        extent = high[columns[c]] - low[columns[c]]
        scales[c] = cells / extent if extent > 0.0 and cells / extent < np.inf else 0.0
    keys, starts = np.empty(n, np.int32), np.zeros((1 << (each * used)) + 1, np.int64)
    for i in range(n):
        key = 0
        for c in range(used):
            cell = min(max(np.int64((queries[i, columns[c]] - low[columns[c]]) * scales[c]), 0), cells - 1)
            for bit in range(each):
                key |= ((cell >> bit) & 1) << (bit * used + c)
        keys[i] = key
        starts[key + 1] += 1
    for key in range(len(starts) - 1):
        starts[key + 1] += starts[key]
    for i in range(n):
        order[starts[keys[i]]] = i
        starts[keys[i]] += 1
