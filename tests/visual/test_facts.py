"""What is kept in memory of every image is what the catalog says, whoever changes it and however."""

import datetime

import numpy as np
import pytest
from sqlalchemy import delete, update

from annlab import ExactIndex
from annlab.visual import changes
from annlab.visual.catalog import Catalog
from annlab.visual.exchange import export_all, import_all
from annlab.visual.facts import CatalogFacts
from annlab.visual.people import add_user, forget
from annlab.visual.schema import images
from annlab.visual.search import ById, VisualSearch
from annlab.visual.viewers import Filters, Viewer
from tests.visual.searching import NOON, Made, directions

COLUMNS = ("owners", "times", "private", "there")


def same(one, other):
    """Whether two facts say the same of every image, however they number them."""
    ids = np.sort(other.ids.by_row)
    a, b = one.slots_of(ids), other.slots_of(ids)
    assert (a >= 0).all() and (b >= 0).all()
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one, name)[a], getattr(other, name)[b], name)
    alive = other.there[b]
    leaders = [facts.ids.by_row[facts.leaders[slots]] for facts, slots in ((one, a[alive]), (other, b[alive]))]
    np.testing.assert_array_equal(*leaders)
    tags = [{tag: sorted(facts.ids.by_row[slots].tolist()) for tag, slots in facts.tags.items()}
            for facts in (one, other)]  # fmt: skip
    assert tags[0] == tags[1]
    extra = np.setdiff1d(one.ids.by_row, ids)
    assert not one.there[one.slots_of(extra)].any()


def make(catalog, rng, known):
    """One change of whatever kind."""
    kind = rng.integers(8)
    victim = int(rng.choice(known)) if known else None
    if kind <= 1 or victim is None:
        return catalog.add_images([{"tags": tuple(rng.choice(list("abc"), 2)), "private": bool(rng.random() < 0.3),
                                    "status": "indexed", "encoder": "enc"} for _ in range(3)])  # fmt: skip
    if kind == 2:
        catalog.change_image(victim, tags=tuple(rng.choice(list("abcd"), 1)), private=bool(rng.random() < 0.5))
    elif kind == 3:
        catalog.mark_deleted([victim])
    elif kind == 4 and len(known) > 1:
        of = int(rng.choice([id for id in known if id != victim]))
        catalog.mark_duplicate([victim], of)
    elif kind == 5:
        catalog.mark_failed(victim, "because")
    elif kind == 6:
        catalog.change_image(victim, uploaded_at=NOON + datetime.timedelta(hours=int(rng.integers(9))))
    else:
        catalog.add_query(keep=datetime.timedelta(days=1))
    return []


@pytest.mark.parametrize("seed", range(3))
def test_facts_follow_every_change(catalog, seed):
    rng, facts, known = np.random.default_rng(seed), CatalogFacts(catalog), []
    for _ in range(12):
        for _ in range(int(rng.integers(1, 4))):
            known += make(catalog, rng, known)
        same(facts.now(), CatalogFacts(catalog).now())
    assert facts.now() is facts.now(), "nothing is read again where nothing has changed"
    assert facts.now().numbering is not CatalogFacts(catalog).now().numbering


def test_statements_of_any_kind_are_noticed(catalog, tmp_path):
    user = add_user(catalog, username="u")
    ids = catalog.add_images([{"status": "indexed", "encoder": "enc", "owner_id": user}] * 4)
    facts = CatalogFacts(catalog)
    with Catalog.open(catalog.address) as other:  # as another process would
        other.change_image(ids[0], private=True)
    assert facts.now().private.tolist() == [True, False, False, False]
    with catalog.writing() as connection:
        connection.execute(update(images).values(tags=("all",)))
        connection.execute(delete(images).where(images.c.id == ids[3]))
    now = facts.now()
    assert now.there.tolist() == [True, True, True, False] and now.tags["all"].tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError), catalog.writing() as connection:
        connection.execute(update(images).values(private=True))
        raise RuntimeError
    assert facts.now().private.tolist()[:3] == [True, False, False]
    with catalog.index(ExactIndex(metric="cosine", dim=3), tmp_path / "index", name="none") as index:
        forget(catalog, user, [index])
    same(facts.now(), CatalogFacts(catalog).now())
    assert not facts.now().there.any()


def test_imported_rows_with_any_ids_are_known(catalog, tmp_path):
    catalog.add_images([{"status": "indexed", "encoder": "enc", "tags": ("x",)}] * 3)
    with catalog.writing() as connection:
        connection.execute(update(images).where(images.c.id == 3).values(id=2**40))
    export_all(catalog, tmp_path / "out")
    with Catalog.open(tmp_path / "second.db") as second:
        facts = CatalogFacts(second)
        second.add_encoder("enc", "test", 3)
        import_all(second, tmp_path / "out", on_conflict="replace")
        assert sorted(facts.now().ids.by_row.tolist()) == [1, 2, 2**40]
        import_all(second, tmp_path / "out", on_conflict="replace")
        same(facts.now(), CatalogFacts(second).now())


def test_who_comes_too_late_reads_all_again(tmp_path, monkeypatch):
    monkeypatch.setattr(changes, "KEPT", 10)
    with Catalog.open(tmp_path / "c.db") as catalog:
        catalog.add_encoder("enc", "test", 3)
        facts = CatalogFacts(catalog)
        first = facts.now()
        for _ in range(6):
            catalog.add_images([{"status": "indexed", "encoder": "enc"}] * 5)
        with catalog.database.reading() as connection:
            assert changes.since(connection, 3) is None
            assert connection.exec_driver_sql("SELECT count(*) FROM image_changes").scalar() == 10
            assert changes.last(connection) == 30 and len(changes.since(connection, 25)) == 5
        assert len(facts.now()) == 30 and facts.now().numbering is not first.numbering


def test_two_searches_over_one_index_do_not_mix_their_numbers(tmp_path):
    """Slots of rows are remembered in the index: under another numbering they would let the wrong ones through."""
    with Made(tmp_path) as made:
        ids = made.add(directions(10))
        made.add(directions(1, seed=1), [{"id": 10_000}])
        made.search.search(ById(ids[0]))
        made.add(directions(1, seed=2), [{"id": 5_000, "private": True}])  # the second search meets it before the other
        second = VisualSearch(made.catalog, made.index, made.encoder)
        for search in (made.search, second, made.search, second):
            assert {result.id for result in search.search(ById(ids[0]), k=20).results} == {*ids[1:], 10_000}


def test_masks_are_those_of_plain_python(catalog):
    rng = np.random.default_rng(5)
    users = [add_user(catalog, username=name) for name in "ab"]
    rows = [{"owner_id": [None, *users][int(rng.integers(3))], "private": bool(rng.random() < 0.4), "status": "indexed",
             "tags": tuple(np.array(list("xyz"))[rng.random(3) < 0.5]), "encoder": "enc",
             "uploaded_at": NOON + datetime.timedelta(hours=int(rng.integers(24)))} for _ in range(80)]  # fmt: skip
    catalog.add_images(rows)
    hours = [NOON + datetime.timedelta(hours=hour) for hour in (6, 9)]
    facts = CatalogFacts(catalog).now()
    for viewer in (Viewer(), Viewer(users[0]), Viewer(role="admin"), Viewer(users[1], "writer")):
        for filters in (Filters(), Filters(owner=users[0]), Filters(tags=("x", "y")), Filters(tags=("no",)),
                        Filters(after=hours[0], before=hours[1])):  # fmt: skip
            wanted = [
                (not row["private"] or row["owner_id"] == viewer.user_id is not None or viewer.role == "admin")
                and filters.owner in (None, row["owner_id"]) and set(filters.tags) <= set(row["tags"])
                and (filters.after is None or row["uploaded_at"] >= filters.after)
                and (filters.before is None or row["uploaded_at"] < filters.before) for row in rows
            ]  # fmt: skip
            assert facts.allowed(viewer, filters).tolist() == wanted
            assert facts.filter(viewer, filters) is facts.filter(viewer, filters)
