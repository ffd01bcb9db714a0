"""A catalog of made vectors for the tests of searching: rows and vectors without files, and a small encoder."""

import datetime

import numpy as np

from annlab import ExactIndex
from annlab.visual.catalog import Catalog
from annlab.visual.search import VisualSearch
from tests.encoders.helpers import linear_encoder
from tests.visual.helpers import Clock

NOON = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


class Made:
    """A catalog whose images are vectors; `with Made(folder) as made: made.add(...); made.search.search(...)`."""

    def __init__(self, place, *, index=None, dim=5, sharding=None, **options):
        self.sharding = sharding
        self.encoder, self.weights = linear_encoder(dim)
        self.clock = Clock(NOON)
        self._place, self._index, self._options = place, index, options

    def __enter__(self):
        self.catalog = Catalog.open(self._place / "made.db", clock=self.clock)
        if self.sharding is not None:
            self.catalog.spread(**self.sharding)
        self.catalog.add_encoder(self.encoder.fingerprint, self.encoder.name, self.encoder.dim)
        empty = ExactIndex(metric="cosine", dim=self.encoder.dim) if self._index is None else self._index
        self.index = self.catalog.index(empty, self._place / "made.index")
        self.search = VisualSearch(self.catalog, self.index, self.encoder, **self._options)
        return self

    def __exit__(self, *_):
        self.search.close()
        self.index.close()
        self.catalog.close()

    def add(self, vectors, rows=None):
        """Images with these vectors, indexed; `rows` are other columns of each. Their ids."""
        rows = [{}] * len(vectors) if rows is None else rows
        with self.index.transaction() as writes:
            ids = self.catalog.add_images(rows, connection=writes.connection)
            self.catalog.mark_indexed(ids, self.encoder.fingerprint, connection=writes.connection)
            writes.add(np.asarray(vectors, np.float32), ids)
        return ids

    def copy_of(self, leader, **row):
        """An image that shows the same picture as another one; its id."""
        id = self.catalog.add_images([row])[0]
        self.catalog.mark_duplicate([id], leader)
        return id

    def remove(self, ids):
        with self.index.transaction() as writes:
            self.catalog.mark_deleted(ids, connection=writes.connection)
            writes.remove(ids, missing="ignore")


def directions(n, dim=5, seed=0):
    """(n, dim): random directions of length 1."""
    vectors = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def png(pixels):
    """The bytes of a picture."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
