"""Conditions on attributes, built from columns with ordinary operators, for `where=` in searches.

>>> import annlab
>>> condition = (annlab.col("owner") == 7) & ~annlab.col("private")
>>> condition
((col('owner') == 7) & ~col('private'))
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from annlab.common import validation

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, eq=False, repr=False)
class Condition:
    """A condition on attributes; combine with `&`, `|` and `~`. `key` is what it says, hashable."""

    key: tuple[Any, ...]

    def __and__(self, other: "Condition") -> "Condition":
        return Condition(("&", self.key, _key_of(other)))

    def __or__(self, other: "Condition") -> "Condition":
        return Condition(("|", self.key, _key_of(other)))

    def __invert__(self) -> "Condition":
        return Condition(("~", self.key))

    def __bool__(self) -> bool:
        raise TypeError("combine conditions with & | ~ and parentheses, not with and, or, not")

    def __repr__(self) -> str:
        return _spell(self.key)


class AttributeColumn(Condition):
    """An attribute, made by `col`: compare it, or use a bool attribute as a condition by itself."""

    __hash__ = None  # type: ignore[assignment]

    def _compared(self, symbol: str, value: Any) -> Condition:
        if isinstance(value, np.generic):
            value = value.item()
        if not isinstance(value, (bool, int, float)):
            raise TypeError(f"attributes are compared with numbers or bools, not with {value!r}")
        return Condition((symbol, self.key, value))

    def __eq__(self, value: Any) -> Condition:  # type: ignore[override]
        return self._compared("==", value)

    def __ne__(self, value: Any) -> Condition:  # type: ignore[override]
        return self._compared("!=", value)

    def __lt__(self, value: Any) -> Condition:
        return self._compared("<", value)

    def __le__(self, value: Any) -> Condition:
        return self._compared("<=", value)

    def __gt__(self, value: Any) -> Condition:
        return self._compared(">", value)

    def __ge__(self, value: Any) -> Condition:
        return self._compared(">=", value)

    def isin(self, values: Sequence[int | float | bool]) -> Condition:
        """The attribute is one of the values."""
        return Condition(("in", self.key, tuple(np.asarray(values).ravel().tolist())))


def col(name: str) -> AttributeColumn:
    """An attribute by its name, for `where=`.

    Examples
    --------
    >>> import annlab, numpy as np
    >>> index = annlab.ExactIndex().fit(np.eye(3), attributes={"owner": np.array([7, 8, 7])})
    >>> index.search(np.eye(3)[1], k=3, where=annlab.col("owner") == 7).ids.tolist()
    [0, 2, -1]
    """
    if not isinstance(name, str):
        raise TypeError(f"an attribute is named by a string, not by {name!r}")
    return AttributeColumn(("col", name))


def _key_of(condition: Any) -> tuple[Any, ...]:
    if not isinstance(condition, Condition):
        raise TypeError(f"conditions combine with conditions, not with {condition!r}; mind the parentheses around ==")
    return condition.key


def _spell(key: tuple[Any, ...]) -> str:
    if key[0] == "col":
        return f"col({key[1]!r})"
    if key[0] == "~":
        return f"~{_spell(key[1])}"
    if key[0] in ("&", "|"):
        return f"({_spell(key[1])} {key[0]} {_spell(key[2])})"
    return f"({_spell(key[1])} {key[0]} {key[2]!r})"


def evaluate(key: tuple[Any, ...], columns: dict[str, np.ndarray]) -> np.ndarray:
    """What a condition's key says of the rows of some columns: a mask (rows,)."""
    if key[0] == "col":
        values = _column(key[1], columns)
        if values.dtype != bool:
            raise TypeError(f"attribute {key[1]!r} is {values.dtype}, not bool: compare it with something")
        return values
    if key[0] == "~":
        return ~evaluate(key[1], columns)
    if key[0] == "&":
        return evaluate(key[1], columns) & evaluate(key[2], columns)
    if key[0] == "|":
        return evaluate(key[1], columns) | evaluate(key[2], columns)
    values = _column(key[1][1], columns)
    if key[0] == "in":
        return np.isin(values, key[2])
    result: np.ndarray = _OPERATORS[key[0]](values, key[2])
    return result


def _column(name: str, columns: dict[str, np.ndarray]) -> np.ndarray:
    validation.unknown_names([name], columns, "the index's attributes:")
    return columns[name]
