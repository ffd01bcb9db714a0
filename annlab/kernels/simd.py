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

Loads and stores need no alignment. `load(p)` reads as many elements as one register of the current path holds;
`load_eight(p)` reads eight on every path, for sums whose rounding must not depend on the path. Nothing here checks
bounds: whoever calls a kernel has validated its arrays.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

from annlab.kernels.path import REGISTER_BYTES

LANES = REGISTER_BYTES // 4  # of float32 or int32

_ELEMENTS = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.int8: ir.IntType(8),
    types.uint8: ir.IntType(8),
    types.int16: ir.IntType(16),
    types.int32: ir.IntType(32),
    types.int64: ir.IntType(64),
    types.uint64: ir.IntType(64),
}
_I32, _I64 = ir.IntType(32), ir.IntType(64)


class Vector(types.Type):
    """`lanes` values of one element type."""

    def __init__(self, element: types.Type, lanes: int) -> None:
        self.element, self.lanes = element, lanes
        self.llvm = ir.VectorType(_ELEMENTS[element], lanes)
        super().__init__(name=f"Vector({element} x {lanes})")

    @property
    def suffix(self) -> str:
        """How LLVM's intrinsics spell this type."""
        return f"v{self.lanes}{'f' if isinstance(self.element, types.Float) else 'i'}{self.element.bitwidth}"


class Registers(types.Type):
    """`length` vectors on the stack of the kernel that declares them."""

    def __init__(self, vector: Vector, length: int) -> None:
        self.vector, self.length = vector, length
        super().__init__(name=f"Registers({vector} x {length})")


class Pointer(types.Type):
    """The address of elements of one type."""

    def __init__(self, element: types.Type) -> None:
        self.element = element
        super().__init__(name=f"Pointer({element})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Vector) -> None:
        super().__init__(manager, fe_type, fe_type.llvm)


@register_model(Registers)
class _RegistersModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Registers) -> None:
        super().__init__(manager, fe_type, ir.ArrayType(fe_type.vector.llvm, fe_type.length).as_pointer())


@register_model(Pointer)
class _PointerModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Pointer) -> None:
        super().__init__(manager, fe_type, _ELEMENTS[fe_type.element].as_pointer())


def native(element: types.Type) -> Vector:
    """The vector of `element` that fills one register of the current path."""
    return Vector(element, REGISTER_BYTES * 8 // element.bitwidth)


def call_llvm(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: list[ir.Value]) -> ir.Value:
    """Call the LLVM intrinsic `name`."""
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


def splat_value(builder: ir.IRBuilder, scalar: ir.Value, llvm_vector: ir.VectorType) -> ir.Value:
    """All lanes of an LLVM vector hold the scalar."""
    one = builder.insert_element(ir.Constant(llvm_vector, ir.Undefined), scalar, ir.Constant(_I32, 0))
    lanes = ir.Constant(ir.VectorType(_I32, llvm_vector.count), [0] * llvm_vector.count)
    return builder.shuffle_vector(one, ir.Constant(llvm_vector, ir.Undefined), lanes)


def mask_vector(builder: ir.IRBuilder, mask: ir.Value, lanes: int) -> ir.Value:
    """A mask (an integer of 64 bits) as LLVM's vector of single bits."""
    narrow = builder.trunc(mask, ir.IntType(lanes)) if lanes < 64 else mask
    return builder.bitcast(narrow, ir.VectorType(ir.IntType(1), lanes))


def mask_integer(builder: ir.IRBuilder, bits: ir.Value, lanes: int) -> ir.Value:
    """LLVM's vector of single bits as a mask."""
    narrow = builder.bitcast(bits, ir.IntType(lanes))
    return builder.zext(narrow, _I64) if lanes < 64 else narrow


# ---- operators: lane by lane on vectors, by element on pointers ------------------------------------------------------


def _arithmetic(op: Callable[..., Any], on_floats: str | None, on_integers: str) -> None:
    @infer_global(op)
    class _Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
                if on_floats is not None or not isinstance(args[0].element, types.Float):
                    return signature(args[0], *args)
            return None

    @lower_builtin(op, Vector, Vector)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        name = on_floats if isinstance(sig.args[0].element, types.Float) else on_integers
        return getattr(builder, name)(*args)


def _comparison(op: Callable[..., Any], symbol: str) -> None:
    @infer_global(op)
    class _Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
                return signature(types.int64, *args)
            return None

    @lower_builtin(op, Vector, Vector)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        element = sig.args[0].element
        if isinstance(element, types.Float):
            bits = builder.fcmp_ordered(symbol, *args)  # false where a lane is NaN
        else:
            bits = (builder.icmp_signed if element.signed else builder.icmp_unsigned)(symbol, *args)
        return mask_integer(builder, bits, sig.args[0].lanes)


_arithmetic(operator.add, "fadd", "add")
_arithmetic(operator.sub, "fsub", "sub")
_arithmetic(operator.mul, "fmul", "mul")
_arithmetic(operator.and_, None, "and_")
_arithmetic(operator.or_, None, "or_")
_arithmetic(operator.xor, None, "xor")
_comparison(operator.lt, "<")
_comparison(operator.le, "<=")
_comparison(operator.eq, "==")


@infer_global(operator.iadd)
@infer_global(operator.add)
class _PointerAdd(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        if len(args) == 2 and isinstance(args[0], Pointer) and isinstance(args[1], types.Integer):
            return signature(args[0], args[0], types.intp)
        return None


@lower_builtin(operator.iadd, Pointer, types.Integer)
@lower_builtin(operator.add, Pointer, types.Integer)
def _pointer_add(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.gep(args[0], [args[1]])


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        if isinstance(args[0], Pointer) and isinstance(args[1], types.Integer):
            return signature(args[0].element, args[0], types.intp)
        if isinstance(args[0], Registers) and isinstance(args[1], types.Integer):
            return signature(args[0].vector, args[0], types.intp)
        return None


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        if isinstance(args[0], Pointer) and isinstance(args[1], types.Integer):
            return signature(types.none, args[0], types.intp, args[0].element)
        if isinstance(args[0], Registers) and isinstance(args[1], types.Integer):
            return signature(types.none, args[0], types.intp, args[0].vector)
        return None


@lower_builtin(operator.getitem, Pointer, types.Integer)
def _pointer_get(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.load(builder.gep(args[0], [args[1]]), align=1)


@lower_builtin(operator.setitem, Pointer, types.Integer, types.Number)
def _pointer_set(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    builder.store(args[2], builder.gep(args[0], [args[1]]), align=1)
    return context.get_dummy_value()


@lower_builtin(operator.getitem, Registers, types.Integer)
def _registers_get(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.load(builder.gep(args[0], [ir.Constant(_I32, 0), args[1]]))


@lower_builtin(operator.setitem, Registers, types.Integer, Vector)
def _registers_set(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    builder.store(args[2], builder.gep(args[0], [ir.Constant(_I32, 0), args[1]]))
    return context.get_dummy_value()


# ---- memory ----------------------------------------------------------------------------------------------------------


@intrinsic
def pointer(typing_context: Any, array: Any) -> Any:
    """The address of an array's first element. The caller of the kernel keeps the array alive."""
    if not isinstance(array, types.Array) or array.layout != "C":
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.make_array(sig.args[0])(context, builder, args[0]).data

    return Pointer(array.dtype)(array), codegen


def _loader(lanes: int | None) -> Any:
    @intrinsic
    def load(typing_context: Any, address: Any) -> Any:
        vector = Vector(address.element, lanes) if lanes else native(address.element)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.load(builder.bitcast(args[0], vector.llvm.as_pointer()), align=1)

        return vector(address), codegen

    return load


def _partial_loader(lanes: int | None) -> Any:
    @intrinsic
    def load_first(typing_context: Any, address: Any, length: Any) -> Any:
        vector = Vector(address.element, lanes) if lanes else native(address.element)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            wide = vector.llvm.as_pointer()
            mask = _first_lanes(builder, context.cast(builder, args[1], sig.args[1], types.int64), vector.lanes)
            call = [builder.bitcast(args[0], wide), ir.Constant(_I32, 1), mask, ir.Constant(vector.llvm, None)]
            return call_llvm(builder, f"llvm.masked.load.{vector.suffix}.p0", vector.llvm, call)

        return vector(address, length), codegen

    return load_first


def _first_lanes(builder: Any, length: Any, lanes: int) -> Any:
    """Bits of the lanes below `length`, as LLVM's vector of single bits."""
    wide = ir.VectorType(_I64, lanes)
    return builder.icmp_signed("<", ir.Constant(wide, list(range(lanes))), splat_value(builder, length, wide))


load = _loader(None)
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


@intrinsic
def store_compressed(typing_context: Any, address: Any, value: Any, mask: Any) -> Any:
    """Write the lanes of the mask one behind the other. All of a register is written: leave room for it."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = sig.args[1]
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
        hints = [ir.Constant(_I32, value) for value in (0, 3, 1)]  # for reading, keep in all caches, data
        call_llvm(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, *hints])
        return context.get_dummy_value()

    return types.none(address), codegen


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
double_registers = _registers(types.float64)
int_registers = _registers(types.int32)


# ---- values ----------------------------------------------------------------------------------------------------------


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


def _zip(half: int) -> Any:
    @intrinsic
    def zipped(typing_context: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lanes = sig.args[0].lanes
            start = half * lanes // 2
            order = [lane for i in range(start, start + lanes // 2) for lane in (i, lanes + i)]
            return builder.shuffle_vector(*args, ir.Constant(ir.VectorType(_I32, lanes), order))

        return a(a, b), codegen

    return zipped


zip_low = _zip(0)  # a0 b0 a1 b1 ... of the lower halves
zip_high = _zip(1)  # the same of the upper halves


@intrinsic
def to_floats(typing_context: Any, value: Any) -> Any:
    """The lanes as float32: the identity for float32."""
    narrow = Vector(types.float32, value.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return args[0] if sig.args[0] == narrow else builder.fptrunc(args[0], narrow.llvm)

    return narrow(value), codegen


@intrinsic
def to_doubles(typing_context: Any, value: Any) -> Any:
    """The lanes as float64: the identity for float64."""
    wide = Vector(types.float64, value.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return args[0] if sig.args[0] == wide else builder.fpext(args[0], wide.llvm)

    return wide(value), codegen


def _fold(builder: Any, value: Any, lanes: int, add: str) -> Any:
    """Add the upper half of the lanes to the lower half until one is left: an order that no path changes."""
    while lanes > 1:
        lanes //= 2
        halves = [ir.Constant(ir.VectorType(_I32, lanes), list(range(s, s + lanes))) for s in (0, lanes)]
        value = getattr(builder, add)(*(builder.shuffle_vector(value, value, half) for half in halves))
    return builder.extract_element(value, ir.Constant(_I32, 0))


@intrinsic
def total(typing_context: Any, value: Any) -> Any:
    """The sum of all lanes, in a fixed order."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        add = "fadd" if isinstance(sig.args[0].element, types.Float) else "add"
        return _fold(builder, args[0], sig.args[0].lanes, add)

    return value.element(value), codegen


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
