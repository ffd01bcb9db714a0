"""Building a tree with sixteen children a node: four halvings a level, each a quickselect on vectors.

The rows are worked on as *planes*: one float32 array per coordinate, and one of row numbers, in which all rows of a
subtree are neighbours. To halve a range of rows means to find its median by one plane and to move the rows below it to
the front, in all planes. As in `kernels/topk.py` a register of rows is compared with the pivot at once, and its lanes
are written to two places by compressed stores: to the front of the range itself, and to a spare range that is copied
behind them.

Ranges are cut at multiples of a subtree's size, so all leaves but the last are full, a node's place follows from its
number, and nothing but the bounds has to be stored.

A box tree cuts along the coordinate in which the rows extend furthest; a ball tree along the line between two rows that
are far apart, by the projections onto it, which stand in a plane of their own.
"""

from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import COSINE, inverse_norm
from annlab.kernels.simd.path import entry, kernel
from annlab.kernels.simd.registers import (
    LANES,
    count,
    larger,
    load,
    pointer,
    pointers,
    prefetch,
    smaller,
    splat,
    store,
    store_compressed,
)
from annlab.kernels.simd.wide import WIDTH, lowest_lane, minimum
from annlab.kernels.topk import PADDING, kth_smallest
from annlab.kernels.trees.leaf import LEAF_ROWS
from annlab.kernels.trees.tree import BOX

_SAMPLE = 256  # rows by which a direction or a pivot is chosen
SAMPLED = 3 * (_SAMPLE + PADDING)
BLOCK = 64  # rows that are turned at a time, so that they stay in the first cache
_WORK = 2**24  # coordinates of rows that were halved: some hundredths of a second
_TURNS = 2  # of the power method
_SMALL = 128  # rows up to which the median is found by counting
_ZERO, _INFINITY = np.float32(0), np.float32(np.inf)


class Work(NamedTuple):
    """The rows as they are ordered, and scratch of the same shape. Made by `new_work`."""

    planes: Any  # (n_planes, stride) float32, stride = n + PADDING; one more than coordinates for balls
    numbers: Any  # (stride,) int32
    spare: Any  # as planes, PADDING longer
    spare_numbers: Any  # as numbers, PADDING longer
    saved: Any  # a register for every plane
    saved_numbers: Any
    sampled: Any  # (SAMPLED,) float32
    n_planes: int
    stride: int


def new_work(n: int, n_planes: int) -> Work:
    """Arrays to order n rows in."""
    return Work(
        np.empty((n_planes, n + PADDING), np.float32), np.empty(n + PADDING, np.int32),
        np.empty((n_planes, n + 2 * PADDING), np.float32), np.empty(n + 2 * PADDING, np.int32),
        np.empty(n_planes * PADDING, np.float32), np.empty(PADDING, np.int32), np.empty(SAMPLED, np.float32),
        n_planes, n + PADDING,
    )  # fmt: skip


@kernel
def partition(work, key, low, high, value, also_equal):
    """Move the rows low..high-1 whose key is below `value` (or equal) to the front, in all planes; returns their end.

    Rows behind `high` up to a register are overwritten: `split_at` restores them.
    """
    planes, numbers, spare, spare_numbers = work.planes, work.numbers, work.spare, work.spare_numbers
    stride, n_planes = work.stride, work.n_planes
    front, n_spare = low, 0
    for i in range(low, high, LANES):
        lanes = (1 << min(LANES, high - i)) - 1
        keys = load(key + i)
        below = ((keys <= splat(value)) if also_equal != 0 else (keys < splat(value))) & lanes
        above = lanes ^ below
        for j in range(n_planes):
            x = load(planes + j * stride + i)
            store_compressed(planes + j * stride + front, x, below)
            store_compressed(spare + j * stride + n_spare, x, above)
        x = load(numbers + i)
        store_compressed(numbers + front, x, below)
        store_compressed(spare_numbers + n_spare, x, above)
        front += count(below)
        n_spare += count(above)
    for j in range(n_planes):
        target, source = planes + j * stride + front, spare + j * stride
        for i in range(0, n_spare, LANES):
            store(target + i, load(source + i))
    for i in range(0, n_spare, LANES):
        store(numbers + front + i, load(spare_numbers + i))
    return front


@kernel
def split_at(work, key, low, high, value, also_equal):
    """`partition` that leaves the rows behind `high` as they are."""
    for j in range(work.n_planes):
        store(work.saved + j * LANES, load(work.planes + j * work.stride + high))
    store(work.saved_numbers, load(work.numbers + high))
    front = partition(work, key, low, high, value, also_equal)
    for j in range(work.n_planes):
        store(work.planes + j * work.stride + high, load(work.saved + j * LANES))
    store(work.numbers + high, load(work.saved_numbers))
    return front


@kernel
def value_of_rank(key, low, high, rank):
    """The value that `rank` of the rows low..high-1 are below, or equal to: by counting, for few rows.

    Each count narrows the interval in which the value lies, so after a few of them most rows need none.
    """
    least, most = -_INFINITY, _INFINITY
    for a in range(low, high):
        value = key[a]
        if not least < value < most:
            continue
        n_below, n_equal = 0, 0
        for i in range(low, high, LANES):
            lanes = (1 << min(LANES, high - i)) - 1
            x = load(key + i)
            n_below += count((x < splat(value)) & lanes)
            n_equal += count((x == splat(value)) & lanes)
        if rank < n_below:
            most = value
        elif rank < n_below + n_equal:
            return value
        else:
            least = value
    return key[low]  # only if there is a NaN, which nobody lets in


@kernel
def halve(work, key, low, high, target):
    """Order the rows low..high-1 so that no key in front of `target` is larger than one behind it."""
    sample = work.sampled
    while high - low > 1:
        n = high - low
        if n <= _SMALL:
            pivot = value_of_rank(key, low, high, target - low)
        else:  # from a sample, on the far side of the target, so that what remains is small
            size = _SAMPLE if n > 65536 else (64 if n > 4096 else 32)
            for i in range(size):
                sample[i] = key[low + (n * (2 * i + 1)) // (2 * size)]
            share = (target - low) / n
            margin = 0.7 * np.sqrt(size * share * (1.0 - share)) + 0.5 if n >= 8 * size else 0.0
            place = share * size + (margin if share < 0.5 else -margin)
            rank = min(max(int(place), 0), size - 1) + 1
            pivot = kth_smallest(sample, size, rank, sample + _SAMPLE + PADDING, sample + 2 * (_SAMPLE + PADDING))
        front = split_at(work, key, low, high, pivot, 0)
        if target < front:
            high = front
        elif target == front:
            return
        else:
            if front == low or n <= _SMALL:  # the pivot is the smallest, or the median: set its copies apart
                end = split_at(work, key, front, high, pivot, 1)
                if target <= end or end == front:
                    return
                front = end
            low = front


@kernel
def extent(plane, low, high):
    """The smallest and the largest value of a plane's rows low..high-1."""
    smallest, largest = splat(_INFINITY), splat(-_INFINITY)
    i = low
    while i + LANES <= high:
        x = load(plane + i)
        smallest, largest = smaller(x, smallest), larger(x, largest)
        i += LANES
    least, most = lowest_lane(minimum(smallest)), -lowest_lane(minimum(splat(_ZERO) - largest))
    while i < high:
        least, most = min(least, plane[i]), max(most, plane[i])
        i += 1
    return least, most


@kernel
def widest_plane(planes, stride, dim, low, high):
    """The coordinate in which the rows low..high-1 extend furthest, judged by a sample of many rows."""
    best, widest = 0, _ZERO
    step = (high - low) // _SAMPLE
    for j in range(dim):
        plane = planes + j * stride
        if step < 4:
            least, most = extent(plane, low, high)
        else:
            least, most = plane[low], plane[low]
            for i in range(low, high, step):
                least, most = min(least, plane[i]), max(most, plane[i])
        if most - least > widest:
            best, widest = j, most - least
    return best


@kernel
def farthest_row(planes, stride, dim, low, high, step, row):
    """Of every step-th row the one farthest from a row."""
    best, farthest = low, _ZERO
    for i in range(low, high, step):
        squared = _ZERO
        for j in range(dim):
            difference = planes[j * stride + i] - planes[j * stride + row]
            squared += difference * difference
        if squared > farthest:
            best, farthest = i, squared
    return best


@kernel
def project(planes, stride, dim, low, high, key, direction):
    """Fill the plane `key` with projections onto the line along which the rows extend furthest.

    At first that between two rows that are far apart; two steps of the power method turn it towards the principal
    direction, by a sample of many rows.
    """
    step = max(1, (high - low) // _SAMPLE)
    one = farthest_row(planes, stride, dim, low, high, step, low)
    other = farthest_row(planes, stride, dim, low, high, step, one)
    for j in range(dim):
        direction[j] = planes[j * stride + other] - planes[j * stride + one]
    for turn in range(_TURNS + 1):
        every = step if turn < _TURNS else 1
        for i in range(low, high, every):
            key[i] = _ZERO
        for j in range(dim):
            plane = planes + j * stride
            for i in range(low, high, every):
                key[i] += direction[j] * plane[i]
        if turn == _TURNS:
            return
        mean, n = 0.0, 0
        for i in range(low, high, every):
            mean += key[i]
            n += 1
        mean /= n
        largest = 0.0
        for j in range(dim):
            plane, total = planes + j * stride, 0.0
            for i in range(low, high, every):
                total += (key[i] - mean) * plane[i]
            direction[dim + j] = np.float32(total)
            largest = max(largest, abs(total))
        if not 0.0 < largest < np.inf:
            continue
        for j in range(dim):
            direction[j] = np.float32(direction[dim + j] / largest)


@kernel
def write_box(planes, stride, dim, low, high, exact, node, child):
    """Write a child's box: its extent, widened by a rounding where planes are rounded."""
    for j in range(dim):
        least, most = extent(planes + j * stride, low, high)
        if not exact:
            least, most = np.nextafter(least, -_INFINITY), np.nextafter(most, _INFINITY)
        node[2 * j * WIDTH + child] = least
        node[(2 * j + 1) * WIDTH + child] = most


@kernel
def write_ball(planes, stride, dim, low, high, exact, node, child, squares):
    """Write a child's ball about its mean; the radius is rounded up."""
    for i in range(high - low):
        squares[i] = _ZERO
    norm = 0.0
    for j in range(dim):
        plane, total = planes + j * stride + low, 0.0
        for i in range(high - low):
            total += plane[i]
        center = np.float32(total / (high - low))
        for i in range(high - low):
            difference = plane[i] - center
            squares[i] += difference * difference
        node[j * WIDTH + child] = center
        norm += np.float64(center) * center
    largest = extent(squares, 0, high - low)[1]
    radius = np.sqrt(np.float64(largest)) * (1.0 + (dim + 16) * 2.0**-24) + dim * 2.0**-70
    if not exact:
        radius += 2.0**-22 * (np.sqrt(norm) + radius)
    node[dim * WIDTH + child] = np.nextafter(np.float32(radius), _INFINITY)


def first_step(height: int) -> np.ndarray:
    """Where `build` begins with a tree of so many levels."""
    unfinished = np.zeros(3 + 4 * WIDTH, np.int64)
    unfinished[0] = height - 1
    return unfinished


@entry
def to_planes(path, vectors, metric, center, exact, planes, numbers, scales, first, last):
    """Rows first..last-1 of (n, dim) about the center (scaled to length 1 for cosine) as planes (dim.., n + PADDING).

    exact: the rows are copied as they are. scales (n,) receives inverse norms for cosine.
    """
    dim, stride = vectors.shape[1], planes.shape[1]
    x, plane, middle, scale = pointer(vectors), pointer(planes), pointer(center), pointer(scales)
    for i in range(first, last):
        numbers[i] = i
    for start in range(first, last, BLOCK):
        stop = min(last, start + BLOCK)
        if metric == COSINE:
            for i in range(start, stop):
                scale[i] = inverse_norm(x + i * dim, dim)
        for j in range(dim):
            for i in range(start, stop):
                if exact:
                    plane[j * stride + i] = x[i * dim + j]
                else:
                    plane[j * stride + i] = np.float32(
                        x[i * dim + j] * (scale[i] if metric == COSINE else 1.0) - middle[j]
                    )


@entry
def to_rows(path, planes, vectors, order, exact, out, first, last):
    """Places first..last-1 of the vectors in the order (n,) of the planes; from these where they hold them exactly."""
    n, dim, stride = vectors.shape[0], vectors.shape[1], planes.shape[1]
    x, plane, y = pointer(vectors), pointer(planes), pointer(out)
    for start in range(first, last, BLOCK):
        stop = min(last, start + BLOCK)
        if exact:
            for j in range(dim):
                for i in range(start, stop):
                    y[i * dim + j] = plane[j * stride + i]
        else:
            for i in range(start, stop):
                prefetch(x + order[min(i + 8, n - 1)] * dim)
                row = x + order[i] * dim
                for j in range(dim):
                    y[i * dim + j] = row[j]


@kernel
def _build(rows, dim, n_rows, shape, exact, offsets, nodes, unfinished):
    node_planes, plane, stride, work = nodes.shape[1], rows.planes, rows.stride, 0
    stack, projections = unfinished[3:].reshape(2 * WIDTH, 2), plane + dim * stride
    first_node, size = unfinished[1], unfinished[2]
    for level in range(unfinished[0], -1, -1):
        unit = LEAF_ROWS << (4 * level)  # rows of a child
        for node in range(first_node, (n_rows + WIDTH * unit - 1) // (WIDTH * unit)):
            start = node * WIDTH * unit
            stop = min(n_rows, start + WIDTH * unit)
            bounds = pointer(nodes) + (offsets[level] + node) * node_planes * WIDTH
            if size == 0:
                stack[0, 0], stack[0, 1], size = 0, (stop - start + unit - 1) // unit, 1
            while size > 0:
                if work > _WORK:
                    unfinished[0], unfinished[1], unfinished[2] = level, node, size
                    return
                size -= 1
                first_child, last_child = stack[size, 0], stack[size, 1]
                low, high = start + first_child * unit, min(stop, start + last_child * unit)
                work += (high - low) * dim
                if last_child - first_child == 1:
                    if shape == BOX:
                        write_box(plane, stride, dim, low, high, exact, bounds, first_child)
                    else:
                        write_ball(plane, stride, dim, low, high, exact, bounds, first_child, rows.spare)
                    continue
                if shape == BOX:
                    key = plane + widest_plane(plane, stride, dim, low, high) * stride
                else:
                    key = projections
                    project(plane, stride, dim, low, high, key, rows.saved)
                middle = (first_child + last_child) // 2
                halve(rows, key, low, high, start + middle * unit)
                stack[size, 0], stack[size, 1] = first_child, middle
                stack[size + 1, 0], stack[size + 1, 1] = middle, last_child
                size += 2
        first_node = 0
    unfinished[0] = -1


@entry
def build(path, work: Work, dim, n_rows, shape, exact, offsets, nodes, unfinished):
    """Order the rows and write the nodes (number of nodes, planes of a node, 16), which come filled with zeros.

    offsets (height,): the first node of every level. A call ends after so much work that Ctrl-C is answered soon, and
    the next one goes on: `unfinished`, at first what `first_step` says, holds the level (-1: all is done), the node,
    how many ranges of its children are still to be halved, and these ranges.
    """
    _build(pointers(Work(*work)), dim, n_rows, shape, exact, offsets, nodes, unfinished)
