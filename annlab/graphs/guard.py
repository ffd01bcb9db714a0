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
from annlab.kernels.graphs.walk_search import COUNT, TOTAL

LEAST = 64  # queries that one opinion is formed of
_FARTHER = 0.25  # of the logarithm of the squared distance: an eighth farther away
_SURE = 5.0  # standard errors


def judge(numbers: np.ndarray, calibration: Calibration) -> bool:
    """Look at what the kernel counted in `numbers`, begin anew, and warn if queries come from elsewhere."""
    count, total = float(numbers[COUNT]), float(numbers[TOTAL])
    numbers[COUNT] = numbers[TOTAL] = 0.0
    if not calibration.n_queries or count < LEAST:
        return False
    gap = total / count - calibration.nearness
    if gap <= max(_FARTHER, _SURE * calibration.spread / math.sqrt(count)):
        return False
    warn_of_recall(
        f"{count:.0f} queries found their neighbours {math.exp(gap / 2):.2f} times as far away as those did on which "
        f"reach={calibration.reach:.3g} was measured, so recall may be below the target of {calibration.target:g}: "
        "give calibrate() some hundred of your queries, or search with a larger reach"
    )
    return True
