"""What may be handed in: element types and memory layouts; that none of it is changed, nor anything global touched."""

import copy
import random
import threading
import warnings

import numba
import numpy as np
import pytest

import annlab
from tests import oracle
from tests.contract.checks import check_neighbors, same

ROWS = np.random.default_rng(0).integers(0, 2, size=(120, 10)) * np.arange(1, 11) % 2 + np.eye(120, 10)
TYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool",
         ">f4", ">f8", ">i2", "<f4"]  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES)
def test_every_element_type_is_taken(entry, dtype):
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
def test_every_memory_layout_gives_the_same_answers(entry, layout, tmp_path):
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
    for array, kept in zip(given, copies, strict=True):
        np.testing.assert_array_equal(array, kept)
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


IDS = {
    "range": lambda ids: range(ids[0], ids[-1] + 1),
    "keys": lambda ids: dict.fromkeys(ids).keys(),
    "generator": lambda ids: (number for number in ids),
    "unsigned": lambda ids: np.array(ids, np.uint64),
    "objects": lambda ids: np.array(ids, object),
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_in_whatever_holds_them(entry, kind):
    make, vectors = IDS[kind], np.eye(20, 4)
    index = entry.make().fit(vectors[:10], make([*range(100, 110)]))
    assert index.add(vectors[:3], make([200, 201, 202])).tolist() == [200, 201, 202]
    index.update(make([201, 202]), vectors[:2])
    assert index.vectors(make([100, 101])).shape == (2, 4)
    for ids in (make([101, 102]), {101, 102}, frozenset([101, 102])):
        assert set(index.search(vectors[0], 4, allowed=ids, **entry.exhaustive).ids.tolist()) == {101, 102, -1}
    each = [make([101, 102]), {103}]
    found = index.search(vectors[:2], 3, allowed=each, **entry.exhaustive).ids
    assert set(found[0].tolist()) == {101, 102, -1} and set(found[1].tolist()) == {103, -1}
    assert index.remove({200}) + index.remove(make([201, 202])) == 3


def _column(array):
    column = np.empty(len(array), object)
    column[:] = list(array)
    return column


EMBEDDINGS = {
    "arrays": _column,
    "lists": lambda a: _column(a.tolist()),
    "one column": lambda a: _column(a)[:, None],
    "pandas": lambda a: pytest.importorskip("pandas").Series(list(a)),
    "arrow": lambda a: pytest.importorskip("pyarrow").array(a.tolist()),
    "arrow, fixed": lambda a: pytest.importorskip("pyarrow").FixedSizeListArray.from_arrays(
        pytest.importorskip("pyarrow").array(a.ravel()), a.shape[1]
    ),
    "tensors": lambda a: list(pytest.importorskip("torch").from_numpy(a).requires_grad_()),
    "bfloat16": lambda a: a.astype(pytest.importorskip("ml_dtypes").bfloat16),
    "bfloat16 of torch": lambda a: pytest.importorskip("torch").from_numpy(a).bfloat16(),
}


@pytest.mark.parametrize("kind", EMBEDDINGS)
def test_columns_of_embeddings_and_small_floats(entry, kind):
    vectors = ROWS.astype(np.float32)
    expected = entry.make().fit(vectors).search(vectors[:7], 4)
    index = entry.make().fit(EMBEDDINGS[kind](vectors[:100]))
    index.add(EMBEDDINGS[kind](vectors[100:]))
    assert (index.vectors() == vectors).all()
    if entry.judged_exactly:
        found = index.search(EMBEDDINGS[kind](vectors[:7]), 4, **entry.exhaustive)
        wanted = expected if entry.exact else found
        np.testing.assert_array_equal(found.distances.astype(np.float32), wanted.distances.astype(np.float32))


def test_embeddings_of_several_lengths(entry):
    ragged = _column([np.ones(3), np.ones(3), np.ones(2)])
    for bad in (ragged, _column([np.ones(3), None])):
        with pytest.raises(ValueError, match=r"row [12] has shape \((2,)?\), row 0 has \(3,\)"):
            entry.make().fit(bad)
    with pytest.raises(ValueError, match="masked"):
        entry.make().fit(np.ma.array(np.eye(3), mask=np.eye(3) > 0))


@pytest.mark.parametrize("power", [-170, -200, -310, -320])
def test_faint_vectors_are_told_apart_or_refused(entry, metric, power):
    """float64 whose squares underflow: right, or refused where a direction is asked for."""
    rng = np.random.default_rng(-power)
    vectors = rng.standard_normal((120, 5)) * 2.0**-4 * 10.0**power
    queries = vectors[:9] + rng.standard_normal((9, 5)) * 10.0 ** (power - 1)
    if metric == "cosine":
        with pytest.raises(ValueError, match=r"row 0 .*direction.*lost in float64 below 1e-150"):
            entry.make(metric).fit(vectors)
        index = entry.make(metric).fit(rng.standard_normal((50, 5)))
        for some in (queries, queries[0]):
            with pytest.raises(ValueError, match=r"queries row 0 .*direction"):
                index.search(some, 3)
        vectors[:] = 0  # a zero vector is at distance 1, as ever
        assert (entry.make(metric).fit(vectors).search(rng.standard_normal(5), 3).distances == 1).all()
        return
    if metric == "ip":
        queries = queries * 10.0**140 * 10.0 ** (-power - 100)
    index = entry.make(metric).fit(vectors[:100])
    index.add(vectors[100:])
    found = index.search(queries, 4, **entry.exhaustive)
    check_neighbors(found, queries, np.arange(120), vectors, metric, 4, entry.judged_exactly)
    if entry.judged_exactly:
        if metric == "l2":
            true = np.sort(oracle.distances(queries * 2.0**600, vectors * 2.0**600, "l2"), axis=1)
            np.testing.assert_allclose(found.distances * 2.0**600, true[:, :4], rtol=1e-9, atol=2.0**-470)
        for i in (0, 5):
            same(index.search(queries[i], 4, **entry.exhaustive), (found.distances[i], found.ids[i]))


@pytest.mark.parametrize("power", [-120, -170, -300])
def test_inner_products_that_underflow_keep_their_order(entry, power):
    """Faint queries and faint rows: the products are 0 in float64, the order is that of vectors of any other length."""
    if "ip" not in entry.metrics:
        return
    rng = np.random.default_rng(-power)
    vectors, queries = rng.standard_normal((150, 5)), rng.standard_normal((9, 5))
    scale = 2.0 ** int(power * 3.33)
    faint = entry.make("ip").fit(scale * vectors[:140])
    faint.add(scale * vectors[140:])
    for lengths in (1.0, 2.0 ** -np.arange(9.0)[:, None]):
        found = faint.search(scale * lengths * queries, 4, **entry.exhaustive)
        assert (found.distances == -0.0).all() or power > -170
        if entry.judged_exactly:
            assert np.array_equal(found.ids, np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :4])
        for i in (0, 5):
            same(
                faint.search((scale * lengths * queries)[i], 4, **entry.exhaustive), (found.distances[i], found.ids[i])
            )
    within = faint.search_radius(scale * queries, -scale * 1.0, **entry.exhaustive)
    if entry.judged_exactly:  # products of at least scale, that is of at least 1 / scale before
        assert len(within.ids) == 0
        everything = faint.search_radius(scale * queries[:1], np.inf, limit=4, **entry.exhaustive)
        assert np.array_equal(everything.ids, faint.search(scale * queries[0], 4, **entry.exhaustive).ids)


def test_ordinary_queries_and_rows_among_faint_vectors(entry, metric, tmp_path):
    """What is larger than the rest by more than float64 can hold, when it is scaled as they are, is a vector too."""
    if metric == "cosine":
        return
    rng = np.random.default_rng(5)
    vectors, large = rng.standard_normal((150, 5)) * 1e-307, rng.standard_normal((25, 5)) * 1e140
    index = entry.make(metric).fit(vectors)
    for some in (large[:9], large[0]):
        found = index.search(some, 4, **entry.exhaustive)
        assert (found.ids >= 0).all() and np.isfinite(found.distances).all()
    index.add(large)
    index.save(tmp_path / "index")
    compacted = copy.copy(index)
    compacted.compact()
    for now in (index, annlab.load(tmp_path / "index"), compacted):
        found = now.search(large[:9], 1, **entry.exhaustive)
        check_neighbors(found, large[:9], np.arange(175), np.concatenate([vectors, large]), metric, 1,
                        entry.judged_exactly)  # fmt: skip
        assert (now.search(vectors, 4, **entry.exhaustive).ids >= 0).all()


def test_inner_products_that_float32_does_not_hold(entry):
    if "ip" not in entry.metrics:
        return
    large = 1e19 * np.ones((10, 4))
    with pytest.raises(ValueError, match=r"row 0 .*1e\+19; inner products would overflow float32 above 9\.22e\+18"):
        entry.make("ip").fit(large.astype(np.float32))
    index = entry.make("ip").fit((0.9 * large).astype(np.float32))
    with pytest.raises(ValueError, match="inner products would overflow"):
        index.search(large, 3)
    assert np.isfinite(index.search(0.9 * large, 3).distances).all()
    assert np.allclose(entry.make("ip").fit(large).search(large, 3).distances, -4e38)
