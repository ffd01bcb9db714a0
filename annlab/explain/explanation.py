"""The causes for which a search misses a neighbour, and what an explanation holds and says."""

import importlib
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from annlab.common.statistics import SearchStats
from annlab.explain.trace import Trace
from annlab.index import Index

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
    place : str
        Where it lies: its cell and the rank of that, the bits in which its key differs, its leaf or node.
    """

    id: int
    distance: float
    cause: Cause
    needs: dict[str, Any]
    too_little: dict[str, Any]
    place: str = ""

    def __str__(self) -> str:
        where = f" ({self.place})" if self.place else ""
        said = f"{self.id} at distance {self.distance:.6g}: {self.cause.value}{where}"
        if not self.needs:
            return said
        finds, not_yet = _told(self.needs, 6), _told(self.too_little, 6)
        if finds == not_yet:
            finds, not_yet = _told(self.needs, 9), _told(self.too_little, 9)
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
    trace : Trace
        What was looked into, step by step, and what was left out.
    query : (dim,)
    index : Index
        As it was then: later writes are not seen.
    how : dict
        The other arguments of the search.
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
    trace: Trace = field(repr=False)
    query: np.ndarray = field(repr=False)
    index: Index = field(repr=False)
    how: dict[str, Any] = field(repr=False)

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
        if self.trace.left_out:
            lines[2:2] = str(self.trace).split("\n")
        return "\n".join([*lines, *(f"missed {one}" for one in self.missed)])

    def plot(self, ax: "Axes | None" = None, *, what: str = "auto", dark: bool | None = None) -> "Figure":
        """Draw it: needs matplotlib (`pip install "annlab[plot]"`).

        Parameters
        ----------
        ax : matplotlib Axes, optional
            To draw one picture into; a new figure with two if not given.
        what : {"auto", "partition", "work", "projection"}
            "partition": in two dimensions, how the index divides the plane, what was visited in order, and what was
            missed. "work": the distance of every row that was compared, against how many were compared before.
            "projection": the rows in the plane that shows most of them, with what it distorts. "auto": in two
            dimensions partition and work, in more work and projection; with `ax` the first of the two.
        dark : bool, optional
            Light on dark; as matplotlib's own style is, if not given.

        Returns
        -------
        matplotlib Figure

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If `what` is none of these, or a partition in other than two dimensions.
        """
        drawing = importlib.import_module("annlab.explain.drawing")  # which knows this module
        figure: Figure = drawing.draw(self, ax, what, dark)
        return figure


def _told(params: dict[str, Any], digits: int) -> str:
    return ", ".join(f"{name}={_short(value, digits)}" for name, value in params.items())


def _short(value: Any, digits: int = 6) -> str:
    return f"{value:.{digits}g}" if isinstance(value, float) else repr(value)
