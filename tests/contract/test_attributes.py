"""Attributes of every kind in every index: strings, missing values, columns that come later; nothing is cut."""

import numpy as np
import pytest

import annlab
from annlab import col
from tests.contract.checks import check_neighbors, same

N = 240


def _content():
    rng = np.random.default_rng(0)
    brands = [None if i % 7 == 0 else f"brand {i % 5}" for i in range(N)]
    large = [None if i % 11 == 0 else 2**60 + i % 4 for i in range(N)]
    flags = [None if i % 6 == 0 else i % 2 == 0 for i in range(N)]
    return rng.integers(-3, 4, size=(N, 4)).astype(np.float32), {"brand": brands, "large": large, "flag": flags}


def _some(attributes, rows):
    return {name: [values[row] for row in rows] for name, values in attributes.items()}


def _expected(values, holds):
    return np.array([value is not None and holds(value) for value in values])


def test_conditions_on_strings_missing_values_and_large_integers(entry):
    vectors, attributes = _content()
    index = entry.make().fit(vectors[:150], attributes=_some(attributes, range(150)))
    index.add(vectors[150:], attributes=_some(attributes, range(150, N)))
    brand, large, flag = attributes["brand"], attributes["large"], attributes["flag"]
    cases = [
        (col("brand") == "brand 3", _expected(brand, lambda b: b == "brand 3")),
        (col("brand") != "brand 3", np.array([b != "brand 3" for b in brand])),
        (col("brand") >= "brand 2", _expected(brand, lambda b: b >= "brand 2")),
        (col("brand").isin(["brand 1", "none"]), _expected(brand, lambda b: b == "brand 1")),
        (col("brand").is_missing(), np.array([b is None for b in brand])),
        (~col("brand").is_missing() & ~(col("brand") == "brand 0"), _expected(brand, lambda b: b != "brand 0")),
        (col("large") == 2**60 + 1, _expected(large, lambda v: v == 2**60 + 1)),
        (col("large") <= float(2**60), _expected(large, lambda v: v <= 2**60)),
        (col("large") > 2**60 + 0.5, _expected(large, lambda v: v > 2**60)),
        (col("large").isin([2**60 + 1, 0.5]), _expected(large, lambda v: v == 2**60 + 1)),
        (col("large") < 2**70, _expected(large, lambda v: True)),
        (col("flag"), _expected(flag, bool)),
        (~col("flag"), ~_expected(flag, bool)),
        (col("flag") == 0, _expected(flag, lambda v: not v)),
    ]
    for again in (index, annlab.load(index.to_bytes())):
        for condition, mask in cases:
            assert again.select(condition).tolist() == np.flatnonzero(mask).tolist(), condition
            found = again.search(vectors[:5], 4, where=condition, **entry.exhaustive)
            check_neighbors(found, vectors[:5], np.arange(N), vectors, "l2", 4, entry.judged_exactly, mask)
        again.compact()
    for name, values in attributes.items():
        assert index.attributes([9, 7, 233])[name].tolist() == [values[i] for i in (9, 7, 233)]


def test_nothing_is_lost_where_values_meet(entry):
    index = entry.make().fit(np.eye(3), attributes={"price": [1, 2, 3], "flag": [True, False, True], "text": ["a"] * 3})

    def add(price=0, flag=False, text="b"):
        index.add(np.eye(1, 3), attributes={"price": [price], "flag": [flag], "text": [text]})

    before = index.content_hash()
    for bad, message in [
        ({"flag": 7}, "bools, and 7"),
        ({"flag": 0.5}, r"bools, and 0\.5"),
        ({"price": 2**63}, str(2**63)),
        ({"price": "1"}, "integers, and '1'"),
        ({"text": 1}, "strings, and 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            add(**bad)
        assert index.content_hash() == before
    add(price=2**60 + 1, flag=1)  # and 1 is True
    with pytest.raises(ValueError, match=rf"{2**60 + 1}.*9\.99"):
        add(price=9.99)
    index.remove([3])
    index.compact()
    add(price=np.nan, flag=None, text=None)
    add(price=9.0)
    assert index.attributes()["price"].tolist() == [1, 2, 3, None, 9], "9.0 is an integer, NaN no value"
    add(price=9.99)
    np.testing.assert_array_equal(index.attributes()["price"], [1, 2, 3, np.nan, 9, 9.99])
    assert index.select(col("price") > 9).tolist() == [5]
    assert index.select(col("text").is_missing() & col("flag").is_missing()).tolist() == [3]


def test_attributes_that_come_later(entry):
    index = entry.make().fit(np.eye(6, 4), ids=range(10, 16))
    query, half = np.eye(4)[0], col("kind") == "half"
    with pytest.raises(TypeError, match="kind"):
        index.select(half)
    index.set_attributes({"kind": ["half", "full"]}, ids=[14, 11])
    assert index.select(half).tolist() == [14] and index.select(col("kind").is_missing()).tolist() == [10, 12, 13, 15]
    compiled = index.filter(where=half)
    attributes = {**{name: [None] for name in index.attributes()}, "kind": ["half"], "price": [2.5]}
    index.add(np.eye(1, 4), [20], attributes=attributes)
    assert index.search(query, 3, where=half).ids.tolist() == [20, 14, -1]
    assert index.select(col("price") > 0).tolist() == [20], "new names may come with rows too"
    index.set_attributes({"kind": ["full", None]}, ids=[20, 14])
    for filtered in ({"where": half}, {"allowed": compiled}):
        assert (index.search(query, 3, **filtered).ids == -1).all()
    with pytest.raises(KeyError, match="id 99"):
        index.set_attributes({"kind": ["half"]}, ids=[99])
    with pytest.raises(ValueError, match="strings, and 3"):
        index.set_attributes({"kind": [3]}, ids=[10])
    index.set_attributes({"kind": [f"k{i}" for i in range(7)]})
    assert index.select(col("kind") == "k6").tolist() == [20]
    index.update([20], np.eye(1, 4))
    index.compact()
    assert index.select(col("kind") == "k6").tolist() == [20], "an update without attributes keeps them"


def test_attributes_set_while_the_index_is_compacted(entry, monkeypatch):
    vectors, attributes = _content()
    index = entry.make().fit(vectors, attributes=attributes)
    rebuild = annlab.core.builder.Builder.rebuild

    def meanwhile(*arguments):
        built = rebuild(*arguments)
        index.set_attributes({"brand": ["new"], "more": [7]}, ids=[8])
        index.remove([1])
        index.add(vectors[:1], attributes={**{name: [None] for name in index.attributes()}, "brand": ["newer"]})
        return built

    monkeypatch.setattr(annlab.core.builder.Builder, "rebuild", meanwhile)
    index.compact()
    assert index.select(col("brand").isin(["new", "newer"])).tolist() == [8, N]
    assert index.select(col("more") == 7).tolist() == [8]
    assert index.attributes([9])["brand"].tolist() == [attributes["brand"][9]]
    same(index.search(vectors[:3], 2, where=col("more") == 7), index.search(vectors[:3], 2, allowed=[8]))
