"""Conditions on attributes, built from columns with ordinary operators, for `where=` in searches.

>>> import annlab
>>> condition = (annlab.col("owner") == 7) & ~annlab.col("private") & annlab.col("brand").isin(["acme", "other"])
>>> condition
(((col('owner') == 7) & ~col('private')) & (col('brand') in ('acme', 'other')))

A missing value is like NaN: it is equal to nothing, and neither smaller nor larger than anything. So of all comparisons
only `!=` is true of it, and `~` turns each around: `~(col("owner") == 7)` is `col("owner") != 7`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from annlab.common import validation
from annlab.core.attributes import BOOL, Attribute
from annlab.core.comparisons import Value, compared, is_one_of


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
        return Condition((symbol, self.key, _as_value(value)))

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

    def isin(self, values: Iterable[Value]) -> Condition:
        """The attribute is one of the values, numbers compared exactly."""
        if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
            raise TypeError(f"isin takes a list of values, not {values!r}")
        if isinstance(values, np.ndarray):
            values = values.ravel().tolist() if values.dtype.kind in "biufUT" else values.ravel()
        return Condition(("in", self.key, tuple(map(_as_value, values))))

    def is_missing(self) -> Condition:
        """The attribute has no value."""
        return Condition(("missing", self.key))


def _as_value(value: Any) -> Value:
    """A value to compare with, as Python's own."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        raise TypeError("a missing value is asked for by is_missing(), not by None")
    if not isinstance(value, (bool, int, float, str)):
        raise TypeError(f"attributes are compared with numbers, bools or strings, not with {value!r}")
    return value


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
    if key[0] == "missing":
        return f"{_spell(key[1])}.is_missing()"
    if key[0] in ("&", "|"):
        return f"({_spell(key[1])} {key[0]} {_spell(key[2])})"
    return f"({_spell(key[1])} {key[0]} {key[2]!r})"


def evaluate(key: tuple[Any, ...], columns: Mapping[str, Attribute]) -> np.ndarray:
    """What a condition's key says of the rows of some columns: a mask (rows,)."""
    if key[0] == "col":
        attribute = _column(key[1], columns)
        if attribute.kind != BOOL:
            raise TypeError(f"attribute {key[1]!r} is {attribute.kind}, not bool: compare it with something")
        return attribute.values.array & ~attribute.missing
    if key[0] == "~":
        return ~evaluate(key[1], columns)
    if key[0] == "&":
        return evaluate(key[1], columns) & evaluate(key[2], columns)
    if key[0] == "|":
        return evaluate(key[1], columns) | evaluate(key[2], columns)
    name = key[1][1]
    attribute = _column(name, columns)
    if key[0] == "missing":
        return attribute.missing
    if key[0] == "in":
        return is_one_of(name, attribute, key[2])
    return compared(name, attribute, key[0], key[2])


def _column(name: str, columns: Mapping[str, Attribute]) -> Attribute:
    validation.unknown_names([name], columns, "the index's attributes:")
    return columns[name]
