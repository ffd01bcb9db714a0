"""Vectors as values: what a CPU's SIMD registers hold, with ordinary Python operators, for kernels compiled by Numba.

Four kinds of value exist inside a kernel:

- `Pointer`: the address of elements in memory. `pointer(array)` makes one where a kernel begins; from there on no
  reference counts are kept, which otherwise cost more than a whole tile. `p + n` moves by n elements, `p[i]` reads.
- `Vector`: `lanes` elements in one register (or in several, where a fixed width is wider than the machine's). `+ - *`
  and `& | ^` work lane by lane; `<`, `<=` and `==` give a *mask*, an ordinary integer with one bit per lane.
- `Registers`: a block of vectors that a kernel declares, fills and reads by index. Loops over it must have constant
  bounds: LLVM unrolls them and keeps every element in a register. The block is stack memory of the function that
  declares it: pass it down to inlined functions, never return it (LLVM may then delete the stores).
- masks: `count(mask)` bits are set, `first(mask)` is the lowest.

Operations in which lanes meet (sums, interleaving) or change their type are in `simd/lanes.py`.

Loads and stores need no alignment. `load(p)` reads as many elements as one register of the current path holds;
`load_eight(p)` reads eight on every path, for sums whose rounding must not depend on the path. Nothing here checks
bounds: whoever calls a kernel has validated its arrays.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from annlab.kernels.simd.path import PATH_NAME, REGISTER_BYTES
from annlab.kernels.simd.vector_types import (
    ELEMENTS,
    I32,
    Pointer,
    Registers,
    Vector,
    call_llvm,
    first_lanes,
    mask_vector,
    native,
    splat_value,
)

LANES = REGISTER_BYTES // 4  # of float32 or int32

# ---- memory ----------------------------------------------------------------------------------------------------------


@intrinsic
def pointer(typing_context: Any, array: Any) -> Any:
    """The address of an array's first element. The caller of the kernel keeps the array alive.

    Not for an array that the kernel makes itself: Numba frees that after its last use as an array, whoever has its
    address.
    """
    if not isinstance(array, types.Array) or array.layout != "C":
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.make_array(sig.args[0])(context, builder, args[0]).data

    return Pointer(array.dtype)(array), codegen


@intrinsic
def pointers(typing_context: Any, values: Any) -> Any:
    """A NamedTuple with the addresses of its arrays in their place; what is no array stays as it is."""
    if not isinstance(values, (types.NamedTuple, types.NamedUniTuple)):
        return None
    elements = [Pointer(each.dtype) if isinstance(each, types.Array) else each for each in values]
    if any(isinstance(each, types.Array) and each.layout != "C" for each in values):
        return None
    result = types.NamedTuple(elements, values.instance_class)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        parts = []
        for place, each in enumerate(sig.args[0]):
            part = builder.extract_value(args[0], place)
            if isinstance(each, types.Array):
                part = context.make_array(each)(context, builder, part).data
            parts.append(part)
        return context.make_tuple(builder, result, parts)

    return result(values), codegen


@intrinsic
def floats_of(typing_context: Any, address: Any) -> Any:
    """The address of elements of 32 bits, as that of float32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(sig.return_type))

    if not isinstance(address, Pointer) or address.element not in (types.int32, types.uint32):
        return None
    return Pointer(types.float32)(address), codegen


def _loader(lanes: int | None) -> Any:
    @intrinsic
    def load(typing_context: Any, address: Any) -> Any:
        vector = Vector(address.element, lanes) if lanes else native(address.element)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.load(builder.bitcast(args[0], vector.llvm.as_pointer()), align=1)

        return vector(address), codegen

    return load


def _repeater(length: int) -> Any:
    @intrinsic
    def load_repeated(typing_context: Any, address: Any) -> Any:
        vector = native(address.element)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            some = builder.load(builder.bitcast(args[0], Vector(address.element, length).llvm.as_pointer()), align=1)
            order = ir.Constant(ir.VectorType(I32, vector.lanes), [lane % length for lane in range(vector.lanes)])
            return builder.shuffle_vector(some, some, order)

        return vector(address), codegen

    return load_repeated


def _partial_loader(lanes: int | None) -> Any:
    @intrinsic
    def load_first(typing_context: Any, address: Any, length: Any) -> Any:
        vector = Vector(address.element, lanes) if lanes else native(address.element)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            wide = vector.llvm.as_pointer()
            mask = first_lanes(builder, context.cast(builder, args[1], sig.args[1], types.int64), vector.lanes)
            call = [builder.bitcast(args[0], wide), ir.Constant(I32, 1), mask, ir.Constant(vector.llvm, None)]
            return call_llvm(builder, f"llvm.masked.load.{vector.suffix}.p0", vector.llvm, call)

        return vector(address, length), codegen

    return load_first


load = _loader(None)
load_table = _repeater(16)  # sixteen elements from memory, repeated until a register is full
load_eight = _loader(8)
load_first = _partial_loader(None)  # the first `length` lanes from memory, zeros behind them
load_first_eight = _partial_loader(8)


@intrinsic
def store(typing_context: Any, address: Any, value: Any) -> Any:
    """Write a vector."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[1], builder.bitcast(args[0], sig.args[1].llvm.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.none(address, value), codegen


def _gathered(builder: Any, vector: Vector, value: Any, mask: Any) -> Any:
    """The lanes of the mask moved to the lowest places, of eight lanes of 32 bits: AVX2 has no instruction for it.

    A table says for each of the 256 masks which lanes those are, a byte for each; LLVM would go through memory.
    """
    eight, places = ir.VectorType(I32, 8), ir.ArrayType(ir.IntType(64), 256)
    words = [
        sum(lane << (8 * i) for i, lane in enumerate(lane for lane in range(8) if chosen >> lane & 1))
        for chosen in range(256)
    ]
    table = cgutils.global_constant(builder, "lanes_of_mask", ir.Constant(places, words))
    chosen = builder.and_(mask, ir.Constant(mask.type, 255))
    word = builder.load(builder.gep(table, [ir.Constant(I32, 0), chosen]))
    lanes = builder.zext(builder.bitcast(word, ir.VectorType(ir.IntType(8), 8)), eight)
    if isinstance(vector.element, types.Float):
        return call_llvm(builder, "llvm.x86.avx2.permps", vector.llvm, [value, lanes])
    return call_llvm(builder, "llvm.x86.avx2.permd", vector.llvm, [value, lanes])


@intrinsic
def store_compressed(typing_context: Any, address: Any, value: Any, mask: Any) -> Any:
    """Write the lanes of the mask one behind the other. All of a register is written: leave room for it."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = sig.args[1]
        if PATH_NAME == "avx2" and vector.lanes == 8 and vector.element.bitwidth == 32:
            packed = _gathered(builder, vector, args[1], args[2])
        else:
            bits = mask_vector(builder, args[2], vector.lanes)
            call = [args[1], bits, ir.Constant(vector.llvm, ir.Undefined)]
            packed = call_llvm(builder, f"llvm.experimental.vector.compress.{vector.suffix}", vector.llvm, call)
        builder.store(packed, builder.bitcast(args[0], vector.llvm.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.none(address, value, types.int64), codegen


@intrinsic
def prefetch(typing_context: Any, address: Any) -> Any:
    """Ask for the cache line at an address; the address need not be valid."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        byte = builder.bitcast(args[0], ir.IntType(8).as_pointer())
        hints = [ir.Constant(I32, value) for value in (0, 3, 1)]  # for reading, keep in all caches, data
        call_llvm(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, *hints])
        return context.get_dummy_value()

    return types.none(address), codegen


def _memory(element: types.Type) -> Any:
    @intrinsic(prefer_literal=True)
    def memory(typing_context: Any, length: Any) -> Any:
        if not isinstance(length, types.Literal):
            return None

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            array = ir.ArrayType(ELEMENTS[element], length.literal_value)
            return builder.bitcast(cgutils.alloca_once(builder, array), ELEMENTS[element].as_pointer())

        return Pointer(element)(length), codegen

    return memory


float_memory = _memory(types.float32)  # a few elements on the stack of the kernel that asks, until it returns
double_memory = _memory(types.float64)
int_memory = _memory(types.int32)
long_memory = _memory(types.int64)


def _registers(element: types.Type) -> Any:
    @intrinsic(prefer_literal=True)
    def registers(typing_context: Any, length: Any) -> Any:
        if not isinstance(length, types.Literal):
            return None
        vector = native(element)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return cgutils.alloca_once(builder, ir.ArrayType(vector.llvm, length.literal_value))

        return Registers(vector, length.literal_value)(length), codegen

    return registers


float_registers = _registers(types.float32)
int_registers = _registers(types.int32)


# ---- values ----------------------------------------------------------------------------------------------------------


@intrinsic
def zeros(typing_context: Any, address: Any) -> Any:
    """A register of zeros, of the element type of a pointer."""
    vector = native(address.element)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(vector.llvm, None)

    return vector(address), codegen


@intrinsic
def lanes_of(typing_context: Any, address: Any) -> Any:
    """How many elements of a pointer's type a register holds."""
    lanes = native(address.element).lanes

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(ir.IntType(64), lanes)

    return types.int64(address), codegen


@intrinsic
def splat(typing_context: Any, scalar: Any) -> Any:
    """A register whose lanes all hold the scalar."""
    vector = native(scalar)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return splat_value(builder, args[0], vector.llvm)

    return vector(scalar), codegen


@intrinsic
def splat_eight(typing_context: Any, scalar: Any) -> Any:
    """Eight lanes that all hold the scalar."""
    vector = Vector(scalar, 8)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return splat_value(builder, args[0], vector.llvm)

    return vector(scalar), codegen


@intrinsic
def ramp(typing_context: Any, start: Any) -> Any:
    """start, start + 1, start + 2, ... as int32, one register of them."""
    vector = native(types.int32)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        base = splat_value(builder, context.cast(builder, args[0], sig.args[0], types.int32), vector.llvm)
        return builder.add(base, ir.Constant(vector.llvm, list(range(vector.lanes))))

    return vector(start), codegen


@intrinsic
def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c with one rounding."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return call_llvm(builder, f"llvm.fma.{sig.return_type.suffix}", sig.return_type.llvm, list(args))

    return a(a, b, c), codegen


@intrinsic
def smaller(typing_context: Any, a: Any, b: Any) -> Any:
    """The smaller of two floats, lane by lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[0], args[1])

    return a(a, b), codegen


@intrinsic
def choose(typing_context: Any, mask: Any, a: Any, b: Any) -> Any:
    """The lanes of `a` where the mask has a bit, those of `b` elsewhere."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(mask_vector(builder, args[0], sig.return_type.lanes), args[1], args[2])

    return a(types.int64, a, b), codegen


@intrinsic
def larger(typing_context: Any, a: Any, b: Any) -> Any:
    """The larger of two floats, lane by lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", args[0], args[1]), args[0], args[1])

    return a(a, b), codegen


@intrinsic
def count(typing_context: Any, mask: Any) -> Any:
    """How many bits of a mask are set."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.int64), codegen


@intrinsic
def first(typing_context: Any, mask: Any) -> Any:
    """The lowest set bit of a mask (64 for none)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), codegen
