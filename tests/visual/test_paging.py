"""Pages while images come and go: nothing twice, nothing left out that was there all the time."""

import datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annlab import IVFIndex
from annlab.visual import paging
from annlab.visual import search as searching
from annlab.visual.candidates import by_index
from annlab.visual.cursors import Cursor, StaleCursor, seal, unseal
from annlab.visual.search import ById, ByText, Filters, QueryError, Viewer
from tests.visual.searching import NOON, Made, directions

MIXING = """
[[stage]]
name = "hidden"
[[stage]]
name = "query"
[[stage]]
name = "near-duplicates"
distance = 0.05
[[stage]]
name = "diversity"
strength = 0.5
"""


def walk(made, query, *, between=lambda page: None, pages=200, k=5, **options):
    """All results of a search, page by page; images under another one count as shown."""
    seen, cursor = [], None
    for page in range(pages):
        answer = made.search.search(query, k=k, cursor=cursor, **options)
        assert len(answer.results) == k or answer.cursor is None
        for result in answer.results:
            seen += [result.id, *result.folded]
        cursor = answer.cursor
        if cursor is None:
            return seen
        between(page)
    raise AssertionError(f"{pages} pages and no end")


@pytest.mark.parametrize("order", ["relevance", "time"])
@pytest.mark.parametrize("ranking", ["", MIXING])
def test_twenty_pages_while_images_come_and_go(tmp_path, order, ranking):
    (tmp_path / "ranking.toml").write_text(ranking or '[[stage]]\nname = "query"')
    rng = np.random.default_rng(1)
    with Made(tmp_path, ranking=tmp_path / "ranking.toml") as made:
        start = [{"uploaded_at": NOON + datetime.timedelta(minutes=int(rng.integers(30)))} for _ in range(120)]
        ids = made.add(np.concatenate([directions(100, seed=2), directions(20, seed=2)]), start)  # and some equal ones
        alive, removed = set(ids), set()

        def between(page):
            if page < 20:
                alive.update(made.add(directions(4, seed=100 + page)))
                gone = rng.choice(sorted(alive - {ids[0]}), 3, replace=False).tolist()
                made.remove(gone)
                alive.difference_update(gone)
                removed.update(gone)

        seen = walk(made, ById(ids[0]), between=between, order=order)
        assert len(seen) == len(set(seen)), "something was shown twice"
        assert set(ids) - removed - {ids[0]} <= set(seen), "something was left out"


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(["page", "add", "remove", "hide", "copy"]), min_size=4, max_size=30),
       st.integers(1, 7), st.booleans(), st.integers(0, 2**31))  # fmt: skip
def test_any_sequence_of_pages_and_changes(tmp_path_factory, steps, k, by_time, seed):
    rng, place = np.random.default_rng(seed), tmp_path_factory.mktemp("pages")
    (place / "ranking.toml").write_text(MIXING)
    with Made(place, ranking=place / "ranking.toml") as made:
        ids = made.add(np.repeat(directions(15, seed=seed), 2, axis=0))
        query, alive, touched = ById(ids[0]), set(ids), {ids[0]}
        seen, cursor, order = [], None, "time" if by_time else "relevance"
        for step in [*steps, *["page"] * 60]:
            victim = int(rng.choice(sorted(alive - {ids[0]} or {ids[0]})))
            if step == "page":
                answer = made.search.search(query, k=k, cursor=cursor, order=order)
                seen += [id for result in answer.results for id in (result.id, *result.folded)]
                cursor = answer.cursor
                if cursor is None:
                    break
            elif step == "add":
                made.add(directions(1, seed=int(rng.integers(2**31))))
            elif victim != ids[0] and step in ("remove", "hide"):
                touched.add(victim)
                alive.discard(victim)
                if step == "remove":
                    made.remove([victim])
                else:
                    made.catalog.change_image(victim, private=True)
            elif step == "copy":
                made.copy_of(victim)
        assert len(seen) == len(set(seen))
        assert set(ids) - touched <= set(seen)


def test_what_goes_under_a_picture_that_was_shown_is_shown_by_itself(tmp_path):
    """a, b and c lie 4 degrees apart: b goes under a, c stands alone; when a is gone, c would go under b."""
    (tmp_path / "ranking.toml").write_text('[[stage]]\nname = "query"\n[[stage]]\nname = "near-duplicates"\n'
                                           f"distance = {1 - np.cos(np.deg2rad(5))}\n")  # fmt: skip
    with Made(tmp_path, ranking=tmp_path / "ranking.toml") as made:
        angles = np.deg2rad([0, 20, 24, 28, 60])
        vectors = np.zeros((5, 5))
        vectors[:, 0], vectors[:, 1] = np.cos(angles), np.sin(angles)
        query, a, b, c, last = made.add(vectors)
        first = made.search.search(ById(query), k=1)
        assert [(result.id, result.folded) for result in first.results] == [(a, (b,))]
        made.remove([a])
        rest = made.search.search(ById(query), k=5, cursor=first.cursor)
        assert [(result.id, result.folded) for result in rest.results] == [(c, ()), (last, ())]


def test_deep_pages_look_at_more(tmp_path, monkeypatch):
    monkeypatch.setattr(paging, "LOOKED_AT", 16)
    with Made(tmp_path) as made:
        ids = made.add(directions(150, dim=5, seed=3))
        for order in ("relevance", "time"):
            assert sorted(walk(made, ById(ids[0]), k=3, order=order)) == ids[1:] if order == "relevance" else True
        first = made.search.search(ById(ids[0]), k=3)
        assert first.total < 150 and "more" in first.notes[0]


@pytest.mark.parametrize("order", ["relevance", "time"])
def test_page_twenty_asks_for_little_more_than_page_one_also_with_filters(tmp_path, monkeypatch, order):
    """By the candidates that are fetched for a page, all its rounds together."""
    asked = []

    def counting(*given):
        fetch = by_index(*given)
        return lambda k: asked.append(k) or fetch(k)

    monkeypatch.setattr(searching, "by_index", counting)
    with Made(tmp_path) as made:
        ids = made.add(directions(1500, seed=3), [{"tags": (f"tag{i % 3}",)} for i in range(1500)])
        costs, seen, cursor = [], set(), None
        for _ in range(20):
            asked.clear()
            answer = made.search.search(ById(ids[0]), k=20, cursor=cursor, order=order, cutoff=0.0,
                                        filters=Filters(tags=("tag1",)))  # fmt: skip
            costs.append(sum(asked))
            seen.update(result.id for result in answer.results)
            cursor = answer.cursor
        assert len(seen) == 400 and seen <= set(ids[1::3])
        assert max(costs) <= 3 * costs[0], costs


def test_time_order_keeps_to_what_the_first_page_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(paging, "LOOKED_AT", 16)
    with Made(tmp_path) as made:
        rows = [{"uploaded_at": NOON + datetime.timedelta(minutes=i)} for i in range(60)]
        ids = made.add(directions(60, seed=3), rows)
        near = [r.id for r in made.search.search(ById(ids[0]), k=15).results]
        near_ones = np.repeat(made.index.vectors([ids[0]]), 20, axis=0) + 1e-4 * directions(20, seed=9)
        seen = walk(made, ById(ids[0]), k=3, order="time", between=lambda page: page or made.add(near_ones))
        assert set(near) <= set(seen) and len(seen) == len(set(seen))


def test_an_approximate_index_pages_as_well(tmp_path):
    index = IVFIndex(metric="cosine", dim=5, n_lists=12, n_probes=12)
    with Made(tmp_path, index=index) as made:
        vectors = directions(300, seed=5)
        ids = made.add(vectors)
        made.index.compact()
        assert sorted(walk(made, ById(ids[0]), k=20)) == ids[1:]
        few = walk(made, ById(ids[0]), k=20, search={"n_probes": 1})
        assert len(few) == len(set(few)) < 300


def test_words_in_tags_are_paged(tmp_path):
    with Made(tmp_path) as made:
        ids = made.add(directions(30, seed=5), [{"tags": ("a", "b")[: 1 + i % 2]} for i in range(30)])
        seen = walk(made, ByText("a b"), k=4)
        assert seen == [*ids[1::2], *ids[::2]]


def test_a_cursor_is_good_for_its_search_alone(tmp_path):
    with Made(tmp_path) as made:
        ids = made.add(directions(40))
        cursor = made.search.search(ById(ids[0]), k=3).cursor
        assert made.search.search(ById(ids[0]), k=7, cursor=cursor).results[0].score > 0  # another size is fine
        others = [{"query": ById(ids[1])}, {"viewer": Viewer(5)}, {"filters": Filters(owner=1)}, {"order": "time"},
                  {"exact": True}, {"cutoff": 0.3}]  # fmt: skip
        for other in others:
            with pytest.raises(QueryError, match="another search"):
                made.search.search(**{"query": ById(ids[0]), "k": 3, "cursor": cursor, **other})
        for place in range(0, len(cursor), 7):
            wrong = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
            with pytest.raises(QueryError, match="handed out"):
                made.search.search(ById(ids[0]), k=3, cursor=wrong)
        with pytest.raises(QueryError, match="handed out"):
            made.search.search(ById(ids[0]), k=3, cursor=seal(Cursor("0"), b"another secret"))


def test_a_cursor_comes_back_as_it_was_and_says_nothing():
    cursor = Cursor("digest", (0.1 + 0.2, 123456789), (1.5, 2**62), (5, 2**40), 0.75, 1000, "by")
    text = seal(cursor, b"secret")
    assert unseal(text, "digest", "by", b"secret") == cursor
    with pytest.raises(StaleCursor, match="another encoder was promoted"):
        unseal(text, "digest", "another", b"secret")
    assert "123456789" not in text and text.isascii() and "=" not in text
