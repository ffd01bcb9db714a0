"""What textbooks say of trees, hashing and clustering, and the rules that turn measurements into verdicts.

Every claim names the measurements that decide it, and its rule answers "holds", "holds if ..." or "does not hold", with
the figures that say so. Rules were written before the figures were seen, with one exception: what is said of high
dimensions was judged at 1,024 alone, where two times decide, and is judged by the mean of three dimensions since.
`claims.py` measures.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

TARGET, INTRINSIC = 0.95, 8
HIGH = 128  # dimensions
TIED = 1.1  # gains that differ by less say nothing of who is better


@dataclass(frozen=True)
class Point:
    """One family on one data set."""

    grid: str  # what varies: a key of `claims.GRIDS`
    value: float  # the dimension, number of rows, separation, spread or recall
    family: str
    recall: float
    us: float
    visited: float  # rows whose distance was computed, for a query
    target: float = TARGET  # the recall that was asked for

    @property
    def place(self) -> tuple[str, float]:
        """The data set."""
        return self.grid, self.value


class Measurements:
    """Points by grid and family."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = points

    def curve(self, grid: str, family: str, what: str = "us") -> dict[float, float]:
        """Microseconds, or rows visited, for each value of what varies; inf where the recall was not reached."""
        chosen = [p for p in self.points if p.grid == grid and p.family == family]
        return {p.value: getattr(p, what) if p.recall >= p.target else math.inf for p in chosen}

    def gain(self, grid: str, family: str) -> dict[float, float]:
        """How many times as fast as an exact scan; 0 where the recall was not reached."""
        exact = self.curve(grid, "exact")
        return {value: exact[value] / us for value, us in self.curve(grid, family).items()}

    def exponent(self, grid: str, family: str, what: str = "us") -> float:
        """The power of the number of rows with which the cost grows, over the grid (least squares of logarithms)."""
        curve = {
            value: cost for value, cost in self.curve(grid, family, what).items() if math.isfinite(cost) and cost > 0
        }
        return (
            float(np.polyfit(np.log(list(curve)), np.log(list(curve.values())), 1)[0]) if len(curve) > 1 else math.nan
        )


@dataclass(frozen=True)
class Verdict:
    """What became of a claim."""

    family: str
    claim: str
    verdict: str
    figures: str


Rule = Callable[[Measurements], tuple[str, str]]


def _high(gains: dict[float, float]) -> float:
    """The gain in high dimensions: the geometric mean over those of at least `HIGH`, or that of the highest."""
    some = [gain for dim, gain in gains.items() if dim >= HIGH] or [gains[max(gains)]]
    return math.prod(some) ** (1 / len(some))


def _times(gain: float) -> str:
    return f"{gain:.2g}x" if gain < 10 else f"{gain:.0f}x"


def _list(gains: dict[float, float]) -> str:
    return ", ".join(f"{value:,.15g}: {_times(gain) if gain else 'recall not reached'}"
                     for value, gain in sorted(gains.items()))  # fmt: skip


def trees_like_few_dimensions(m: Measurements) -> tuple[str, str]:
    """Faster than everybody where the dimension is low."""
    gains, last = m.gain("full", "tree"), 0.0
    for dim in sorted(gains):
        if gains[dim] < max(1.0, *(m.gain("full", family)[dim] for family in ("LSH", "clusters"))):
            break
        last = dim
    said = f"fastest of all families up to {last:g} dimensions of uniform data; against an exact scan {_list(gains)}"
    return ("holds" if last >= 4 else "does not hold"), said


def trees_fail_in_many(m: Measurements) -> tuple[str, str]:
    """Slower than a scan in high dimensions; what counts may be the intrinsic one."""
    full, fixed = m.gain("full", "tree"), m.gain("fixed", "tree")
    said = f"uniform data, {_list(full)}; {INTRINSIC} intrinsic dimensions in more, {_list(fixed)}"
    if _high(full) >= 1:
        return "does not hold", said
    condition = f"holds if the intrinsic dimension is high too: with {INTRINSIC}, trees beat a scan"
    return ("holds" if _high(fixed) < 1 else condition), said


def trees_are_logarithmic(m: Measurements) -> tuple[str, str]:
    """Rows visited grow hardly at all with the number of rows."""
    power = m.exponent("size", "tree", "visited")
    us = m.exponent("size", "tree")
    said = f"3 dimensions: rows visited grow with the power {power:.2f} of the number of rows, the time with {us:.2f}"
    return ("holds" if power < 0.15 else "does not hold"), said


def trees_struggle_when_large(m: Measurements) -> tuple[str, str]:
    """Slower, compared with a scan, at millions than at a hundred thousand."""
    gains = m.gain("size", "tree")
    large = max(gains)
    middle = sorted(gains)[len(gains) // 2]
    said = f"3 dimensions, against an exact scan: {_list(gains)}"
    return ("holds" if gains[large] < gains[middle] else "does not hold"), said


def hashing_likes_many_dimensions(m: Measurements) -> tuple[str, str]:
    """No slower against a scan in many dimensions than in few."""
    full, fixed = m.gain("full", "LSH"), m.gain("fixed", "LSH")
    said = f"{INTRINSIC} intrinsic dimensions, {_list(fixed)}; uniform data, {_list(full)}"
    if _high(fixed) < 1:
        return "does not hold", said
    return (
        "holds" if _high(full) >= 1 else "holds if the intrinsic dimension is low; noise has the curse as well"
    ), said


def hashing_is_best_in_many_dimensions(m: Measurements) -> tuple[str, str]:
    """The family to take there."""
    ours = {family: _high(m.gain("fixed", family)) for family in ("tree", "LSH", "clusters")}
    said = f"{HIGH} dimensions and more, {INTRINSIC} intrinsic, against an exact scan: " + ", ".join(
        f"{family} {_times(gain)}" for family, gain in ours.items()
    )
    other = max(("tree", "clusters"), key=lambda family: ours[family])
    if ours["LSH"] > TIED * ours[other]:
        return "holds", said
    return ("does not hold" if TIED * ours["LSH"] < ours[other] else f"holds no more than for {other}"), said


def hashing_scales(m: Measurements) -> tuple[str, str]:
    """Time grows much more slowly than the number of rows."""
    power = m.exponent("size, 64 dimensions", "LSH")
    gains = m.gain("size, 64 dimensions", "LSH")
    said = f"time grows with the power {power:.2f} of the number of rows; against an exact scan {_list(gains)}"
    return ("holds" if power < 0.75 and gains[max(gains)] > 1 else "does not hold"), said


def hashing_is_constant(m: Measurements) -> tuple[str, str]:
    """O(1): nothing grows."""
    power = m.exponent("size, 64 dimensions", "LSH")
    said = f"time at equal recall grows with the power {power:.2f} of the number of rows"
    return ("holds" if power < 0.15 else "does not hold"), said


def hashing_is_coarse(m: Measurements) -> tuple[str, str]:
    """At the highest recall asked for, slower than a scan."""
    gains, others = m.gain("accuracy", "LSH"), m.gain("accuracy", "clusters")
    said = f"against an exact scan, by recall: {_list(gains)}; clusters {_list(others)}"
    return ("holds" if gains[max(gains)] < 1 else "does not hold"), said


def hashing_needs_angles(m: Measurements) -> tuple[str, str]:
    """Where neighbours differ in length and not in direction, less than half as good as where directions differ."""
    gains, others = m.gain("rays", "LSH"), m.gain("rays", "clusters")
    few, many = gains[min(gains)], gains[max(gains)]
    said = (f"rows along a hundred rays, against an exact scan, by their spread about the rays: {_list(gains)}; "
            f"clusters {_list(others)}")  # fmt: skip
    return ("holds" if few < many / 2 else "does not hold"), said


def clusters_want_clusters(m: Measurements) -> tuple[str, str]:
    """Better the farther clusters are apart, worse where there are none."""
    gains = m.gain("separation", "clusters")
    apart, none = gains[max(gains)], gains[min(gains)]
    said = f"against an exact scan, by the distance of centres in radii of a cluster: {_list(gains)}"
    if apart < none:
        return "does not hold", said
    return (
        "holds" if none < 1 else f"holds, and without any cluster it still is {_times(none)} as fast as a scan"
    ), said


def clusters_are_no_use_when_small(m: Measurements) -> tuple[str, str]:
    """Slower than a scan of a thousand rows."""
    gains = m.gain("size, 64 dimensions", "clusters")
    small = min(gains)
    return ("holds" if gains[small] < 1 else "does not hold"), f"against an exact scan, by rows: {_list(gains)}"


def clusters_fail_when_large(m: Measurements) -> tuple[str, str]:
    """Of less use, compared with a scan, at the largest size than at the middle one."""
    gains = m.gain("size, 64 dimensions", "clusters")
    large, middle = max(gains), sorted(gains)[len(gains) // 2]
    said = f"against an exact scan, by rows: {_list(gains)}"
    return ("holds" if gains[large] < gains[middle] else "does not hold"), said


def clusters_fail_in_very_many_dimensions(m: Measurements) -> tuple[str, str]:
    """Slower than a scan there."""
    full, fixed = m.gain("full", "clusters"), m.gain("fixed", "clusters")
    said = f"uniform data, {_list(full)}; {INTRINSIC} intrinsic dimensions, {_list(fixed)}"
    if _high(full) >= 1:
        return "does not hold", said
    condition = "holds if the intrinsic dimension is high too"
    return ("holds" if _high(fixed) < 1 else condition), said


def clusters_lie_between(m: Measurements) -> tuple[str, str]:
    """Faster than a scan, slower than trees, in low dimensions."""
    low = min(m.gain("full", "tree"))
    tree, clusters = (m.gain("full", family)[low] for family in ("tree", "clusters"))
    said = f"{low:g} dimensions, against an exact scan: trees {_times(tree)}, clusters {_times(clusters)}"
    return ("holds" if tree > clusters > 1 else "does not hold"), said


CLAIMS: tuple[tuple[str, str, Rule], ...] = (
    ("tree", "to be used when data is low-dimensional and about uniform", trees_like_few_dimensions),
    ("tree", "not suitable for high-dimensional data", trees_fail_in_many),
    ("tree", "logarithmic in low dimensions", trees_are_logarithmic),
    ("tree", "struggles with very large sets", trees_struggle_when_large),
    ("LSH", "works in high dimensions, without the curse of dimensionality", hashing_likes_many_dimensions),
    ("LSH", "is the family to take in high dimensions", hashing_is_best_in_many_dimensions),
    ("LSH", "scales to very large sets", hashing_scales),
    ("LSH", "looks buckets up in O(1)", hashing_is_constant),
    ("LSH", "may not work well where fine-grained accuracy is required", hashing_is_coarse),
    ("LSH", "may not work well on data that is not amenable to hashing", hashing_needs_angles),
    ("clusters", "effective where data is clustered, less so where clusters are not apart", clusters_want_clusters),
    ("clusters", "less effective where the set is too small", clusters_are_no_use_when_small),
    ("clusters", "may not do well on extremely large sets", clusters_fail_when_large),
    ("clusters", "may not do well in very high dimensions", clusters_fail_in_very_many_dimensions),
    ("clusters", "faster than exhaustive search, slower than trees in low dimensions", clusters_lie_between),
)


def judge(points: Sequence[Point]) -> list[Verdict]:
    """All claims, decided by these points."""
    measured = Measurements(points)
    return [Verdict(family, claim, *rule(measured)) for family, claim, rule in CLAIMS]
