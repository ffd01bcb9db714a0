import datetime

import pytest

from annlab.visual.catalog import Catalog
from tests.postgres import new_database
from tests.postgres import postgres as postgres  # a fixture
from tests.visual.helpers import Clock


@pytest.fixture
def catalog(address):
    """An empty catalog that knows one encoder, and whose clock stands at noon: in SQLite, and in the long run on a
    PostgreSQL server too."""
    clock = Clock(datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC))
    with Catalog.open(address, clock=clock) as catalog:
        catalog.clock, catalog.address = clock, address
        catalog.add_encoder("enc", "test", 3)
        yield catalog


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def address(request, tmp_path):
    """Of a database that does not exist yet, or is empty."""
    if request.param == "sqlite":
        return tmp_path / "catalog.db"
    return new_database(request.getfixturevalue("postgres"))
