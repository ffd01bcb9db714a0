"""Pointers from addresses that were taken in Python.

To hand over an array takes Numba a tenth of a microsecond and more, and a search of a graph needs some thirty of them.
So what stays the same from call to call travels as one array of addresses (`array.ctypes.data`); whoever makes it keeps
the arrays alive.
"""

from typing import Any

from numba import types
from numba.extending import intrinsic

from annlab.kernels.simd.vector_types import Pointer


def _typed(element: types.Type) -> Any:
    @intrinsic
    def elements_at(typing_context: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(sig.return_type))

        return Pointer(element)(types.int64), codegen

    return elements_at


floats_at = _typed(types.float32)
doubles_at = _typed(types.float64)
bytes_at = _typed(types.uint8)
signed_bytes_at = _typed(types.int8)
ints_at = _typed(types.int32)
longs_at = _typed(types.int64)
words_at = _typed(types.uint64)


@intrinsic
def floats_of(typing_context: Any, address: Any) -> Any:
    """A pointer to what lies at an address of 32-bit elements, as float32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(sig.return_type))

    if not isinstance(address, Pointer):
        return None
    return Pointer(types.float32)(address), codegen
