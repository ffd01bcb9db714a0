"""What checks of answers are made of: the door, comparing, and seals.

The door (`number`, `whole`, `array`, `rows`, `call`) turns whatever a student hands in into what the check expects, or
says what is wrong with it as a `Mistake`. `expect` and `expect_close` compare, and name the mistake where the answer
is one that a known mistake gives.

A *seal* is for an answer that takes too long to compute again: the salted hash of the rounded number. It keeps the
number from being read by accident, and no more: whoever wants to can try all numbers of few digits.
"""

from __future__ import annotations

import copy
import hashlib
import math
import operator
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from annlab.course.registry import Mistake

_ROUNDS = 50_000  # of the hash: some hundredths of a second a guess


def expect(holds: Any, otherwise: str) -> None:
    """Raise `Mistake(otherwise)` unless it holds."""
    if not holds:
        raise Mistake(otherwise)


def number(answer: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number from low to high."""
    try:
        value = float(np.asarray(answer).reshape(()))
    except (TypeError, ValueError):
        raise Mistake(f"A number is asked for, and this is {_kind(answer)}.") from None
    expect(math.isfinite(value), f"A finite number is asked for, and this is {value}: was something divided by 0?")
    expect(low <= value <= high, f"{value:g} cannot be: it must be from {low:g} to {high:g}.")
    return value


def whole(answer: Any, low: float = -math.inf, high: float = math.inf) -> int:
    """A whole number from low to high."""
    value = number(answer, low, high)
    expect(value == round(value), f"A whole number is asked for, and this is {value:g}.")
    return round(value)


def array(answer: Any, shape: tuple[int | None, ...], kind: str = "iuf") -> np.ndarray:
    """An array of this shape (None: any length) whose dtype is of this kind: "iu" whole numbers, "b" bool."""
    try:
        value = np.asarray(answer)
    except ValueError:
        raise Mistake("An array is asked for, and these rows have different lengths.") from None
    wanted = f"({', '.join('any' if length is None else str(length) for length in shape)})"
    fits = value.ndim == len(shape) and all(b is None or a == b for a, b in zip(value.shape, shape, strict=False))
    if not fits and value.ndim == 2 and all(b is None or a == b for a, b in zip(value.T.shape, shape, strict=False)):
        raise Mistake(f"The axes are the wrong way round: the shape is {value.shape}, and {wanted} is asked for.")
    expect(fits, f"An array of shape {wanted} is asked for, and this is {_kind(answer)}.")
    numbers = "whole numbers" if kind == "iu" else "True and False" if kind == "b" else "numbers"
    expect(value.dtype.kind in kind, f"{numbers[0].upper()}{numbers[1:]} are asked for, and these are {value.dtype}.")
    expect(value.dtype.kind != "f" or not np.isnan(value).any(), "There is a NaN in it: was something divided by 0?")
    return value


def rows(answer: Any, k: int, n: int) -> np.ndarray:
    """k different row numbers of n rows."""
    value = array(answer, (k,), "iu")
    outside = value[(value < 0) | (value >= n)]
    expect(not len(outside), f"Rows are numbered 0 to {n - 1}, and there is {outside[0] if len(outside) else ''}.")
    twice = [row for row in value.tolist() if (value == row).sum() > 1]
    expect(not twice, f"Row {twice[0] if twice else ''} is there twice.")
    return value


def call(function: Any, *arguments: Any) -> Any:
    """What a student's function returns, given copies of the arguments; what it raises becomes a mistake."""
    expect(callable(function), f"A function is asked for, and this is {_kind(function)}.")
    own = copy.deepcopy(arguments)
    name = getattr(function, "__name__", "the function")
    try:
        result = function(*own)
    except NotImplementedError:
        raise Mistake(f"{name} is not written yet.") from None
    except Exception as error:
        raise Mistake(f"{name} raised {in_words(error, of_code(function))}") from error
    for given, before in zip(own, arguments, strict=True):
        if isinstance(given, np.ndarray):
            same = np.array_equal(given, before, equal_nan=given.dtype.kind == "f")
            expect(same, f"{name} changed an array that it was given; work on a copy.")
    expect(result is not None, f"{name} returned nothing: is there a return?")
    return result


def of_code(function: Any) -> str:
    """The file that a function was written in; "" where that cannot be told."""
    return str(getattr(getattr(function, "__code__", None), "co_filename", ""))


def in_words(error: BaseException, file: str) -> str:
    """An error, and the line of this file in which it arose, or the last line of all."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if frame.filename == file), frames[-1] if frames else None)
    if isinstance(error, SyntaxError) and error.filename == file:
        return f"{type(error).__name__}: {error.msg} (line {error.lineno}: {(error.text or '').strip()})"
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{text} (line {frame.lineno}: {frame.line})" if frame is not None and frame.line else text


def expect_close(given: Any, right: Any, otherwise: str, mistakes: Iterable[tuple[Any, str]] = (), *,
                 rtol: float = 1e-6, atol: float = 1e-9) -> None:  # fmt: skip
    """Compare numbers or arrays with what is right; where they are what a known mistake gives, raise its message."""

    def same(other: Any) -> bool:
        return np.shape(given) == np.shape(other) and bool(np.allclose(given, other, rtol=rtol, atol=atol))

    if same(right):
        return
    for wrong, message in mistakes:
        expect(not same(wrong), message)
    raise Mistake(otherwise)


def seal(name: str, value: float, places: int) -> str:
    """The seal of an exercise's answer, rounded to so many decimal places: `python -m annlab.course seal` prints it."""
    return _hash(name, round(value * 10**places))


def opens(sealed: str, name: str, value: float, places: int) -> bool:
    """Whether the value is less than one unit of the last place away from what was sealed."""
    scaled = value * 10**places
    return any(_hash(name, unit) == sealed for unit in {math.floor(scaled), math.ceil(scaled)})


def _hash(name: str, units: int) -> str:
    return hashlib.pbkdf2_hmac("sha256", str(operator.index(units)).encode(), name.encode(), _ROUNDS).hex()[:32]


def _kind(value: Any) -> str:
    """What something is, in a few words."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} with shape {value.shape}"
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, Callable):  # type: ignore[arg-type]
        return f"the function {getattr(value, '__name__', '')}".strip()
    return f"{type(value).__name__} ({str(value)[:40]!r})"
