"""The figures and tables of the documentation are what the result files give."""

import html
import json
import re

import pytest

from benchmarks import choice, figures
from benchmarks.field import keeping
from benchmarks.figures import Line, Panel


@pytest.mark.parametrize("name", figures.FIGURES)
def test_no_figure_is_stale(name):
    drawn = (figures.FOLDER / f"{name}.svg").read_text()
    (said,) = re.findall(r"<dc:description>(.*?)</dc:description>", drawn)
    assert said == figures.fingerprint(figures.FIGURES[name]()), (
        f"docs/figures/{name}.svg is not what benchmarks/results give: run `python -m benchmarks figures` and commit it"
    )


@pytest.mark.parametrize("name", choice.TABLES)
def test_no_table_is_stale(name):
    assert (figures.TABLES / f"{name}.md").read_text() == choice.TABLES[name](), "run `python -m benchmarks figures`"


def test_the_headline_is_not_stale():
    page, content = figures.README.read_text(), json.loads(keeping.FILE.read_text())
    assert choice.with_headline(page, content) == page, "run `python -m benchmarks figures`"
    with pytest.raises(ValueError, match="marks"):
        choice.with_headline("a page", content)
    with pytest.raises(ValueError, match="no annlab ExactIndex on sift"):
        choice.headline(content | {"times": []})


def test_what_was_lost_is_not_stale():
    page, content = figures.README.read_text(), json.loads(keeping.FILE.read_text())
    assert keeping.with_lost(page, content) == page, "run `python -m benchmarks figures`"
    with pytest.raises(ValueError, match="marks"):
        keeping.with_lost("a page", content)


def test_the_page_of_the_field_is_of_its_results():
    page, content = keeping.PAGE.read_text(), json.loads(keeping.FILE.read_text())
    won = len(content["first"]) - len(keeping.lost(content["first"]))
    assert f"annlab is first, or tied with the first, in {won} of {len(content['first'])} regimes" in page
    assert all(f"<h2>{one['name']}</h2>" in page for one in content["sets"])
    assert all(html.escape(one["first"]) in page for one in content["first"])


def test_every_panel_names_one_cpu():
    for panels in figures.FIGURES.values():
        for panel in panels():
            assert panel.title.split("\n")[1] in figures.CPUS.values()
            assert all(line.places for line in panel.lines)


def test_the_fingerprint_follows_the_numbers():
    line = Line("a", ((0.9, 1.0), (0.95, 2.0)))
    other = Line("a", ((0.9, 1.0), (0.95, 2.1)))
    assert figures.fingerprint([Panel("t", "recall", (line,))]) != figures.fingerprint([Panel("t", "recall", (other,))])


def test_the_command_draws_figures_and_fills_tables(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    readme = tmp_path / "README.md"
    readme.write_text(figures.README.read_text())
    monkeypatch.setattr(figures, "FOLDER", tmp_path / "figures")
    monkeypatch.setattr(figures, "TABLES", tmp_path / "tables")
    monkeypatch.setattr(figures, "README", readme)
    monkeypatch.setattr(figures, "FIGURES", {"exact": figures.exact})
    from benchmarks.__main__ import main

    assert main(["figures"]) == 0
    assert "<svg" in (tmp_path / "figures" / "exact.svg").read_text()
    assert {path.stem for path in (tmp_path / "tables").iterdir()} == set(choice.TABLES)
