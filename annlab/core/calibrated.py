"""The part of an index that says how well it searches: the door to the measurements of `core/calibration.py`."""

import dataclasses
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np

from annlab.common import pool, validation
from annlab.core.calibration import KS, Promise
from annlab.core.collection import Collection
from annlab.core.heldout import HeldOut
from annlab.scan.scanner import Scanner

Promised = TypeVar("Promised", bound=Promise)


class Aged(Protocol):
    """When a structure was measured."""

    @property
    def n_measured(self) -> int:
        """The rows that it had then."""


class Measurable(Protocol):
    """What an index asks of a structure that chooses its own search parameters."""

    vectors: np.ndarray

    @property
    def age(self) -> Aged: ...

    @property
    def scanner(self) -> Scanner: ...

    @property
    def calibration(self) -> Any: ...

    def calibrated(self, held_out: HeldOut, target: float, threads: int, groups: np.ndarray | None = None) -> Self:
        """The same structure with parameters that reach the target on these queries."""


class Calibrated(Collection, Generic[Promised]):
    """An index whose parameters "auto" are measured, so that searches reach `target_recall`."""

    @property
    def _structure(self) -> Measurable:
        """The structure; a ValueError while there is none."""
        raise NotImplementedError

    def _calibration_now(self) -> Promised:
        structure, state = self._structure, self._require_state()
        changed = state.n_rows - structure.age.n_measured + state.n_rows - state.n_live
        measured: Promised = dataclasses.replace(structure.calibration, n_changed=changed)
        return measured

    def calibrate(self, queries: Any, *, target_recall: float | None = None, threads: int | None = None) -> Promised:
        """Measure on real queries, instead of rows of the index, what "auto" must stand for.

        Worth doing when queries are distributed otherwise than the vectors. Compares the queries with all vectors.

        Parameters
        ----------
        queries : array of shape (q, dim), some hundred
        target_recall : float, optional
            As for the constructor if not given.
        threads : int, optional

        Returns
        -------
        Calibration
        """
        recall = self._params["target_recall"] if target_recall is None else as_recall(target_recall)
        with self._compact_lock, self._write_lock:
            structure, state, n_threads = self._structure, self._require_state(), pool.resolve(threads)
            array, _ = validation.as_queries(queries, self.dim, structure.vectors.dtype, self.metric)
            if not len(array):
                raise ValueError("calibrate needs at least one query")
            mixed = np.random.default_rng(self._seed).permutation(array)
            held_out = HeldOut.of_queries(structure.vectors, self._metric, mixed, KS[2], threads=n_threads,
                                          alive=state.living[0], scanner=structure.scanner)  # fmt: skip
            measured: Any = structure.calibrated(held_out, recall, n_threads)
            self._state = dataclasses.replace(state, structure=measured)
        return self._calibration_now()


def as_recall(value: Any) -> float:
    """A recall to aim at; raises a ValueError or TypeError unless it is above 0 and at most 1."""
    recall = validation.as_number("target_recall", value, 0.0)
    if not 0 < recall <= 1:
        raise ValueError(f"target_recall must be above 0 and at most 1, but is {recall}")
    return recall
