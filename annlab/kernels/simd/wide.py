"""Vectors of sixteen lanes on every path, for trees with sixteen children a node and sixteen rows a leaf.

`registers.py` has vectors as wide as a register; here the width is part of the data structure, and LLVM spreads a
vector over as many registers as it takes. The operators and masks are those of `registers.py`.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from annlab.kernels.simd.path import PATH_NAME
from annlab.kernels.simd.vector_types import I32, Registers, Vector, call_llvm, mask_vector, splat_value

WIDTH = 16
FLOATS = Vector(types.float32, WIDTH)


def _constant_lanes(lanes: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(I32, len(lanes)), lanes)


@intrinsic
def load_sixteen(typing_context: Any, address: Any) -> Any:
    """Sixteen elements from memory."""
    vector = Vector(address.element, WIDTH)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(builder.bitcast(args[0], vector.llvm.as_pointer()), align=1)

    return vector(address), codegen


@intrinsic
def splat_sixteen(typing_context: Any, scalar: Any) -> Any:
    """Sixteen lanes that all hold the scalar."""
    vector = Vector(scalar, WIDTH)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return splat_value(builder, args[0], vector.llvm)

    return vector(scalar), codegen


@intrinsic
def splat_like(typing_context: Any, scalar: Any, other: Any) -> Any:
    """As many lanes as `other` has, all of which hold the scalar."""
    vector = Vector(scalar, other.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return splat_value(builder, args[0], vector.llvm)

    return vector(scalar, other), codegen


@intrinsic
def square_roots(typing_context: Any, a: Any) -> Any:
    """The square root of every lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return call_llvm(builder, f"llvm.sqrt.{sig.return_type.suffix}", sig.return_type.llvm, list(args))

    return a(a), codegen


@intrinsic
def select(typing_context: Any, mask: Any, a: Any, b: Any) -> Any:
    """Lanes of `a` where the mask has a bit, of `b` where not."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(mask_vector(builder, args[0], sig.return_type.lanes), args[1], args[2])

    return a(types.int64, a, b), codegen


@intrinsic
def spread_lane(typing_context: Any, value: Any, lane: Any) -> Any:
    """All lanes hold what one lane of sixteen floats held."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        index = context.cast(builder, args[1], sig.args[1], types.int32)
        if PATH_NAME == "avx512":  # one instruction; elsewhere LLVM goes through memory
            lanes = splat_value(builder, index, ir.VectorType(I32, WIDTH))
            return call_llvm(builder, "llvm.x86.avx512.permvar.sf.512", FLOATS.llvm, [args[0], lanes])
        return splat_value(builder, builder.extract_element(args[0], index), FLOATS.llvm)

    return value(value, lane), codegen


@intrinsic
def lowest_lane(typing_context: Any, value: Any) -> Any:
    """The first lane as a scalar."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.extract_element(args[0], ir.Constant(I32, 0))

    return value.element(value), codegen


@intrinsic
def minimum(typing_context: Any, value: Any) -> Any:
    """All lanes hold the smallest of all lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        result, n = args[0], sig.return_type.lanes
        distance = n // 2
        while distance:
            other = builder.shuffle_vector(result, result, _constant_lanes([i ^ distance for i in range(n)]))
            result = builder.select(builder.fcmp_ordered("<", result, other), result, other)
            distance //= 2
        return result

    return value(value), codegen


@intrinsic
def as_integers(typing_context: Any, value: Any) -> Any:
    """The bits of float32 lanes as int32: of floats that are not negative they have the same order."""
    integers = Vector(types.int32, value.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], integers.llvm)

    return integers(value), codegen


@intrinsic
def as_floats(typing_context: Any, value: Any) -> Any:
    """The reverse of `as_integers`."""
    floats = Vector(types.float32, value.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], floats.llvm)

    return floats(value), codegen


@intrinsic
def lane_numbers(typing_context: Any) -> Any:
    """0, 1, 2, ..., 15."""
    integers = Vector(types.int32, WIDTH)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(integers.llvm, list(range(WIDTH)))

    return integers(), codegen


@intrinsic
def least(typing_context: Any, value: Any) -> Any:
    """All lanes hold the smallest of the integer lanes: a third of the wait that `minimum` of floats is."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        result, n = args[0], sig.return_type.lanes
        distance = n // 2
        while distance:
            other = builder.shuffle_vector(result, result, _constant_lanes([i ^ distance for i in range(n)]))
            result = builder.select(builder.icmp_signed("<", result, other), result, other)
            distance //= 2
        return result

    return value(value), codegen


def shuffler(order: list[int]) -> Any:
    """An operation after which lane i holds what lane order[i] held."""

    @intrinsic
    def shuffled(typing_context: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.shuffle_vector(args[0], args[0], _constant_lanes(order))

        return value(value), codegen

    return shuffled


@intrinsic
def pointer_at(typing_context: Any, address: Any, like: Any) -> Any:
    """The pointer of an address that the caller of the kernel took from an array; to elements as `like` points to."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(sig.return_type))

    return like(types.int64, like), codegen


@intrinsic
def pair_sums(typing_context: Any, a: Any, b: Any) -> Any:
    """a0 + a1, a2 + a3, ..., b0 + b1, b2 + b3, ...: repeated, it sums the lanes of many vectors at once."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        n = sig.return_type.lanes
        even, odd = (builder.shuffle_vector(*args, _constant_lanes(list(range(s, 2 * n, 2)))) for s in (0, 1))
        return builder.fadd(even, odd)

    return a(a, b), codegen


@intrinsic
def joined(typing_context: Any, low: Any, high: Any) -> Any:
    """The lanes of two vectors of eight as one of sixteen."""
    result = Vector(low.element, 2 * low.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.shuffle_vector(*args, _constant_lanes(list(range(result.lanes))))

    return result(low, high), codegen


def _registers(lanes: int) -> Any:
    @intrinsic(prefer_literal=True)
    def registers(typing_context: Any, length: Any) -> Any:
        if not isinstance(length, types.Literal):
            return None
        vector = Vector(types.float32, lanes)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return cgutils.alloca_once(builder, ir.ArrayType(vector.llvm, length.literal_value))

        return Registers(vector, length.literal_value)(length), codegen

    return registers


registers_of_eight = _registers(8)
registers_of_sixteen = _registers(WIDTH)


def column_loader(dim: int, column: int) -> Any:
    """A kernel function that loads one coordinate of sixteen rows of `dim` coordinates, one row behind the other."""

    @intrinsic
    def load_column(typing_context: Any, address: Any) -> Any:
        rows, lanes = Vector(address.element, WIDTH * dim), Vector(address.element, WIDTH)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            everything = builder.load(builder.bitcast(args[0], rows.llvm.as_pointer()), align=1)
            return builder.shuffle_vector(
                everything, everything, _constant_lanes(list(range(column, WIDTH * dim, dim)))
            )

        return lanes(address), codegen

    return load_column
