"""The list: an index passes the contract suite by being added to `ENTRIES`.

    Entry(LSHIndex, parameters={"n_tables": 4, "n_bits": 8}, exact=False, recall=0.7)
    Entry(IVFIndex, parameters={"n_lists": 8}, exact=False, recall=0.7, exhaustive={"n_probes": 8})
    Entry(KDTreeIndex, metrics=("l2", "cosine"))

Choose parameters for data of a few hundred rows: the tests fit many small indexes. Take two entries with different
names where a parameter leads to other code. `python -m pytest tests/contract -k Name` runs one of them.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from annlab import BallTreeIndex, ExactIndex, Index, IVFIndex, KDTreeIndex, LSHIndex, VamanaIndex
from annlab.graphs.structure import GraphStructure
from tests.contract.toy import ToyIndex


class DividedTree(KDTreeIndex):
    """A tree that is divided by an attribute, which it makes up, so that every test divides it."""

    def fit(self, vectors, ids=None, *, attributes=None, **more):
        return super().fit(vectors, ids, attributes=_divided(vectors, attributes), **more)

    def _append(self, vectors, ids, attributes, on_duplicate):
        return super()._append(vectors, ids, _divided(vectors, attributes), on_duplicate)


def _divided(vectors, attributes):
    try:
        n = len(vectors)
    except TypeError:  # what has no length is refused before
        n = 0
    return {"part": np.arange(n) % 3, **(attributes or {})}


class WalkedStructure(GraphStructure):
    """A graph over few rows, too, so that small data are walked through and not scanned."""

    exact_up_to, scanned_meanwhile = 20, 1


class WalkedIndex(VamanaIndex):
    """A VamanaIndex whose small data have a graph."""

    structure_class = WalkedStructure


@dataclass(frozen=True)
class Entry:
    """An index under test."""

    index_class: type[Index]
    metrics: tuple[str, ...] = ("l2", "cosine", "ip")
    parameters: dict[str, Any] = field(default_factory=dict)
    """For building; metric and dim aside."""

    exact: bool = True
    exhaustive: dict[str, Any] = field(default_factory=dict)
    """Search parameters with which an approximate index looks at everything, and so has to be exact too."""

    recall: float = 1.0
    """Of an approximate index, recall@10 at its default search parameters on 1,500 clustered rows, 24-d: at least."""

    aim: float = 0.9
    """Of an approximate index, the recall that it aims at by itself, whatever the data and k."""

    small: dict[str, Any] = field(default_factory=dict)
    """For building too, but no part of what is chosen for the data: sizes for data of a few hundred rows."""

    name: str = ""

    def make(self, metric: str = "l2", **more: Any) -> Index:
        """An empty index."""
        return self.index_class(metric=metric, **{**self.parameters, **self.small, **more})

    @property
    def judged_exactly(self) -> bool:
        """Whether searches with `exhaustive` have to return exactly what brute force returns."""
        return self.exact or bool(self.exhaustive)

    def __str__(self) -> str:
        return self.name or self.index_class.__name__.removesuffix("Index")


ENTRIES = [
    Entry(ExactIndex),
    Entry(ExactIndex, parameters={"precision": "int8", "keep_vectors": "mmap"}, name="ExactBytes"),
    Entry(
        LSHIndex,
        parameters={"mode": "scan"},
        exact=False,
        recall=0.85,
        exhaustive={"rerank": 2**31 - 1},
        name="LSHScan",
    ),
    Entry(
        LSHIndex,
        parameters={"mode": "buckets", "family": "hyperplanes", "n_tables": 8},
        exact=False,
        recall=0.85,
        name="LSHBuckets",
    ),
    Entry(
        LSHIndex,
        parameters={"mode": "buckets", "family": "cross_polytope", "n_tables": 8},
        exact=False,
        recall=0.85,
        name="LSHPolytopes",
    ),
    Entry(KDTreeIndex, metrics=("l2", "cosine")),
    Entry(BallTreeIndex, metrics=("l2", "cosine")),
    Entry(DividedTree, metrics=("l2", "cosine"), parameters={"criteria": ["part"]}),
    Entry(ToyIndex),
    Entry(IVFIndex, small={"n_lists": 8}, exact=False, recall=0.9, aim=0.95, exhaustive={"n_probes": 8}),
    Entry(
        IVFIndex,
        parameters={"storage": "sq8"},
        small={"n_lists": 8},
        exact=False,
        recall=0.9,
        aim=0.95,
        exhaustive={"n_probes": 8},
        name="IVFsq8",
    ),
    Entry(
        IVFIndex,
        parameters={"storage": "pq4"},
        small={"n_lists": 8},
        exact=False,
        recall=0.9,
        aim=0.95,
        exhaustive={"n_probes": 8},
        name="IVFpq4",
    ),
    Entry(VamanaIndex, exact=False, recall=0.9, aim=0.95, exhaustive={"reach": np.inf}),
    Entry(
        WalkedIndex,
        parameters={"storage": "sq8"},
        small={"degree": 16},
        exact=False,
        recall=0.9,
        aim=0.95,
        exhaustive={"reach": np.inf},
        name="Walkedsq8",
    ),
    Entry(
        WalkedIndex,
        parameters={"storage": "flat"},
        small={"degree": 16},
        exact=False,
        recall=0.9,
        aim=0.95,
        exhaustive={"reach": np.inf},
        name="Walkedflat",
    ),
]
