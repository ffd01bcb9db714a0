"""What an algorithm must provide to become an index: a `Structure`.

A structure is the sealed, unchanging part of an index: vectors in rows 0..n-1 and whatever finds neighbours among them.
It knows nothing of ids (beyond breaking ties), removal, filters, files, threads for batches, or statistics: `Index`
adds these, once, for every algorithm. It returns *candidates*, and `Index` scores them by the one definition of a
distance (`kernels/distance.py`) and keeps the k best. So an exact structure has to return every row that could be among
the k nearest given how its own arithmetic rounds, and an approximate one what it considers worth scoring.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np

from annlab.distances import Metric

Progress = Callable[[str, float], None]
"""Called while something long runs: what is being done, and the share of it that is done, 0 to 1."""


class Request(NamedTuple):
    """One search, as a structure sees it.

    Attributes
    ----------
    alive : (words,) or (q, words) uint64, or None
        Bits of the rows that may be returned, for all queries or one set each (see `bits.py`); None: all rows.
    keys : (n,) int64
        The ids of the rows. Among rows at equal distance the smaller key wins, also at the cut after the k-th.
    params : dict
        The search parameters of the index (its `search_parameters`), all present and checked.
    threads : int
        More than 1 only if the queries are too few to be split between threads by `Index`, or if the structure has
        `takes_batches`, an attribute that is true: then it is given large batches whole, and shares the work out.
    counters : (q, N_COUNTERS) int64
        To be added to, see `statistics.py`.
    """

    alive: np.ndarray | None
    keys: np.ndarray
    params: dict[str, Any]
    threads: int
    counters: np.ndarray


class Scored(NamedTuple):
    """Results in place of candidates, from a structure that measured its candidates by `kernels/distance.py` itself.

    distances (q, k) and ids (q, k): the k nearest among the structure's rows, sorted by (distance, id), padded with inf
    and -1.
    """

    distances: np.ndarray
    ids: np.ndarray


class Structure(Protocol):
    """The contract of an algorithm. `ExactStructure` in exact.py is the simplest real one."""

    @property
    def vectors(self) -> np.ndarray:
        """(n, dim), C-contiguous, in the order of the rows. May be memory-mapped.

        A structure for which this array would have to be put together also has `gather(rows)`, which copies some rows.
        """
        ...

    bulk: ClassVar[frozenset[str]]
    """Names in `arrays()` whose values cannot lead a kernel astray (vectors, codes): not verified by a mapped load."""

    exhaustive: ClassVar[bool]
    """Whether a search looks at no more rows than a scan of the allowed ones: then a selective filter is no reason to
    scan these instead."""

    @classmethod
    def build(
        cls,
        vectors: np.ndarray,
        *,
        metric: Metric,
        params: dict[str, Any],
        rng: np.random.Generator,
        threads: int,
        progress: Progress,
        owned: bool,
    ) -> tuple[Self, np.ndarray | None]:
        """Build over vectors (n, dim), n >= 1. Returns the structure, and which input row each of its rows is.

        The order (n,) is None if the rows stay as they are. Where `owned` is False the array may be the user's: copy
        what is kept. `params` are the index's build parameters. Where these name attributes as `criteria`, their values
        (n, number of criteria) are passed as `criteria`, in int64, and a function that gives them for rows to `absorb`.
        """
        ...

    def search(self, queries: np.ndarray, k: int, request: Request) -> np.ndarray | Scored:
        """Candidates for every query: (q, m) int64 rows, no row twice, -1 where there is none; or the results."""
        ...

    def search_radius(self, queries: np.ndarray, radius: float, request: Request) -> tuple[np.ndarray, np.ndarray]:
        """Candidates within a distance: limits (q + 1,) and rows, those of query i at limits[i]:limits[i + 1]."""
        ...

    def absorb(self, vectors: np.ndarray, rng: np.random.Generator) -> tuple[Self, np.ndarray | None] | None:
        """A structure that also holds `vectors`, behind the present rows before `order` is applied as in `build`.

        None where this would cost as much as building anew, which is then done.
        """
        ...

    def rows_touched(self, params: dict[str, Any]) -> int:
        """About how many rows a search looks at. New rows are scanned exactly up to this number, and so are filters."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything to store, `vectors` included."""
        ...

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], *, metric: Metric, params: dict[str, Any]) -> Self:
        """The structure of stored arrays. Raises KeyError, ValueError or TypeError if they do not fit together."""
        ...

    def check(self) -> None:
        """Raise a ValueError unless every shape, offset and row number is in range: kernels will rely on it."""
        ...
