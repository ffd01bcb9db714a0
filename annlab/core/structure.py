"""What an algorithm must provide to become an index: a `Structure`.

A structure is the sealed, unchanging part of an index: vectors in rows 0..n-1 and whatever finds neighbours among them.
It knows nothing of ids (beyond breaking ties), removal, filters, files, threads for batches, or statistics: `Index`
adds these, once, for every algorithm. It returns *candidates*, and `Index` scores them by the one definition of a
distance (`kernels/distance.py`) and keeps the k best. So an exact structure has to return every row that could be among
the k nearest given how its own arithmetic rounds, and an approximate one what it considers worth scoring.

`build`, `search`, `search_radius` and `from_arrays` are what makes an algorithm; all else has a default that is right
for a structure that is a matrix of vectors and is built anew when it grows. `docs/write-an-index.md` walks through one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from annlab.common.memory import IN_MEMORY, Workspace, taken
from annlab.common.progress import Progress
from annlab.distances import Metric
from annlab.scan.shortcut import Beside, Shortcut

__all__ = ["SMALL_TAIL", "Beside", "Building", "Request", "Scored", "Shortcut", "Structure", "newest_of", "since"]
SMALL_TAIL = 1024  # rows that are scanned rather than taken in, where nothing else is said
_SHORT_TAIL = 64  # rows that are scanned in a microsecond: not worth copying anything


@dataclass(frozen=True)
class Building:
    """How a structure is to be built, or to take in more rows.

    Attributes
    ----------
    metric : Metric
    params : dict
        The parameters of the index, all present and checked.
    seed : int
        Everything random comes from `rng`, which follows from it.
    threads : int
    progress : function of (what, share)
    owned : bool
        Whether the structure may keep the array of vectors; where not, it may be the user's: copy what is kept.
    criteria : function, optional
        For rows, the values (m, number of criteria) int64 of the attributes that `divides_by` names.
    workspace : Workspace
        Where large arrays go, for structures that `builds_in_files`.
    """

    metric: Metric
    params: dict[str, Any]
    seed: int
    threads: int
    progress: Progress
    owned: bool
    criteria: Callable[[np.ndarray], np.ndarray] | None = None
    workspace: Workspace = IN_MEMORY

    @cached_property
    def rng(self) -> np.random.Generator:
        """Everything random comes from it; made when it is asked for, since taking in rows seldom needs one."""
        return np.random.default_rng(self.seed)


class Request(NamedTuple):
    """One search, as a structure sees it.

    Attributes
    ----------
    alive : (words,) or (q, words) uint64, or None
        Bits of the rows that may be returned, for all queries or one set each (`common/rowsets.py`); None: all rows.
    keys : (n,) int64
        The ids of the rows. Among rows at equal distance the smaller key wins, also at the cut after the k-th.
    params : dict
        The search parameters of the index (its `search_parameters`), all present and checked.
    threads : int
        More than 1 only if the queries are too few to be split between threads by `Index`, or if the structure
        `takes_batches`.
    counters : (q, N_COUNTERS) int64
        To be added to, see `common/statistics.py`.
    scanned : (q,) bool, or None
        To be set where a structure scans the allowed rows in place of what it usually does.
    n_living : int, or None
        Rows of the structure that were not removed, whatever the filter; None: all.
    """

    alive: np.ndarray | None
    keys: np.ndarray
    params: dict[str, Any]
    threads: int
    counters: np.ndarray
    scanned: np.ndarray | None = None
    n_living: int | None = None


class Scored(NamedTuple):
    """Results in place of candidates, from a structure that measured its candidates by `kernels/distance.py` itself.

    distances (q, k) float64, not rounded, and ids (q, k): the k nearest among the structure's rows, sorted by
    (distance, id), padded with inf and -1.
    """

    distances: np.ndarray
    ids: np.ndarray


def since(newest: np.ndarray | None, n: int, order: np.ndarray) -> np.ndarray:
    """Which rows, in their order after some were taken in, came since something was measured (n + m,) bool.

    newest (n,): which of the n rows from before did; None: none.
    """
    before = np.zeros(n, bool) if newest is None else newest
    together: np.ndarray = np.concatenate([before, np.ones(len(order) - n, bool)])[order]
    return together


def newest_of(arrays: dict[str, np.ndarray]) -> np.ndarray | None:
    """What `since` found, from a file, where it is the array `newest`; None: there is none.

    An index has to go on from its file as if it had not been saved: replicas that start from a snapshot are compared
    with others by their hash.
    """
    newest = arrays.get("newest")
    if newest is not None and (newest.dtype != np.bool_ or newest.shape != arrays["vectors"].shape[:1]):
        raise ValueError(f"newest is {newest.dtype} {newest.shape} for {len(arrays['vectors'])} rows")
    return newest


class Structure:
    """The contract of an algorithm. `ExactStructure` in exact.py is the simplest real one.

    Attributes
    ----------
    vectors : (n, dim)
        C-contiguous, in the order of the rows. May be memory-mapped.
    """

    bulk: ClassVar[frozenset[str]] = frozenset({"vectors"})
    """Names in `arrays()` whose values cannot lead a kernel astray (vectors, codes): not verified by a mapped load."""

    former: ClassVar[frozenset[str]] = frozenset()
    """Names that files of earlier versions hold, and `arrays()` no longer does."""

    exhaustive: ClassVar[bool] = False
    """Whether a search looks at no more rows than a scan of the allowed ones: then a selective filter is no reason to
    scan these instead."""

    builds_in_files: ClassVar[bool] = False
    """Whether `build` honours `Building.workspace`, so that the vectors may exceed the memory."""

    most_dead: ClassVar[float] = 1 / 2
    """Removed rows, as a share of the living, at which all is built anew: less where a search looks at every row."""

    vectors: np.ndarray

    @classmethod
    def divides_by(cls, params: dict[str, Any]) -> Sequence[str]:
        """Names of attributes by which rows are divided before anything else; their values come with `Building`."""
        return ()

    @classmethod
    def build(cls, vectors: np.ndarray, building: Building) -> tuple[Self, np.ndarray | None]:
        """Build over vectors (n, dim), n >= 1. Returns the structure, and which input row each of its rows is.

        The order (n,) is None if the rows stay as they are.
        """
        raise NotImplementedError(f"{cls.__name__} has no way to be built")

    def search(self, queries: np.ndarray, k: int, request: Request) -> np.ndarray | Scored:
        """Candidates for every query: (q, m) int64 rows, no row twice, -1 where there is none; or the results."""
        raise NotImplementedError(f"{type(self).__name__} has no search")

    def search_radius(self, queries: np.ndarray, radius: float, request: Request) -> tuple[np.ndarray, np.ndarray]:
        """Candidates within a distance: limits (q + 1,) and rows, those of query i at limits[i]:limits[i + 1]."""
        raise NotImplementedError(f"{type(self).__name__} has no search by radius")

    def shortcut(self, k: int, params: dict[str, Any], beside: Beside) -> Shortcut | None:
        """How one compiled call answers a query for k neighbours, see `core/shortcut.py`; None where there is no such.

        Its answers must be those of `search`, with the rows of the tail, and without the dead.
        """
        return None

    @property
    def takes_batches(self) -> bool:
        """Whether large batches are given whole, with all threads, because the structure shares out the work better."""
        return False

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of some rows, copied."""
        return taken(self.vectors, rows)

    def absorb(self, vectors: np.ndarray, building: Building) -> tuple[Self, np.ndarray | None] | None:
        """A structure that also holds `vectors`, behind the present rows before `order` is applied as in `build`.

        None where this would cost as much as building anew, which is then done.
        """
        return None

    def part(self, rows: np.ndarray) -> Self | None:
        """A structure of some of these rows (ascending, at least one), which keep their order, by what this one has
        learned. None where it has learned nothing that they cannot be built anew by."""
        return None

    def rows_touched(self, params: dict[str, Any]) -> int:
        """About how many rows a search looks at. Filters that allow fewer are answered by scanning these exactly."""
        return len(self.vectors)

    def tail_limit(self, params: dict[str, Any]) -> int:
        """How many added rows may wait in the tail, which every search scans, until they are taken in.

        By default as many as a search looks at anyway, or `SMALL_TAIL` where taking in costs more than it saves.
        """
        return max(SMALL_TAIL, self.rows_touched(params))

    def tail_of_copies(self, params: dict[str, Any], most: int) -> int:
        """The same where taking in copies all there is, and a search looks at a small part of it.

        Growing from n rows to 2 n then copies them at most 0.7 times `most`: as often as a build or so is worth.
        """
        return min(max(SMALL_TAIL, self.rows_touched(params)), max(_SHORT_TAIL, len(self.vectors) // most))

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything to store, `vectors` included."""
        return {"vectors": self.vectors}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], *, metric: Metric, params: dict[str, Any]) -> Self:
        """The structure of stored arrays. Raises KeyError, ValueError or TypeError if they do not fit together."""
        raise NotImplementedError(f"{cls.__name__} cannot be loaded")

    def made_since(self) -> dict[str, int]:
        """Bytes of what was made since the structure was built or loaded, and lies in no file."""
        return {}

    def check(self) -> None:
        """Raise a ValueError unless every shape, offset and row number is in range: kernels will rely on it."""
