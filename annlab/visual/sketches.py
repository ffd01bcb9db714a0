"""The sketches of all leaders, as bytes, and the search for the ones that are near a picture's.

    blocks    (16384, 63) int8 each: sketches as the catalog holds them; never copied or enlarged
    ids       (16384,) int64 of each block: -1 where a place is free, and its sketch is far from all there can be

So a hundred thousand pictures take 7 MB, and memory grows by a block at a time. An index of floats would take four
times as much, and leave holes in the memory of the process where its arrays have grown.

A search brings one block after the other to float32 and scans it (`scan/scanner.py`); what the scan leaves is measured
in whole numbers. So the same pictures are found on every machine.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from annlab.common.statistics import N_COUNTERS
from annlab.distances import METRICS
from annlab.scan.points import Extent
from annlab.scan.scanner import Scanner
from annlab.visual.pictures import SCALE, SKETCH_DIM, quantized

_ROWS = 16384
_FREE = -1
_FAR = 127  # in all places: no sketch is near that
_EXTENT = Extent(np.zeros(SKETCH_DIM), _FAR, _FAR * SKETCH_DIM**0.5, 1.0)


class Sketches:
    """Sketches by id, and the nearest of them; for one thread."""

    def __init__(self) -> None:
        self._blocks: list[np.ndarray] = []
        self._ids: list[np.ndarray] = []
        self._free: list[tuple[int, int]] = []  # block and row
        self._largest = -1  # id that was ever here
        self._room = np.empty((_ROWS, SKETCH_DIM), np.float32)

    def __len__(self) -> int:
        return len(self._blocks) * _ROWS - len(self._free)

    def add(self, sketches: Mapping[int, np.ndarray]) -> None:
        """Make sketches (SKETCH_DIM,) known, by id; one that is known gets its new sketch."""
        self.remove(id for id in sketches if id <= self._largest)
        for id, sketch in sketches.items():
            if not self._free:
                self._blocks.append(np.full((_ROWS, SKETCH_DIM), _FAR, np.int8))
                self._ids.append(np.full(_ROWS, _FREE, np.int64))
                self._free = [(len(self._blocks) - 1, row) for row in reversed(range(_ROWS))]
            block, row = self._free.pop()
            self._blocks[block][row] = quantized(sketch)
            self._ids[block][row] = id
            self._largest = max(self._largest, id)

    def remove(self, ids: Iterable[int]) -> None:
        """Forget sketches; ids that are not here are left out."""
        gone = np.fromiter((id for id in ids if id <= self._largest), np.int64)
        if not len(gone):
            return
        for block, known in enumerate(self._ids):
            rows = np.flatnonzero(np.isin(known, gone))
            known[rows], self._blocks[block][rows] = _FREE, _FAR
            self._free += [(block, row) for row in rows.tolist()]

    def near(self, sketches: np.ndarray, k: int, within: float) -> list[list[tuple[float, int]]]:
        """For each of some sketches (q, SKETCH_DIM) the k nearest within a distance: (distance, id), nearest first."""
        queries = quantized(sketches)
        found: list[list[tuple[float, int]]] = [[] for _ in queries]
        room, counters = self._room, np.zeros((len(queries), N_COUNTERS), np.int64)
        for block, ids in zip(self._blocks, self._ids, strict=True):
            np.copyto(room, block)
            scanner = Scanner(room, METRICS["l2"], _EXTENT)
            rows = scanner.search(queries.astype(np.float32), k, None, ids, 1, counters)
            places, columns = np.nonzero(rows >= 0)
            left = rows[places, columns]
            apart = _apart(queries[places], block[left])
            near = apart <= within
            for place, distance, id in zip(places[near].tolist(), apart[near].tolist(), ids[left[near]].tolist(),
                                           strict=True):  # fmt: skip
                found[place].append((distance, id))
            found = [sorted(each)[:k] for each in found]
        return found


def distances(sketches: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """(q, q): the distances of sketches (q, SKETCH_DIM) from each other, as `near` measures them."""
    whole = quantized(np.asarray(sketches))
    return np.stack([_apart(one, whole) for one in whole])


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The distances between sketches in whole numbers, in their last axis."""
    result: np.ndarray = np.sqrt((np.subtract(one, other, dtype=np.int32) ** 2).sum(axis=-1)) / SCALE
    return result
