"""`annlab catalog`: tables in and out, and people, from the command line."""

import json

import numpy as np
import pytest

from annlab import ExactIndex
from annlab.cli import main
from annlab.visual.catalog import Catalog
from annlab.visual.pair import index_folder_of
from annlab.visual.people import add_user


@pytest.fixture
def filled(tmp_path):
    """The path of a catalog with one person, whose image is indexed."""
    path = str(tmp_path / "photos.db")
    with Catalog.open(path) as catalog, catalog.index(ExactIndex(dim=3), index_folder_of(path)) as index:
        catalog.add_encoder("enc", "test", 3)
        owner = add_user(catalog, username="johnduo", city="San Jose")
        ids = catalog.add_images([{"owner_id": owner, "path": "a.jpg"}, {"path": "b.jpg"}])
        with index.transaction() as writes:
            catalog.mark_indexed(ids, "enc", connection=writes.connection)
            writes.add(np.eye(3)[:2], ids)
    return path


def test_a_person_is_shown_and_forgotten(filled, capsys):
    assert main(["catalog", "person", filled, "johnduo"]) == 0
    assert json.loads(capsys.readouterr().out)["users"][0]["city"] == "San Jose"
    assert main(["catalog", "forget", filled, "johnduo"]) == 0
    assert json.loads(capsys.readouterr().out) == {"images": 1, "files": ["a.jpg"]}
    with Catalog.open(filled) as catalog, catalog.index(None, index_folder_of(filled)) as index:
        assert index.ids.tolist() == [2] and catalog.counts().indexed == 1
    assert main(["catalog", "forget", filled, "johnduo"]) == 1
    assert "no user" in capsys.readouterr().err


def test_tables_and_qrels_go_out_and_in(filled, tmp_path, capsys):
    for action, operand in (("export", "out"), ("export-qrels", "qrels.txt"), ("import-qrels", "qrels.txt")):
        assert main(["catalog", action, filled, str(tmp_path / operand)]) == 0
    other = str(tmp_path / "other.db")
    assert main(["catalog", "import", other, str(tmp_path / "out")]) == 0
    assert "johnduo" not in capsys.readouterr().out
    with Catalog.open(other) as catalog:
        assert catalog.counts().pending == 2
    assert main(["catalog", "export", str(tmp_path / "none.db"), "x"]) == 1
    assert "there is no catalog" in capsys.readouterr().err


def test_what_a_command_writes_is_never_the_catalog(filled, tmp_path, capsys):
    """Not even with --overwrite, which means a report of before."""
    (tmp_path / "link.html").symlink_to(filled)
    index = next(path for path in index_folder_of(filled).rglob("*") if path.is_file())
    kept = index.read_bytes()
    for place in (filled, tmp_path / "link.html", index):
        for command in (["report", filled, "--out", str(place)], ["catalog", "export-qrels", filled, str(place)]):
            assert main([*command, "--overwrite"]) == 1
            assert "name another file" in capsys.readouterr().err
    assert index.read_bytes() == kept and main(["status", filled]) == 0
