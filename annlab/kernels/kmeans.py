"""The two halves of an iteration of k-means: the nearest centroid of every point, and the mean of every cluster.

Assignment is the tile of `kernels/scan/batch.py` with another end. A group of points, packed (dim x QUERIES_IN_TILE)
and negated, meets the centroids panel by panel; every lane of a register keeps the smallest surrogate |c|^2/2 - x.c
that it has seen and the panel in which that was, and one pass over the lanes finds the winner. Neither a distance
matrix nor a buffer is written. Sums run over the dimensions in ascending order, whatever else is computed at the same
time, so a point's centroid depends on neither the batch nor the threads; of centroids at equal distance the first one
wins.

The update sorts the points by cluster (counting sort: a stable order and the offsets of the clusters) and adds up each
cluster in float64, so that it can be split over threads by clusters without changing a bit.
"""

import numpy as np

from annlab.kernels.simd.lanes import to_doubles
from annlab.kernels.simd.path import entry, kernel
from annlab.kernels.simd.registers import (
    LANES,
    choose,
    float_registers,
    int_registers,
    load_eight,
    pointer,
    ramp,
    splat,
    store,
)
from annlab.kernels.tile import ACCUMULATORS, PANEL_ROWS, QUERIES_IN_TILE, float_tile

_INFINITY = np.float32(np.inf)


@kernel
def pack_group(points, dim, n_points, packed):
    """packed (dim, QUERIES_IN_TILE) = -points, transposed; columns behind n_points are zero."""
    for j in range(QUERIES_IN_TILE):
        for i in range(dim):
            packed[i * QUERIES_IN_TILE + j] = -points[j * dim + i] if j < n_points else np.float32(0.0)


@entry
def nearest_centroids(path, points, panels, half_norms, start, stop, packed, lane_values, lane_places, labels,
                      surrogates):  # fmt: skip
    """labels and surrogates (n,) of the points start..stop-1.

    points (n, dim); panels (n_panels, dim, PANEL_ROWS) of centroids and their half_norms, infinite where there is none;
    packed (dim, QUERIES_IN_TILE), lane_values float32 and lane_places int32 (LANES,) are scratch.
    """
    dim, n_panels = points.shape[1], panels.shape[0]
    x, panel, half, group = pointer(points), pointer(panels), pointer(half_norms), pointer(packed)
    best_lane, place_lane = pointer(lane_values), pointer(lane_places)
    block, best = float_registers(ACCUMULATORS), float_registers(QUERIES_IN_TILE)
    places = int_registers(QUERIES_IN_TILE)
    for first in range(start, stop, QUERIES_IN_TILE):
        n_points = min(QUERIES_IN_TILE, stop - first)
        pack_group(x + first * dim, dim, n_points, group)
        for j in range(QUERIES_IN_TILE):
            best[j] = splat(_INFINITY)
            places[j] = ramp(0)
        for p in range(n_panels):
            float_tile(block, group, panel + p * dim * PANEL_ROWS, half + p * PANEL_ROWS, dim)
            low, high = ramp(p * PANEL_ROWS), ramp(p * PANEL_ROWS + LANES)
            for j in range(QUERIES_IN_TILE):
                closer = block[2 * j] < best[j]
                best[j] = choose(closer, block[2 * j], best[j])
                places[j] = choose(closer, low, places[j])
                closer = block[2 * j + 1] < best[j]
                best[j] = choose(closer, block[2 * j + 1], best[j])
                places[j] = choose(closer, high, places[j])
        for j in range(QUERIES_IN_TILE):
            if j < n_points:
                store(best_lane, best[j])
                store(place_lane, places[j])
                winner = 0
                for lane in range(1, LANES):
                    if best_lane[lane] < best_lane[winner] or (
                        best_lane[lane] == best_lane[winner] and place_lane[lane] < place_lane[winner]
                    ):
                        winner = lane
                labels[first + j] = place_lane[winner]
                surrogates[first + j] = best_lane[winner]


@entry
def group_by_label(path, labels, offsets, order):
    """Stable counting sort: rows with label l are order[offsets[l]:offsets[l + 1]]; offsets comes filled with zeros."""
    for i in range(labels.shape[0]):
        offsets[labels[i] + 1] += 1
    for label in range(offsets.shape[0] - 1):
        offsets[label + 1] += offsets[label]
    for i in range(labels.shape[0]):
        label = labels[i]
        order[offsets[label]] = i
        offsets[label] += 1
    for label in range(offsets.shape[0] - 1, 0, -1):
        offsets[label] = offsets[label - 1]
    offsets[0] = 0


@entry
def cluster_sums(path, points, offsets, order, start, stop, sums):
    """sums (n_clusters, dim) float64 of the clusters start..stop-1, rows added in ascending order."""
    dim = points.shape[1]
    x, result = pointer(points), pointer(sums)
    whole = dim - dim % 8
    for label in range(start, stop):
        sum_of = result + label * dim
        for i in range(dim):
            sum_of[i] = 0.0
        for place in range(offsets[label], offsets[label + 1]):
            row = x + order[place] * dim
            for i in range(0, whole, 8):
                store(sum_of + i, load_eight(sum_of + i) + to_doubles(load_eight(row + i)))
            for i in range(whole, dim):
                sum_of[i] += row[i]
