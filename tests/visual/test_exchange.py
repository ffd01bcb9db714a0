"""Tables as files: what goes out comes back, personal data does not go out, and a wrong row is named."""

import csv
import datetime
import json
import re

import pytest
from sqlalchemy import select

from annlab.visual import schema
from annlab.visual.catalog import Catalog, CatalogError
from annlab.visual.exchange import export_all, export_table, import_all, import_table
from annlab.visual.interactions import Place, log_click, log_results
from annlab.visual.judging import judge
from annlab.visual.people import add_user


@pytest.fixture
def filled(catalog):
    """A catalog with something in every table and every column."""
    user = add_user(
        catalog, username="johnduo", age=26, gender="M", city="San José", country="USA", email="j@gmail.com"
    )
    row = {"owner_id": user, "tags": ["Pasta", 'a "b", c'], "size": 7, "modified_ns": 2**60 + 1, "content_hash": "h",
           "picture_hash": "p", "width": 3, "height": 4, "private": True}  # fmt: skip
    ids = catalog.add_images([row | {"path": f"line\nbreak {i}, ü"} for i in range(5)])
    catalog.mark_indexed(ids[:2], "enc")
    catalog.mark_duplicate([ids[2]], ids[4])  # of a later one
    catalog.mark_failed(ids[3], "no image", retry_at=catalog.now() + datetime.timedelta(hours=1))
    query = catalog.add_query(keep=datetime.timedelta(days=1))
    place = Place(38.8951, -77.0364)
    more = {"user_id": user, "encoder": "enc", "place": place, "details": {"p": 0.5}}
    shown = log_results(catalog, query, ids[:3], ranker="r", **more)
    log_click(catalog, shown, ids[1], place=place)
    judge(catalog, query, ids[0], 3, "johnduo")
    judge(catalog, query, ids[1], 0, "anna")
    with catalog.writing() as connection:
        row = {"first_image_id": ids[0], "second_image_id": ids[1], "duplicates": False, "judge": "anna",
               "decided_at": catalog.now(), "similarity": 0.25}  # fmt: skip
        connection.execute(schema.decisions.insert(), row)
    return catalog


def everything(catalog, vectors="present"):
    content = {}
    with catalog.database.reading() as connection:
        for name, table in schema.TABLES.items():
            columns = [c for c in table.c if not schema.is_personal(c) and not c.info.get("pseudonym")]
            rows = connection.execute(select(*columns).order_by(*columns)).mappings()
            content[name] = [dict(row) for row in rows]
    return content


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_all_tables_go_out_and_come_back(form, filled, tmp_path):
    counts = export_all(filled, tmp_path / "out", form)
    assert counts == {"users": 1, "encoders": 1, "images": 6, "result_lists": 1, "interactions": 4, "judgements": 2,
                      "decisions": 1}  # fmt: skip
    with Catalog.open(tmp_path / "again.db") as again:
        assert import_all(again, tmp_path / "out", vectors="present") == counts
        assert everything(again) == everything(filled)
        assert again.image(1).tags == ("Pasta", 'a "b", c')
        export_all(again, tmp_path / "second", form)
        assert again.add_images([{}])[0] == 7, "ids go on after the largest"
    with Catalog.open(tmp_path / "third.db") as third:
        import_all(third, tmp_path / "out")
        assert [image.status for image in third.find()][:4] == ["pending", "pending", "duplicate", "failed"]
        assert third.image(1).encoder is None, "the vectors did not come along"


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_nothing_personal_goes_out(form, filled, tmp_path):
    export_all(filled, tmp_path, form)
    for path in tmp_path.glob(f"*.{form}"):
        content = re.sub(rb"-[0-9a-f]{12}", b"", path.read_bytes())  # pseudonyms, whose digits may be any
        for secret in (b"johnduo", b"San Jos", b"gmail", b"USA", b"38.9", b"-77", b"anna", b"389", b"770"):
            assert secret not in content, path
    header = (tmp_path / "users.csv").read_text().split("\n")[0] if form == "csv" else "id"
    assert header == "id"


def test_pseudonyms_are_the_same_in_every_export_and_others_elsewhere(filled, tmp_path):
    def judges(catalog, name):
        export_table(catalog, "judgements", tmp_path / name)
        with open(tmp_path / name) as file:
            return [row["judge"] for row in csv.DictReader(file)]

    first = judges(filled, "1.csv")
    assert first == judges(filled, "2.csv") and len(set(first)) == 2
    with filled.writing() as connection:
        connection.execute(schema.settings.update().where(schema.settings.c.name == "secret").values(value="other"))
    assert not set(first) & set(judges(filled, "3.csv"))


def test_files_that_others_wrote_are_read(catalog, tmp_path):
    """The tables as the system's description shows them."""
    (tmp_path / "users.csv").write_text(
        "id,username,age,gender,city,country,email\n8,johnduo,26,M,San "
        "Jose,USA,john@gmail.com\n5,hs2008,49,M,Paris,France,h@gmail.com\n19,alexish,16,F,Rio,Brazil,alexh@yahoo.com\n"
    )
    (tmp_path / "images.csv").write_text(
        'id,owner_id,uploaded_at,tags\n1,8,1658451341,Zebra\n2,5,1658451841,"Pasta, Food, Kitchen"\n3,19,1658321820,'
        '"Children, Family, Party"\n'
    )
    (tmp_path / "interactions.csv").write_text(
        "user_id,query_image_id,displayed_image_id,position,kind,latitude,longitude,at\n"
        "8,2,1,1,click,38.8951,-77.0364,1658450539\n5,3,1,2,impression,41.9241,-89.0389,1658451365\n"
    )
    assert import_all(catalog, tmp_path) == {"users": 3, "images": 3, "interactions": 2}
    assert catalog.image(2).tags == ("Pasta", "Food", "Kitchen")
    assert catalog.image(1).uploaded_at == datetime.datetime.fromtimestamp(1658451341, datetime.UTC)
    with catalog.database.reading() as connection:
        stored = connection.exec_driver_sql("SELECT latitude, longitude FROM interactions ORDER BY id").all()
    assert [tuple(row) for row in stored] == [(389, -770), (419, -890)], "rounded on entry: tenths of degrees"


@pytest.mark.parametrize("name, content, message", [
    ("images.csv", "id,path\n1,a\n2,a\n", "row 2: another image that was not deleted has this path"),
    ("images.csv", "id,colour\n1,red\n", "row 1: images has no column 'colour'"),
    ("images.csv", "id,width\n1,3\n2,3.5\n", "row 2, column width"),
    ("images.csv", "id,size\n1,9223372036854775807\n2,9223372036854775808\n", "row 2, column size"),
    ("images.csv", "id,private\n1,maybe\n", "row 1, column private"),
    ("images.csv", "id,uploaded_at\n1,2026-01-01T00:00:00\n", "row 1, column uploaded_at"),
    ("images.csv", "id,path\n1,a,b\n", "line 2: 3 cells, but 2 columns"),
    ("images.csv", "id,status\n1,duplicate\n", "row 1: a duplicate needs"),
    ("images.csv", "id,duplicate_of,status\n1,99,duplicate\n", "not in the catalog"),
    ("images.csv", "id,owner_id\n1,\n2,99\n", "row 2: it refers to"),
    ("images.csv", "id,path\n1,\"a\n", "no CSV"),
    ("images.parquet", "PAR1 this is none", "no Parquet file"),
    ("judgements.csv", "query_image_id,candidate_image_id,judge,grade\n1,1,me,4\n", "row 1: grade is none of"),
    ("interactions.csv", "query_image_id,displayed_image_id,position,kind,latitude\n1,1,1,click,99\n", "latitude"),
    ("users.csv", "id,age\n1,200\n", "row 1: age is not between"),
])  # fmt: skip
def test_a_wrong_row_is_named_and_nothing_is_imported(name, content, message, catalog, tmp_path):
    if not name.startswith(("images", "users")):
        catalog.add_images([{}])
    before = everything(catalog)
    (tmp_path / name).write_text(content)
    with pytest.raises(CatalogError, match=message):
        import_table(catalog, name.split(".")[0], tmp_path / name)
    assert everything(catalog) == before


def test_rows_that_are_there_are_kept_or_replaced_on_request(catalog, tmp_path):
    (tmp_path / "images.csv").write_text("id,path\n1,a\n2,b\n")
    assert import_table(catalog, "images", tmp_path / "images.csv") == 2
    (tmp_path / "images.csv").write_text("id,path\n2,c\n3,d\n")
    with pytest.raises(CatalogError, match="row 1: a row with this key is there already"):
        import_table(catalog, "images", tmp_path / "images.csv")
    import_table(catalog, "images", tmp_path / "images.csv", on_conflict="skip")
    assert [image.path for image in catalog.find()] == ["a", "b", "d"]
    import_table(catalog, "images", tmp_path / "images.csv", on_conflict="replace")
    assert [image.path for image in catalog.find()] == ["a", "c", "d"]
    for bad in (lambda: import_table(catalog, "images", tmp_path / "x.txt"),
                lambda: export_table(catalog, "settings", tmp_path / "x.csv"),
                lambda: export_all(catalog, tmp_path, "xml"),
                lambda: import_table(catalog, "images", tmp_path / "images.csv", on_conflict="maybe")):  # fmt: skip
        with pytest.raises(ValueError):
            bad()
    with pytest.raises(FileNotFoundError):
        import_all(catalog, tmp_path / "empty")


def test_an_export_that_fails_leaves_the_old_file(filled, tmp_path, monkeypatch):
    export_table(filled, "images", tmp_path / "images.csv")
    before = (tmp_path / "images.csv").read_bytes()
    monkeypatch.setattr(json, "dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_table(filled, "images", tmp_path / "images.csv", overwrite=True)
    assert (tmp_path / "images.csv").read_bytes() == before and not list(tmp_path.glob(".*.tmp"))


def test_no_export_replaces_a_file_unasked(filled, tmp_path):
    (tmp_path / "users.csv").write_text("mine")
    with pytest.raises(FileExistsError, match=r"users\.csv exists already.*--overwrite"):
        export_all(filled, tmp_path)
    assert [path.name for path in tmp_path.glob("*.csv")] == ["users.csv"]
    assert (tmp_path / "users.csv").read_text() == "mine"
    export_all(filled, tmp_path, overwrite=True)
    assert (tmp_path / "users.csv").read_text() != "mine"
