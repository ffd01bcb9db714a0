"""Add, update, remove, compact, filter, save and load in random order, against a dictionary and brute force."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import annlab
import annlab.core.compaction
from tests import oracle
from tests.contract.checks import check_neighbors, same

DIM = 3


# Coordinates are small integers: equal distances everywhere, so every mistake with ties shows.
def vectors_of(seed, n):
    return np.random.default_rng(seed).integers(-2, 3, size=(n, DIM)).astype(np.float32)


def attributes_of(seed, n):
    rng = np.random.default_rng(seed + 1)
    return {"owner": rng.integers(4, size=n), "private": rng.random(n) < 0.3}


class Content(dict):
    """What an index should hold: id -> (vector, owner, private)."""

    def learn(self, ids, vectors, attributes):
        for i, number in enumerate(np.asarray(ids).tolist()):
            self[number] = vectors[i], int(attributes["owner"][i]), bool(attributes["private"][i])

    def columns(self):
        """Ids in ascending order, and vectors, owner and private in theirs."""
        ids = np.array(sorted(self), np.int64)
        vectors = np.array([self[i][0] for i in ids.tolist()], np.float32).reshape(len(ids), DIM)
        owner = np.array([self[i][1] for i in ids.tolist()], np.int64)
        private = np.array([self[i][2] for i in ids.tolist()], bool)
        return ids, vectors, owner, private


def selection(how, rng, columns, filters, n_queries):
    """A way to name rows: options of a search, and which rows of `columns` they allow (for each query if "each")."""
    ids, _, owner, private = columns
    some = rng.integers(260, size=rng.integers(60))  # some are not in the index, some come twice
    mask = rng.random(len(ids)) < 0.5
    if how == "ids":
        return {"allowed": some}, np.isin(ids, some)
    if how == "mask":
        return {"allowed": mask}, mask
    if how == "excluded":
        return {"excluded": some}, ~np.isin(ids, some)
    if how == "where":
        condition = ((annlab.col("owner") >= 1) & ~annlab.col("private")) | annlab.col("owner").isin([0])
        return {"where": condition}, ((owner >= 1) & ~private) | (owner == 0)
    if how == "mixed":
        options = {"allowed": mask, "excluded": some, "where": annlab.col("private")}
        return options, mask & ~np.isin(ids, some) & private
    if how == "compiled" and filters:
        compiled, members, wanted = filters[rng.integers(len(filters))]
        return {"allowed": compiled}, np.isin(ids, sorted(members)) & ((owner == wanted) | (wanted is None))
    if how == "each":
        lists = [rng.integers(260, size=rng.integers(1, 90)) for _ in range(n_queries)]
        return {"allowed": lists}, np.array([np.isin(ids, one) for one in lists])
    return {}, np.ones(len(ids), bool)


class Writes(RuleBasedStateMachine):
    """A state machine over one index and what it should hold; `machine` says which index."""

    def __init__(self):
        super().__init__()
        self.content = Content()
        self.filters = []
        self.index = None

    @initialize(seed=st.integers(0, 99), n=st.integers(1, 60), own_ids=st.booleans(), empty=st.booleans())
    def begin(self, seed, n, own_ids, empty):
        vectors, attributes = vectors_of(seed, n), attributes_of(seed, n)
        if empty:
            self.index = self.entry.make(self.metric, dim=DIM)
            assert self.index.add(vectors, attributes=attributes).tolist() == list(range(n))
            ids = np.arange(n)
        else:
            ids = np.random.default_rng(seed).permutation(200)[:n] if own_ids else np.arange(n)
            self.index = self.entry.make(self.metric).fit(vectors, ids if own_ids else None, attributes=attributes)
        self.content.learn(ids, vectors, attributes)

    @rule(seed=st.integers(0, 999), n=st.sampled_from([0, 1, 2, 7, 40, 90]))
    def add(self, seed, n):
        vectors, attributes = vectors_of(seed, n), attributes_of(seed, n)
        ids = self.index.add(vectors, attributes=attributes)
        assert len(set(ids.tolist()) | set(self.content)) == n + len(self.content)
        self.content.learn(ids, vectors, attributes)

    @rule(seed=st.integers(0, 999), n=st.integers(1, 20))
    def add_or_replace(self, seed, n):
        vectors, attributes = vectors_of(seed, n), attributes_of(seed, n)
        ids = np.random.default_rng(seed).permutation(250)[:n]
        known = [i for i in ids.tolist() if i in self.content]
        if known:
            with pytest.raises(ValueError, match=f"id {known[0]} is already"):
                self.index.add(vectors, ids, attributes=attributes)
        self.index.add(vectors, ids, attributes=attributes, on_duplicate="replace")
        self.content.learn(ids, vectors, attributes)

    @precondition(lambda self: self.content)
    @rule(seed=st.integers(0, 999), share=st.floats(0, 0.5), with_attributes=st.booleans())
    def update(self, seed, share, with_attributes):
        rng = np.random.default_rng(seed)
        ids = rng.permutation(sorted(self.content))[: int(np.ceil(share * len(self.content)))]
        vectors, attributes = vectors_of(seed, len(ids)), attributes_of(seed, len(ids))
        if not with_attributes:
            kept = [self.content[i] for i in ids.tolist()]
            attributes = {"owner": [old[1] for old in kept], "private": [old[2] for old in kept]}
        self.index.update(ids, vectors, attributes=attributes if with_attributes else None)
        self.content.learn(ids, vectors, attributes)

    @rule(seed=st.integers(0, 999), share=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), missing=st.booleans())
    def remove(self, seed, share, missing):
        rng = np.random.default_rng(seed)
        ids = rng.permutation(sorted(self.content)).astype(np.int64)[: round(share * len(self.content))]
        if missing:
            with pytest.raises(KeyError, match="100000"):
                self.index.remove([*ids, 100000])
            assert self.index.remove([*ids, 100000, *ids[:1]], missing="ignore") == len(ids)
        else:
            assert self.index.remove(ids) == len(ids)
        for number in ids.tolist():
            del self.content[number]

    @rule()
    def compact(self):
        self.index.compact()

    @rule(mmap=st.booleans(), whatever_kind=st.booleans())
    def save_and_load(self, mmap, whatever_kind):
        path = self.folder / "index.annlab"
        self.index.save(path)
        load = annlab.load if whatever_kind else self.entry.index_class.load
        self.index = load(path, mmap=mmap)

    @precondition(lambda self: len(self.filters) < 4)
    @rule(seed=st.integers(0, 999), conditioned=st.booleans())
    def compile_filter(self, seed, conditioned):
        allowed = np.random.default_rng(seed).integers(250, size=40)
        owner = seed % 4
        where = annlab.col("owner") == owner if conditioned else None
        compiled = self.index.filter(allowed=allowed, where=where)
        self.filters.append((compiled, set(allowed.tolist()), owner if conditioned else None))

    @rule(
        seed=st.integers(0, 999),
        k=st.sampled_from([1, 2, 9, 300]),
        n_queries=st.sampled_from([1, 3, 14]),
        how=st.sampled_from(["all", "ids", "mask", "excluded", "where", "mixed", "compiled", "each"]),
    )
    def search(self, seed, k, n_queries, how):
        entry, metric, columns = self.entry, self.metric, self.content.columns()
        ids, vectors = columns[:2]
        rng = np.random.default_rng(seed)
        queries = vectors_of(seed, n_queries) + rng.integers(0, 2, size=(n_queries, 1)).astype(np.float32) / 2
        options, allowed = selection(how, rng, columns, self.filters, n_queries)
        found = self.index.search(queries, k, **options, **entry.exhaustive)
        check_neighbors(found, queries, ids, vectors, metric, k, entry.judged_exactly, allowed)
        if entry.judged_exactly and how != "each":
            near = self.index.search_radius(queries[0], 1.5, **options, **entry.exhaustive)
            same(near[1:], oracle.within(queries[0], ids, vectors, metric, 1.5, allowed))

    @invariant()
    def it_holds_what_it_should(self):
        if self.index is None:
            return
        ids, vectors, _, _ = self.content.columns()
        assert len(self.index) == len(ids)
        np.testing.assert_array_equal(self.index.ids, ids)
        np.testing.assert_array_equal(self.index.vectors(), vectors)
        for number in (0, 7, 249, 100000):
            assert (number in self.index) == (number in self.content)


def machine(entry, metric, folder):
    """The class of a state machine over this index."""
    return type("Writes", (Writes,), {"entry": entry, "metric": metric, "folder": folder})


def test_writes_in_any_order(entry, metric, tmp_path, monkeypatch, full):
    # so that small indexes absorb and compact by themselves
    for module, name in (("structure", "SMALL_TAIL"), ("compaction", "SMALL_TAIL"), ("compaction", "_FEW_DEAD")):
        monkeypatch.setattr(f"annlab.core.{module}.{name}", 32)
    how_often = settings(max_examples=100 if full else 10, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine(entry, metric, tmp_path), settings=how_often)


def test_growing_compacts_by_itself(entry):
    """The tail stays bounded, answers stay right."""
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((6000, 4)).astype(np.float32)
    index = entry.make().fit(vectors[:500])
    for start in range(500, 6000, 500):
        index.add(vectors[start : start + 500])
    assert len(index._state.tail.array) <= index._state.structure.tail_limit(index._search_params({}))
    found = index.search(vectors[:20], 5, **entry.exhaustive)
    check_neighbors(found, vectors[:20], np.arange(6000), vectors, "l2", 5, entry.judged_exactly)
    index.remove(np.arange(4500))
    assert index._state.n_rows - len(index) <= max(1024, len(index) // 2), "the dead are dropped once they cost much"
    check_neighbors(index.search(vectors[:20], 5, **entry.exhaustive), vectors[:20], np.arange(4500, 6000),
                    vectors[4500:], "l2", 5, entry.judged_exactly)  # fmt: skip


def test_an_index_goes_on_from_its_file_as_if_it_had_not_been_saved(entry, tmp_path, monkeypatch):
    """Replicas that start from a snapshot are compared with others by hash: what decides writes is in the file."""
    for module, name in (("structure", "SMALL_TAIL"), ("compaction", "SMALL_TAIL")):
        monkeypatch.setattr(f"annlab.core.{module}.{name}", 32)
    rng = np.random.default_rng(11)
    vectors = rng.standard_normal((1600, 6)).astype(np.float32)
    vectors[1165:] += np.float32(4)  # the first new rows are like the old ones, the others come from elsewhere
    stays = entry.make().fit(vectors[:1000])
    for start in range(1000, 1480, 33):
        stays.save(tmp_path / "index")
        saved = annlab.load(tmp_path / "index")
        for index in (stays, saved):
            index.add(vectors[start : start + 33])
        assert saved.content_hash() == stays.content_hash(), f"after {start + 33} rows"


def test_compact_changes_no_answer(entry, metric):
    rng = np.random.default_rng(4)
    vectors = rng.integers(-2, 3, size=(800, 4)).astype(np.float32)
    index = entry.make(metric).fit(vectors[:500])
    index.add(vectors[500:])
    index.remove(np.arange(0, 800, 3))
    before = index.search(vectors[:40], 20, **entry.exhaustive)
    index.compact()
    if entry.judged_exactly:
        same(index.search(vectors[:40], 20, **entry.exhaustive), before)
    assert index._state.n_rows == len(index)


def test_fit_replaces_the_content(entry):
    index = entry.make().fit(np.eye(4), attributes={"a": np.arange(4)})
    index.fit(2 * np.eye(6, 4)[:3], ids=[9, 8, 7])
    assert index.ids.tolist() == [7, 8, 9] and index.search(np.eye(4)[0], 1).ids.tolist() == [9]


def test_a_failed_write_changes_nothing(entry):
    index = entry.make().fit(np.eye(4), ids=[3, 1, 4, 5])
    bad = np.eye(4)
    bad[2, 2] = np.nan
    before = index.search(np.eye(4), 4)
    for write in (
        lambda: index.add(bad),
        lambda: index.add(np.eye(4), ids=[6, 7, 8, 3]),
        lambda: index.add(np.eye(4), ids=[6, 7, 8, 8]),
        lambda: index.add(np.eye(3)),
        lambda: index.add(np.eye(4), attributes={"owner": [1, 2, 3]}),
        lambda: index.update([3, 1, 4, 2], np.eye(4)),
        lambda: index.update([3, 1, 4, 5], bad),
        lambda: index.update([3, 3], np.eye(4)[:2]),
        lambda: index.remove([3, 2]),
        lambda: index.fit(bad),
        lambda: index.fit(np.empty((0, 4))),
    ):
        with pytest.raises((ValueError, KeyError)):
            write()
        same(index.search(np.eye(4), 4), before)
