"""Times of single kernels, apart from the tests: ``python -m pytest benchmarks/kernels --benchmark-only``.

A kernel's benchmark checks its result once before it is timed (a kernel that computes nothing is very fast), and stands
beside the numpy expression for the same work, which is the line to beat.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pytest_benchmark")

QUERIES, ROWS = 240, 8192


@pytest.fixture(params=[50, 128, 784], ids="d={}".format)
def vectors(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Queries and rows of one dimension, seeded."""
    rng = np.random.default_rng(0)
    dim = request.param
    return rng.random((QUERIES, dim), dtype=np.float32), rng.random((ROWS, dim), dtype=np.float32)


def report_rate(benchmark: Any, operations: float) -> None:
    """Put the rate beside the time."""
    benchmark.extra_info["GFLOP/s"] = round(operations / benchmark.stats.stats.median / 1e9, 1)


@pytest.mark.benchmark(group="nearest of a block")
def test_numpy_nearest(benchmark: Callable[..., Any], vectors: tuple[np.ndarray, np.ndarray]) -> None:
    """The nearest row of every query: a matrix product, half-norms, argmin. The reference of every scan kernel."""
    queries, rows = vectors
    half_norms = np.einsum("ij,ij->i", rows, rows) / 2

    def nearest() -> np.ndarray:
        return (half_norms - queries @ rows.T).argmin(axis=1)

    direct = np.square(queries[0] - rows).sum(axis=1)
    assert direct[nearest()[0]] == pytest.approx(direct.min(), rel=1e-5)
    benchmark(nearest)
    report_rate(benchmark, 2.0 * queries.size * len(rows))
