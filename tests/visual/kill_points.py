"""A process that kills its children at every write of a scenario, one after the other, and looks at what is left.

    python -m tests.visual.kill_points FOLDER [STEP]

A *point* is a commit of the database, a file that is opened for writing, moved or removed, a folder that is made or
removed: what lies between two of them changes nothing on the disk. Children are killed before each of them, so that
every state that a kill may leave is seen, but for files that were written in part. Then `check` of promoting.py must
hold, the same command must go on to its end, and then everything is indexed.
"""

import datetime
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import Engine

from annlab.visual import indexing, promotion
from annlab.visual.catalog import Catalog
from tests.visual.promoting import ENCODERS, check, index_new, new_picture

FIRST, SECOND, THIRD = ENCODERS.values()
FILE_EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree", "shutil.copyfile"}


class Points:
    """Counts the points that a process passes, and kills it before one of them."""

    def __init__(self, last=None):
        self.passed, self.last, self.names, self.written = 0, last, [], None

    def at(self, name):
        self.names.append(name)
        if self.passed == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed += 1

    def watch(self):
        def hook(what, arguments):
            if what in FILE_EVENTS:
                self.at(f"{what} {arguments[0]}")
            elif what == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
                self.at(f"open {arguments[0]}")

        sys.addaudithook(hook)
        event.listen(Engine, "before_cursor_execute", self.statement)
        event.listen(Engine, "commit", self.commit)

    def statement(self, connection, cursor, text, *rest):
        if not text.lstrip().upper().startswith(("SELECT", "PRAGMA", "BEGIN")):
            self.written = " ".join(text.split())[:60]

    def commit(self, connection):
        if self.written:
            self.at(f"COMMIT after {self.written}")
        self.written = None


def first_index(folder):
    with Catalog.open(folder / "photos.db") as catalog:
        index_new(catalog, folder)


def index(folder):
    for number in range(10, 18):
        new_picture(folder, number)
    with Catalog.open(folder / "photos.db") as catalog:
        index_new(catalog, folder)


def promote(encoder, **options):
    def step(folder):
        with Catalog.open(folder / "photos.db") as catalog:
            promotion.promote(catalog, folder / "photos.index", encoder, **options)

    return step


def roll_back(folder):
    with Catalog.open(folder / "photos.db") as catalog:
        promotion.roll_back(catalog, folder / "photos.index")


STEPS = {"promote": promote(SECOND), "index": index, "roll back": roll_back, "restart": promote(THIRD, restart=True)}


def forked(work, folder, points=None):
    """Do something in a child; how it ended, and its points as text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(read)
            if points is not None:
                points.watch()
            result = work(folder)
            names = "\n".join(points.names) if points is not None else repr(result)
            with os.fdopen(write, "w") as pipe:
                pipe.write(names)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    return os.waitpid(pid, 0)[1], text


def goes_on(folder, step):
    """What follows a kill: the same step again, an index run, then everything is there."""
    check(folder)
    try:
        step(folder)
    except promotion.CatalogError as error:
        assert "current encoder" in str(error) or "rollback" in str(error), error  # the kill came after the end of it
    check(folder)
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
    with Catalog.open(folder / "photos.db", clock=lambda: later) as catalog:
        index_new(catalog, folder)
        left = [(image.path, image.status, image.reason) for image in catalog.find() if image.status != "indexed"]
    _, indexed = check(folder)
    there = len(list((folder / "photos").iterdir()))
    assert indexed == there, f"{indexed} of {there} indexed; not: {left}"


def main(place, every):
    indexing.BLOCK = promotion.BLOCK = 4  # here, and not where this file is imported
    trial, saved = place / "trial", place / "saved"  # paths are absolute in a catalog, so all happens in one place
    (trial / "photos").mkdir(parents=True)
    for number in range(10):
        new_picture(trial, number)
    assert forked(first_index, trial)[0] == 0
    for name, step in STEPS.items():
        shutil.copytree(trial, saved)
        status, text = forked(step, trial, Points())
        assert status == 0, name
        names = text.split("\n")
        for last in range(0, len(names), every):
            shutil.rmtree(trial)
            shutil.copytree(saved, trial)
            status, _ = forked(step, trial, Points(last))
            assert os.WIFSIGNALED(status), f"{name}: not killed at {last}, {names[last]}"
            status, _ = forked(lambda folder, step=step: goes_on(folder, step), trial)
            assert status == 0, f"{name}: what was left by a kill at {last}, before {names[last]}"
        shutil.rmtree(trial)
        shutil.copytree(saved, trial)
        assert forked(step, trial)[0] == 0
        shutil.rmtree(saved)
        print(f"{name}: {len(range(0, len(names), every))} of {len(names)} points", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
