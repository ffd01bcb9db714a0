"""The pictures of the page in docs/, taken of the packaged pictures when somebody asks for them:

ANNLAB_SCREENSHOTS=docs python -m pytest tests/visual/page/test_screenshots.py --full
"""

import os
from pathlib import Path

import pytest

from tests.visual.page.conftest import opened, serving, until

FOLDER = os.environ.get("ANNLAB_SCREENSHOTS")
SHOWN = {
    "page.png": ("light", 1280, 800, "/?text=cat"),
    "page-dark.png": ("dark", 1280, 800, "/?id=120"),
    "page-phone.png": ("light", 390, 844, "/?id=120"),
}


@pytest.mark.slow
@pytest.mark.skipif(not FOLDER, reason="ANNLAB_SCREENSHOTS names no folder")
def test_screenshots_are_taken(browser, tmp_path):
    from annlab.visual.packaged import packaged_catalog
    from annlab.visual.search import VisualSearch
    from annlab.visual.service.app import create_app
    from annlab.visual.service.settings import Settings

    with VisualSearch.open(str(packaged_catalog(tmp_path / "emoji"))) as search:
        app = create_app(search, settings=Settings(tmp_path / "uploads"))
        app.state.service.warm_up()
        with serving(app) as address:
            for name, (scheme, width, height, path) in SHOWN.items():
                view = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
                for page in opened(browser, address, **view):
                    page.goto(path)
                    until(page, "document.querySelectorAll('#grid img').length > 5")
                    page.wait_for_load_state("networkidle")
                    page.screenshot(path=Path(FOLDER) / name)
        app.state.service.close()
    assert all((Path(FOLDER) / name).stat().st_size > 10_000 for name in SHOWN)
