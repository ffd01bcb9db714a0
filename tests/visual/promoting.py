"""A process that kills its children while they index, promote encoders and roll back, and looks at what is left.

    python -m tests.visual.promoting FOLDER KILLS SEED

Whatever the moment: exactly one encoder is current, its index holds a vector of it for every indexed image and nothing
else, and the encoder lies beside its index.
"""

import datetime
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

from annlab import ExactIndex
from annlab.visual import indexing, pair, promotion
from annlab.visual.catalog import Catalog, CatalogError
from annlab.visual.discovery import discover
from annlab.visual.indexing import Indexer
from tests.encoders.helpers import linear_encoder
from tests.visual.drawings import drawing

ENCODERS = {encoder.fingerprint: encoder for encoder in (linear_encoder(dim=4 + i, seed=i)[0] for i in range(3))}


def new_picture(folder, number):
    """One more file, moved to its place whole."""
    path = folder / "photos" / f"{number:04}.png"
    if not path.exists():
        drawing(np.random.default_rng(number), 40).save(folder / "other.png")
        (folder / "other.png").rename(path)


def index_new(catalog, folder):
    """What `annlab index` does."""
    place = folder / "photos.index"
    encoder = ENCODERS[(catalog.current_encoder() or {"fingerprint": next(iter(ENCODERS))})["fingerprint"]]
    empty = None if catalog.index_names() else ExactIndex(metric="cosine", dim=encoder.dim)
    with catalog.index(empty, place) as index:
        pair.keep_encoder(place, encoder)
        discover(catalog, index, folder / "photos")
        Indexer(catalog, index, encoder).run()


def child(folder, seed):
    """Work at random until the end comes."""
    rng = random.Random(seed)
    with Catalog.open(folder / "photos.db") as catalog:
        while True:
            what = rng.random()
            if what < 0.3:
                for number in range(rng.randrange(60)):
                    new_picture(folder, number)
                index_new(catalog, folder)
            else:
                try:
                    if what < 0.8:
                        encoder = rng.choice(list(ENCODERS.values()))
                        promotion.promote(catalog, folder / "photos.index", encoder, restart=rng.random() < 0.2)
                    else:
                        promotion.roll_back(catalog, folder / "photos.index")
                except CatalogError:
                    continue  # it is current already, or there is nothing to go back to


def check(folder):
    """What must hold at any moment; the current encoder's fingerprint, and how many images are indexed."""
    with Catalog.open(folder / "photos.db") as catalog:
        counts, current = catalog.counts(), catalog.current_encoder()
        assert counts.discovered == counts.indexed + counts.duplicate + counts.failed + counts.pending
        blamed = catalog.find(status="failed")  # the same image was in hand at kill after kill
        assert all("ended the process" in image.reason for image in blamed)
        if current is None:
            return None, 0
        encoder = pair.encoder_of(catalog, folder / "photos.index")
        assert encoder.fingerprint == current["fingerprint"]
        images = catalog.find(status="indexed")
        assert {image.encoder for image in images} <= {current["fingerprint"]}
        with catalog.index(None, folder / "photos.index") as index:
            assert index.dim == encoder.dim
            assert index.ids.tolist() == [image.id for image in images]
            if images:
                expected = ENCODERS[encoder.fingerprint].encode([image.path for image in images])
                np.testing.assert_allclose(index.vectors(), expected, atol=1e-6)
        return current["fingerprint"], counts.indexed


def main(folder, kills, seed):
    indexing.BLOCK = promotion.BLOCK = 4  # here, and not where this file is imported
    (folder / "photos").mkdir()
    for number in range(12):
        new_picture(folder, number)
    with Catalog.open(folder / "photos.db") as catalog:
        index_new(catalog, folder)
        began = time.perf_counter()
        promotion.promote(catalog, folder / "photos.index", list(ENCODERS.values())[1])
        moment = 2.5 * (time.perf_counter() - began)  # at random within it children are killed
    rng, seen = random.Random(seed), set()
    for round in range(4 * kills):
        if round >= kills and len(seen) > 1:  # more of them where the machine is too busy for children to promote
            break
        pid = os.fork()
        if pid == 0:
            child(folder, seed * 10007 + round)
            os._exit(1)
        time.sleep(rng.random() * moment)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), f"round {round}: the child ended by itself"
        seen.add(check(folder)[0])
    for days in (2, 4):  # the first run may be the one that blames an image; the second tries it once more
        later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        with Catalog.open(folder / "photos.db", clock=lambda later=later: later) as catalog:
            index_new(catalog, folder)
    with Catalog.open(folder / "photos.db") as catalog:
        taken = {row["fingerprint"] for row in catalog.encoders() if row["role"] in ("current", "previous")}
        other = next(encoder for encoder in ENCODERS.values() if encoder.fingerprint not in taken)
        promotion.promote(catalog, folder / "photos.index", other, restart=True)
    fingerprint, indexed = check(folder)
    assert fingerprint == other.fingerprint
    with Catalog.open(folder / "photos.db") as catalog:
        left = [(image.path, image.status, image.reason) for image in catalog.find() if image.status != "indexed"]
    assert indexed == len(list((folder / "photos").iterdir())), f"{indexed} indexed, not: {left}"
    assert len(seen) > 1, "children lived long enough to promote"
    print(f"{kills} kills, {indexed} images, {len(seen)} encoders")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
