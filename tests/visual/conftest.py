import datetime

import pytest

from annlab.visual.catalog import Catalog
from tests.visual.helpers import Clock


@pytest.fixture
def catalog(tmp_path):
    """An empty catalog in SQLite that knows one encoder, and a clock that stands at noon."""
    clock = Clock(datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC))
    with Catalog.open(tmp_path / "catalog.db", clock=clock) as catalog:
        catalog.clock = clock
        catalog.add_encoder("enc", "test", 3)
        yield catalog
