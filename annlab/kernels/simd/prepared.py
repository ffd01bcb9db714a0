"""What kernels are given again and again, prepared once: arrays and numbers as one block of memory.

Numba looks at every argument of a call, and at everything in a tuple, for tenths of a microsecond each; for what one
query needs to know of an index that adds up to more than the search. So a NamedTuple of arrays and numbers is written
into a block of memory, eight bytes for each, addresses in place of arrays. Its address goes to the kernel, and its
*type* says what lies there:

    table = Prepared(Table(vectors, len(vectors), ...))         # in Python, once
    t = opened(table)                                           # in a kernel: a Table of pointers and numbers

A NamedTuple may hold others. What was prepared is never written again, so any number of threads may use it, and it
keeps its arrays alive. `compiled_for` finds the compiled kernel, which does without Numba's look at the arguments.
"""

import functools
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import NativeValue, intrinsic, models, register_model, typeof_impl, unbox

from annlab.kernels.simd.path import PATH, entry
from annlab.kernels.simd.vector_types import I32, I64, Pointer


class PreparedType(types.Type):  # type: ignore[misc]
    """The type of an address at which the parts of a NamedTuple lie."""

    def __init__(self, content: types.NamedTuple) -> None:
        self.content = content
        self.places = [0, *accumulate(map(_n_leaves, content))][:-1]  # where the parts of each field begin
        super().__init__(name=f"Prepared({content})")


@register_model(PreparedType)
class _PreparedModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, fe_type: PreparedType) -> None:
        super().__init__(manager, fe_type, I64)


@unbox(PreparedType)
def _unbox(kind: PreparedType, value: Any, context: Any) -> NativeValue:
    return NativeValue(context.pyapi.long_as_longlong(value))


class Prepared(int):
    """The address of the parts of a NamedTuple whose fields are arrays, numbers, or such NamedTuples."""

    kind: PreparedType
    _kept: Any

    def __new__(cls, content: Any) -> "Prepared":
        leaves = list(_leaves(content))
        words = np.empty(len(leaves), np.int64)
        floats = words.view(np.float64)
        for place, value in enumerate(leaves):
            _write(value, words, floats, place)
        return cls._of(content, words, _prepared_type(_shape(content)))

    @classmethod
    def _of(cls, content: Any, words: np.ndarray, kind: PreparedType) -> "Prepared":
        result = super().__new__(cls, address(words))
        result.kind, result._kept = kind, (content, words)
        return result

    def changed(self, content: Any) -> "Prepared":
        """Another NamedTuple of the same class, in which few fields are others: what is the very same stays."""
        before, words = self._kept[0], self._kept[1].copy()
        floats = words.view(np.float64)
        for old, new, place in zip(before, content, self.kind.places, strict=True):
            if new is old:
                continue
            pairs = zip(_leaves(old), _leaves(new), strict=True) if isinstance(old, tuple) else ((old, new),)
            for at, (was, value) in enumerate(pairs, place):
                if type(was) is not type(value) or (isinstance(was, np.ndarray) and was.dtype != value.dtype):
                    return Prepared(content)
                if value is not was:
                    _write(value, words, floats, at)
        return self._of(content, words, self.kind)


def _write(value: Any, words: np.ndarray, floats: np.ndarray, place: int) -> None:
    """Put an address or a number into its place; `floats` are the same words."""
    if isinstance(value, np.ndarray):
        words[place] = address(value)
    elif isinstance(value, float):
        floats[place] = value
    elif isinstance(value, (int, np.integer)):
        words[place] = value
    else:
        raise TypeError(f"{type(value).__name__} is no array, int or float")


@typeof_impl.register(Prepared)
def _typeof(value: Prepared, context: Any) -> PreparedType:
    return value.kind


def address(array: np.ndarray) -> int:
    """Where the elements of an array begin; the array must be as kernels expect it."""
    if not array.flags.carray:
        raise ValueError(f"an array of shape {array.shape} is not C-contiguous, aligned and writeable")
    return int(array.__array_interface__["data"][0])


def _leaves(content: Any) -> Iterator[Any]:
    """The arrays and numbers of a NamedTuple, in their order."""
    for value in content:
        if isinstance(value, tuple):
            yield from _leaves(value)
        else:
            yield value


def _shape(content: Any) -> tuple[Any, ...]:
    """The class of a NamedTuple, and what its fields are: such tuples, types of elements, or numbers."""
    return (
        type(content),
        *(
            _shape(value) if isinstance(value, tuple) else value.dtype if isinstance(value, np.ndarray) else type(value)
            for value in content
        ),
    )


def _n_leaves(kind: Any) -> int:
    return sum(map(_n_leaves, kind)) if isinstance(kind, types.NamedTuple) else 1


@functools.cache
def _prepared_type(shape: tuple[Any, ...]) -> PreparedType:
    return PreparedType(_content_type(shape))


def _content_type(shape: tuple[Any, ...]) -> types.NamedTuple:
    """What a kernel sees: pointers, float64 and int64."""
    kinds: list[Any] = []
    for each in shape[1:]:
        if isinstance(each, tuple):
            kinds.append(_content_type(each))
        elif isinstance(each, np.dtype):
            kinds.append(Pointer(numba.from_dtype(each)))
        else:
            kinds.append(types.float64 if issubclass(each, float) else types.int64)
    return types.NamedTuple(kinds, shape[0])


@intrinsic  # type: ignore[untyped-decorator]
def opened(typing_context: Any, prepared: Any) -> Any:
    """The NamedTuple at the address, with pointers in place of its arrays."""
    if not isinstance(prepared, PreparedType):
        return None
    result = prepared.content

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        words = builder.inttoptr(args[0], I64.as_pointer())

        def read(kind: Any, place: int) -> tuple[Any, int]:
            if isinstance(kind, types.NamedTuple):
                parts = []
                for each in kind:
                    part, place = read(each, place)
                    parts.append(part)
                return context.make_tuple(builder, kind, parts), place
            llvm = context.get_value_type(kind)
            at = builder.gep(words, [ir.Constant(I32, place)])
            return builder.load(builder.bitcast(at, llvm.as_pointer())), place + 1

        return read(result, 0)[0]

    return result(prepared), codegen


@functools.cache
def compiled_for(kernel: entry, kinds: tuple[Any, ...]) -> Callable[..., Any]:
    """The compiled form of a kernel for arguments of these types, to be called as the kernel is.

    It takes what it is given for what was promised: anything else would crash the process. Compiles, or loads, at once.
    """
    return functools.partial(kernel.compiled.compile((numba.typeof(PATH), *kinds)), PATH)
