"""The notebooks: each is its source, executed without an error, and has the parts that every one has."""

import re
from pathlib import Path

import pytest

pytest.importorskip("jupytext", reason='the notebooks need pip install "annlab[docs]"')
import nbformat

from notebooks.running import FOLDER, SOURCES, as_notebook, execute

NAMES = [source.stem for source in SOURCES]
LARGEST = 400_000  # bytes: they are read on the web, and kept for ever


def source_of(name: str) -> Path:
    return FOLDER / f"{name}.py"


def written(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def test_every_notebook_has_its_source_and_a_line_in_the_table():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES
    listed = re.findall(r"\]\((\d\d_\w+)\.ipynb\)", (FOLDER / "README.md").read_text())
    assert listed == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_the_cells_of_its_source(name):
    def cells(notebook):
        return [(cell.id, cell.cell_type, cell.source) for cell in notebook.cells]

    assert cells(written(name)) == cells(as_notebook(source_of(name))), f"run: python3 run.py notebooks {name[:2]}"


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_was_run_from_top_to_bottom_and_is_small(name):
    code = [cell for cell in written(name).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert {output.output_type for cell in code for output in cell.outputs} <= {
        "display_data",
        "stream",
        "execute_result",
    }
    assert (FOLDER / f"{name}.ipynb").stat().st_size < LARGEST


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_asks_concludes_and_says_where_the_method_fails(name):
    notebook = written(name)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert "**Question.**" in prose and "## Where it fails" in prose and "## Exercises" in prose
    assert re.search(r"^guess = ", code, re.MULTILINE) and "verdict(guess, " in code
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    figures = sum("image/png" in output.get("data", {}) for output in shown)
    captions = sum("**Conclude.**" in output.get("data", {}).get("text/markdown", "") for output in shown)
    assert figures == captions >= 1


@pytest.mark.parametrize("name", NAMES)
def test_what_a_notebook_links_to_is_there(name):
    prose = "\n".join(cell.source for cell in written(name).cells if cell.cell_type == "markdown")
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", prose) if "://" not in target]
    assert any(target.startswith("../annlab/") for target in targets)
    assert not [target for target in targets if not (FOLDER / target).exists()]


@pytest.mark.slow
@pytest.mark.encoders
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(name):
    notebook = execute(source_of(name))
    written_cells = [cell for cell in written(name).cells if cell.cell_type == "code"]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [len(cell.outputs) > 0 for cell in code] == [len(cell.outputs) > 0 for cell in written_cells]
