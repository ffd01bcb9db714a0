"""Every test that asks for `entry` runs for each index of the list, and for each of its metrics if it asks for one.

With --full all run for all. In the quick run

- what is refused or converted at the door runs for the first entry of each class: it is the same code for a class;
- whatever asks for a metric gets one of the entry's in turn, another one for each of its further parameters: so every
  entry is asked on all data sets, with all filters, and by all of its metrics, but not in every combination;
- files are damaged, and threads and processes meet, for one entry of each family: a family reads its arrays by the same
  code, and locks and doors are those of every index;
- of approximate indexes that differ in their codes alone, one is asked for its recall on data that change. What they
  find in data that stay is among the answers, for every entry.

A process on another SIMD path (`other_path.py`), which is begun with --full alone, is given all metrics.
"""

from pathlib import Path

import pytest

from tests.contract.indexes import ENTRIES

HERE = Path(__file__).parent
AT_THE_DOOR = ("test_errors", "test_inputs")
FIRST_OF_CLASS = list({entry.index_class: entry for entry in reversed(ENTRIES)}.values())
ONE_OF_FAMILY = ("ExactBytes", "LSHBuckets", "DividedTree", "IVFpq4", "Walkedsq8")
OF_A_FAMILY = ("test_damaged_and_forged_files", "test_threads")  # functions and modules
LONGEST = "test_batches_threads_and_single_queries_agree"  # where metrics hardly matter
DIFFER_IN_CODES = ("LSHPolytopes", "IVFsq8", "Walkedflat")  # from others whose recall is asked for


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = set(metafunc.fixturenames)
    if {"entry", "metric"} <= names:
        cases = [pytest.param(entry, metric, id=f"{entry}-{metric}") for entry in ENTRIES for metric in entry.metrics]
        metafunc.parametrize(("entry", "metric"), cases)
    elif "entry" in names:
        metafunc.parametrize("entry", [pytest.param(entry, id=str(entry)) for entry in ENTRIES])


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark as slow what the quick run leaves out."""
    callspec = getattr(item, "callspec", None)
    if item.path.parent != HERE or callspec is None:
        return
    if str(callspec.params.get("searched")) in DIFFER_IN_CODES:
        item.add_marker(pytest.mark.slow)
    if "entry" not in callspec.params:
        return
    entry, metric = callspec.params["entry"], callspec.params.get("metric")
    if item.config.pluginmanager.has_plugin("tests.contract.other_path") and item.originalname != LONGEST:
        return
    others = sum(index for name, index in callspec.indices.items() if name not in ("entry", "metric"))
    if (
        (item.path.stem in AT_THE_DOOR and entry not in FIRST_OF_CLASS)
        or metric not in (None, entry.metrics[(ENTRIES.index(entry) + others) % len(entry.metrics)])
        or (not {item.originalname, item.path.stem}.isdisjoint(OF_A_FAMILY) and str(entry) not in ONE_OF_FAMILY)
    ):
        item.add_marker(pytest.mark.slow)
