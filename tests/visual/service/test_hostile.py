"""Uploads, JSON and clients that mean harm: the right status, and the service goes on."""

import io
import itertools
import json
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tests.visual.service.served import jpeg, new_drawing, png, upload


def claiming(width, height):
    """A PNG of a hundred bytes that claims so many pixels."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def bomb():
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    return buffer.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
CASES = {
    "nothing": (b"", 422), "words": (b"hello" * 100, 415), "svg": (SVG, 415), "html": (b"<!doctype html><p>x", 415),
    "a claim of 3.6 gigapixels": (claiming(60_000, 60_000), 413), "a bomb": (bomb(), 413),
    "a truncated picture": (jpeg(new_drawing(1, 300))[:2000], 422), "a damaged one": (png(new_drawing(1))[:150], 422),
    "a zip": (b"PK\x03\x04" + bytes(200), 415), "a pickle": (b"\x80\x04\x95" + bytes(100), 415),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("path", ["/api/search", "/api/images"])
def test_what_is_no_picture_is_refused_and_leaves_nothing(path, name, served):
    content, status = CASES[name]
    before = len(served.catalog.find(kind=["image", "query"])), _files(served)
    answer = served.anna.post(path, **upload(content))
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"] and "Traceback" not in answer.text and str(served.folder) not in answer.text
    assert (len(served.catalog.find(kind=["image", "query"])), _files(served)) == before
    assert served.anna.get("/health").status_code == 200


def _files(served):
    return len(list(served.settings.uploads.iterdir())) if served.settings.uploads.is_dir() else 0


def test_names_of_files_are_never_used(served):
    content = png(new_drawing(900))
    lone = "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")
    for name in ("../../../evil.png", "/etc/passwd", "..\\..\\evil.png", "a\x00b.png", "CON", "x" * 5000, lone):
        answer = served.anna.post("/api/search?log=false", files={"image": (name, content, "text/html")})
        assert answer.status_code in (200, 400), (name, answer.text)
    assert all(path.suffix == ".png" and len(path.stem) == 32 for path in served.settings.uploads.iterdir()
               if path.suffix != ".jpg")  # fmt: skip
    assert not list(served.folder.rglob("evil*"))


@pytest.mark.parametrize("body, status", [
    (b"", 422), (b"{", 422), (b"[]", 422), (b"null", 422), (b'{"list": 1}', 422), (b'{"list": true, "image": 1}', 422),
    (b'{"list": 1e400, "image": 1}', 422), (b'{"list": "1", "image": 1}', 422), (b'{"list": -1, "image": 1}', 422),
    (b'{"list": 99999999999999999999999, "image": 1}', 422), (b"\xff\xfe\x00", 400), (b"[" * 100_000, 400),
    (b'{"list": ' + b"9" * 6000 + b', "image": 1}', 400), (b'{"list": NaN, "image": 1}', 422),
    (b'{"list": 1, "image": 1, "x": "\\ud800"}', 404),
])  # fmt: skip
def test_json_that_is_none_or_hostile(body, status, served):
    answer = served.anna.post("/api/clicks", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (status, 422), answer.text
    assert len(answer.text) < 1500


DOORS = (("PATCH", ""), ("DELETE", ""), ("POST", "/restore"))


@pytest.mark.parametrize("method, door", DOORS)
def test_doors_that_change_an_image_take_no_strange_id_and_no_wrong_key(method, door, served):
    ask = lambda who, id, **more: who.request(method, f"/api/images/{id}{door}", **more)  # noqa: E731
    given = {"json": {"tags": ["x"]}} if method == "PATCH" else {}
    for id in ("0", "-1", str(2**53 + 1), "9" * 400, "abc", "1e3", "2.5", "%00", "2%20or%201=1", "..%2f2", "\u0662x"):
        assert ask(served.root, id, **given).status_code in (404, 405, 422), id
    assert ask(served.root, 987654, **given).status_code == 404
    for key in ("k" * 40, "", "x", served.keys["root"][:-1], served.keys["root"].swapcase(), "\xe9" * 30):
        headers = {"Authorization": f"Bearer {key}".encode("latin-1")}
        assert ask(served.nobody, served.ids[1], headers=headers, **given).status_code == 401, key
    assert ask(served.nobody, served.ids[1], **given).status_code == 401
    assert ask(served.cleo, served.ids[1], **given).status_code == 403
    assert served.root.get(f"/api/images/{served.ids[1]}").json()["tags"] == ["odd"]


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b"7", b'{"tags": null, "private": null, "id": 3}', b'{"tags": "x"}', b'{"tags": [1]}',
    b'{"tags": [null]}', b'{"tags": {"a": 1}}', b'{"private": 1}', b'{"private": "true"}', b'{"private": []}',
    b'{"tags": [""]}', b'{"tags": ["\\u0000"]}', b'{"tags": ["\\ud800"]}', b'{"tags": [' + b'"x",' * 30 + b'"x"]}',
    b'{"tags": ["' + b"x" * 100_000 + b'"]}', b"[" * 100_000, b'{"owner_id": 1}', b'{"__class__": "x"}', b"\xff\xfe",
])  # fmt: skip
def test_a_change_that_is_none_changes_nothing(body, served):
    id = served.ids[3]
    before = served.root.get(f"/api/images/{id}").json()
    answer = served.anna.patch(f"/api/images/{id}", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422) and len(answer.text) < 1500, answer.text
    assert served.root.get(f"/api/images/{id}").json() == before


def test_what_is_deleted_while_somebody_changes_it_is_not_there(fresh, monkeypatch):
    served = fresh()
    found = served.service.image

    def deleted_meanwhile(id, person):
        image = found(id, person)
        served.catalog.mark_deleted([id])
        return image

    ids = served.ids[1], served.ids[3]
    with monkeypatch.context() as patch:
        patch.setattr(served.service, "image", deleted_meanwhile)
        assert served.anna.patch(f"/api/images/{ids[0]}", json={"tags": ["late"]}).status_code == 404
        assert served.root.delete(f"/api/images/{ids[1]}").status_code == 404
    assert served.catalog.find(ids=ids[:1], deleted=True)[0].tags == ("odd",)
    assert served.root.post(f"/api/images/{ids[0]}/restore").status_code == 404


def test_many_change_one_image_at_once(fresh):
    served = fresh()
    id = served.ids[1]
    asked = [("DELETE", ""), ("POST", "/restore"), ("PATCH", "")] * 6
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda each: served.root.request(
            each[0], f"/api/images/{id}{each[1]}", json={"tags": ["a", "b"]} if each[0] == "PATCH" else None), asked,
        ))  # fmt: skip
    assert {answer.status_code for answer in answers} <= {200, 204, 409}, [answer.text for answer in answers]
    served.root.post(f"/api/images/{id}/restore")
    image = served.catalog.image(id)
    assert image.status == "indexed" and image.tags == ("a", "b") and id in served.index
    assert served.cleo.get(f"/api/search?id={id}&k=3").status_code == 200


def test_json_goes_by_its_content_type_alone(served):
    body = json.dumps({"query": 2, "candidate": 4, "grade": 1})
    for kind in ("text/plain", "application/x-www-form-urlencoded"):  # what another site's form can send
        answer = served.anna.post("/api/judgements", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 422


def test_a_body_is_of_some_size_however_it_is_sent(fresh, caplog):
    served = fresh(most_bytes=50_000)
    long = np.random.default_rng(0).bytes(80_000)
    refused = served.anna.post("/api/search", **upload(long))
    assert refused.status_code == 413 and "50,000 bytes" in refused.json()["detail"]
    sent = []

    def endless():
        while True:
            sent.append(1)
            yield bytes(8192)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = served.anna.post("/api/search", content=(b for _, b in zip(range(1000), endless())), headers=headers)
    assert answer.status_code in (400, 413)
    begun = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    answer = served.anna.post(
        "/api/search", content=itertools.chain([begun], itertools.islice(endless(), 100)), headers=headers
    )
    assert answer.status_code == 413 and "bytes" in answer.json()["detail"]
    answer = served.anna.post("/api/clicks", content=b" " * 60_000, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert not caplog.records, "what is refused is no error of ours"
    assert served.anna.get("/health").status_code == 200


def test_too_many_requests_are_told_when_to_come_again(fresh):
    served = fresh(per_second=1.0, burst=5.0)
    statuses = [served.anna.get("/api/images?limit=1").status_code for _ in range(8)]
    assert statuses[:4] == [200] * 4 and statuses[-1] == 429
    answer = served.anna.get("/api/images?limit=1")
    assert int(answer.headers["retry-after"]) >= 1
    assert served.ben.get("/api/images?limit=1").status_code in (200, 429)  # the same address, another person
    guesses = [served.nobody.get("/api/images", headers={"Authorization": f"Bearer {'k' * 30}{n}"}).status_code
               for n in range(4)]  # fmt: skip
    assert 429 in guesses and 200 not in guesses


def test_without_keys_this_machine_alone_is_believed(fresh):
    served = fresh(keys=False)
    assert served.nobody.get("/api/session").json()["role"] == "admin"
    assert served.nobody.get("/api/images").status_code == 200
    assert served.nobody.get("/api/images", headers={"Host": "photos.example"}).status_code == 421


def test_an_error_of_our_own_says_nothing_of_the_inside(served, monkeypatch):
    monkeypatch.setattr(served.service, "image", lambda *_: 1 / 0)
    answer = served.anna.get("/api/images/2")
    assert answer.status_code == 500 and "Zero" not in answer.text
    assert "content-security-policy" in answer.headers
