"""Experiments on a catalog: two rankings, the people who saw which, and what their clicks say.

    experiment = start(catalog, "diversity", a=Arm("now", text), b=Arm("new", other), users=2000)
    experiment.smallest         # a smaller difference than this cannot be expected to show: look at it first
    standing = status(catalog)  # as often as one likes
    stop(catalog)

An arm is the text of a file of stages (`reranking.py`), which is kept with the experiment: what is served does not
change when a file does. A running service asks for the experiment every few seconds. A person who has a key is in the
same arm every time, by a hash (`evaluation/experiments.py`), and result lists say which arm made them; people without a
key cannot be told apart, and take no part. An *interleaved* experiment shows everybody both rankings in one list.

One experiment runs at a time. Finished ones stay among the catalog's settings.
"""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import delete, func, insert, select

from annlab.evaluation.experiments import (
    Difference,
    SampleRatio,
    assign,
    compare_arms,
    detectable_difference,
    sample_ratio,
)
from annlab.evaluation.interleaving import Preference, preference
from annlab.visual.catalog import Catalog, CatalogError
from annlab.visual.reranking import LARGEST_FILE, parse_ranking
from annlab.visual.schema import interactions, result_lists, settings

_PREFIX = "experiment "
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}")
_HISTORY_DAYS = 28
ARMS = ("A", "B")


class Arm(NamedTuple):
    """What it is called, and the text of its file of stages."""

    label: str
    ranking: str


@dataclass(frozen=True)
class Experiment:
    """One experiment, as it is kept.

    Attributes
    ----------
    name : str
    a, b : Arm
    weights : tuple of float
        How many users each arm shall have, relative to the other.
    interleaved : bool
    users : int
        How many are planned, both arms together.
    smallest : float
        The smallest difference of click-through rates that so many are likely to show.
    started : str
        Time in ISO form; `stopped` is "" while it runs.
    """

    name: str
    a: Arm
    b: Arm
    weights: tuple[float, float] = (1.0, 1.0)
    interleaved: bool = False
    users: int = 0
    smallest: float = math.nan
    started: str = ""
    stopped: str = ""

    @property
    def arms(self) -> dict[str, float]:
        """Weights by the arms' names."""
        return dict(zip(ARMS, self.weights, strict=True))

    def arm_of(self, user_id: int) -> str:
        """The arm of a user, A or B; of both where they are interleaved."""
        return "A+B" if self.interleaved else assign(user_id, self.name, self.arms)

    def ranker(self, arm: str) -> str:
        """What result lists of an arm say made them."""
        return f"{self.name}/{arm}"


class Standing(NamedTuple):
    """How an experiment stands: `difference` for arms, `liked` where they are interleaved; None while too few came."""

    experiment: Experiment
    users: tuple[int, int]
    split: SampleRatio | None
    difference: Difference | None
    liked: Preference | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        kept = asdict(self.experiment)
        kept["a"], kept["b"] = self.experiment.a.label, self.experiment.b.label
        parts = {
            name: part._asdict() if part is not None else None
            for name, part in (("split", self.split), ("difference", self.difference), ("liked", self.liked))
        }
        return {**kept, "seen": list(self.users), **parts, "in words": self.verdict()}  # fmt: skip

    def verdict(self) -> str:
        """What follows, in words."""
        if self.split is not None and not self.split.sound:
            return (f"users were not split as planned (p = {self.split.p_value:.1g}): something loses users of one "
                    "arm, and until that is explained no figure means anything")  # fmt: skip
        if self.liked is not None:
            if self.liked.p_value < 0.05:
                return f"users prefer {'B' if self.liked.share_b > 0.5 else 'A'}, if this was the one look decided on"
            return "no preference shows yet"
        if self.difference is None:
            return "too few have come to say anything"
        if self.difference.always_low > 0 or self.difference.always_high < 0:
            better = "B" if self.difference.difference > 0 else "A"
            return f"{better} is clicked more: the interval that holds however often one looks leaves 0 out"
        return "undecided: the interval that holds however often one looks has 0 in it"


def start(catalog: Catalog, name: str, a: Arm, b: Arm, *, users: int | None = None,
          weights: tuple[float, float] = (1.0, 1.0), interleaved: bool = False, rate: float | None = None,
          showings: float | None = None) -> Experiment:  # fmt: skip
    """Begin an experiment; see the head of the file. `plan` says the same without beginning it.

    Raises
    ------
    CatalogError
        One is running, or the name was used before.
    ValueError
        A name, weight or number that cannot be, or nothing from which the smallest difference could be told.
    """
    planned = plan(catalog, name, a, b, users=users, weights=weights, interleaved=interleaved, rate=rate,
                   showings=showings)  # fmt: skip
    begun = replace(planned, started=catalog.now().isoformat(timespec="seconds"))
    with catalog.writing() as connection:
        connection.execute(insert(settings), {"name": _PREFIX + name, "value": json.dumps(asdict(begun))})
    return begun


def plan(catalog: Catalog, name: str, a: Arm, b: Arm, *, users: int | None = None,
         weights: tuple[float, float] = (1.0, 1.0), interleaved: bool = False, rate: float | None = None,
         showings: float | None = None) -> Experiment:  # fmt: skip
    """An experiment that could begin, with the smallest difference that it is likely to show.

    Parameters
    ----------
    name : str
        Letters, digits and ``_.-``.
    a, b : Arm
    users : int, optional
        Planned, both arms together; as many as were shown something in the last 28 days.
    weights : pair of float
    interleaved : bool
        Show both rankings in one list, in place of two arms.
    rate, showings : float, optional
        The click-through rate and the showings a user that are expected; those of the last 28 days.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"an experiment's name has letters, digits, _, . and -, up to 41 of them; {name!r} is none")
    for arm in (a, b):
        if len(arm.ranking.encode()) > LARGEST_FILE:
            raise ValueError(f"{arm.label} has more than {LARGEST_FILE} bytes")
        parse_ranking(arm.ranking, arm.label)
    if len(weights) != 2 or not all(math.isfinite(weight) and weight > 0 for weight in weights):
        raise ValueError(f"there are two weights, both above 0, not {weights!r}")
    for other in experiments(catalog):
        if not other.stopped:
            raise CatalogError(f"the experiment {other.name} is running: annlab experiment stop ends it")
        if other.name == name:
            raise CatalogError(f"there was an experiment {name} already, and its users would keep their arms: take "
                               "another name")  # fmt: skip
    had, shown = _history(catalog)
    n = len(shown) if users is None else int(users)
    if n < 4:
        raise ValueError(f"an experiment with {n} users shows nothing: say how many will come with --users")
    return Experiment(name, a, b, (float(weights[0]), float(weights[1])), bool(interleaved), n,
                      _smallest(had, shown, n, rate, showings))  # fmt: skip


def experiments(catalog: Catalog) -> list[Experiment]:
    """All that there were, the latest last."""
    with catalog.database.reading() as connection:
        query = select(settings.c.value).where(settings.c.name.startswith(_PREFIX))
        found = [json.loads(value) for value in connection.scalars(query)]
    made = [Experiment(**{**each, "a": Arm(*each["a"]), "b": Arm(*each["b"]), "weights": tuple(each["weights"])})
            for each in found]  # fmt: skip
    return sorted(made, key=lambda one: one.started)


def running(catalog: Catalog) -> Experiment | None:
    """The one that runs."""
    return next((one for one in experiments(catalog) if not one.stopped), None)


def stop(catalog: Catalog) -> Standing:
    """End the one that runs, and how it stands.

    Raises
    ------
    CatalogError
        None is running.
    """
    experiment = running(catalog)
    if experiment is None:
        raise CatalogError("no experiment is running")
    ended = replace(experiment, stopped=catalog.now().isoformat(timespec="seconds"))
    with catalog.writing() as connection:
        name = _PREFIX + ended.name
        connection.execute(delete(settings).where(settings.c.name == name))
        connection.execute(insert(settings), {"name": name, "value": json.dumps(asdict(ended))})
    return status(catalog, ended.name)


def status(catalog: Catalog, name: str | None = None) -> Standing:
    """How an experiment stands: the one of a name, or the latest.

    Raises
    ------
    CatalogError
        There is none.
    """
    found = [one for one in experiments(catalog) if name in (None, one.name)]
    if not found:
        raise CatalogError("there was no experiment" + (f" {name}" if name is not None else ""))
    experiment = found[-1]
    if experiment.interleaved:
        n, liked = _liked(catalog, experiment)
        return Standing(experiment, (n, n), None, None, liked)
    counts = [_by_user(catalog, experiment.ranker(arm)) for arm in ARMS]
    seen = len(counts[0]), len(counts[1])
    if min(seen) < 2:
        return Standing(experiment, seen, None, None, None)
    had, shown = np.concatenate([np.array(list(arm.values()), float) for arm in counts]).T
    found_difference = compare_arms(had, shown, np.repeat([False, True], seen), planned_users=experiment.users)
    return Standing(experiment, seen, sample_ratio(seen, experiment.weights), found_difference, None)


def _smallest(had: np.ndarray, shown: np.ndarray, n: int, rate: float | None, showings: float | None) -> float:
    if rate is None and showings is None and len(shown) >= 4:
        return detectable_difference(had, shown, n)
    if rate is None or showings is None or not 0 < rate < 1 or not 0 < showings < math.inf:
        raise ValueError(f"{len(shown)} users were shown something in the last {_HISTORY_DAYS} days, too few to tell "
                         "what the experiment can show: give both --rate, the expected share of results that are "
                         "clicked (such as 0.1), and --showings, the results that a user is shown")  # fmt: skip
    quantiles = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    return quantiles * math.sqrt(4 * rate * (1 - rate) / (showings * n))


def _history(catalog: Catalog) -> tuple[np.ndarray, np.ndarray]:
    since = catalog.now() - datetime.timedelta(days=_HISTORY_DAYS)
    counts = np.array(list(_by_user(catalog, None, since).values()), float).reshape(-1, 2)
    return counts[:, 0], counts[:, 1]


def _by_user(catalog: Catalog, ranker: str | None,
             since: datetime.datetime | None = None) -> Mapping[int, tuple[int, int]]:  # fmt: skip
    """Clicks and showings of everybody who was shown something, of one ranker or since a time."""
    c = interactions.c
    query = select(c.user_id, c.kind, func.count()).where(c.user_id.is_not(None)).group_by(c.user_id, c.kind)
    if ranker is not None:
        query = query.join(result_lists, c.result_list_id == result_lists.c.id).where(result_lists.c.ranker == ranker)
    if since is not None:
        query = query.where(c.at >= since)
    found: dict[int, list[int]] = {}
    with catalog.database.reading() as connection:
        for user, kind, n in connection.execute(query):
            found.setdefault(user, [0, 0])[int(kind == "impression")] = n
    return {user: (min(had, shown), shown) for user, (had, shown) in found.items() if shown}


def _liked(catalog: Catalog, experiment: Experiment) -> tuple[int, Preference | None]:
    """Users who saw interleaved lists, and whose results they clicked."""
    c, lists = interactions.c, result_lists.c
    of_it = lists.ranker == experiment.ranker("A+B")
    clicks = select(lists.id, lists.user_id, c.displayed_image_id).join(result_lists, c.result_list_id == lists.id)
    with catalog.database.reading() as connection:
        shown = {id: (images, details) for id, images, details in
                 connection.execute(select(lists.id, lists.images, lists.details).where(of_it))}  # fmt: skip
        n = int(connection.scalar(select(func.count(lists.user_id.distinct())).where(of_it)) or 0)
        rows = connection.execute(clicks.where(of_it, c.kind == "click", lists.user_id.is_not(None))).all()
    if not n:
        return 0, None
    who, teams = [], []
    for id, user, image in rows:
        images, details = shown[id]
        team = (details or {}).get("teams", [])[images.index(image)]
        if team is not None:
            who.append(user)
            teams.append(team)
    return n, preference(np.array(who, np.int64), np.array(teams, np.int64), n_users=n)
