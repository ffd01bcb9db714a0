"""`annlab start`: what is served, by which encoder, where; and that the service ends when it is told to."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annlab.cli import main, serving, starting
from annlab.encoders import pretrained
from annlab.visual import packaged
from annlab.visual.catalog import Catalog


@pytest.fixture
def served(monkeypatch, tmp_path):
    """What `annlab serve` would have been called with."""
    calls = []
    monkeypatch.setattr(serving, "_serve", lambda given: calls.append((given.catalog, given.port, given.threads)) or 0)
    monkeypatch.setenv("ANNLAB_HOME", str(tmp_path / "home"))
    return calls


def photographs(folder: Path) -> Path:
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_the_packaged_pictures_are_served_from_the_persons_own_folder(served, monkeypatch, tmp_path):
    monkeypatch.setattr(packaged, "packaged_catalog", lambda place, **_: place / "emoji.db")
    assert main(["start", "--port", "0", "--threads", "2"]) == 0
    assert served == [(str(tmp_path / "home" / "emoji" / "emoji.db"), 0, 2)]


def test_photographs_are_indexed_by_what_is_installed_and_the_second_time_by_the_same(
    served, monkeypatch, tmp_path, capsys
):
    folder = photographs(tmp_path / "my photos")
    monkeypatch.setattr(pretrained, "default_name", lambda: "fashion-mnist")
    assert main(["start", "--photos", str(folder)]) == 0
    assert 'pip install "annlab[encoders]"' in capsys.readouterr().err
    assert main(["start", "--photos", str(folder)]) == 0
    assert "3 indexed" not in capsys.readouterr().err  # nothing was due
    (catalog, *_), second = served
    assert Path(catalog).is_file() and Path(catalog).parent.name.startswith("my photos-") and second[0] == catalog


def test_a_second_start_with_photographs_changes_nothing_and_a_third_what_changed(
    served, monkeypatch, tmp_path, capsys
):
    folder = photographs(tmp_path / "mine")
    monkeypatch.setattr(pretrained, "default_name", lambda: "fashion-mnist")

    def start():
        capsys.readouterr()
        assert main(["start", "--photos", str(folder)]) == 0
        with Catalog.open(served[-1][0]) as catalog:
            return catalog.find(), capsys.readouterr().err

    first, _ = start()
    assert [image.status for image in first] == ["indexed"] * 3
    files = {path: path.stat().st_mtime_ns for path in Path(served[0][0]).parent.rglob("*.annlab")}
    again, said = start()
    assert again == first and "3 images: 0 new, 0 changed, 0 moved, 0 removed" in said
    assert files == {path: path.stat().st_mtime_ns for path in files}, "no index is written anew"
    (folder / "1.png").unlink()
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(folder / "new.png")
    third, _ = start()
    assert {Path(image.path).name for image in third} == {"0.png", "2.png", "new.png"}
    assert {image.id for image in first} & {image.id for image in third} == {
        i.id for i in first if not i.path.endswith("1.png")
    }
    assert len({call[0] for call in served}) == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(["--photos", "nowhere"], "nowhere is no folder"), (["--encoder", "fashion-mnist"], "leave --encoder out")],
)
def test_what_makes_no_sense_is_refused(served, capsys, arguments, reason):
    assert main(["start", *arguments]) == 1
    assert reason in capsys.readouterr().err and not served


def test_a_port_that_is_taken_is_left_alone():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert starting._free(other.getsockname()[1]) == 0


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_it_serves_the_page_and_ends_by_ctrl_c(tmp_path):
    environment = {**os.environ, "ANNLAB_HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "annlab.cli", "start", "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as service:
        address = service.stdout.readline().strip()
        with urllib.request.urlopen(address, timeout=60) as page:
            assert page.status == 200 and b"<html" in page.read()
        service.send_signal(signal.SIGINT)
        assert service.wait(timeout=60) == 0
