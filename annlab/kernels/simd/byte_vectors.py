"""Bytes and bits in registers: what quantized scans are made of.

- `dot_bytes(sums, unsigned, signed)` adds to every int32 lane the four products of the bytes below it: one instruction
  with VNNI; without it, on AVX2 and AVX-512, the products are added in pairs to 16 bits and these to 32, which is exact
  as long as no signed byte is larger than `LARGEST_SIGNED`; plain arithmetic elsewhere.
- `lookup(table, index)` picks from sixteen bytes by the lower four bits, in every group of 16 lanes.
- `count_bits` counts the set bits of every lane.

A byte vector fills a register like any other: 64 lanes on AVX-512, as `load` of a byte pointer gives them.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from annlab.kernels.simd.path import HAS_BYTE_DOT, PATH_NAME
from annlab.kernels.simd.registers import _registers
from annlab.kernels.simd.vector_types import I32, Pointer, Vector, call_llvm, native, splat_value

_INTS = native(types.int32)
_BYTES = native(types.uint8)
_SIGNED = native(types.int8)
_SHORTS = ir.VectorType(ir.IntType(16), 2 * _INTS.lanes)
short_registers = _registers(types.int16)
_PAIRWISE = {  # multiply bytes and add in pairs, the same for 16 bits
    "avx512": ("llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512"),
    "avx2": ("llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd"),
}
LARGEST_SIGNED = 64 if PATH_NAME in _PAIRWISE and not HAS_BYTE_DOT else 127  # 2 * 255 * 64 fits into 16 bits


@intrinsic
def splat_quad(typing_context: Any, address: Any) -> Any:
    """The four bytes at an address, in every int32 lane; a vector of the pointer's element type."""
    vector = native(address.element)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        quad = builder.load(builder.bitcast(args[0], I32.as_pointer()), align=1)
        return builder.bitcast(splat_value(builder, quad, _INTS.llvm), vector.llvm)

    return vector(address), codegen


def _four_products(builder: Any, unsigned: Any, signed: Any) -> Any:
    """The sum of the four products below every int32 lane, in plain arithmetic."""
    a, b = builder.bitcast(unsigned, _INTS.llvm), builder.bitcast(signed, _INTS.llvm)
    top, lowest = (ir.Constant(_INTS.llvm, [value] * _INTS.lanes) for value in (24, 255))
    result = None
    for byte in range(4):
        shift = ir.Constant(_INTS.llvm, [8 * byte] * _INTS.lanes)
        up = ir.Constant(_INTS.llvm, [24 - 8 * byte] * _INTS.lanes)
        x = builder.and_(builder.lshr(a, shift), lowest)
        product = builder.mul(x, builder.ashr(builder.shl(b, up), top))
        result = product if result is None else builder.add(result, product)
    return result


@intrinsic
def dot_bytes(typing_context: Any, sums: Any, unsigned: Any, signed: Any) -> Any:
    """sums + the products of four unsigned and four signed bytes (LARGEST_SIGNED at most), in every int32 lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if HAS_BYTE_DOT:
            return call_llvm(builder, "llvm.x86.avx512.vpdpbusd.512", _INTS.llvm, list(args))
        if PATH_NAME not in _PAIRWISE:
            return builder.add(args[0], _four_products(builder, args[1], args[2]))
        of_bytes, of_shorts = _PAIRWISE[PATH_NAME]
        pairs = call_llvm(builder, of_bytes, _SHORTS, [args[1], args[2]])
        ones = ir.Constant(_SHORTS, [1] * _SHORTS.count)
        return builder.add(args[0], call_llvm(builder, of_shorts, _INTS.llvm, [pairs, ones]))

    if (sums, unsigned, signed) != (_INTS, _BYTES, _SIGNED):
        return None
    return sums(sums, unsigned, signed), codegen


@intrinsic
def ints_to_floats(typing_context: Any, value: Any) -> Any:
    """int32 lanes as float32, rounded to nearest."""
    result = Vector(types.float32, value.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.sitofp(args[0], result.llvm)

    return result(value), codegen


@intrinsic
def floats_to_ints(typing_context: Any, value: Any) -> Any:
    """float32 lanes as int32, truncated towards zero; they must be in range."""
    result = Vector(types.int32, value.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fptosi(args[0], result.llvm)

    return result(value), codegen


@intrinsic
def count_bits(typing_context: Any, value: Any) -> Any:
    """How many bits are set, lane by lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return call_llvm(builder, f"llvm.ctpop.{sig.args[0].suffix}", sig.args[0].llvm, list(args))

    return value(value), codegen


@intrinsic
def shift_right(typing_context: Any, value: Any, bits: Any) -> Any:
    """Every lane shifted right by so many bits, zeros coming in."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = sig.args[0]
        width = ir.IntType(vector.element.bitwidth)
        amount = context.cast(builder, args[1], sig.args[1], types.int64)
        amount = builder.trunc(amount, width) if width.width < 64 else amount
        return builder.lshr(args[0], splat_value(builder, amount, vector.llvm))

    return value(value, bits), codegen


@intrinsic
def as_elements(typing_context: Any, value: Any, pointer_of_kind: Any) -> Any:
    """The same bits as lanes of the element type of a pointer."""
    if not isinstance(pointer_of_kind, Pointer):
        return None
    result = native(pointer_of_kind.element)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], result.llvm)

    return result(value, pointer_of_kind), codegen


@intrinsic
def as_shorts(typing_context: Any, value: Any) -> Any:
    """The same bits as lanes of int16."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], sig.return_type.llvm)

    return native(types.int16)(value), codegen


@intrinsic
def lookup(typing_context: Any, table: Any, index: Any) -> Any:
    """table[index & 15] of bytes, within every group of sixteen lanes; indexes must be below 128."""
    names = {"avx512": "llvm.x86.avx512.pshuf.b.512", "avx2": "llvm.x86.avx2.pshuf.b"}

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if PATH_NAME in names:
            return call_llvm(builder, names[PATH_NAME], _BYTES.llvm, list(args))
        result = ir.Constant(_BYTES.llvm, ir.Undefined)
        for lane in range(_BYTES.lanes):
            place = builder.and_(
                builder.extract_element(args[1], ir.Constant(I32, lane)), ir.Constant(ir.IntType(8), 15)
            )
            place = builder.or_(place, ir.Constant(ir.IntType(8), lane // 16 * 16))
            byte = builder.extract_element(args[0], builder.zext(place, I32))
            result = builder.insert_element(result, byte, ir.Constant(I32, lane))
        return result

    if (table, index) != (_BYTES, _BYTES):
        return None
    return table(table, index), codegen


@intrinsic
def low_bytes(typing_context: Any, value: Any) -> Any:
    """Float lanes from 0 to below 256 as uint8, truncated."""
    result = Vector(types.uint8, value.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        ints = builder.fptosi(args[0], ir.VectorType(I32, result.lanes))
        return builder.trunc(ints, result.llvm)

    return result(value), codegen


@intrinsic
def sixteen_sums(typing_context: Any, total: Any, odd: Any) -> Any:
    """Sixteen float32 sums from int16 lanes that are, sixteen bytes for sixteen rows, parts of these sums.

    Lane j of 16 bytes holds the sum of row 2 j + 1 in `odd`, and in `total` that of row 2 j plus 256 times the former,
    modulo 65,536. All the 16 bytes of a register are added up.
    """
    result = Vector(types.float32, 16)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = sig.args[0].llvm
        eight = ir.Constant(kind, [8] * kind.count)
        parts = builder.sub(args[0], builder.shl(args[1], eight)), args[1]
        lanes = kind.count
        while lanes > 8:
            lanes //= 2
            halves = [ir.Constant(ir.VectorType(I32, lanes), list(range(s, s + lanes))) for s in (0, lanes)]
            parts = tuple(builder.add(*(builder.shuffle_vector(p, p, half) for half in halves)) for p in parts)
        zipped = ir.Constant(ir.VectorType(I32, 16), [lane for j in range(8) for lane in (j, 8 + j)])
        together = builder.shuffle_vector(*parts, zipped)
        return builder.uitofp(builder.zext(together, ir.VectorType(I32, 16)), result.llvm)

    return result(total, odd), codegen
