"""Masked and bitwise helpers on registers that hashing needs: sums over the lanes of a mask, |x|, blocks of words.

`add_where` turns the bits of a sign code into a sum of the numbers that stand at the set bits. On AVX-512 a mask
register takes the bits as they are in memory and the addition is one instruction; elsewhere LLVM spreads the bits over
the lanes first.
"""

from typing import Any

from numba import types
from numba.extending import intrinsic

from annlab.kernels.path import REGISTER_BYTES
from annlab.kernels.simd import _registers
from annlab.kernels.vectors import call_llvm, mask_vector

WORD_LANES = REGISTER_BYTES // 8  # of uint64
word_registers = _registers(types.uint64)


@intrinsic
def add_where(typing_context: Any, sums: Any, values: Any, mask: Any) -> Any:
    """sums + values in the lanes of the mask, sums elsewhere."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = mask_vector(builder, context.cast(builder, args[2], sig.args[2], types.int64), sig.args[0].lanes)
        return builder.select(bits, builder.fadd(args[0], args[1]), args[0])

    return sums(sums, values, mask), codegen


@intrinsic
def absolute(typing_context: Any, value: Any) -> Any:
    """|x| of float lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return call_llvm(builder, f"llvm.fabs.{sig.args[0].suffix}", sig.args[0].llvm, [args[0]])

    return value(value), codegen
