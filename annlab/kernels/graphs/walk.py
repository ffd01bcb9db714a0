"""The walk: from an entry of the graph to the nodes nearest to a query, by way of the nearest one not yet opened.

To *open* a node is to compare its neighbours with the query. The page `vamana.py` has the search in a dozen lines;
here is what makes it fast. Two thirds of a plain walk are spent waiting for memory, so nothing is needed before it was
asked for in time:

    round r     the links of the node that was chosen in round r - 1 are read, its unseen neighbours listed, and their
                codes asked for
                the nearest open node is chosen, and its links are asked for
                the neighbours that were listed in round r - 1 are compared, LANES at a time

Choices are a round old, which costs a few more nodes and saves the wait. What is compared goes to the nearest so far
(`walk_best.py`) and to the open nodes (`walk_open.py`).

The walk ends when no open node is within `bound`: `reach` times the distance of the k-th nearest so far (adaptive beam
search, arXiv 2505.15636), and something for what codes cannot tell. Then the other entries get their turn that are
within the bound and were not seen, so that every node can be found of which there is a way from any entry.

Nodes that may not be returned (removed, or filtered away) are walked through like others: only they are no results.
Where nearly all that a walk opens are such, it is among rows that a filter excludes as a whole, and soon gives up.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.graphs.walk_best import insert
from annlab.kernels.graphs.walk_open import NEAR, ROOM, Open, append, divide, nearest_of, refill, take_nearest
from annlab.kernels.graphs.walk_rows import LINE_FLOATS
from annlab.kernels.simd.folding import QUARTER
from annlab.kernels.simd.path import inlined
from annlab.kernels.simd.registers import LANES, first, floats_of, load, prefetch, splat, store

_INFINITY, _NOBODY = np.float32(np.inf), np.int32(-1)
_ONE = np.int64(1)


class Nodes(NamedTuple):
    """A graph to walk through: arrays in Python, pointers inside."""

    blocks: Any  # int32 (n_nodes, 2 degree): links, -1 behind them, then the bits of the norms of these neighbours
    rows: Any  # uint8 or float32 (n_nodes, stride): codes or points
    entries: Any  # int32 (n_entries,)
    entry_rows: Any  # like rows, (n_entries and more, stride)
    entry_norms: Any  # float32, infinite behind the last
    offsets: Any  # int64 (n_nodes + 1,): the vectors of every node; read if has_offsets
    has_offsets: bool
    degree: int
    stride: int
    n_entries: int


class Scratch(NamedTuple):
    """Room for one walk at a time. Made by `new_scratch`."""

    seen: Any  # int64 words of bits (n_nodes,), all zero between walks
    trail: Any  # int32: which nodes were seen
    open: Open
    listed: Any  # int32, two lists of neighbours, each of `side` elements
    norms: Any  # float32, the same
    best: Any  # float32, whole registers
    best_nodes: Any  # int32
    entry_distances: Any  # float32
    side: int


class Wanted(NamedTuple):
    """What a search asks for: the same for all of its queries."""

    k: int
    keep: int  # nodes to be kept, whole registers of them
    deciding: int  # of these, at most: nodes whose vectors decide
    most: int  # nodes to open before giving up
    alive: Any  # uint64 words of bits of the nodes with an allowed row, read if has_alive
    has_alive: bool
    gamma: float  # reach squared
    slack: float  # squared distance that codes cannot tell
    patience: int  # with alive: nodes to open before giving up where
    fewest: int  # fewer than so many of these may be returned


def new_scratch(n_nodes: int, degree: int, n_entries: int, keep: int, most: int) -> Scratch:
    """Room for walks that open at most so many nodes."""
    seen = min(n_nodes, most * degree) + n_entries + 2 * LANES
    side = -(-degree // LANES) * LANES + LANES
    near, pile = NEAR + degree + ROOM, seen + ROOM + degree
    longest = max(near, pile) + 2 * ROOM
    floats, ints = np.float32, np.int32
    lists = Open(np.empty(near, floats), np.empty(near, ints), np.empty(pile, floats), np.empty(pile, ints),
                 np.empty(longest, floats), np.empty(longest, floats))  # fmt: skip
    return Scratch(np.zeros(n_nodes // 64 + 1, np.int64), np.empty(seen, ints), lists, np.zeros(2 * side, ints),
                   np.empty(2 * side, floats), np.empty(keep + LANES, floats), np.empty(keep + LANES, ints),
                   np.empty(n_entries + 2 * LANES, floats), side)  # fmt: skip


class Progress(NamedTuple):
    """Where a walk is: how many elements its lists have, and up to which distance nodes are worth opening."""

    n_seen: Any
    n_near: Any
    n_far: Any
    bound: Any
    pivot: Any


@inlined
def _see(room, node, n_seen):
    """Note that a node was seen; returns 1 if it was not before, and how many were seen."""
    word, bit = room.seen[node >> 6], _ONE << (node & 63)
    room.trail[n_seen] = np.int32(node)
    room.seen[node >> 6] = word | bit
    new = 1 if word & bit == 0 else 0
    return new, n_seen + new


@inlined
def _ask_for_links(nodes, node):
    block = nodes.blocks + node * 2 * nodes.degree
    for line in range(0, 2 * nodes.degree, LINE_FLOATS):
        prefetch(block + line)


@inlined
def _forget(room, n_seen):
    """Make `seen` all zero again."""
    for z in range(n_seen):
        room.seen[np.int64(room.trail[z]) >> 6] = 0


@inlined
def _find_nothing(room, wanted):
    """Where a walk begins: nothing is found or open yet."""
    for i in range(0, wanted.keep, LANES):
        store(room.best + i, splat(_INFINITY))
        store(room.best_nodes + i, splat(_NOBODY))
    store(room.open.near, splat(_INFINITY))


@inlined
def _choose(open, at):
    """The nearest open node within the bound, or -1, and what is left."""
    n_near, n_far, pivot = at.n_near, at.n_far, at.pivot
    node, n_near = take_nearest(open, n_near, at.bound)
    if node < 0 and n_far > 0:
        n_near, n_far, pivot = refill(open, n_far, at.bound)
        node, n_near = take_nearest(open, n_near, at.bound)
    return node, Progress(at.n_seen, n_near, n_far, at.bound, pivot)


@inlined
def fill_up(listed, norms, length):
    """Whole registers of nodes: behind the last one, others that are infinitely far away."""
    for z in range(length, -(-length // LANES) * LANES):
        listed[z], norms[z] = 0, _INFINITY


@inlined
def _is_alive(wanted, node):
    return (np.int64(wanted.alive[node >> 6]) >> (node & 63)) & 1


@inlined
def _offer(room, wanted, lane, distances, listed, at):
    """LANES nodes and their distances are offered to the nearest so far, and to the open ones."""
    best, last, bound = room.best, wanted.keep - 1, at.bound
    better = distances < splat(best[last])
    if better != 0:
        store(lane, distances)
        while better != 0:
            z = first(better)
            better &= better - 1
            node, distance = listed[z], lane[z]
            if distance < best[last]:
                if wanted.has_alive == 0 or _is_alive(wanted, np.int64(node)) != 0:
                    insert(best, room.best_nodes, wanted.keep, distance, node)
        kth = best[wanted.k - 1]
        bound = max(kth, kth * np.float32(wanted.gamma)) + np.float32(wanted.slack)
    n_near, n_far = append(room.open, at.n_near, at.n_far, distances, load(listed), bound, at.pivot)
    return Progress(at.n_seen, n_near, n_far, bound, at.pivot)


@inlined
def _list_entries(nodes, room, side, at):
    """List entries within the bound that were not seen: when no open node is left, they get their turn."""
    fresh, listed, n_seen = 0, room.listed + side * room.side, at.n_seen
    norms = room.norms + side * room.side
    for e in range(nodes.n_entries):
        if room.entry_distances[e] < at.bound and fresh < nodes.degree:
            listed[fresh], norms[fresh] = nodes.entries[e], nodes.entry_norms[e]
            new, n_seen = _see(room, np.int64(nodes.entries[e]), n_seen)
            fresh += new
    fill_up(listed, norms, fresh)
    return fresh, n_seen


def walking(registers: Callable[..., Any], compare: Callable[..., Any],
            ask_for: Callable[..., Any]) -> Callable[..., Any]:  # fmt: skip
    """A walk over nodes whose rows are of one kind."""

    @inlined
    def list_unseen(nodes, room, side, node, n_seen):
        """List the neighbours of a node that were not seen, and ask for them; returns how many, and how many were."""
        links = nodes.blocks + node * 2 * nodes.degree
        norms, fresh, listed = floats_of(links + nodes.degree), 0, room.listed + side * room.side
        beside = room.norms + side * room.side
        for j in range(nodes.degree):  # without a branch on "seen", which would be a coin toss
            neighbour = np.int64(links[j])
            if neighbour < 0:
                break
            listed[fresh], beside[fresh] = np.int32(neighbour), norms[j]
            new, n_seen = _see(room, neighbour, n_seen)
            fresh += new
        for z in range(fresh):
            ask_for(nodes.rows, np.int64(listed[z]), nodes.stride)
        fill_up(listed, beside, fresh)
        return fresh, n_seen

    @inlined
    def enter(nodes, room, wanted, asking, hidden, block, sums):
        """The distances of all entries; returns which is the nearest."""
        listed, padded = room.listed, -(-nodes.n_entries // LANES) * LANES
        for start in range(0, padded, LANES):
            for z in range(LANES):
                listed[z] = np.int32(start + z)
            distances = compare(block, sums, nodes.entry_rows, listed, nodes.entry_norms + start, nodes.stride, asking)
            store(room.entry_distances + start, distances)
        if hidden >= 0:
            for e in range(nodes.n_entries):
                if np.int64(nodes.entries[e]) == hidden:
                    room.entry_distances[e] = _INFINITY
        return nearest_of(room.entry_distances, nodes.n_entries)[0]

    @inlined
    def walk(nodes, room, wanted, asking, hidden, lane):
        """Fill `best` with the nearest nodes; returns how many were seen and opened, and whether it gave up.

        hidden: a node that is not to be seen, or -1.
        """
        block, sums = registers(LANES), registers(QUARTER)
        _find_nothing(room, wanted)
        place = enter(nodes, room, wanted, asking, hidden, block, sums)
        room.listed[room.side], room.norms[room.side] = nodes.entries[place], nodes.entry_norms[place]
        fill_up(room.listed + room.side, room.norms + room.side, 1)
        _, n_seen = _see(room, np.int64(nodes.entries[place]), 0)
        if hidden >= 0:
            _, n_seen = _see(room, hidden, n_seen)
        at = Progress(n_seen, 0, 0, _INFINITY, _INFINITY)
        node, waiting, side, opened, welcome = np.int64(-1), 1, 0, 0, 0
        while True:
            fresh = 0
            if node >= 0:
                if opened == wanted.most:
                    break
                opened += 1
                if wanted.has_alive != 0:
                    welcome += _is_alive(wanted, node)
                    if opened == wanted.patience and welcome < wanted.fewest:
                        break
                fresh, n_seen = list_unseen(nodes, room, side, node, at.n_seen)
                at = Progress(n_seen, at.n_near, at.n_far, at.bound, at.pivot)
            node, at = _choose(room.open, at)
            if node >= 0:
                _ask_for_links(nodes, node)
            side = 1 - side
            compared, waiting = waiting, fresh
            for start in range(side * room.side, side * room.side + compared, LANES):
                distances = compare(block, sums, nodes.rows, room.listed + start, room.norms + start, nodes.stride,
                                    asking)  # fmt: skip
                at = _offer(room, wanted, lane, distances, room.listed + start, at)
            store(room.open.near + at.n_near, splat(_INFINITY))
            if at.n_near > NEAR:
                n_near, n_far, pivot = divide(room.open, at.n_near, at.n_far, at.bound)
                at = Progress(at.n_seen, n_near, n_far, at.bound, pivot)
            if node < 0 and waiting == 0:  # nothing is under way
                node, at = _choose(room.open, at)
                if node < 0:
                    waiting, n_seen = _list_entries(nodes, room, 1 - side, at)
                    at = Progress(n_seen, at.n_near, at.n_far, at.bound, at.pivot)
                    if waiting == 0:
                        break
        _forget(room, at.n_seen)
        return at.n_seen, opened, node >= 0

    return walk
