"""``python -m benchmarks indexing``: from files to an index: images a second, where the time goes, and memory.

    python -m benchmarks indexing [--quick] [--out benchmarks/results/indexing.json]

Two questions, each in a process of its own:

- how fast are images indexed from files by a shipped encoder? PNG files of the packaged clothing, one thread, with the
  CPU time of every stage. Wall time stands beside it: it also holds what other processes of the machine took.
- does memory grow with the number of images? A hundred thousand small files, noise of which no two are alike, and an
  encoder that costs next to nothing; the resident memory at every tenth of them, by how much it is more than at the
  first tenth, and what the index itself takes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annlab import ExactIndex
from annlab.datasets import fashion_mnist
from annlab.encoders.encoder import Encoder
from annlab.encoders.pretrained import load_encoder
from annlab.visual.catalog import Catalog
from annlab.visual.discovery import discover
from annlab.visual.indexing import Indexer
from benchmarks import environment, report

STAGES = {"_look_at": "read, decode, sketch", "_find_duplicates": "find duplicates", "_embed": "embed",
          "_write": "write"}  # fmt: skip


class MeanEncoder:
    """The means of a grid as an embedding: an encoder that costs next to nothing."""

    name, fingerprint, dim = "means", "0" * 32, 16

    def encode(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """(n, 16) unit rows of pictures whose sides are multiples of four."""
        rows = np.stack([p[..., 0].reshape(4, p.shape[0] // 4, 4, -1).mean(axis=(1, 3)).ravel() for p in pictures])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write the records if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks indexing", description="from files to an index")
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--folder", type=Path, help="where to write: the disk that is measured (default: temporary)")
    parser.add_argument("--quick", action="store_true", help="fewer images")
    parser.add_argument("--child", choices=("speed", "memory"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    sizes = {"speed": 1_000, "memory": 3_000} if options.quick else {"speed": 5_000, "memory": 100_000}
    if options.child:
        return {"speed": speed, "memory": memory}[options.child](options.folder, sizes[options.child])
    about = environment.about()
    records: dict[str, list[dict[str, Any]]] = {}
    for name in sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            command = [sys.executable, "-m", "benchmarks", "indexing", "--child", name, "--folder", folder]
            command += ["--quick"] if options.quick else []
            environ = {**os.environ, "ANNLAB_THREADS": "1"}
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as child:
                records[name] = []
                for line in child.stdout or ():
                    records[name].append(json.loads(line))
                    print(name, line, end="", flush=True)
            if child.returncode:
                return child.returncode
            if options.out:
                report.write_named_records(options.out, about, records)
    return 0


def speed(folder: Path, n: int) -> int:
    """Images a second with the packaged encoder, and CPU milliseconds of an image by stage."""
    from PIL import Image

    encoder = load_encoder("fashion-mnist")
    for name, some in (("warm", fashion_mnist()[0][-1200:]), ("photos", fashion_mnist()[0][:n])):
        photos = folder / name / "photos"
        photos.mkdir(parents=True)
        for number, picture in enumerate(some):
            Image.fromarray(picture).save(photos / f"{number:05}.png")
        record = _speed(photos, encoder, len(some))  # the first time it compiles kernels, and does not count
    print(json.dumps(record), flush=True)
    return 0


def _speed(photos: Path, encoder: Encoder, n: int) -> dict[str, Any]:
    folder = photos.parent
    with Catalog.open(folder / "c.db") as catalog, _index(catalog, folder, encoder.dim) as index:
        clocks = [time.process_time(), time.perf_counter()]
        discover(catalog, index, photos)
        discovered = time.process_time() - clocks[0]
        indexer, spent = Indexer(catalog, index, encoder), dict.fromkeys(STAGES, 0.0)
        for stage in STAGES:
            setattr(indexer, stage, _timed(getattr(indexer, stage), stage, spent))
        indexer.run()
        cpu, wall = time.process_time() - clocks[0], time.perf_counter() - clocks[1]
    record = {"images": n, "images/s of CPU": round(n / cpu, 1), "images/s of wall time": round(n / wall, 1),
              "discover ms": round(1e3 * discovered / n, 3)}  # fmt: skip
    stages = {f"{label} ms": round(1e3 * spent[stage] / n, 3) for stage, label in STAGES.items()}
    return record | stages


def memory(folder: Path, n: int) -> int:
    """Resident memory at every tenth of n images."""
    photos, rng, encoder = folder / "photos", np.random.default_rng(0), MeanEncoder()
    for start in range(0, n, 1000):
        (photos / f"{start:06}").mkdir(parents=True)
        for number, pixels in enumerate(rng.integers(0, 256, (min(1000, n - start), 256), np.uint8)):
            (photos / f"{start:06}" / f"{number:03}.pgm").write_bytes(b"P5 16 16 255\n" + pixels.tobytes())
    with Catalog.open(folder / "c.db") as catalog, _index(catalog, folder, encoder.dim) as index:
        discover(catalog, index, photos)
        indexer: Any = Indexer(catalog, index, encoder)  # type: ignore[arg-type]
        due, began, first = n // 10, time.process_time(), 0

        def progress(what: str, done: int, total: int) -> None:
            nonlocal due, first
            if done >= due:
                due += n // 10
                resident = _resident()
                first = first or resident
                record = {"images": done, "resident MiB": round(resident / 2**20, 1),
                          "growth MiB": round((resident - first) / 2**20, 1),
                          "index MiB": round(index.memory()["total"] / 2**20, 1),
                          "CPU s": round(time.process_time() - began, 1)}  # fmt: skip
                print(json.dumps(record), flush=True)

        indexer.run(progress=progress)
    return 0


def _index(catalog: Catalog, folder: Path, dim: int) -> Any:
    return catalog.index(ExactIndex(metric="cosine", dim=dim), folder / "c.index")


def _timed(method: Any, name: str, spent: dict[str, float]) -> Any:
    def run(*arguments: Any) -> Any:
        began = time.process_time()
        try:
            return method(*arguments)
        finally:
            spent[name] += time.process_time() - began

    return run


def _resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
