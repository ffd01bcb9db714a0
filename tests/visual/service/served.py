"""A small catalog that is served: thirty drawings, some of them private, and a key for everybody."""

import datetime
import io

import numpy as np
import pytest
from PIL import Image

from annlab import ExactIndex
from annlab.visual.catalog import Catalog
from annlab.visual.indexing import Indexer
from annlab.visual.people import find_user
from annlab.visual.search import VisualSearch
from tests.encoders.helpers import linear_encoder
from tests.visual.drawings import drawing

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")

NAMES = {"anna": "writer", "ben": "writer", "cleo": "reader", "root": "admin"}


class Served:
    """The application, its parts, and a client for everybody: `served.anna.get("/api/search?id=1")`."""

    def __init__(self, folder, **options):
        from starlette.testclient import TestClient

        from annlab.visual.service.app import create_app
        from annlab.visual.service.keys import add_key
        from annlab.visual.service.settings import Settings

        self.folder = folder
        self.encoder = linear_encoder(16)[0]
        self.catalog = Catalog.open(folder / "photos.db")
        self.index = self.catalog.index(ExactIndex(metric="cosine", dim=self.encoder.dim), folder / "photos.index")
        self.keys = {name: add_key(self.catalog, name, role) for name, role in NAMES.items()}
        self.users = {name: find_user(self.catalog, name) for name in NAMES}
        self.ids = self._fill()
        self.search = VisualSearch(self.catalog, self.index, self.encoder)
        self.settings = Settings(folder / "photos.uploads", **{"keys": True, **options})
        self.app = create_app(self.search, settings=self.settings)
        self.service = self.app.state.service
        self._client = TestClient(self.app, base_url="http://localhost", raise_server_exceptions=False)
        self._client.__enter__()
        for name in [*NAMES, "nobody"]:
            headers = {"Authorization": f"Bearer {self.keys[name]}"} if name in self.keys else {}
            setattr(self, name, TestClient(self.app, base_url="http://localhost", headers=headers,
                                           raise_server_exceptions=False))  # fmt: skip

    def _fill(self):
        """Images 1..30: of anna and ben in turn, every fifth private."""
        rng, rows = np.random.default_rng(0), []
        pictures = self.folder / "pictures"
        pictures.mkdir()
        for number in range(30):
            path = pictures / f"{number}.png"
            drawing(rng, 96).save(path)
            owner = self.users["anna" if number % 2 else "ben"]
            day = datetime.datetime(2026, 1, 1 + number, tzinfo=datetime.UTC)
            tags = ("odd" if number % 2 else "even", *(("secret",) if number % 5 == 0 else ()))
            rows.append({"path": str(path), "owner_id": owner, "private": number % 5 == 0, "tags": tags,
                         "uploaded_at": day})  # fmt: skip
        ids = self.catalog.add_images(rows)
        Indexer(self.catalog, self.index, self.encoder).run()
        return ids

    def private_of(self, name):
        """The ids of somebody's private images that are indexed."""
        return [
            i.id for i in self.catalog.find(owner_id=self.users[name], private=True, kind="image", status="indexed")
        ]

    def close(self):
        self._client.__exit__(None, None, None)
        self.index.close()
        self.catalog.close()


def png(image):
    """The bytes of a picture."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def upload(content, **fields):
    """What a client sends as a form with a picture."""
    return {
        "files": {"image": ("picture", content, "application/octet-stream")},
        **({"data": fields} if fields else {}),
    }


def new_drawing(seed, side=96):
    return drawing(np.random.default_rng(seed), side)


def opened(content):
    return Image.open(io.BytesIO(content))
