"""Comparing attributes with a value, exactly: integers with floats, floats with large integers, strings with strings.

NumPy would turn both sides into float64, in which 2**60 and 2**60 + 1 are the same number. Here the value is turned
into one of the column's own kind that says the same: an integer is below 0.5 just if it is at most 0.

A missing value is equal to nothing, and neither smaller nor larger than anything: only `!=` is true of it.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from annlab.core.attributes import BOOL, FLOAT, STRING, Attribute
from annlab.core.strings import Strings

Value = bool | int | float | str
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_LOW, _HIGH = -(2**63), 2**63 - 1


def compared(name: str, attribute: Attribute, symbol: str, value: Value) -> np.ndarray:
    """The mask (n,) of the rows for which `attribute symbol value` holds."""
    if not _comparable(name, attribute, value):
        return np.full(len(attribute), symbol == "!=")
    if isinstance(value, str):
        mask = _with_string(attribute, symbol, value)
    elif attribute.kind == FLOAT:
        mask = _floats(attribute.values.array, symbol, value)
    else:
        mask = _integers(attribute.values.array, symbol, value)
    if attribute.kind == FLOAT:
        return mask  # NaN compares like this by itself
    return mask | attribute.missing if symbol == "!=" else mask & ~attribute.missing


def is_one_of(name: str, attribute: Attribute, values: tuple[Value, ...]) -> np.ndarray:
    """The mask (n,) of the rows whose value is one of some values."""
    own = [value for value in values if _comparable(name, attribute, value)]
    if attribute.strings is not None:
        wanted = np.array([attribute.strings.find(value) for value in own if isinstance(value, str)], np.int32)
        return np.isin(attribute.values.array, wanted)
    if attribute.kind == FLOAT:
        floats = [_as_float(value) for value in own if not isinstance(value, str)]
        return np.isin(attribute.values.array, np.array([value for value in floats if value is not None], np.float64))
    finite = [value for value in own if not isinstance(value, str) and (isinstance(value, int) or math.isfinite(value))]
    whole = [int(value) for value in finite if value == int(value) and _LOW <= value <= _HIGH]
    return np.isin(_as_int(attribute), np.array(whole, np.int64)) & ~attribute.missing


def _comparable(name: str, attribute: Attribute, value: Value) -> bool:
    """Whether a value is of a kind with an attribute; False where there is no value to compare with, else TypeError."""
    if isinstance(value, str) == (attribute.kind == STRING):
        return True
    if attribute.missing.all():
        return False
    raise TypeError(f"attribute {name!r} holds {attribute.in_words}; {value!r} is {type(value).__name__}: "
                    "compare it with a value of its kind")  # fmt: skip


def _as_int(attribute: Attribute) -> np.ndarray:
    values = attribute.values.array
    return values.view(np.int8) if attribute.kind == BOOL else values


def _as_float(value: float) -> float | None:
    """The same number as a float, if there is one; NaN is none."""
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if result == value else None


def _integers(values: np.ndarray, symbol: str, value: int | float) -> np.ndarray:
    """Bools or int64 against a number."""
    if not isinstance(value, int):
        if not math.isfinite(value):
            return np.full(len(values), OPERATORS[symbol](0.0, value))
        below = math.floor(value)
        if below != value:
            if symbol in ("==", "!="):
                return np.full(len(values), symbol == "!=")
            symbol, value = ("<=", below) if symbol in ("<", "<=") else (">=", below + 1)
        else:
            value = below
    if not _LOW <= value <= _HIGH:
        return np.full(len(values), OPERATORS[symbol](0, value))
    result: np.ndarray = OPERATORS[symbol](values, np.int64(value))
    return result


def _floats(values: np.ndarray, symbol: str, value: int | float) -> np.ndarray:
    """float64 against a number."""
    same = _as_float(value) if isinstance(value, int) else value
    if same is None:  # an integer between two floats
        if symbol in ("==", "!="):
            return np.full(len(values), symbol == "!=")
        below, above = _around(int(value))
        symbol, same = ("<=", below) if symbol in ("<", "<=") else (">=", above)
    result: np.ndarray = OPERATORS[symbol](values, np.float64(same))
    return result


def _around(value: int) -> tuple[float, float]:
    """The floats next to an integer that is none."""
    try:
        near = float(value)
    except OverflowError:
        largest = float(np.finfo(np.float64).max)
        return (largest, math.inf) if value > 0 else (-math.inf, -largest)
    return (near, math.nextafter(near, math.inf)) if near < value else (math.nextafter(near, -math.inf), near)


def _with_string(attribute: Attribute, symbol: str, value: str) -> np.ndarray:
    places, table = attribute.values.array, attribute.strings or Strings()
    if symbol in ("==", "!="):
        result: np.ndarray = OPERATORS[symbol](places, np.int32(table.find(value)))
        return result
    compare = OPERATORS[symbol]
    if len(places) < len(table.texts):  # few rows of many strings
        return np.array([place >= 0 and compare(table.texts[place], value) for place in places.tolist()], bool)
    return np.array([*(compare(text, value) for text in table.texts), False])[places]  # -1, missing, is the last
