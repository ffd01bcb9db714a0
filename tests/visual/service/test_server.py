"""Clients that are slow or never end, at the socket; and the end of the process, which finishes what was begun."""

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from annlab.visual.interactions import read_interactions
from annlab.visual.service.server import prepare_the_interpreter
from tests.visual.page.conftest import serving
from tests.visual.service.served import Served, new_drawing, png


def connected(address):
    host, port = address.removeprefix("http://").split(":")
    return contextlib.closing(socket.create_connection((host, int(port)), timeout=10))


def well(address):
    with urllib.request.urlopen(f"{address}/health", timeout=10) as answer:
        return answer.status == 200


def test_a_head_that_does_not_come_is_not_waited_for(fresh):
    with serving(fresh(keys=False).app, header_seconds=0.3) as address:
        for beginning in (b"", b"GET /health HTT", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "):
            with connected(address) as line:
                line.sendall(beginning)
                started = time.monotonic()
                assert line.recv(1000) == b"" and time.monotonic() - started < 5
        with connected(address) as line:  # nor is the second one on the same connection
            line.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = line.recv(4000)
            while not answer.endswith(b"}"):  # the body may come by itself
                answer += line.recv(4000)
            assert b"200 OK" in answer
            line.sendall(b"GET /hea")
            assert line.recv(1000) == b""
        assert well(address)


def test_a_body_that_does_not_come_or_does_not_end(fresh):
    with serving(fresh(keys=False, body_seconds=0.4, most_bytes=100_000).app) as address:
        head = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        with connected(address) as line:
            line.sendall(head + b"Content-Length: 5000\r\n\r\n--x\r\n")
            assert b" 408 " in line.recv(4000)
        with connected(address) as line:
            line.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            sent, answer = 0, b""
            line.settimeout(0.01)
            with contextlib.suppress(ConnectionError):
                while not answer and sent < 10_000_000:
                    line.sendall(b"1000\r\n" + bytes(4096) + b"\r\n")
                    sent += 4096
                    with contextlib.suppress(TimeoutError):
                        answer = line.recv(4000)
            assert sent < 5_000_000 and (not answer or b" 413 " in answer or b" 400 " in answer)
        assert well(address)


def test_what_is_no_http_ends_nothing(fresh):
    with serving(fresh(keys=False).app) as address:
        named = b" HTTP/1.1\r\nHost: localhost\r\n"
        for noise in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 200_000,
                      b"POST /api/search" + named + b"Content-Length: -5\r\n\r\n",
                      b"GET /" + named + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"):  # fmt: skip
            with connected(address) as line, contextlib.suppress(ConnectionError, TimeoutError):
                line.settimeout(3)
                line.sendall(noise)
                line.recv(1000)
        assert well(address)


def test_threads_of_the_process_hand_over_within_a_search_and_no_collection_stops_them():
    before = sys.getswitchinterval()
    try:
        prepare_the_interpreter()
        assert sys.getswitchinterval() <= 0.001  # a search takes some 3 ms, and the loop waits for its turn thrice
        assert gc.get_freeze_count() > 100_000  # the modules alone are more
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)


@pytest.mark.slow
def test_a_process_that_is_told_to_end_answers_what_it_was_asked(tmp_path):
    served = Served(tmp_path)
    served.close()
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-m", "annlab.cli", "serve", str(tmp_path / "photos.db"), "--port", "0"]
    served.encoder.save(tmp_path / "encoder")
    command += ["--encoder", str(tmp_path / "encoder")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), process.stderr.read()
        with connected(address) as line:
            picture = png(new_drawing(7))
            body = (
                b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
                + picture
                + b"\r\n--x--\r\n"
            )
            line.sendall(
                b"POST /api/search?cutoff=0&k=3 HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n"
                + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:100]
            )  # fmt: skip
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert process.poll() is None
            line.sendall(body[100:])
            answer = b""
            while b"\r\n\r\n" not in answer or b'"query"' not in answer:
                part = line.recv(65536)
                assert part, answer
                answer += part
        assert b"200 OK" in answer and len(json.loads(answer.partition(b"\r\n\r\n")[2])["results"]) == 3
        assert process.wait(30) == 0, process.stderr.read()
    with contextlib.closing(served.catalog.open(tmp_path / "photos.db")) as catalog:
        assert len(read_interactions(catalog).positions) == 3  # written before the end
