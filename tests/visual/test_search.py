"""Searching: every form of query, filters, the cut, pages, and what others may not see."""

import datetime
import threading

import numpy as np
import pytest

from annlab.visual.people import add_user
from annlab.visual.search import (
    ById,
    ByText,
    ByUpload,
    Crop,
    Filters,
    NotFound,
    QueryError,
    Several,
    TextUnavailable,
    Viewer,
)
from tests.visual.searching import NOON, Made, directions, png

FOLD_NOTHING = '[[stage]]\nname = "hidden"\n[[stage]]\nname = "query"\n'


@pytest.fixture(params=[None, {"n_shards": 3}], ids=["one index", "in shards"])
def made(request, tmp_path):
    (tmp_path / "ranking.toml").write_text(FOLD_NOTHING)
    with Made(tmp_path, ranking=tmp_path / "ranking.toml", sharding=request.param) as made:
        yield made


def ids_of(answer):
    return [result.id for result in answer.results]


def nearest(vectors, ids, query, k):
    order = np.lexsort((ids, 1 - vectors @ (query / np.linalg.norm(query))))
    return [int(np.asarray(ids)[i]) for i in order[:k]]


def test_by_id_gives_the_nearest_others(made):
    vectors = directions(60)
    ids = made.add(vectors)
    answer = made.search.search(ById(ids[7]), k=10)
    assert ids_of(answer) == nearest(vectors, ids, vectors[7], 11)[1:]
    assert (answer.total, answer.weaker) == (59, 0)
    assert all(first.score >= second.score for first, second in zip(answer.results, answer.results[1:], strict=False))
    assert answer.results[0].image.id == answer.results[0].id
    assert {"facts", "embed", "filter", "search", "rank", "rows", "total"} == set(answer.timings)
    assert "ExactIndex" in answer.plan and answer.stats.distances[0] == 60


def test_by_upload_crop_and_several(made):
    rng = np.random.default_rng(3)
    pictures = rng.integers(1, 256, (30, 4, 4), dtype=np.uint8)
    vectors = made.encoder.encode(list(pictures))
    ids = made.add(vectors)
    assert ids_of(made.search.search(ByUpload(png(pictures[4])), k=1)) == [ids[4]]
    large = np.tile(pictures[5], (3, 2))
    part = Crop(ByUpload(png(large)), (0.5, 1 / 3, 1.0, 2 / 3))
    assert ids_of(made.search.search(part, k=1)) == [ids[5]]
    both = Several((ById(ids[1]), ByUpload(png(pictures[2]))), unlike=(ById(ids[3]),))
    query = vectors[1] + vectors[2] - vectors[3]
    wanted = [id for id in nearest(vectors, ids, query, 30) if id not in (ids[1], ids[3])]
    assert ids_of(made.search.search(both, k=28)) == wanted


def test_filters_by_owner_tags_and_time(made):
    users = [add_user(made.catalog, username=name) for name in ("a", "b")]
    rows = [{"owner_id": users[i % 2], "tags": ("even",) if i % 4 == 0 else ("odd", "x"),
             "uploaded_at": NOON + datetime.timedelta(hours=i)} for i in range(40)]  # fmt: skip
    ids = made.add(directions(40), rows)

    def found(**filters):
        return set(ids_of(made.search.search(ById(ids[1]), k=40, filters=Filters(**filters))))

    assert found(owner=users[0]) == {id for i, id in enumerate(ids) if i % 2 == 0}
    assert found(tags=("even",)) == {id for i, id in enumerate(ids) if i % 4 == 0}
    assert found(tags=("odd", "x"), owner=users[0]) == {id for i, id in enumerate(ids) if i % 4 == 2}
    assert found(tags=("nobody has it",)) == set()
    hours = [NOON + datetime.timedelta(hours=hour) for hour in (10, 20)]
    assert found(after=hours[0], before=hours[1]) == set(ids[10:20])
    made.catalog.change_image(ids[12], tags=("even", "new"))
    assert found(tags=("new",)) == {ids[12]}
    latest = made.search.search(ById(ids[0]), k=5, order="time")
    assert ids_of(latest) == ids[:-6:-1]


def test_text_searches_tags_where_the_encoder_knows_none(made):
    ids = made.add(directions(4), [{"tags": ("Red shoe",)}, {"tags": ("shoe",)}, {"tags": ("hat", "red")}, {}])
    answer = made.search.search(ByText("red SHOE!"))
    assert ids_of(answer) == [ids[0], ids[1], ids[2]]
    assert [result.score for result in answer.results] == [1.0, 0.5, 0.5]
    assert "tags" in answer.notes[0] and not made.search.can_search_text
    assert ids_of(made.search.search(ByText("red shoe"), cutoff=1.0)) == [ids[0]]
    answer = made.search.search(ByText("sho red"))  # what is still being typed counts half
    assert [(result.id, result.score) for result in answer.results] == [(ids[0], 0.75), (ids[2], 0.5), (ids[1], 0.25)]
    assert ids_of(made.search.search(ByText("hoe"))) == []
    with pytest.raises(QueryError, match="knows no text"):
        made.search.search(Several((ByText("red"), ById(ids[0]))))


def test_text_without_any_tag_is_unavailable(made):
    made.add(directions(4))
    with pytest.raises(TextUnavailable):
        made.search.search(ByText("shoe"))


def test_text_that_the_encoder_knows_is_searched_among_the_vectors(made):
    class Texts:
        def encode(self, texts):
            return np.stack([vectors[int(text)] for text in texts])

    vectors = directions(30)
    ids = made.add(vectors)
    made.encoder.texts = Texts()
    assert ids_of(made.search.search(ByText("9"), k=1)) == [ids[9]]
    assert ids_of(made.search.search(Several((ByText("9"),), unlike=(ById(ids[2]),)), k=1)) == [ids[9]]


def test_exact_compares_all_vectors(made):
    vectors = directions(500, seed=4)
    ids = made.add(vectors)
    approximate, exact = (made.search.search(ById(ids[0]), k=50, exact=flag) for flag in (False, True))
    assert ids_of(approximate) == ids_of(exact)
    assert [r.distance for r in approximate.results] == [r.distance for r in exact.results]
    assert "every allowed vector" in exact.plan


@pytest.mark.parametrize("wrong", [
    {"k": 0}, {"k": 501}, {"k": True}, {"k": 2.5}, {"order": "beauty"}, {"cutoff": 1.5}, {"cutoff": float("nan")},
    {"cursor": "x"}, {"cursor": ""}, {"cursor": "é" * 10}, {"cursor": "A" * 100_000}, {"search": {"n_probes": 3}},
    {"viewer": 7}, {"filters": {"owner": 3}},
])  # fmt: skip
def test_what_makes_no_sense_is_refused(made, wrong):
    ids = made.add(directions(5))
    with pytest.raises(QueryError):
        made.search.search(ById(ids[0]), **wrong)


@pytest.mark.parametrize("make", [
    lambda: ById(-1), lambda: ById("7"), lambda: ById(2**63), lambda: ById(True), lambda: ByUpload("path.png"),
    lambda: ByText(" "), lambda: ByText("x" * 501), lambda: Crop(ById(1), (0, 0, 0, 1)), lambda: Several(()),
    lambda: Crop(ById(1), (0, 0, float("nan"), 1)), lambda: Crop(ByText("x"), (0, 0, 1, 1)), lambda: Crop(ById(1), 3),
    lambda: Several((ById(1),) * 17), lambda: Several((7,)), lambda: Viewer(role="king"), lambda: Filters(tags="x"),
    lambda: Filters(after=datetime.datetime(2026, 1, 1)), lambda: Filters(owner=1.5), lambda: Filters(before="now"),
])  # fmt: skip
def test_queries_that_make_no_sense_cannot_be_made(make):
    with pytest.raises(QueryError):
        make()


def test_bad_uploads_are_queries_that_cannot_be_answered(made):
    ids = made.add(directions(5))
    for data in (b"", b"<svg/>", png(np.ones((9, 9), np.uint8))[:40], png(np.zeros((4, 4), np.uint8))):
        with pytest.raises(QueryError):
            made.search.search(ByUpload(data))
    with pytest.raises(QueryError, match="no file"):
        made.search.search(Crop(ById(ids[0]), (0, 0, 1, 1)))
    with pytest.raises(NotFound):
        made.search.search(ById(10_000))


def test_many_threads_search_while_others_write(made):
    """Every answer is one of some moment: no private image, nothing twice, no error."""
    ids = made.add(directions(60), [{"private": i % 7 == 3, "tags": ("a",)} for i in range(60)])
    hidden, failures, over = {id for i, id in enumerate(ids) if i % 7 == 3}, [], threading.Event()

    def ask(number):
        queries = [ById(ids[0]), ByText("a"), Several((ById(ids[1]), ById(ids[2])))]
        filters = [Filters(), Filters(tags=("a",)), Filters(after=NOON - datetime.timedelta(days=1))]
        try:
            while not over.is_set():
                answer = made.search.search(queries[number % 3], k=30, filters=filters[number // 3])
                shown = ids_of(answer)
                assert len(set(shown)) == len(shown) and not hidden.intersection(shown)
        except Exception as error:  # told below, by the thread that runs the test
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for step in range(12):
        new = made.add(directions(5, seed=step), [{"tags": ("a", "b")}] * 5)
        made.remove([new[1]])
        made.catalog.change_image(new[2], tags=("c",))
    over.set()
    for thread in threads:
        thread.join()
    assert not failures, failures
