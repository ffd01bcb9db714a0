"""Sums of registers, several at a time: of LANES registers of partial sums one, which has the sum of each in a lane.

Two registers are folded into one by adding halves of both, so every round halves their number, and no addition is
wasted on lanes that nobody needs. The order of additions depends on nothing but LANES.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from annlab.kernels.simd.path import inlined
from annlab.kernels.simd.registers import LANES
from annlab.kernels.simd.vector_types import I32

QUARTER = LANES // 4  # registers that are left after the first two rounds
_ROUNDS = QUARTER.bit_length() - 1


def _folder(atom: int, width: int) -> Any:
    """Zip the atoms of two vectors within every `width` lanes, and add the upper halves of that to the lower ones."""

    @intrinsic
    def folded(typing_context: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lanes = sig.args[0].lanes
            part = min(width, lanes)
            half = part // 2

            def zipped(start: int) -> Any:
                order = [
                    source + block + start + i + lane
                    for block in range(0, lanes, part)
                    for i in range(0, half, atom)
                    for source in (0, lanes)
                    for lane in range(atom)
                ]
                return builder.shuffle_vector(*args, ir.Constant(ir.VectorType(I32, lanes), order))

            add = builder.fadd if isinstance(sig.args[0].element, types.Float) else builder.add
            return add(zipped(0), zipped(half))

        return a(a, b), codegen

    return folded


fold_blocks = _folder(4, LANES)  # 16 bytes at a time, over the whole register
fold_lanes = _folder(1, 4)  # lane by lane, within every 16 bytes
fold_first = fold_blocks if LANES >= 8 else fold_lanes
fold_second = fold_blocks if LANES >= 16 else fold_lanes


@inlined
def fold_rows(block, sums):
    """sums[0] = the sum of block[r] in lane r."""
    for q in range(QUARTER):
        low = fold_first(block[q], block[q + 2 * QUARTER])
        high = fold_first(block[q + QUARTER], block[q + 3 * QUARTER])
        sums[q] = fold_second(low, high)
    fold_quarters(sums, 1)


@inlined
def fold_quarters(sums, n_queries):
    """The rounds of folding that are left when there is a register for every quarter of the rows."""
    half = QUARTER
    for _ in range(_ROUNDS):
        half //= 2
        for j in range(n_queries):
            for i in range(half):
                sums[j * QUARTER + i] = fold_lanes(sums[j * QUARTER + i], sums[j * QUARTER + i + half])
