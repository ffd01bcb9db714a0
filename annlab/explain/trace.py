"""What a search did, step by step: which part of the index it looked into, why then, and what that cost."""

from dataclasses import dataclass, field

import numpy as np

_SHOWN = 6  # steps that a text names


@dataclass(frozen=True)
class Step:
    """A part of an index: one that a search looked into, or one that it left out.

    Attributes
    ----------
    what : str
        "cell", "bucket", "leaf", "node", "codes", "re-ranking", "added rows" or "all rows".
    number : int
        Which of its kind; -1 where there is only one.
    near : float
        What gave it its place: see `Trace.order`. NaN where nothing did.
    ids : (m,) int64
        What may be returned of the rows that were compared here, and not in a step before.
    compared : int
        Rows that were compared.
    bytes : int
        Bytes of vectors or codes that were read for that.
    limit : float
        For what was left out: the limit that it was beyond. NaN where its place alone decided.
    parent : int
        Of a node: the node that led to it; -1 where none did.
    """

    what: str
    number: int
    near: float
    ids: np.ndarray
    compared: int
    bytes: int
    limit: float = float("nan")
    parent: int = -1

    def __str__(self) -> str:
        name = self.what if self.number < 0 else f"{self.what} {self.number:,}"
        return name if np.isnan(self.near) else f"{name} ({self.near:.3g})"


@dataclass(frozen=True)
class Trace:
    """The steps of a search, in their order, and what it left out.

    Attributes
    ----------
    order : str
        What `Step.near` is.
    steps : tuple of Step
    left_out : tuple of Step
        What is next first: the cells, buckets and nodes that would have had their turn, or (trees) what a bound pruned.
    beforehand : int
        Centroids or entries that were compared before the first step.
    rule : str
        Why the rest was left out.
    """

    order: str
    steps: tuple[Step, ...]
    left_out: tuple[Step, ...] = ()
    beforehand: int = 0
    rule: str = ""
    notes: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def compared(self) -> int:
        """Rows, centroids and entries that were compared: what `SearchStats.distances` counts."""
        return self.beforehand + sum(step.compared for step in self.steps)

    def __str__(self) -> str:
        if not self.steps:
            return "looked at nothing"
        named = ", ".join(str(step) for step in self.steps[:_SHOWN])
        more = len(self.steps) - _SHOWN
        lines = [f"in this order: {named}" + (f" and {more:,} more" if more > 0 else "")]
        if any(not np.isnan(step.near) for step in self.steps):
            lines[0] += f"; in brackets {self.order}"
        if self.left_out:
            lines.append(f"left out {len(self.left_out):,}, {self.rule}: the next would have been {self.left_out[0]}")
        return "\n".join(lines)


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"
