"""The causes for which a search misses a neighbour, and what an explanation holds and says."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from annlab.common.statistics import SearchStats


class Cause(Enum):
    """Why a row was not returned. The list is closed: every miss has one of these."""

    CELL = "its cell was not probed"
    BUCKET = "none of its buckets was probed"
    RERANK = "its code put it behind more rows than were re-ranked by their vectors"
    ENDED = "the search ended before it"
    PRUNED = "a bound left it out"
    UNREACHABLE = "no parameter of a search reaches it"
    FILTERED = "the filter leaves it out"
    ABSENT = "it is not in the index: removed, or never added"
    TIE = "rows that are just as near took its place"
    FARTHER = "it is no neighbour: as many rows as were asked for are nearer"


@dataclass(frozen=True)
class Missed:
    """A row that was expected and not returned.

    Attributes
    ----------
    id : int
    distance : float
        Of the query and the row; inf if it is not in the index.
    cause : Cause
    needs : dict
        The smallest search parameters that find it; empty where no parameter does.
    too_little : dict
        The next smaller ones, which do not.
    """

    id: int
    distance: float
    cause: Cause
    needs: dict[str, Any]
    too_little: dict[str, Any]

    def __str__(self) -> str:
        said = f"{self.id} at distance {self.distance:.6g}: {self.cause.value}"
        if not self.needs:
            return said
        finds = ", ".join(f"{name}={_short(value)}" for name, value in self.needs.items())
        not_yet = ", ".join(f"{name}={_short(value)}" for name, value in self.too_little.items())
        return f"{said}; {finds} finds it, {not_yet} does not"


@dataclass(frozen=True)
class Explanation:
    """What one search did.

    Attributes
    ----------
    kind : str
        The class of the index.
    k : int
    ids, distances : (k,)
        What `search` returned.
    n : int
        Vectors in the index.
    stats : SearchStats
        Of this search.
    used : dict
        The search parameters, "auto" in numbers.
    expected : (m,) int64
    missed : tuple of Missed
        The nearest first.
    """

    kind: str
    k: int
    ids: np.ndarray
    distances: np.ndarray
    n: int
    stats: SearchStats
    used: dict[str, Any]
    expected: np.ndarray
    missed: tuple[Missed, ...]

    @property
    def recall(self) -> float:
        """The share of the expected ids that was returned; 1 if none were expected."""
        return 1.0 - len(self.missed) / len(self.expected) if len(self.expected) else 1.0

    def __str__(self) -> str:
        given = ", ".join(f"{name}={_short(value)}" for name, value in self.used.items())
        compared, visited = int(self.stats.distances[0]), int(self.stats.visited[0])
        share, read = f"{compared / max(self.n, 1):.1%}", f"{int(self.stats.bytes[0]):,} bytes"
        how = ", all by an exact scan" if self.stats.exact_fallback[0] else ""
        lines = [
            f"{self.kind}, {self.k} nearest of {self.n:,} vectors" + (f", {given}" if given else ""),
            f"looked into {visited:,} cells, buckets or nodes, compared {compared:,} rows ({share}), read {read}{how}",
            f"returned {len(self.expected) - len(self.missed)} of {len(self.expected)} expected",
        ]
        return "\n".join([*lines, *(f"missed {one}" for one in self.missed)])


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
