"""Values that a cast would change are refused by their value, wherever arrays enter the evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from annlab.evaluation import Judgements, click_through, from_embeddings, from_judgements, from_rankings, true_distances
from annlab.evaluation.checks import as_doubles, as_grades, as_ids, as_labels

ONE = [[1.0, 0.0], [0.0, 1.0]]
MASKED = np.ma.array([1, 2, 3], mask=[False, True, False])


@pytest.mark.parametrize(
    ("values", "error", "shown"),
    [
        ([1.5, 2], TypeError, "1.5"),
        ([1.0, np.nan], TypeError, "nan"),
        (np.array([3.0, 4.0]), TypeError, "float64, for example 3.0"),
        (np.array([2**63, 1], np.uint64), ValueError, "9223372036854775808"),
        ([2**63, 1], ValueError, "9223372036854775808"),
        ([2**63, -1], ValueError, "9223372036854775808"),  # NumPy makes these floats
        ([2**60 + 1, 0.5], TypeError, r"floats \(0.5\) and integers \(1152921504606846977\)"),
        ([2**70], ValueError, str(2**70)),
        ([1, "2"], TypeError, r"integers \(1\) and strings \('2'\)"),
        (["1"], TypeError, "for example 1"),
        ([True, 2], TypeError, r"bools \(True\) and integers \(2\)"),
        ([True], TypeError, "bool"),
        ([1, None], TypeError, r"integers \(1\) and objects \(None\)"),
        (np.array([1, None]), TypeError, "one entry is None"),
        (np.array([1, 2.5], object), TypeError, "one entry is 2.5"),
        (np.array(["a", "b"], object), TypeError, "must be integers"),
        (MASKED, ValueError, "1 masked entries"),
        (np.array(["2020-01-01"], "datetime64[D]"), TypeError, "2020-01-01"),
    ],
)
def test_ids_are_integers_or_an_error_that_names_the_value(values, error, shown):
    with pytest.raises(error, match=f"names.*{shown}"):
        as_ids(values, "names", 1)


def test_ids_of_every_integer_type_and_of_tables_are_taken():
    for values in ([3, 1], (3, 1), np.array([3, 1], np.uint8), np.array([3, 1], ">i4"), np.array([3, 1], object)):
        ids = as_ids(values, "ids", 1)
        assert ids.dtype == np.int64 and ids.tolist() == [3, 1]
    assert as_ids([range(2), [5, 6]], "ids", 2).tolist() == [[0, 1], [5, 6]]
    assert as_ids([np.array([2**62]), [1]], "ids", 2).tolist() == [[2**62], [1]]
    assert as_ids([], "ids", 1).dtype == np.int64


@pytest.mark.parametrize(
    ("values", "error", "shown"),
    [
        (["cat", 1], TypeError, r"integers \(1\) and strings \('cat'\)"),
        ([True, 2], TypeError, "bools"),
        ([1.0, 2.0], TypeError, "for example 1.0"),
        (np.array(["cat", None]), TypeError, "one entry is None"),
        (np.array(["cat", 3.5], object), TypeError, "one entry is 3.5"),
        (np.array([2**63 + 1, 2**63], np.uint64), ValueError, "9223372036854775809"),
        ([b"cat"], TypeError, "cat"),
    ],
)
def test_labels_are_of_one_kind(values, error, shown):
    with pytest.raises(error, match=shown):
        as_labels(values, "labels")


def test_labels_of_tables_are_strings():
    assert as_labels(np.array(["cat", "dog"], object), "labels").dtype.kind == "U"
    assert as_labels(np.array([1, 2], object), "labels").dtype == np.int64


@pytest.mark.parametrize(
    ("call", "error", "shown"),
    [
        (lambda: from_rankings([[2**63, 1]], [{1}], measures=["mrr"]), ValueError, "9223372036854775808"),
        (lambda: from_rankings([[3, 1]], [{1: 1, "3": 2}], measures=["mrr"]), TypeError, r"strings \('3'\)"),
        (lambda: from_rankings([[3, 1]], [{1.5}], measures=["mrr"]), TypeError, "1.5"),
        (lambda: Judgements.from_lists([{1: "3"}]), TypeError, "for example 3"),
        (lambda: Judgements.from_lists([{1: None}]), TypeError, "None|object"),
        (lambda: Judgements.from_lists([{True: 1, 2: 1}]), TypeError, "bools"),
        (lambda: Judgements([0, 1], [1], query_ids=[0.5]), TypeError, "0.5"),
        (lambda: from_judgements([1, 2.5], [1, 2], [1, 1], [0.1, 0.2]), TypeError, "2.5"),
        (lambda: from_embeddings(ONE, ["1", "2"], ONE, [1, 2]), TypeError, r"'1'.*int64 \(1\)|'1'\)"),
        (lambda: from_embeddings(ONE, [True, False], ONE, [1, 0]), TypeError, "use one kind"),
        (lambda: from_embeddings([[2**60 + 1], [0]], [0, 1], [[0], [1]], [0, 1]), ValueError, "1152921504606846977"),
        (lambda: from_embeddings(ONE, [0, 1], ONE, [0, 1], exclude_self=[0.0, 1.5]), TypeError, "1.5"),
        (lambda: true_distances([[2**53 + 1]], [[2**53]], [[0]], "l2"), ValueError, "9007199254740993"),
        (lambda: click_through([1, 2.5], [1, 1], [1, 1], [True, False]), TypeError, "2.5"),
        (lambda: as_grades([2**53 + 1, 2**53], "grades", 1), ValueError, "9007199254740993"),
        (lambda: as_doubles(MASKED, "numbers", 1), ValueError, "1 masked entries"),
    ],
)
def test_every_door_of_the_evaluation_refuses_what_it_would_change(call, error, shown):
    with pytest.raises(error, match=shown):
        call()


def test_unsigned_and_signed_labels_meet_without_a_detour_over_floats():
    labels = np.array([2**62 + 1, 2**62], np.uint64)  # as floats they would be equal
    result = from_embeddings(ONE, labels, ONE, labels.astype(np.int64), exclude_self=True, measures=["mrr"])
    assert result.n_relevant.tolist() == [0, 0]


def test_grades_may_be_yes_and_no():
    assert Judgements.from_lists([{3: True, 4: False}, {5, 6}, {7: 2.5}]).grades.tolist() == [1, 0, 1, 1, 2.5]


def test_a_log_from_a_table_is_read_and_a_missing_word_named():
    words = np.array(["Click", "impression"], object)
    assert click_through([1, 1], [1, 1], [1, 2], words).overall.clicks == 1
    with pytest.raises(TypeError, match="clicked must be of one kind, but one entry is None"):
        click_through([1, 1], [1, 1], [1, 2], np.array(["Click", None], object))


def test_rows_of_different_lengths_are_said_to_be_that():
    with pytest.raises(ValueError, match=r"ranked_ids has rows of 1 to 3 entries: .*pad with -1"):
        from_rankings([[1, 2, 3], [4], [5, 6]], [{1}, {4}, {5}])
