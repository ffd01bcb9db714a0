"""The house: which room may import from which, read from every import of the package.

Common knows nobody, scanning knows common, the core knows scanning, a family of algorithms knows the core but no other
family, and pages know the index and their family. So no import goes upward, and none goes round in a circle.
"""

import ast
import functools
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "annlab"
FAMILIES = ("trees", "hashing", "inverted", "graphs")
BLOCKS = ("distances", "kmeans", "quantizers")
"""Public building blocks in the root, beside the pages of indexes."""

PAGES = {
    "exact": "scan",
    "kdtree": "trees",
    "balltree": "trees",
    "lsh": "hashing",
    "ivf": "inverted",
    "vamana": "graphs",
}
FAMILY_MAY = ("common", "scan", "kernels", *BLOCKS, "core.structure", "core.column", "core.heldout", "core.calibration")
MAY: dict[str, tuple[str, ...]] = {
    "kernels": ("kernels",),
    "common": ("common",),
    "distances": ("common", "kernels"),
    "scan": ("common", "distances", "kernels", "scan"),
    "kmeans": ("common", "distances", "kernels", "scan"),
    "quantizers": ("common", "distances", "kernels", "scan", "kmeans"),
    "core": ("common", "distances", "kernels", "scan", "core"),
    **{family: (*FAMILY_MAY, family) for family in FAMILIES},
    "index": ("common", "distances", "kernels", "scan", "core"),
    **{page: ("common", "scan", "kernels", *BLOCKS, "core", "index", family) for page, family in PAGES.items()},
    "kinds": ("common", "core", "index", *PAGES),
    "encoders": ("encoders", "datasets", "evaluation", "common"),
    "evaluation": ("evaluation", "common"),
    "datasets": ("datasets", "common"),
    "explain": (
        "explain",
        "common",
        "kernels",
        "scan",
        "datasets",
        "core",
        "index",
        "kinds",
        *PAGES,
        *BLOCKS,
        *FAMILIES,
    ),
    "durable": ("durable", "common", "core", "index", "kinds"),
    "sharded": ("sharded", "common", "core", "index", "kinds", "durable", "exact", "kmeans"),
}
"""What a room may import: rooms and, with a dot, single modules. Other rooms may import all but those below."""

NOBODY_IMPORTS = {"demo": (), "course": ("cli", "course"), "visual": ("cli", "visual"), "cli": ()}
"""Rooms that nobody imports, but for those named."""

OF_STUDENTS = {"solution.py", "hidden.py", "stub.py"}
"""Files of an assignment, under the names that they have in a build."""


def modules() -> dict[str, Path]:
    """Every module of the package by its name within it; packages by their folder's."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = path
    return found


MODULES = modules()


@functools.cache
def imports_of(name: str) -> set[str]:
    """The modules of the package that one of them imports, wherever in it; names of the root itself as "annlab"."""
    found, path = set(), MODULES[name]
    package = ["annlab", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "annlab":
                inner = name.partition(".")[2]
                while inner and inner not in MODULES:
                    inner = inner.rpartition(".")[0]
                found.add(inner or "annlab")
    return found


def allowed(importer: str, imported: str) -> bool:
    room, other = importer.split(".")[0], imported.split(".")[0]
    for rooms in NOBODY_IMPORTS:
        if other == rooms and room != rooms:
            return room in NOBODY_IMPORTS[rooms]
    may = MAY.get(room)
    if may is None or imported == "annlab":
        return True
    return any(imported == one or imported.startswith(one + ".") for one in may)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_import_goes_upward(name):
    wrong = sorted(other for other in imports_of(name) - {name} if not allowed(name, other))
    assert not wrong, f"annlab.{name} must not import {', '.join(wrong)}"


@pytest.mark.parametrize("name", sorted(name for name in MODULES if name.startswith("kernels.")))
def test_a_family_of_kernels_imports_no_other(name):
    family = name.split(".")[1] if name.count(".") > 1 else None
    folders = {other.split(".")[1] for other in imports_of(name) if other.count(".") > 1}
    wrong = folders - {"simd", family}
    assert not wrong, f"annlab.{name} must not import from {', '.join(sorted(wrong))}"


def test_no_import_goes_round_in_a_circle():
    state: dict[str, int] = {}

    def visit(name: str, way: tuple[str, ...]) -> None:
        if state.get(name) == 2:
            return
        assert state.get(name) != 1, f"a circle: {' -> '.join((*way[way.index(name) :], name))}"
        state[name] = 1
        for other in sorted(imports_of(name)):
            if other in MODULES and other != name:
                visit(other, (*way, name))
        state[name] = 2

    for name in MODULES:
        visit(name, ())


def test_every_file_that_is_named_is_there():
    """What a docstring or a comment of the package sends a reader to, by its path or, beside it, by its name."""
    there = {path.relative_to(PACKAGE.parent).as_posix() for path in PACKAGE.parent.glob("[a-z]*/**/*.py")}
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in set(re.findall(r"(?<![\w/.{-])(?:[a-z_]+/)*[a-z_]+\.py\b", path.read_text())) - OF_STUDENTS:
            if not any(f"/{one}".endswith(f"/{name}") for one in there):
                wrong.append(f"{path.relative_to(PACKAGE.parent)} names {name}")
    assert not wrong, "\n".join(wrong)


def test_the_root_holds_one_page_per_public_idea():
    pages = [path for path in PACKAGE.glob("*.py") if path.stem not in ("__init__",)]
    assert len(pages) <= 20, sorted(path.stem for path in pages)


def test_no_function_takes_more_parameters_than_a_reader_can_hold():
    most, found = 12, []
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                given = node.args
                every = (*given.posonlyargs, *given.args, *given.kwonlyargs)
                names = [each.arg for each in every if each.arg not in ("self", "cls")]
                if len(names) > most:
                    found.append(f"{name}.{node.name}: {len(names)}")
    assert not found, "\n".join(found)
