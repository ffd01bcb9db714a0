"""Pieces of the service by themselves: rates, impressions, pictures, settings, tidying up."""

import datetime
import os
import threading
import time

import numpy as np
import pytest
from PIL import Image

from annlab.durable import StorageError
from annlab.encoders.images import decode_image
from annlab.visual.interactions import read_interactions
from annlab.visual.service import impressions as impressions_module
from annlab.visual.service import picturing
from annlab.visual.service.impressions import Impressions, Journal, Shown
from annlab.visual.service.limits import RateLimit
from annlab.visual.service.settings import Settings, uploads_of
from tests.visual.service.served import jpeg, new_drawing, opened, png, upload

KEEP = datetime.timedelta(days=1)


def test_a_bucket_fills_at_its_rate_and_never_above_its_burst():
    now = [0.0]
    limit = RateLimit(10.0, 5.0, lambda: now[0])
    assert [limit.wait("a") for _ in range(5)] == [0.0] * 5
    assert limit.wait("a") == pytest.approx(0.1)
    assert limit.wait("b") == 0.0  # another one
    now[0] += 0.1
    assert limit.wait("a") == 0.0 < limit.wait("a")
    now[0] += 1000
    assert [limit.wait("a") for _ in range(6)][-1] > 0
    assert limit.wait("c", cost=50.0) == pytest.approx(4.5)
    for number in range(10_050):
        limit.wait(str(number))
    assert len(limit._buckets) == 10_000


def test_lists_have_their_numbers_at_once_and_are_written_in_order(catalog, tmp_path):
    ids = catalog.add_images([{}, {}, {}])
    outcomes = []
    impressions = Impressions(catalog, KEEP, tmp_path / "shown", outcomes.append)
    numbers = [impressions.remember(Shown(None, ids[0], (ids[1], ids[2]), "r", "enc")) for _ in range(50)]
    wrong = impressions.remember(Shown(None, ids[0], (999,), "r", "enc"))
    words = impressions.remember(Shown(None, None, (ids[1],), "r", "enc", first=7))
    assert numbers == sorted(set(numbers)) and words < 2**53
    impressions.wait_for(words)
    every = read_interactions(catalog)
    assert every.result_list_ids.tolist() == [n for n in numbers for _ in range(2)] + [words]
    assert every.positions.tolist() == [1, 2] * 50 + [7] and wrong not in every.result_list_ids
    assert catalog.image(int(every.query_ids[-1])).kind == "query"  # a row to be the query, without anything in it
    late = impressions.remember(Shown(None, ids[0], (ids[1],), "r", "enc"))
    impressions.close()
    assert late in read_interactions(catalog).result_list_ids
    assert impressions.remember(Shown(None, ids[0], (ids[1],), "r", "enc")) is None, "it has ended"
    impressions.close()
    assert outcomes.count("lost") == 2 and outcomes.count("written") == 52
    again = Impressions(catalog, KEEP, tmp_path / "shown")
    assert again.remember(Shown(None, ids[0], (ids[1],), "r", "enc")) > late
    again.close()


def test_a_queue_that_is_full_takes_no_more_and_says_so(catalog, tmp_path, monkeypatch):
    monkeypatch.setattr("annlab.visual.service.impressions._QUEUED", 3)
    ids, outcomes, gate = catalog.add_images([{}, {}]), [], threading.Event()
    impressions = Impressions(catalog, KEEP, tmp_path / "shown", outcomes.append)
    monkeypatch.setattr(impressions, "_write", lambda lists: gate.wait(10))
    monkeypatch.setattr("annlab.visual.service.impressions._GATHER_SECONDS", 0.0)
    numbers = [impressions.remember(Shown(None, ids[0], (ids[1],), "r", "enc")) for _ in range(12)]
    assert None in numbers and outcomes == ["lost"] * numbers.count(None)
    gate.set()
    impressions.close()


def test_what_a_killed_process_was_about_to_write_is_written_by_the_next(catalog, tmp_path):
    ids, journal = catalog.add_images([{}, {}, {}]), tmp_path / "shown"
    first = Impressions(catalog, KEEP, journal)
    done = first.remember(Shown(None, ids[0], (ids[1],), "r", "enc"))
    first.wait_for(done)
    first.close()
    killed = Journal(journal)
    for number in (done, done + 1, done + 2):  # the first was written before the journal was emptied
        killed.note(number, Shown(None, ids[0], (ids[2], ids[1]), "r", "enc", 21, {"form": "ById"}))
    killed._file.write(b'[12, {"user_id": nul')
    killed.close()
    again = Impressions(catalog, KEEP, journal)
    every = read_interactions(catalog)
    assert every.result_list_ids.tolist() == [done, done + 1, done + 1, done + 2, done + 2]
    assert every.positions.tolist() == [1, 21, 22, 21, 22]
    assert journal.read_bytes() == b"" and again.remember(Shown(None, ids[0], (ids[1],), "r", "enc")) > done + 2
    again.close()
    assert journal.read_bytes() == b"" and len(read_interactions(catalog).positions) == 6


def test_lists_wait_for_a_database_that_does_not_answer(catalog, tmp_path, monkeypatch):
    monkeypatch.setattr("annlab.visual.service.impressions._AGAIN_SECONDS", 0.01)
    ids, tries = catalog.add_images([{}, {}]), []
    log = impressions_module.log_lists

    def fails_twice(*arguments, **options):
        tries.append(True)
        if len(tries) < 3:
            raise StorageError("the disk is full")
        log(*arguments, **options)

    monkeypatch.setattr(impressions_module, "log_lists", fails_twice)
    impressions = Impressions(catalog, KEEP, tmp_path / "shown")
    number = impressions.remember(Shown(None, ids[0], (ids[1],), "r", "enc"))
    impressions.wait_for(number)
    assert len(tries) == 3 and read_interactions(catalog).result_list_ids.tolist() == [number]
    impressions.close()


def test_small_pictures_stay_as_they_are_and_large_ones_become_small():
    small = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    kept = picturing.encode(small, 256)
    assert kept.media_type == "image/png" and (decode_image(kept.data) == small).all()
    large = picturing.encode(np.zeros((900, 600, 1), np.uint8), 256)
    assert large.media_type == "image/jpeg" and opened(large.data).size == (171, 256)


def test_a_photograph_is_decoded_no_larger_than_it_is_needed():
    picture = new_drawing(3, 1600)
    content = jpeg(picture, quality=95)
    whole, small = decode_image(content), decode_image(content, least_side=200)
    assert whole.shape[0] == picture.height and 200 <= min(small.shape[:2]) < 400
    again = np.asarray(Image.fromarray(whole).resize(small.shape[1::-1], Image.Resampling.BOX), np.float32)
    assert np.abs(again - small).mean() < 4
    assert decode_image(png(picture), least_side=200).shape == whole.shape  # only JPEG can
    assert decode_image(content, least_side=5000).shape == whole.shape


def test_settings_that_make_no_sense(tmp_path):
    for wrong in ({"most_bytes": 0}, {"per_second": -1.0}, {"keep_queries": datetime.timedelta(0)}, {"threads": 0}):
        with pytest.raises(ValueError, match=r"positive|some time"):
            Settings(tmp_path, **wrong)
    assert uploads_of("a/photos.db").name == "photos.uploads"
    with pytest.raises(ValueError, match="--uploads"):
        uploads_of("postgresql://host/photos")


def test_what_was_clicked_reaches_the_ranking_of_a_running_service(fresh, monkeypatch):
    served, read = fresh(), []
    monkeypatch.setattr(served.search, "refresh_clicks", lambda: read.append(True))
    served.service.tidy()
    assert read


def test_what_nobody_needs_any_more_is_deleted(fresh):
    served = fresh(keep_queries=datetime.timedelta(seconds=1))
    kept = served.anna.post("/api/images", **upload(png(new_drawing(31)))).json()["id"]
    query = served.anna.post("/api/search", **upload(png(new_drawing(30)))).json()["query"]["id"]
    orphan, young = (served.settings.uploads / name for name in ("0" * 32 + ".png", "1" * 32 + ".part"))
    for path in (orphan, young):
        path.write_bytes(b"")
    os.utime(orphan, (time.time() - 7200,) * 2)
    time.sleep(1.1)
    served.service.tidy()
    assert served.anna.get(f"/api/images/{query}").status_code == 404
    files = sorted(path.name for path in served.settings.uploads.iterdir())
    assert len(files) == 2 and young.name in files and served.catalog.image(kept).path.endswith(
        next(name for name in files if name != young.name))  # fmt: skip
