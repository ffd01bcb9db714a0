"""Sorting pairs in registers: a value and a place for each, by networks of exchanges that never branch.

A step compares every lane with a partner and exchanges the two pairs unless the lower lane holds the smaller value. Ten
steps sort sixteen pairs (Batcher, Sorting networks and their applications, 1968), four merge two sorted runs of them.

More pairs are sorted by merging: runs of sixteen, then of 32, and so on. A merge keeps sixteen pairs in registers, of
which none belongs before what was written. It takes the next sixteen from the run that goes on with the smaller value;
of these 32 the smaller half is written and the larger one kept. So there is one branch for sixteen pairs.
"""

from typing import Any

from annlab.kernels.simd.path import inlined, kernel
from annlab.kernels.simd.registers import larger, smaller, store
from annlab.kernels.simd.wide import WIDTH, as_floats, as_integers, least, load_sixteen, select, shuffler

reversed_sixteen = shuffler(list(range(WIDTH))[::-1])


def _step(flip: int) -> Any:
    """Exchange with the lane whose number differs by the bits of `flip`. Equal values stay where they are."""
    partners = shuffler([lane ^ flip for lane in range(WIDTH)])
    highest = 1 << (flip.bit_length() - 1)
    low = sum(1 << lane for lane in range(WIDTH) if not lane & highest)

    @inlined
    def step(values, places):
        other, other_places = partners(values), partners(places)
        kept = select(low, smaller(values, other), larger(values, other))
        return kept, select(kept == values, places, other_places)

    return step


_1, _2, _3, _4, _7, _8, _15 = (_step(flip) for flip in (1, 2, 3, 4, 7, 8, 15))


@inlined
def sorted_pairs(values, places):
    """The pairs by value, ascending."""
    values, places = _1(values, places)
    values, places = _3(values, places)
    values, places = _1(values, places)
    values, places = _7(values, places)
    values, places = _2(values, places)
    values, places = _1(values, places)
    values, places = _15(values, places)
    values, places = _4(values, places)
    values, places = _2(values, places)
    return _1(values, places)


@inlined
def sorted_values(values):
    """Sixteen values, ascending."""
    return sorted_pairs(values, values)[0]


@inlined
def merged_pairs(values, places):
    """The same for pairs whose values first fall and then rise, or the other way round."""
    values, places = _8(values, places)
    values, places = _4(values, places)
    values, places = _2(values, places)
    return _1(values, places)


@inlined
def smallest(values):
    """All lanes hold the smallest of floats that are not negative."""
    return as_floats(least(as_integers(values)))


@inlined
def _merge_runs(values, places, start, middle, stop, out, out_places):
    """Merge the sorted runs start..middle-1 and middle..stop-1 into the same places of out."""
    kept, kept_places = load_sixteen(values + start), load_sixteen(places + start)
    left, right, last = start + WIDTH, middle, stop - WIDTH
    for at in range(start, last, WIDTH):
        if right >= stop or (left < middle and values[left] <= values[right]):
            place, left = left, left + WIDTH
        else:
            place, right = right, right + WIDTH
        more = reversed_sixteen(load_sixteen(values + place))
        more_places = reversed_sixteen(load_sixteen(places + place))
        # of a rising and a falling run, the smaller of each two are the sixteen smallest of all
        low, high = smaller(kept, more), larger(kept, more)
        stays = low == kept
        low, low_places = merged_pairs(low, select(stays, kept_places, more_places))
        kept, kept_places = merged_pairs(high, select(stays, more_places, kept_places))
        store(out + at, low)
        store(out_places + at, low_places)
    store(out + last, kept)
    store(out_places + last, kept_places)


@kernel
def sort_pairs(values, places, n, more, more_places):
    """Sort n pairs by value, n a multiple of sixteen; returns where they lie then, here or in `more`, as long."""
    for i in range(0, n, WIDTH):
        value, place = sorted_pairs(load_sixteen(values + i), load_sixteen(places + i))
        store(values + i, value)
        store(places + i, place)
    run = WIDTH
    while run < n:
        for i in range(0, n, 2 * run):
            _merge_runs(values, places, i, min(i + run, n), min(i + 2 * run, n), more, more_places)
        values, more = more, values
        places, more_places = more_places, places
        run = 2 * run
    return values, places
