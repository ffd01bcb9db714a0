"""What annlab computed of each index for its page, and the search that the page must agree with."""

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from annlab import BallTreeIndex, ExactIndex, IVFIndex, KDTreeIndex, LSHIndex, RecallWarning, VamanaIndex
from annlab.explain.examples import points
from annlab.explain.traces import trees
from annlab.hashing.finders import BucketFinder
from annlab.hashing.keys import cheapest_sets
from annlab.quantizers import ProductQuantizer
from annlab.trees import forest

K = 10
TABLES = 3
BITS = (2, 3, 4, 5)

Search = Callable[[np.ndarray, dict[str, float]], np.ndarray]


class Page(NamedTuple):
    """A page.

    Attributes
    ----------
    name, title : str
    lead : str
        HTML: what to try.
    points : (n, 2)
        By id.
    data : dict
        What the page's script is given.
    search : function of (query (2,), values of the knobs)
        The ids (K,) that annlab returns.
    told : dict
        The search that the page begins with: ids, missed, compared.
    """

    name: str
    title: str
    lead: str
    points: np.ndarray
    data: dict[str, Any]
    search: Search
    told: dict[str, list[int]]


def pages() -> list[Page]:
    """All pages."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecallWarning)
        return [_tree(KDTreeIndex), _tree(BallTreeIndex), _lsh(), _ivf(), _quantization(), _graph()]


def _page(name: str, title: str, lead: str, data: dict[str, Any], search: Search, compared: list[int]) -> Page:
    """With what all pages have in common: the points by id, the query, and its true neighbours."""
    vectors = points()
    query = np.array(data["query"], np.float32)
    ids = search(query, {knob["name"]: knob["value"] for knob in data["knobs"]})
    true = ExactIndex().fit(vectors).search(query, K).ids
    told = {"ids": ids.tolist(), "missed": np.setdiff1d(true, ids).tolist(), "compared": compared}
    shared = {"name": name, "k": K, "points": vectors.astype(int).ravel().tolist()}
    return Page(name, title, lead, vectors, shared | data, search, told)


def _compared(index: Any, query: tuple[int, int], params: dict[str, Any]) -> list[int]:
    told = index.explain(np.array(query, np.float32), K, expected=[], **params)
    return np.unique(np.concatenate([step.ids for step in told.trace.steps])).tolist()  # type: ignore[no-any-return]


def _floats(array: np.ndarray) -> list[Any]:
    """Nested lists of floats with the nine digits that tell float32 apart."""
    return np.vectorize(lambda value: float(f"{value:.9g}"), otypes=[float])(array).tolist()  # type: ignore[no-any-return]


def _structure(index: Any) -> Any:
    """Of an index that holds vectors."""
    return index._require_state().structure


def _ids_of_rows(index: Any) -> np.ndarray:
    return np.asarray(index._require_state().by_row.array)


def _knob(name: str, label: str, low: float, high: float, step: float, value: float) -> dict[str, Any]:
    return {"name": name, "label": label, "min": low, "max": high, "step": step, "value": value}


def _tree(kind: Any) -> Page:
    index = kind().fit(points())
    structure = _structure(index)
    (tree,) = structure.trees
    starts, _ = forest.levels(len(tree))
    parts = [
        [
            trees.shape_of(structure, trees.Part(0, level - 1, child)).ravel()
            for child in range(-(-len(tree) // 16 ** (level + 1)))
        ]
        for level in range(len(starts))
    ]  # fmt: skip
    is_box, query = kind is KDTreeIndex, (521, 400) if kind is KDTreeIndex else (415, 629)
    data = {
        "kind": "box" if is_box else "ball",
        "query": query,
        "knobs": [_knob("max_leaves", "leaves that may be visited", 1, 40, 1, 3 if is_box else 2)],
        "levels": [_floats(np.array(level)) for level in parts],
        "order": _ids_of_rows(index)[tree.row_numbers()].tolist(),
        "slack": [float(structure._slack[0]), float(structure._slack[2])],
        "cause": "its leaf was not visited: the budget was spent before its turn",
    }
    lead = (
        "The rows lie in leaves of sixteen; for each the tree stores "
        + ("a box" if is_box else "a ball")
        + " that holds them. A search visits the leaf whose "
        + ("box" if is_box else "ball")
        + " is nearest, then the next, and may stop once no other is nearer than the tenth row so far. "
        "Here it must stop after some leaves: give it more, and see when that is enough."
    )

    def search(asked: np.ndarray, knobs: dict[str, float]) -> np.ndarray:
        return np.asarray(index.search(asked, K, max_leaves=int(knobs["max_leaves"])).ids)

    compared = _compared(index, query, {"max_leaves": data["knobs"][0]["value"]})  # type: ignore[index]
    name, title = ("kdtree", "KD-tree") if is_box else ("balltree", "Ball tree")
    return _page(name, title, lead, data, search, compared)


def _ivf() -> Page:
    index = IVFIndex(storage="flat", n_lists=40).fit(points())
    structure, query = _structure(index), (653, 566)
    cells = np.repeat(np.arange(structure.n_lists), np.diff(structure.offsets))
    by_id = np.empty(len(cells), np.int64)
    by_id[_ids_of_rows(index)] = cells
    conversion = structure.lists.conversion
    data = {
        "kind": "ivf",
        "query": query,
        "knobs": [_knob("n_probes", "cells that are probed", 1, 39, 1, 2)],
        "centroids": _floats((structure.centroids.array + conversion.center).astype(np.float64)),
        "cells": by_id.tolist(),
        "cause": "its cell was not probed",
    }
    lead = (
        "k-means has put a centroid into each of forty cells, and every row into the cell of its nearest "
        "centroid. A search compares the query with the centroids and looks into the nearest cells only. Near a "
        "border, the neighbours are on the other side: drag the query there."
    )

    def search(asked: np.ndarray, knobs: dict[str, float]) -> np.ndarray:
        return np.asarray(index.search(asked, K, n_probes=int(knobs["n_probes"])).ids)

    return _page("ivf", "Inverted file (IVF)", lead, data, search, _compared(index, query, {"n_probes": 2}))


def _lsh() -> Page:
    vectors, query = points(), (446, 490)
    indexes = {
        bits: LSHIndex(mode="buckets", family="hyperplanes", n_tables=TABLES, n_bits=bits).fit(vectors) for bits in BITS
    }
    tables = {}
    for bits, index in indexes.items():
        structure = _structure(index)
        finder = structure.finder
        assert_buckets(finder)
        codes = finder.encoder.rows(vectors)
        encoder, n_all = finder.encoder, TABLES * bits
        tables[str(bits)] = {
            "normals": _floats((encoder.normals[:n_all] * encoder.scale).astype(np.float64)),
            "center": _floats(encoder.center),
            "keys": finder.keys.rows(vectors, codes).tolist(),  # type: ignore[union-attr]
            "sets": cheapest_sets(bits, 2**bits).tolist(),
            "exact": [
                structure.plans.of(K, _asked(index, probes), len(vectors), 1).exact
                for probes in range(1, TABLES * 2**bits)
            ],
        }
    data = {
        "kind": "lsh",
        "query": query,
        "knobs": [
            _knob("n_bits", "bits of a key", min(BITS), max(BITS), 1, 5),
            _knob("n_probes", "buckets that are probed", 1, 11, 1, 4),
        ],
        "tables": tables,
        "cause": "none of its buckets was probed",
    }
    lead = (
        "Each of three tables asks on which side of some lines a row lies: that are the bits of its key, and rows "
        "with one key share a bucket. A search looks into the query's own buckets, then into those beyond the "
        "lines that are nearest. More bits make smaller buckets; more probes look into more of them."
    )

    def search(asked: np.ndarray, knobs: dict[str, float]) -> np.ndarray:
        index = indexes[int(knobs["n_bits"])]
        return np.asarray(index.search(asked, K, n_probes=int(knobs["n_probes"]), rerank=len(vectors)).ids)

    compared = _compared(indexes[5], query, {"n_probes": 4, "rerank": len(vectors)})
    return _page("lsh", "Locality-sensitive hashing (LSH)", lead, data, search, compared)


def _asked(index: Any, probes: int) -> dict[str, Any]:
    params: dict[str, Any] = index._search_params({"n_probes": probes, "rerank": len(points())})
    return params


def assert_buckets(finder: Any) -> None:
    """The page knows tables with buckets alone."""
    if not isinstance(finder, BucketFinder):
        raise TypeError(f"a page of buckets cannot show a {type(finder).__name__}")


def _quantization() -> Page:
    vectors, query = points(), (815, 605)
    stands = {}
    for name, sub_dim in (("16", 2), ("256", 1)):
        quantizer = ProductQuantizer(sub_dim=sub_dim).fit(vectors)
        stands[name] = quantizer.decode(quantizer.encode(vectors))
    exact = {name: ExactIndex().fit(values) for name, values in stands.items()}
    data = {
        "kind": "quantized",
        "query": query,
        "knobs": [
            _knob("groups", "groups of 16 codewords: 1 for both coordinates together, 2 for one each", 1, 2, 1, 2),
            _knob("rerank", "rows that are re-ranked by their vectors", 10, 200, 1, 12),
        ],
        "stands": {name: _floats(values.astype(np.float64)) for name, values in stands.items()},
        "cause": "its code put it behind more rows than were re-ranked",
    }
    lead = (
        "Every row is replaced by the nearest of a few codewords, and only the number of the codeword is kept: 4 "
        "bits for both coordinates together, or (a product code) 4 bits for each. A search compares the query "
        "with the codewords, takes the best rows by that, and measures these by their vectors. What a code puts "
        "too far back is lost: re-rank more, or take finer codes."
    )

    def search(asked: np.ndarray, knobs: dict[str, float]) -> np.ndarray:
        name = {1: "16", 2: "256"}[int(knobs["groups"])]
        shortlist = exact[name].search(asked, int(knobs["rerank"])).ids
        return np.asarray(ExactIndex().fit(vectors[shortlist], shortlist).search(asked, K).ids)

    compared = np.sort(exact["256"].search(np.array(query, np.float32), 12).ids).tolist()
    return _page("quantization", "Product quantization (PQ)", lead, data, search, compared)


def _graph() -> Page:
    index = VamanaIndex(degree=16, storage="flat").fit(points())
    structure, query = _structure(index), (640, 330)
    graph = structure.walkable.graph
    data = {
        "kind": "graph",
        "query": query,
        "knobs": [_knob("reach", "reach, times the distance of the tenth row", 1.0, 2.0, 0.05, 1.0)],
        "nodes": _ids_of_rows(index)[graph.first_rows].tolist(),
        "rows": _rows_of_nodes(_ids_of_rows(index), graph.offsets),
        "blur": structure.walkable.rows.blur,
        "links": [[int(v) for v in row if v >= 0] for row in graph.links],
        "entries": graph.entries.tolist(),
        "most": structure.plans.of(K, _request(index)).table.wanted.most,
        "cause": "the walk ended before it",
    }
    lead = (
        "Every row links to some others, near ones and a few that lead farther. A search begins at the nearest of "
        "some entries, opens the nearest row that it has not opened yet, looks at what that links to, and ends "
        "when none is within reach: so many times the distance of the tenth row so far. In the plane it hardly "
        "ever misses a neighbour with a reach of 1; in many dimensions it needs more. See what a larger reach "
        "costs."
    )

    def search(asked: np.ndarray, knobs: dict[str, float]) -> np.ndarray:
        return np.asarray(index.search(asked, K, reach=float(knobs["reach"])).ids)

    return _page("graph", "Graph walk (Vamana)", lead, data, search, _compared(index, query, {"reach": 1.0}))


def _rows_of_nodes(ids: np.ndarray, offsets: np.ndarray | None) -> list[list[int]]:
    """The ids that each node stands for: rows that lie very near each other share one."""
    starts = np.arange(len(ids) + 1) if offsets is None else offsets
    return [ids[start:stop].tolist() for start, stop in pairwise(starts.tolist())]


def _request(index: Any) -> Any:
    from annlab.explain.traces import asked_of

    none = {"allowed": None, "excluded": None, "where": None}
    asked = asked_of(index, np.zeros(2, np.float32), K, none, {"reach": 1.0})
    return asked.request if asked is not None else None
