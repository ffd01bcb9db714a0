"""Team-draft interleaving as a stage: two rankings of the same candidates in one list (`evaluation/interleaving.py`).

Each of the two is a list of stages, and both begin with the same window of candidates, so whatever pages do with a
window they do with a draft. A picture goes with those that its team put under it, unless they stand in the list
already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from annlab.evaluation.interleaving import team_draft
from annlab.visual.ranked import Candidate, Ranked, Stage


class Draft:
    """The stages of one search of an interleaving experiment.

    Parameters
    ----------
    a, b : sequences of Stage
    seed : int
        Of the coins.

    Attributes
    ----------
    teams : dict
        By the id of each picture of the list, 0 or 1: A or B put it there.
    """

    def __init__(self, a: Sequence[Stage], b: Sequence[Stage], seed: int) -> None:
        self._both, self._rng = (tuple(a), tuple(b)), np.random.default_rng(seed)
        self.teams: dict[int, int] = {}

    def __call__(self, ranked: Ranked) -> Ranked:
        outcomes = [_ranked(stages, ranked) for stages in self._both]
        by_key = [{one.key: one for one in outcome.candidates} for outcome in outcomes]
        keys = [[one.key for one in outcome.candidates] for outcome in outcomes]
        drafted = team_draft(keys[0], keys[1], max(1, sum(map(len, keys))), self._rng)
        leads = {int(key) for key in drafted.items}
        taken: set[int] = set()
        chosen: list[Candidate] = []
        for key, team in zip(drafted.items.tolist(), drafted.teams.tolist(), strict=True):
            if key in taken:
                continue
            one = by_key[team][key]
            under = tuple(each for each in one.under if each.key not in taken and each.key not in leads)
            one = one._replace(under=under) if len(under) < len(one.under) else one
            taken.update(one.keys)
            self.teams.update(dict.fromkeys((one.id, *one.folded), team))
            chosen.append(one)
        dropped = tuple(one for one in outcomes[0].dropped if one.key not in taken)
        return replace(ranked, candidates=tuple(chosen), dropped=ranked.dropped + dropped)


def _ranked(stages: Sequence[Stage], ranked: Ranked) -> Ranked:
    for stage in stages:
        ranked = stage(ranked)
    return ranked
