"""The nearest nodes so far: a chain of sorted registers.

Most of what a walk compares is farther away than the nearest so far, and one comparison of a register says so. What is
not, is inserted: the registers behind its place move up by a lane, each taking in the last lane of the one before. No
branch depends on where in a register a value belongs. For a few hundred nodes this is faster than a heap, whose
branches are guesses.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from annlab.kernels.simd.path import inlined
from annlab.kernels.simd.registers import LANES, choose, count, larger, load, splat, store
from annlab.kernels.simd.vector_types import I32

_LOWEST = np.float32(-np.inf)
_ONE = np.int64(1)


@intrinsic
def moved_up(typing_context: Any, before: Any, value: Any) -> Any:
    """Lane i holds what lane i - 1 of `value` held, and the first one what the last lane of `before` held."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lanes = sig.args[0].lanes
        return builder.shuffle_vector(
            *args, ir.Constant(ir.VectorType(I32, lanes), list(range(lanes - 1, 2 * lanes - 1)))
        )

    return before(before, value), codegen


@inlined
def insert(distances, nodes, size, distance, node):
    """Put a node in its place among `size` sorted ones, whole registers of them; the last one drops out.

    Of equal distances, the one that came first stays first.
    """
    at = size - LANES
    while at > 0 and distance < distances[at - 1]:
        store(distances + at, moved_up(load(distances + (at - LANES)), load(distances + at)))
        store(nodes + at, moved_up(load(nodes + (at - LANES)), load(nodes + at)))
        at -= LANES
    values, names, new = load(distances + at), load(nodes + at), splat(distance)
    before = values <= new
    store(distances + at, choose(before, values, larger(moved_up(splat(_LOWEST), values), new)))
    place = _ONE << count(before)
    store(nodes + at, choose(before, names, choose(place, splat(node), moved_up(names, names))))
