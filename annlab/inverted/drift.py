"""Whether what was learned still fits: centroids, codes and search parameters were made for the rows of their time.

Rows that are added go to the lists that there are. If they come from where the first ones came from, all stays well. If
not (other classes, another season, an encoder that was changed), a new row is far from every centroid, its neighbours
are spread over many lists, and searches that were calibrated on other rows miss them.

So from time to time, when rows are taken in, recall is measured on held-out rows, some of those that came last and some
of the others: soon if the new ones are farther from their centroids than others are from theirs, otherwise seldom.
Where either kind is found too rarely, search parameters are measured anew, on both kinds: that is cheap and makes
searches right, if slow. And once a quarter more rows are there, so that it pays, everything is built anew. So it is if
the last rows are far from their centroids, though they be found: a list then holds what has nothing in common, and what
a filter leaves of it no longer says whether it leaves the neighbours of a query.

Growing from n to 2n rows that are always new takes builds at 1.25 n, 1.56 n and 1.95 n rows, some two thirds of the
price of three builds of 2n, since a build costs about n^1.5. What is measured between them costs less than one.
"""

from dataclasses import replace
from typing import NamedTuple, Protocol, Self, TypeVar

import numpy as np

from annlab.core.calibration import KS
from annlab.core.heldout import HeldOut, lower_bound
from annlab.core.structure import Building
from annlab.inverted.calibration import Calibrations, Searched, recalls_of
from annlab.scan.centroids import Centroids

_SOON, _SELDOM = 0.04, 0.2  # more rows, as a share: recall is measured
_PAYS = 1.25  # times the rows: a build may be due
_SLOWER = 1.5  # times the lists that had to be probed after the last build: it is due
_MORE = 4.0  # times the candidates that had to be re-ranked: it is due too
_FARTHER = 1.2  # times the squared distance from the centroid: rows come from elsewhere
_SAMPLE = 1000  # rows whose distances from their centroids are compared
_CHECKED, _CALIBRATED = 150, 300  # held-out rows of either kind


class Age(NamedTuple):
    """When what was learned was learned.

    n_trained: rows of the last build; n_measured: rows when recall was last measured; probes_trained, rerank_trained:
    what had to be done after the last build.
    """

    n_trained: int
    n_measured: int
    probes_trained: int
    rerank_trained: float

    def of_part(self, share: float) -> Self:
        """That of a share of the rows, which grow old as the whole would."""
        trained, measured = (max(1, round(n * share)) for n in (self.n_trained, self.n_measured))
        return self._replace(n_trained=trained, n_measured=measured)


class Growing(Searched, Protocol):
    """What is looked after: an `IVFStructure`."""

    calibrations: Calibrations
    centroids: Centroids
    age: Age

    def held_out(self, chosen: np.ndarray, k: int, threads: int) -> HeldOut:
        """Some rows as queries, masked, and their k nearest."""

    def with_calibrations(self, calibrations: Calibrations, age: Age) -> Self:
        """The same with other search parameters."""

    def calibrated(self, held_out: HeldOut, target: float, threads: int, groups: np.ndarray) -> Self:
        """The same with parameters that reach the target on every group of held-out queries."""


S = TypeVar("S", bound=Growing)


def brought_up_to_date(structure: S, is_new: np.ndarray, building: Building) -> S | None:
    """A structure that has taken in the rows `is_new` (n,), measured anew if need be; None: it should be built anew."""
    age, n, main = structure.age, len(structure.vectors), structure.calibrations.main
    if main.n_probes == structure.n_lists and age.probes_trained == structure.n_lists:
        return structure  # searches look at all rows, and did so from the beginning
    if _build_is_due(structure):
        return None
    more = n / age.n_measured - 1
    if main.n_probes == structure.n_lists or more < _SOON:
        return structure
    foreign = _from_elsewhere(structure, is_new)
    if foreign and n >= _PAYS * age.n_trained:
        return None
    if more < _SELDOM and not foreign:
        return structure
    held_out, groups = _held_out(structure, is_new, _CHECKED, main.k, building)
    recalls = recalls_of(structure, held_out, main.k, main.n_probes, structure.lists.shortlist(main.k, main.rerank),
                         building.threads)  # fmt: skip
    each = [recalls[groups == group] for group in np.unique(groups)]
    if min(own.mean() for own in each) >= main.target:
        now = replace(main, recall=float(recalls.mean()), bound=lower_bound(recalls, groups), n_queries=len(recalls))
        known = tuple(now if one is main else one for one in structure.calibrations.each)
        return structure.with_calibrations(replace(structure.calibrations, each=known), age._replace(n_measured=n))
    held_out, groups = _held_out(structure, is_new, _CALIBRATED, KS[2], building)
    measured = structure.calibrated(held_out, main.target, building.threads, groups)
    return None if _build_is_due(measured) else measured


def _build_is_due(structure: Growing) -> bool:
    """Whether searches have become slow, and a build pays."""
    age, main = structure.age, structure.calibrations.main
    slow = main.n_probes > _SLOWER * age.probes_trained or main.rerank > _MORE * age.rerank_trained
    return slow and len(structure.vectors) >= _PAYS * age.n_trained


def _held_out(structure: Growing, is_new: np.ndarray, size: int, k: int,
              building: Building) -> tuple[HeldOut, np.ndarray]:  # fmt: skip
    """So many of the new rows and of the others as queries, mixed, and (q,) which of them are new."""
    size = min(size, len(is_new) // 10)
    chosen = np.concatenate([building.rng.permutation(np.flatnonzero(kind))[:size] for kind in (is_new, ~is_new)])
    held_out = structure.held_out(building.rng.permutation(chosen), k, building.threads)
    return held_out, is_new[held_out.chosen]


def _from_elsewhere(structure: Growing, is_new: np.ndarray) -> bool:
    """Whether new rows are farther from the centroids of their lists than others are."""
    conversion, centroids = structure.lists.conversion, structure.centroids.array
    usual = []
    for kind in (is_new, ~is_new):
        rows = np.flatnonzero(kind)
        rows = rows[:: -(-len(rows) // _SAMPLE)]
        labels = np.searchsorted(structure.offsets, rows, side="right") - 1
        residuals = conversion.points(structure.vectors[rows]) - centroids[labels]
        usual.append(np.quantile(np.einsum("ij,ij->i", residuals, residuals), (0.5, 0.9)))
    return bool((usual[0] > _FARTHER * usual[1]).any())
