"""Every test that asks for `entry` runs for each index of the list, and for each of its metrics if it asks for one."""

import pytest

from tests.contract.indexes import ENTRIES


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = set(metafunc.fixturenames)
    if {"entry", "metric"} <= names:
        cases = [pytest.param(entry, metric, id=f"{entry}-{metric}") for entry in ENTRIES for metric in entry.metrics]
        metafunc.parametrize(("entry", "metric"), cases)
    elif "entry" in names:
        metafunc.parametrize("entry", ENTRIES, ids=str)
