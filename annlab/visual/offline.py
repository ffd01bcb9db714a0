"""Two pairs of encoder and index, compared on what people said and did before: would the new one have served them?

*Judgements* (judging.py). Each judged query is answered by both pairs, and nDCG@10 over the grades is compared, query
by query. Where people have judged some candidates of a query as irrelevant, only judged ones are ranked: those that
nobody has looked at say nothing, and would count against the pair that finds them for the first time. Otherwise all
images are, and what is not judged counts as irrelevant.

*Clicks* (interactions.py). People click on what stands on top, whatever it is, so clicks favour the pair that made the
list. A click at position p therefore weighs p, as if it were looked at in one of p cases: it scores p / r, where r is
the position that the image would have had if the pair had ordered the images of that list. If clicks follow from
positions alone, every pair scores 1 on average.

The new pair is *worse* if its mean nDCG is lower, or if its score of clicks is lower beyond doubt: clicks are rough, so
there the whole interval has to be below 0.

T. Joachims, A. Swaminathan and T. Schnabel, Unbiased Learning-to-Rank with Biased Feedback, WSDM 2017.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlalchemy import select

from annlab.encoders.encoder import Encoder
from annlab.evaluation import Comparison, Judgements, compare, from_rankings, permutation_test
from annlab.evaluation.resampling import N_RESAMPLES, bootstrap_means, percentile_interval
from annlab.visual.catalog import Catalog
from annlab.visual.judging import read_judgements
from annlab.visual.reading import embed, read_picture
from annlab.visual.schema import interactions, result_lists

MEASURE, CLICKS = "ndcg@10", "clicks"
_DEPTH = 100  # results of a query that are looked at
_MOST_CLICKS = 20_000  # the last ones

Pair = tuple[Encoder | None, Any]
"""An encoder, if it is at hand, and the index of its vectors."""


@dataclass(frozen=True)
class Offline:
    """What was found; None where nothing was judged or clicked. A is the old pair, B the new one."""

    judged: Comparison | None = None
    clicked: Comparison | None = None

    @property
    def worse(self) -> bool:
        """Whether the new pair is the worse one, see the head of the file."""
        judged, clicked = self.judged, self.clicked
        return (judged is not None and judged.difference < 0) or (clicked is not None and clicked.high < 0)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: asdict(each) | {"difference": each.difference} if each is not None else None
                for name, each in (("judged", self.judged), ("clicked", self.clicked))}  # fmt: skip

    def __str__(self) -> str:
        parts = [str(each) for each in (self.judged, self.clicked) if each is not None]
        return "\n".join(parts) or "nothing was judged or clicked, so there is nothing to compare on"


def compare_pairs(catalog: Catalog, old: Pair, new: Pair) -> Offline:
    """Compare two pairs on everything that was judged and clicked."""
    return Offline(_on_judgements(catalog, old, new), _on_clicks(catalog, old, new))


def _on_judgements(catalog: Catalog, old: Pair, new: Pair) -> Comparison | None:
    judged = read_judgements(catalog)
    names = {int(id) for id in (*judged.query_ids, *judged.ids)}
    leaders = leaders_of(catalog, names)
    vectors = [query_vectors(catalog, pair, judged.query_ids.tolist(), leaders) for pair in (old, new)]
    grades: dict[int, dict[int, float]] = {}
    for row, query in enumerate(judged.query_ids.tolist()):
        part = judged.rows(row, row + 1)
        own = (query, leaders.get(query))
        of_leaders: dict[int, float] = {}
        for id, grade in zip(part.ids.tolist(), part.grades.tolist(), strict=True):
            leader = leaders.get(id)
            if leader is not None and leader not in own:
                of_leaders[leader] = max(grade, of_leaders.get(leader, 0.0))
        known = query in vectors[0] and query in vectors[1]
        if known and any(of_leaders.values()):
            grades[query] = of_leaders
    if not grades:
        return None
    relevant = Judgements.from_lists(list(grades.values()), list(grades))
    found = []
    for (_, index), of in zip((old, new), vectors, strict=True):
        ranked = np.full((len(grades), _DEPTH), -1, np.int64)
        for row, (query, judged_of) in enumerate(grades.items()):
            ids = _ranked(index, of[query], judged_of, {query, leaders.get(query, -1)})[:_DEPTH]
            ranked[row, : len(ids)] = ids
        found.append(from_rankings(ranked, relevant, measures=[MEASURE]))
    return compare(found[0], found[1], MEASURE)


def _ranked(index: Any, vector: np.ndarray, grades: Mapping[int, float], own: set[int]) -> list[int]:
    """The candidates of a query, best first."""
    if min(grades.values()) > 0:
        ids = index.search(vector, k=_DEPTH + len(own)).ids.tolist()
    else:
        ids = _by_distance(index, vector, [id for id in sorted(grades) if id in index])
    return [id for id in ids if id not in own and id >= 0]


def _by_distance(index: Any, vector: np.ndarray, ids: list[int]) -> list[int]:
    """Ids of an index, nearest first. Encoders give vectors of length 1."""
    if not ids:
        return []
    return [ids[place] for place in np.argsort(-(index.vectors(ids) @ vector), kind="stable")]


def _on_clicks(catalog: Catalog, old: Pair, new: Pair) -> Comparison | None:
    clicks = _clicks(catalog)
    names = {query for query, *_ in clicks} | {id for *_, shown in clicks for id in shown}
    leaders = leaders_of(catalog, names)
    queries = sorted({query for query, *_ in clicks})
    vectors = [query_vectors(catalog, pair, queries, leaders) for pair in (old, new)]
    scores: list[tuple[float, float]] = []
    for query, clicked, position, shown in clicks:
        if not all(query in of for of in vectors):
            continue
        pairs = zip((old[1], new[1]), vectors, strict=True)
        ranks = [
            _rank(index, of[query], leaders.get(clicked), [leaders.get(id) for id in shown]) for index, of in pairs
        ]
        if ranks[0] is not None and ranks[1] is not None:
            scores.append((position / ranks[0], position / ranks[1]))
    if not scores:
        return None
    a, b = np.array(scores).T
    low, high = percentile_interval(bootstrap_means((b - a)[:, None], N_RESAMPLES, 0)[:, 0], 0.95)
    return Comparison(measure=CLICKS, mean_a=float(a.mean()), mean_b=float(b.mean()), low=low, high=high, level=0.95,
                      p_value=permutation_test(b - a), n_queries=len(a), wins=int(np.count_nonzero(b > a)),
                      losses=int(np.count_nonzero(b < a)))  # fmt: skip


def _clicks(catalog: Catalog) -> list[tuple[int, int, int, list[int]]]:
    """The last clicks: query, clicked image, position, and the images of the list."""
    c = interactions.c
    query = select(c.query_image_id, c.displayed_image_id, c.position, result_lists.c.images)
    query = query.join(result_lists, c.result_list_id == result_lists.c.id).where(c.kind == "click")
    with catalog.database.reading() as connection:
        return [(row[0], row[1], row[2], row[3])
                for row in connection.execute(query.order_by(c.id.desc()).limit(_MOST_CLICKS))]  # fmt: skip


def _rank(index: Any, vector: np.ndarray, clicked: int | None, shown: Iterable[int | None]) -> int | None:
    """The position that an image has when the images of a list are ordered by distance; None if it is gone."""
    there = sorted({id for id in shown if id is not None and id in index})
    if clicked not in there:
        return None
    return 1 + _by_distance(index, vector, there).index(clicked)


def leaders_of(catalog: Catalog, ids: Iterable[int]) -> dict[int, int]:
    """For each image that is indexed, or whose duplicate is: the id under which its vector is."""
    found = catalog.find(ids=sorted(ids))
    return {image.id: image.duplicate_of or image.id for image in found if image.status in ("indexed", "duplicate")}


def query_vectors(
    catalog: Catalog, pair: Pair, ids: Iterable[int], leaders: Mapping[int, int]
) -> dict[int, np.ndarray]:
    """The vectors of queries: from the index, or from the files that were uploaded, as long as they are kept."""
    encoder, index = pair
    vectors = {id: index.vectors([leaders[id]])[0] for id in ids if leaders.get(id) in index}
    for image in catalog.find(ids=[id for id in ids if id not in vectors]):
        pixels = read_picture(image.path).pixels
        if encoder is not None and pixels is not None:
            (vector,) = embed(encoder, [pixels])
            if not isinstance(vector, str):
                vectors[image.id] = vector
    return vectors
