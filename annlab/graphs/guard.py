"""Noticing queries that come from elsewhere than the rows.

What `reach` promises was measured on rows, or on queries that a user gave. Queries of another kind (text that searches
for pictures, an encoder that was changed) lie between the rows; their neighbours are far away, hardly nearer than many
other rows, and a walk that was made for near ones ends too early. They are recognised by just that: the k-th neighbour
that they find is farther away than it was for the queries that were measured. One such query may be chance, so the
logarithms of a few dozen are averaged.
"""

import math

import numpy as np

from annlab.core.heldout import warn_of_recall
from annlab.graphs.calibration import Calibration
from annlab.kernels.graphs.walk_search import COUNT, ENOUGH, TOTAL

_FARTHER = 0.25  # of the logarithm of the squared distance: an eighth farther away
_SURE = 5.0  # standard errors
_SELDOM = 4096.0  # queries between two opinions, in the end


def judge(tally: np.ndarray, calibration: Calibration) -> None:
    """Look at what kernels counted, if it is enough; begin anew, and warn if queries come from elsewhere."""
    count, total = float(tally[COUNT]), float(tally[TOTAL])
    if count < tally[ENOUGH]:
        return
    tally[COUNT] = tally[TOTAL] = 0.0
    tally[ENOUGH] = min(2.0 * tally[ENOUGH], _SELDOM)
    gap = total / count - calibration.nearness
    if gap > max(_FARTHER, _SURE * calibration.spread / math.sqrt(count)):
        tally[ENOUGH] = np.inf  # once is enough
        warn_of_recall(
            f"{count:.0f} queries found their neighbours {math.exp(gap / 2):.2f} times as far away as those did on "
            f"which reach={calibration.reach:.3g} was measured, so recall may be below the target of "
            f"{calibration.target:g}: give calibrate() some hundred of your queries, or search with a larger reach"
        )
