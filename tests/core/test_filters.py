"""Conditions, their spelling and their masks; bitsets. What filters do in a search is tested with the contract."""

import numpy as np
import pytest

import annlab
from annlab.common import rowsets
from annlab.core import search
from annlab.core.filters import condition_mask


@pytest.fixture
def index():
    attributes = {"owner": np.array([1, 2, 3, 2]), "private": np.array([True, False, True, False])}
    return annlab.ExactIndex().fit(np.eye(4), attributes=attributes)


def test_conditions_say_what_they_are():
    col = annlab.col
    condition = ~(col("a") >= 2) | (col("b") & col("c").isin([1, 2]))
    assert repr(condition) == "(~(col('a') >= 2) | (col('b') & (col('c') in (1, 2))))"
    assert (col("a") == np.int8(3)).key == (col("a") == 3).key


def test_mistakes_with_conditions_are_explained():
    col = annlab.col
    with pytest.raises(TypeError, match=r"& \| ~"):
        bool(col("a") == 1 and col("b") == 2)
    with pytest.raises(TypeError, match="parentheses"):
        col("private") & 3
    with pytest.raises(TypeError, match="numbers, bools or strings, not with"):
        _ = col("a") == b"x"
    with pytest.raises(TypeError, match="named by a string"):
        col(3)


def test_masks_are_remembered_and_extended(index):
    condition = annlab.col("owner") == 2
    state = index._state
    first = condition_mask(condition, state)
    assert condition_mask(annlab.col("owner") == 2, state) is first, "an equal condition is not evaluated again"
    index.add(np.eye(4)[:2], attributes={"owner": [2, 5], "private": [False, False]})
    later = condition_mask(condition, index._state)
    assert later.tolist() == [False, True, False, True, True, False] and first.tolist() == [False, True, False, True]
    for owner in range(200):  # what is remembered stays bounded
        condition_mask(annlab.col("owner") == owner, index._state)
    assert len(index._state.cache) <= 64
    assert condition_mask(condition, index._state).tolist() == later.tolist()


def test_a_compiled_filter_holds_no_old_state(index):
    compiled = index.filter(allowed=[0, 1, 9], excluded=[1])
    assert compiled.mask(index._state).tolist() == [True, False, False, False]
    index.remove([0])
    index.add(np.eye(4)[:1], [9], attributes={"owner": [1], "private": [True]})
    assert np.flatnonzero(compiled.mask(index._state) & index._state.alive.array).tolist() == [4]


def test_bitsets_pack_and_unpack_masks():
    rng = np.random.default_rng(0)
    for n in (0, 1, 63, 64, 65, 200):
        for shape in ((n,), (3, n)):
            mask = rng.random(shape) < 0.4
            words = rowsets.pack(mask)
            assert words.dtype == np.uint64 and words.shape == (*shape[:-1], -(-n // 64))
            np.testing.assert_array_equal(rowsets.unpack(words, n), mask)
            assert np.bitwise_count(words).sum() == mask.sum(), "no bits beyond the end"
    assert rowsets.pack(np.arange(130) == 129).tolist() == [0, 0, 2]


def test_a_few_queries_are_compared_with_allowed_rows_where_these_lie(monkeypatch):
    """No scanner is made, which would copy the rows and measure where they lie; the rows are looked up once."""
    rng, made = np.random.default_rng(1), []
    vectors, allowed = rng.random((1500, 8), dtype=np.float32), np.arange(7, 1500, 5)
    index, exact = annlab.LSHIndex().fit(vectors), annlab.ExactIndex().fit(vectors)
    compiled, scanner = index.filter(allowed=allowed), search.Scanner
    monkeypatch.setattr(search, "Scanner", lambda *given: made.append(0) or scanner(*given))
    for n in (1, 8, 9):
        stats = annlab.SearchStats()
        found = index.search(vectors[:n], 5, allowed=compiled, threads=1, stats=stats)
        true = exact.search(vectors[:n], 5, allowed=allowed)
        np.testing.assert_array_equal(found.ids, true.ids)
        np.testing.assert_array_equal(found.distances, true.distances)
        assert stats.exact_fallback.all() and (stats.distances == len(allowed)).all()
        assert (stats.bytes == len(allowed) * 8 * 4).all() and len(made) == (n > 8)
    words, _ = index._state.words(compiled.mask(index._state))
    assert index._state.sealed_rows_of(words) is index._state.sealed_rows_of(words)
