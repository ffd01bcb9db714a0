"""A service goes on with the encoder that another process has promoted or taken back, and answers all the while."""

import threading

import pytest

from annlab.durable import InUseError
from annlab.visual import pair, promotion
from annlab.visual.catalog import Catalog
from tests.encoders.helpers import linear_encoder
from tests.visual.service.served import new_drawing, png, upload

OTHER = linear_encoder(dim=7, seed=5)[0]


@pytest.fixture
def served(fresh):
    """A service whose own looks for another encoder do not come in between."""
    served = fresh()
    served.service._ends.set()
    served.service._tidier.join()
    pair.keep_encoder(served.folder / "photos.index", served.encoder)
    return served


def promote(served):
    """What `annlab promote` does, elsewhere."""
    with Catalog.open(served.folder / "photos.db") as catalog:
        promotion.promote(catalog, served.folder / "photos.index", OTHER)


def fingerprint(served):
    return served.root.get("/api/status").json()["encoder"]["fingerprint"]


def test_the_promoted_pair_serves_without_a_restart_and_goes_back(served):
    asked = {"id": served.ids[1], "k": 5, "cutoff": 0}
    before = served.anna.get("/api/search", params=asked).json()
    promote(served)
    assert served.anna.get("/api/search", params=asked).json()["results"] == before["results"]
    served.service.follow()
    assert fingerprint(served) == OTHER.fingerprint and served.service.search.index.dim == 7
    after = served.anna.get("/api/search", params=asked).json()
    assert [r["distance"] for r in after["results"]] != [r["distance"] for r in before["results"]]
    stale = served.anna.get("/api/search", params={**asked, "cursor": before["cursor"]})
    assert stale.status_code == 410 and "begin again with the first page" in stale.json()["detail"]
    assert served.anna.get("/api/search", params={**asked, "cursor": after["cursor"]}).status_code == 200
    with Catalog.open(served.folder / "photos.db") as catalog:  # the old index is free
        promotion.roll_back(catalog, served.folder / "photos.index")
    served.service.follow()
    assert fingerprint(served) == served.encoder.fingerprint
    assert served.anna.get("/api/search", params=asked).json()["results"] == before["results"]
    served.service.follow()
    assert fingerprint(served) == served.encoder.fingerprint


def test_what_is_added_and_deleted_goes_to_the_promoted_pair(served):
    promote(served)
    added = served.anna.post("/api/images", **upload(png(new_drawing(90))))
    assert added.status_code == 201 and added.json()["status"] == "indexed"
    assert fingerprint(served) == OTHER.fingerprint and added.json()["id"] in served.service.search.index
    with Catalog.open(served.folder / "photos.db") as catalog:
        promotion.roll_back(catalog, served.folder / "photos.index")
    assert served.anna.delete(f"/api/images/{added.json()['id']}").status_code == 204
    assert fingerprint(served) == served.encoder.fingerprint
    assert added.json()["id"] not in served.service.search.index


def test_an_encoder_that_is_promoted_in_the_middle_of_an_add_gets_the_image(served, monkeypatch):
    work, once = served.service._index_what_is_new, [promote]

    def promoted_before():
        if once:
            once.pop()(served)
        work()

    monkeypatch.setattr(served.service, "_index_what_is_new", promoted_before)
    added = served.anna.post("/api/images", **upload(png(new_drawing(91))))
    assert added.status_code == 201 and added.json()["status"] == "indexed"
    assert added.json()["id"] in served.service.search.index
    assert served.catalog.counts().pending == 0


def test_while_the_new_index_is_not_free_the_old_pair_answers_and_adds_come_again(served):
    promote(served)
    counts = served.catalog.counts()
    with Catalog.open(served.folder / "photos.db") as catalog:
        with catalog.index(None, served.folder / "photos.index"):
            with pytest.raises(InUseError):
                served.service.follow()
            assert served.anna.get("/api/search", params={"id": served.ids[1], "cutoff": 0}).json()["results"]
            refused = served.anna.post("/api/images", **upload(png(new_drawing(92))))
            assert refused.status_code == 503 and refused.headers["Retry-After"]
            assert served.catalog.counts() == counts
    assert served.anna.post("/api/images", **upload(png(new_drawing(92)))).status_code == 201


def test_searches_go_on_while_the_pair_is_exchanged(served):
    promote(served)
    ends, statuses = threading.Event(), []

    def search():
        while not ends.is_set():
            statuses.append(served.cleo.get("/api/search", params={"id": served.ids[1], "k": 3}).status_code)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    served.service.follow()
    served.anna.get("/api/search", params={"id": served.ids[1]})
    ends.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200} and fingerprint(served) == OTHER.fingerprint
