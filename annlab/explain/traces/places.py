"""Where a missed row lies in an index, in words: its cell and its rank, the bits of its key, its leaf, or its node."""

import numpy as np

from annlab.explain.trace import Trace, ordinal
from annlab.explain.traces import graphs, hashes, lists, trees
from annlab.explain.traces.asked import Asked
from annlab.graphs.structure import GraphStructure
from annlab.hashing.finders import BucketFinder
from annlab.hashing.structure import LSHStructure
from annlab.inverted.structure import IVFStructure
from annlab.trees.structure import TreeStructure

_BITS_NAMED = 4


def place_of(asked: Asked, trace: Trace, id_: int) -> str:
    """Of a row of the structure; "" for others, and where there is nothing to say."""
    rows = np.flatnonzero(asked.request.keys == id_)
    if not len(rows):
        return ""
    structure, row = asked.state.structure, int(rows[0])
    if isinstance(structure, IVFStructure):
        cell = lists.cell_of(structure, row)
        order, _ = lists.order_of_cells(structure, asked)
        return f"in cell {cell}, the {ordinal(int(np.flatnonzero(order == cell)[0]) + 1)} nearest of {len(order):,}"
    if isinstance(structure, LSHStructure):
        if isinstance(structure.finder, BucketFinder):
            return _differing_bits(structure.finder, asked, row)
        codes = structure.finder.encoder
        own, other = codes.queries(asked.query).bits[0], codes.rows(structure.vectors[row : row + 1]).bits[0]
        n_bits = structure.settings.code_bits
        return f"{int(np.bitwise_count(own ^ other).sum())} of {n_bits} bits of its code differ from the query's"
    if isinstance(structure, TreeStructure):
        return _leaf(structure, asked, row, trace)
    if isinstance(structure, GraphStructure) and trace.steps:
        return _node(structure, row, trace)
    return ""


def _differing_bits(finder: BucketFinder, asked: Asked, row: int) -> str:
    """In the table where a row's key is the most like the query's."""
    own, keys = hashes.query_keys(finder, asked), hashes.keys_of_row(finder, row)
    differing = np.bitwise_count(own ^ keys)
    table = int(np.argmin(differing))
    bits = [bit for bit in range(finder.tables.n_bits) if (int(own[table] ^ keys[table]) >> bit) & 1]
    if not bits:
        return f"in the query's own bucket of table {table}"
    named = ", ".join(map(str, bits[:_BITS_NAMED])) + (", ..." if len(bits) > _BITS_NAMED else "")
    return (f"its key differs from the query's in {len(bits)} of {finder.tables.n_bits} bits ({named}) of table "
            f"{table}, and in no table of {finder.n_tables} in fewer")  # fmt: skip


def _leaf(structure: TreeStructure, asked: Asked, row: int, trace: Trace) -> str:
    walk = trees.Walk(structure, asked)
    part = next(part for part in trees.parts_of(structure) if (walk.numbers(part) == row).any())
    number = trees.number_of(structure, part)
    above = [step for step in trace.left_out if (step.ids == asked.request.keys[row]).any()]
    if not above:
        return f"in leaf {number}"
    return f"in leaf {number}, left out with {above[0].what} {above[0].number} whose bound is {above[0].near:.4g}"


def _node(structure: GraphStructure, row: int, trace: Trace) -> str:
    node = graphs.node_of(structure, row)
    if not graphs.has_seen(structure, trace, row):
        return f"node {node}, to which no opened node links"
    return f"node {node}, which the walk compared by its code"


def lost_by_code(asked: Asked, trace: Trace, id_: int) -> bool:
    """Whether a walk looked at a row, and took others for nearer."""
    structure, rows = asked.state.structure, np.flatnonzero(asked.request.keys == id_)
    return (isinstance(structure, GraphStructure) and len(rows) > 0 and bool(trace.steps)
            and graphs.has_seen(structure, trace, int(rows[0])))  # fmt: skip
