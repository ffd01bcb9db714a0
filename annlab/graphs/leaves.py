"""Leaves that overlap, and the lists of nearest rows that come out of them.

*Leaders* are means of some rows (a sample, and two rounds of k-means). Every row goes to the `OVERLAP` leaders that are
nearest to it, and what went to one leader is a leaf: some hundred or thousand rows that lie together. In a leaf all
rows are compared with all, and a row's list holds the nearest ones of all its leaves. So of two rows that are near to
each other almost all pairs meet in one leaf or another, and the cost is OVERLAP * leaf_rows distances for each row,
which are computed in tiles, as products of matrices are.

After R. Wang et al., "PiPNN" (arXiv 2602.21247), without its last step.
"""

from typing import NamedTuple

import numpy as np

from annlab.common import pool
from annlab.common.progress import Progress
from annlab.graphs.whole import some_rows
from annlab.kernels.graphs import compare, lists
from annlab.kernels.graphs import whole as kernels
from annlab.kernels.graphs.compare import LOW, NONE, Asked, Leaf
from annlab.kernels.graphs.whole import Rows
from annlab.kernels.tile import QUERIES_IN_TILE

OVERLAP = 8
_LEAF_BYTES = 2**17  # of rows in a leaf: they stay in the second-level cache
_FEWEST, _MOST = 1000, 2000  # rows, whatever their dimension is
_LARGEST = 2.5  # times the usual rows: larger leaves are divided
_PER_LEADER = 24  # rows of the sample
_ROUNDS = 2
_AT_ONCE = 2**20  # keys of leaves that are compared before their lists are merged
_NOBODY = np.empty((0, 1), np.uint64)


def leaf_rows(dim: int) -> int:
    """About how many rows a leaf has: more in few dimensions, where comparing them costs less."""
    return max(_FEWEST, min(_MOST, _LEAF_BYTES // dim))


class Leaves(NamedTuple):
    """Leaf l has the rows members[offsets[l]:offsets[l + 1]], int32, ascending."""

    members: np.ndarray
    offsets: np.ndarray


def nearest_leaders(rows: Rows, which: np.ndarray, leaders: Rows, n_nearest: int, threads: int) -> np.ndarray:
    """The leaders (m, n_nearest) int32 that are nearest to some rows, ascending by (distance, leader)."""
    leaf = packed(leaders, np.arange(len(leaders.codes), dtype=np.int32))
    return (nearest_in(leaf, rows, which, n_nearest, threads) & LOW).astype(np.int32)


def packed(rows: Rows, ids: np.ndarray) -> tuple[Leaf, np.ndarray]:
    """Some rows, ready to be compared with, and which they are."""
    leaf = compare.new_leaf(len(ids), rows.dim)
    compare.pack(rows, ids, leaf)
    return leaf, ids


def nearest_in(leaf: tuple[Leaf, np.ndarray], rows: Rows, which: np.ndarray, n_nearest: int,
               threads: int) -> np.ndarray:  # fmt: skip
    """Keys (m, n_nearest) of the rows of a leaf that are nearest to the rows `which`; there must be so many."""
    panels, ids = leaf
    result = np.empty((len(which), n_nearest), np.uint64)
    counts, nowhere = np.empty(len(which), np.int32), np.full(len(which), -1, np.int32)

    def work(start: int, stop: int) -> None:
        room = compare.new_room(rows.dim, n_nearest)
        asked = Asked(which, nowhere, ids, nowhere, _NOBODY, n_nearest, False)
        for first, last in pool.portions(start, stop, len(ids) * rows.dim / 16, QUERIES_IN_TILE):
            compare.compare(rows, panels, asked, first, last, room, result, counts)

    pool.run(work, pool.split(0, len(which), threads, QUERIES_IN_TILE), threads)
    return result


def find_leaders(rows: Rows, which: np.ndarray, n_leaders: int, rng: np.random.Generator, threads: int) -> Rows:
    """Means of groups of the rows `which` (distinct int32, at least n_leaders): two rounds of k-means of a sample."""
    some = rng.choice(which, min(len(which), _PER_LEADER * n_leaders), replace=False)
    some.sort()
    leaders = some_rows(rows, np.sort(rng.choice(some, n_leaders, replace=False)))
    for _ in range(_ROUNDS):
        grouped = group(nearest_leaders(rows, some, leaders, 1, threads), n_leaders)
        members = some[grouped.members]

        def work(start: int, stop: int, members: np.ndarray = members, offsets: np.ndarray = grouped.offsets,
                 leaders: Rows = leaders) -> None:  # fmt: skip
            for first, last in pool.portions(start, stop, 2 * members.size / n_leaders * rows.stride):
                kernels.means(rows, members, offsets, first, last, *leaders[:3])

        pool.run(work, pool.split(0, n_leaders, threads), threads)
    return leaders


def group(assigned: np.ndarray, n_groups: int) -> Leaves:
    """The rows of every group, ascending, where row i belongs to the groups assigned[i]."""
    sizes = np.zeros(n_groups, np.int64)
    for start, stop in pool.portions(0, len(assigned), assigned.shape[1]):
        lists.count_members(assigned, start, stop, sizes)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    members, at = np.empty(offsets[-1], np.int32), offsets[:-1].copy()
    for start, stop in pool.portions(0, len(assigned), 4 * assigned.shape[1]):
        lists.place_members(assigned, start, stop, at, members)
    return Leaves(members, offsets)


def divide(rows: Rows, leaves: Leaves, rng: np.random.Generator, threads: int) -> Leaves:
    """The same leaves, but those that are much too large in parts, by leaders of their own; none of a single row."""
    parts, largest = list[np.ndarray](), int(_LARGEST * leaf_rows(rows.dim))
    for begin, end in zip(leaves.offsets[:-1], leaves.offsets[1:], strict=True):
        whole = leaves.members[begin:end]
        if len(whole) <= largest:
            parts.append(whole)
            continue
        n_parts = round(len(whole) / leaf_rows(rows.dim))
        leaders = find_leaders(rows, whole, n_parts, rng, threads)
        inner = group(nearest_leaders(rows, whole, leaders, 1, threads), n_parts)
        for first, last in zip(inner.offsets[:-1], inner.offsets[1:], strict=True):
            some = whole[inner.members[first:last]]  # of equal rows all have the same leader: these are cut anyhow
            parts += [some[at : at + largest] for at in range(0, len(some), largest)]
    parts = [part for part in parts if len(part) > 1]
    offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    return Leaves(np.concatenate(parts) if parts else np.empty(0, np.int32), offsets)


def fewer(leaves: Leaves, stays: np.ndarray) -> Leaves:
    """The leaves without some rows, bool (n,); the others are numbered anew, in the same order."""
    kept, numbers = stays[leaves.members], (np.cumsum(stays) - 1).astype(np.int32)
    return Leaves(numbers[leaves.members[kept]], np.concatenate([[0], np.cumsum(kept)])[leaves.offsets])


def nearest_lists(rows: Rows, leaves: Leaves, which: np.ndarray, keep: int, threads: int,
                  progress: Progress) -> np.ndarray:  # fmt: skip
    """Keys of the nearest rows in all their leaves, of the rows `which` (m,) int32, ascending.

    (m, keep) uint64, ascending, NONE behind the last.
    """
    keys = np.empty((len(which), keep), np.uint64)
    for start, stop in pool.portions(0, len(keys), keep):
        keys[start:stop] = NONE
    slots = np.full(len(rows.codes), -1, np.int32)
    slots[which] = np.arange(len(which), dtype=np.int32)
    n_leaves, begin = len(leaves.offsets) - 1, 0
    while begin < n_leaves:
        end = int(np.searchsorted(leaves.offsets, leaves.offsets[begin] + _AT_ONCE // keep, "right")) - 1
        end = min(n_leaves, max(begin + 1, end))
        some = Leaves(leaves.members[leaves.offsets[begin] : leaves.offsets[end]],
                      leaves.offsets[begin : end + 1] - leaves.offsets[begin])  # fmt: skip
        _compare_leaves(rows, some, slots, keys, threads)
        begin = end
        progress("comparing leaves", begin / n_leaves)
    return keys


def _compare_leaves(rows: Rows, leaves: Leaves, slots: np.ndarray, keys: np.ndarray, threads: int) -> None:
    """Compare some leaves, each into a place of its own, then merge what was found into the lists, by their owners."""
    keep = keys.shape[1]
    asks = slots[leaves.members] >= 0
    offsets = np.concatenate([[0], np.cumsum(asks)])[leaves.offsets]
    asking = leaves.members[asks]
    asking_slots = slots[asking]
    found, counts = np.empty((len(asking), keep), np.uint64), np.empty(len(asking), np.int32)

    def compare_one(leaf: int) -> None:
        first, last = offsets[leaf : leaf + 2]
        if first == last:
            return
        at = slice(leaves.offsets[leaf], leaves.offsets[leaf + 1])
        panels, ids = packed(rows, leaves.members[at])
        places = np.flatnonzero(asks[at]).astype(np.int32)
        asked = Asked(asking[first:last], places, ids, asking_slots[first:last], keys, keep, True)
        room = compare.new_room(rows.dim, keep)
        for start, stop in pool.portions(0, len(places), len(ids) * rows.dim / 16, QUERIES_IN_TILE):
            compare.compare(rows, panels, asked, start, stop, room, found[first:last], counts[first:last])

    def merge(start: int, stop: int) -> None:
        lists.merge_lists(keys, start, stop, asking_slots, offsets, found, counts)

    pool.run(compare_one, [(leaf,) for leaf in range(len(leaves.offsets) - 1)], threads)
    pool.run(merge, pool.split(0, len(keys), threads), threads)
