import pytest

from tests.visual.service.served import Served


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A small catalog behind the application, shared by the tests of a file."""
    served = Served(tmp_path_factory.mktemp("served"))
    yield served
    served.close()


@pytest.fixture
def fresh(tmp_path):
    """One of its own, with whatever settings a test wants: `fresh(per_second=1)`."""
    made = []

    def make(**options):
        made.append(Served(tmp_path, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
