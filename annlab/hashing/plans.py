"""How far a search looks: from what was tuned, k, and how many rows are allowed, to probes and candidates.

Tuning measured what finds enough among all rows, or among those that there were. Behind a filter, and after adds, it is
carried over; and where even that finds too little, the next plan looks further.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from annlab.hashing import costs
from annlab.hashing.finders import Finder
from annlab.hashing.tuning import EVERYTHING, Tuning

_FURTHER = 4  # times as many neighbours, when what was looked for is not among the first candidates
_WIDER = 2  # times as many probes, where the user says how many


class Plan(NamedTuple):
    """How one search looks for candidates: `exact` is a scan of all vectors; `reach` as in `Level`."""

    n_probes: int
    keep: int
    reach: float
    exact: bool
    nanoseconds: float


class Plans:
    """Makes the plans of n rows, and remembers them: any thread may add one."""

    def __init__(self, finder: Finder, tuning: Tuning, n: int, row_bytes: int) -> None:
        """row_bytes: of a vector."""
        self._finder, self._tuning, self._n, self._row_bytes = finder, tuning, n, row_bytes
        self._known: dict[Any, Plan] = {}

    def of(self, k: int, params: dict[str, Any], allowed: int | None = None, widened: int = 0,
           n_living: int | None = None) -> Plan:  # fmt: skip
        """How to look for k neighbours among the allowed rows; `widened` times further than should be enough.

        n_living: rows that were not removed, where that is not all of them.
        """
        asked = k, params["n_probes"], params["rerank"], allowed, widened, n_living
        plan = self._known.get(asked)
        if plan is None:
            if len(self._known) >= 1024:
                self._known.clear()
            self._known[asked] = plan = self._made(*asked)
        return plan

    def _made(self, k: int, n_probes: Any, rerank: Any, allowed: int | None, widened: int,
              n_living: int | None) -> Plan:  # fmt: skip
        """k of m allowed rows are about as near as k n / m of all n rows, if the filter does not go with the vectors.

        Then they have to be found among as many candidates as these, but for those that the filter takes away. And k
        of n rows are about as near as k t / n of t rows, for so many were measured. If the filter does go with the
        vectors, all that is near may be allowed: then as many candidates are needed as without it.
        """
        n, finder, free = self._n, self._finder, n_probes == rerank == "auto"
        there = n if allowed is None else max(int(about(np.array(allowed))), 1)
        tuned = min(n, self._tuning.n_rows)
        grown, growth, share = max(1.0, (n_living or n) / tuned), n / tuned, there / n if widened == 0 else 1.0
        further = min(k * grown * tuned / there * _FURTHER**widened, 2.0**31 - 1)
        near, level = self._tuning.at(k), self._tuning.at(further)
        probes = level.n_probes if n_probes == "auto" else n_probes * _WIDER**widened
        keep = math.ceil(max(grown * near.rerank, growth * share * level.rerank)) if rerank == "auto" else rerank
        probes, keep = min(probes, finder.most_probes), min(max(keep, k), n)
        candidates = growth * level.candidates * (probes / level.n_probes if level.n_probes else 1.0)
        scored = min(keep, candidates) if candidates else keep
        everything = n * self._row_bytes
        nanoseconds = finder.nanoseconds(probes, candidates) + costs.scoring(scored, self._row_bytes)
        may_be_exact = free or widened > 0 or probes == finder.most_probes  # else it is what the user asked for
        exact = (keep == n and probes == finder.most_probes) or (free and level.rerank == EVERYTHING)
        exact |= may_be_exact and nanoseconds > costs.worth(everything)
        reach = level.reach if free and not exact else math.inf
        return Plan(probes, keep, reach, exact, costs.scanning(everything) if exact else nanoseconds)


def about(counts: np.ndarray) -> np.ndarray:
    """Numbers of rows, rounded down to four binary digits.

    Queries with a filter each are searched together where about as many rows are allowed. How far a query looks may
    not depend on who else is asked, so it looks as far as the rounded number says, alone as in any batch.
    """
    counts = counts.astype(np.int64)
    digits = np.maximum(np.frexp(counts)[1] - 4, 0)
    return counts >> digits << digits
