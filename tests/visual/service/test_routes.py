"""Searching, images, clicks, judgements and status over HTTP, as a client sees them."""

import time
from pathlib import Path

import pytest

from annlab.visual.discovery import discover
from annlab.visual.indexing import Indexer
from annlab.visual.interactions import read_interactions
from annlab.visual.judging import read_judgements
from annlab.visual.service import answers
from tests.visual.service.served import jpeg, new_drawing, opened, png, upload


def test_a_search_by_id_says_all_that_a_tile_needs(served):
    query = served.ids[1]
    answer = served.anna.get("/api/search", params={"id": query, "k": 5, "cutoff": 0, "explain": True})
    assert answer.status_code == 200
    found = answers.SearchAnswer.model_validate(answer.json())
    assert len(found.results) == 5 and query not in [each.id for each in found.results]
    assert found.query.id == query and found.list is not None and found.timings
    distances = [each.distance for each in found.results]
    assert distances == sorted(distances) and all(each.way for each in found.results)
    assert all(0 <= each.score <= 1 and each.date.year == 2026 for each in found.results)
    assert found.results[0].distance == pytest.approx(
        float(served.index.search(served.index.vectors([query])[0], k=1, allowed=[found.results[0].id]).distances[0]),
        abs=1e-5,
    )


def test_the_short_way_is_as_the_long_one(served):
    """Searches by GET are answered before FastAPI looks at its routes: by the same rules."""
    assert served.nobody.get("/api/search?id=2").status_code == 401
    assert served.nobody.get("/api/search?id=2", headers={"Cookie": f"annlab_key={served.keys['anna']}"}).is_success
    assert served.nobody.get("/api/search?id=2", headers={"Authorization": f"bearer {served.keys['ben']}"}).is_success
    assert served.nobody.get("/api/search?id=2", headers={"Authorization": f"Basic {served.keys['ben']}"}
                             ).status_code == 401  # fmt: skip
    for method in ("HEAD", "PUT", "DELETE"):
        refused = served.anna.request(method, "/api/search?id=2")
        assert refused.status_code == 405 and "GET" in refused.headers["allow"]
    answer = served.anna.get("/api/search?id=2&k=3")
    assert answer.headers["content-type"] == "application/json" and answer.headers["cache-control"] == "no-store"
    answers.SearchAnswer.model_validate(answer.json(), strict=False)
    assert served.anna.get("/api/search?id=2&surely=not").status_code == 422
    assert 'route="/api/search",status="200"' in served.root.get("/metrics").text


def test_pages_follow_each_other_without_repeating(served):
    asked = {"id": served.ids[1], "k": 5, "cutoff": 0}
    seen, cursor = [], None
    while True:
        answer = served.root.get("/api/search", params={**asked, **({"cursor": cursor} if cursor else {})}).json()
        seen += [id for each in answer["results"] for id in (each["id"], *each["folded"])]
        cursor = answer["cursor"]
        if not cursor:
            break
    assert len(seen) == len(set(seen)) == len(served.index) - 1
    assert served.root.get("/api/search", params={**asked, "cursor": "hostile"}).status_code == 400


def test_filters_and_order_hold_over_http(served):
    asked = {"id": served.ids[1], "k": 50, "cutoff": 0}
    odd = served.root.get("/api/search", params={**asked, "tag": "odd"}).json()["results"]
    assert odd and all("odd" in each["tags"] for each in odd)
    owned = served.root.get("/api/search", params={**asked, "owner": served.users["ben"]}).json()["results"]
    assert owned and {each["owner"] for each in owned} == {served.users["ben"]}
    late = served.root.get("/api/search", params={**asked, "after": "2026-01-20", "order": "time"}).json()["results"]
    dates = [each["date"] for each in late]
    assert dates == sorted(dates, reverse=True) and min(dates) >= "2026-01-20"


def test_a_search_by_upload_is_a_link_afterwards(served):
    picture = png(new_drawing(77))
    answer = served.anna.post("/api/search?k=5&cutoff=0", **upload(picture))
    assert answer.status_code == 200
    found = answer.json()
    query = found["query"]
    assert query["kind"] == "query" and query["private"]
    again = served.anna.get("/api/search", params={"id": query["id"], "k": 5, "cutoff": 0}).json()
    assert [each["id"] for each in again["results"]] == [each["id"] for each in found["results"]]
    assert served.anna.get(f"/api/images/{query['id']}/picture").status_code == 200
    for other in (served.ben, served.cleo):  # an upload is for its owner alone
        assert other.get("/api/search", params={"id": query["id"]}).status_code == 404
        assert other.get(f"/api/images/{query['id']}/picture").status_code == 404


def test_a_part_several_and_words(served):
    one, other, third = served.ids[1], served.ids[3], served.ids[7]
    whole = served.anna.get("/api/search", params={"id": one, "k": 5, "cutoff": 0}).json()["results"]
    part = served.anna.get("/api/search", params={"id": one, "k": 5, "cutoff": 0, "box": "0,0,0.4,0.4"}).json()[
        "results"
    ]
    assert [each["distance"] for each in whole] != [each["distance"] for each in part]
    several = served.anna.get("/api/search", params={"id": one, "like": other, "unlike": third, "k": 5, "cutoff": 0})
    assert several.status_code == 200 and not {one, other, third} & {each["id"] for each in several.json()["results"]}
    words = served.anna.get("/api/search", params={"text": "odd", "k": 50}).json()
    assert words["notes"] and words["results"] and all("odd" in each["tags"] for each in words["results"])


@pytest.mark.parametrize("asked, status", [
    ({}, 400), ({"id": 1, "text": "x"}, 400), ({"id": 0}, 422), ({"id": 2**60}, 422), ({"id": 10**6}, 404),
    ({"id": 2, "k": 0}, 422), ({"id": 2, "k": 201}, 422), ({"id": 2, "k": "many"}, 422), ({"id": 2, "k": 1e99}, 422),
    ({"id": 2, "cutoff": "nan"}, 422), ({"id": 2, "cutoff": 1.5}, 422), ({"id": 2, "order": "best"}, 422),
    ({"id": 2, "box": "0,0,1"}, 400), ({"id": 2, "box": "0,0,nan,1"}, 400), ({"id": 2, "box": "1,1,0,0"}, 400),
    ({"id": 2, "knob": "n_probes"}, 400), ({"id": 2, "knob": "__class__:1"}, 400),
    ({"id": 2, "knob": "n_probes:8"}, 400),
    ({"id": 2, "after": "yesterday"}, 422), ({"id": 2, "tag": "a\x00b"}, 422), ({"text": "\x07"}, 422),
    ({"text": "y" * 301}, 422), ({"id": 2, "wrong": 1}, 422), ({"id": 2, "like": [9] * 21}, 422),
])  # fmt: skip
def test_what_makes_no_sense_is_refused_with_words(asked, status, served):
    answer = served.anna.get("/api/search", params=asked)
    assert answer.status_code == status, answer.text
    assert 0 < len(answer.json()["detail"]) < 1000


def test_an_image_is_added_found_and_deleted(served):
    picture = new_drawing(123)
    answer = served.anna.post("/api/images", **upload(png(picture), tags="new, blue thing", private="false"))
    assert answer.status_code == 201, answer.text
    added = answer.json()
    assert added["status"] == "indexed" and added["tags"] == ["new", "blue thing"] and added["own"]
    assert answer.headers["location"] == f"/api/images/{added['id']}"
    found = served.cleo.post("/api/search?cutoff=0&k=1", **upload(png(picture))).json()["results"][0]
    assert found["id"] == added["id"] and found["distance"] < 1e-4
    copy = served.ben.post("/api/images", **upload(jpeg(picture, quality=90))).json()
    assert copy["duplicate_of"] == added["id"]
    assert served.ben.delete(f"/api/images/{added['id']}").status_code == 403
    assert served.cleo.delete(f"/api/images/{added['id']}").status_code == 403
    files = set(served.settings.uploads.iterdir())
    assert served.anna.delete(f"/api/images/{added['id']}").status_code == 204
    assert served.anna.get(f"/api/images/{added['id']}").status_code == 404
    assert served.anna.delete(f"/api/images/{added['id']}").status_code == 404
    assert len(files - set(served.settings.uploads.iterdir())) == 1
    assert served.root.delete(f"/api/images/{copy['id']}").status_code == 204
    assert served.anna.delete(f"/api/images/{served.ids[1]}").status_code == 403  # a file of somebody's folder
    assert (served.folder / "pictures" / "1.png").is_file()


def test_pictures_are_small_upright_and_nothing_but_pixels(served):
    turned = new_drawing(5, 400)
    exif = turned.getexif()
    exif[0x0112], exif[0x010F] = 6, "a camera with a name"
    exif.get_ifd(0x8825)[2] = (47.0, 22.0, 1.0)
    added = served.anna.post("/api/images", **upload(jpeg(turned, exif=exif), tags="turned")).json()
    for size, longest in (("thumbnail", 256), ("picture", 1600)):
        answer = served.cleo.get(f"/api/images/{added['id']}/{size}")
        image = opened(answer.content)
        assert max(image.size) <= longest and not image.getexif() and b"a camera" not in answer.content
        assert (image.width > image.height) == (turned.width < turned.height)
        same = served.cleo.get(f"/api/images/{added['id']}/{size}", headers={"If-None-Match": answer.headers["etag"]})
        assert same.status_code == 304 and not same.content
    stored = next(p for p in served.settings.uploads.iterdir() if p.suffix == ".jpg")
    assert b"a camera" not in stored.read_bytes() and not opened(stored.read_bytes()).getexif()
    assert served.anna.delete(f"/api/images/{added['id']}").status_code == 204


def test_clicks_count_once_for_what_was_shown_to_oneself(served):
    answer = served.anna.get("/api/search", params={"id": served.ids[1], "k": 4, "cutoff": 0}).json()
    number, shown = answer["list"], [each["id"] for each in answer["results"]]
    click = {"list": number, "image": shown[2]}
    assert served.ben.post("/api/clicks", json=click).status_code == 404
    for _ in range(2):
        assert served.anna.post("/api/clicks", json=click).status_code == 204
    assert served.anna.post("/api/clicks", json={"list": number, "image": 10**6}).status_code == 409
    assert served.anna.post("/api/clicks", json={"list": 7, "image": shown[0]}).status_code == 404
    every = read_interactions(served.catalog)
    own = every.result_list_ids == number
    assert every.displayed_ids[own & ~every.clicked].tolist() == shown
    assert every.displayed_ids[own & every.clicked].tolist() == [shown[2]]
    assert every.positions[own & every.clicked].tolist() == [3]
    assert set(every.user_ids[own].tolist()) == {served.users["anna"]}
    assert set(every.query_ids[own].tolist()) == {served.ids[1]}


def test_positions_go_on_where_the_page_before_ended(served):
    asked = {"id": served.ids[1], "k": 3, "cutoff": 0}
    first = served.anna.get("/api/search", params=asked).json()
    second = served.anna.get("/api/search", params={**asked, "cursor": first["cursor"], "first": 4}).json()
    assert served.anna.post(
        "/api/clicks", json={"list": second["list"], "image": second["results"][1]["id"]}
    ).is_success
    every = read_interactions(served.catalog)
    own = every.result_list_ids == second["list"]
    assert every.positions[own].tolist() == [4, 5, 6, 5]
    unseen = served.anna.get("/api/search", params={**asked, "log": False}).json()
    assert unseen["list"] is None


def test_a_search_in_words_has_clicks_too(served):
    answer = served.anna.get("/api/search", params={"text": "odd", "k": 5}).json()
    click = {"list": answer["list"], "image": answer["results"][0]["id"]}
    assert served.anna.post("/api/clicks", json=click).status_code == 204


def test_judging_is_blind_shuffled_and_remembered(served):
    one = served.anna.get("/api/judging", params={"query": served.ids[1], "seed": 1}).json()
    other = served.anna.get("/api/judging", params={"query": served.ids[1], "seed": 2}).json()
    ids = [each["id"] for each in one["candidates"]]
    assert len(ids) > 8 and served.ids[1] not in ids and ids != sorted(ids)
    assert sorted(ids) == sorted(each["id"] for each in other["candidates"]) and ids != [
        each["id"] for each in other["candidates"]]  # fmt: skip
    assert not any("score" in each or "distance" in each for each in one["candidates"])
    near = served.anna.get("/api/search", params={"id": served.ids[1], "k": 5, "cutoff": 0}).json()["results"]
    assert {each["id"] for each in near} <= set(ids)
    pair = {"query": served.ids[1], "candidate": ids[0]}
    assert served.cleo.post("/api/judgements", json={**pair, "grade": 2}).status_code == 403  # a reader
    assert served.anna.post("/api/judgements", json={**pair, "grade": 2}).status_code == 204
    assert served.anna.get("/api/judging", params={"query": served.ids[1]}).json()["judged"] == {str(ids[0]): 2}
    assert served.ben.get("/api/judging", params={"query": served.ids[1]}).json()["judged"] == {}
    judged = read_judgements(served.catalog, judge="anna")
    assert judged.query_ids.tolist() == [served.ids[1]] and judged.grades.tolist() == [2]
    for wrong in ({"grade": 4}, {"grade": "2"}, {"grade": 1.5}, {"grade": None}):
        assert served.anna.post("/api/judgements", json={**pair, **wrong}).status_code == 422
    assert served.anna.post("/api/judgements", json={**pair, "candidate": 10**6, "grade": 1}).status_code == 404


def test_images_to_begin_with(served):
    newest = served.root.get("/api/images", params={"limit": 7}).json()
    ids = [each["id"] for each in newest["images"]]
    assert ids == sorted(ids, reverse=True) and newest["cursor"] == ids[-1]
    older = served.root.get("/api/images", params={"limit": 100, "cursor": newest["cursor"]}).json()
    assert older["images"][0]["id"] < ids[-1] and older["cursor"] is None
    drawn = [[each["id"] for each in served.root.get("/api/images", params={"limit": 9, "sample": s}).json()["images"]]
             for s in (1, 1, 2)]  # fmt: skip
    assert drawn[0] == drawn[1] != drawn[2] and len(set(drawn[0])) == 9
    tagged = served.root.get("/api/images", params={"tag": "odd"}).json()["images"]
    assert tagged and all("odd" in each["tags"] for each in tagged)


def test_status_health_metrics_and_session(served):
    status = answers.Status.model_validate(served.root.get("/api/status").json())
    assert status.vectors == len(served.index) and status.index["kind"] == "ExactIndex"
    counts = status.images
    assert counts["discovered"] == sum(counts[name] for name in ("indexed", "duplicate", "failed", "pending"))
    assert served.nobody.get("/health").json() == {"status": "ok"}
    assert served.anna.get("/metrics").status_code == 403
    assert served.root.get("/api/search", params={"k": 3, "text": "cat"}).status_code == 200
    text = served.root.get("/metrics").text
    assert 'route="/api/search",status="200"' in text and "annlab_search_stage_seconds_bucket" in text
    assert "/api/search?" not in text and f"annlab_images {float(len(served.index))}" in text
    assert served.nobody.get("/api/session").json()["name"] is None
    assert served.anna.get("/api/session").json()["role"] == "writer"


def test_the_engine_room_measures_against_exact_search(served):
    overview = served.anna.get("/api/engines").json()
    assert {"ExactIndex", "IVFIndex"} <= {each["kind"] for each in overview["engines"]}
    exact = answers.Measured.model_validate(served.anna.get("/api/engines/ExactIndex?k=3").json())
    assert exact.recall == 1 and exact.low == 1 and exact.milliseconds > 0
    assert served.anna.get("/api/engines/IVFIndex").status_code == 400  # not built yet
    assert served.cleo.post("/api/engines/IVFIndex").status_code == 403
    assert served.anna.post("/api/engines/IVFIndex").status_code == 202
    for _ in range(600):
        engine = next(e for e in served.anna.get("/api/engines").json()["engines"] if e["kind"] == "IVFIndex")
        if engine["state"] != "building":
            break
        time.sleep(0.1)
    assert engine["state"] == "ready" and engine["knobs"][0]["name"] == "n_probes"
    high = engine["knobs"][0]["high"]
    measured = [served.anna.get(f"/api/engines/IVFIndex?k=3&knob=n_probes:{n}&id={served.ids[1]}").json()
               for n in (1, high)]  # fmt: skip
    assert measured[0]["recall"] <= measured[1]["recall"] == 1 and measured[1]["missed"] == []
    everybody = {image.id for image in served.catalog.find(private=False)}
    assert set(measured[1]["found"]) <= everybody and len(measured[1]["found"]) == 3
    assert served.anna.get("/api/engines/IVFIndex?knob=speed:9").status_code == 400
    assert served.anna.get("/api/engines/SecretIndex").status_code == 400


def test_an_admin_takes_a_picture_of_a_folder_out_of_the_results_and_back(fresh):
    served = fresh()
    id = served.ids[1]
    copy = served.root.post("/api/images", **upload(Path(served.catalog.image(id).path).read_bytes())).json()["id"]
    ask = lambda who: {  # noqa: E731
        each for result in who.get(f"/api/search?id={served.ids[3]}&cutoff=0&k=60&log=false").json()["results"]
        for each in (result["id"], *result["folded"])
    }  # fmt: skip
    assert {id, copy} <= ask(served.cleo)
    assert served.anna.delete(f"/api/images/{id}").status_code == 403, "her own, but a file of a folder"
    assert served.anna.post(f"/api/images/{id}/restore").status_code == 403
    assert served.root.post(f"/api/images/{id}/restore").status_code == 409
    assert served.root.delete(f"/api/images/{id}").status_code == 204
    assert not {id, copy} & ask(served.root), "with all that show the same"
    for path in (
        f"/api/images/{id}",
        f"/api/images/{id}/thumbnail",
        f"/api/images/{id}/picture",
        f"/api/search?id={id}",
    ):
        assert served.anna.get(path).status_code == served.cleo.get(path).status_code == 404
    assert served.root.get(f"/api/images/{id}").json()["status"] == "failed"
    Path(served.catalog.image(id).path).write_bytes(png(new_drawing(77)))
    discover(served.catalog, served.index, served.folder / "pictures")
    Indexer(served.catalog, served.index, served.encoder).run()
    assert id not in ask(served.root), "it stays out, though its file has changed"
    assert str(served.catalog.counts()).startswith("31 discovered = 29 indexed + 0 duplicate + 2 failed")
    restored = served.root.post(f"/api/images/{id}/restore")
    assert restored.status_code == 200 and restored.json()["status"] == "indexed" and {id, copy} <= ask(served.cleo)
    assert served.root.post("/api/images/999/restore").status_code == 404


def test_tags_and_privacy_are_changed_by_the_owner_alone(fresh):
    served = fresh()
    id = served.ids[1]  # of anna
    found = lambda who, tag: [  # noqa: E731
        r["id"] for r in who.get(f"/api/search?id={served.ids[3]}&cutoff=0&tag={tag}").json()["results"]
    ]
    changed = served.anna.patch(f"/api/images/{id}", json={"tags": [" new ", "words"]})
    assert changed.status_code == 200 and changed.json()["tags"] == ["new", "words"] and not changed.json()["private"]
    assert found(served.cleo, "new") == [id] and id not in found(served.cleo, "odd")
    assert served.anna.patch(f"/api/images/{id}", json={"private": True}).json()["tags"] == ["new", "words"]
    assert found(served.cleo, "new") == [] and found(served.anna, "new") == [id]
    assert served.cleo.patch(f"/api/images/{id}", json={"tags": []}).status_code == 403  # a reader
    assert served.ben.patch(f"/api/images/{id}", json={"tags": []}).status_code == 404, "it is private now"
    assert served.ben.patch(f"/api/images/{served.ids[3]}", json={"private": True}).status_code == 403
    assert served.root.patch(f"/api/images/{id}", json={"private": False}).status_code == 200
    assert found(served.cleo, "new") == [id]
    for wrong in ({"tags": ["a\x00b"]}, {"tags": [" "]}, {"private": "yes"}, {"owner": 1}, {"tags": ["x" * 61]}):
        assert served.anna.patch(f"/api/images/{id}", json=wrong).status_code == 422


def test_who_may_delete_an_image_without_tags_learns_the_name_of_its_file_and_nobody_else(served):
    id = next(i for i in served.ids if served.catalog.image(i).owner_id == served.users["anna"] and i % 5 != 1)
    before = served.catalog.image(id).tags
    served.catalog.change_image(id, tags=())
    added = served.anna.post("/api/images", **upload(png(new_drawing(71)))).json()["id"]
    try:
        asked = (f"/api/search?id={id}&cutoff=0&k=50", "/api/images?limit=100", "/api/images?limit=100&sample=1")
        for who, may in ((served.anna, True), (served.root, True), (served.ben, False), (served.cleo, False)):
            for path in asked:
                told = who.get(path).json()
                every = [*told.get("results", ()), *told.get("images", ()), *filter(None, [told.get("query")])]
                names = {each["id"]: each["name"] for each in every if each.get("name")}
                assert names == ({id: str(id - 1)} if may else {}), path
    finally:
        served.catalog.change_image(id, tags=before)
        served.anna.delete(f"/api/images/{added}")
