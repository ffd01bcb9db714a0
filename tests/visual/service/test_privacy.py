"""A private image is to everybody else as if it were not there; what others send changes nothing by stealth."""

import contextlib
import json
import time

import pytest

from tests.visual.service.served import Served, new_drawing, png, upload


def test_a_private_image_is_nowhere_for_anyone_else(served):
    secret = served.private_of("ben")
    assert secret
    for id in secret:
        for path in (f"/api/images/{id}", f"/api/images/{id}/thumbnail", f"/api/images/{id}/picture",
                     f"/api/search?id={id}", f"/api/search?id=2&like={id}", f"/api/judging?query={id}",
                     f"/api/engines/ExactIndex?id={id}"):  # fmt: skip
            mine, theirs, missing = (client.get(path.replace(str(id), str(number))) for client, number in
                                     ((served.ben, id), (served.anna, id), (served.anna, 987654)))  # fmt: skip
            assert mine.status_code == 200, (path, mine.text)
            assert theirs.status_code == missing.status_code == 404, path
            assert theirs.json()["detail"].replace(str(id), "987654") == missing.json()["detail"]
        assert served.anna.delete(f"/api/images/{id}").status_code == 404
        judged = served.anna.post("/api/judgements", json={"query": id, "candidate": 2, "grade": 1})
        assert judged.status_code == 404


def test_a_private_image_is_in_no_list_count_or_suggestion_of_anyone_else(served):
    secret, own = set(served.private_of("ben")), set(served.private_of("anna"))
    ids = lambda answer, key: {each["id"] for each in answer.json()[key]}  # noqa: E731
    for path, key in (("/api/search?id=2&k=100&cutoff=0", "results"), ("/api/search?text=secret&k=100", "results"),
                      ("/api/images?limit=200", "images"), ("/api/images?limit=200&sample=3", "images"),
                      ("/api/images?tag=secret", "images")):  # fmt: skip
        assert not ids(served.anna.get(path), key) & secret, path
        assert not ids(served.cleo.get(path), key) & (secret | own), path
    assert not ids(served.anna.get("/api/judging?query=2&depth=30"), "candidates") & secret
    total = served.anna.get("/api/search?id=2&k=100&cutoff=0").json()
    assert total["total"] == len(served.index) - 1 - len(secret)
    assert served.cleo.get("/api/status").json()["images"]["indexed"] == len(served.index) - len(secret | own)
    assert dict(served.anna.get("/api/suggestions").json()["tags"])["secret"] == len(own)
    assert "secret" not in dict(served.cleo.get("/api/suggestions").json()["tags"])
    assert served.root.get("/api/search?id=2&k=100&cutoff=0").json()["total"] == len(served.index) - 1


def test_a_copy_of_a_private_image_does_not_tell_of_it(fresh):
    served = fresh()
    picture = new_drawing(500)
    hidden = served.ben.post("/api/images", **upload(png(picture), private="true")).json()
    assert hidden["status"] == "indexed"
    copy = served.anna.post("/api/images", **upload(png(picture), tags="mine")).json()
    other = served.anna.post("/api/images", **upload(png(new_drawing(501)), tags="mine")).json()
    assert copy["status"] == other["status"] == "indexed" and copy.get("duplicate_of") is None
    for client in (served.anna, served.cleo):
        found = client.post("/api/search?cutoff=0&k=3", **upload(png(picture))).json()["results"]
        assert found[0]["id"] == copy["id"] and str(hidden["id"]) not in [
            str(id) for each in found for id in (each["id"], *each["folded"])
        ]
        shown = client.get(f"/api/images/{copy['id']}")
        assert shown.status_code == 200 and str(hidden["id"]) not in json.dumps(
            {k: v for k, v in shown.json().items() if k != "date"})  # fmt: skip


def test_how_a_search_was_answered_tells_nothing_of_private_images(fresh):
    """Whatever another person asks is word for word the same after private images were added, but for times."""
    served = fresh(per_second=1e4, burst=1e4)
    paths = (
        "/api/status",
        "/api/search?id=2&k=9&log=false",
        "/api/search?id=2&exact=true&log=false&cutoff=0",
        "/api/search?id=2&order=time&log=false",
        "/api/search?text=odd&log=false",
        "/api/engines",
        "/api/suggestions",
        "/api/images?limit=200",
        "/api/images/2",
    )

    def told(client):
        answers = [client.get(path) for path in paths]
        assert all(answer.status_code == 200 for answer in answers)
        other = ("timings", "uptime", "cursor")  # every time others
        texts = [
            json.dumps({name: value for name, value in answer.json().items() if name not in other})
            for answer in answers
        ]
        return [text for path, text in zip(paths, texts, strict=True) if path != "/api/engines"], texts[5]

    before, engines = told(served.cleo)
    for seed in range(3):
        sent = served.ben.post("/api/images", **upload(png(new_drawing(700 + seed)), private="true", tags="odd"))
        assert sent.status_code == 201
    after, engines_after = told(served.cleo)
    assert after == before
    assert json.loads(engines_after)["vectors"] == json.loads(engines)["vectors"]
    looked_at = lambda client: client.get("/api/engines/ExactIndex?k=3").json()["looked_at"]  # noqa: E731
    assert looked_at(served.cleo) is None and looked_at(served.root) >= 1
    sizes = [{each["kind"]: each["bytes"] for each in client.get("/api/engines").json()["engines"]}["ExactIndex"]
             for client in (served.ben, served.root)]  # fmt: skip
    assert sizes[0] is None and sizes[1] > 0
    plan = lambda client: client.get("/api/search?id=2&log=false").json()["plan"]  # noqa: E731
    assert plan(served.root).startswith("ExactIndex: ") and plan(served.cleo) == "ExactIndex"
    assert served.cleo.get("/metrics").status_code == served.ben.get("/metrics").status_code == 403


def told_of_copies(served, hidden):
    """All that two others are told before and after one of them adds a picture twice and another one once, where ben
    has hidden this drawing; times and cursors left out."""
    sent = served.ben.post("/api/images", **upload(png(new_drawing(hidden)), private="true", tags="mine"))
    assert sent.json()["status"] == "indexed"
    told = []

    def note(answer):
        assert answer.status_code < 300, answer.text
        varying = {"timings", "uptime", "cursor", "date", "list", "milliseconds", "exact_milliseconds", "memory"}
        rid = lambda value: (  # noqa: E731
            {name: rid(each) for name, each in value.items() if name not in varying} if isinstance(value, dict)
            else [rid(each) for each in value] if isinstance(value, list) else value)  # fmt: skip
        told.append((answer.request.method, str(answer.request.url), json.dumps(rid(answer.json()))))
        return answer.json()

    added = [note(served.anna.post("/api/images", **upload(png(new_drawing(seed)), tags="mine")))["id"]
             for seed in (500, 500, 501, 500)]  # fmt: skip
    assert served.anna.delete(f"/api/images/{added[3]}").status_code == 204
    for client in (served.anna, served.cleo):
        for path in ("/api/status", "/api/suggestions", "/api/engines", "/api/images?limit=200", "/api/images?limit=2",
                     "/api/images?sample=3&limit=5", "/api/images?sample=3&limit=200", "/api/images?tag=mine",
                     "/api/search?id=2&k=9&cutoff=0", "/api/search?id=2&k=9&cutoff=0&exact=true",
                     "/api/search?id=2&order=time&cutoff=0", "/api/search?text=mine",
                     "/api/search?id=2&tag=mine&cutoff=0", "/api/engines/ExactIndex?k=5",
                     *(f"/api/images/{id}" for id in added[:3]),
                     *(f"/api/search?id={id}&k=9&cutoff=0" for id in added[:3]),
                     *(f"/api/engines/ExactIndex?id={id}&k=5" for id in added[:3])):  # fmt: skip
            note(client.get(path))
        for path in ("/api/search?id=2&k=3&cutoff=0", f"/api/search?id={added[0]}&k=3&cutoff=0&order=time"):
            page = client.get(path).json()
            while page["cursor"] is not None and len(told) < 1000:
                page = client.get(f"{path}&cursor={page['cursor']}").json()
                told.append((path, [(each["id"], each["folded"]) for each in page["results"]]))
    for path in ("/api/judging?query=2&seed=1", f"/api/judging?query={added[1]}&seed=1", "/api/judging?seed=5"):
        note(served.anna.get(path))
    return told


def test_nothing_tells_whether_somebody_hides_a_copy_of_ones_own_picture(tmp_path):
    """Two catalogs: in the one a hidden picture is that which another person adds, in the other it is not."""
    told = []
    for hidden in (500, 900):
        (tmp_path / str(hidden)).mkdir()
        with contextlib.closing(Served(tmp_path / str(hidden), per_second=1e4, burst=1e4)) as served:
            told.append(told_of_copies(served, hidden))
    with_copy, without = told
    for one, other in zip(with_copy, without, strict=True):
        assert one == other


def test_what_is_drawn_and_what_is_built_does_not_change_when_somebody_adds_what_is_hidden(fresh):
    served = fresh(per_second=1e4, burst=1e4)
    drawn = lambda: [[each["id"] for each in served.cleo.get(f"/api/images?sample={seed}&limit=6").json()["images"]]  # noqa: E731
                     for seed in range(5)]  # fmt: skip
    states = lambda: [each["state"] for each in served.cleo.get("/api/engines").json()["engines"]]  # noqa: E731
    assert served.anna.post("/api/engines/KDTreeIndex").status_code == 202
    waited = time.monotonic() + 300
    while "building" in states() and time.monotonic() < waited:
        time.sleep(0.05)
    assert served.cleo.get("/api/engines/KDTreeIndex?k=5").status_code == 200
    before = drawn(), states()
    assert "ready" in before[1]
    assert served.ben.post("/api/images", **upload(png(new_drawing(800)), private="true")).status_code == 201
    assert served.cleo.get("/api/engines/KDTreeIndex?k=5").status_code == 200
    assert (drawn(), states()) == before


def test_what_others_ask_for_is_refused_as_what_is_not_there(fresh):
    """Clicks in another person's list, cursors of another's search, copies and pictures that became private."""
    served = fresh(per_second=1e4, burst=1e4)
    mine = served.ben.get("/api/search?id=2&k=3&cutoff=0").json()
    click = {"list": mine["list"], "image": mine["results"][0]["id"]}
    theirs = served.anna.post("/api/clicks", json=click)
    absent = served.anna.post("/api/clicks", json={**click, "list": 12345})
    assert theirs.status_code == absent.status_code == 404
    assert theirs.json()["detail"].replace(str(click["list"]), "12345") == absent.json()["detail"]
    stolen = served.anna.get("/api/search", params={"id": 2, "k": 3, "cutoff": 0, "cursor": mine["cursor"]})
    assert stolen.status_code == 400 and "another search" in stolen.json()["detail"]
    public = next(i for i in served.ids if i not in served.private_of("ben") and
                  served.catalog.image(i).owner_id == served.users["ben"])  # fmt: skip
    seen = served.anna.get(f"/api/images/{public}/thumbnail")
    assert seen.status_code == 200 and "private" in seen.headers["cache-control"]
    assert served.ben.patch(f"/api/images/{public}", json={"private": True}).status_code == 200
    known = {"If-None-Match": seen.headers["etag"]}
    for path in (f"/api/images/{public}/thumbnail", f"/api/images/{public}/picture"):
        refused, missing = served.anna.get(path, headers=known), served.anna.get(path.replace(str(public), "98765"))
        assert refused.status_code == missing.status_code == 404 and "etag" not in refused.headers
    for method, body in (("patch", {"json": {"tags": []}}), ("delete", {})):
        assert getattr(served.anna, method)(f"/api/images/{public}", **body).status_code == 404
    judged = served.anna.post("/api/judgements", json={"query": 2, "candidate": public, "grade": 3})
    assert judged.status_code == 404


def test_what_becomes_private_is_gone_from_counts_statuses_and_measurements(fresh):
    served = fresh(per_second=1e4, burst=1e4)
    total = lambda who: who.get("/api/engines").json()["vectors"]  # noqa: E731
    assert total(served.cleo) == len(served.index) - sum(len(served.private_of(name)) for name in ("anna", "ben"))
    picture = png(new_drawing(640))
    leader = served.anna.post("/api/images", **upload(picture, tags="rare")).json()["id"]
    copy = served.ben.post("/api/images", **upload(picture, tags="common")).json()
    assert copy["status"] == "duplicate" and copy["duplicate_of"] == leader
    near = f"/api/engines/ExactIndex?k=3&id={copy['id']}"
    before = total(served.cleo)
    assert leader in served.cleo.get(f"/api/engines/ExactIndex?k=3&id={leader}").json()["found"]
    assert "rare" in dict(served.cleo.get("/api/suggestions").json()["tags"])
    served.catalog.change_image(leader, private=True)  # as another process does it
    assert total(served.cleo) == before  # the copy stands by itself now
    assert "rare" not in dict(served.cleo.get("/api/suggestions").json()["tags"])
    assert leader not in served.cleo.get(near).json()["found"]
    for client in (served.cleo, served.ben):
        for path in (f"/api/images/{copy['id']}", f"/api/judging?query={copy['id']}&depth=30",
                     f"/api/judging?query={served.ids[1]}&depth=30", f"/api/search?id={copy['id']}&k=60&cutoff=0",
                     "/api/images?limit=200"):  # fmt: skip
            if client is served.cleo and "judging" in path:
                continue  # a reader does not judge
            answer = client.get(path).json()
            shown = [each for value in answer.values() for each in (value if isinstance(value, list) else [value])]
            shown = [each for each in [answer, *shown] if isinstance(each, dict) and "status" in each]
            assert shown and all(each["status"] == "indexed" and each["id"] != leader for each in shown), path
    assert served.anna.get(f"/api/images/{copy['id']}").json()["status"] == "duplicate"


def test_nothing_without_a_key_and_no_more_than_the_role(served):
    for path in ("/api/search?id=2", "/api/images", "/api/images/2", "/api/images/2/thumbnail", "/api/status",
                 "/api/suggestions", "/api/engines", "/api/judging", "/metrics"):  # fmt: skip
        answer = served.nobody.get(path)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer", path
        wrong = served.nobody.get(path, headers={"Authorization": "Bearer " + "x" * 43})
        assert wrong.status_code == 401
    assert served.cleo.post("/api/images", **upload(png(new_drawing(1)))).status_code == 403
    basic = served.nobody.get("/api/images", headers={"Authorization": "Basic YTpi"})
    assert basic.status_code == 401


def test_the_page_keeps_its_key_where_no_script_reads_it(served):
    refused = served.nobody.post("/api/session", json={"key": "no such key at all, surely not"})
    assert refused.status_code == 401 and "set-cookie" not in refused.headers
    answer = served.nobody.post("/api/session", json={"key": served.keys["cleo"]})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and answer.json()["name"] == "cleo"
    assert served.nobody.get("/api/images/2/thumbnail").status_code == 200
    assert served.nobody.delete("/api/session").status_code == 204
    served.nobody.cookies.clear()
    assert served.nobody.get("/api/images/2/thumbnail").status_code == 401


@pytest.mark.parametrize("headers, status", [
    ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403), ({"Origin": "http://localhost"}, 204), ({}, 204),
    ({"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}, 204), ({"Host": "evil.example"}, 421),
    ({"Host": "localhost.evil.example"}, 421), ({"Host": "localhost:8000"}, 204), ({"Host": ""}, 421),
])  # fmt: skip
def test_another_sites_page_changes_nothing(headers, status, served):
    grade = {"query": served.ids[1], "candidate": served.ids[3], "grade": 1}
    assert served.anna.post("/api/judgements", json=grade, headers=headers).status_code == status


def test_browsers_are_told_what_they_may_do(served):
    for path in ("/", "/page/main.js", "/api/images", "/health", "/nowhere"):
        headers = served.anna.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
    assert served.anna.get("/page/main.js").headers["content-type"].startswith("text/javascript")
    assert served.anna.get("/api/images").headers["cache-control"] == "no-store"
    for path in ("/page/../service/app.py", "/page/%2e%2e%2fapp.py", "/page/..%5capp.py", "/page//etc/passwd"):
        assert served.anna.get(path).status_code == 404


def test_a_key_that_is_taken_back_or_whose_owner_is_forgotten_opens_nothing(fresh):
    from annlab.visual.people import forget
    from annlab.visual.service.keys import list_keys, revoke_key

    served = fresh()
    assert served.cleo.get("/api/images").status_code == 200
    assert len(list_keys(served.catalog)) == 4
    assert not any(served.keys[name] in json.dumps(list_keys(served.catalog)) for name in served.keys)
    mine = next(key["key"] for key in list_keys(served.catalog) if key["user"] == served.users["cleo"])
    assert revoke_key(served.catalog, mine) == 1
    forget(served.catalog, "ben", [served.index])
    served.service.keys._known.clear()  # as some seconds do
    assert served.cleo.get("/api/images").status_code == 401
    assert served.ben.get("/api/images").status_code == 401
    assert {key["user"] for key in list_keys(served.catalog)} == {served.users["anna"], served.users["root"]}
