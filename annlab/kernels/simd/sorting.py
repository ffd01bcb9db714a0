"""Sorting sixteen pairs in registers: a value and a place for each, by networks of exchanges that never branch.

A step compares every lane with a partner and exchanges the two pairs unless the lower lane holds the smaller value. Ten
steps sort sixteen pairs (Batcher, Sorting networks and their applications, 1968), four merge two sorted runs of them.
"""

from typing import Any

from annlab.kernels.simd.path import inlined
from annlab.kernels.simd.registers import larger, smaller
from annlab.kernels.simd.wide import WIDTH, as_floats, as_integers, least, select, shuffler

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
