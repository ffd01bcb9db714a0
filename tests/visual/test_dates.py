"""Photographs have the date at which they were taken, where their file says so."""

import datetime
import io
import os

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from annlab import col
from annlab.encoders.images import exif_of
from annlab.visual.dates import taken_at
from annlab.visual.indexing import Indexer
from annlab.visual.search import ById, Filters, VisualSearch
from tests.visual.drawings import drawing
from tests.visual.test_indexing import System

NOW = datetime.datetime(2026, 5, 4, 12, tzinfo=datetime.UTC)


def photograph(taken, offset=None, kind="JPEG", seed=0):
    """The bytes of a file that was taken then."""
    exif, buffer = ImageFileDirectory_v2() if kind == "TIFF" else Image.Exif(), io.BytesIO()
    exif[0x010F] = "a maker"  # without a tag of its own, the first directory is not written
    written = {0x9003: taken, 0x9011: offset}
    exif[0x8769] = {tag: value for tag, value in written.items() if value is not None}
    drawing(np.random.default_rng(seed), 48).save(buffer, kind, **{"tiffinfo" if kind == "TIFF" else "exif": exif})
    return buffer.getvalue()


def behind_pixels(png):
    """A PNG whose Exif stands behind the pixels."""
    start = png.index(b"eXIf") - 4
    stop = start + 12 + int.from_bytes(png[start : start + 4])
    return png[:start] + png[stop:-12] + png[start:stop] + png[-12:]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_clock_of_a_camera_is_read_with_its_zone(kind):
    found = taken_at(photograph("2019:07:14 01:30:05", "+02:00", kind), NOW)
    assert found == datetime.datetime(2019, 7, 13, 23, 30, 5, tzinfo=datetime.UTC)
    here = taken_at(photograph("2019:07:14 01:30:05", None, kind), NOW)
    assert here == datetime.datetime(2019, 7, 14, 1, 30, 5).astimezone() and here.tzinfo is datetime.UTC


@pytest.mark.parametrize("taken, offset", [
    (None, None), ("0000:00:00 00:00:00", None), ("    :  :     :  :  ", None), ("2019:13:01 00:00:00", None),
    ("2019:02:30 00:00:00", "+00:00"), ("2031:01:01 00:00:00", None), ("yesterday", None), ("", None),
])  # fmt: skip
def test_clocks_that_were_never_set_say_nothing(taken, offset):
    assert taken_at(photograph(taken, offset), NOW) is None


def test_zones_that_are_none_and_clocks_that_are_a_little_ahead():
    odd = taken_at(photograph("2019:07:14 01:30:05", "summer"), NOW)
    assert odd == datetime.datetime(2019, 7, 14, 1, 30, 5).astimezone()
    assert taken_at(photograph("2026:05:04 20:00:00", "+00:00"), NOW) == NOW


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_files_say_nothing_and_no_pixel_is_decoded(monkeypatch):
    whole, rng = photograph("2019:07:14 01:30:05", "+02:00"), np.random.default_rng(0)
    for _ in range(100):
        broken = bytearray(whole)
        for place in rng.integers(0, 160, 4):
            broken[place] = rng.integers(256)
        found = taken_at(bytes(broken[: int(rng.integers(len(whole)))]), NOW)
        assert found is None or found <= NOW
    assert taken_at(b"", NOW) is taken_at(b"no picture", NOW) is None
    late = photograph("2019:07:14 01:30:05", "+02:00", "PNG")
    monkeypatch.setattr(type(Image.open(io.BytesIO(late))), "load", lambda self: pytest.fail("decoded"))
    assert exif_of(late) and exif_of(behind_pixels(late)) == {}


def test_a_photograph_of_a_folder_is_found_by_the_day_on_which_it_was_taken(tmp_path):
    with System(tmp_path) as system:
        days = ("2019:07:14 12:00:00", "2021:01:02 12:00:00", None)
        paths = [system.folder / f"{number}.jpg" for number in range(3)]
        for number, (path, day) in enumerate(zip(paths, days, strict=True)):
            path.write_bytes(photograph(day, "+00:00" if day else None, seed=number))
            os.utime(path, (1.7e9, 1.7e9))  # 2023
        system.run()
        first, second, third = [system.catalog.find(path=str(path))[0] for path in paths]
        assert [image.uploaded_at.year for image in (first, second, third)] == [2019, 2021, 2023]
        search = VisualSearch(system.catalog, system.index, system.encoder)
        before = Filters(before=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        assert [r.id for r in search.search(ById(third.id), filters=before, cutoff=0.0).results] == [first.id]
        latest = search.search(ById(third.id), order="time", cutoff=0.0).results
        assert [result.id for result in latest] == [second.id, first.id]
        early = col("uploaded") < before.before.timestamp()
        stored = system.index.search(system.index.vectors([third.id])[0], 3, where=early)
        assert stored.ids[stored.ids >= 0].tolist() == [first.id], "and the index knows it by the same date"

        paths[0].write_bytes(photograph("2020:03:04 12:00:00", "+00:00", seed=7))  # it shows something else now
        paths[1].write_bytes(photograph(None, seed=8))
        system.run()
        years = [system.catalog.image(image.id).uploaded_at.year for image in (first, second)]
        assert years == [2020, 2021], "a file without a date keeps the one that is known"


def test_a_date_that_somebody_gave_is_not_that_of_the_camera(tmp_path):
    with System(tmp_path) as system:
        (tmp_path / "given.jpg").write_bytes(photograph("2019:07:14 12:00:00", "+00:00"))
        row = {"path": str(tmp_path / "given.jpg"), "uploaded_at": NOW}
        (id,) = system.catalog.add_images([row])
        Indexer(system.catalog, system.index, system.encoder).run()
        assert system.catalog.image(id).uploaded_at == NOW and system.catalog.image(id).status == "indexed"
