"""Candidates: the pictures nearest to a vector among those that are allowed, or the ones whose tags hold some words.

keys         (n,) int64: the ids under which the index knows the pictures
distances    (n,) float64, ascending; equal ones by key
complete     whether there are no others within reach
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from annlab.common import validation
from annlab.common.statistics import SearchStats
from annlab.distances import pairwise
from annlab.index import Index
from annlab.visual.facts import Facts, ImageFilter
from annlab.visual.viewers import QueryError

_BLOCK = 8192  # rows that an exact search reads at once
_SLACK = 64  # candidates beyond the k that a sum in float32 finds, before they are measured as the index measures


class Candidates(NamedTuple):
    """See the head of the file."""

    keys: np.ndarray
    distances: np.ndarray
    complete: bool


Fetch: TypeAlias = Callable[[int], Candidates]
"""From how many are wanted to that many, or to all there are."""


def by_index(index: Index, vector: np.ndarray, allowed: ImageFilter, params: Mapping[str, Any],
             stats: SearchStats) -> Fetch:  # fmt: skip
    """The nearest as the index finds them."""

    def fetch(k: int) -> Candidates:
        k = min(k, max(1, len(index)))
        distances, ids = index.search(vector, k, allowed=allowed, stats=stats, **params)
        return _sorted(ids, distances, k < len(index))

    return fetch


def by_scan(index: Index, vector: np.ndarray, facts: Facts, allowed: ImageFilter) -> Fetch:
    """The nearest of all, found by comparing every allowed one: what an index is compared with."""
    ids = np.intersect1d(facts.ids.by_row[facts.pictures(allowed.allowed)], index.ids)

    def fetch(k: int) -> Candidates:
        near, found = np.empty(0, np.float32), np.empty(0, np.int64)
        for start in range(0, len(ids), _BLOCK):
            some = ids[start : start + _BLOCK]
            near = np.concatenate([near, _estimated(index.vectors(some), vector, index.metric)])
            found = np.concatenate([found, some])
            if len(found) > k + _SLACK:
                best = np.argpartition(near, k + _SLACK)[: k + _SLACK]
                near, found = near[best], found[best]
        exact = pairwise(vector[None], index.vectors(found), index.metric)[0] if len(found) else near
        order = np.lexsort((found, exact))[:k]
        return _sorted(found[order], exact[order], len(ids) > k)

    return fetch


def by_tags(facts: Facts, allowed: np.ndarray, words: Sequence[str]) -> tuple[Fetch, np.ndarray]:
    """Those whose tags hold most of some words; and the mask (n,) of the images among `allowed` that hold any. A word
    that only begins one of a tag counts half."""
    hits = np.zeros(len(facts), np.int32)
    for word in words:
        having = np.zeros(len(facts), np.int32)
        for other in facts.words_beginning(word):
            for tag in facts.tags_with[other]:
                slots = facts.tags[tag]
                having[slots] = np.maximum(having[slots], 2 if other == word else 1)
        hits += having
    hits[~allowed] = 0
    some = np.flatnonzero(hits)
    best = np.zeros(len(facts), np.int32)
    np.maximum.at(best, facts.leaders[some], hits[some])
    slots = np.flatnonzero(best)
    distances = 1.0 - best[slots] / max(1, 2 * len(words))
    keys = facts.ids.by_row[slots]
    order = np.lexsort((keys, distances))
    keys, distances = keys[order], distances[order]

    def fetch(k: int) -> Candidates:
        return Candidates(keys[:k], distances[:k], len(keys) <= k)

    return fetch, hits > 0


def vectors_of(index: Index) -> Callable[[Sequence[int]], np.ndarray]:
    """From keys to vectors (n, dim); zeros for those that the index does not hold."""

    def vectors(keys: Sequence[int]) -> np.ndarray:
        try:
            result: np.ndarray = index.vectors(np.array(keys, np.int64))
        except KeyError:  # of words in tags, whose images the index may not hold yet
            there = np.array([key in index for key in keys], bool)
            result = np.zeros((len(keys), index.dim), np.float32)
            result[there] = index.vectors(np.array(keys, np.int64)[there])
        return result

    return vectors


def _sorted(ids: np.ndarray, distances: np.ndarray, more: bool) -> Candidates:
    """In the order of the distances as they are returned: rounded ones may be equal, and then ids decide."""
    there = ids >= 0
    complete = not more or not there.all()
    keys, wide = ids[there], distances[there].astype(np.float64)
    if (wide[1:] > wide[:-1]).all():
        return Candidates(keys, wide, complete)
    order = np.lexsort((keys, wide))
    return Candidates(keys[order], wide[order], complete)


def _estimated(vectors: np.ndarray, query: np.ndarray, metric: str) -> np.ndarray:
    if metric == "l2":
        apart = vectors - query
        result: np.ndarray = np.einsum("ij,ij->i", apart, apart)
        return result
    products: np.ndarray = vectors @ query
    if metric == "cosine":
        products = products / np.maximum(np.linalg.norm(vectors, axis=1), 1e-30)
    result = -products
    return result


def parameters_of(index: Index, given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a search of the index, checked: they may come from anybody, and no others may."""
    try:
        validation.unknown_names(given, index.search_parameters, "search of " + kind_of(index))
        return {name: index.search_parameters[name](value) for name, value in given.items()}
    except (ValueError, TypeError) as error:
        raise QueryError(str(error)) from None


def kind_of(index: Index) -> str:
    """The name of its class; in shards, of the class that each of them is."""
    return str(getattr(index, "kind", type(index).__name__))


def plan_of(view: Index, stats: SearchStats, exact: bool, *, words: bool = False) -> str:
    """How the candidates were found, in words."""
    if words:
        return "the tags of all images"
    if exact:
        return f"{kind_of(view)}, compared with every allowed vector"
    if not len(stats.distances):
        return f"{kind_of(view)}, empty"
    how = ", all allowed ones scanned" if bool(stats.exact_fallback[0]) else ""
    return f"{kind_of(view)}: {stats.distances[0]} distances, {stats.visited[0]} cells, nodes or buckets{how}"
