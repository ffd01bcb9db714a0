"""What only hashing needs of registers: |x|, sums and transposes of bytes, blocks of words and of bytes."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from annlab.kernels.simd.path import PATH_NAME, REGISTER_BYTES
from annlab.kernels.simd.registers import _registers
from annlab.kernels.simd.vector_types import I32, Vector, call_llvm, native

WORD_LANES = REGISTER_BYTES // 8  # of uint64
word_registers = _registers(types.uint64)
byte_registers = _registers(types.uint8)


@intrinsic
def absolute(typing_context: Any, value: Any) -> Any:
    """|x| of float lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return call_llvm(builder, f"llvm.fabs.{sig.args[0].suffix}", sig.args[0].llvm, [args[0]])

    return value(value), codegen


@intrinsic
def sum_bytes(typing_context: Any, value: Any) -> Any:
    """The sum of the eight bytes of every uint64 lane of a register of bytes."""
    words = native(types.uint64)
    names = {"avx512": "llvm.x86.avx512.psad.bw.512", "avx2": "llvm.x86.avx2.psad.bw"}

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if PATH_NAME in names:
            return call_llvm(builder, names[PATH_NAME], words.llvm, [args[0], ir.Constant(sig.args[0].llvm, None)])
        total = builder.bitcast(args[0], words.llvm)
        for bits, pattern in ((8, 0x00FF00FF00FF00FF), (16, 0x0000FFFF0000FFFF), (32, 0x00000000FFFFFFFF)):
            mask, shift = (ir.Constant(words.llvm, [number] * words.lanes) for number in (pattern, bits))
            total = builder.add(builder.and_(total, mask), builder.and_(builder.lshr(total, shift), mask))
        return total

    if value != native(types.uint8):
        return None
    return words(value), codegen


@intrinsic
def transposed_bytes(typing_context: Any, address: Any) -> Any:
    """Of eight rows of eight bytes in memory: the first bytes of all rows, then the second ones, and so on."""
    result = Vector(types.uint8, 64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows = builder.load(builder.bitcast(args[0], result.llvm.as_pointer()), align=1)
        order = [8 * (place % 8) + place // 8 for place in range(64)]
        return builder.shuffle_vector(rows, rows, ir.Constant(ir.VectorType(I32, 64), order))

    return result(address), codegen
