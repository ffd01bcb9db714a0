"""The catalog: images and what became of them, its rules, its versions, and the index that shares its database."""

import datetime
import os

import numpy as np
import pytest
from sqlalchemy import inspect

from annlab import ExactIndex
from annlab.durable import Database
from annlab.visual import migrations, schema
from annlab.visual.catalog import Catalog
from annlab.visual.paths import from_text, to_text
from tests.visual.helpers import Clock

NOON = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


def test_every_image_is_in_exactly_one_state(catalog):
    ids = catalog.add_images({"path": f"{i}.jpg", "content_hash": f"{i:064x}"} for i in range(10))
    assert ids == sorted(set(ids))
    assert str(catalog.counts()) == "10 discovered = 0 indexed + 0 duplicate + 0 failed + 10 pending"
    catalog.mark_indexed(ids[:5], "enc")
    catalog.mark_duplicate(ids[5:7], ids[0])
    catalog.mark_failed(ids[7], "truncated\n file", retry_at=catalog.now() + datetime.timedelta(hours=1))
    catalog.add_query(keep=datetime.timedelta(days=1), content_hash="q")
    counts = catalog.counts()
    assert (counts.indexed, counts.duplicate, counts.failed, counts.pending) == (5, 2, 1, 2)
    assert counts.discovered == counts.indexed + counts.duplicate + counts.failed + counts.pending == 10
    failed = catalog.find(status="failed")
    assert [(image.path, image.reason, image.attempts) for image in failed] == [("7.jpg", "truncated file", 1)]
    assert [image.id for image in catalog.due()] == ids[8:]
    catalog.clock.now += datetime.timedelta(hours=2)
    assert [image.id for image in catalog.due()] == ids[7:]
    assert [image.id for image in catalog.due(1, after=ids[7])] == [ids[8]]


def test_what_duplicates_a_deleted_image_is_looked_at_again(catalog):
    first, second, third = catalog.add_images([{"path": "a"}, {"path": "b"}, {"path": "c"}])
    catalog.mark_indexed([first, third], "enc")
    catalog.mark_duplicate([second], first)
    catalog.mark_deleted([first])
    assert catalog.image(second).status == "pending"
    assert catalog.counts().discovered == 2
    assert [image.id for image in catalog.find(deleted=True)] == [first]
    with pytest.raises(KeyError, match="was deleted"):
        catalog.image(first)
    assert catalog.add_images([{"path": "a"}])[0] > third, "the path is free again, the id is not"


@pytest.mark.parametrize("row, message", [
    ({"status": "lost"}, "none of pending"),
    ({"status": "failed"}, "needs a reason"),
    ({"status": "pending", "reason": "x"}, "needs a reason"),
    ({"status": "duplicate"}, "needs the image"),
    ({"status": "indexed"}, "needs its encoder"),
    ({"status": "indexed", "encoder": "unknown"}, "not in the catalog"),
    ({"owner_id": 99}, "not in the catalog"),
    ({"path": ""}, "path is empty"),
    ({"path": "there.jpg"}, "has this path"),
    ({"kind": "query", "status": "query"}, "needs the time"),
    ({"kind": "video"}, "neither image nor query"),
    ({"uploaded_at": datetime.datetime(2026, 1, 1)}, "no time zone"),
    ({"tags": "cat"}, "list of words"),
    ({"colour": 3}, "no column 'colour'"),
])  # fmt: skip
def test_a_row_that_breaks_a_rule_is_refused_with_the_rule(row, message, catalog):
    catalog.add_images([{"path": "there.jpg"}])
    with pytest.raises(ValueError, match=message):
        catalog.add_images([{"path": "fine.jpg"}, row])
    assert catalog.counts().discovered == 1


def test_images_are_found_by_what_is_known_of_them(catalog):
    tags = [("Zebra",), ("Pasta", "Food", "Kitchen"), ("Children", 'say "x"', "Party")]
    ids = catalog.add_images({"tags": t, "content_hash": f"h{i % 2}"} for i, t in enumerate(tags))
    assert catalog.image(ids[1]).tags == tags[1]
    assert [image.id for image in catalog.find(tag="Food")] == [ids[1]]
    assert [image.id for image in catalog.find(tag='say "x"')] == [ids[2]]
    assert catalog.find(tag="Foo") == []
    assert [image.id for image in catalog.find(content_hash="h0")] == [ids[0], ids[2]]
    assert [image.id for image in catalog.find(content_hash=["h0", "h1"], after=ids[0], limit=1)] == [ids[1]]
    assert [image.id for image in catalog.find(ids=[ids[2], 77, ids[0]])] == [ids[0], ids[2]]
    catalog.change_image(ids[0], path="moved.jpg", private=True)
    assert (catalog.image(ids[0]).path, catalog.image(ids[0]).private) == ("moved.jpg", True)
    with pytest.raises(KeyError):
        catalog.change_image(77, path="x")
    with pytest.raises(KeyError):
        catalog.mark_pending([ids[0], 77])


def test_a_query_is_kept_for_its_time_and_then_emptied(catalog):
    id = catalog.add_query(keep=datetime.timedelta(days=2), path="upload.png", content_hash="c")
    assert catalog.expire_queries() == [] and catalog.counts().discovered == 0 and catalog.due() == []
    catalog.clock.now += datetime.timedelta(days=3)
    expired = catalog.expire_queries()
    assert [(image.id, image.path) for image in expired] == [(id, "upload.png")]
    (left,) = catalog.find(ids=[id], deleted=True)
    assert left.path is None and left.content_hash is None
    with pytest.raises(ValueError, match="for some time"):
        catalog.add_query(keep=datetime.timedelta(0))


def test_a_row_and_its_vector_are_committed_together(catalog, tmp_path):
    with catalog.index(ExactIndex(dim=3), tmp_path / "index") as index:
        ids = catalog.add_images([{"path": "a"}, {"path": "b"}])
        with pytest.raises(ZeroDivisionError), index.transaction() as writes:
            catalog.mark_indexed(ids, "enc", connection=writes.connection)
            writes.add(np.eye(3)[:2], ids)
            raise ZeroDivisionError
        assert catalog.counts().indexed == len(index) == 0
        with index.transaction() as writes:
            catalog.mark_indexed(ids, "enc", connection=writes.connection)
            writes.add(np.eye(3)[:2], ids)
        assert catalog.counts().indexed == len(index) == 2
        with pytest.raises(RuntimeError, match="inside a writing transaction"), index.transaction():
            catalog.mark_pending(ids)


def test_encoders_and_their_roles(catalog):
    catalog.add_encoder("enc", "test", 3)
    with pytest.raises(ValueError, match="3 dimensions, not 4"):
        catalog.add_encoder("enc", "test", 4)
    with pytest.raises(ValueError, match="current encoder already"):
        catalog.add_encoder("new", "newer", 4)
    catalog.add_encoder("new", "newer", 4, role="building")
    catalog.set_roles({"new": "current", "enc": "previous"})
    assert {row["fingerprint"]: row["role"] for row in catalog.encoders()} == {"enc": "previous", "new": "current"}
    catalog.set_roles({"enc": "current", "new": "previous"})
    assert {row["fingerprint"]: row["role"] for row in catalog.encoders()} == {"enc": "current", "new": "previous"}


def test_a_clock_that_went_back_is_told(catalog):
    from annlab.visual.interactions import log_results

    query = catalog.add_query(keep=datetime.timedelta(days=1))
    log_results(catalog, query, [], ranker="r")
    with pytest.warns(RuntimeWarning, match="set back"):
        Catalog.open(catalog.address, clock=Clock(NOON - datetime.timedelta(days=1))).close()


def test_a_catalog_of_an_earlier_version_is_brought_up_to_date(catalog):
    def add_colour(connection):
        connection.exec_driver_sql("ALTER TABLE images ADD COLUMN colour TEXT")

    def break_off(connection):
        connection.exec_driver_sql("ALTER TABLE images ADD COLUMN shape TEXT")
        raise ZeroDivisionError

    database, start = catalog.database, schema.VERSION
    with pytest.raises(ZeroDivisionError), database.writing() as connection:
        migrations.bring_up_to_date(connection, "here", {start: add_colour, start + 1: break_off}, start + 2)
    with database.writing() as connection:
        migrations.bring_up_to_date(connection, "here", {start: add_colour}, start + 1)
        migrations.bring_up_to_date(connection, "here", {start: add_colour}, start + 1)  # changes nothing more
        columns = [column["name"] for column in inspect(connection).get_columns("images")]
        assert "colour" in columns and "shape" not in columns
    with pytest.raises(ValueError, match=f"version {start + 1}; this annlab knows up to {start}: update annlab"):
        Catalog.open(catalog.address)
    with database.writing() as connection, pytest.raises(ValueError, match="no step leads"):
        migrations.bring_up_to_date(connection, "here", {}, start + 5)


def test_a_catalog_of_the_first_version_knows_several_encoders_now(tmp_path):
    database = Database.open(tmp_path / "old.db")
    with database.writing() as connection:
        for statement in (
            "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
            "INSERT INTO settings VALUES ('version', '1')",
            "CREATE TABLE images (id INTEGER PRIMARY KEY)",
            "CREATE TABLE encoders (fingerprint TEXT PRIMARY KEY, name TEXT, dim INTEGER, role TEXT, added_at TEXT, "
            "index_kind TEXT, index_folder TEXT)",
        ):
            connection.exec_driver_sql(statement)
        migrations.bring_up_to_date(connection, "here")
        found = inspect(connection)
        for table in (schema.encoders, schema.embedded):
            assert {column["name"] for column in found.get_columns(table.name)} == set(table.c.keys())
        assert found.get_pk_constraint("embedded")["constrained_columns"] == ["encoder", "image_id"]
    database.close()


def test_a_database_of_something_else_is_refused(tmp_path):
    database = Database.open(tmp_path / "other.db")
    with database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE settings (name TEXT, value TEXT)")
    with pytest.raises(ValueError, match="but is none"):
        Catalog.open(tmp_path / "other.db")
    (tmp_path / "text.db").write_text("this is no database, but it is long enough to be read as one" * 20)
    with pytest.raises(ValueError, match="is damaged"):
        Catalog.open(tmp_path / "text.db")
    with pytest.raises(ValueError, match="mysql"):
        Catalog.open("mysql://localhost/x")


@pytest.mark.parametrize("name", [b"plain.jpg", "naïve ü.png".encode(), b"100%.jpg", b"\xff\xfe/\x01\n.jpg", b"x" * 255,
                                  b"%41.jpg"])  # fmt: skip
def test_any_name_of_a_file_is_text_and_comes_back(name):
    text = to_text(name)
    assert os.fsencode(from_text(text)) == name
    assert text.isprintable() and text.encode()
