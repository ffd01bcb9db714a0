"""The page in a real browser: Debian's chromium, driven by playwright, against a service in this process."""

import contextlib
import functools
import threading
import time

import pytest

from tests.browser import chromium
from tests.visual.service.served import Served


@contextlib.contextmanager
def serving(app, header_seconds=10.0):
    """The application behind a real server, in a thread; its address."""
    import uvicorn

    from annlab.visual.service.server import Impatient

    protocol = functools.partial(Impatient, header_seconds=header_seconds)
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=protocol, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < until and thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def browser():
    """Chromium; tests are skipped where it is not installed."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A catalog that is served to everybody on this machine."""
    served = Served(tmp_path_factory.mktemp("photos"), keys=False)
    served.service.warm_up()
    with serving(served.app) as address:
        served.address = address
        yield served
    served.close()


@pytest.fixture
def page(browser, photos):
    """An empty page of a desktop; nothing may go wrong in it unnoticed."""
    yield from opened(browser, photos.address, viewport={"width": 1280, "height": 900})


@pytest.fixture
def phone(browser, photos):
    """The same on a phone."""
    yield from opened(browser, photos.address, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)


def opened(browser, address, **options):
    context = browser.new_context(base_url=address, reduced_motion="reduce", **options)
    context.set_default_timeout(60_000)  # a kernel may have to be compiled meanwhile
    page = context.new_page()
    page.went_wrong = []
    page.on("pageerror", lambda error: page.went_wrong.append(str(error)))
    page.on("console", lambda said: page.went_wrong.append(said.text) if said.type == "error" else None)
    yield page
    context.close()
    assert page.went_wrong == []


def until(page, script, seconds=60):
    """Wait until a script says yes. Playwright's own `wait_for_function` evaluates strings, which the page forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(script):
        assert time.monotonic() < end, f"not within {seconds} s: {script}"
        time.sleep(0.02)
