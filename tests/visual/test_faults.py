"""What goes wrong around the pipeline: each has a reason that is said, and nothing that was done is lost."""

import os
import struct
import zlib

import numpy as np
import pytest

from annlab import cli
from annlab.durable import StorageError
from annlab.visual import discovery
from annlab.visual.discovery import discover
from annlab.visual.indexing import Indexer
from tests.durable.test_faults import full_disk, posix, without_rights
from tests.encoders.helpers import linear_encoder
from tests.visual.drawings import drawing
from tests.visual.test_indexing import System, fill


@pytest.fixture
def system(tmp_path):
    with System(tmp_path) as system:
        yield system


@posix
def test_a_full_disk_is_named_and_the_next_run_goes_on(system):
    fill(system.folder, 130)
    discover(system.catalog, system.index, system.folder)
    with full_disk((system.place / "photos.db-wal").stat().st_size + 60_000):
        with pytest.raises(StorageError, match=r"full.*Nothing that was acknowledged is lost"):
            Indexer(system.catalog, system.index, system.encoder).run()
    assert system.check().pending > 0
    Indexer(system.catalog, system.index, system.encoder).run()
    assert system.check().indexed == 130


@posix
def test_a_place_that_cannot_be_written_is_named(tmp_path, capsys):
    fill(tmp_path / "photos", 2)
    linear_encoder()[0].save(tmp_path / "encoder")
    place = tmp_path / "place"
    place.mkdir()
    command = ["index", str(tmp_path / "photos"), "--encoder", str(tmp_path / "encoder"), "--into"]
    assert cli.main([*command, str(tmp_path / "other.db")]) == 0  # imports all that is needed, while that is permitted
    command.append(str(place / "x.db"))
    with without_rights(place):
        assert cli.main(command) == 1
    assert "may this user write there?" in capsys.readouterr().err
    assert cli.main(command) == 0
    for path in (place, *place.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    with without_rights(place):
        assert cli.main(command) == 1
    assert "cannot be written" in capsys.readouterr().err
    place.chmod(0o755)
    for path in place.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert cli.main(command) == 0
    assert "2 discovered = 2 indexed" in capsys.readouterr().out


def test_a_second_process_on_one_catalog_is_told_who_has_it(system, tmp_path, capsys):
    fill(system.folder, 2)
    system.run()
    system.encoder.save(tmp_path / "encoder")
    command = ["index", str(system.folder), "--into", str(tmp_path / "photos.db")]
    command += ["--encoder", str(tmp_path / "encoder")]
    assert cli.main(command) == 1
    assert "in use by this process" in capsys.readouterr().err
    assert system.check().indexed == 2


def test_a_clock_that_went_back_changes_nothing(tmp_path):
    with System(tmp_path) as system:
        fill(system.folder, 4)
        system.run()
    with System(tmp_path, days_later=-4000) as system:
        found, done = system.run()
        assert (found.new, found.changed, found.removed, done.done) == (0, 0, 0, 0)
        drawing(np.random.default_rng(9), 48).save(system.folder / "new.png")
        system.run()
        assert system.check().indexed == 5


def test_a_folder_that_vanishes_between_two_steps_is_taken_in_when_it_is_back(system):
    fill(system.folder, 5)
    discover(system.catalog, system.index, system.folder)
    kept = system.folder.rename(system.place / "away")
    Indexer(system.catalog, system.index, system.encoder).run()
    assert system.check().failed == 5
    assert all("No such file" in image.reason for image in system.catalog.find(status="failed"))
    kept.rename(system.folder)
    system.run()
    assert system.check().indexed == 5


def test_a_folder_that_vanishes_while_it_is_read_loses_nothing(system, monkeypatch):
    fill(system.folder, 5)
    system.run()
    drawing(np.random.default_rng(9), 48).save(system.folder / "new.png")
    find, away = discovery.find_images, system.place / "away"

    def vanish(root):
        found = find(root)
        system.folder.rename(away)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(discovery, "find_images", vanish)
        found, _ = system.run()
    assert found.unreadable == 6 and found.removed == 0 and system.check().indexed == 5
    away.rename(system.folder)
    system.run()
    assert system.check().indexed == 6


def bomb(side):
    """A PNG that says that it is very large."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(bytes(1000))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@posix
def test_every_image_that_cannot_be_taken_in_has_its_reason(system):
    whole = fill(system.folder, 3)[0].read_bytes()
    names = {
        "bomb.png": (bomb(60_000), "60000"),
        "truncated.png": (whole[: len(whole) // 2], "truncated|damaged|decode"),
        "empty.jpg": (b"", "empty|image"),
        "picture.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG|svg|vector"),
    }
    for name, (content, _) in names.items():
        (system.folder / name).write_bytes(content)
    (system.folder / "loop").symlink_to(system.folder)
    (system.folder / "self.png").symlink_to(system.folder / "self.png")
    longest = b"n" * 251 + b".png"
    for number, name in enumerate((longest, b"\xff\xfe.png")):
        drawing(np.random.default_rng(50 + number), 48).save(system.place / "drawn.png")
        os.rename(system.place / "drawn.png", os.fsencode(system.folder) + b"/" + name)
    secret = system.folder / "secret.png"
    drawing(np.random.default_rng(60), 48).save(secret)
    secret.chmod(0)
    if os.geteuid() != 0:
        names["secret.png"] = None, "ermission"
    system.run()
    counts = system.check()
    assert counts.indexed == 5 + (os.geteuid() == 0), "names of 255 bytes, and of bytes that are no UTF-8, are names"
    assert counts.pending == 0
    failed = {image.path.rpartition("/")[2]: image.reason for image in system.catalog.find(status="failed")}
    assert set(failed) >= {*names, "self.png"}
    for name, (_, reason) in names.items():
        assert any(part in failed[name] for part in reason.split("|")), failed[name]
    before = system.catalog.find(status="failed")
    system.run()
    assert system.catalog.find(status="failed") == before, "a second run changes nothing"
