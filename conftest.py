"""Options of the test suite: a quick run by default, everything with ``--full``.

At the root, not in tests/, so that it also holds for the doctests of annlab/.
"""

import importlib.util
import os

import hypothesis
import pytest

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # for tests that ask by themselves whether ONNX Runtime is there

# Quick: a few examples, the same every time. Full: many, other ones every time; a failure prints how to repeat it.
hypothesis.settings.register_profile("quick", max_examples=20, derandomize=True, deadline=None)
hypothesis.settings.register_profile("full", max_examples=100, print_blob=True, deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the slow tests too, fuzz for longer, print durations")
    parser.addoption("--kills", type=int, metavar="N", help="how often each test of kills kills its children "
                     "(default: some ten, with --full 80; a kill takes about a second)")  # fmt: skip
    parser.addoption("--histories", type=int, metavar="N", help="how many simulated histories of a sharded index are "
                     "played (default: 100, with --full 200; 10,000 take some five minutes)")  # fmt: skip
    parser.addoption("--misses", type=int, default=60, metavar="N", help="how many misses of each index are explained "
                     "with --full (default: 60; 1000 take some minutes)")  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    full = config.getoption("--full")
    hypothesis.settings.load_profile("full" if full else "quick")
    if full and config.option.durations is None:
        config.option.durations = 15


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether this is the long run, for tests that do more of the same in it."""
    return bool(pytestconfig.getoption("--full"))


@pytest.fixture(scope="session")
def misses(pytestconfig: pytest.Config) -> int:
    """How many misses of each index are to be explained."""
    return int(pytestconfig.getoption("--misses"))


@pytest.fixture(scope="session")
def kills(pytestconfig: pytest.Config, full: bool) -> int | None:
    """How often children are to be killed; None where a quick run leaves it to the test."""
    given = pytestconfig.getoption("--kills")
    return int(given) if given is not None else 80 if full else None


@pytest.fixture(scope="session")
def histories(pytestconfig: pytest.Config, full: bool) -> int:
    """How many histories a simulation plays."""
    given = pytestconfig.getoption("--histories")
    return int(given) if given is not None else 200 if full else 100


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skips = {}
    if not config.getoption("--full"):
        skips["slow"] = pytest.mark.skip(reason="slow: runs with --full")
    if importlib.util.find_spec("torch") is None:
        skips["encoders"] = pytest.mark.skip(reason='torch is missing: pip install "annlab[encoders]"')
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is not None and "entry" in callspec.params:  # the tests of one index share its compiled kernels
            item.add_marker(pytest.mark.xdist_group(str(callspec.params["entry"])))
        for name, skip in skips.items():
            if item.get_closest_marker(name):
                item.add_marker(skip)
