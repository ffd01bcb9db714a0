"""The pages of the documentation, and the fenced blocks in them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md",
                 *(ROOT / "docs").rglob("*.md"))
)  # fmt: skip
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its code, where it begins, and the reason why it is not run, if it is not."""

    page: str
    line: int
    language: str
    code: str
    not_run: str | None

    @property
    def place(self) -> str:
        return f"{self.page}, line {self.line}"


def blocks(page: str) -> list[Block]:
    """All blocks of a page that begin and end with three backticks."""
    found: list[Block] = []
    lines = (ROOT / page).read_text().splitlines()
    begin: int | None = None
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("```"):
            continue
        if begin is None:
            begin = number
            continue
        indent = len(lines[begin]) - len(lines[begin].lstrip())
        reason = NOT_RUN.search(lines[begin - 1]) if begin else None
        code = "\n".join(each[indent:] for each in lines[begin + 1 : number])
        language = lines[begin].strip().strip("`").strip()
        found.append(Block(page, begin + 2, language, code + "\n", reason[1] if reason else None))
        begin = None
    if begin is not None:
        raise ValueError(f"{page}, line {begin + 1}: a block that does not end")
    return found
