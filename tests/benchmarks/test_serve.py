"""The load of the service's benchmark: what is sent, and what is said of what came back."""

import http.server
import threading

import numpy as np
import pytest

pytest.importorskip("sqlalchemy")

from benchmarks import serve


@pytest.fixture
def slow_address():
    """A server that answers one request at a time, each after 20 ms, and refuses every fifth."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            seen.append(self.path)
            threading.Event().wait(0.02)
            self.send_response(503 if len(seen) % 5 == 0 else 200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()
        thread.join()


def test_every_request_is_counted_from_when_it_was_due(slow_address, monkeypatch):
    address, seen = slow_address
    monkeypatch.setattr(serve, "WARM_UP", 0.1)
    found = serve.generate({"address": address, "what": "by id, with filters", "rate": 100, "seconds": 0.5, "ids": [7]})
    assert found["sent"] == len(seen) == 60 and all("id=7&tag=tag" in path for path in seen)
    assert 0 < found["errors"] < found["requests"] <= 60
    assert 20 <= found["p50_ms"] <= found["p95_ms"] <= found["p99_ms"] <= found["max_ms"]


def test_an_upload_is_a_picture_in_a_form():
    content, kind = serve.form_of(np.random.default_rng(0))
    assert kind.endswith("boundary=x") and b"\x89PNG" in content and content.endswith(b"\r\n--x--\r\n")
