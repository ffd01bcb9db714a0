"""The site builds without a warning, every page can be reached, every link leads somewhere, and it can be searched."""

import html.parser
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

import annlab
from annlab import evaluation
from annlab.visual.search import __all__ as VISUAL
from tests.browser import chromium
from tests.docs.pages import PAGES, ROOT, blocks

pytest.importorskip("sphinx")


class Links(html.parser.HTMLParser):
    """The addresses and the anchors of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.anchors: set[str] = set()

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        self.targets |= {values[name] for name in ("href", "src") if values.get(name)}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site, and what its pages link to."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", "-d", str(out / "trees"), "."]
    built = subprocess.run([*command, str(out / "html")], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-5000:]
    pages = {}
    for path in (out / "html").rglob("*.html"):
        pages[path.resolve()] = links = Links()
        links.feed(path.read_text())
    return out / "html", pages


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_every_link_leads_somewhere(site):
    folder, pages = site
    wrong = []
    for path, links in pages.items():
        if "_modules" in path.parts or (ROOT / path.relative_to(folder.resolve())).exists():  # ready-made pages
            continue
        for target in links.targets:
            if re.match(r"[a-z]+:|//", target):
                continue
            name, _, anchor = target.partition("#")
            aim = (path.parent / unquote(name).partition("?")[0]).resolve() if name else path
            if not aim.exists() or (anchor and aim in pages and unquote(anchor) not in pages[aim].anchors):
                wrong.append(f"{path.name}: {target}")
    assert not wrong


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_every_page_can_be_reached(site):
    folder, pages = site
    start = (folder / "docs" / "index.html").resolve()
    reached, open_ = set(), [start]
    while open_:
        path = open_.pop()
        if path not in reached:
            reached.add(path)
            named = (target.partition("#")[0] for target in pages[path].targets if not re.match(r"[a-z]+:", target))
            open_ += [aim for name in named if (aim := (path.parent / unquote(name)).resolve()) in pages]
    assert "docs/index.html" in (folder / "index.html").read_text()
    for page in PAGES:
        built = (folder / page).with_suffix(".html").resolve()
        assert page == "README.md" or page.startswith("docs/tables/") or built in reached, page


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_every_public_name_is_in_the_reference(site):
    _, pages = site
    anchors = set().union(*(links.anchors for links in pages.values()))
    wanted = {f"annlab.{name}" for name in annlab.__all__ if name != "__version__"}
    wanted |= {f"annlab.evaluation.{name}" for name in evaluation.__all__}
    homes = ("search", "queries", "viewers")
    assert sorted(wanted - anchors) == []
    assert all(any(f"annlab.visual.{home}.{name}" in anchors for home in homes) for name in VISUAL)


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_it_is_searched_from_the_disk(site):
    """In a browser, without a server."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.goto((site[0] / "search.html").as_uri() + "?q=inverted")
        # Results come one after the other: this one must be among them.
        page.wait_for_selector('#search-results li a[href*="indexes/ivf.html"]', timeout=60_000)
        page.goto((site[0] / "docs" / "choose.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390  # wide tables scroll by themselves


def test_every_picture_is_small_and_has_a_caption_that_says_what_to_conclude():
    for page in PAGES:
        text = (ROOT / page).read_text()
        for block in blocks(page):
            if block.language.startswith("{figure}"):
                assert re.search(r"[Ww]hat to\s+conclude", block.code), block.place
                assert ":alt:" in block.code, block.place
        for name in re.findall(r"\{figure\} (\S+)|!\[[^]]*\]\(([^)]+)\)", text):
            path = (ROOT / page).parent / (name[0] or name[1])
            assert path.stat().st_size < 200_000, path


def test_what_is_left_out_of_the_wheel_is_in_the_archive_of_sources():
    included = (ROOT / "pyproject.toml").read_text().split("[tool.hatch.build.targets.sdist]")[1].split("]")[0]
    assert '"/docs"' in included and '"/notebooks"' in included
    assert not (Path(annlab.__file__).parent / "docs").exists()
