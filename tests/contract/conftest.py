"""Every test that asks for `entry` runs for each index of the list, and for each of its metrics if it asks for one.

What is refused or converted at the door is the same code for every index of a class, so in the quick run the matrices
of errors and inputs run for the first entry of each class. Of the tests that take longest each entry is given one
metric there, in turn: writes and batches hardly know of metrics. With --full all run for all.
"""

import pytest

from tests.contract.indexes import ENTRIES

AT_THE_DOOR = ("test_errors", "test_inputs")
LONGEST = ("test_writes_in_any_order", "test_batches_threads_and_single_queries_agree")
FIRST_OF_CLASS = list({entry.index_class: entry for entry in reversed(ENTRIES)}.values())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = set(metafunc.fixturenames)
    at_the_door = metafunc.module.__name__.rpartition(".")[2] in AT_THE_DOOR

    def marks(entry, metric=None):
        in_turn = entry.metrics[ENTRIES.index(entry) % len(entry.metrics)]
        not_its_turn = metric not in (None, in_turn) and metafunc.function.__name__ in LONGEST
        return [pytest.mark.slow] if not_its_turn or (at_the_door and entry not in FIRST_OF_CLASS) else []

    if {"entry", "metric"} <= names:
        cases = [
            pytest.param(entry, metric, id=f"{entry}-{metric}", marks=marks(entry, metric))
            for entry in ENTRIES
            for metric in entry.metrics
        ]
        metafunc.parametrize(("entry", "metric"), cases)
    elif "entry" in names:
        metafunc.parametrize("entry", [pytest.param(entry, id=str(entry), marks=marks(entry)) for entry in ENTRIES])
