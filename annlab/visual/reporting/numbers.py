"""What a report tells, as numbers: from the tables of a catalog, its index, and searches that are made for it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import func, select

from annlab.durable import DurableIndex
from annlab.evaluation import ClickThrough, Evaluation, Judgements, click_through, from_rankings
from annlab.visual.catalog import Catalog, Image
from annlab.visual.click_rates import ClickRates, read_click_rates
from annlab.visual.examining import Examined, read_examination
from annlab.visual.judging import read_judgements
from annlab.visual.offline import leaders_of, query_vectors
from annlab.visual.schema import FAILED, interactions
from annlab.visual.search import ById, QueryError, Viewer, VisualSearch

MEASURES = ("mrr", "recall@10", "precision@10", "map", "ndcg@10")
DEPTH = 100  # results of a query that are judged
_BLOCK = 20_000  # vectors that are compared at once
_MOST_QUERIES = 500
_ADMIN = Viewer(None, "admin")


@dataclass(frozen=True)
class Offline:
    """What a pair of encoder and index finds of what is relevant: by its index, and by comparing all vectors."""

    by_index: Evaluation
    by_scan: Evaluation


@dataclass(frozen=True)
class Numbers:
    """All that a report says. None where there is nothing to say it from."""

    clicks: ClickThrough | None
    examined: Examined | None
    rates: ClickRates
    judged: Offline | None
    clicked: Offline | None
    shown: int
    indexed: int
    counts: dict[str, int]
    failures: list[Image]
    most_shown: float
    milliseconds: np.ndarray
    memory: dict[str, int]
    encoder: dict[str, Any]
    index: str


def measure(search: VisualSearch, *, queries: int = 200, seed: int = 0) -> Numbers:
    """Read and measure everything; `queries` searches are made for the latency."""
    catalog, index = search.catalog, search.index
    view = index.view() if isinstance(index, DurableIndex) else index
    rates = read_click_rates(catalog)
    shown = _impressions(catalog)
    counts = catalog.counts()
    ids = np.asarray(index.ids)
    of_shown: Counter[int] = Counter()
    for id, leader in leaders_of(catalog, shown).items():
        of_shown[leader] += shown[id]
    most = sorted(of_shown.values(), reverse=True)[: max(1, len(ids) // 10)]
    current = catalog.current_encoder() or {}
    return Numbers(
        clicks=_click_through(catalog), examined=read_examination(catalog), rates=rates,
        judged=_offline(search, read_judgements(catalog)), clicked=_offline(search, _clicked(rates)),
        shown=len(of_shown), indexed=len(ids), counts={name: getattr(counts, name) for name in (
            "discovered", "indexed", "duplicate", "failed", "pending")},
        failures=catalog.find(kind="image", status=FAILED, limit=20),
        most_shown=sum(most) / max(1, sum(of_shown.values())),
        milliseconds=_latency(search, ids, queries, seed), memory=view.memory(),
        encoder={"name": search.encoder.name, "fingerprint": search.encoder.fingerprint, "dim": search.encoder.dim,
                 "since": current.get("added_at")},
        index=type(view).__name__,
    )  # fmt: skip


def _click_through(catalog: Catalog) -> ClickThrough | None:
    """Of everything that was shown; where people are not told apart, each list is a user of its own."""
    c = interactions.c
    query = select(c.user_id, c.query_image_id, c.displayed_image_id, c.kind, c.position, c.at, c.result_list_id)
    with catalog.database.reading() as connection:
        rows = connection.execute(query.where(c.result_list_id.is_not(None)).order_by(c.id)).all()
    if not rows:
        return None
    users, asked, displayed, kinds, positions, times, lists = zip(*rows, strict=True)
    who = np.array([-number if user is None else user for user, number in zip(users, lists, strict=True)], np.int64)
    return click_through(who, asked, displayed, np.array([kind == "click" for kind in kinds]), positions=positions,
                         timestamps=np.array([at.timestamp() for at in times]), sessions=lists,
                         n_resamples=300)  # fmt: skip


def _impressions(catalog: Catalog) -> dict[int, int]:
    """How often each image was shown."""
    c = interactions.c
    query = select(c.displayed_image_id, func.count()).where(c.kind == "impression").group_by(c.displayed_image_id)
    with catalog.database.reading() as connection:
        return {id: n for id, n in connection.execute(query)}


def _clicked(rates: ClickRates) -> Judgements:
    """Pairs that were clicked oftener than an average picture at their positions, as if somebody had judged them."""
    found: dict[int, dict[int, int]] = {}
    for key, (clicks, expected) in rates.evidence.items():
        if len(key) == 2 and clicks > max(expected, 0.5):
            found.setdefault(key[0], {})[key[1]] = 1
    return Judgements.from_lists(list(found.values()), list(found))


def _offline(search: VisualSearch, judged: Judgements) -> Offline | None:
    """Judged queries that are in the index, or whose upload is kept, answered by the index and by a scan."""
    catalog, index = search.catalog, search.index
    leaders = leaders_of(catalog, {int(id) for id in (*judged.query_ids, *judged.ids)})
    vectors = query_vectors(catalog, (search.encoder, index), judged.query_ids.tolist(), leaders)
    relevant: dict[int, dict[int, float]] = {}
    for row, query in enumerate(judged.query_ids.tolist()):
        part, own = judged.rows(row, row + 1), (query, leaders.get(query))
        grades: dict[int, float] = {}
        for id, grade in zip(part.ids.tolist(), part.grades.tolist(), strict=True):
            leader = leaders.get(id)
            if leader is not None and leader not in own and grade > 0:
                grades[leader] = max(grade, grades.get(leader, 0.0))
        if query in vectors and grades and len(relevant) < _MOST_QUERIES:
            relevant[query] = grades
    if not relevant:
        return None
    asked = np.stack([vectors[query] for query in relevant]).astype(np.float32)
    own_ids = np.array([leaders.get(query, -1) for query in relevant], np.int64)
    judgements = Judgements.from_lists(list(relevant.values()), list(relevant))
    k = min(DEPTH + 1, len(index))
    found = [np.atleast_2d(index.search(asked, k=k).ids), _scanned(index, asked, k)]
    evaluations = [from_rankings(_without(ids, own_ids), judgements, measures=list(MEASURES)) for ids in found]
    return Offline(*evaluations)


def _without(ids: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Rankings (q, k) without the query's own picture, (q, DEPTH), padded with -1."""
    result = np.full((len(ids), DEPTH), -1, np.int64)
    for row, (ranked, itself) in enumerate(zip(ids, own.tolist(), strict=True)):
        kept = ranked[(ranked != itself) & (ranked >= 0)][:DEPTH]
        result[row, : len(kept)] = kept
    return result


def _scanned(index: Any, asked: np.ndarray, k: int) -> np.ndarray:
    """The k nearest ids (q, k) by comparing all vectors, which have length 1."""
    ids = np.sort(np.asarray(index.ids))
    best_ids, best = np.empty((len(asked), 0), np.int64), np.empty((len(asked), 0), np.float64)
    for start in range(0, len(ids), _BLOCK):
        some = ids[start : start + _BLOCK]
        alike = asked.astype(np.float64) @ index.vectors(some).astype(np.float64).T
        best = np.concatenate([best, alike], axis=1)
        best_ids = np.concatenate([best_ids, np.tile(some, (len(asked), 1))], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best, best_ids = np.take_along_axis(best, order, 1), np.take_along_axis(best_ids, order, 1)
    return best_ids


def _latency(search: VisualSearch, ids: np.ndarray, queries: int, seed: int) -> np.ndarray:
    """Milliseconds (n,) of single searches for 20 results, after some that do not count."""
    if not len(ids) or queries < 1:
        return np.empty(0)
    rng, taken = np.random.default_rng(seed), []
    drawn = rng.choice(ids, queries + 10)
    for number, id in enumerate(drawn.tolist()):
        began = time.perf_counter()
        try:
            search.search(ById(int(id)), k=20, viewer=_ADMIN)
        except QueryError:
            continue
        if number >= 10:
            taken.append(1e3 * (time.perf_counter() - began))
    return np.array(taken)
