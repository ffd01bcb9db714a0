"""Uploads, JSON and clients that mean harm: the right status, and the service goes on."""

import io
import json
import struct
import zlib

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


def test_json_goes_by_its_content_type_alone(served):
    body = json.dumps({"query": 2, "candidate": 4, "grade": 1})
    for kind in ("text/plain", "application/x-www-form-urlencoded"):  # what another site's form can send
        answer = served.anna.post("/api/judgements", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 422


def test_a_body_is_of_some_size_however_it_is_sent(fresh):
    served = fresh(most_bytes=50_000)
    long = np.random.default_rng(0).bytes(80_000)
    assert served.anna.post("/api/search", **upload(long)).status_code == 413
    sent = []

    def endless():
        while True:
            sent.append(1)
            yield bytes(8192)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = served.anna.post("/api/search", content=(b for _, b in zip(range(1000), endless())), headers=headers)
    assert answer.status_code in (400, 413)
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
