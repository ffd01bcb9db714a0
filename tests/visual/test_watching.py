"""A folder that is watched: whatever happens to it between two looks, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from annlab.visual import pair, promotion
from annlab.visual.catalog import Catalog
from annlab.visual.watching import watch
from tests.encoders.helpers import linear_encoder
from tests.visual.drawings import drawing
from tests.visual.test_indexing import System, fill

ROOT = Path(__file__).parents[2]


def watched(place, steps):
    """What a watch told and said, while one step after the other happens between its looks."""
    told, said, left = [], [], list(steps)

    @contextmanager
    def opened():
        folder = place / "photos.index"
        with Catalog.open(place / "photos.db") as catalog, catalog.index(None, folder) as index:
            yield catalog, index, pair.encoder_of(catalog, folder)

    def waited(seconds):
        if not left:
            return True
        left.pop(0)()
        return False

    watch(place / "photos", opened, told=lambda result: told.append(result["discovered"] | result["catalog"]),
          say=said.append, waited=waited)  # fmt: skip
    return told, said


def nothing():
    pass


@pytest.fixture
def photos(tmp_path):
    with System(tmp_path) as system:
        paths = fill(system.folder, 3)
        system.run()
        pair.keep_encoder(tmp_path / "photos.index", system.encoder)
    return paths


def test_a_new_file_is_taken_in_once_it_has_come_to_rest(tmp_path, photos):
    new = tmp_path / "photos" / "new.png"
    drawing(np.random.default_rng(50), 48).save(tmp_path / "photo.png")
    whole = (tmp_path / "photo.png").read_bytes()
    half = len(whole) // 2
    steps = [lambda: new.write_bytes(whole[:half]), lambda: new.write_bytes(whole), nothing, nothing]
    told, said = watched(tmp_path, steps)
    assert not said and len(told) == 1, "a half-written file is no failure"
    assert (told[0]["new"], told[0]["indexed"], told[0]["failed"]) == (1, 4, 0)


def test_changes_and_removals_are_followed(tmp_path, photos):
    steps = [
        photos[0].unlink,
        lambda: drawing(np.random.default_rng(60), 48).save(photos[1]),
        nothing,
        nothing,
    ]
    told, _ = watched(tmp_path, steps)
    assert [(each["removed"], each["changed"], each["indexed"]) for each in told] == [(1, 0, 2), (0, 1, 2)]


def test_what_goes_wrong_is_said_once_and_tried_again(tmp_path, photos):
    folder, away = tmp_path / "photos", tmp_path / "away"
    told, said = watched(tmp_path, [lambda: folder.rename(away), nothing, lambda: away.rename(folder), nothing])
    assert not told, "nothing is lost where a disk was away for a while"
    assert len(said) == 1 and "there is no folder" in said[0]


def test_a_promotion_meanwhile_is_followed(tmp_path, photos):
    other = linear_encoder(dim=7, seed=5)[0]

    def promote():
        with Catalog.open(tmp_path / "photos.db") as catalog:
            promotion.promote(catalog, tmp_path / "photos.index", other)

    def draw():
        drawing(np.random.default_rng(70), 48).save(tmp_path / "photos" / "new.png")

    told, said = watched(tmp_path, [promote, draw, nothing, nothing])
    assert said == ["another encoder has been promoted: going on with that one"]
    assert told[-1]["indexed"] == 4
    with Catalog.open(tmp_path / "photos.db") as catalog:
        assert {image.encoder for image in catalog.find(status="indexed")} == {other.fingerprint}


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_ends_it_and_what_was_said_by_then_is_there(tmp_path):
    fill(tmp_path / "photos", 2)
    linear_encoder()[0].save(tmp_path / "encoder")
    command = [sys.executable, "-m", "annlab.cli", "index", str(tmp_path / "photos"), "--into", str(tmp_path / "x.db"),
               "--encoder", str(tmp_path / "encoder"), "--watch", "--json"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # tests in the background were told to ignore it
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
                          preexec_fn=heard) as child:  # fmt: skip
        assert json.loads(child.stdout.readline())["catalog"]["indexed"] == 2
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        try:
            _, said = child.communicate(timeout=60)
        finally:
            child.kill()
    assert said.splitlines()[-1] == "no longer watching" and child.returncode == 0
