"""Where the lanes of a `Vector` meet each other or change their type: interleaving, halving, widening, the sum of all.

All else that a kernel does with vectors works lane by lane, and is in `simd/registers.py`.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from annlab.kernels.simd.vector_types import I32, Vector


def _zip(half: int) -> Any:
    @intrinsic
    def zipped(typing_context: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lanes = sig.args[0].lanes
            start = half * lanes // 2
            order = [lane for i in range(start, start + lanes // 2) for lane in (i, lanes + i)]
            return builder.shuffle_vector(*args, ir.Constant(ir.VectorType(I32, lanes), order))

        return a(a, b), codegen

    return zipped


zip_low = _zip(0)  # a0 b0 a1 b1 ... of the lower halves
zip_high = _zip(1)  # the same of the upper halves


def _every_second(start: int) -> Any:
    @intrinsic
    def every_second(typing_context: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lanes = sig.args[0].lanes
            order = list(range(start, 2 * lanes, 2))
            return builder.shuffle_vector(*args, ir.Constant(ir.VectorType(I32, lanes), order))

        return a(a, b), codegen

    return every_second


evens = _every_second(0)  # a0 a2 ... b0 b2 ...
odds = _every_second(1)  # a1 a3 ... b1 b3 ...


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
        halves = [ir.Constant(ir.VectorType(I32, lanes), list(range(s, s + lanes))) for s in (0, lanes)]
        value = getattr(builder, add)(*(builder.shuffle_vector(value, value, half) for half in halves))
    return builder.extract_element(value, ir.Constant(I32, 0))


@intrinsic
def total(typing_context: Any, value: Any) -> Any:
    """The sum of all lanes, in a fixed order."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        add = "fadd" if isinstance(sig.args[0].element, types.Float) else "add"
        return _fold(builder, args[0], sig.args[0].lanes, add)

    return value.element(value), codegen
