"""The parameters that both trees have, and their checks."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from annlab.common import validation

REFUSED_METRICS = {"ip": "a tree needs distances that obey the triangle inequality; use ExactIndex or IVFIndex"}

SEARCH_PARAMETERS: dict[str, Callable[[Any], Any]] = {
    "epsilon": lambda value: validation.as_number("epsilon", value, 0.0),
    "max_leaves": lambda value: 0 if value is None else validation.as_integer("max_leaves", value, 1, 2**40),
}


class TreeParameters:
    """The part of an index that both trees share: what they refuse, and the parameters of a search."""

    metrics: ClassVar[dict[str, str]] = REFUSED_METRICS
    search_parameters: ClassVar[dict[str, Callable[[Any], Any]]] = SEARCH_PARAMETERS


def checked(criteria: Sequence[str] | None, epsilon: float, max_leaves: int | None) -> dict[str, Any]:
    """The parameters as an index keeps them. Raises a ValueError or TypeError for one that is unusable."""
    SEARCH_PARAMETERS["max_leaves"](max_leaves)
    return {"criteria": _names(criteria), "epsilon": SEARCH_PARAMETERS["epsilon"](epsilon), "max_leaves": max_leaves}


def _names(criteria: Sequence[str] | None) -> list[str] | None:
    if criteria is None:
        return None
    if isinstance(criteria, str) or not all(isinstance(name, str) for name in criteria):
        raise TypeError(f"criteria are a list of names of attributes, such as ['gender'], not {criteria!r}")
    names = list(criteria)
    if len(set(names)) != len(names):
        raise ValueError(f"criteria {names} name an attribute twice")
    return names or None
