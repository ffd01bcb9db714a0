"""Alpha-pruning: of many candidates for a node's links, few that lie in different directions.

The rule of Vamana (S. J. Subramanya et al., "DiskANN", NeurIPS 2019), from the nearest candidate on: it becomes a link
unless an earlier link is nearer to it, alpha times, than the node itself is. It is turned round here: a candidate that
becomes a link is compared with all later ones that still live, a register of them at a time, and kills. The links are
the same; a candidate that was killed costs nothing more.

In a ball of many dimensions the row in the middle is nearer to all others than these are to each other, and kills all
of them. So a node has half of its links at least, as long as there are candidates: the nearest of those that were
killed.

Candidates come as keys in ascending order, so ties go to the lower row. Distances are whole numbers, and alpha times
one of them is rounded once: the same links on every path and by any number of threads.
"""

from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.graphs.compare import LOW, NONE
from annlab.kernels.graphs.whole import MIDDLE, Rows, distances, products, signed
from annlab.kernels.simd.byte_vectors import ints_to_floats
from annlab.kernels.simd.path import REGISTER_BYTES, entry, inlined, kernel
from annlab.kernels.simd.registers import LANES, int_registers, load, pointer, pointers, prefetch, splat, store

MOST = 512
"""Candidates that a pruning looks at: the nearest ones."""
_WORD = 64
_SHORT = 40  # keys: fewer are sorted by insertion


class Near(NamedTuple):
    """Scratch of one thread: the candidates of one node, gathered. Made by `new_near`."""

    codes: Any  # (MOST + LANES, stride) uint8
    norms: Any  # (MOST + LANES,) int32
    far: Any  # (MOST + LANES,) float32: distances to the node
    dead: Any  # (words,) int64: bits
    own: Any  # (stride,) int8
    keys: Any  # (MOST + LANES,) uint64: the candidates
    kept: Any  # (degree,) int32: places of the links
    gaps: Any  # (MOST + LANES,) int32


def new_near(stride: int, degree: int) -> Near:
    """Scratch for rows of so many bytes."""
    n = MOST + LANES
    return Near(np.zeros((n, stride), np.uint8), np.zeros(n, np.int32), np.zeros(n, np.float32),
                np.zeros(n // _WORD + 2, np.int64), np.zeros(stride, np.int8), np.zeros(n, np.uint64),
                np.zeros(degree, np.int32), np.zeros(n, np.int32))  # fmt: skip


@kernel
def _gather(near, n, rows):
    for i in range(n):
        row = np.int64(near.keys[i] & LOW)
        for t in range(0, rows.stride, REGISTER_BYTES):
            store(near.codes + i * rows.stride + t, load(rows.codes + row * rows.stride + t))
        near.norms[i] = rows.norms[row]
        near.far[i] = np.float32(near.keys[i] >> np.uint64(32))
    for word in range(n // _WORD + 2):
        near.dead[word] = 0


@inlined
def _is_dead(near, i):
    return (near.dead[i // _WORD] >> np.int64(i % _WORD)) & 1 != 0


@kernel
def prune(near, n, degree, alpha, rows):
    """Links among the n candidates near.keys, ascending: near.kept receives their places; returns how many."""
    _gather(near, n, rows)
    block, sums = int_registers(LANES), int_registers(LANES)
    everyone = (1 << LANES) - 1
    kept = 0
    for i in range(n):
        if _is_dead(near, i):
            continue
        near.kept[kept] = i
        kept += 1
        if kept == degree:
            break
        signed(near.codes + i * rows.stride, rows.stride, near.own)
        row = np.int64(near.keys[i] & LOW)
        base = splat(np.int32(rows.norms[row] + 2 * MIDDLE * rows.sums[row]))
        for p in range((i + 1) // LANES * LANES, n, LANES):
            shift = np.int64(p % _WORD)
            if (near.dead[p // _WORD] >> shift) & everyone == everyone:
                continue
            dots = products(block, sums, near.codes + p * rows.stride, near.own, rows.stride)
            gaps = ints_to_floats(base + load(near.norms + p) - dots - dots)
            near.dead[p // _WORD] |= (gaps * splat(alpha) < load(near.far + p)) << shift
    return kept


@kernel
def fill_up(near, n, kept, wanted):
    """Add the nearest of n candidates to the `kept` ones until there are `wanted`, in their order; returns how many."""
    wanted = min(wanted, n)
    if kept >= wanted:
        return kept
    missing = wanted - kept
    for i in range(kept):  # make room: the places of the links move to the end
        near.kept[wanted - 1 - i] = near.kept[kept - 1 - i]
    at, chosen = 0, wanted - kept
    for i in range(n):
        if chosen < wanted and near.kept[chosen] == i:
            chosen += 1
        elif missing > 0:
            missing -= 1
        else:
            continue
        near.kept[at] = i
        at += 1
    return wanted


@kernel
def _fetch(rows, keys, n):
    for i in range(n):
        if keys[i] == NONE:
            break
        for t in range(0, rows.stride, 64):
            prefetch(rows.codes + np.int64(keys[i] & LOW) * rows.stride + t)


@entry
def prune_lists(path, rows: Rows, keys, start, stop, alpha, near: Near, links):
    """Links (n, degree) as keys, half of them at least, for the lists start..stop-1 of keys (n, keep), keep <= MOST."""
    _prune_lists(pointers(Rows(*rows)), pointer(keys), keys.shape[0], keys.shape[1], start, stop, alpha,
                 pointers(Near(*near)), pointer(links), links.shape[1])  # fmt: skip


@kernel
def _prune_lists(rows, keys, n, keep, start, stop, alpha, near, links, degree):
    for u in range(start, stop):
        if u + 1 < n:
            _fetch(rows, keys + (u + 1) * keep, keep)
        own, length = keys + u * keep, 0
        while length < keep and own[length] != NONE:
            near.keys[length] = own[length]
            length += 1
        kept = fill_up(near, length, prune(near, length, degree, alpha, rows), degree // 2)
        out = links + u * degree
        for i in range(kept):
            out[i] = near.keys[near.kept[i]]
        for i in range(kept, degree):
            out[i] = NONE


@kernel
def _choose(near, n, degree, alpha, rows, out):
    """Row numbers of a node's links: all candidates where they are few; else the pruned ones, then the nearest left."""
    kept = n
    if n <= degree:
        for i in range(n):
            out[i] = np.int32(near.keys[i] & LOW)
    else:
        kept = fill_up(near, n, prune(near, n, degree, alpha, rows), degree)
        for i in range(kept):
            out[i] = np.int32(near.keys[near.kept[i]] & LOW)
    for i in range(kept, degree):
        out[i] = -1


@kernel
def sort_keys(keys, length):
    """Sort the first keys of an array, ascending, and drop doubles; returns how many stay."""
    if length > _SHORT:
        keys[:length] = np.sort(keys[:length])
    else:
        for i in range(1, length):
            key, j = keys[i], i
            while j > 0 and keys[j - 1] > key:
                keys[j] = keys[j - 1]
                j -= 1
            keys[j] = key
    kept = 0
    for i in range(length):
        if kept == 0 or keys[i] != keys[kept - 1]:
            keys[kept] = keys[i]
            kept += 1
    return kept


@entry
def join(path, rows: Rows, own, first, back, offsets, start, stop, alpha, near: Near, candidates, links):
    """Links int32 (n, degree) of the nodes start..stop-1: own links and reverse ones, pruned again and filled up.

    own (n - first, degree) keys, of the nodes from `first` on; back and offsets: the reverse keys of every node;
    candidates: scratch, as long as the most reverse keys of a node and degree more.
    """
    degree = own.shape[1]
    r, work = pointers(Rows(*rows)), pointers(Near(*near))
    out = pointer(links)
    for u in range(start, stop):
        length = 0
        while length < degree and own[u - first, length] != NONE:
            candidates[length] = own[u - first, length]
            length += 1
        for i in range(offsets[u], offsets[u + 1]):
            candidates[length] = back[i]
            length += 1
        length = min(MOST, sort_keys(candidates, length))
        for i in range(length):
            work.keys[i] = candidates[i]
        _choose(work, length, degree, alpha, r, out + u * degree)


@kernel
def measure(near, n, u, rows):
    """Turn the row numbers in near.keys (n of them) into keys, by the distances to row u."""
    _gather(near, n, rows)
    signed(rows.codes + u * rows.stride, rows.stride, near.own)
    distances(near.codes, near.norms, n, near.own, rows.norms[u], rows.sums[u], rows.stride, near.gaps)
    for i in range(n):
        near.keys[i] = (np.uint64(near.gaps[i]) << np.uint64(32)) | near.keys[i]


@entry
def relink(path, rows: Rows, nodes, more, offsets, start, stop, alpha, near: Near, candidates, links):
    """Links (n, degree) int32 of nodes[start:stop], chosen anew among those that they have and more.

    Node i may also have more[offsets[i]:offsets[i + 1]]; these may be doubles, or the node itself. Links of -1 count as
    none, wherever they stand. candidates: scratch, as long as the most that a node may have.
    """
    r, work = pointers(Rows(*rows)), pointers(Near(*near))
    out, degree = pointer(links), links.shape[1]
    for t in range(start, stop):
        u, length = np.int64(nodes[t]), 0
        some = 0
        for i in range(degree):
            if links[u, i] >= 0:
                work.keys[some] = np.uint64(links[u, i])
                some += 1
        begin, end = offsets[t], offsets[t + 1]
        while some > 0 or begin < end:
            while begin < end and some < MOST:
                if more[begin] != u:
                    work.keys[some] = np.uint64(more[begin])
                    some += 1
                begin += 1
            measure(work, some, u, r)
            for i in range(some):
                candidates[length + i] = work.keys[i]
            length += some
            some = 0
        length = min(MOST, sort_keys(candidates, length))
        for i in range(length):
            work.keys[i] = candidates[i]
        _choose(work, length, degree, alpha, r, out + u * degree)
