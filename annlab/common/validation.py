"""The door: everything a user hands in is checked here, once, before any kernel sees it.

Kernels have no bounds checks, so nothing unchecked may reach one. Errors name the numbers that clash and what to do.
"""

import difflib
import functools
import inspect
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from annlab.common import slices
from annlab.common.memory import copied

MAX_ROWS = 2**31 - 2**16  # kernels count rows in int32
_FEW = 4096  # values: more are not worth a second way, and BLAS might start threads
_SAFE_SQUARE = 1e38  # values of at most 1e19: squares, products and distances stay in range at any dimension
_SHORTEST = 1e-150  # of float64 rows for cosine: their squares still have all their digits
_ROWS_AT_ONCE = 65536


def as_array(values: Any, name: str) -> np.ndarray:
    """A NumPy array of whatever was given, without a copy where that is possible.

    A column of embeddings (rows that are arrays or lists of one length) becomes a matrix, bfloat16 and smaller floats
    become float32.
    """
    if hasattr(values, "toarray"):
        raise TypeError(f"{name} is a sparse matrix; annlab works on dense ones: pass {name}.toarray()")
    if hasattr(values, "__next__"):
        raise TypeError(f"{name} is an iterator ({type(values).__name__}), not a matrix; IVFIndex.fit takes blocks of "
                        "vectors, everything else an array: np.concatenate(list(blocks))")  # fmt: skip
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(f"{name} has masked values; fill them, or drop their rows: {name}.filled(0.0)")
    if hasattr(values, "detach"):
        return _of_tensor(values)
    if isinstance(values, (list, tuple)) and len(values) and hasattr(values[0], "detach"):
        values = [_of_tensor(value) if hasattr(value, "detach") else value for value in values]
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be a matrix whose rows all have the same length ({error})") from None
    if array.dtype == object and array.ndim and array.size == len(array) > 0:
        return _of_rows(array.reshape(-1), name)
    return _with_common_floats(array)


def _of_tensor(tensor: Any) -> np.ndarray:
    """The array of a torch tensor, wherever it lives; of a type that NumPy does not have (bfloat16), in float32."""
    tensor = tensor.detach().cpu()
    try:
        return np.asarray(tensor.numpy())
    except TypeError:
        return np.asarray(tensor.float().numpy())


def _with_common_floats(array: np.ndarray) -> np.ndarray:
    """bfloat16 and the floats of eight bits and less, which extend NumPy, as float32: they all fit."""
    if array.dtype.kind == "V" and array.dtype.name.startswith(("bfloat", "float")):
        return array.astype(np.float32)
    return array


def _of_rows(column: np.ndarray, name: str) -> np.ndarray:
    """A matrix from objects (n,) that are its rows; objects of other kinds are left as they are."""
    if isinstance(column[0], (str, bytes)) or np.ndim(column[0]) != 1:
        return column
    rows: list[np.ndarray] = []
    for i, value in enumerate(column):
        row = _of_tensor(value) if hasattr(value, "detach") else _with_common_floats(np.asarray(value))
        if row.ndim != 1 or len(row) != len(column[0]):
            raise ValueError(f"{name} must be a matrix whose rows all have the same length: row {i} has shape "
                             f"{row.shape}, row 0 has ({len(column[0])},); drop or repair it")  # fmt: skip
        rows.append(row)
    return np.stack(rows)


def as_vectors(
    vectors: Any,
    *,
    name: str = "vectors",
    dim: int | None = None,
    dtype: np.dtype[Any] | None = None,
    metric: str = "l2",
) -> np.ndarray:
    """A matrix that kernels may read: 2-d, float32 or float64, C-contiguous, writeable, finite; copied only if needed.

    float64 stays float64 and everything else becomes float32, unless `dtype` says which. Integers that float32 cannot
    hold are refused, and so are magnitudes whose distances by the metric the type cannot represent. An error names the
    first bad row.
    """
    if slices.is_sliced(vectors):

        def checked(part: Any, what: str) -> np.ndarray:
            return as_vectors(part, name=what, dim=dim, dtype=dtype, metric=metric)

        return slices.joined(vectors, checked)
    array = as_array(vectors, name)
    if array.dtype == object or array.dtype.kind not in "fiub":
        hint = ""
        if array.dtype == object and array.ndim == 1:
            hint = f"; a column of embeddings has an array for each row: np.stack({name})"
        raise TypeError(f"{name} must be numeric (float, integer or bool), not {array.dtype}{hint}")
    if array.ndim != 2:
        hint = f"; for a single row pass {name}.reshape(1, -1)" if array.ndim == 1 else ""
        raise ValueError(f"{name} must be 2-d, (rows, dimensions), but has shape {array.shape}{hint}")
    if array.shape[1] == 0:
        raise ValueError(f"{name} has shape {array.shape}: vectors need at least one dimension")
    if dim is not None and array.shape[1] != dim:
        fix = "; is it transposed?" if array.shape[0] == dim else ""
        raise ValueError(f"{name} has {array.shape[1]} dimensions, but the index has {dim}{fix}")
    if len(array) > MAX_ROWS:
        raise ValueError(f"{name} has {len(array)} rows; one index holds at most {MAX_ROWS}: use several")
    is_double = array.dtype.kind == "f" and array.dtype.itemsize >= 8  # in whatever byte order
    wanted = dtype or np.dtype(np.float64 if is_double else np.float32)
    if array.dtype.kind in "iu" and array.dtype.itemsize >= 4 and wanted == np.float32 and array.size:
        largest = max(abs(int(array.max())), abs(int(array.min())))
        if largest > 2**24:
            raise ValueError(
                f"{name} holds the integer {largest}, which float32 cannot represent (2**24 is the limit); "
                f"pass {name}.astype(np.float64)"
            )
    if array.dtype == wanted:  # equal only in this machine's byte order
        result = np.ascontiguousarray(array) if array.flags.c_contiguous else copied(array)
    else:
        with np.errstate(over="ignore", under="ignore"):
            result = copied(array, wanted.newbyteorder("="))
        if is_double and metric == "cosine":
            _check_directions(array, name, float(np.finfo(wanted).smallest_normal), str(wanted))
    if not result.flags.writeable:
        result = copied(result)
    _check_range(result, name, metric)
    return result


def _check_range(array: np.ndarray, name: str, metric: str) -> None:
    """Refuse NaN, infinities, and values whose distances would overflow; without a temporary of the array's size."""
    if not array.size:
        return
    if metric == "cosine" and array.dtype == np.float64:
        _check_directions(array, name, _SHORTEST, "float64")
    # A single query deserves the quicker way: no value is above the root of a finite sum of squares, and NaN spreads.
    if array.size <= _FEW and np.vdot(array, array) < _SAFE_SQUARE:
        return
    largest = max(float(array.max()), -float(array.min()))  # NaN if there is one
    limit, what = _limit(array, metric)
    if largest <= limit:
        return
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        value = array[row][~np.isfinite(array[row])][0]
        raise ValueError(
            f"{name} must be finite: row {row} holds {value} ({int(bad.sum())} of {len(array)} rows are bad); "
            "drop or repair them, np.isfinite(vectors).all(axis=1) finds them"
        )
    row = int(np.argmax(np.abs(array).max(axis=1)))
    raise ValueError(
        f"{name} row {row} holds a value of magnitude {largest:.3g}; {what} would overflow {array.dtype} above "
        f"{limit:.3g} at {array.shape[1]} dimensions: scale the data"
    )


def _limit(array: np.ndarray, metric: str) -> tuple[float, str]:
    """The largest magnitude at which every distance is finite, and what would not be above it."""
    if array.dtype == np.float64:
        return 1e150, "distances"
    largest, dim = float(np.finfo(np.float32).max), array.shape[1]
    if metric == "ip":
        return float(np.sqrt(largest / dim)), "inner products"
    return largest / (4 * np.sqrt(dim)), "distances"


def _check_directions(array: np.ndarray, name: str, shortest: float, dtype: str) -> None:
    """Refuse rows, other than zero, that are too short to have a direction in their type."""
    for start in range(0, len(array), _ROWS_AT_ONCE):
        some = array[start : start + _ROWS_AT_ONCE]
        low, high = some.min(axis=1), some.max(axis=1)
        lengths = np.maximum(-low, high)
        short = (lengths > 0) & (lengths < shortest)
        if short.any():
            row = int(np.argmax(short))
            raise ValueError(
                f"{name} row {start + row} holds nothing larger than {float(lengths[row]):.3g}; its direction, which "
                f"cosine asks for, would be lost in {dtype} below {shortest:.3g}: scale the data, or make it zero"
            )


def as_queries(queries: Any, dim: int, dtype: np.dtype[Any], metric: str = "l2") -> tuple[np.ndarray, bool]:
    """Queries as a matrix like the index's vectors, and whether a single one was given as a 1-d array."""
    if type(queries) is np.ndarray and queries.dtype == dtype and queries.flags.carray and 0 < queries.size <= _FEW:
        matrix = queries[None, :] if queries.ndim == 1 else queries  # the quick way for what is as it should be
        if matrix.ndim == 2 and matrix.shape[1] == dim:
            square = np.vdot(matrix, matrix)
            least = 0.0 if metric != "cosine" or dtype == np.float32 else _SHORTEST if len(matrix) == 1 else np.inf
            if least <= square < _SAFE_SQUARE:
                return matrix, queries.ndim == 1
    array = as_array(queries, "queries")
    single = array.ndim == 1
    return as_vectors(array[None, :] if single else array, name="queries", dim=dim, dtype=dtype, metric=metric), single


def as_radii(name: str, radius: Any, n_queries: int, metric: str) -> np.ndarray:
    """Distances (n_queries,) float64 up to which rows are wanted, from a number or an array of one for each query."""
    array = np.asarray(radius)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be a number, or one for each query, not {radius!r}")
    if array.ndim > 1 or (array.ndim == 1 and len(array) != n_queries):
        raise ValueError(f"{name} has shape {array.shape} for {n_queries} queries: give a number, or one for each")
    radii = np.broadcast_to(array.astype(np.float64), n_queries)
    if np.isnan(radii).any():
        raise ValueError(f"{name} must be a number, not nan (query {int(np.argmax(np.isnan(radii)))})")
    if metric != "ip" and (radii < 0).any():
        query = int(np.argmax(radii < 0))
        raise ValueError(f"{name} must be at least 0, but is {radii[query]} (query {query}): no {metric} distance is "
                         "below 0")  # fmt: skip
    return radii


def as_ids(ids: Any, *, length: int | None = None, name: str = "ids", ordered: bool = False) -> np.ndarray:
    """A 1-d int64 array of non-negative ids, from whatever holds integers; with `length`, that many.

    `ordered` (or `length`): each id goes with something else, so that a set, which has no order, is refused.
    """
    array = _integers(ids, name, ordered or length is not None)
    if array.ndim == 0 and array.dtype.kind in "iu":
        array = array[None]
    if array.ndim != 1:
        raise ValueError(f"{name} must be 1-d, but has shape {array.shape}")
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, not {array.dtype}; keep a table from your keys to integers")
    if array.dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds {int(array.max())}, which int64 cannot represent")
    result = array.astype(np.int64)
    if result.size and int(result.min()) < 0:
        raise ValueError(f"{name} holds {int(result.min())}; ids are non-negative (-1 stands for 'no result')")
    if length is not None and len(result) != length:
        raise ValueError(f"{len(result)} {name} for {length} vectors: give one each")
    return result


def _integers(ids: Any, name: str, ordered: bool) -> np.ndarray:
    """An array of ids as they are, no integer changed on the way."""
    if isinstance(ids, np.ma.MaskedArray) and np.ma.is_masked(ids):
        raise ValueError(f"{name} has masked values: leave them out")
    if hasattr(ids, "detach"):
        return _of_tensor(ids)
    if isinstance(ids, (set, frozenset)) and ordered:
        raise TypeError(f"{name} is a set, whose order says nothing about which vector an id belongs to: give a list")
    is_loose = isinstance(ids, Iterable) and not isinstance(ids, (str, bytes, Mapping))
    if is_loose and not hasattr(ids, "__array__") and not isinstance(ids, range):
        ids = list(ids)
    array = np.asarray(ids)
    if not isinstance(ids, list) and array.dtype != object:
        return array
    values = array.ravel().tolist() if not isinstance(ids, list) else ids
    types = {int if issubclass(kind, np.integer) else kind for kind in set(map(type, values))}
    if types & {bool, np.bool_}:
        return np.empty(len(values), bool)
    if types != {int}:
        return array
    try:
        return np.array(values, np.int64)
    except OverflowError:
        worst = max(map(int, values), key=abs)
        raise ValueError(f"{name} holds {worst}, which int64 cannot represent") from None


def first_duplicate(ids: np.ndarray) -> int | None:
    """An id that occurs twice, if there is one."""
    if bool((ids[1:] > ids[:-1]).all()):
        return None
    low = int(ids.min())
    extent = int(ids.max()) - low + 1
    if extent <= 4 * len(ids):  # dense: to mark them takes a tenth of sorting them
        seen = np.zeros(extent, bool)
        seen[ids - low] = True
        if np.count_nonzero(seen) == len(ids):
            return None
    ordered = np.sort(ids)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return int(twice[0]) if len(twice) else None


def no_duplicates(ids: np.ndarray) -> None:
    """Raise a ValueError if an id occurs twice."""
    duplicate = first_duplicate(ids)
    if duplicate is not None:
        raise ValueError(f"id {duplicate} is given twice")


def as_integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """An integer within [low, high]."""
    if type(value) is int and low <= value and (high is None or value <= high):
        return value
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {value!r}") from None
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if number < low or (high is not None and number > high):
        limits = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} must be {limits}, but is {number}")
    return number


def as_number(name: str, value: Any, low: float = -np.inf) -> float:
    """A finite real number, at least `low`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, (str, bytes, bool, np.bool_)):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not np.isfinite(number) or number < low:
        limits = "finite" if low == -np.inf else f"finite and at least {low}"
        raise ValueError(f"{name} must be {limits}, but is {number}")
    return number


def as_choice(name: str, value: Any, options: Iterable[str]) -> str:
    """One of some strings; otherwise the error suggests the nearest."""
    names = list(options)
    if isinstance(value, str) and value in names:
        return value
    raise ValueError(f"{name} must be one of {', '.join(map(repr, names))}, not {value!r}{_suggestion(value, names)}")


def unknown_names(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise a TypeError for a parameter that does not exist, with the nearest that does."""
    known = list(known)
    for name in given:
        if name not in known:
            listing = f"its parameters are {', '.join(known)}" if known else "it has none"
            raise TypeError(f"{what} has no parameter {name!r}{_suggestion(name, known)} ({listing})")


def _suggestion(value: Any, names: list[str]) -> str:
    near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def parameter_names(function: Callable[..., Any]) -> list[str]:
    """The names of a method's parameters."""
    return [name for name in inspect.signature(function).parameters if name != "self"]


def checks_names(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a constructor answer an unknown keyword with the nearest known one."""
    known = parameter_names(function)

    @functools.wraps(function)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        unknown_names(kwargs, known, type(self).__name__)
        return function(self, *args, **kwargs)

    return checked
