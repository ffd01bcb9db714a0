"""`python -m benchmarks claims`: the rules that turn measurements into verdicts, and the page."""

import numpy as np
import pytest

from benchmarks import claims
from benchmarks.claim_rules import Measurements, Point, judge


def points(cost) -> list[Point]:
    """All families over all grids, with `cost(grid, value, family)` microseconds."""
    return [Point(grid, value, family, 0.9999, cost(grid, value, family), cost(grid, value, family))
            for grid, values in claims.GRIDS.items() for value in values for family in claims.FAMILIES]  # fmt: skip


def as_the_textbook(grid: str, value: float, family: str) -> float:
    """A world in which every claim is true."""
    if family == "exact":
        return value if grid.startswith("size") else 1000.0
    if grid == "separation":
        return 2000 / (1 + value)
    if grid == "rays":
        return 50 / value
    if grid == "accuracy":
        return 2 / (1.0001 - value)
    if grid.startswith("size"):
        return {
            "tree": 5.0 if value < 1e6 else value,
            "LSH": 50.0,
            "clusters": 2000.0 if value < 5000 else value**0.5 if value < 1e6 else value,
        }[family]
    return {"tree": value**2, "LSH": 300.0, "clusters": 60 * value**0.5}[family]


def verdicts(cost) -> dict[str, str]:
    return {verdict.claim: verdict.verdict for verdict in judge(points(cost))}


def test_in_a_textbook_world_the_textbook_is_right() -> None:
    found = verdicts(as_the_textbook)
    unexpected = {claim: verdict for claim, verdict in found.items() if not verdict.startswith("holds")}
    # One contradicts another: a tree that slows down with millions of rows is not logarithmic.
    assert set(unexpected) <= {"logarithmic in low dimensions"}


def test_where_nothing_beats_a_scan_nothing_is_praised() -> None:
    found = verdicts(lambda grid, value, family: 1.0 if family == "exact" else 10.0)
    praise = ["to be used when data is low-dimensional and about uniform", "scales to very large sets",
              "faster than exhaustive search, slower than trees in low dimensions",
              "works in high dimensions, without the curse of dimensionality"]  # fmt: skip
    assert [found[claim] for claim in praise] == ["does not hold"] * 4
    assert found["not suitable for high-dimensional data"] == "holds"


def test_low_intrinsic_dimension_is_named_as_the_condition() -> None:
    def cost(grid: str, value: float, family: str) -> float:
        return 1000.0 if family == "exact" else 1.0 if grid == "fixed" else max(value, 1.0) ** 2

    assert verdicts(cost)["not suitable for high-dimensional data"].startswith("holds if the intrinsic dimension")


def test_a_recall_that_is_not_reached_is_no_speed() -> None:
    measured = Measurements([Point("full", 2, "exact", 1.0, 10.0, 1), Point("full", 2, "LSH", 0.5, 1.0, 1)])
    assert measured.gain("full", "LSH") == {2: 0.0}


def test_growth_is_a_power() -> None:
    measured = Measurements([Point("size", n, "tree", 1.0, 3 * n**0.5, 1) for n in (1e3, 1e4, 1e5)])
    assert measured.exponent("size", "tree") == pytest.approx(0.5)


def test_clusters_are_as_far_apart_as_is_said() -> None:
    train, _ = claims.separated(3000, 32, 0.0)
    assert np.linalg.norm(train.mean(axis=0)) < 0.5 and train.std() == pytest.approx(1, abs=0.02)
    far, _ = claims.separated(3000, 32, 8.0)
    assert far.std() == pytest.approx((1 + 32) ** 0.5, rel=0.1)


def test_rows_on_rays_differ_in_length_and_hardly_in_direction() -> None:
    train, queries = claims.rays(2000, 64, 0.003)
    unit = train / np.linalg.norm(train, axis=1, keepdims=True)
    asked = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    assert (asked @ unit.T).max(axis=1).min() > 0.9999
    assert np.linalg.norm(train, axis=1).std() > 0.2


def test_every_family_is_measured_at_its_recall() -> None:
    one = claims.Set("full", 4, lambda: claims._made(800, 4, 4))
    (found,) = claims.measure(iter([one]))
    assert [point.family for point in found] == list(claims.FAMILIES)
    assert all(point.recall >= claims.TARGET and point.us > 0 for point in found)
    again = claims.measure(iter([claims.Set("full", 4, lambda: pytest.fail("measured twice"))]), found)
    assert next(again) == found


def test_the_page_is_what_the_results_say() -> None:
    setting, points = claims.read(claims.RESULTS)
    assert claims.PAGE.read_text() == claims.page(points, setting), "run `python -m benchmarks claims --page`"
    assert {point.grid for point in points} == set(claims.GRIDS)
