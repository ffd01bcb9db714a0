"""Sums of registers, several at a time: of LANES registers of partial sums one, which has the sum of each in a lane.

Two registers are folded into one by adding halves of both, so every round halves their number, and no addition is
wasted on lanes that nobody needs. The order of additions depends on nothing but LANES.
"""

from annlab.kernels.simd.path import inlined
from annlab.kernels.simd.registers import LANES, fold_blocks, fold_lanes

QUARTER = LANES // 4  # registers that are left after the first two rounds
_ROUNDS = QUARTER.bit_length() - 1
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
