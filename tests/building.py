"""How a structure of an index is built, for tests that build or grow one by themselves."""

from annlab import Index
from annlab.core.structure import Building


def building_of(index: Index) -> Building:
    """As the index would, on one thread and without a word."""
    return Building(index._metric, index._params, 0, 1, lambda what, share: None, owned=True)
