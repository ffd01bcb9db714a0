"""The explorables: what they find is what annlab finds, they are up to date, and they can be used by everybody."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

from annlab.explain.pages import alike, data_of, pages, rendered
from tests.browser import chromium

FOLDER = Path(__file__).parents[2] / "docs" / "explore"
pytestmark = pytest.mark.xdist_group("explorables")  # made once for all, and shown by one browser
NAMES = ["kdtree", "balltree", "lsh", "ivf", "quantization", "graph"]


@pytest.fixture(scope="module")
def made():
    return {page.name: page for page in pages()}


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@contextlib.contextmanager
def opened(browser, name, **how):
    context = browser.new_context(**how)
    page, wrong, asked = context.new_page(), [], []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((FOLDER / f"{name}.html").as_uri())
    yield page
    assert not wrong
    shared = {(FOLDER / shared).as_uri() for shared in ("explore.css", "explore.js")}
    assert set(asked) - shared == {(FOLDER / f"{name}.html").as_uri()}  # the page, what all pages share, nothing else
    context.close()


def settings(page):
    """Values of the knobs to try: the smallest, the one to begin with, and a large one."""
    for share in (0.0, None, 0.6):
        values = {}
        for knob in page.data["knobs"]:
            steps = round((knob["max"] - knob["min"]) / knob["step"])
            chosen = knob["min"] + knob["step"] * round((share or 0) * steps)
            values[knob["name"]] = knob["value"] if share is None else round(chosen, 4)
        yield values


@pytest.mark.parametrize("name", NAMES)
def test_a_page_finds_what_annlab_finds(name, made, browser, full):
    page, along = made[name], np.linspace(20, 980, 9 if full else 5).round().astype(int).tolist()
    queries, n_missed = [(x, y) for x in along for y in along], 0
    true = {tuple(q): set(np.argsort(((page.points - q) ** 2).sum(axis=1), kind="stable")[:10]) for q in queries}
    with opened(browser, name) as tab:
        for values in settings(page):
            theirs = tab.evaluate("([queries, v]) => queries.map(q => explore.search(q, v).ids)", [queries, values])
            for query, ids in zip(queries, theirs):
                ours = page.search(np.array(query, np.float32), values).tolist()
                assert ids == ours, (query, values)
                n_missed += len(true[query] - set(ours))
    assert n_missed > 10 or name == "graph"


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_up_to_date_and_small(name, made):
    path = FOLDER / f"{name}.html"
    assert path.stat().st_size < 300_000
    (text, data), (wanted, now) = data_of(path.read_text("utf-8")), data_of(rendered(made[name]))
    assert text == wanted and alike(data, now), "stale: python -m annlab.explain.pages docs/explore"


def test_what_pages_share_needs_no_network():
    for name in ("explore.css", "explore.js"):
        text = (FOLDER / name).read_text("utf-8")
        assert not any(word in text for word in ("http://", "https://", "import ", "import(", "fetch(", "@import"))


def test_only_the_last_digits_may_differ():
    assert alike({"a": [1, 2.0]}, {"a": [1, 2.00001]})
    for other in ({"a": [1, 2.1]}, {"a": [2, 2.0]}, {"a": [1]}, {"b": [1, 2.0]}, {"a": 1}):
        assert not alike({"a": [1, 2.0]}, other)


@pytest.mark.parametrize("name", NAMES)
def test_a_query_is_moved_by_pointer_and_keyboard_and_knobs_find_what_was_missed(name, browser, made):
    with opened(browser, name, viewport={"width": 1200, "height": 900}) as tab:
        said, plane = tab.locator("#said"), tab.locator("#plane")
        before = said.text_content()
        assert f"Found {10 - len(made[name].told['missed'])} of the 10 nearest" in before
        box = plane.bounding_box()
        tab.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
        tab.mouse.down()
        tab.mouse.move(box["x"] + 0.42 * box["width"], box["y"] + 0.52 * box["height"])
        tab.mouse.up()
        assert tab.evaluate("query.map(v => Math.abs(v - [420, 480][query.indexOf(v)])).every(d => d < 6)")
        plane.focus()
        at = tab.evaluate("query")
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("Shift+ArrowUp")
        assert tab.evaluate("query") == [at[0] + 8, at[1] + 40]
        if made[name].told["missed"]:
            tab.reload()
            items = tab.locator("#missed li")
            assert items.count() == len(made[name].told["missed"])
            tab.wait_for_function(
                "[...document.querySelectorAll('#missed li')].every(l => /found/i.test(l.textContent))"
            )
            knob = made[name].data["knobs"][-1]
            needed = [
                float(word.split()[-1].rstrip(".")) for word in items.all_text_contents() if "is found with" in word
            ]
            for value in {max(needed)} if needed else ():
                search = made[name].search
                values = {k["name"]: k["value"] for k in made[name].data["knobs"]}
                query = np.array(made[name].data["query"], np.float32)
                missed = set(made[name].told["missed"])
                here = missed & set(search(query, values | {knob["name"]: value}).tolist())
                less = missed & set(search(query, values | {knob["name"]: value - knob["step"]}).tolist())
                assert len(here) > len(less)
            tab.locator("input[type=range]").last.focus()
            for _ in range(3):
                tab.keyboard.press("ArrowRight")
            assert said.text_content() != before


@pytest.mark.parametrize("name", ["lsh", "graph"])  # one template for all: that with most knobs, and the largest
def test_a_page_is_for_everybody(name, browser):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for how in ({"color_scheme": "dark"}, {"viewport": {"width": 375, "height": 740}, "color_scheme": "light"}):
        with opened(browser, name, **how) as tab:
            assert axe.run(tab).response["violations"] == []
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert tab.evaluate("new Set(pen.getImageData(0, 0, canvas.width, canvas.height).data).size") > 20  # drawn
            paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            assert paper == ("rgb(22, 24, 28)" if how["color_scheme"] == "dark" else "rgb(255, 255, 255)")


@pytest.mark.parametrize("name", NAMES)
def test_without_javascript_there_is_a_picture(name, browser):
    with opened(browser, name, java_script_enabled=False) as tab:
        assert tab.locator("figure svg circle").count() == 10
        assert tab.locator("figcaption").is_visible() and not tab.locator("#explore").is_visible()
