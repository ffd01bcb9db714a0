"""Re-ranking: from the nearest pictures to what is shown, by small stages that each say what they did.

A *stage* is a function from ranked results to ranked results. It may drop some, put some under others, give some
another value, or change the order; for each candidate that it touched it notes what it did and why. Which stages there
are, in which order and with which settings, stands in one file (`ranking.toml` is the one that is used if nothing is
said, and explains all of them):

    [[stage]]
    name = "diversity"
    strength = 0.3

    stages = read_ranking(Path("ranking.toml"))
    ranked = rank(stages, ranked)

A candidate begins with its score, how likely it is relevant, as its value. Stages look at a *window* of candidates,
some times as many as a page shows: what they do to one depends on its neighbours in that window and on nothing else.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from annlab.common import validation
from annlab.visual.ranked import About, Candidate, Ranked, Stage
from annlab.visual.stages import STAGES

__all__ = ["About", "Candidate", "Ranked", "RankingError", "Stage", "rank", "read_ranking"]

LARGEST_FILE = 100_000  # bytes
PACKAGED = Path(__file__).with_name("ranking.toml")


class RankingError(ValueError):
    """A file of stages that cannot be used; the message names the stage and the fix."""


def rank(stages: Iterable[Stage], ranked: Ranked) -> Ranked:
    """The results after all stages."""
    for stage in stages:
        ranked = stage(ranked)
    return ranked


def read_ranking(path: Path | None = None) -> list[Stage]:
    """The stages of a file, in its order; those that are packaged if none is named.

    Raises
    ------
    RankingError
        The file is no TOML, or names a stage or a setting that there is not, or a value out of range.
    OSError
        It cannot be read.
    """
    place = PACKAGED if path is None else Path(path)
    if place.stat().st_size > LARGEST_FILE:
        raise RankingError(f"{place} has {place.stat().st_size} bytes; a ranking takes at most {LARGEST_FILE}")
    try:
        text = place.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RankingError(f"{place} is not TOML: {error}") from None
    return parse_ranking(text, place)


def parse_ranking(text: str, place: Path | str) -> list[Stage]:
    """The stages of the text of a file; errors name it by its place."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RankingError(f"{place} is not TOML: {error}") from None
    listed = content.pop("stage", [])
    if content:
        raise RankingError(f"{place}: {next(iter(content))!r} means nothing here; there are only [[stage]] tables")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise RankingError(f"{place}: stages are tables, each under [[stage]]")
    return [_made(number, dict(given), STAGES, place) for number, given in enumerate(listed, 1)]


def _made(number: int, given: dict[str, Any], known: Mapping[str, type[Any]], place: Path | str) -> Stage:
    name = given.pop("name", None)
    where = f"{place}, stage {number}"
    try:
        validation.as_choice("name", name, known)
        kind = known[str(name)]
        settings = {each.name: each.type for each in fields(kind)}
        validation.unknown_names(given, settings, f"stage {name!r}")
        for setting, value in given.items():
            given[setting] = _as_setting(setting, value, str(settings[setting]))
        stage: Stage = kind(**given)
    except (ValueError, TypeError) as error:
        raise RankingError(f"{where}: {error}") from None
    return stage


def _as_setting(name: str, value: Any, kind: str) -> Any:
    """A value from the file as a stage takes it."""
    if kind == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind.startswith("tuple[str") and isinstance(value, list) and all(isinstance(word, str) for word in value):
        return tuple(value)
    if kind.startswith("tuple[int") and isinstance(value, list) and all(type(number) is int for number in value):
        return tuple(value)
    if kind == "str" and isinstance(value, str):
        return value
    raise ValueError(f"{name} is of the kind {kind}, not {value!r}")
