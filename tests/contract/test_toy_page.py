"""docs/write-an-index.md shows the toy index as it is."""

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_the_page_shows_the_toy_as_it_is():
    page = (HERE.parents[1] / "docs" / "write-an-index.md").read_text()
    shown = [line for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    code = (HERE / "toy.py").read_text().split('"""', 2)[2].splitlines()  # its first docstring aside
    assert [line for line in shown if line] == [line for line in code if line]
