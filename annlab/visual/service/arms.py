"""What one request is ranked by: the arm of a running experiment, and the exploration slot."""

import hashlib
import logging
import random
from collections.abc import Sequence
from typing import Any

from annlab.visual.drafting import Draft
from annlab.visual.examining import EXPLORE
from annlab.visual.experiments import ARMS, Experiment, running
from annlab.visual.exploring import Explore
from annlab.visual.ranked import Stage
from annlab.visual.reranking import parse_ranking
from annlab.visual.search import VisualSearch

RANKER = "search"
"""What result lists say made them where no experiment did."""
_log = logging.getLogger(__name__)


class Turn:
    """One search: its stages (None: those of the search as it was opened), and what its list is stored with."""

    def __init__(self, ranker: str, stages: Sequence[Stage] | None, explore: Explore | None) -> None:
        self.ranker, self.stages, self._explore = ranker, stages, explore
        self._draft = next((stage for stage in stages or () if isinstance(stage, Draft)), None)

    def details(self, images: Sequence[int]) -> dict[str, Any]:
        """Of the list of these images: the teams of a draft, and what was explored."""
        found: dict[str, Any] = {}
        if self._draft is not None:
            found["teams"] = [self._draft.teams.get(id) for id in images]
        if self._explore is not None and self._explore.details:
            found[EXPLORE] = self._explore.details
        return found


class Arms:
    """The experiment that runs on a catalog, looked for now and then."""

    def __init__(self, search: VisualSearch, explore: float) -> None:
        self._explore, self._chance = explore, random.Random()
        self._experiment: Experiment | None = None
        self._stages: dict[str, list[Stage]] = {}
        self.look(search)

    def look(self, search: VisualSearch) -> None:
        """Go on with the experiment that runs now."""
        found = running(search.catalog)
        if found == self._experiment:
            return
        stages = {} if found is None else {
            arm: parse_ranking(text.ranking, text.label) for arm, text in zip(ARMS, (found.a, found.b), strict=True)
        }  # fmt: skip
        search.refresh_clicks([stage for each in stages.values() for stage in each])
        self._stages, self._experiment = stages, found
        _log.info("the experiment that runs: %s", found.name if found is not None else "none")

    def turn(self, search: VisualSearch, user_id: int | None, k: int, explores: bool) -> Turn:
        """What a search of a user is ranked by; `explores`: it is a first page by relevance that somebody will see."""
        experiment, arms = self._experiment, self._stages
        ranker, stages = RANKER, None
        if experiment is not None and user_id is not None and arms:
            arm = experiment.arm_of(user_id)
            ranker = experiment.ranker(arm)
            seed = hashlib.sha256(f"{experiment.name} {user_id} {self._chance.random()}".encode()).digest()[:8]
            stages = arms[arm] if arm in arms else [Draft(arms["A"], arms["B"], int.from_bytes(seed, "big"))]
        if not explores or self._explore == 0:
            return Turn(ranker, stages, None)
        explore = Explore(self._explore, k, self._chance)
        return Turn(ranker, [*(search.stages if stages is None else stages), explore], explore)
