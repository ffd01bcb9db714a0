"""BallTreeIndex."""

from typing import ClassVar

from annlab import validation
from annlab.index import Index
from annlab.kernels.tree import BALL
from annlab.trees import SEARCH_PARAMETERS, TreeStructure


class BallTreeStructure(TreeStructure):
    """Trees of balls."""

    shape: ClassVar[int] = BALL


class BallTreeIndex(Index):
    """TODO"""

    structure_class = BallTreeStructure
    metrics: ClassVar[dict[str, str]] = {"ip": "trees need a metric, which the inner product is none; use ExactIndex"}
    search_parameters = SEARCH_PARAMETERS

    @validation.checks_names
    def __init__(self, *, metric: str = "l2", dim: int | None = None, epsilon: float = 0.0,
                 max_leaves: int | None = None, seed: int = 0, auto_compact: bool = True) -> None:  # fmt: skip
        super().__init__(metric=metric, dim=dim, seed=seed, auto_compact=auto_compact, epsilon=epsilon, max_leaves=max_leaves)
