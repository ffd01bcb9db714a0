"""The report of a catalog: what it says is what the tables hold, and it opens without a network."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from annlab.cli import main
from annlab.evaluation import Evaluation, from_rankings
from annlab.visual.interactions import log_click, log_results
from annlab.visual.judging import judge
from annlab.visual.people import add_user
from annlab.visual.reporting.charts import Point, lying, upright
from annlab.visual.reporting.numbers import DEPTH, Offline, measure
from annlab.visual.reporting.page import render
from tests.encoders.helpers import linear_encoder
from tests.visual.drawings import drawing
from tests.visual.searching import Made, directions


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """Two hundred pictures, some of them shown, clicked and judged."""
    place = tmp_path_factory.mktemp("report")
    with Made(place) as made:
        vectors = directions(200)
        made.add(vectors, [{"tags": ("<b>bold", "thing")} for _ in vectors])
        made.catalog.mark_failed(made.catalog.add_images([{"path": "broken.png"}])[0], "no picture <at all>")
        users = [add_user(made.catalog) for _ in range(6)]
        alike = vectors @ vectors.T
        for number in range(120):
            query = number % 20
            order = [int(i) + 1 for i in np.argsort(-alike[query]) if i != query][:10]
            list_id = log_results(made.catalog, query + 1, order, ranker="search", user_id=users[number % 6])
            for position in range(number % 3):
                log_click(made.catalog, list_id, order[position])
        for query in range(20):
            for candidate in np.argsort(-alike[query])[1:9].tolist():
                judge(made.catalog, query + 1, candidate + 1, 2, "me")
        numbers = measure(made.search, queries=20)
        yield made, numbers, render(numbers, made.search, "photos <1>", note="Made up.")


def test_the_numbers_are_those_of_the_tables(reported):
    _, numbers, _ = reported
    assert numbers.clicks.overall.clicks == 120 and numbers.clicks.overall.impressions == 1200
    assert numbers.clicks.by_position[1].clicks == 80 and numbers.clicks.by_position[2].clicks == 40
    assert numbers.counts["failed"] == 1 and numbers.indexed == 200 and 10 < numbers.shown < 200
    assert len(numbers.milliseconds) == 20 and numbers.memory["total"] > 0 and numbers.index == "ExactIndex"
    assert len(numbers.judged.by_scan) == 20


def test_it_says_what_the_encoder_loses_and_what_the_index(reported):
    made, numbers, page = reported
    exact, by_index = numbers.judged.by_scan, numbers.judged.by_index
    assert exact.mean("map") == by_index.mean("map") == 1.0, "the nearest eight were judged relevant"
    worse = Evaluation({**exact.scores, "map": exact["map"] - 0.25}, exact.query_ids, exact.n_relevant)
    lossy = render(replace(numbers, judged=Offline(worse, exact)), made.search, "lossy")
    assert "The encoder loses more" in page and "The index loses more" in lossy
    assert "its vectors lose 0.000 with exact search, and the index 0.250 more" in lossy


def test_a_scan_orders_by_all_vectors(reported):
    _, numbers, _ = reported
    vectors = directions(200)
    ranked = [
        [int(i) + 1 for i in np.argsort(-(vectors @ vectors[query])) if i != query][:DEPTH] for query in range(20)
    ]
    relevant = [set(row[:8]) for row in ranked]
    assert numbers.judged.by_scan.mean("ndcg@10") == from_rankings(ranked, relevant, measures=["ndcg@10"]).mean(
        "ndcg@10"
    )


def test_the_page_needs_nothing_from_elsewhere_and_quotes_what_it_shows(reported):
    _, _, page = reported
    assert not re.search(r"https?://|src=|href=|@import|url\(", page)
    assert page.count("<svg") == page.count("<figure>") == page.count("<figcaption>") >= 6
    assert "photos &lt;1&gt;" in page and "&lt;b&gt;bold" in page and "<b>" not in page
    assert "no picture &lt;at all&gt;" in page and "Made up." in page and "prefers-color-scheme: dark" in page
    assert "nan" not in re.sub(r"<[^>]*>", " ", page)


def test_an_empty_catalog_has_a_report_too(tmp_path):
    with Made(tmp_path) as made:
        made.add(directions(3))
        page = render(measure(made.search, queries=0), made.search, "new")
    assert "Nothing was shown to anybody yet" in page and "There are no judgements" in page


def test_charts_put_points_where_they_belong():
    chart = upright([Point("a", 1.0, 0.5, 1.0), Point("b", 0.5), Point("c", float("nan"))])
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', chart)]
    bottom, top = 240 - 34, 12
    assert heights == [top, (bottom + top) / 2] and chart.count('class="interval"') == 1
    places = [float(x) for x in re.findall(r'cx="([\d.]+)"', lying([Point("a", 0.0), Point("b", 1.0)], middle=1.0))]
    assert places[0] == 220 and places[1] == 620 and "middle" in lying([Point("a", 0.0)], middle=1.0)


def test_the_command_writes_it_once(tmp_path, monkeypatch, capsys):
    linear_encoder()[0].save(tmp_path / "encoder")
    (tmp_path / "photos").mkdir()
    for i in range(6):
        drawing(np.random.default_rng(i), 48).save(tmp_path / "photos" / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    assert main(["index", "photos", "--into", "c.db", "--encoder", "encoder"]) == 0
    capsys.readouterr()
    asked = ["report", "c.db", "--out", "out/r.html", "--queries", "3", "--json"]
    assert main(asked) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == (tmp_path / "out/r.html").stat().st_size
    assert main(asked) == 1 and "--overwrite" in capsys.readouterr().err
    assert main([*asked, "--overwrite"]) == 0
