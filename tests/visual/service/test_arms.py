"""A running experiment and the exploration slot, as the service serves and logs them."""

import pytest
from sqlalchemy import select

from annlab.visual.experiments import Arm, start, status, stop
from annlab.visual.schema import result_lists
from tests.visual.service.served import Served

QUERY = '[[stage]]\nname = "query"\n'
TURNED = QUERY + '[[stage]]\nname = "rules"\nonly_tags = ["odd"]\n'


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("arms"), explore=1.0)
    yield served
    served.close()


def asked(served, name, **more):
    """An answer, and the row of its list."""
    params = {"id": served.ids[1], "k": 5, "cutoff": 0, **more}
    answer = getattr(served, name).get("/api/search", params=params).json()
    if answer["list"] is None:
        return answer, None
    served.service.impressions.wait_for(answer["list"])
    with served.catalog.database.reading() as connection:
        query = select(result_lists).where(result_lists.c.id == answer["list"])
        return answer, connection.execute(query).mappings().one()


def test_first_pages_explore_and_say_with_which_chance(served):
    answer, row = asked(served, "anna")
    explored = row["details"]["explore"]
    assert explored["share"] == 1.0 and explored["places"] == 5 and 0 < explored["propensity"] <= 1
    assert row["ranker"] == "search" and 1 <= explored["position"] < explored["rank"] <= explored["among"]
    _, later = asked(served, "anna", cursor=answer["cursor"], first=6)
    assert "explore" not in later["details"]
    assert "explore" not in asked(served, "anna", order="time")[1]["details"]
    assert asked(served, "anna", log=False)[1] is None


def test_people_keep_their_arm_while_an_experiment_runs(served):
    begun = start(served.catalog, "one", Arm("a", QUERY), Arm("b", TURNED), users=10, rate=0.1, showings=9)
    served.service.arms.look(served.search)
    arms = {}
    for name in ("anna", "ben", "cleo", "root"):
        arm = begun.arm_of(served.users[name])
        for _ in range(2):
            answer, row = asked(served, name, k=15)
            assert row["ranker"] == f"one/{arm}" and "explore" in row["details"]
            odd = {"odd" in each["tags"] for each in answer["results"]}
            assert odd == ({True} if arm == "B" else {True, False})
        arms[name] = arm
    assert set(arms.values()) == {"A", "B"}, "choose other names for the test"
    assert sum(status(served.catalog).users) == 4
    stop(served.catalog)
    served.service.arms.look(served.search)
    assert asked(served, "anna")[1]["ranker"] == "search"


def test_interleaved_lists_say_whose_each_picture_is(served):
    start(served.catalog, "both", Arm("a", QUERY), Arm("b", TURNED), users=10, rate=0.1, showings=9, interleaved=True)
    served.service.arms.look(served.search)
    answer, row = asked(served, "cleo")
    assert row["ranker"] == "both/A+B" and len(row["details"]["teams"]) == 5
    assert set(row["details"]["teams"]) <= {0, 1}
    place = row["details"]["teams"].index(1) if 1 in row["details"]["teams"] else 0
    click = {"list": answer["list"], "image": answer["results"][place]["id"]}
    assert served.cleo.post("/api/clicks", json=click).status_code == 204
    liked = status(served.catalog).liked
    assert liked.wins_a + liked.wins_b == 1
    stop(served.catalog)
    served.service.arms.look(served.search)
