"""The nodes that are still to be opened: few near ones, of which the nearest is wanted, and a pile of far ones.

A walk appends ten nodes for every one that it takes out, and most of them it never takes. So nothing is sorted. New
nodes are appended by compressed stores, and the nearest is found by looking at all. That is quick while they are few;
so there are two lists: whatever is beyond a *pivot* goes to the pile, which is looked at only when the near list has
run empty, or moved to when it has grown too long. Then the pivot changes, and each change pays for itself by the nodes
that can be taken without another.

What lies in the near list is never farther away than what lies in the pile, so nodes are taken in order of distance.
Both lists are followed by a register of infinities.
"""

from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.simd.path import inlined, kernel
from annlab.kernels.simd.registers import LANES, count, first, load, smaller, splat, store, store_compressed
from annlab.kernels.simd.wide import lowest_lane, minimum
from annlab.kernels.topk import kth_smallest

NEAR = 192  # nodes in the near list, at most, between two steps
_WANTED = 64  # nodes that come from the pile at once, and that stay when the near list is divided
ROOM = 4 * LANES
_INFINITY = np.float32(np.inf)


class Open(NamedTuple):
    """Both lists, pointers to distances and nodes, and scratch as long as the pile to find a pivot."""

    near: Any  # float32 (NEAR + degree + ROOM,)
    near_nodes: Any  # int32
    far: Any  # float32 (nodes that a walk can see + ROOM,)
    far_nodes: Any
    low: Any  # float32, as long as the pile or the near list, and ROOM
    high: Any


@inlined
def append(open, n_near, n_far, distances, nodes, bound, pivot):
    """Append those of a register of nodes that are below the bound; returns the lengths of the lists."""
    near = distances < splat(min(bound, pivot))
    store_compressed(open.near + n_near, distances, near)
    store_compressed(open.near_nodes + n_near, nodes, near)
    n_near += count(near)
    if pivot < bound:
        far = (distances < splat(bound)) & ~near
        if far != 0:
            store_compressed(open.far + n_far, distances, far)
            store_compressed(open.far_nodes + n_far, nodes, far)
            n_far += count(far)
    return n_near, n_far


@inlined
def nearest_of(distances, n):
    """The place of the smallest of n >= 1 distances, and that one. Infinities fill their last register."""
    smallest = load(distances)
    for p in range(LANES, n, LANES):
        smallest = smaller(load(distances + p), smallest)
    smallest, place = minimum(smallest), np.int64(0)
    for p in range(0, n, LANES):
        here = load(distances + p) == smallest
        if here != 0:
            place = p + first(here)
            break
    return place, lowest_lane(smallest)


@inlined
def take_nearest(open, n_near, bound):
    """The nearest node of the near list, taken out; -1 if none is below the bound. Returns it, and the new length."""
    if n_near == 0:
        return np.int64(-1), n_near
    distances = open.near
    place, smallest = nearest_of(distances, n_near)
    if smallest >= bound:
        return np.int64(-1), n_near
    node = np.int64(open.near_nodes[place])
    n_near -= 1
    distances[place], open.near_nodes[place] = distances[n_near], open.near_nodes[n_near]
    distances[n_near] = _INFINITY
    return node, n_near


@kernel
def divide(open, n_near, n_far, bound):
    """The near list is too long: what is beyond the bound is forgotten, and most of the rest goes to the pile.

    Returns both lengths and the new pivot.
    """
    pivot = min(bound, kth_smallest(open.near, n_near, _WANTED, open.low, open.high))
    kept = 0
    for p in range(0, n_near, LANES):
        values, nodes = load(open.near + p), load(open.near_nodes + p)
        near, far = values < splat(pivot), values < splat(bound)
        far &= ~near & ((1 << min(LANES, n_near - p)) - 1)
        store_compressed(open.far + n_far, values, far)
        store_compressed(open.far_nodes + n_far, nodes, far)
        n_far += count(far)
        store_compressed(open.near + kept, values, near)
        store_compressed(open.near_nodes + kept, nodes, near)
        kept += count(near)
    store(open.near + kept, splat(_INFINITY))
    return kept, n_far, pivot


@kernel
def refill(open, n_far, bound):
    """The near list is empty: the nearest of the pile move there, and what is beyond the bound is forgotten.

    Returns both lengths and the new pivot, infinite where nothing is left in the pile.
    """
    pivot = _INFINITY
    if n_far > _WANTED:
        pivot = np.nextafter(kth_smallest(open.far, n_far, _WANTED, open.low, open.high), _INFINITY)
    n_near, kept = 0, 0
    for p in range(0, n_far, LANES):
        values, nodes = load(open.far + p), load(open.far_nodes + p)
        there = (1 << min(LANES, n_far - p)) - 1
        near = (values < splat(pivot)) & (values < splat(bound)) & there
        if n_near + LANES > NEAR:  # many of one distance: the others wait
            near = 0
        far = (values < splat(bound)) & there & ~near
        store_compressed(open.far + kept, values, far)  # never ahead of what was read
        store_compressed(open.far_nodes + kept, nodes, far)
        kept += count(far)
        store_compressed(open.near + n_near, values, near)
        store_compressed(open.near_nodes + n_near, nodes, near)
        n_near += count(near)
    store(open.near + n_near, splat(_INFINITY))
    return n_near, kept, pivot
