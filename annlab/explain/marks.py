"""What the query, what was found and what was missed look like in every picture: shapes first, then colours."""

from collections.abc import Callable
from typing import Any

import numpy as np

from annlab.common.style import Palette
from annlab.explain.explanation import Cause, Explanation

SHORT = {
    Cause.CELL: "cell not probed",
    Cause.BUCKET: "bucket not probed",
    Cause.RERANK: "lost by its code",
    Cause.ENDED: "the search ended before",
    Cause.PRUNED: "pruned by a bound",
    Cause.UNREACHABLE: "unreachable",
    Cause.FILTERED: "filtered",
    Cause.ABSENT: "not in the index",
    Cause.TIE: "tied",
    Cause.FARTHER: "farther",
}
MARKS = {Cause.CELL: "X", Cause.BUCKET: "X", Cause.RERANK: "D", Cause.ENDED: "X", Cause.PRUNED: "P",
         Cause.UNREACHABLE: "v", Cause.FILTERED: "s", Cause.TIE: "^", Cause.FARTHER: ">"}  # fmt: skip


def mark(
    axes: Any, told: Explanation, places: Callable[[np.ndarray], np.ndarray], query: np.ndarray, colours: Palette
) -> None:
    """The query, what was found, and what was missed. places: the positions (m, 2) of some ids."""
    found = np.asarray(told.ids)[np.asarray(told.ids) >= 0]
    if len(found):
        axes.scatter(*places(found).T, s=22, color=colours.found, edgecolors=colours.paper, linewidths=0.6, zorder=6,
                     label=f"returned ({len(found)})")  # fmt: skip
    for cause in dict.fromkeys(one.cause for one in told.missed if one.cause in MARKS):
        mine = np.array([one.id for one in told.missed if one.cause is cause])
        axes.scatter(*places(mine).T, s=48, marker=MARKS[cause], color=colours.missed, edgecolors=colours.paper,
                     linewidths=0.8, zorder=7, label=f"missed: {SHORT[cause]} ({len(mine)})")  # fmt: skip
    axes.scatter(*query, s=120, marker="*", color=colours.query, edgecolors=colours.paper, linewidths=1.0, zorder=8,
                 label="query")  # fmt: skip
