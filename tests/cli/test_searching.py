"""`annlab search`, on a small folder of drawings."""

import json

import numpy as np
import pytest
from PIL import Image

from annlab.cli import main
from annlab.visual.search import VisualSearch
from tests.encoders.helpers import linear_encoder
from tests.visual.drawings import drawing


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a catalog `c.db` of twelve drawings, each twice as large beside it as a file that is not in it."""
    linear_encoder()[0].save(tmp_path / "encoder")
    (tmp_path / "photos").mkdir()
    for i in range(12):
        drawing(np.random.default_rng(i), 48).save(tmp_path / "photos" / f"{i:02}.png")
    monkeypatch.chdir(tmp_path)
    assert main(["index", "photos", "--into", "c.db", "--encoder", "encoder"]) == 0
    return tmp_path


def found(capsys, *arguments):
    capsys.readouterr()
    assert main(["search", "c.db", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_search_by_number_file_several_and_words(place, capsys):
    value = found(capsys, 3, "-k", 5)
    assert len(value["results"]) == 5 and value["total"] == 11 and value["cursor"]
    assert all(result["id"] != 3 and result["path"].endswith(".png") for result in value["results"])
    more = found(capsys, 3, "-k", 5, "--cursor", value["cursor"])
    assert not {r["id"] for r in more["results"]} & {r["id"] for r in value["results"]}
    by_file = found(capsys, "photos/02.png", "-k", 1, "--explain")
    (best,) = by_file["results"]
    assert best["path"].endswith("02.png") and best["distance"] < 1e-6 and best["way"][0].startswith("found")
    part = Image.open("photos/05.png")
    part.crop((0, 0, part.width, part.height // 2)).save("half.png")
    assert found(capsys, "photos/05.png", "--crop", "0,0,1,0.5", "-k", 3)["results"][0]["id"] == found(
        capsys, "half.png", "-k", 3)["results"][0]["id"]  # fmt: skip
    assert {r["id"] for r in found(capsys, 3, 4, "--unlike", 5)["results"]} & {3, 4, 5} == set()
    assert main(["search", "c.db", "3", "--exact", "--order", "time", "-k", "2"]) == 0
    text = capsys.readouterr().out
    assert "2 of 11 within the cut-off" in text and "more with --cursor" in text


def test_it_searches_while_another_process_has_the_index(place, capsys):
    with VisualSearch.open("c.db", encoder="encoder"):
        assert found(capsys, 1)["total"] == 11


@pytest.mark.parametrize("arguments, says", [
    ([], "Name an image"), (["99"], "there is no image 99"), (["nothing.png"], "No such file"),
    (["1", "2", "--crop", "0,0,1,1"], "--crop is of one"), (["1", "--crop", "0,0,1"], "four numbers"),
    (["1", "--after", "soon"], "a date such as"), (["1", "--parameter", "x"], "NAME=VALUE"),
    (["1", "--parameter", "n_probes=3"], "no parameter"), (["--text", "cat"], "no image has a tag"),
    (["1", "-k", "0"], "k is"), (["1", "--cursor", "x"], "cursor"), (["1", "--ranking", "none.toml"], "none.toml"),
    (["encoder"], "directory"),
])  # fmt: skip
def test_what_cannot_be_searched_is_said(place, capsys, arguments, says):
    capsys.readouterr()
    assert main(["search", "c.db", *arguments]) == 1
    assert says in capsys.readouterr().err
    assert main(["search", "absent.db", "1"]) == 1
    assert "there is no catalog" in capsys.readouterr().err
