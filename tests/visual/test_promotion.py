"""The encoder's life cycle: promoted, refused, taken back, and whatever happens in between."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annlab import ExactIndex, IVFIndex, cli, col, durable
from annlab.encoders.encoder import Domain
from annlab.visual import pair, promotion, relevance
from annlab.visual.catalog import Catalog, CatalogError, StaleIndexError
from annlab.visual.discovery import discover
from annlab.visual.indexing import Indexer
from annlab.visual.interactions import log_click, log_results
from annlab.visual.judging import judge
from annlab.visual.promotion import WorseError, building, promote, roll_back
from tests.encoders.helpers import linear_encoder
from tests.visual.drawings import drawing

ROOT = Path(__file__).parents[2]
OLD, NEW, THIRD = (linear_encoder(dim=4 + i, seed=i)[0] for i in range(3))


class System:
    """A catalog of pictures that the encoder OLD has embedded."""

    def __init__(self, place, address):
        self.photos, self.folder, self.address = place / "photos", place / "catalog.index", str(address)
        self.photos.mkdir()
        self.catalog = Catalog.open(self.address)
        for number in range(9):
            self.draw(number)
        self.run(OLD)

    def draw(self, number):
        drawing(np.random.default_rng(number), 40).save(self.photos / f"{number}.png")

    def run(self, encoder):
        empty = None if self.catalog.index_names() else ExactIndex(metric="cosine", dim=encoder.dim)
        with self.catalog.index(empty, self.folder) as index:
            pair.keep_encoder(self.folder, encoder)
            discover(self.catalog, index, self.photos)
            return Indexer(self.catalog, index, encoder).run()

    def check(self, encoder, n):
        """All is of this encoder."""
        images = self.catalog.find(status="indexed")
        assert len(images) == n and {image.encoder for image in images} == {encoder.fingerprint}
        with self.catalog.index(None, self.folder) as index:
            assert index.ids.tolist() == [image.id for image in images]
            expected = encoder.encode([image.path for image in images])
            np.testing.assert_allclose(index.vectors(), expected, atol=1e-6)
        assert pair.encoder_of(self.catalog, self.folder).fingerprint == encoder.fingerprint


@pytest.fixture
def system(tmp_path, address):
    system = System(tmp_path, address)
    yield system
    system.catalog.close()


def test_an_encoder_takes_the_place_of_another_and_gives_it_back(system):
    done = promote(system.catalog, system.folder, NEW)
    assert (done.embedded, done.failed) == (9, 0)
    system.check(NEW, 9)
    with pytest.raises(CatalogError, match="is the current encoder"):
        promote(system.catalog, system.folder, NEW)
    with pytest.raises(CatalogError, match="annlab rollback"):
        promote(system.catalog, system.folder, OLD)
    assert roll_back(system.catalog, system.folder) == "linear"
    system.check(OLD, 9)
    roll_back(system.catalog, system.folder)
    system.check(NEW, 9)


def test_what_changed_since_a_promotion_is_right_after_a_rollback(system):
    promote(system.catalog, system.folder, NEW)
    (system.photos / "0.png").unlink()
    system.draw(20)
    drawing(np.random.default_rng(21), 40).save(system.photos / "1.png")  # other content
    system.run(NEW)
    system.check(NEW, 9)
    roll_back(system.catalog, system.folder)
    assert system.catalog.counts().pending == 2, "the new and the changed one"
    system.run(OLD)
    system.check(OLD, 9)


def test_the_third_encoder_retires_the_first(system):
    promote(system.catalog, system.folder, NEW)
    promote(system.catalog, system.folder, THIRD)
    system.check(THIRD, 9)
    roles = {row["fingerprint"]: row["role"] for row in system.catalog.encoders()}
    assert roles == {OLD.fingerprint: "retired", NEW.fingerprint: "previous", THIRD.fingerprint: "current"}
    assert len(system.catalog.index_names()) == 2
    assert not list(system.folder.glob("images-0*.annlab"))
    assert not (system.folder / "encoders" / OLD.fingerprint).exists()
    promote(system.catalog, system.folder, OLD)  # from the beginning
    system.check(OLD, 9)


def test_images_that_come_while_it_embeds_are_in_both(system, monkeypatch):
    monkeypatch.setattr(promotion, "BLOCK", 4)
    before, calls = promotion._embed_block, []

    def embed_block(*arguments):
        calls.append(before(*arguments))
        if len(calls) == 1:  # another process indexes, with the old encoder
            (system.photos / "0.png").unlink()
            drawing(np.random.default_rng(31), 40).save(system.photos / "1.png")
            system.draw(30)
            system.run(OLD)
            assert building(system.catalog)["embedded"] < 9
        return calls[-1]

    monkeypatch.setattr(promotion, "_embed_block", embed_block)
    promote(system.catalog, system.folder, NEW)
    system.check(NEW, 9)


def test_an_image_that_became_private_meanwhile_is_so_in_the_new_index(system, monkeypatch):
    before = promotion.compare_pairs

    def compare_pairs(*arguments):
        system.catalog.change_image(3, private=True)
        return before(*arguments)

    monkeypatch.setattr(promotion, "compare_pairs", compare_pairs)
    promote(system.catalog, system.folder, NEW)
    with system.catalog.index(None, system.folder) as index:
        assert index.search(np.ones(5), k=9, where=col("private")).ids[:2].tolist() == [3, -1]


def test_a_worse_encoder_is_refused_unless_forced(system):
    with system.catalog.index(None, system.folder) as index:
        for query in (1, 2, 3):
            ids = index.search(index.vectors([query])[0], k=9).ids.tolist()
            for place, id in enumerate(id for id in ids if id != query):
                judge(system.catalog, query, id, 3 if place < 2 else 0, "me")
    with pytest.raises(WorseError, match=r"ndcg@10: A 1\.0000, B 0"):
        promote(system.catalog, system.folder, NEW)
    system.check(OLD, 9)
    assert building(system.catalog)["embedded"] == 9
    done = promote(system.catalog, system.folder, NEW, force=True)
    assert done.embedded == 0 and done.offline.judged.difference < 0
    system.check(NEW, 9)


def test_clicks_count_by_how_seldom_people_look_there(system):
    with system.catalog.index(None, system.folder) as index:
        for query in range(1, 10):
            shown = index.search(index.vectors([query])[0], k=9, excluded=[query]).ids[:8].tolist()
            list_id = log_results(system.catalog, query, shown, ranker="old")
            log_click(system.catalog, list_id, shown[0])
            log_click(system.catalog, list_id, shown[1])
    done = promote(system.catalog, system.folder, NEW, force=True)
    clicked = done.offline.clicked
    assert clicked.n_queries == 18 and clicked.mean_a == pytest.approx(1.0) and clicked.mean_b < 1
    assert done.offline.worse == (clicked.high < 0)


def test_images_that_the_new_encoder_cannot_embed_are_named(system):
    Image.new("RGB", (40, 40), (255, 0, 0)).save(system.photos / "red.png")
    system.run(OLD)
    gray = linear_encoder(dim=6, seed=9, domain=Domain("gray pictures", max_chroma=240.0))[0]
    with pytest.raises(WorseError, match=r"cannot embed 1 of the images.*red\.png.*colour photograph"):
        promote(system.catalog, system.folder, gray)
    done = promote(system.catalog, system.folder, gray, force=True)
    assert done.failed == 1 and system.catalog.counts().pending == 1
    assert system.run(gray).failed == 1
    system.check(gray, 9)


def test_only_one_promotion_at_a_time(system):
    promotion._begin(system.catalog, system.folder, NEW)
    with pytest.raises(CatalogError, match="--restart"):
        promote(system.catalog, system.folder, THIRD)
    promote(system.catalog, system.folder, THIRD, restart=True)
    system.check(THIRD, 9)


def test_the_old_index_is_served_and_read_meanwhile_and_then_refuses_writes(system):
    with system.catalog.index(None, system.folder) as serving:
        held = Indexer(system.catalog, serving, OLD)
        promote(system.catalog, system.folder, NEW)
        assert len(serving.search(serving.vectors([1])[0], k=3).ids) == 3
        drawing(np.random.default_rng(40), 40).save(system.photos / "new.png")
        (new,) = system.catalog.add_images([{"path": os.fspath(system.photos / "new.png")}])
        with pytest.raises(StaleIndexError, match="open both again"):
            held.run()
        assert len(durable.read(system.folder, database=system.catalog.database, name="images")) == 9
    system.catalog.mark_deleted([new])
    system.check(NEW, 9)


def test_the_index_of_the_new_encoder_may_be_of_another_kind(system):
    promote(system.catalog, system.folder, NEW, kind=IVFIndex(metric="cosine", dim=NEW.dim))
    with system.catalog.index(None, system.folder) as index:
        assert "IVFIndex" in repr(index) and len(index) == 9


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
def test_from_the_command_line(system, tmp_path, capsys):
    system.catalog.close()
    NEW.save(tmp_path / "new")
    (tmp_path / "new" / relevance.FILE).write_bytes(b"kept with it")
    assert cli.main(["promote", system.address, str(tmp_path / "new"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["embedded"] == 9
    assert cli.main(["status", system.address, "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (pair.copy_of(system.folder, NEW.fingerprint) / relevance.FILE).read_bytes() == b"kept with it"
    assert [row["role"] for row in status["encoders"]] == ["previous", "current"] and status["promotion"] is None
    assert cli.main(["index", str(system.photos), "--into", system.address]) == 0, "the encoder need not be named"
    assert cli.main(["rollback", system.address]) == 0
    assert "linear is the encoder of" in capsys.readouterr().out
    assert cli.main(["promote", str(tmp_path / "none.db"), "x"]) == 1
    assert "there is no catalog" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kills_at_random_moments_leave_one_whole_pair(kills, tmp_path):
    command = [sys.executable, "-m", "tests.visual.promoting", str(tmp_path), str(max(kills or 0, 12)), "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_before_any_write_leaves_one_whole_pair(full, tmp_path):
    command = [sys.executable, "-m", "tests.visual.kill_points", str(tmp_path), "1" if full else "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
