"""Rows placed by cells: the answers of one index from a few of the shards, whatever is written meanwhile."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import annlab
from annlab import ExactIndex, IVFIndex
from annlab.distances import pairwise
from annlab.sharded import MissingShardError, ShardedError, ShardedIndex, reach, registry
from annlab.sharded.cells import Cells
from annlab.sharded.renewing import Renewal
from annlab.sharded.replica import Replica
from annlab.sharded.routing import Routes
from tests.contract.checks import same
from tests.sharded.cells_simulation import history
from tests.sharded.test_contract import DIM, assert_alike, rows_of, write_somehow
from tests.sharded.test_simulation import goes_wrong, no_check_of_the_place, no_fencing, no_fsync, no_op_id

METRICS = st.sampled_from(["l2", "ip", "cosine"])


def pair(metric="l2", n_shards=3, n_replicas=1, n=60, seed=0):
    rows = rows_of(np.random.default_rng(seed), n)
    one = ExactIndex(metric=metric, dim=DIM)
    many = ShardedIndex(ExactIndex(metric=metric, dim=DIM), n_shards, n_replicas, placement="cells")
    for index in (one, many):
        index.fit(rows, ids=np.arange(n) * 2, attributes={"owner": np.arange(n) % 3})
    return one, many


def clusters(n=4000, dim=16, seed=0):
    """Rows and queries in forty clusters."""
    rng = np.random.default_rng(seed)
    centers = 3 * rng.standard_normal((40, dim))
    rows = (centers[rng.integers(0, 40, n)] + 0.3 * rng.standard_normal((n, dim))).astype(np.float32)
    return rows, rows[:: n // 50] + np.float32(0.02)


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32), n_shards=st.integers(1, 5), metric=METRICS)
def test_any_writes_leave_it_equal_to_one_index(seed, n_shards, metric):
    rng = np.random.default_rng(seed)
    indexes = one, many = pair(metric, n_shards, int(rng.integers(1, 3)), seed=seed)
    for _ in range(8):
        n = int(rng.integers(1, 9))
        write_somehow(indexes, rng, 2 * rows_of(rng, n) - 2, rng.choice(150, n, replace=False))
        queries = rows_of(rng, 3)
        same(one.search(queries, 5), many.search(queries, 5))
    assert_alike(one, many, rng)
    many.compact()
    assert_alike(one, many, rng)
    many.verify()


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), metric=METRICS, scale=st.sampled_from([1e-6, 1, 1e8]))
def test_no_row_is_nearer_than_its_shards_bound(seed, metric, scale):
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.standard_normal((40, 3)) + rng.integers(-9, 9, (40, 1)), np.zeros((1, 3))])
    rows, queries = (scale * rows).astype(np.float32), (scale * rng.standard_normal((9, 3))).astype(np.float32)
    queries[0], queries[1] = rows[3], 0
    cells = Cells(metric, Cells(metric, rows[:1], np.zeros(1)).rows(rows[:5]), np.zeros(5, np.int64))
    reaches = np.stack([reach.widened(reach.none(cells), cells, part) for part in (rows[:20], rows[20:])])
    bounds, _ = reach.bounds(cells, reaches, queries)
    for shard, part in enumerate((rows[:20], rows[20:])):
        distances = pairwise(queries.astype(float), part.astype(float), metric)
        assert (bounds[:, shard, None] <= distances).all()


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_on_clusters_few_shards_are_asked_and_the_answer_is_that_of_all(metric):
    rows, queries = clusters()
    one, many = ExactIndex(metric=metric).fit(rows), ShardedIndex(ExactIndex(metric=metric), 8, placement="cells")
    many.fit(rows)
    same(one.search(queries, 10), many.search(queries, 10))
    asked = many.asked()
    assert asked["of"] == 8 * len(queries) and asked["shards"] < 0.3 * asked["of"]
    sizes = [len(many._engine.world.nodes[entry.replicas[0]].visible) for entry in many._manifest.shards]
    assert sum(sizes) == len(rows) and max(sizes) < 2 * min(sizes), "about as many rows in each"
    radius = one.search(queries, 30).distances[:, -1]
    same(one.search_radius(queries, radius), many.search_radius(queries, radius))


def test_an_approximate_index_asks_as_many_shards_as_recall_needs():
    rows, queries = clusters(6000)
    kind = IVFIndex(n_lists=40)
    one, many = IVFIndex(n_lists=40).fit(rows), ShardedIndex(kind, 6, placement="cells").fit(rows)
    true = ExactIndex().fit(rows).search(queries, 10).ids

    def recall(found):
        return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.ids.tolist(), true.tolist())])

    asked = dict(many._routes.cells(many._manifest).asked)
    assert 1 <= asked[10] < 6, asked
    assert recall(many.search(queries, 10)) >= recall(one.search(queries, 10))
    before = many.asked()
    assert before["shards"] == asked[10] * len(queries)
    all_of_them = many.search(queries, 10, n_shards_asked=6)
    fewest = many.search(queries, 10, n_shards_asked=1)
    assert recall(all_of_them) >= recall(fewest) > 0.3
    for id in (0, 3000):  # under a filter nothing is passed over that can be a result
        assert many.search(queries, 1, allowed=[id], n_probes=40).ids.tolist() == [[id]] * len(queries)
    with pytest.raises(ValueError, match="n_shards_asked must be at least 1, but is 0"):
        many.search(queries, n_shards_asked=0)
    with pytest.raises(ValueError, match="every search asks every shard"):
        ShardedIndex(kind, 2).fit(rows).search(queries, n_shards_asked=1)


def test_an_id_keeps_its_home_and_a_retry_goes_there():
    one, many = pair(n_shards=2)
    far = np.full((1, DIM), 9, np.float32)
    home = {id: home for home, entry in enumerate(many._manifest.shards)
            for id in many._engine.world.nodes[entry.replicas[0]].visible.ids.tolist()}  # fmt: skip
    other = next(id for id in home if home[id] != home[0])
    for index in (one, many):
        index.update([0], index.vectors([other]))
    same(one.search(one.vectors(), 3), many.search(one.vectors(), 3))
    assert many.remove([0, 777], "ignore", op_id="gone") == 1
    many.add(far, [0], attributes={"owner": [1]})
    many.add(far, [777], attributes={"owner": [1]})
    assert many.remove([0, 777], "ignore", op_id="gone") == 1 and 0 in many and 777 in many, "a retry: done once"
    with pytest.raises(ValueError, match="id 777 is already in the index"):
        many.add(far, [777], attributes={"owner": [1]})
    with pytest.raises(KeyError, match="id 778 is not in the index"):
        many.update([778], far)
    assert many.remove([778], "ignore") == 0


def test_who_looks_at_an_old_reach_does_not_miss_what_was_written_before_the_token():
    _, many = pair()
    reader = Routes(many._client)
    many._routes, writer = reader, many._routes
    many.search(np.zeros(DIM), 1)
    far = np.full((1, DIM), 50, np.float32)
    many.update([0], far)
    assert many.search(far[0], 1).ids.tolist() == [0]
    many._routes = writer
    assert many.search(far[0], 1, at_least=many.token).ids.tolist() == [0]


def test_other_content_comes_all_at_once_and_an_interrupted_fit_is_repeated(tmp_path, monkeypatch):
    rows, queries = clusters(500)
    with ShardedIndex(ExactIndex(dim=16), 2, path=tmp_path / "index", placement="cells") as index:
        with pytest.raises(ValueError, match="fit this index before you add to it"):
            index.add(rows[:1])
        index.fit(rows[:100])
        with monkeypatch.context() as patch:
            patch.setattr(Renewal, "finish", None)  # fails after the new shards were made
            with pytest.raises(TypeError):
                index.fit(rows)
        assert len(index) == 100
        index.add(rows[100:101], [100], op_id="between")
    with ShardedIndex(None, path=tmp_path / "index") as index:
        assert len(index) == 101 and index.placement == "cells"
        token = index.token
        index.fit(rows)
        index.verify()
        same(ExactIndex().fit(rows).search(queries, 7), index.search(queries, 7))
        same(ExactIndex().fit(rows).search(queries, 7), index.search(queries, 7, at_least=token))
        assert set(index._engine.world.nodes) == {n for e in index._manifest.entries for n in e.replicas}
        with pytest.raises(ValueError, match="these rows are placed by cells"):
            index.reshard(6)
        with pytest.raises(ValueError, match="rows are placed by cells, not by hash"):
            ShardedIndex(None, path=tmp_path / "index", placement="hash")
        index.save(tmp_path / "saved")
    with ShardedIndex.load(tmp_path / "saved", path=tmp_path / "again") as index:
        same(ExactIndex().fit(rows).search(queries, 7), index.search(queries, 7))
        index.update([3], rows[400:401])
        assert index.asked()["shards"] < 0.8 * index.asked()["of"]
        cells = tmp_path / "again" / index._manifest.cells
    cells.write_bytes(cells.read_bytes()[:-1])
    with ShardedIndex(None, path=tmp_path / "again") as index, pytest.raises(annlab.CorruptIndexError, match="cells-"):
        index.search(queries, 7)


def test_a_shard_that_is_missing_is_named_where_it_matters():
    rows, queries = clusters(500)
    many = ShardedIndex(ExactIndex(), 4, placement="cells", timeout=0.2).fit(rows)
    whole = many.search(queries, 5)
    gone = many._manifest.shards[1].replicas[0]
    held = many._engine.world.nodes.pop(gone).visible.ids
    needs = np.isin(whole.ids, held).any(axis=1)
    same(type(whole)(*(each[~needs][:1] for each in whole)), many.search(queries[~needs][:1], 5))
    with pytest.raises(MissingShardError, match=r"shard 2\.1 \(2\.1-0\)"):
        many.search(queries[needs], 5)
    found = many.search(queries[needs], 5, partial=True)
    assert list(found.missing) == ["2.1"] and not np.isin(found.ids, held).any()


def test_two_who_renew_the_content_at_once_do_not_mix_it():
    _, many = pair()
    one, other = Renewal(many._client, 1.0), Renewal(many._client, 1.0)
    content = ExactIndex(dim=DIM).fit(np.zeros((1, DIM))).to_bytes()
    where = registry.content(np.array([0]), np.array([0]))
    for each in (one, other):
        each.begin([content] * 3, where, many._manifest.cells)
    many._engine.start(many._manifest)
    with pytest.raises(ShardedError, match="other content was given to the index at the same time"):
        many._engine.run(one.finish())


# ---- histories


def test_no_history_of_cells_loses_doubles_or_passes_over_anything(histories):
    passed_over = searches = renewed = 0
    for seed in range(histories or 30):
        try:
            played = history(seed)
        except Exception as error:
            raise AssertionError(f"history({seed}): {error}") from error
        passed_over, searches = passed_over + played.passed_over, searches + len(played.searches)
        renewed += played.manifests.current().cells != "" and len(played.disks) > 9
    assert passed_over > searches / 2 and renewed, "shards were passed over, and content was replaced"


def nobody_claims(patch):
    async def wanted(client, manifest, ids, wanted, seconds):
        return wanted

    patch.setattr(registry, "homes", wanted)


def reaches_are_never_asked_anew(patch):
    bounds = Routes._bounds

    async def by_what_was_known(routes, manifest, query, token, seconds):
        return await bounds(routes, manifest, query, {}, seconds)

    patch.setattr(Routes, "_bounds", by_what_was_known)


def writers_believe_to_know_all(patch):
    patch.setattr(Replica, "_knows_all", lambda replica: True)


@pytest.mark.parametrize(("safeguard", "first"), [(nobody_claims, 0), (reaches_are_never_asked_anew, 55),
                                                  (writers_believe_to_know_all, 50), (no_fsync, 0), (no_op_id, 0),
                                                  (no_fencing, 165), (no_check_of_the_place, 0)])  # fmt: skip
def test_a_safeguard_of_cells_that_is_taken_away_is_missed(safeguard, first, monkeypatch):
    safeguard(monkeypatch)
    assert goes_wrong(history, 1000, first), f"a thousand histories do not miss it: {safeguard.__name__}"
