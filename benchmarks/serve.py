"""``python -m benchmarks serve``: how long searches over HTTP take while others search, and whether memory stays.

    python -m benchmarks serve [--quick] [--images 100000] [--out benchmarks/results/serve.json]

The service is the process that ``annlab serve`` starts, over a catalog that is made for it: rows with owners, tags and
times, one in ten private, and vectors in clusters, of the dimension of the packaged encoder; an inverted file.

The load is open: requests arrive at random (Poisson) at a given rate, whether the ones before are answered or not, as
those of many people do. A client that waits for its answer before it asks again would be slowed by a slow server, and
then measure little of it. So latency counts from the moment at which a request was due, waiting for one of the 64
connections included. The generator is a process of its own, with a thread for each connection; what it computes for a
request is in the table, since it may take a core from the service. Each step lasts a minute after a warm-up of five
seconds (`--seconds 45`: all in ten minutes); `--quick` takes five, and fewer images.
"""

import argparse
import http.client
import io
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import environment, report

CONNECTIONS, WARM_UP = 64, 5.0
ENCODER = "fashion-mnist"
PICTURES, MOVED = 2000, 0.12
"""From so many pictures, and by so much of their length, vectors are made."""
RATES = (5, 10, 20, 50, 100, 200)
WITH_FILTERS, BY_UPLOAD = 50, 20  # requests a second


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write the records if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks serve", description="the service under load")
    parser.add_argument("--images", type=int, help="in the catalog (default: 100,000; with --quick 5,000)")
    parser.add_argument("--seconds", type=float, help="of a step (default: 60; with --quick 5)")
    parser.add_argument("--rates", type=int, nargs="+", help="requests a second, of searches by id")
    parser.add_argument("--quick", action="store_true", help="short steps, and few images")
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--generate", type=Path, help=argparse.SUPPRESS)  # what the generator's process is told
    options = parser.parse_args(arguments)
    if options.generate:
        print(json.dumps(generate(json.loads(options.generate.read_text()))))
        return 0
    n = options.images or (5_000 if options.quick else 100_000)
    seconds = options.seconds or (5.0 if options.quick else 60.0)
    rates = options.rates or ((5, 20, 50) if options.quick else RATES)
    records: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        ids = make_catalog(folder, n)
        with service(folder) as (address, process):
            before = resident(process.pid)
            steps = [("by id", rate) for rate in rates]
            steps += [("by id, with filters", WITH_FILTERS), ("by upload", BY_UPLOAD), ("by id", WITH_FILTERS)]
            for what, rate in steps:
                record = step(folder, address, process.pid, what, rate, seconds, ids)
                records.append({"images": n, **record})
                print(", ".join(f"{name} {value}" for name, value in records[-1].items()), flush=True)
        print(f"memory {before / 2**20:.0f} MB after the start, {records[-1]['memory_mb']:.0f} MB at the end")
    if options.out:
        about = environment.about()
        report.write_records(options.out, about, records)
    return 0


def make_catalog(folder: Path, n: int, kind: str = "IVFIndex") -> list[int]:
    """A catalog and its index of a kind; the ids of images that everybody may see."""
    import datetime

    import annlab
    from annlab.encoders.pretrained import load_encoder
    from annlab.visual.attributes import attributes_of
    from annlab.visual.catalog import Catalog
    from annlab.visual.people import add_user

    rng, encoder = np.random.default_rng(0), load_encoder(ENCODER)
    vectors = embeddings(encoder, n, rng)
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    with Catalog.open(folder / "photos.db") as catalog:
        owners = [add_user(catalog) for _ in range(20)]
        rows = [{"owner_id": owners[i % 20], "private": i % 10 == 0, "tags": (f"tag{i % 7}", f"kind{i % 50}"),
                 "uploaded_at": day + datetime.timedelta(minutes=i)} for i in range(n)]  # fmt: skip
        catalog.add_encoder(encoder.fingerprint, ENCODER, encoder.dim)
        empty = getattr(annlab, kind)(metric="cosine", dim=encoder.dim)
        with catalog.index(empty, folder / "photos.index", snapshot_after=None) as index:
            with index.transaction() as writes:
                ids = catalog.add_images(rows, connection=writes.connection)
                catalog.mark_indexed(ids, encoder.fingerprint, connection=writes.connection)
                writes.add(vectors, ids, attributes=attributes_of(catalog.find(ids=ids, connection=writes.connection)))
            index.compact()
            index.snapshot()
    return [id for place, id in enumerate(ids) if place % 10]


def embeddings(encoder: Any, n: int, rng: np.random.Generator) -> np.ndarray:
    """n directions (n, dim) as the encoder makes them: those of the packaged clothes, each moved a little, so that
    scores, cut-offs and the number of results are those of pictures."""
    images = pictures()[:PICTURES]
    known = np.concatenate([encoder.encode(list(images[i : i + 256])) for i in range(0, len(images), 256)])
    moves = rng.standard_normal((n, encoder.dim)) * MOVED / encoder.dim**0.5
    moved: np.ndarray = (known[rng.integers(0, len(known), n)] + moves).astype(np.float32)
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


@contextmanager
def service(folder: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The service in a process of its own, and its address."""
    command = [sys.executable, "-m", "annlab.cli", "serve", str(folder / "photos.db"), "--port", "0",
               "--encoder", ENCODER, "--per-second", "100000"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline().strip() if process.stdout else ""
            if not line.startswith("http://"):
                raise RuntimeError("the service did not start; its message is above")
            yield line, process
        finally:
            process.terminate()
            process.wait(60)


def step(folder: Path, address: str, pid: int, what: str, rate: int, seconds: float, ids: list[int]) -> dict[str, Any]:
    """One rate for some time: throughput, latency in milliseconds, errors, computing of a request, and memory."""
    told = folder / "load.json"
    told.write_text(json.dumps({"address": address, "what": what, "rate": rate, "seconds": seconds, "ids": ids}))
    command = [sys.executable, "-m", "benchmarks", "serve", "--generate", str(told)]
    before = cpu_seconds(pid)
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    each = 1000 * (cpu_seconds(pid) - before) / found.pop("sent")
    own = found.pop("generator_cpu_ms")
    return {"what": what, "rate": rate, **found, "cpu_ms": round(each, 2), "generator_cpu_ms": own,
            "memory_mb": round(resident(pid) / 2**20, 1)}  # fmt: skip


def cpu_seconds(pid: int) -> float:
    """What a process has computed, all threads together; 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


def resident(pid: int) -> float:
    """Memory of a process, in bytes; 0 where the system does not say."""
    try:
        return float(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0.0


def generate(told: dict[str, Any]) -> dict[str, Any]:
    """Send what is told, and say what came of it. Runs in a process of its own."""
    rng = np.random.default_rng([told["rate"], len(told["what"])])
    rate, seconds = told["rate"], told["seconds"]
    n = int(rate * (seconds + WARM_UP))
    due = np.cumsum(rng.exponential(1 / rate, n))
    requests = [request_of(told, rng) for _ in range(n)]
    host = urllib.parse.urlsplit(told["address"]).netloc
    waiting: queue.Queue[int | None] = queue.Queue()
    latencies, statuses = np.full(n, np.nan), np.zeros(n, int)
    start = time.perf_counter() + 0.5

    def client() -> None:
        line = http.client.HTTPConnection(host, timeout=30)
        while (number := waiting.get()) is not None:
            method, path, body, headers = requests[number]
            for _ in range(2):  # a connection that was idle may have been closed meanwhile: a new one is opened
                try:
                    line.request(method, path, body, headers)
                    answer = line.getresponse()
                    answer.read()
                    statuses[number] = answer.status
                    break
                except (http.client.RemoteDisconnected, ConnectionError):
                    line.close()
                except (OSError, http.client.HTTPException):
                    line.close()
                    break
            latencies[number] = time.perf_counter() - start - due[number]

    clients = [threading.Thread(target=client) for _ in range(CONNECTIONS)]
    for each in clients:
        each.start()
    for number in range(n):
        time.sleep(max(0.0, start + due[number] - time.perf_counter()))
        waiting.put(number)
    for _ in clients:
        waiting.put(None)
    for each in clients:
        each.join()
    counted = due >= WARM_UP
    took, good = 1000 * latencies[counted], statuses[counted] == 200
    ended = max(float((due + latencies)[counted].max()) - WARM_UP, 1e-9)
    p50, p95, p99 = np.percentile(took, [50, 95, 99])
    own = 1000 * time.process_time() / n
    return {"sent": n, "generator_cpu_ms": round(own, 2),
            "requests": int(counted.sum()), "throughput": round(float(good.sum()) / ended, 1),
            "errors": int((~good).sum()), "p50_ms": round(float(p50), 2), "p95_ms": round(float(p95), 2),
            "p99_ms": round(float(p99), 2), "max_ms": round(float(took.max()), 1)}  # fmt: skip


def request_of(told: dict[str, Any], rng: np.random.Generator) -> tuple[str, str, bytes | None, dict[str, str]]:
    """One request: method, path, body and headers."""
    path = "/api/search?k=20"
    if told["what"] == "by upload":
        content, kind = form_of(rng)
        return "POST", path, content, {"Content-Type": kind}
    path += f"&id={told['ids'][int(rng.integers(len(told['ids'])))]}"
    if "filters" in told["what"]:
        path += f"&tag=tag{int(rng.integers(7))}&after=2026-01-05"
    return "GET", path, None, {}


def form_of(rng: np.random.Generator) -> tuple[bytes, str]:
    """A picture of the packaged clothes as a form."""
    from PIL import Image

    images = pictures()
    buffer = io.BytesIO()
    Image.fromarray(images[int(rng.integers(len(images)))]).save(buffer, "PNG")
    head = '--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    return head.encode() + buffer.getvalue() + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"


def pictures() -> np.ndarray:
    """The packaged clothes, read once."""
    global _pictures
    if _pictures is None:
        from annlab.datasets import fashion_mnist

        _pictures = fashion_mnist().images
    return _pictures


_pictures: np.ndarray | None = None
