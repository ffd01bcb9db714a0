"""The search parameters that decide what is found: where a search stood, and how far up each can go."""

from collections.abc import Callable
from typing import Any, NamedTuple

from annlab.explain.explanation import Cause
from annlab.graphs.structure import GraphStructure
from annlab.hashing.structure import LSHStructure
from annlab.index import Index
from annlab.inverted.structure import IVFStructure
from annlab.trees.structure import TreeStructure


class Knob(NamedTuple):
    """A search parameter, counted in positions that ascend with what is found.

    Attributes
    ----------
    name : str
    cause : Cause
        Of what a higher position finds.
    value : function of a position
        The value of the parameter.
    now, top : float
        Where the search stood, and the position that leaves nothing out.
    whole : bool
        Whether positions are whole numbers.
    """

    name: str
    cause: Cause
    value: Callable[[float], Any]
    now: float
    top: float
    whole: bool


_FAR = 1e6  # times the distance of the k-th: a walk that goes so far leaves nothing that it can reach


def knobs_of(index: Index, k: int, given: dict[str, Any]) -> list[Knob]:
    """The knobs of a search for k neighbours, in the order in which it makes use of them; none if it is exact."""
    state = index._state
    structure = None if state is None else state.structure
    params = index._search_params(given)
    if isinstance(structure, IVFStructure):
        effort = structure._effort(k, params)
        probes = Knob("n_probes", Cause.CELL, int, effort.n_probes, structure.n_lists, True)
        if not structure.lists.loss:
            return [probes]
        n = len(structure.vectors)
        return [probes, Knob("rerank", Cause.RERANK, lambda rows: max(1.0, rows / k), effort.keep, n, True)]
    if isinstance(structure, LSHStructure):
        plan, n = structure.plans.of(k, params), len(structure.vectors)
        candidates = Knob("rerank", Cause.RERANK, int, min(plan.keep, n), n, True)
        if not structure.finder.most_probes:
            return [candidates]
        most = structure.finder.most_probes
        return [Knob("n_probes", Cause.BUCKET, int, plan.n_probes, most, True), candidates]
    if isinstance(structure, GraphStructure):
        given_reach = params["reach"]
        reach = structure.calibrations.at(k)[0] if given_reach == "auto" else given_reach
        return [Knob("reach", Cause.ENDED, float, float(reach), _FAR, False)]
    if isinstance(structure, TreeStructure):
        leaves = params["max_leaves"]
        every = len(structure.vectors) // 8 + 2
        knobs = [Knob("max_leaves", Cause.ENDED, int, leaves, max(every, leaves), True)] if leaves else []
        if params["epsilon"] > 0:
            knobs.append(Knob("epsilon", Cause.PRUNED, lambda position: -position, -params["epsilon"], 0.0, False))
        return knobs
    return []
