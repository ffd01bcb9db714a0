"""Every example of the documentation does what it says: Python runs, commands are understood.

The Python blocks of a page run one after the other, in an empty folder. A block that cannot
run has a comment above it that says why: ``<!-- not run: downloads a model -->``.
"""

import inspect
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib

import pytest

import run
from annlab.cli import _parser
from benchmarks.__main__ import WITH_EXTRAS
from benchmarks.__main__ import main as benchmarks_main
from benchmarks.__main__ import parser as benchmarks_parser
from tests.docs.pages import PAGES, ROOT, blocks

ELSEWHERE = {
    "docs/service.md": "tests/visual/service/test_document.py",  # needs a service
    "docs/write-an-index.md": "tests/contract/test_toy_page.py",  # is the toy index, which the contract suite tests
}
NEEDS = {
    "docs/recipes/durable.md": ["sqlalchemy"],
    "docs/recipes/photos.md": ["onnxruntime"],
    "docs/recipes/langchain.md": ["langchain_core"],
    "docs/explain.md": ["matplotlib"],
}
SLOW = {"docs/choose.md", "docs/recipes/photos.md"}
LANGUAGES = {"python", "shell", "text", "toml", "json", "html", ""}  # without a name: what a terminal shows
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
OTHERS = {"cp", "git", ".", "cd"}  # commands of the system
PYTHON_PAGES = [page for page in PAGES if any(block.language == "python" for block in blocks(page))]


@pytest.mark.parametrize("page", [pytest.param(page, marks=[pytest.mark.slow] * (page in SLOW)) for page in PYTHON_PAGES
                                  if page not in ELSEWHERE])  # fmt: skip
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch, full):
    """In an empty folder, one block after the other; with --full as a reader runs them, in a process of their own."""
    for module in NEEDS.get(page, ()):
        pytest.importorskip(module)
    lines: list[str] = []
    for block in blocks(page):
        if block.language == "python" and not block.not_run:
            lines += [""] * (block.line - 1 - len(lines))  # so that a traceback names the line of the page
            lines += block.code.split("\n")
    (tmp_path / "page.py").write_text("\n".join(lines) + "\n")
    if not full:
        monkeypatch.chdir(tmp_path)
        runpy.run_path("page.py", run_name="__main__")
        return
    ran = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
                         capture_output=True, text=True, check=False, timeout=300)  # fmt: skip
    assert ran.returncode == 0, f"{page}:\n{ran.stderr[-3000:]}"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page):
    for block in blocks(page):
        known = block.language in LANGUAGES or block.language.startswith("{")
        assert known, f"{block.place}: a block is one of {sorted(LANGUAGES)} or a directive, not {block.language!r}"


def test_files_that_pages_name_are_there():
    named = re.compile(r"`((?:annlab|benchmarks|course|docs|notebooks|tests)/[\w/.-]+)`")
    found = [(page, path) for page in PAGES for path in named.findall((ROOT / page).read_text())]
    missing = [one for one in found if not (ROOT / one[1]).exists() and one[1] != "annlab/name.py"]  # the reader's own
    assert len(found) > 50 and not missing, missing


def test_pages_that_are_tested_elsewhere_are():
    for page, test in ELSEWHERE.items():
        assert page.rpartition("/")[2] in (ROOT / test).read_text(), page


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_are_understood(page, capsys):
    for block in blocks(page):
        if block.language in ("shell", ""):
            for line in block.code.replace("\\\n", " ").splitlines():
                if not block.language and not line.startswith(("annlab ", "python ", "python3 ", "pip ")):
                    continue
                words = shlex.split(line, comments=True)
                for command in " ".join(map(shlex.quote, words)).split(" '&&' "):
                    if command:
                        understood(shlex.split(command), f"{block.place}: {command}")


def understood(words: list[str], place: str) -> None:
    """Fail unless this command exists, with these options."""
    while "=" in words[0]:  # variables of the environment
        words = words[1:]
    program = words[0].rpartition("/")[2]
    if program == "annlab":
        parsed(_parser(), words[1:], place)
    elif program == "pip" or words[1:3] == ["-m", "pip"]:
        for extra in re.findall(r"\[(.*?)\]", " ".join(words)):
            assert set(extra.split(",")) <= set(EXTRAS), f"{place}: no such extra"
    elif words[1:2] == ["run.py"]:
        assert words[2] in run.JOBS, f"{place}: run.py does one of {run.JOBS}"
    elif words[1:3] == ["-m", "benchmarks"]:
        own = words[3] in WITH_EXTRAS or f'"{words[3]}"' in inspect.getsource(benchmarks_main)
        if not own:  # commands with options of their own have parsers of their own
            parsed(benchmarks_parser(), words[3:], place)
    elif words[1:3] == ["-m", "pytest"]:
        for path in (word.split("::")[0] for word in words[3:] if "/" in word):
            assert (ROOT / path).exists(), f"{place}: there is no {path}"
    else:
        assert program in OTHERS or program in ("sphinx", "pre-commit") or words[1:3] == ["-m", "sphinx"], (
            f"{place}: an unknown command; make the block text, or teach this test"
        )


def parsed(parser, words: list[str], place: str) -> None:
    try:
        parser.parse_args(words)
    except SystemExit as ended:
        assert ended.code == 0, f"{place}: not understood"


@pytest.mark.parametrize("words", [["annlab", "indx", "x"], ["python3", "run.py", "dmeo"], ["pip", "install", "a[b]"],
                                   ["python", "-m", "benchmarks", "exakt"], ["rm", "-rf", "x"]])  # fmt: skip
def test_wrong_commands_are_found(words, capsys):
    with pytest.raises(AssertionError, match="here"):
        understood(words, "here")
