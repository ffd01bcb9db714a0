"""Attributes: one value per vector and name, for conditions in searches (`core/conditions.py`).

The values of an attribute are of one kind: bools, integers (int64), floats (float64) or strings. Any may be missing.

    values    (n,)  bool, int64 or float64; for strings int32, their places in `strings`
    missing   (n,)  bool, where bools or integers are missing; None where none is
    strings         every string once (core/strings.py)

A missing float is NaN, a missing string -1.

Where values meet, when rows are added or values exchanged, nothing is lost. New values become of the kind that is there
if all of them survive it: 9.0 among integers, 1 among bools. Otherwise integers become floats if all of *them* survive
that. Otherwise a ValueError names the first value that does not.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from annlab.core.column import Column
from annlab.core.strings import Strings

BOOL, INT, FLOAT, STRING = "bool", "int64", "float64", "string"
_IN_WORDS = {BOOL: "bools", INT: "integers", FLOAT: "floats", STRING: "strings"}
_KINDS = {"b": BOOL, "i": INT, "f": FLOAT}
_FIXES = {
    "M": 'pass dates.astype("datetime64[s]").astype(np.int64)',
    "m": 'pass times.astype("timedelta64[s]").astype(np.int64)',
    "S": "decode bytes to strings",
    "c": "pass real and imaginary parts as two attributes",
}
_MISSING_NAMES = ("NAType", "NaTType")  # of pandas, which need not be imported for this


class Attribute:
    """One attribute of some rows: see the head of the file. It never changes; `extended` makes the next one."""

    def __init__(self, values: Column, missing: Column | None = None, strings: Strings | None = None) -> None:
        """The columns are kept, not copied."""
        self.values, self._missing, self.strings = values, missing, strings

    @classmethod
    def of(cls, values: np.ndarray, missing: np.ndarray | None = None, strings: Strings | None = None) -> "Attribute":
        """From arrays, which are kept."""
        some = missing is not None and bool(missing.any())
        return cls(Column(values), Column(missing) if missing is not None and some else None, strings)

    @classmethod
    def all_missing(cls, n: int) -> "Attribute":
        """n rows without a value."""
        return cls.of(np.full(n, np.nan))

    @property
    def kind(self) -> str:
        """BOOL, INT, FLOAT or STRING."""
        return STRING if self.strings is not None else _KINDS[self.values.array.dtype.kind]

    @property
    def in_words(self) -> str:
        """What its values are, for messages."""
        return _IN_WORDS[self.kind]

    @property
    def missing(self) -> np.ndarray:
        """(n,) bool: where there is no value."""
        if self.strings is not None:
            return self.values.array < 0
        if self.kind == FLOAT:
            return np.isnan(self.values.array)
        return np.zeros(len(self), bool) if self._missing is None else self._missing.array

    def __len__(self) -> int:
        return len(self.values.array)

    def __getitem__(self, rows: Any) -> "Attribute":
        """The attribute of some rows: a slice, or an array of numbers."""
        missing = None if self._missing is None else self._missing.array[rows]
        return Attribute.of(self.values.array[rows], missing, self.strings)

    def value(self, row: int) -> Any:
        """The value of a row; None where it is missing."""
        if self.missing[row]:
            return None
        value = self.values.array[row].item()
        return value if self.strings is None else self.strings.texts[value]

    def array(self) -> np.ndarray:
        """The values as users know them: of dtype object, with None, where bools, integers or strings are missing."""
        values, missing = self.values.array, self.missing
        if self.strings is not None:
            texts = [*self.strings.texts, None]
            result = np.empty(len(values), object)
            result[:] = [texts[place] for place in values.tolist()]
            return result
        if self.kind == FLOAT or not missing.any():
            return values.copy()
        result = values.astype(object)
        result[missing] = None
        return result

    # ---- the next attribute

    def extended(self, name: str, more: "Attribute") -> "Attribute":
        """With `more` rows behind these; a ValueError if a value would not survive."""
        one, other = of_one_kind(name, self, more)
        missing = one._missing
        if missing is not None or other._missing is not None:
            missing = (missing or Column(one.missing)).extended(other.missing)
        return Attribute(one.values.extended(other.values.array), missing, one.strings)

    def replaced(self, name: str, rows: np.ndarray, new: "Attribute") -> "Attribute":
        """With other values in some rows; a ValueError if a value would not survive."""
        one, other = of_one_kind(name, self, new)
        values, missing = one.values.array.copy(), one.missing.copy()
        values[rows], missing[rows] = other.values.array, other.missing
        return Attribute.of(values, missing if one.kind in (BOOL, INT) else None, one.strings)

    def trimmed(self) -> "Attribute":
        """The same, without strings that no row has any more."""
        if self.strings is None:
            return self
        used = np.unique(self.values.array)
        used = used[used >= 0]
        if 2 * len(used) > len(self.strings.texts):
            return self
        places = np.full(len(self.strings.texts) + 1, -1, np.int32)
        places[used] = np.arange(len(used))
        return Attribute.of(places[self.values.array], None, Strings(self.strings.texts[i] for i in used.tolist()))

    def in_order(self) -> "Attribute":
        """The same with the strings that rows have, in the order of the first rows that have them.

        So attributes of equal values are equal arrays, whatever else their tables of strings have seen.
        """
        if self.strings is None:
            return self
        places, first, inverse = np.unique(self.values.array, return_index=True, return_inverse=True)
        order = np.argsort(first)
        order = order[places[order] >= 0]
        new = np.full(len(places), -1, np.int32)
        new[order] = np.arange(len(order))
        return Attribute.of(new[inverse], None, Strings(self.strings.texts[i] for i in places[order].tolist()))

    # ---- files

    def arrays(self) -> dict[str, np.ndarray]:
        """What is stored: "attribute" and, where they are needed, "missing", "strings" and "string_ends"."""
        arrays = {"attribute": self.values.array}
        if self._missing is not None:
            arrays["missing"] = self._missing.array
        return arrays if self.strings is None else arrays | self.strings.arrays()

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, np.ndarray], n: int) -> "Attribute":
        """The attribute of stored arrays; a ValueError if they do not fit together."""
        values, missing, strings = arrays["attribute"], arrays.get("missing"), None
        if values.shape != (n,) or str(values.dtype) not in (BOOL, INT, FLOAT, "int32"):
            raise ValueError(f"attribute {name!r} is {values.dtype} {values.shape} for {n} rows")
        if values.dtype == np.int32:
            strings = Strings.from_arrays(arrays["strings"], arrays["string_ends"])
            if len(values) and not -1 <= int(values.min()) <= int(values.max()) < len(strings.texts):
                raise ValueError(f"attribute {name!r} has strings {values.min()} to {values.max()}, "
                                 f"but there are {len(strings.texts)}")  # fmt: skip
        for array in (values, missing):
            if array is not None and array.dtype == bool and array.view(np.uint8).max(initial=0) > 1:
                raise ValueError(f"attribute {name!r} has bools that are neither true nor false")
        if missing is not None and (missing.dtype != bool or missing.shape != (n,) or values.dtype not in (bool, INT)):
            raise ValueError(f"attribute {name!r} is missing in {missing.dtype} {missing.shape} of {n} rows")
        if set(arrays) - {"attribute", "missing"} and strings is None:
            raise ValueError(f"attribute {name!r} has strings, but is {values.dtype}")
        return cls.of(values, missing, strings)


# ---- values of one kind


def of_one_kind(name: str, one: Attribute, other: Attribute) -> tuple[Attribute, Attribute]:
    """Two attributes that are to become one, the second with the strings of the first."""
    if one.strings is not None and other.strings is not None:
        if one.strings is other.strings:
            return one, other
        places = np.append(one.strings.places(other.strings.texts), np.int32(-1))
        return one, Attribute.of(places[other.values.array], None, one.strings)
    if one.kind == other.kind:
        return one, other
    if other.missing.all():
        return one, _without_values(one, len(other))
    if one.missing.all():
        return _without_values(other, len(one)), other
    converted = _converted(other, one.kind)
    if isinstance(converted, Attribute):
        return one, converted
    if (one.kind, other.kind) == (INT, FLOAT):
        wider = _converted(one, FLOAT)
        if isinstance(wider, Attribute):
            return wider, other
        raise ValueError(f"attribute {name!r} holds the integer {one.value(wider)}, which is no float64, so "
                         f"{other.value(converted)!r} cannot join it: round it, or use another name")  # fmt: skip
    value = other.value(converted)
    raise ValueError(f"attribute {name!r} holds {one.in_words}, and {value!r} ({type(value).__name__}) is not "
                     "exactly one: convert the values, or give them another name")  # fmt: skip


def _without_values(like: Attribute, n: int) -> Attribute:
    if like.kind == FLOAT:
        return Attribute.all_missing(n)
    if like.strings is not None:
        return Attribute.of(np.full(n, -1, np.int32), None, like.strings)
    return Attribute.of(np.zeros(n, like.values.array.dtype), np.ones(n, bool))


def _converted(attribute: Attribute, kind: str) -> "Attribute | int":
    """The same values in another kind, or the first row whose value would not be the same."""
    values, missing = attribute.values.array, attribute.missing
    if kind == STRING or attribute.kind == STRING:
        return int(np.argmin(missing))
    result: np.ndarray
    with np.errstate(invalid="ignore"):
        if kind == BOOL:
            result, same = values != 0, (values == 0) | (values == 1)
        elif kind == INT:
            low_enough = (values >= -(2.0**63)) & (values < 2.0**63) if attribute.kind == FLOAT else values == values
            result = np.where(low_enough & ~missing, values, 0).astype(np.int64)
            same = low_enough & (result == values)
        else:
            result = values.astype(np.float64)
            same = (result < 2.0**63) & (result.astype(np.int64) == values)
    lost = ~same & ~missing
    if lost.any():
        return int(np.argmax(lost))
    if kind == FLOAT:
        result[missing] = np.nan
        return Attribute.of(result)
    result[missing] = 0
    return Attribute.of(result, missing)


# ---- what users hand in


def as_columns(attributes: Mapping[str, Any], n: int) -> dict[str, Attribute]:
    """Attributes of n rows, checked; a TypeError or ValueError says what is wrong with which."""
    if not hasattr(attributes, "items"):
        raise TypeError(f"attributes are given by name, as {{'owner': values}}, not as {type(attributes).__name__}")
    columns = {}
    for name, values in attributes.items():
        if not isinstance(name, str):
            raise TypeError(f"an attribute is named by a string, not by {name!r}")
        columns[name] = as_attribute(name, values, n)
    return columns


def as_attribute(name: str, values: Any, n: int) -> Attribute:
    """The values of one attribute for n rows: an array, a list, a column of pandas or Arrow; None, NaN: missing."""
    if isinstance(values, Attribute):
        return values
    if isinstance(values, np.ma.MaskedArray):
        return _sized(name, values.tolist(), n)
    if hasattr(values, "to_pylist"):  # of Arrow, which would turn integers with nulls into floats
        return _sized(name, values.to_pylist(), n)
    if hasattr(values, "detach"):  # a torch tensor
        values = values.detach().cpu().numpy()
    if not hasattr(values, "__array__"):
        if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
            raise ValueError(f"attribute {name!r} is {values!r}, but needs one value for each of {n} vectors")
        return _sized(name, list(values), n)
    array = np.asarray(values)
    if array.shape != (n,):
        raise ValueError(f"attribute {name!r} has shape {array.shape} for {n} vectors: give one value each")
    if array.dtype.kind in "OTU":
        return _of_objects(name, array.tolist())
    if array.dtype.kind not in "biuf":
        fix = _FIXES.get(array.dtype.kind, "convert them")
        raise TypeError(f"attribute {name!r} is {array.dtype}; attributes are numbers, bools or strings: {fix}")
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise _too_large(name, int(array.max()))
    wanted = {"b": np.bool_, "f": np.float64}.get(array.dtype.kind, np.int64)
    result: np.ndarray = array.astype(wanted)
    if array.dtype.itemsize > 8 and not np.array_equal(result, array, equal_nan=True):
        raise ValueError(f"attribute {name!r} holds {array[result != array][0]!r}, which float64 does not hold exactly")
    return Attribute.of(result)


def _sized(name: str, objects: list[Any], n: int) -> Attribute:
    if len(objects) != n or any(isinstance(value, (list, tuple)) or np.ndim(value) > 0 for value in objects[:1]):
        shape = (len(objects), *np.shape(objects[0])) if objects else (0,)
        raise ValueError(f"attribute {name!r} has shape {shape} for {n} vectors: give one value each")
    return _of_objects(name, objects)


def _of_objects(name: str, objects: list[Any]) -> Attribute:
    """An attribute of Python's objects, each as exactly as it is."""
    objects = [value.item() if isinstance(value, np.generic) else value for value in objects]
    types = set(map(type, objects))
    missing = np.zeros(len(objects), bool)
    if not types <= {bool, int, str}:
        for i, value in enumerate(objects):
            missing[i] = value is None or type(value).__name__ in _MISSING_NAMES or (
                isinstance(value, float) and value != value)  # fmt: skip
            if not missing[i] and not isinstance(value, (bool, int, float, str)):
                raise TypeError(f"attribute {name!r} holds {value!r} ({type(value).__name__}); "
                                "attributes are numbers, bools or strings")  # fmt: skip
        types = {type(value) for value, gone in zip(objects, missing.tolist(), strict=True) if not gone}
    if missing.all():
        return Attribute.all_missing(len(objects))
    if any(issubclass(kind, str) for kind in types):
        return _of_strings(name, objects, missing)
    if types == {bool}:
        return Attribute.of(np.array([value is True for value in objects]), missing)
    return _of_numbers(name, objects, missing)


def _of_strings(name: str, objects: list[Any], missing: np.ndarray) -> Attribute:
    for value, gone in zip(objects, missing.tolist(), strict=True):
        if not gone and not isinstance(value, str):
            raise ValueError(f"attribute {name!r} holds strings, and {value!r} ({type(value).__name__}) is none: "
                             "convert the values, or give them another name")  # fmt: skip
    strings, places = Strings(), np.full(len(objects), -1, np.int32)
    places[~missing] = strings.places(value for value, gone in zip(objects, missing, strict=True) if not gone)
    return Attribute.of(places, None, strings)


def _of_numbers(name: str, objects: list[Any], missing: np.ndarray) -> Attribute:
    """Integers and floats, as floats if there is a fraction."""
    is_float = np.array([isinstance(value, float) for value in objects]) & ~missing
    ints, floats = np.zeros(len(objects), np.int64), np.full(len(objects), np.nan)
    for i, value in enumerate(objects):
        if missing[i]:
            continue
        if is_float[i]:
            floats[i] = value
        elif -(2**63) <= value < 2**63:
            ints[i] = value
        else:
            raise _too_large(name, value)
    whole = Attribute.of(ints, missing | is_float)
    if not is_float.any():
        return whole
    exact = _converted(whole, FLOAT)
    if isinstance(exact, Attribute):
        exact.values.array[is_float] = floats[is_float]
        return exact
    rest = _converted(Attribute.of(floats), INT)
    if isinstance(rest, Attribute):
        ints[is_float] = rest.values.array[is_float]
        return Attribute.of(ints, missing)
    raise ValueError(f"attribute {name!r} holds both {whole.value(exact)}, which is no float64, and "
                     f"{floats[rest]}, which is no integer")  # fmt: skip


def _too_large(name: str, value: int) -> ValueError:
    return ValueError(f"attribute {name!r} holds {value}, which int64 cannot represent: give strings, "
                      "or for unsigned numbers values.view(np.int64)")  # fmt: skip


def with_names(columns: dict[str, Attribute], given: Mapping[str, Attribute], n: int) -> dict[str, Attribute]:
    """The columns of n rows and those that are new in `given`, missing in all rows so far.

    Raises a ValueError unless rows come with all the attributes that the index has.
    """
    absent = [name for name in columns if name not in given]
    if absent:
        raise ValueError(f"attributes {sorted(given)} given, but the index has {sorted(columns)}: give {absent} too, "
                         "None where there is no value")  # fmt: skip
    return columns | {name: Attribute.all_missing(n) for name in given if name not in columns}


def criteria_values(criteria: Sequence[str], columns: Mapping[str, Attribute], rows: Any) -> np.ndarray:
    """The values (n, number of criteria) of some rows, as int64: floats by their bits, strings by their places."""
    absent = [name for name in criteria if name not in columns]
    if absent:
        raise ValueError(f"the criteria {absent} are no attributes of the vectors, which have {sorted(columns)}: "
                         "pass them in attributes=")  # fmt: skip
    values = [columns[name].values.array[rows] for name in criteria]
    return np.stack([v.view(np.int64) if v.dtype == np.float64 else v.astype(np.int64) for v in values], axis=1)
