"""What this machine can do at most: the limits that every measured rate is held against.

A kernel's time alone says little; its share of the machine's limit says whether anything is left to gain. Four limits
matter to nearest-neighbour search: the rate of fused multiply-adds in registers, that of dot products of bytes, that of
a good matrix product (what a library that calls BLAS can hope for), and the rate at which one core reads memory that no
cache holds (what a single query over a large set can hope for). All are for one thread, in CPU time, the best of
several tries: a limit is a maximum, and a busy machine only ever makes a try slower.

`LIMITS` is the list; a benchmark that needs another limit adds a function to it.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

ACCUMULATORS = 12  # independent sums: more than latency x throughput of any current core, and they fit 16 registers
READ_BYTES = 256 << 20  # far beyond any last-level cache


def cpu_features() -> frozenset[str]:
    """The instruction sets of this CPU by LLVM's names (``avx512f``, ``avx2``, ...)."""
    return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)


def made_by_intel() -> bool:
    """Whether Intel made this CPU, as far as Linux says: some libraries do less on others."""
    about = Path("/proc/cpuinfo")
    return about.exists() and "GenuineIntel" in about.read_text()


def float_lanes() -> int:
    """How many float32 values one register holds."""
    features = cpu_features()
    return 16 if "avx512f" in features else 8 if "avx2" in features else 4


def best_rate(work: Callable[[], object], amount: float, tries: int = 7, warmup: int = 1) -> float:
    """The best rate, `amount` per second of CPU time, over `tries` calls of `work`."""
    for _ in range(warmup):
        work()
    seconds = []
    for _ in range(tries):
        start = time.thread_time()
        work()
        seconds.append(time.thread_time() - start)
    return amount / max(min(seconds), 1e-9)


def _fma_chains(lanes: int) -> Any:
    """An intrinsic ``chains(steps, value)``: `ACCUMULATORS` independent chains of fused multiply-adds in registers."""
    vector = ir.VectorType(ir.FloatType(), lanes)

    @intrinsic
    def chains(typing_context: Any, steps: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            count, scalar = arguments
            undefined = ir.Constant(vector, ir.Undefined)
            lane_zero = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
            first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
            splat = builder.shuffle_vector(first, undefined, lane_zero)
            fma = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f32"
            )
            sums = [cgutils.alloca_once_value(builder, splat) for _ in range(ACCUMULATORS)]
            with cgutils.for_range(builder, count):
                for total in sums:
                    builder.store(builder.call(fma, [builder.load(total), splat, splat]), total)
            result = builder.load(sums[0])
            for total in sums[1:]:
                result = builder.fadd(result, builder.load(total))
            return builder.extract_element(result, ir.Constant(ir.IntType(32), 0))

        return types.float32(types.intp, types.float32), codegen

    return chains


def fma_rate() -> float:
    """Peak float32 rate in GFLOP/s: fused multiply-adds that never leave the registers."""
    lanes, steps = float_lanes(), 4_000_000
    chains = _fma_chains(lanes)

    @numba.njit
    def run(steps: int, value: float) -> float:
        return chains(steps, value)

    return best_rate(lambda: run(steps, 0.5), 2.0 * steps * ACCUMULATORS * lanes) / 1e9


def matrix_product_rate(product: Callable[[np.ndarray, np.ndarray], object], size: int = 1024) -> float:
    """GFLOP/s of ``product(a, b)`` for square float32 matrices."""
    a, b = np.random.default_rng(0).random((2, size, size), dtype=np.float32)
    return best_rate(lambda: product(a, b), 2.0 * size**3) / 1e9


def read_rate() -> float:
    """GB/s at which one thread reads memory that no cache holds, in one stream or in four, whichever is faster."""

    @numba.njit
    def one_stream(values: np.ndarray) -> int:
        total = 0
        for i in range(values.size):
            total += values[i]
        return total

    @numba.njit
    def four_streams(values: np.ndarray) -> int:
        quarter, total = values.size // 4, 0
        for i in range(quarter):
            total += values[i] + values[quarter + i] + values[2 * quarter + i] + values[3 * quarter + i]
        return total

    values = np.ones(READ_BYTES // 8, np.int64)
    rates = [
        best_rate(lambda: one_stream(values), values.nbytes, tries=5),
        best_rate(lambda: four_streams(values), values.nbytes, tries=5),
    ]
    return max(rates) / 1e9


def byte_dot_rate() -> float:
    """Peak rate of byte products in Gop/s (a multiplication and an addition are two), as annlab's SIMD path does them.

    Every step takes one register of rows and `ACCUMULATORS` queries, all from the first-level cache, so that nothing
    but the dot products themselves limits the rate, and a path that has no instruction for them can share no work.
    """
    from annlab.kernels.simd.byte_vectors import LARGEST_SIGNED, dot_bytes, splat_quad
    from annlab.kernels.simd.registers import LANES, int_registers, load, pointer, splat, store

    quads, tries = 64, 4000

    @numba.njit
    def run(rows: np.ndarray, queries: np.ndarray, sums: np.ndarray) -> None:
        block = int_registers(ACCUMULATORS)
        for j in range(ACCUMULATORS):
            block[j] = splat(np.int32(0))
        for _ in range(tries):
            row, query = pointer(rows), pointer(queries)
            for _ in range(quads):
                values = load(row)
                for j in range(ACCUMULATORS):
                    block[j] = dot_bytes(block[j], values, splat_quad(query + 4 * j))
                row += 4 * LANES
                query += 4 * ACCUMULATORS
        for j in range(ACCUMULATORS):
            store(pointer(sums) + j * LANES, block[j])

    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, quads * 4 * LANES).astype(np.uint8)
    queries = rng.integers(-LARGEST_SIGNED, LARGEST_SIGNED + 1, quads * 4 * ACCUMULATORS).astype(np.int8)
    sums = np.zeros(ACCUMULATORS * LANES, np.int32)
    return best_rate(lambda: run(rows, queries, sums), 2.0 * tries * quads * ACCUMULATORS * 4 * LANES) / 1e9


LIMITS: dict[str, Callable[[], float]] = {
    "float32 FMA, GFLOP/s": fma_rate,
    "int8 dot products, Gop/s": byte_dot_rate,
    "float32 matrix product (numpy), GFLOP/s": lambda: matrix_product_rate(np.matmul),
    "memory read, GB/s": read_rate,
}


def measure() -> dict[str, float]:
    """Every limit in `LIMITS`, measured now."""
    return {name: round(limit(), 1) for name, limit in LIMITS.items()}
