"""What may be handed in: element types and memory layouts; that none of it is changed, nor anything global touched."""

import random
import threading
import warnings

import numba
import numpy as np
import pytest

from tests.contract.checks import check_neighbors, same

ROWS = np.random.default_rng(0).integers(0, 2, size=(120, 10)) * np.arange(1, 11) % 2 + np.eye(120, 10)
TYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool",
         ">f4", ">f8", ">i2", "<f4"]  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES)
def test_element_types(entry, dtype):
    vectors = ROWS.astype(dtype)
    index = entry.make().fit(vectors)
    kept = np.float64 if vectors.dtype.kind == "f" and vectors.dtype.itemsize == 8 else np.float32
    assert index.vectors().dtype == kept
    found = index.search(vectors[:9], 6, **entry.exhaustive)
    check_neighbors(
        found, vectors[:9].astype(kept), np.arange(120), vectors.astype(kept), "l2", 6, entry.judged_exactly
    )
    other = np.float32 if kept == np.float64 else np.float64  # queries and additions are converted to what is kept
    same(index.search(vectors[:9].astype(other), 6, **entry.exhaustive), found)
    index.add(vectors[:3].astype(other))
    assert index.vectors().dtype == kept


def _memmap(array, folder):
    mapped = np.memmap(folder / "vectors", array.dtype, "w+", shape=array.shape)
    mapped[...] = array
    mapped.flush()
    return np.memmap(folder / "vectors", array.dtype, "r", shape=array.shape)


def _read_only(array):
    result = array.copy()
    result.flags.writeable = False
    return result


LAYOUTS = {
    "fortran": lambda a, folder: np.asfortranarray(a),
    "every second row": lambda a, folder: np.repeat(a, 2, axis=0)[::2],
    "every second column": lambda a, folder: np.repeat(a, 2, axis=1)[:, ::2],
    "backwards": lambda a, folder: a[::-1].copy()[::-1],
    "mirrored": lambda a, folder: a[:, ::-1].copy()[:, ::-1],
    "read-only": lambda a, folder: _read_only(a),
    "unaligned": lambda a, folder: np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
    "memory-mapped": _memmap,
    "lists": lambda a, folder: a.tolist(),
    "tuples": lambda a, folder: tuple(map(tuple, a.tolist())),
    "rows in a list": lambda a, folder: list(a),
    "matrix": lambda a, folder: np.asmatrix(a),
    "torch": lambda a, folder: pytest.importorskip("torch").from_numpy(a.copy()).requires_grad_(),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layouts(entry, layout, tmp_path):
    plain = np.random.default_rng(1).standard_normal((90, 7))
    plain = plain if layout in ("lists", "tuples") else plain.astype(np.float32)  # lists hold Python's float64
    expected = entry.make().fit(plain).search(plain[:20], 5)
    strange = LAYOUTS[layout](plain, tmp_path)
    same(entry.make().fit(strange).search(LAYOUTS[layout](plain[:20], tmp_path), 5), expected)
    added = entry.make().fit(plain[:50])
    added.add(LAYOUTS[layout](plain[50:], tmp_path))
    added.update(np.arange(20), LAYOUTS[layout](plain[:20], tmp_path))
    np.testing.assert_array_equal(added.vectors(), plain)


def test_what_is_handed_in_is_neither_changed_nor_kept(entry, metric):
    rng = np.random.default_rng(2)
    vectors, more, queries = (rng.standard_normal((n, 6)).astype(np.float32) for n in (150, 40, 15))
    ids, owner, allowed = rng.permutation(1000)[:150], rng.integers(3, size=150), np.arange(0, 1000, 2)
    given = [vectors, more, queries, ids, owner, allowed]
    copies = [array.copy() for array in given]
    index = entry.make(metric).fit(vectors, ids, attributes={"owner": owner})
    index.add(more, attributes={"owner": owner[:40]})
    before = index.search(queries, 5, allowed=allowed)
    for array, copy in zip(given, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    for array in (vectors, more, ids, owner):
        array[...] = 1  # the index has its own
    same(index.search(queries, 5, allowed=allowed), before)
    before.ids[...] = 5  # and so has the user
    index.ids[...] = 5
    index.vectors()[...] = 5
    again = index.search(queries, 5, allowed=allowed)
    assert (again.ids != 5).any()
    np.testing.assert_array_equal(again.distances, before.distances)


def test_nothing_global_is_touched(entry):
    vectors = np.random.default_rng(3).standard_normal((300, 9)).astype(np.float32)
    vectors[0], vectors[1] = 1e-40, 1e15  # rounding, underflow and overflow somewhere inside

    def everything():
        index = entry.make("cosine").fit(vectors)
        index.add(vectors[:20])
        index.search(vectors[:30], 4, threads=2)
        index.search(vectors[0], 4)
        index.search_radius(vectors[:3], 0.3)
        index.remove([0, 1])
        index.compact()

    def settings():
        legacy = str(np.random.mtrand._rand.get_state())
        return (numba.get_num_threads(), legacy, random.getstate(), np.geterr(), np.geterrcall(),
                str(warnings.filters), np.get_printoptions(), threading.excepthook)  # fmt: skip

    everything()  # compiles
    before = settings()
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        everything()
    assert settings() == before
