"""``python -m benchmarks privacy``: whether the time of an answer tells of what somebody hides.

    python -m benchmarks privacy [--rounds 400] [--images 5000] [--kind IVFIndex] [--pages]
                                 [--out benchmarks/results/privacy.json]

Each probe asks two questions in turn, in an order that is drawn every time: one where there is something hidden, and
one where there is nothing. What is compared is how likely the first takes longer than the second (one half: nothing is
to be seen), with its 95 % interval, and the medians. The questions go to the application in this process, without a
network, whose jitter would hide what a patient asker could average away.

    image, thumbnail, search     the id of somebody's hidden image, against one that was never given
    add                          a picture of which somebody hides a copy, against a new one
    own copy                     one's own picture of which somebody hides a copy, against one's own other picture: its
                                 row, and the search by it
    page                         a search among hidden pictures, against the same where as many are hidden elsewhere;
                                 and with the two catalogs in each other's place, for one may be slower by itself
    control                      the same question twice: what is left is noise
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from benchmarks import environment, report, serve

_NEAR = 300
"""Hidden pictures around one image, more than a search looks at."""


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write the records if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks privacy", description="what the time of answers tells")
    parser.add_argument("--rounds", type=int, default=400, help="of each probe (adding: a quarter)")
    parser.add_argument("--images", type=int, default=5000, help="in the catalog")
    parser.add_argument("--kind", choices=("IVFIndex", "ExactIndex"), default="IVFIndex", help="of index")
    parser.add_argument("--pages", action="store_true", help="only pages, and the control")
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    options = parser.parse_args(arguments)
    records = []
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        worlds = [World(Path(place) / name, options.images, around, options.kind, stack)
                  for name, around in (("here", 0), ("elsewhere", 1))]  # fmt: skip
        some = pages(worlds, options.rounds) + ([] if options.pages else probes(worlds[0], options.rounds))
        for what, first, second, rounds in some:
            records.append({"probe": what, **compared(*timed(first, second, rounds))})
            print(", ".join(f"{name} {value}" for name, value in records[-1].items()), flush=True)
    if options.out:
        report.write_records(options.out, environment.about(), records)
    return 0


class World:
    """A catalog behind the application; `_NEAR` pictures around one image are hidden, and anna asks."""

    def __init__(self, folder: Path, n: int, around: int, kind: str, stack: ExitStack) -> None:
        from starlette.testclient import TestClient

        from annlab.visual.attributes import attributes_of
        from annlab.visual.catalog import Catalog
        from annlab.visual.search import VisualSearch
        from annlab.visual.service.app import create_app
        from annlab.visual.service.keys import add_key
        from annlab.visual.service.settings import Settings

        folder.mkdir()
        self.ids = serve.make_catalog(folder, n, kind)
        self.pages = [f"/api/search?k=20&cutoff=0&id={self.ids[place * n // 3]}" for place in (0, 1)]
        path = folder / "photos.db"
        with Catalog.open(path) as catalog:
            keys = {name: add_key(catalog, name, "writer") for name in ("anna", "ben")}
            fingerprint = catalog.encoders()[0]["fingerprint"]
            owners = {image.owner_id for image in catalog.find(ids=self.ids[:50])}
            with catalog.index(None, folder / "photos.index") as index, index.transaction() as writes:
                rows = [{"owner_id": min(o for o in owners if o), "private": True}] * _NEAR
                moves = np.random.default_rng(1).standard_normal((_NEAR, index.dim)) * 0.02 / index.dim**0.5
                added = catalog.add_images(rows, connection=writes.connection)
                catalog.mark_indexed(added, fingerprint, connection=writes.connection)
                images = catalog.find(ids=added, connection=writes.connection)
                vectors = (index.vectors([self.ids[around * n // 3]]) + moves).astype(np.float32)
                writes.add(vectors, added, attributes=attributes_of(images))
        search = stack.enter_context(VisualSearch.open(str(path), encoder=serve.ENCODER))
        app = create_app(search, settings=Settings(folder / "uploads", keys=True, per_second=1e9, burst=1e9))
        stack.callback(app.state.service.close)
        app.state.service.warm_up()
        self.anna, self.ben = (TestClient(app, base_url="http://localhost", headers={"Authorization": f"Bearer {key}"})
                               for key in keys.values())  # fmt: skip
        self.hidden = [image.id for image in search.catalog.find(private=True)][:200]

    def ask(self, path: str) -> Callable[[], object]:
        """Anna's question."""
        return lambda: self.anna.get(path)

    def ask_any(self, path: str, ids: list[int], rng: np.random.Generator) -> Callable[[], object]:
        """Her question of one of some ids."""
        return lambda: self.anna.get(path.format(rng.choice(ids)))

    def add(self, who: Any, number: int, private: bool = False) -> Any:
        """Add the packaged picture of a number."""
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(serve.pictures()[-number]).save(buffer, "PNG")
        files, data = {"image": ("a.png", buffer.getvalue(), "image/png")}, {"private": str(private).lower()}
        answer = who.post("/api/images", files=files, data=data)
        answer.raise_for_status()
        return answer.json()["id"]


Probe = tuple[str, Callable[[], object], Callable[[], object], int]


def pages(worlds: list[World], rounds: int) -> list[Probe]:
    """Searches among what is hidden, in either catalog, and the control."""
    here, elsewhere = worlds
    first, second = here.pages
    return [("page among what is hidden", here.ask(first), elsewhere.ask(first), rounds),
            ("page, in the other catalog", elsewhere.ask(second), here.ask(second), rounds),
            ("control", here.ask(first), here.ask(first), rounds)]  # fmt: skip


def probes(here: World, rounds: int) -> list[Probe]:
    """All other questions: what they probe, the one with something hidden, the one without, and how often."""
    rng = np.random.default_rng(0)
    absent = max(here.ids) + 3000  # as many digits, and never given
    some: list[Probe] = []
    for what, path in (("image", "/api/images/{}"), ("thumbnail", "/api/images/{}/thumbnail"),
                       ("search", "/api/search?id={}")):  # fmt: skip
        some.append((f"{what} of a hidden id", here.ask_any(path, here.hidden, rng),
                     here.ask_any(path, list(range(absent, absent + 200)), rng), rounds))  # fmt: skip
    adding = rounds // 4
    for number in range(1, adding + 2):
        here.add(here.ben, 2 * number, private=True)
    copies, news = (iter(range(start, 4 * rounds, 2)) for start in (2, 3))
    own = here.add(here.anna, next(copies)), here.add(here.anna, next(news))
    some.append(("add a copy of what is hidden", lambda: here.add(here.anna, next(copies)),
                 lambda: here.add(here.anna, next(news)), adding))  # fmt: skip
    for what, path in (("row", "/api/images/{}"), ("search", "/api/search?k=20&cutoff=0&id={}")):
        some.append((f"{what} of one's own copy", here.ask(path.format(own[0])), here.ask(path.format(own[1])), rounds))
    return some


def timed(first: Callable[[], object], second: Callable[[], object], rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds of both (rounds,), asked in turn, in an order that is drawn."""
    rng, took = np.random.default_rng(1), np.empty((2, rounds))
    for number in range(-3, rounds):
        for which in rng.permutation(2):
            started = time.perf_counter()
            (first, second)[which]()
            took[which, max(0, number)] = 1000 * (time.perf_counter() - started)
    return took[0], took[1]


def compared(hidden: np.ndarray, nothing: np.ndarray) -> dict[str, Any]:
    """How likely the first takes longer, with the interval that pairs drawn anew give, and the medians."""
    n, rng = len(hidden), np.random.default_rng(2)

    def longer(a: np.ndarray, b: np.ndarray) -> float:
        ranks = rankdata(np.concatenate([a, b]))
        return float((ranks[: len(a)].sum() - len(a) * (len(a) + 1) / 2) / (len(a) * len(b)))

    drawn = [longer(hidden[pick], nothing[pick]) for pick in rng.integers(0, n, (400, n))]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"rounds": n, "longer": round(longer(hidden, nothing), 3), "low": round(float(low), 3),
            "high": round(float(high), 3), "hidden_ms": round(float(np.median(hidden)), 3),
            "nothing_ms": round(float(np.median(nothing)), 3)}  # fmt: skip
