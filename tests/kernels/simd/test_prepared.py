"""Arrays and numbers in a block of memory, as kernels read them."""

import gc
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest

from annlab.kernels.simd.path import entry
from annlab.kernels.simd.prepared import Prepared, compiled_for, opened


class Inner(NamedTuple):
    words: Any
    n: int


class Outer(NamedTuple):
    floats: Any
    factor: float
    inner: Inner
    flag: bool
    last: Any


@entry
def read(path, table, out):
    t = opened(table)
    out[0], out[1], out[2] = t.floats[1] * t.factor, t.inner.words[2], t.inner.n
    out[3], out[4] = (1.0 if t.flag else 0.0), t.last[0]


def prepared(flag=True):
    return Prepared(Outer(np.arange(3, dtype=np.float32), 2.5, Inner(np.arange(4), -7), flag, np.float64([1e300])))


def test_a_kernel_reads_what_was_prepared():
    out = np.empty(5)
    for flag in (True, False):
        table = prepared(flag)
        gc.collect()  # it keeps its arrays alive
        compiled_for(read, (table.kind, numba.float64[::1]))(table, out)
        assert out.tolist() == [2.5, 2.0, -7.0, float(flag), 1e300]
    assert prepared().kind == prepared().kind and len(read.compiled.signatures) == 1


def test_what_is_changed_is_read_and_the_rest_stays():
    out, table = np.empty(5), prepared()
    content = table._kept[0]
    other = content._replace(inner=Inner(np.arange(10, 14), content.inner.n), flag=False, last=np.float64([7.0]))
    changed = table.changed(other)
    del other
    gc.collect()  # it keeps its arrays alive, too
    for one, wanted in ((changed, [2.5, 12.0, -7.0, 0.0, 7.0]), (table, [2.5, 2.0, -7.0, 1.0, 1e300])):
        compiled_for(read, (one.kind, numba.float64[::1]))(one, out)
        assert out.tolist() == wanted
    assert changed.kind is table.kind
    for kind in (content._replace(factor=1), content._replace(last=np.float32([1.0]))):
        assert table.changed(kind).kind == Prepared(kind).kind != table.kind


def test_what_kernels_could_not_read_is_refused():
    for array in (np.zeros((4, 4))[:, ::2], np.frombuffer(b"12345678", np.int32)):
        with pytest.raises(ValueError, match="not C-contiguous, aligned and writeable"):
            Prepared(Inner(array, 3))
    with pytest.raises(TypeError, match="float32 is no array, int or float"):
        Prepared(Inner(np.zeros(3), np.float32(1.5)))
