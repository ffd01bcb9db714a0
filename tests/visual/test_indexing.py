"""The pipeline: what is in the folder is in the catalog, what is indexed is in the index, whatever happens between."""

import datetime
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from annlab import ExactIndex
from annlab.visual.catalog import Catalog, CatalogError
from annlab.visual.discovery import discover
from annlab.visual.indexing import Indexer
from annlab.visual.people import add_user
from tests.encoders.helpers import linear_encoder
from tests.visual.drawings import drawing, encoded

ROOT = Path(__file__).parents[2]


def fill(folder, n, seed=0):
    """n different pictures in a folder; their paths."""
    rng, paths = np.random.default_rng(seed), []
    for i in range(n):
        path = folder / f"{'ab'[i % 2]}" / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        drawing(rng, 48).save(path)
        paths.append(path)
    return paths


class System:
    """A catalog with its index beside a folder of pictures."""

    def __init__(self, place, days_later=0, sharding=None):
        self.place, self.folder, self.sharding = place, place / "photos", sharding
        self.clock = lambda: datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days_later)
        self.folder.mkdir(exist_ok=True)
        self.encoder, _ = linear_encoder()

    def __enter__(self):
        self.catalog = Catalog.open(self.place / "photos.db", clock=self.clock)
        if self.sharding is not None:
            self.catalog.spread(**self.sharding)
        self.index = self.catalog.index(ExactIndex(metric="cosine", dim=5), self.place / "photos.index")
        return self

    def __exit__(self, *_):
        self.index.close()
        self.catalog.close()

    def run(self, **options):
        found = discover(self.catalog, self.index, self.folder, **options)
        return found, Indexer(self.catalog, self.index, self.encoder).run()

    def check(self):
        """The identity, and catalog and index in step."""
        counts = self.catalog.counts()
        assert counts.discovered == counts.indexed + counts.duplicate + counts.failed + counts.pending
        indexed = [image.id for image in self.catalog.find(status="indexed")]
        assert sorted(indexed) == self.index.ids.tolist()
        return counts


@pytest.fixture(params=[None, {"n_shards": 2, "n_replicas": 2}], ids=["one index", "in shards"])
def system(request, tmp_path):
    with System(tmp_path, sharding=request.param) as system:
        yield system


def test_a_folder_is_indexed_and_a_second_run_changes_nothing(system):
    paths = fill(system.folder, 90)
    found, done = system.run()
    assert (found.new, done.indexed, done.failed) == (90, 90, 0)
    before = system.index.state_hash(), system.check()
    found, done = system.run()
    assert (found.new, found.changed, found.removed, done.done) == (0, 0, 0, 0)
    assert (system.index.state_hash(), system.check()) == before
    image = system.catalog.find(path=os.fspath(paths[5].resolve()))[0]
    vector = system.encoder.encode([paths[5]])
    assert system.index.search(vector[0], k=1).ids[0] == image.id


def test_new_changed_moved_and_removed_files_are_followed(system):
    paths = fill(system.folder, 12)
    system.run()
    ids = {image.path: image.id for image in system.catalog.find()}
    drawing(np.random.default_rng(99), 48).save(paths[0])  # other content under the same name
    paths[1].rename(system.folder / "moved.png")
    paths[2].unlink()
    os.utime(paths[3], (1, 1))  # touched, and the same
    found, done = system.run()
    assert (found.new, found.changed, found.moved, found.removed) == (0, 1, 1, 1)
    assert done.done == 1
    moved = system.catalog.find(path=os.fspath((system.folder / "moved.png").resolve()))[0]
    assert moved.id == ids[os.fspath(paths[1].resolve())], "what was clicked stays with it"
    assert system.check().indexed == 11


def test_duplicates_are_recognised_and_come_back_when_their_leader_goes(system):
    paths = fill(system.folder, 6)
    shutil.copy(paths[0], system.folder / "same-bytes.png")
    encoded(drawing(np.random.default_rng(5), 120)).save(system.folder / "big.png")
    picture = drawing(np.random.default_rng(5), 120)
    encoded(picture.resize((picture.width // 2, picture.height // 2)), 85).save(system.folder / "small.png")
    _, done = system.run()
    assert (done.indexed, done.duplicate) == (7, 2)
    leader = system.catalog.image(system.catalog.find(path=os.fspath(paths[0].resolve()))[0].id)
    twin = system.catalog.find(duplicate_of=leader.id) or [leader]
    Path(paths[0]).unlink()
    _, done = system.run()
    assert system.check().discovered == 8 and done.done >= (1 if twin[0].id != leader.id else 0)


def test_no_image_is_folded_under_one_that_others_may_not_see(system):
    paths = fill(system.folder, 4)
    system.run()
    with system.catalog.writing() as connection:
        mine, yours = (add_user(system.catalog, connection=connection) for _ in range(2))
    system.catalog.change_image(1, private=True, owner_id=mine)
    copies = [system.place / f"{number}.png" for number in range(3)]
    for copy in copies:
        shutil.copy(system.catalog.image(1).path, copy)
    rows = [(mine, True), (yours, True), (yours, False)]
    ids = system.catalog.add_images([{"path": os.fspath(copy), "owner_id": owner, "private": private}
                                     for copy, (owner, private) in zip(copies, rows)])  # fmt: skip
    Indexer(system.catalog, system.index, system.encoder).run()
    found = [system.catalog.image(id) for id in ids]
    assert [image.duplicate_of for image in found] == [1, None, None], paths
    assert system.check().indexed == 6


def test_a_file_was_uploaded_when_it_was_last_changed(system):
    for path, when in zip(fill(system.folder, 3), (0, 1e9, 9e11)):  # 1970, 2001, and a clock that was wrong
        os.utime(path, (when, when))
    system.run()
    years = [image.uploaded_at.year for image in sorted(system.catalog.find(), key=lambda image: image.path[-7:])]
    assert years == [1970, 2001, system.catalog.now().year]


def test_one_bad_image_never_blocks_the_rest(system):
    fill(system.folder, 70)
    (system.folder / "empty.jpg").write_bytes(b"")
    (system.folder / "text.png").write_text("no picture")
    whole = (system.folder / "a" / "000.png").read_bytes()
    (system.folder / "half.png").write_bytes(whole[: len(whole) // 2])
    (system.folder / "drawing.svg").write_text("<svg/>")
    (system.folder / "loop.png").symlink_to(system.folder / "loop.png")
    os.mkfifo(system.folder / "pipe.png")
    name = os.fsencode(system.folder) + b"/" + b"\xff" + b"n" * 200 + b".png"
    with open(name, "wb") as file:
        file.write(whole[:-9] + b"123456789")
    system.run()
    counts = system.check()
    assert counts.discovered == 77 and counts.pending == 0 and counts.indexed == 70
    reasons = [image.reason for image in system.catalog.find(status="failed")]
    assert len(reasons) == counts.failed == 7 and all(reasons)


def test_a_folder_that_has_vanished_loses_nothing(system):
    fill(system.folder, 5)
    system.run()
    kept = system.folder.rename(system.place / "elsewhere")
    with pytest.raises(FileNotFoundError):
        system.run()
    system.folder.mkdir()  # as where a disk is not mounted
    with pytest.raises(RuntimeError, match="none of the 5 images"):
        system.run()
    assert system.check().indexed == 5
    system.run(forget_missing=True)
    assert system.check().discovered == 0
    kept.rename(system.place / "again")


def test_an_image_that_ends_the_process_is_found_out(system):
    paths = fill(system.folder, 4)
    discover(system.catalog, system.index, system.folder)
    bad = system.catalog.find(path=os.fspath(paths[1].resolve()))[0]
    for _ in range(4):  # runs that died with it in hand
        Indexer(system.catalog, system.index, system.encoder)._begin([bad.id])
    done = Indexer(system.catalog, system.index, system.encoder).run()
    assert (done.indexed, done.failed) == (3, 1)
    assert "ended the process 4 times" in system.catalog.find(status="failed")[0].reason
    assert Indexer(system.catalog, system.index, system.encoder).run().done == 0, "it is left alone for a day"


@pytest.mark.parametrize("dies_again", [False, True])
def test_an_image_that_was_blamed_for_the_end_of_the_process_has_one_more_try_a_day_later(tmp_path, dies_again):
    with System(tmp_path) as system:
        bad = fill(system.folder, 4)[1]
        discover(system.catalog, system.index, system.folder)
        id = system.catalog.find(path=os.fspath(bad.resolve()))[0].id
        for _ in range(4):
            Indexer(system.catalog, system.index, system.encoder)._begin([id])
        system.run()
    with System(tmp_path, days_later=2) as system:
        if dies_again:
            Indexer(system.catalog, system.index, system.encoder)._begin([id])
        system.run()
        counts = system.check()
        assert (counts.indexed, counts.failed) == ((3, 1) if dies_again else (4, 0))


def test_another_encoder_is_refused(system):
    fill(system.folder, 3)
    system.run()
    system.encoder, _ = linear_encoder(seed=1)
    with pytest.raises(CatalogError, match="two encoders cannot be compared"):
        system.run()


PROGRAM = """
import sys
from pathlib import Path
from tests.visual.test_indexing import System
from annlab.visual import indexing
indexing.BLOCK = 4
print("ready", flush=True)
with System(Path(sys.argv[1])) as system:
    system.run()
print("done", flush=True)
"""


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_moment_nothing_is_lost_or_doubled(tmp_path, full, seed):
    """kill -9 in the middle of indexing, again and again, until a run comes to its end.

    Where the machine is slow, the same image is in hand at every kill, and is blamed: what was blamed is done at last.
    """
    with System(tmp_path) as system:
        fill(system.folder, 120, seed)
    rng, last = np.random.default_rng(seed), 0
    for attempt in range(12 if full else 3):
        if attempt % 3 == 2:  # something new to do
            drawing(np.random.default_rng(1000 + attempt), 48).save(system.folder / f"new-{attempt}.png")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        child = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=ROOT, env=environment,
                                 stdout=subprocess.PIPE, text=True)  # fmt: skip
        assert child.stdout.readline().strip() == "ready"
        time.sleep(rng.uniform(0, 0.6))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        with System(tmp_path) as system:
            counts = system.check()
            assert counts.indexed >= last, "what was indexed stays"
            last = counts.indexed
    with System(tmp_path) as system:
        system.run()
        assert system.check().pending == 0
        blamed = system.catalog.find(status="failed")
        assert all("ended the process" in image.reason for image in blamed)
    with System(tmp_path, days_later=2) as system:
        system.run()
        counts = system.check()
        assert counts.pending == counts.failed == 0
        assert counts.discovered == len(list(system.folder.rglob("*.png")))
