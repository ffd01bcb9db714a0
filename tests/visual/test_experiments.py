"""Experiments on a catalog: planned, begun, seen as they stand, and ended; and drafts of two rankings."""

import json

import numpy as np
import pytest

from annlab.cli import main
from annlab.visual.catalog import Catalog, CatalogError
from annlab.visual.drafting import Draft
from annlab.visual.experiments import Arm, experiments, plan, running, start, status, stop
from annlab.visual.interactions import log_click, log_results
from annlab.visual.people import add_user
from annlab.visual.reranking import parse_ranking
from annlab.visual.search import ById
from tests.visual.searching import Made, directions

QUERY = '[[stage]]\nname = "query"\n'
DIVERSE = QUERY + '[[stage]]\nname = "diversity"\nstrength = 0.9\n'
A, B = Arm("a.toml", QUERY), Arm("b.toml", DIVERSE)
EXPECTED = {"users": 400, "rate": 0.2, "showings": 20}


def shown_to(catalog, experiment, user, rates, rng, images=range(2, 7)):
    """A list for a user of an experiment, whose arms are clicked at some rates."""
    arm = experiment.arm_of(user)
    number = log_results(catalog, 1, list(images), ranker=experiment.ranker(arm), user_id=user)
    for image in images:
        if rng.random() < rates[arm]:
            log_click(catalog, number, image)


def test_an_experiment_from_the_plan_to_the_end(catalog):
    catalog.add_images([{} for _ in range(7)])
    users = [add_user(catalog) for _ in range(60)]
    planned = plan(catalog, "one", A, B, **EXPECTED)
    assert abs(planned.smallest - 2.8016 * np.sqrt(4 * 0.16 / 8000)) < 1e-5 and not planned.started
    assert running(catalog) is None
    begun = start(catalog, "one", A, B, **EXPECTED)
    assert running(catalog) == begun and begun.a == A
    assert status(catalog).difference is None and "too few" in status(catalog).verdict()
    with pytest.raises(CatalogError, match="one is running"):
        start(catalog, "two", A, B, **EXPECTED)
    rng = np.random.default_rng(0)
    with catalog.writing():
        pass
    for user in users:
        shown_to(catalog, begun, user, {"A": 0.1, "B": 0.7}, rng)
    standing = status(catalog)
    assert sum(standing.users) == 60 and standing.split.sound
    assert standing.difference.always_low > 0 and "B is clicked more" in standing.verdict()
    ended = stop(catalog)
    assert ended.experiment.stopped and running(catalog) is None and ended.difference == standing.difference
    with pytest.raises(CatalogError, match="no experiment is running"):
        stop(catalog)
    with pytest.raises(CatalogError, match="another name"):
        plan(catalog, "one", A, B, **EXPECTED)
    known = plan(catalog, "two", A, B)
    assert known.users == 60 and 0.05 < known.smallest < 0.5, "from what is known of the users by now"
    assert [each.name for each in experiments(catalog)] == ["one"] and json.dumps(ended.as_dict())


def test_a_split_that_loses_users_is_told_before_any_figure(catalog):
    catalog.add_images([{} for _ in range(7)])
    begun = start(catalog, "one", A, B, **EXPECTED)
    rng = np.random.default_rng(0)
    for user in [add_user(catalog) for _ in range(70)]:
        if begun.arm_of(user) == "A" or user % 5 == 0:
            shown_to(catalog, begun, user, {"A": 0.2, "B": 0.2}, rng)
    assert not status(catalog).split.sound and "no figure means anything" in status(catalog).verdict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a b"}, "'a b' is none"),
        ({"weights": (1, 0)}, "above 0"),
        ({"users": 2}, "2 users shows nothing"),
        ({"rate": None}, "give both --rate"),
        ({"rate": 1.5}, "give both --rate"),
        ({"b": Arm("x", "[[stage]]\nname = 'nothing'")}, "x, stage 1: name"),
    ],
)
def test_what_cannot_be_is_refused(catalog, change, message):
    with pytest.raises(ValueError, match=message):
        plan(catalog, **{"name": "one", "a": A, "b": B, **EXPECTED, **change})


def test_a_draft_holds_all_pictures_once_and_credits_both_sides(tmp_path):
    with Made(tmp_path) as made:
        vectors = directions(30)
        vectors[20:25] = vectors[:5] + 1e-4  # near-duplicates
        made.add(vectors)
        folding = parse_ranking(QUERY + '[[stage]]\nname = "near-duplicates"\n', "a")
        diverse = parse_ranking(DIVERSE, "b")
        firsts = []
        for seed in range(40):
            draft = Draft(folding, diverse, seed)
            answer = made.search.search(ById(9), k=8, cutoff=0, stages=[draft])
            ids, cursor = [], None
            while True:
                ids += [id for each in answer.results for id in (each.id, *each.folded)]
                if (cursor := answer.cursor) is None:
                    break
                answer = made.search.search(ById(9), k=8, cutoff=0, stages=[Draft(folding, diverse, seed + 1)],
                                            cursor=cursor)  # fmt: skip
            assert len(ids) == len(set(ids)) and set(ids) <= set(range(1, 31)) - {9} and len(ids) >= 28
            firsts.append(draft.teams[ids[0]])
            assert set(draft.teams.values()) == {0, 1}
        assert 5 < sum(firsts) < 35, "a coin says who begins"


def test_interleaved_clicks_are_points_for_the_team(catalog):
    catalog.add_images([{} for _ in range(7)])
    begun = start(catalog, "mixed", A, B, interleaved=True, **EXPECTED)
    assert status(catalog).liked is None
    for user in [add_user(catalog) for _ in range(20)]:
        assert begun.arm_of(user) == "A+B"
        number = log_results(catalog, 1, [2, 3, 4], ranker=begun.ranker("A+B"), user_id=user,
                             details={"teams": [0, 1, None]})  # fmt: skip
        for image in (3, 4):
            log_click(catalog, number, image)
    found = status(catalog)
    assert (found.liked.wins_a, found.liked.wins_b, found.liked.ties) == (0, 20, 0) and "prefer B" in found.verdict()


def test_the_command_starts_shows_and_ends_experiments(tmp_path, capsys):
    place = str(tmp_path / "c.db")
    assert main(["experiment", "status", place]) == 1 and "there is no catalog" in capsys.readouterr().err
    Catalog.open(place).close()
    (tmp_path / "b.toml").write_text(DIVERSE)
    given = ["experiment", "start", place, "packaged", str(tmp_path / "b.toml")]
    assert main(given) == 1 and "--users" in capsys.readouterr().err
    given += ["--rate", "0.1", "--showings", "20", "--users", "1000"]
    assert main([*given, "--plan", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["started"] is None and "1.19 percentage points" in printed.err
    assert main(given) == 0 and "packaged-b has begun" in capsys.readouterr().out
    assert main(["experiment", "status", place]) == 0 and "too few" in capsys.readouterr().out
    assert main(["experiment", "stop", place, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stopped"]
    assert main(["experiment", "stop", place]) == 1
