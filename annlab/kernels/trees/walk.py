"""The way through a tree: which child is next.

*Depth first* visits the nearest child first and is done with a node once no child's bound is within the limit; it
needs a stack with one entry a level. *Best first* takes the nearest of all nodes seen so far, from a heap, and is used
where a search may visit a limited number of leaves only.

A child's *key* says both how near it is and which one it is: the bits of its bound, which as an integer are in the same
order as the bound (it is never negative), with the lowest four bits replaced by the child's number. So the smallest of
sixteen integers is the next child, keys are never equal, and a child that is done with is closed by one comparison.
Bits that are taken from a bound only lower it.

Most of a query's time is waiting: for memory, or for one step's result before the next step can begin. So sixteen
queries go down to their first leaf side by side, a level at a time: while one waits the others go on, and the next node
of each is asked for before it is needed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from annlab.kernels.simd.path import inlined
from annlab.kernels.simd.registers import first, prefetch, store
from annlab.kernels.simd.wide import (
    WIDTH,
    as_integers,
    lane_numbers,
    least,
    load_sixteen,
    lowest_lane,
    select,
    splat_sixteen,
)
from annlab.kernels.topk import push, sift_down
from annlab.kernels.trees.leaf import LEAF_ROWS
from annlab.kernels.trees.tree import MAX_HEIGHT, child_bounds, open_children, probe_at, tree_at

_LINE = 16  # floats that are fetched together
_CHILD_BITS, _BOUND_BITS, _CLOSED = np.int32(15), np.int32(-16), np.int32(2**31 - 1)
_ZERO, _LARGEST = np.float32(0), np.finfo(np.float32).max


@inlined
def child_keys(tree, probe, level, node):
    """The keys of a node's children; _CLOSED where there is none, or none with a row that may be found."""
    bounds = as_integers(child_bounds(tree, probe, tree.offsets[level] + node))
    keys = (bounds & splat_sixteen(_BOUND_BITS)) | lane_numbers()
    return select(open_children(tree, level, node), keys, splat_sixteen(_CLOSED))


@inlined
def key_of_limit(limit):
    """What no key of a child within the limit exceeds."""
    return lowest_lane(as_integers(splat_sixteen(limit))) | _CHILD_BITS


@inlined
def begin_at_root(tree, probe, scratch, place):
    """Put the root on the stack of the query at a place; returns its level."""
    level = tree.height - 1
    store(scratch.stack_keys + (place * MAX_HEIGHT + level) * WIDTH, child_keys(tree, probe, level, 0))
    scratch.stack_nodes[place * MAX_HEIGHT + level] = 0
    return level


@inlined
def ask_for(address, n):
    """Fetch n elements early."""
    for i in range(0, n, _LINE):
        prefetch(address + i)


@inlined
def descend_together(tree, scratch, n, stretch):
    """Fill the stacks of n queries on their way to the nearest leaf, a level of all of them after the other.

    The child that a query went to is closed on its stack, but for the leaf itself.
    """
    for place in range(n):
        scratch.stack_nodes[place * MAX_HEIGHT + tree.height - 1] = 0
    for level in range(tree.height - 1, -1, -1):
        for place in range(n):
            node = scratch.stack_nodes[place * MAX_HEIGHT + level]
            keys = child_keys(tree, probe_at(scratch, place, stretch, tree.dim), level, node)
            nearest = lowest_lane(least(keys))
            child = np.int64(nearest & _CHILD_BITS) if nearest != _CLOSED else 0
            if level > 0:
                keys = select(1 << child, splat_sixteen(_CLOSED), keys)
                scratch.stack_nodes[place * MAX_HEIGHT + level - 1] = node * WIDTH + child
                below = tree.offsets[level - 1] + node * WIDTH + child
                ask_for(tree.nodes + below * (tree.planes * WIDTH), tree.planes * WIDTH)
            else:
                leaf = (node * WIDTH + child) * LEAF_ROWS * tree.dim
                ask_for(tree.vectors + leaf, LEAF_ROWS * tree.dim)
            store(scratch.stack_keys + (place * MAX_HEIGHT + level) * WIDTH, keys)


def depth_first(visit_leaf: Callable[..., Any]) -> Callable[..., Any]:
    """A walk that visits the nearest child first.

    It begins at the level down to which the stack is filled, and returns the limit at the end.
    """

    @inlined
    def walk(tree, probe, collector, limit, scratch, place, level):
        stack_keys = scratch.stack_keys + place * (MAX_HEIGHT * WIDTH)
        stack_nodes = scratch.stack_nodes + place * MAX_HEIGHT
        keys, node, nodes = load_sixteen(stack_keys + level * WIDTH), stack_nodes[level], tree.height - level
        limit_key = key_of_limit(limit)
        while True:
            nearest = least(keys)
            key = lowest_lane(nearest)
            if key > limit_key:
                level += 1
                if level == tree.height:
                    break
                keys, node = load_sixteen(stack_keys + level * WIDTH), stack_nodes[level]
                continue
            child = np.int64(key & _CHILD_BITS)
            keys = select(keys == nearest, splat_sixteen(_CLOSED), keys)
            if level > 0:
                store(stack_keys + level * WIDTH, keys)
                stack_nodes[level] = node
                level -= 1
                node = node * WIDTH + child
                keys = child_keys(tree, probe, level, node)
                nodes += 1
            else:
                slot = (node * WIDTH + child) * LEAF_ROWS
                limit = visit_leaf(tree, probe, collector, slot, min(LEAF_ROWS, tree.n_slots - slot), limit)
                limit_key = key_of_limit(limit)
        collector.state[2] += nodes
        return limit

    return walk


def best_first(visit_leaf: Callable[..., Any]) -> Callable[..., Any]:
    """A walk over all trees that visits the nearest of all leaves and nodes seen, until its budget is spent."""

    @inlined
    def walk(forest, allowed, probe, collector, scratch, dim, budget):
        limit, size, leaves = _LARGEST, 0, 0
        bounds, places, capacity = budget.bounds, budget.places, budget.capacity
        for number in range(forest.n_trees):
            tree = tree_at(forest, number, allowed, scratch, dim)
            size = push(bounds, places, size, capacity, _ZERO, (number << 36) | (tree.height << 32))
        while size > 0 and leaves < budget.max_leaves:
            bound, place = -bounds[0], places[0]
            size -= 1
            sift_down(bounds, places, size, bounds[size], places[size])
            if not bound <= limit:
                break
            level, node = ((place >> 32) & 15) - 1, place & 0xFFFFFFFF
            tree = tree_at(forest, place >> 36, allowed, scratch, dim)
            if level < 0:
                slot = node * LEAF_ROWS
                limit = visit_leaf(tree, probe, collector, slot, min(LEAF_ROWS, tree.n_slots - slot), limit)
                leaves += 1
                continue
            of_children = child_bounds(tree, probe, tree.offsets[level] + node)
            mask = open_children(tree, level, node) & (of_children <= splat_sixteen(limit))
            store(scratch.values, of_children)
            collector.state[2] += 1
            while mask != 0 and size < capacity:
                child = first(mask)
                mask &= mask - 1
                place = (place >> 36 << 36) | (level << 32) | (node * WIDTH + child)
                size = push(bounds, places, size, capacity, -scratch.values[child], place)

    return walk
