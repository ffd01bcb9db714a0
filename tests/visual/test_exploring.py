"""The exploration slot: what it does to a list, what is stored, and what it tells of the positions."""

import random

import numpy as np
import pytest

from annlab.visual.click_rates import click_rates, read_click_rates
from annlab.visual.examining import read_examination
from annlab.visual.exploring import Explore
from annlab.visual.interactions import log_click, log_results
from annlab.visual.search import ById
from tests.visual.searching import Made, directions


def test_two_pictures_change_places_as_often_as_the_propensities_say(tmp_path):
    with Made(tmp_path) as made:
        made.add(directions(12))
        plain = [each.id for each in made.search.search(ById(1), k=4, cutoff=0).results]
        chance, stored = random.Random(0), []
        for _ in range(300):
            explore = Explore(0.5, 4, chance)
            answer = made.search.search(ById(1), k=4, cutoff=0, stages=[*made.search.stages, explore])
            shown = [each.id for each in answer.results]
            stored.append(explore.details)
            if "position" not in explore.details:
                assert shown == plain
                continue
            place, rank = explore.details["position"], explore.details["rank"]
            assert 1 <= place <= 4 and place < rank <= 11
            moved = [i + 1 for i in range(4) if shown[i] != plain[i]]
            assert moved == [place, *([rank] if rank <= 4 else [])]
            following = made.search.search(ById(1), k=10, cutoff=0, cursor=answer.cursor)
            assert sorted(shown + [each.id for each in following.results]) == list(range(2, 13)), "none twice or never"
        explored = [each for each in stored if "position" in each]
        assert abs(len(explored) / 300 - 0.5) < 0.09
        assert all(each["places"] == 4 and each["among"] == 11 for each in stored)
        last = [each for each in explored if (each["position"], each["rank"]) == (4, 11)]
        assert {each["propensity"] for each in last} == {0.5 / 4 / 7}
        assert abs(len(last) / 300 - 0.5 / 4 / 7) < 0.03


@pytest.fixture
def taught(catalog):
    """A ranking whose pictures are the better the farther in front, users who look at position p with 1 / p, and a
    service that explores in half of the lists."""
    rng, chance = np.random.default_rng(0), random.Random(0)
    ids = catalog.add_images([{} for _ in range(9)])
    query, ranking = ids[0], ids[1:]
    attraction = np.linspace(0.9, 0.3, 8)
    with catalog.writing() as connection:
        for _ in range(900):
            order, details = list(range(8)), {"share": 0.5, "places": 5, "among": 8}
            if chance.random() < 0.5:
                place = chance.randrange(5)
                behind = chance.randrange(place + 1, 8)
                order[place], order[behind] = behind, place
                details |= {"position": place + 1, "rank": behind + 1, "propensity": 0.1}
            shown = [ranking[i] for i in order[:5]]
            number = log_results(catalog, query, shown, ranker="r", details={"explore": details}, connection=connection)
            for position in np.flatnonzero(rng.random(5) < attraction[order[:5]] / np.arange(1, 6)):
                log_click(catalog, number, shown[position], connection=connection)
    return catalog, ranking


def test_exploration_tells_where_people_look(taught):
    catalog, ranking = taught
    found = read_examination(catalog)
    truth = 1 / np.arange(1, 6)
    assert np.abs(found.shares - truth).max() < 0.15
    assert ((found.low <= truth) & (truth <= found.high)).mean() >= 0.8 and (found.high > found.low)[1:].all()
    assert (found.clicks > 5).all()
    rates = read_click_rates(catalog)
    ratios = [rates.ratio(id) for id in ranking]
    assert np.corrcoef(ratios, np.linspace(0.9, 0.3, 8))[0, 1] > 0.9, "what was farther behind is seen to be worse"
    low, high = rates.interval(ranking[0])
    assert low < ratios[0] < high and rates.interval(10**6)[0] < 0.3 < 3 > 1
    assert rates.interval(ranking[0], 0.5)[0] > low


def test_what_exploration_knows_of_positions_counts_by_its_clicks():
    counts = {(0, image, place): np.array([100.0, 40.0 / place]) for image, place in ((1, 1), (2, 2))}
    alone = click_rates(counts)
    told = click_rates(counts, looks={1: (1.0, 1e6), 2: (0.1, 1e6)})
    assert alone.ratio(1) > alone.ratio(2), "who cannot tell takes the position for all"
    assert told.ratio(2) > 2 * told.ratio(1), "the second place is hardly looked at, and its picture was clicked"


def test_nothing_explored_says_nothing(catalog):
    ids = catalog.add_images([{} for _ in range(3)])
    log_results(catalog, ids[0], ids[1:], ranker="r")
    assert read_examination(catalog) is None
