"""The frontier of recall against time, and comparison at equal recall.

An approximate index is not a point but a curve: its search parameters trade recall for time. Two indexes are compared
where their curves have the same recall, and only settings on the Pareto front count: those that no other setting of the
same index beats in both.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.harness import Run


@dataclass(frozen=True)
class Point:
    """One setting of one index: the recall that it reaches and the seconds that a query takes."""

    label: str
    recall: float
    seconds: float


def points(runs: Iterable[Run], clock: str = "cpu") -> list[Point]:
    """The runs as points, labelled with the peer alone: all its settings are one curve."""
    return [Point(run.peer, run.recall, run.microseconds(clock) / 1e6) for run in runs]


def pareto_front(curve: Iterable[Point]) -> list[Point]:
    """The points that no other point beats in recall and time, by growing recall."""
    front: list[Point] = []
    for point in sorted(curve, key=lambda point: (-point.recall, point.seconds)):
        if not front or point.seconds < front[-1].seconds:
            front.append(point)
    return front[::-1]


def seconds_at_recall(curve: Sequence[Point], recall: float) -> float:
    """Seconds a query takes at this recall: interpolated on the front in the logarithm of time; inf beyond its end."""
    front = pareto_front(curve)
    above = next((i for i, point in enumerate(front) if point.recall >= recall), None)
    if above is None:
        return math.inf
    if above == 0:
        return front[0].seconds
    low, high = front[above - 1], front[above]
    share = (recall - low.recall) / (high.recall - low.recall)
    return math.exp((1 - share) * math.log(low.seconds) + share * math.log(high.seconds))
