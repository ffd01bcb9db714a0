"""``python -m benchmarks feedback``: what clicks teach and experiments promise, with users whose wishes are known.

    python -m benchmarks feedback [--quick] [--out benchmarks/results/feedback.json] [--report docs/report.html]

- *loops*: twenty rounds of serve, click, learn, serve in made worlds; nDCG@10 before and after, by clicks over expected
  clicks and by raw rates, and Kendall's tau of both with what is true.
- *false alarms*: 1,000 experiments in which both arms are the same; how many find a difference with one look at the
  end, and with a look every day, by either interval.
- *the packaged catalog*: fourteen days of searches in it by simulated users (a picture of the same sub-group is what
  they want, one of the same group interests some), through the search that serves, with its exploration slot; nDCG@10
  of the same 500 queries before and after. With --report the report of that catalog is written.
"""

import argparse
import datetime
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annlab.evaluation import clicks_over_expected, compare_arms
from annlab.evaluation.ranking import ndcg
from annlab.evaluation.simulation import Users, feedback_loop, make_world, show
from benchmarks import environment, report

DAYS, LISTS, K = 14, 300, 10
NOTE = ("These users are simulated: they look at position p with the chance 1 / p, want pictures of the sub-group of "
        "their query, click some of its group, and err once in twenty.")  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write the records if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks feedback", description="what clicks teach")
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--report", type=Path, help="write the report of the packaged catalog to this HTML file")
    parser.add_argument("--quick", action="store_true", help="fewer of everything")
    options = parser.parse_args(arguments)
    parts: dict[str, list[dict[str, Any]]] = {
        "loops": loops(2 if options.quick else 5),
        "false alarms": alarms(100 if options.quick else 1000),
        "the packaged catalog": packaged(60 if options.quick else LISTS, options.report),
    }
    report.show_named_records(parts)
    if options.out:
        report.write_named_records(options.out, environment.about(), parts)
    return 0


def loops(n: int) -> list[dict[str, Any]]:
    """A record for each kind of learner: means over worlds."""
    from scipy.stats import kendalltau

    records = []
    for learn in ("coec", "raw"):
        found, taus = [], []
        for seed in range(n):
            world, users = make_world(seed=seed), Users.falling(K)
            found.append(feedback_loop(world, users, learn, seed=seed))
            rng = np.random.default_rng(seed)
            order = np.argsort(-world.scores, axis=1)[:, :50]
            log = show(order, rng.integers(0, len(order), 40_000), world.relevance, users, K, 0.1, rng)
            looks = log.examined() if learn == "coec" else np.ones(K)
            items, asked = log.items.ravel(), np.repeat(log.queries, K)
            times = np.bincount(items, minlength=world.scores.shape[1])
            truth = np.bincount(items, world.relevance[asked, items], len(times)) / np.maximum(times, 1)
            rated = clicks_over_expected(items, log.positions, log.clicked.ravel(), looks)
            often = times[rated.items] >= 200
            taus.append(kendalltau(rated.ratios[often], truth[rated.items][often]).statistic)
        ndcgs = np.array([each.ndcg for each in found])
        records.append({"learner": {"coec": "clicks over expected clicks", "raw": "raw click-through rate"}[learn],
                        "worlds": n, "nDCG@10 before": ndcgs[:, 0].mean(), "after 5 rounds": ndcgs[:, 5].mean(),
                        "after 20 rounds": ndcgs[:, -1].mean(),
                        "worlds where it fell": int((ndcgs[:, -1] < ndcgs[:, 0]).sum()),
                        "Kendall's tau of items": float(np.mean(taus))})  # fmt: skip
    return [_rounded(record) for record in records]


def alarms(n: int, users: int = 2000, days: int = 20) -> list[dict[str, Any]]:
    """Experiments of two equal arms: users come on some day, come back on others, and differ in what they click."""
    rng, counts = np.random.default_rng(0), np.zeros(4, int)
    for _ in range(n):
        in_b, first = rng.random(users) < 0.5, rng.integers(0, days, users)
        own = rng.beta(2, 18, users)
        shown = rng.poisson(6, (days, users)) * (rng.random((days, users)) < 0.3)
        shown[first, np.arange(users)] += 5
        shown[np.arange(days)[:, None] < first] = 0
        clicks = rng.binomial(shown, own)
        shown, clicks = shown.cumsum(axis=0), clicks.cumsum(axis=0)
        looks = [compare_arms(clicks[day], shown[day], in_b, planned_users=users) for day in range(days)]
        once = [look.low > 0 or look.high < 0 for look in looks]
        always = [look.always_low > 0 or look.always_high < 0 for look in looks]
        counts += [once[-1], any(once), always[-1], any(always)]
    names = [("usual interval", "one, at the end"), ("usual interval", "every day"),
             ("always-valid interval", "one, at the end"), ("always-valid interval", "every day")]  # fmt: skip
    return [{"interval": interval, "looks": looks, "experiments": n, "false alarms, %": round(100 * count / n, 2)}
            for (interval, looks), count in zip(names, counts.tolist())]  # fmt: skip


def packaged(lists: int, page: Path | None) -> list[dict[str, Any]]:
    """Records of both learners in the packaged catalog; the report is of the one that learned rightly."""
    from annlab.visual.packaged import packaged_catalog

    records = []
    with tempfile.TemporaryDirectory() as folder:
        place = packaged_catalog(Path(folder) / "emoji", threads=2)
        for learn in ("raw", "coec"):
            copy = Path(folder) / learn
            served = _fortnight(place, copy, learn, lists, page if learn == "coec" else None)
            change = served[1] - served[0]
            spread = 1.96 * change.std() / np.sqrt(len(change))
            records.append({"learner": learn, "lists": lists * DAYS, "nDCG@10 before": served[0].mean(),
                            "after 14 days": served[1].mean(), "change": change.mean(), "+-": spread})  # fmt: skip
    return [_rounded(record) for record in records]


def _fortnight(place: Path, copy: Path, learn: str, lists: int, page: Path | None) -> list[np.ndarray]:
    """Fourteen days of searches in a copy of a catalog: nDCG of the same queries before and after."""
    import shutil

    from annlab.visual.catalog import Catalog
    from annlab.visual.pair import encoder_of
    from annlab.visual.search import VisualSearch

    shutil.copytree(place.parent, copy)
    ranking = copy / "ranking.toml"
    ranking.write_text('[[stage]]\nname = "hidden"\n[[stage]]\nname = "query"\n[[stage]]\nname = "near-duplicates"\n'
                       '[[stage]]\nname = "clicks"\nstrength = 0.3\n')  # fmt: skip
    now = [datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)]
    index_place = copy / place.with_suffix(".index").name
    with Catalog.open(copy / place.name, clock=lambda: now[0]) as catalog:
        encoder = encoder_of(catalog, index_place)
        with catalog.index(None, index_place) as index:
            search = VisualSearch(catalog, index, encoder, ranking=ranking, relevance=None)
            world = _Wishes(catalog)
            rng, chance = np.random.default_rng(0), random.Random(0)
            before = _quality(search, world)
            for _ in range(DAYS):
                _day(search, world, lists, rng, chance)
                now[0] += datetime.timedelta(days=1)
                search.refresh_clicks()
                if learn == "raw":
                    search._clicks = _raw(catalog)
            if page is not None:
                _judge(search, world, rng)
                _write(search, page)
            return [before, _quality(search, world)]


def _quality(search: Any, world: "_Wishes") -> np.ndarray:
    """nDCG@10 (500,) of queries that are the same every time."""
    from annlab.visual.search import ById

    scores = []
    for query in np.random.default_rng(1).choice(world.ids, 500, replace=False).tolist():
        shown = [each.id for each in search.search(ById(query), k=K, cutoff=0).results]
        grades = np.array([world.relevance(query, world.ids[world.ids != query].tolist())])
        scores.append(float(ndcg(np.array([world.relevance(query, shown)]), grades, K)[0]) if grades.any() else 0.0)
    return np.array(scores)


class _Wishes:
    """What simulated users want of a catalog: by the tags of its pictures."""

    def __init__(self, catalog: Any) -> None:
        from annlab.visual.people import add_user

        found = catalog.find(kind="image", status="indexed")
        self.ids = np.array([image.id for image in found])
        self.kind = {image.id: image.tags[1] for image in found}
        self.group = {image.id: image.tags[2] if len(image.tags) > 2 else image.tags[1] for image in found}
        self.people = [add_user(catalog) for _ in range(150)]
        self.n_lists = 0

    def relevance(self, query: int, images: Sequence[int]) -> list[float]:
        """Of images to a query, 0..1."""
        return [1.0 if self.kind[id] == self.kind[query] else 0.3 if self.group[id] == self.group[query] else 0.0
                for id in images]  # fmt: skip


def _day(search: Any, world: _Wishes, lists: int, rng: np.random.Generator, chance: random.Random) -> None:
    """Searches of one day, as they are served and clicked."""
    from annlab.visual.examining import EXPLORE
    from annlab.visual.exploring import Explore
    from annlab.visual.interactions import Listed, log_click, log_lists
    from annlab.visual.search import ById

    users, logged, clicks = Users.falling(K), [], []
    for query in rng.choice(world.ids, lists).tolist():
        explore = Explore(0.1, K, chance)
        found = search.search(ById(query), k=K, cutoff=0, stages=[*search.stages, explore]).results
        shown = [each.id for each in found]
        liked = np.array([world.relevance(query, shown)])
        world.n_lists += 1
        user = world.people[int(rng.integers(len(world.people)))]
        logged.append(Listed(world.n_lists, query, shown, "search", user, search.encoder.fingerprint,
                             {EXPLORE: explore.details}))  # fmt: skip
        clicks += [(world.n_lists, shown[place]) for place in np.flatnonzero(users.clicks(liked, rng)[0])]
    with search.catalog.writing() as connection:
        log_lists(search.catalog, logged, connection=connection)
        for number, image in clicks:
            log_click(search.catalog, number, image, connection=connection)


def _raw(catalog: Any) -> Any:
    """Rates that expect as much of every position."""
    from collections import defaultdict

    from annlab.visual.click_rates import click_rates
    from annlab.visual.interactions import read_interactions

    counts: dict[tuple[int, int, int], np.ndarray] = defaultdict(lambda: np.zeros(2))
    found = read_interactions(catalog)
    for query, displayed, clicked in zip(found.query_ids.tolist(), found.displayed_ids.tolist(), found.clicked):
        counts[query, displayed, 1][int(clicked)] += 1
    return click_rates(counts)


def _judge(search: Any, world: _Wishes, rng: np.random.Generator) -> None:
    """Judgements of 150 queries, of what the pair finds first and some other pictures."""
    from annlab.visual.judging import judge

    grades = {1.0: 3, 0.3: 1, 0.0: 0}
    with search.catalog.writing() as connection:
        for query in rng.choice(world.ids, 150, replace=False).tolist():
            near = search.index.search(search.index.vectors([query])[0], k=30).ids.tolist()
            pool = [id for id in {*near, *rng.choice(world.ids, 10).tolist()} if id != query]
            for id, liked in zip(pool, world.relevance(query, pool)):
                judge(search.catalog, query, id, grades[liked], "simulated", connection=connection)


def _write(search: Any, page: Path) -> None:
    from annlab.visual.reporting.numbers import measure
    from annlab.visual.reporting.page import render

    page.write_text(render(measure(search), search, "The packaged pictures", note=NOTE), encoding="utf-8")
    print(f"{page}: {page.stat().st_size:,} bytes")


def _rounded(record: dict[str, Any]) -> dict[str, Any]:
    return {name: round(float(value), 4) if isinstance(value, float) else value for name, value in record.items()}
