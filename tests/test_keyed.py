"""Keys and metadata: what a dictionary of vectors would answer, whatever is written."""

import copy
import io
import json
import threading

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import annlab
from annlab import CorruptIndexError, ExactIndex, KeyedIndex

KEYS = st.lists(st.sampled_from(["a", "b", "c", "d", "é/ü.png", "x y", "0"]), min_size=1, max_size=4, unique=True)
VALUES = st.one_of(
    st.none(), st.integers(-9, 9), st.text(max_size=3), st.dictionaries(st.text(max_size=2), st.booleans())
)


class Writes(RuleBasedStateMachine):
    """Any sequence of writes, against a dictionary."""

    def __init__(self):
        super().__init__()
        self.index, self.model = KeyedIndex(ExactIndex(metric="l2", dim=2)), {}
        self.rng = np.random.default_rng(0)

    def vectors(self, n):
        return self.rng.integers(-9, 9, (n, 2)).astype("f4")

    @rule(keys=KEYS, data=st.data(), replace=st.booleans())
    def add(self, keys, data, replace):
        vectors, metadata = self.vectors(len(keys)), [data.draw(VALUES) for _ in keys]
        if any(key in self.model for key in keys) and not replace:
            with pytest.raises(ValueError, match="is in the index already"):
                self.index.add(keys, vectors)
            return
        self.index.add(keys, vectors, metadata=metadata, on_duplicate="replace" if replace else "raise")
        self.model.update({k: (tuple(v), m) for k, v, m in zip(keys, vectors.tolist(), metadata, strict=True)})

    @rule(keys=KEYS)
    def remove(self, keys):
        present = [key for key in keys if key in self.model]
        assert self.index.remove(keys, missing="ignore") == len(present)
        for key in present:
            del self.model[key]

    @rule(keys=KEYS)
    def update(self, keys):
        keys = [key for key in keys if key in self.model]
        vectors = self.vectors(len(keys))
        if keys:
            self.index.update(keys, vectors)
        self.model.update({k: (tuple(v), self.model[k][1]) for k, v in zip(keys, vectors.tolist(), strict=True)})

    @rule()
    def store(self):
        file = io.BytesIO()
        self.index.save(file)
        if self.model:
            self.index = KeyedIndex.load(file.getvalue())

    @invariant()
    def same(self):
        assert len(self.index) == len(self.model) and set(self.index.keys) == set(self.model)
        if self.model:
            keys = list(self.model)
            np.testing.assert_array_equal(self.index.vectors(keys), [self.model[key][0] for key in keys])
            assert self.index.metadata(keys) == [self.model[key][1] for key in keys]
            distances, found = self.index.search([0.5, 0.25], k=len(keys))
            assert set(found) == set(keys)
            expected = [np.hypot(*np.subtract(self.model[key][0], (0.5, 0.25))) for key in found]
            np.testing.assert_allclose(distances, expected, rtol=1e-6)


TestWrites = Writes.TestCase


@pytest.fixture
def index():
    rng = np.random.default_rng(0)
    keys = [f"image {i}" for i in range(40)]
    index = KeyedIndex(annlab.ExactIndex(metric="cosine"))
    return index.fit(keys, rng.normal(size=(40, 5)))


def test_filters_are_keys_and_conditions(index):
    index.fit(index.keys, index.vectors(index.keys), attributes={"year": np.arange(40) + 1990})
    query = index.vectors(["image 7"])[0]
    assert index.search(query, 1).keys.tolist() == ["image 7"]
    assert index.search(query, 1, allowed=["image 3", "nowhere"]).keys.tolist() == ["image 3"]
    assert "image 7" not in index.search(query, 39, excluded=["image 7"]).keys
    late = index.search(query, 40, where=annlab.col("year") >= 2020).keys
    assert set(late[:10]) == {f"image {i}" for i in range(30, 40)} and set(late[10:]) == {None}


def test_batches_keep_their_shape_and_pads_have_no_key(index):
    distances, keys = index.search(index.vectors(["image 0", "image 1"]), k=50)
    assert distances.shape == keys.shape == (2, 50)
    assert (keys[:, 40:] == None).all() and np.isinf(distances[:, 40:]).all()  # noqa: E711


@pytest.mark.parametrize("kind", [annlab.IVFIndex(metric="l2"), annlab.KDTreeIndex(metric="l2")], ids=["ivf", "kd"])
def test_any_index_can_be_inside_and_is_stored_with_its_keys(kind, tmp_path):
    vectors = np.random.default_rng(1).normal(size=(200, 3)).astype("f4")
    index = KeyedIndex(kind).fit([f"k{i}" for i in range(200)], vectors, metadata=list(range(200)))
    index.save(tmp_path / "keyed.annlab")
    again = KeyedIndex.load(tmp_path / "keyed.annlab", mmap=True)
    assert type(again.index) is type(kind)
    for one, other in zip(again.search(vectors[:9], 5), index.search(vectors[:9], 5), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.metadata(["k3", "k199"]) == [3, 199]
    again.add(["new"], vectors[:1])
    assert again.metadata(["new"]) == [None] and len(again) == 201


def test_a_failed_write_changes_nothing(index):
    with pytest.raises(ValueError, match="dim"):
        index.add(["new"], np.ones((1, 4)))
    with pytest.raises(TypeError, match="metadata of 'new' is no JSON value"):
        index.add(["new"], np.ones((1, 5)), metadata=[{1, 2}])
    with pytest.raises(ValueError, match="1 keys, but metadata of 2"):
        index.add(["new"], np.ones((1, 5)), metadata=[1, 2])
    with pytest.raises(KeyError, match="'new' is not in the index"):
        index.remove(["image 1", "new"])
    assert "new" not in index and len(index) == 40 and "image 1" in index
    assert "new" not in index.search(np.ones(5), 40).keys


def test_searches_meanwhile_see_whole_writes(index):
    """Every answer has keys, although rows come and go."""
    stop, wrong = threading.Event(), []

    def search():
        while not stop.is_set():
            keys = index.search(np.ones(5), 20).keys
            if len(set(keys)) != 20 or None in keys:
                wrong.append(keys)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for i in range(60):
            index.add([f"more {i}"], np.ones((1, 5)))
            index.remove([f"more {i}"])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ([1], TypeError, r"key 0 is 1: pass str"),
        ([""], ValueError, "empty"),
        (["a", "a"], ValueError, "'a' is given twice"),
    ],
)
def test_keys_are_distinct_strings(index, keys, error, message):
    with pytest.raises(error, match=message):
        index.add(keys, np.ones((len(keys), 5)))


def test_what_has_no_keys_is_refused(index):
    plain = ExactIndex().fit(np.eye(3))
    with pytest.raises(ValueError, match="3 vectors without keys"):
        KeyedIndex(plain)
    with pytest.raises(CorruptIndexError, match="no index with keys"):
        KeyedIndex.load(plain.to_bytes())
    with pytest.raises(TypeError, match="not over dict"):
        KeyedIndex({})
    with pytest.raises(ValueError, match="an attribute cannot be called 'key:'"):
        index.add(["a"], np.ones((1, 5)), attributes={"key:": ["b"]})
    twice = ExactIndex().fit(np.eye(2), attributes={"key:": ["a", "a"], "metadata:": ["", ""]})
    with pytest.raises(CorruptIndexError, match="2 vectors have 1 different keys"):
        KeyedIndex.load(twice.to_bytes())


@pytest.mark.parametrize(("ids", "metadata", "message"), [
    ([0, 1], ["", "{1: 2}"], "the metadata of 'b' is no JSON text: '{1: 2}'"),
    ([0, 1], [0, 5], "the metadata of 'b' is no JSON text: 5"),
    ([0, 2**63 - 1], ["", "3"], "numbered up to 9223372036854775807"),
])  # fmt: skip
def test_keys_and_metadata_that_others_wrote_are_refused_at_the_load(ids, metadata, message):
    foreign = ExactIndex().fit(np.eye(2), ids, attributes={"key:": ["a", "b"], "metadata:": metadata})
    with pytest.raises(CorruptIndexError, match=f"no index with keys: .*{message}"):
        KeyedIndex.load(foreign.to_bytes())


def test_metadata_is_given_back_as_it_was(index):
    value = {"a": [1, 2.5, None, True], "ü": {"nested": "x"}}
    index.add(["m"], np.ones((1, 5)), metadata=[value])
    assert index.metadata(["m", "image 0"]) == [value, None]
    assert json.dumps(index.metadata(["m"])[0]) == json.dumps(value)
    index.update(["m"], np.ones((1, 5)), metadata=["other"])
    assert index.metadata(["m"]) == ["other"]
    index.index.set_attributes({"year": [2000]}, ids=index.index.ids[-1:])
    index.update(["m"], np.zeros((1, 5)), metadata=["third"])
    assert index.search(np.ones(5), 1, where=annlab.col("year") == 2000).keys.tolist() == ["m"], "attributes stay"


def test_names_of_metadata_that_are_no_strings_are_refused(index):
    for value in ({1: "a", "1": "b"}, [{"deep": {None: 2}}]):
        with pytest.raises(TypeError, match=r"name (1|None) is no string"):
            index.add(["m"], np.ones((1, 5)), metadata=[value])
    assert "m" not in index


def test_copies_have_their_own_keys(index):
    for other in (copy.copy(index), copy.deepcopy(index)):
        other.add(["only here"], np.ones((1, 5)), metadata=[{"a": 1}])
        assert other.search(np.ones(5), 1).keys.tolist() == ["only here"] and len(other) == len(index) + 1
        assert "only here" not in index and other.metadata(["only here"]) == [{"a": 1}]
    assert len(copy.deepcopy(KeyedIndex(ExactIndex(dim=3)))) == 0
