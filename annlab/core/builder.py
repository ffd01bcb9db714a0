"""Builder: makes the structures of one index, at the first fit, when it is compacted, and when it grows."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from annlab.common.memory import IN_MEMORY, Workspace, is_mapped, rows_at_once
from annlab.common.progress import Progress
from annlab.core import blocks
from annlab.core.attributes import Attribute, criteria_values
from annlab.core.snapshot import require_finite
from annlab.core.state import State
from annlab.core.structure import Building, Structure
from annlab.distances import Metric

Built = tuple[Structure, np.ndarray | None]
"""A structure, and which of the given rows each of its rows is (None: the same one)."""


@dataclass(frozen=True)
class Builder:
    """What an index knows about building: the algorithm, the metric, the parameters and the seed."""

    structure_class: type[Structure]
    metric: Metric
    params: dict[str, Any]
    seed: int

    def build(self, vectors: np.ndarray, columns: dict[str, Attribute], threads: int, progress: Progress, *,
              owned: bool, workspace: Workspace = IN_MEMORY) -> Built:  # fmt: skip
        """A structure of vectors (n, dim) with these attributes."""
        return self.structure_class.build(vectors, self._building(columns, threads, progress, owned, workspace))

    def rebuild(self, state: State, rows: np.ndarray, threads: int, progress: Progress) -> Built:
        """A structure of some rows of a state; in a file again if their vectors come from one."""
        columns = {name: column[rows] for name, column in state.columns.items()}
        if not (self.structure_class.builds_in_files and is_mapped(state.sealed_vectors)):
            vectors = state.gather(rows)
            require_finite("vectors", vectors)  # where they were mapped, nobody has looked at them yet
            return self.build(vectors, columns, threads, progress, owned=True)
        workspace, dim = Workspace.in_files(), state.tail.array.shape[1]
        at_once = rows_at_once(dim)
        parts = (state.gather(rows[start : start + at_once]) for start in range(0, len(rows), at_once))
        source = blocks.read(parts, None, None, dim, workspace.folder, progress)
        return self.build(source.vectors, columns, threads, progress, owned=True, workspace=workspace)

    def absorb(self, state: State, threads: int) -> Built | None:
        """The structure of a state with the rows of its tail taken in; None where it has to be built anew."""
        if state.structure is None:
            return None
        require_finite("tail", state.tail.array)
        building = self._building(state.columns, threads, lambda what, share: None, True, IN_MEMORY)
        return state.structure.absorb(state.tail.array, building)

    def _building(self, columns: dict[str, Attribute], threads: int, progress: Progress, owned: bool,
                  workspace: Workspace) -> Building:  # fmt: skip
        names = self.structure_class.divides_by(self.params)
        criteria = partial(criteria_values, names, columns) if names else None
        return Building(self.metric, self.params, self.seed, threads, progress, owned, criteria, workspace)
