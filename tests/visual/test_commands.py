"""The commands `annlab index` and `annlab status`, as a person gives them."""

import json
import shutil

import pytest

from annlab import cli
from tests.encoders.helpers import linear_encoder
from tests.visual.test_indexing import fill


@pytest.fixture
def encoder(tmp_path):
    linear_encoder()[0].save(tmp_path / "encoder")
    return str(tmp_path / "encoder")


def test_a_folder_goes_into_a_catalog_and_its_state_is_told(tmp_path, encoder, capsys):
    photos, catalog = tmp_path / "photos", str(tmp_path / "photos.db")
    fill(photos, 8)
    (photos / "broken.png").write_bytes(b"no image")
    command = ["index", str(photos), "--into", catalog, "--encoder", encoder]
    assert cli.main(command) == 0
    assert "9 discovered = 8 indexed + 0 duplicate + 1 failed + 0 pending" in capsys.readouterr().out
    assert cli.main([*command, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["discovered"]["new"] == 0 and again["vectors"] == 8
    assert cli.main(["status", catalog]) == 0
    told = capsys.readouterr().out
    assert "ExactIndex: " in told and "MiB in memory" in told
    assert "8 indexed" in told and "broken.png: " in told and "current" in told
    assert cli.main(["status", catalog, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["catalog"]["failed"] == 1


def test_encoder_and_index_need_to_be_named_once(tmp_path, encoder, capsys):
    photos, catalog, place = tmp_path / "photos", str(tmp_path / "photos.db"), tmp_path / "elsewhere"
    fill(photos, 3)
    command = ["index", str(photos), "--into", catalog]
    assert cli.main([*command, "--encoder", encoder, "--index-folder", str(place), "--index", "ivf"]) == 0
    shutil.rmtree(encoder)  # it is kept beside the index
    (photos / "a" / "000.png").unlink()
    assert cli.main(command) == 0
    assert "2 discovered = 2 indexed" in capsys.readouterr().out
    assert cli.main(["status", catalog, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["encoders"]
    assert row["index"]["kind"] == "IVFIndex" and not (tmp_path / "photos.index").exists()
    assert cli.main(["index", str(photos), "--into", "postgresql://nobody@localhost:1/none"]) == 1


@pytest.mark.parametrize("command, said", [
    (["status", "nowhere.db"], "annlab index FOLDER --into nowhere.db"),
    (["index", "nowhere", "--into", "x.db"], "no folder of images"),
])  # fmt: skip
def test_what_is_not_there_is_said_and_nothing_is_made(tmp_path, monkeypatch, capsys, command, said):
    monkeypatch.chdir(tmp_path)
    assert cli.main(command) == 1
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
