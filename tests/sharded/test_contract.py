"""A sharded index is an index: every answer is that of one ExactIndex, bit for bit, in any number of shards."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import annlab
from annlab.sharded import ReplicasDisagreeError, ShardedIndex
from tests.contract.checks import same

DIM = 4


def rows_of(rng, n):
    """Few different values, so that many distances are equal."""
    return rng.integers(0, 3, (n, DIM)).astype(np.float32)


def pair(metric="l2", n_shards=3, n_replicas=2, **how):
    return (
        annlab.ExactIndex(metric=metric, dim=DIM),
        ShardedIndex(annlab.ExactIndex(metric=metric, dim=DIM), n_shards, n_replicas, **how),
    )


def both(indexes, do):
    """What both return, or the class of what both raise."""
    found = []
    for index in indexes:
        try:
            found.append((do(index), None))
        except (ValueError, TypeError, KeyError) as error:
            found.append((None, type(error)))
    assert found[0][1] == found[1][1], found
    return found[0][0], found[1][0]


def write_somehow(indexes, rng, rows, ids):
    """One write of some kind to both; what they return, or raise, is the same."""
    way, owner = rng.choice(["add", "ids", "replace", "update", "remove", "attributes"]), rng.integers(0, 3, len(rows))
    colours = {"owner": owner, "colour": rng.choice(["red", "blue", None], len(rows)).tolist()}
    given = {name: colours[name] for name in indexes[0].attributes() or ["owner"]}
    if way == "add":
        same(*([found] for found in both(indexes, lambda i: i.add(rows, attributes=given))))
    elif way in ("ids", "replace"):
        how = "raise" if way == "ids" else "replace"
        both(indexes, lambda i: i.add(rows, ids, attributes=given, on_duplicate=how))
    elif way == "update":
        there = some_of(indexes[0], rng, ids)
        both(indexes, lambda i: i.update(there, rows[: len(there)]))
    elif way == "remove":
        missing = rng.choice(["raise", "ignore"])
        removed = both(indexes, lambda i: i.remove(ids, missing))
        assert removed[0] == removed[1]
    else:
        there = some_of(indexes[0], rng, ids)
        both(indexes, lambda i: i.set_attributes({name: each[: len(there)] for name, each in colours.items()}, there))


def some_of(index, rng, ids):
    """As many ids as these: mostly such as are there."""
    return rng.permutation(index.ids)[: len(ids)] if rng.random() < 0.7 else ids


def has_colour(index):
    return any(colour is not None for colour in index.attributes().get("colour", np.empty(0)).tolist())


def assert_alike(one, many, rng, k=7):
    np.testing.assert_array_equal(one.ids, many.ids)
    assert len(one) == len(many)
    queries = rows_of(rng, 5)
    same(one.search(queries, k), many.search(queries, k))
    same(one.search(queries[0], k), many.search(queries[0], k))
    same(one.search_radius(queries, 1.5, limit=4), many.search_radius(queries, 1.5, limit=4))
    if len(one):
        np.testing.assert_array_equal(one.vectors(), many.vectors())
        owner, red = annlab.col("owner") == 1, annlab.col("colour") == "red"
        some = one.ids[::2]
        for chosen in ({"allowed": some}, {"excluded": some}, {"where": owner}, {"allowed": one.ids % 3 == 0},
                       *([{"where": red}] if has_colour(one) else []),
                       {"allowed": [some[:i] for i in range(5)]}):  # fmt: skip
            same(one.search(queries, k, **chosen), many.search(queries, k, **chosen))
            same(one.search_radius(queries, 2.0, **chosen), many.search_radius(queries, 2.0, **chosen))
        same(one.search(queries, k, allowed=one.filter(where=owner)),
             many.search(queries, k, allowed=many.filter(where=owner)))  # fmt: skip
        for name, values in one.attributes().items():
            np.testing.assert_array_equal(many.attributes()[name], values)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), n_shards=st.integers(1, 5), metric=st.sampled_from(["l2", "ip", "cosine"]))
def test_any_writes_leave_it_equal_to_one_index(seed, n_shards, metric):
    rng = np.random.default_rng(seed)
    indexes = one, many = pair(metric, n_shards, int(rng.integers(1, 4)))
    if rng.random() < 0.5:
        rows = rows_of(rng, 40)
        for index in indexes:
            index.fit(rows, ids=np.arange(40) * 3, attributes={"owner": np.arange(40) % 3})
    else:
        both(indexes, lambda index: index.add(rows_of(np.random.default_rng(seed), 5),
                                              attributes={"owner": [0, 1, 2, None, 1]}))  # fmt: skip
    for _ in range(8):
        n = int(rng.integers(1, 9))
        write_somehow(indexes, rng, rows_of(rng, n), rng.choice(60, n, replace=False))
    assert_alike(one, many, rng)
    many.compact()
    assert_alike(one, many, rng)
    many.verify()


def test_an_attribute_without_values_becomes_one_of_strings_and_is_searched_by_them():
    rows = np.eye(DIM, dtype=np.float32)
    indexes = one, many = pair()
    for index in indexes:
        index.add(rows, [1, 2, 3, 4], attributes={"colour": [None] * 4})
        index.set_attributes({"colour": ["red"]}, [1])
    red = annlab.col("colour") == "red"
    same(one.search(rows, 5, where=red), many.search(rows, 5, where=red))  # in shards that hold no string yet, too
    for index in indexes:
        index.add(rows, [5, 6, 7, 8], attributes={"colour": [None, "red", None, "blue"]})
    same(one.search(rows, 5, where=red), many.search(rows, 5, where=red))
    assert many.select(red).tolist() == [1, 6]
    assert many.attributes()["colour"].tolist() == one.attributes()["colour"].tolist()


@pytest.mark.parametrize("parameters", [{"storage": "flat"}, {"storage": "sq8"}, {"storage": "pq4"}])
def test_what_is_learned_is_learned_once(parameters):
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((30, 16))
    rows = (centers[rng.integers(0, 30, 6000)] + 0.3 * rng.standard_normal((6000, 16))).astype(np.float32)
    queries = rows[::200] + np.float32(0.05)
    one = annlab.IVFIndex(n_lists=40, **parameters).fit(rows)
    many = ShardedIndex(annlab.IVFIndex(n_lists=40, **parameters), 3).fit(rows)
    true = annlab.ExactIndex().fit(rows).search(queries, 10).ids

    def recall(found):
        return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.ids.tolist(), true.tolist())])

    assert recall(many.search(queries, 10)) >= recall(one.search(queries, 10))
    parts = [replica.visible for replica in many._engine.world.nodes.values()]
    for part in parts:
        assert part.calibration.n_probes == one.calibration.n_probes and abs(part.calibration.n_changed) <= 1
        assert part.n_lists == 40
        np.testing.assert_array_equal(part._state.structure.centroids.array, one._state.structure.centroids.array)


def test_an_empty_one_is_asked_as_an_empty_index_is():
    one, many = pair()
    same(one.search(np.zeros((2, DIM)), 3), many.search(np.zeros((2, DIM)), 3))
    assert len(many) == 0 and 3 not in many and many.dim == DIM
    with pytest.raises(ValueError, match="knows no dimension"):
        ShardedIndex(annlab.ExactIndex(), 2).search(np.zeros(3), 1)
    with pytest.raises(ValueError, match="has 5 dimensions, but the index has 4"):
        many.search(np.zeros((1, DIM + 1)), 1)


def test_what_is_saved_is_restored_bit_for_bit_and_what_is_damaged_is_refused_by_name(tmp_path):
    rng = np.random.default_rng(1)
    one, many = pair(n_shards=2)
    for index in (one, many):
        index.fit(rows_of(np.random.default_rng(2), 50), attributes={"owner": np.arange(50) % 3})
        index.remove([3, 5])
    many.save(tmp_path / "saved")
    again = ShardedIndex.load(tmp_path / "saved", n_replicas=2)
    assert_alike(one, again, rng)
    assert again.verify() == many.verify()
    with pytest.raises(FileExistsError, match="not empty"):
        many.save(tmp_path / "saved")
    first, second = sorted((tmp_path / "saved").glob("index-*"))
    content, other = first.read_bytes(), second.read_bytes()
    for wrong in (content[:-1], other, content[:-1] + b"x"):
        first.write_bytes(wrong)
        with pytest.raises(annlab.CorruptIndexError, match=first.name):
            ShardedIndex.load(tmp_path / "saved")
    first.unlink()
    with pytest.raises(annlab.CorruptIndexError, match=f"{first.name} is not in the store"):
        ShardedIndex.load(tmp_path / "saved")
    (tmp_path / "saved" / "saved").write_bytes(b"{}")
    with pytest.raises(annlab.CorruptIndexError, match="saved is damaged"):
        ShardedIndex.load(tmp_path / "saved")


def test_replicas_that_differ_are_named():
    _, many = pair(n_shards=2)
    many.add(rows_of(np.random.default_rng(0), 20))
    many.verify()
    many._engine.world.nodes["1-1"].visible.remove(many._engine.world.nodes["1-1"].visible.ids[:1])
    with pytest.raises(ReplicasDisagreeError, match=r"shard 1: replicas 1-\d, 1-\d differ"):
        many.verify()


def test_statistics_are_those_of_all_shards():
    one, many = pair()
    rows, stats, sums = rows_of(np.random.default_rng(0), 90), annlab.SearchStats(), annlab.SearchStats()
    one.fit(rows).search(rows[:4], 3, stats=stats)
    many.fit(rows).search(rows[:4], 3, stats=sums)
    np.testing.assert_array_equal(stats.distances, sums.distances)


@pytest.mark.parametrize("kind", [annlab.ExactIndex, annlab.KDTreeIndex, annlab.IVFIndex])
def test_a_part_of_an_index_holds_these_vectors_with_what_belongs_to_them(kind):
    rng = np.random.default_rng(0)
    rows, owner = rng.standard_normal((3000, 8)).astype(np.float32), rng.integers(0, 5, 3000)
    whole = kind().fit(rows, ids=np.arange(3000) * 2, attributes={"owner": owner})
    whole.add(rows[:50] + 1, np.arange(50) * 2 + 1, attributes={"owner": owner[:50]})
    whole.remove([0, 2])
    chosen = rng.permutation(whole.ids)[:900]
    part = whole.part(chosen)
    np.testing.assert_array_equal(part.ids, np.sort(chosen))
    np.testing.assert_array_equal(part.vectors(chosen), whole.vectors(chosen))
    np.testing.assert_array_equal(part.attributes(chosen)["owner"], whole.attributes(chosen)["owner"])
    many = {"n_probes": 2**20} if kind is annlab.IVFIndex else {}
    found = part.search(rows[:20], 5, where=annlab.col("owner") == 3, **many)
    same(found, whole.search(rows[:20], 5, allowed=chosen, where=annlab.col("owner") == 3, **many))
    assert kind.load(part.to_bytes()).content_hash() == part.content_hash()
    with pytest.raises(KeyError, match="id 0 is not in the index"):
        whole.part([0])
