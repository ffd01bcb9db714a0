"""Attributes by themselves: values of one kind, exact comparisons, the table of strings, and what is stored."""

import math
import operator
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from annlab import col
from annlab.core.attributes import Attribute, as_attribute
from annlab.core.conditions import evaluate
from annlab.core.strings import Strings

NEAR = [0, 1, 2**53, 2**53 + 1, 2**60, 2**60 + 1, 2**63 - 1, -(2**53) - 1, -(2**63)]
VALUES = st.one_of(
    st.sampled_from(NEAR),
    st.integers(-(2**64), 2**64),
    st.floats(allow_nan=False),
    st.sampled_from([0.5, 2.0**60, 1e300]),
    st.booleans(),
)
COMPARE = dict(zip("== != < <= > >=".split(), (operator.eq, operator.ne, operator.lt, operator.le, operator.gt,
                                              operator.ge)))  # fmt: skip
COLUMNS = {
    "int64": [*NEAR, None],
    "float64": [0.0, -0.5, 2.0**53, 2.0**60, np.nextafter(2.0**60, 0), math.inf, -math.inf, 1e300, math.nan],
    "bool": [True, False, None],
}


def _number(value):
    return value if isinstance(value, float) and not math.isfinite(value) else Fraction(value)


@pytest.mark.parametrize("kind", COLUMNS)
@given(value=VALUES)
def test_numbers_are_compared_exactly(kind, value):
    values = COLUMNS[kind]
    attribute = as_attribute("a", values, len(values))
    assert attribute.kind == kind
    there = [None if v is None or v != v else _number(v) for v in values]
    for symbol, compare in COMPARE.items():
        expected = [symbol == "!=" if v is None else compare(v, _number(value)) for v in there]
        found = evaluate(col("a")._compared(symbol, value).key, {"a": attribute})
        assert found.tolist() == expected, (symbol, value)
    equal = [v is not None and v == _number(value) for v in there]
    assert evaluate(col("a").isin([value, 10**400, math.nan]).key, {"a": attribute}).tolist() == equal


@given(st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=20), st.text(max_size=3))
def test_columns_of_strings_compare_as_python_does(values, value):
    attribute = as_attribute("a", values, len(values))
    again = Attribute.from_arrays("a", attribute.arrays(), len(values))
    for some in (attribute, again, attribute[::-1][::-1], attribute.trimmed()):
        assert [v if isinstance(v, str) else None for v in some.array().tolist()] == values
        for symbol, compare in COMPARE.items():
            expected = [symbol == "!=" if v is None else compare(v, value) for v in values]
            assert evaluate(col("a")._compared(symbol, value).key, {"a": some}).tolist() == expected
        assert evaluate(col("a").is_missing().key, {"a": some}).tolist() == [v is None for v in values]


def test_values_are_read_as_they_are():
    def kind(values, n=2):
        attribute = as_attribute("a", values, n)
        return attribute.kind, attribute.array().tolist()

    assert kind([2**60 + 1, 3.0]) == ("int64", [2**60 + 1, 3])
    assert kind([1, 0.5]) == ("float64", [1.0, 0.5])
    assert kind(np.ma.array([2**60 + 1, 7], mask=[False, True])) == ("int64", [2**60 + 1, None])
    assert kind(np.array(["a", None], object)) == ("string", ["a", None])
    assert kind(i for i in range(2)) == ("int64", [0, 1])
    assert kind(np.array([1, 2], np.float16)) == ("float64", [1.0, 2.0])
    pyarrow = pytest.importorskip("pyarrow")
    assert kind(pyarrow.array([2**60 + 1, None])) == ("int64", [2**60 + 1, None])
    for bad, error in [
        ([2**60 + 1, 0.5], ValueError),
        ([1, "a"], ValueError),
        ([[1], [2]], ValueError),
        ("ab", ValueError),
        ([b"a", b"b"], TypeError),
        ([1, 2, 3], ValueError),
        ([1j, 2], TypeError),
        (["\ud800", "a"], ValueError),
        (np.array([2**63, 1], np.uint64), ValueError),
        (np.zeros(2, "M8[s]"), TypeError),
    ]:
        with pytest.raises(error, match=r"'a'|ud800"):
            as_attribute("a", bad, 2)


def test_a_table_keeps_no_string_that_nobody_has():
    attribute = as_attribute("a", [f"text {i}" for i in range(100)], 100)
    assert len(attribute[:10].trimmed().strings.texts) == 10 and len(attribute[:90].trimmed().strings.texts) == 100
    assert attribute[:10].trimmed().array().tolist() == attribute.array()[:10].tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"attribute": np.array([0, 2, -1], np.int32)},
        {"attribute": np.array([0, -2, -1], np.int32)},
        {"attribute": np.array([0, 1], np.int32)},
        {"attribute": np.array([0, 1, 1], np.int16)},
        {"strings": np.array([255, 97], np.uint8)},
        {"strings": np.array([97, 97], np.uint8)},
        {"string_ends": np.array([2, 1])},
        {"string_ends": np.array([1, 3])},
        {"string_ends": np.array([-1, 2])},
        {"missing": np.zeros(3, bool)},
    ],
)
def test_arrays_that_do_not_fit_together(change):
    arrays = as_attribute("a", ["x", "y", None], 3).arrays()
    with pytest.raises(ValueError):
        Attribute.from_arrays("a", arrays | change, 3)


def test_indexes_that_share_a_table_may_both_add_to_it():
    table = Strings(["a", "b"])
    assert table.places(["c", "a", "c"]).tolist() == [2, 0, 2] and table.find("d") == -2
