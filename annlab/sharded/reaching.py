"""What a replica says of where its rows lie: its reach (reach.py), after so many operations of the log.

It is measured once from all rows, and then widened by what the log adds; a removal leaves it as it is, which is never
wrong. Where the log does not reach back, or the content was replaced or built anew, it is measured again.
"""

from typing import Any

import numpy as np

from annlab.sharded import reach
from annlab.sharded.cells import Cells
from annlab.sharded.errors import BehindError
from annlab.sharded.part import Part

_OF_ALL = ("fit", "rebuild")


class Reaching(Part):
    """The part of `Replica` that the head of the file tells of."""

    _cells: tuple[str, Cells] | None = None
    _reach: tuple[str, int, np.ndarray] | None = None
    """Of the cells in this file, after so many operations."""

    def _refuse_if_moved(self) -> None: ...

    async def reach(self, key: str, at_least: int) -> tuple[int, np.ndarray]:
        """The reach around the cells in a file of the store, and after which operation."""
        if self.applied < at_least or not self._current:
            self._ask_writer()
            raise BehindError(f"{self.name} has applied {self.applied} operations, the token asks for {at_least}")
        self._refuse_if_moved()
        if self._cells is None or self._cells[0] != key:
            self._cells = key, Cells.get(self.manifests.store, key)
        seq, cells = self.applied, self._cells[1]
        found = self._known_reach(key, cells)
        if found is None:
            found = await self.world.work(reach.of_index, cells, self.visible)
        if self._reach is None or self._reach[0] != key or self._reach[1] <= seq:
            self._reach = key, seq, found
        return seq, found

    def _known_reach(self, key: str, cells: Cells) -> Any:
        """The reach now, if it follows from the last one; else None."""
        if self._reach is None or self._reach[0] != key or self._reach[1] < self.journal.snapshot_seq:
            return None
        _, after, found = self._reach
        for operation in self.journal.read(after, self.applied):
            if operation.kind in _OF_ALL:
                return None
            if operation.rows is not None and len(operation.rows):
                found = reach.widened(found, cells, operation.rows)
        return found
