"""The types behind `simd/registers.py`: vectors, blocks of registers and pointers as values that Numba can compile.

A Numba type whose data model is an LLVM vector *is* that vector: it lives in a register, and an operator on it is one
instruction. What is written here is how Numba infers and lowers the operators; kernels only import `simd/registers.py`.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import models, register_model

from annlab.kernels.simd.path import REGISTER_BYTES

ELEMENTS = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.int8: ir.IntType(8),
    types.uint8: ir.IntType(8),
    types.int16: ir.IntType(16),
    types.int32: ir.IntType(32),
    types.int64: ir.IntType(64),
    types.uint64: ir.IntType(64),
}
I32, I64 = ir.IntType(32), ir.IntType(64)


class Vector(types.Type):
    """`lanes` values of one element type."""

    def __init__(self, element: Any, lanes: int) -> None:
        self.element, self.lanes = element, lanes
        self.llvm = ir.VectorType(ELEMENTS[element], lanes)
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
        super().__init__(manager, fe_type, ELEMENTS[fe_type.element].as_pointer())


def native(element: Any) -> Vector:
    """The vector of `element` that fills one register of the current path."""
    return Vector(element, REGISTER_BYTES * 8 // element.bitwidth)


def call_llvm(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: list[ir.Value]) -> ir.Value:
    """Call the LLVM intrinsic `name`."""
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


def splat_value(builder: ir.IRBuilder, scalar: ir.Value, llvm_vector: ir.VectorType) -> ir.Value:
    """All lanes of an LLVM vector hold the scalar."""
    one = builder.insert_element(ir.Constant(llvm_vector, ir.Undefined), scalar, ir.Constant(I32, 0))
    lanes = ir.Constant(ir.VectorType(I32, llvm_vector.count), [0] * llvm_vector.count)
    return builder.shuffle_vector(one, ir.Constant(llvm_vector, ir.Undefined), lanes)


def first_lanes(builder: ir.IRBuilder, length: ir.Value, lanes: int) -> ir.Value:
    """Bits of the lanes below `length`, as LLVM's vector of single bits."""
    wide = ir.VectorType(I64, lanes)
    return builder.icmp_signed("<", ir.Constant(wide, list(range(lanes))), splat_value(builder, length, wide))


def mask_vector(builder: ir.IRBuilder, mask: ir.Value, lanes: int) -> ir.Value:
    """A mask (an integer of 64 bits) as LLVM's vector of single bits."""
    narrow = builder.trunc(mask, ir.IntType(lanes)) if lanes < 64 else mask
    return builder.bitcast(narrow, ir.VectorType(ir.IntType(1), lanes))


def mask_integer(builder: ir.IRBuilder, bits: ir.Value, lanes: int) -> ir.Value:
    """LLVM's vector of single bits as a mask."""
    narrow = builder.bitcast(bits, ir.IntType(lanes))
    return builder.zext(narrow, I64) if lanes < 64 else narrow


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
        return getattr(builder, str(name))(*args)


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
    return builder.load(builder.gep(args[0], [ir.Constant(I32, 0), args[1]]))


@lower_builtin(operator.setitem, Registers, types.Integer, Vector)
def _registers_set(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    builder.store(args[2], builder.gep(args[0], [ir.Constant(I32, 0), args[1]]))
    return context.get_dummy_value()
