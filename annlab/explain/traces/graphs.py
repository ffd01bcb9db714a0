"""The walk through a graph, done once more by the kernel that searches, and read from the trail that it leaves.

The trail is the nodes in the order in which they were seen. Which node was opened when follows from it: each opening
sees the neighbours of one node that were unseen, in the order of its links. So the walk is told step by step: the
nearest open node is tried first, and the trail must continue with what it links to. A node whose neighbours were all
seen leaves nothing on the trail, and comes where it is the nearest.
"""

from typing import Any

import numpy as np

from annlab.explain.trace import Step, Trace
from annlab.explain.traces.asked import Asked
from annlab.graphs.leading import turned
from annlab.graphs.plans import Plan
from annlab.graphs.structure import GraphStructure
from annlab.kernels.graphs import walk_search as kernels
from annlab.kernels.simd.prepared import Prepared

_NAN = float("nan")


def walked(structure: GraphStructure, asked: Asked) -> tuple[Plan, np.ndarray, int, float] | None:
    """The plan of a walk, its trail, how many nodes were opened, and the squared distance of the k-th; None: a scan."""
    plan = structure.plans.of(asked.k, asked.request)
    if plan is None:
        return None
    table = plan.table._replace(tally=np.zeros(kernels.N_TALLY), guarded=False)  # nobody asked for a neighbour
    room = kernels.new_room(*plan.room)
    prepared_table, prepared_room = Prepared(table), Prepared(room)
    counters, notes = np.zeros((1, 3), np.int64), np.full((1, kernels.N_NOTES), -1.0)
    kernel = kernels.search_bytes if structure.has_codes else kernels.search_floats
    distances, ids = np.empty((1, asked.k)), np.empty((1, asked.k), np.int64)
    kernel(asked.query, prepared_table, prepared_room, distances, ids, counters, notes)
    n_seen = int(counters[0, 0]) - len(structure.walkable.graph.entries)  # type: ignore[union-attr]
    return plan, room.walk.trail[:n_seen].copy(), int(counters[0, 1]), float(notes[0, kernels.KTH])


def distances_of(structure: GraphStructure, asked: Asked, nodes: np.ndarray) -> np.ndarray:
    """How far some nodes are, as the walk measures it: squared, among points or what codes stand for."""
    rows, lifting = structure.walkable.rows, structure.walkable.lifting  # type: ignore[union-attr]
    point = turned(lifting.queries(asked.query), rows.axes, 1)[0].astype(np.float64)
    stands = rows.array[nodes][:, : len(point)].astype(np.float64)
    if rows.has_codes:
        stands = (stands - 128.0) * rows.step
    return np.asarray(((stands - point) ** 2).sum(axis=1))


def trace(structure: GraphStructure, asked: Asked) -> Trace:
    """Of a walk."""
    walk = walked(structure, asked)
    if walk is None:
        return Trace("", ())
    plan, trail, n_opened, kth = walk
    graph = structure.walkable.graph  # type: ignore[union-attr]
    row_bytes = structure.walkable.rows.row_bytes  # type: ignore[union-attr]
    near = dict(zip(trail.tolist(), distances_of(structure, asked, trail).tolist()))
    steps = [
        Step("entry", int(trail[0]), np.sqrt(near[int(trail[0])]), _ids(structure, asked, trail[:1]), 1, row_bytes)
    ]
    opened, told = _openings(graph.links, trail, near, n_opened), 1
    for node, parent, fresh in opened:
        ids = _ids(structure, asked, trail[told : told + fresh])
        what = "node" if node >= 0 else "entries"
        n_bytes = fresh * row_bytes + (8 * graph.degree if node >= 0 else 0)
        at = float(np.sqrt(near[node])) if node >= 0 else _NAN
        steps.append(Step(what, node, at, ids, fresh, n_bytes, parent=parent))
        told += fresh
    limit = float(np.sqrt(max(kth, kth * plan.table.wanted.gamma) + plan.table.wanted.slack))
    done = {node for node, _, _ in opened}
    waiting = sorted((distance, node) for node, distance in near.items() if node not in done)
    left_out = tuple(
        Step("node", node, float(np.sqrt(distance)), _ids(structure, asked, np.array([node])), 0, 0, limit)
        for distance, node in waiting
    )
    return Trace("its distance from the query, by points or codes", tuple(steps), left_out, len(graph.entries),
                 f"beyond the reach, {limit:.3g}")  # fmt: skip


def has_seen(structure: GraphStructure, trace: Trace, row: int) -> bool:
    """Whether a walk compared the node of a row: if it is missed then, it is for what codes cannot tell."""
    node = node_of(structure, row)
    seen = {step.number for step in (*trace.steps, *trace.left_out) if step.what in ("node", "entry")}
    return node in seen


def node_of(structure: GraphStructure, row: int) -> int:
    """The node that stands for a row."""
    offsets = structure.walkable.graph.offsets  # type: ignore[union-attr]
    return row if offsets is None else int(np.searchsorted(offsets, row, side="right")) - 1


def _openings(links: np.ndarray, trail: np.ndarray, near: dict[int, float],
              n_opened: int) -> list[tuple[int, int, int]]:  # fmt: skip
    """(node, the node that led to it, how many it showed) of every opening in order; -1 for entries that were added."""
    first = int(trail[0])
    seen, parents, told = {first}, {first: -1}, 1
    waiting: list[int] = [first]
    openings: list[tuple[int, int, int]] = []
    while told < len(trail) or sum(node >= 0 for node, _, _ in openings) < n_opened:
        waiting.sort(key=lambda node: near[node])
        chosen, fresh = -1, 0
        for node in waiting:
            own = [int(v) for v in links[node] if v >= 0 and int(v) not in seen]
            if own == trail[told : told + len(own)].tolist():
                chosen, fresh = node, len(own)
                break
        if chosen < 0 and told == len(trail):
            break
        if chosen >= 0:
            waiting.remove(chosen)
        else:
            fresh = _until_explained(links, trail, told, seen)
        for node in trail[told : told + fresh].tolist():
            seen.add(node)
            parents[node] = chosen
            waiting.append(node)
        told += fresh
        openings.append((chosen, parents.get(chosen, -1), fresh))
    return openings


def _until_explained(links: np.ndarray, trail: np.ndarray, told: int, seen: set[int]) -> int:
    """How many entries were listed together: those up to where the trail goes on with the links of one of them."""
    listed = 1
    while told + listed < len(trail):
        among = seen | set(trail[told : told + listed].tolist())
        rest = trail[told + listed :]
        for node in trail[told : told + listed].tolist():
            own = [int(v) for v in links[node] if v >= 0 and int(v) not in among]
            if own and own == rest[: len(own)].tolist():
                return listed
        listed += 1
    return listed


def _ids(structure: GraphStructure, asked: Asked, nodes: np.ndarray) -> np.ndarray:
    """The ids of the rows of some nodes."""
    offsets: Any = structure.walkable.graph.offsets  # type: ignore[union-attr]
    if offsets is None:
        return asked.ids(nodes.astype(np.int64))
    rows = [np.arange(offsets[node], offsets[node + 1]) for node in nodes.tolist()]
    return asked.ids(np.concatenate(rows) if rows else np.zeros(0, np.int64))
