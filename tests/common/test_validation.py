"""The door by itself; what each index does with what is handed in is tested with the contract."""

import numpy as np
import pytest

from annlab.common import validation
from annlab.common.validation import as_choice, as_ids, as_integer, as_number, as_vectors


def test_nothing_is_copied_without_need():
    array = np.random.default_rng(0).random((5, 3), dtype=np.float32)
    assert np.shares_memory(as_vectors(array), array)
    assert as_vectors(array.astype(np.float64)).dtype == np.float64
    for strange in (array[::-1], np.asfortranarray(array), array.astype(">f4"), array.astype(np.float16), array > 0.5):
        result = as_vectors(strange)
        assert (
            result.dtype == np.float32
            and result.flags.c_contiguous
            and result.flags.writeable
            and result.dtype.isnative
        )
        np.testing.assert_array_equal(result, strange)
    array.flags.writeable = False
    assert as_vectors(array).flags.writeable


def test_long_doubles_are_not_cut_to_floats():
    assert as_vectors(np.ones((2, 2), np.longdouble)).dtype == np.float64


def test_the_largest_values_that_work_do():
    for dim in (1, 100):
        limit = np.finfo(np.float32).max / (4 * np.sqrt(dim))
        as_vectors(np.full((2, dim), 0.99 * limit, np.float32))
        with pytest.raises(ValueError, match="overflow float32"):
            as_vectors(np.full((2, dim), 1.01 * limit, np.float32))
    as_vectors(np.full((1, 3), 0.99e150))
    with pytest.raises(ValueError, match="overflow float64"):
        as_vectors(np.full((1, 3), 1.01e150))
    with pytest.raises(ValueError, match=r"finite|overflow"):
        as_vectors(np.full((1, 3), 1e39), dtype=np.dtype(np.float32))  # finite as float64, not as what is kept


def test_integers_that_float32_holds():
    assert as_vectors(np.array([[2**24, -(2**24)]])).dtype == np.float32
    for dtype in (np.int32, np.int64, np.uint32):
        with pytest.raises(ValueError, match="16777217"):
            as_vectors(np.array([[2**24 + 1]], dtype))
    assert as_vectors(np.array([[2**40]]), dtype=np.dtype(np.float64))[0, 0] == 2**40
    with pytest.raises(ValueError, match=str(2**63)):
        as_vectors(np.array([[-(2**63)]]))


def test_the_first_bad_row_is_named():
    bad = np.zeros((50, 3), np.float32)
    bad[31, 1], bad[40] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"row 31 holds nan \(2 of 50"):
        as_vectors(bad, name="queries")


def test_ids_are_taken_or_refused_by_name():
    assert as_ids(3).tolist() == [3] and as_ids([]).dtype == np.int64
    assert as_ids(np.array([7, 2**63 - 1], np.uint64)).tolist() == [7, 2**63 - 1]
    assert validation.first_duplicate(np.array([3, 1, 3, 1])) in (1, 3)
    assert validation.first_duplicate(np.array([3, 1])) is None


@pytest.mark.parametrize("spacing", [1, 3, 4, 5, 10**12])  # they are marked in a table, or sorted
def test_an_id_given_twice_is_found_however_far_apart_ids_are(spacing):
    ids = np.random.default_rng(0).permutation(1000) * spacing + 2**40
    assert validation.first_duplicate(ids) is None
    ids[77] = ids[500]
    assert validation.first_duplicate(ids) == ids[500]


def test_numbers_are_taken_or_refused_by_name():
    assert as_integer("k", np.int8(3), 1, 5) == 3 and type(as_integer("k", np.int8(3), 1)) is int
    with pytest.raises(ValueError, match="k must be between 1 and 5, but is 6"):
        as_integer("k", 6, 1, 5)
    for bad in (1.0, "3", None, True, np.True_):
        with pytest.raises(TypeError, match="k must be an integer"):
            as_integer("k", bad, 1)
    assert as_number("r", np.float32(0.5), 0) == 0.5
    with pytest.raises(ValueError, match=r"at least 0.*-1\.0"):
        as_number("r", -1, 0)


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(ValueError, match="not 'cosin'; did you mean 'cosine'"):
        as_choice("metric", "cosin", ("l2", "cosine"))
    with pytest.raises(
        TypeError, match=r"X has no parameter 'n_list'; did you mean 'n_lists'\? \(its parameters are n_lists"
    ):
        validation.unknown_names(["n_list"], ["n_lists"], "X")
    with pytest.raises(TypeError, match="it has none"):
        validation.unknown_names(["a"], [], "X")
