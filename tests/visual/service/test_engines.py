"""Kinds of index compared: recall and work move with the knob, and private vectors are not among them."""

import threading

import pytest

from annlab.kinds import INDEX_CLASSES
from annlab.visual.search import QueryError
from annlab.visual.service.core import Service
from annlab.visual.service.engines import Engines
from annlab.visual.service.settings import Settings
from tests.visual.searching import Made, directions


@pytest.fixture
def engines(tmp_path):
    with Made(tmp_path, dim=16) as made:
        made.ids = made.add(directions(1500, 16), [{"private": n % 10 == 0} for n in range(1500)])
        service = Service(made.search, Settings(tmp_path / "uploads"))
        yield Engines(service), service, made
        service.close()


def built(engines, kind):
    engines.build(kind)
    for thread in threading.enumerate():
        if thread.name == f"build {kind}":
            thread.join()
    return next(each for each in engines.overview()["engines"] if each["kind"] == kind)


def test_more_probes_find_more_and_look_at_more(engines):
    engines, service, made = engines
    about = built(engines, "IVFIndex")
    assert about["state"] == "ready" and about["bytes"] > 0
    knob = about["knobs"][0]
    few, many = (engines.measure("IVFIndex", 10, {"n_probes": n}, None) for n in (1, knob["high"]))
    assert few["recall"] < 0.9 < many["recall"] == many["high"] == 1.0
    assert few["low"] <= few["recall"] <= few["high"] and few["looked_at"] < many["looked_at"]
    public = made.ids[1]
    vector = service.search.index.vectors([public])[0]
    found = engines.measure("IVFIndex", 10, {"n_probes": 1}, vector)
    right = engines.measure("ExactIndex", 10, {}, vector)
    assert right["missed"] == [] and right["recall"] == 1.0
    assert set(found["missed"]) == set(right["found"]) - set(found["found"])
    private = {made.ids[n] for n in range(0, 1500, 10)}
    assert not private & set(right["found"]) and not private & set(found["found"])
    assert engines.overview()["vectors"] == 1350


def test_time_is_taken_of_searches_that_do_the_same(engines, monkeypatch):
    """Exact search is compared with itself as it is: behind a filter like the served index, and neither counts."""
    engines, service, _ = engines
    built(engines, "IVFIndex")
    timed = []

    def median(index, queries, k, options):
        timed.append((index, options))
        return 1.0 + len(timed)

    monkeypatch.setattr("annlab.visual.service.engines._median_ms", median)
    own = engines.measure("ExactIndex", 10, {}, None)
    assert [(index is service.search.index, [*options]) for index, options in timed] == [
        (False, ["allowed"]),
        (True, ["allowed"]),
    ]
    assert (own["exact_milliseconds"], own["milliseconds"]) == (2.0, 3.0)
    other = engines.measure("IVFIndex", 10, {"n_probes": 2}, None)
    assert [options for _, options in timed[2:]] == [{}, {"n_probes": 2}]
    assert (other["exact_milliseconds"], other["milliseconds"]) == (4.0, 5.0)
    assert engines.measure("ExactIndex", 10, {}, None)["exact_milliseconds"] == 2.0


def test_what_cannot_be_measured_is_refused_and_changes_are_noticed(engines):
    engines, _, made = engines
    with pytest.raises(QueryError, match="not built"):
        engines.measure("IVFIndex", 10, {}, None)
    with pytest.raises(QueryError, match="no index"):
        engines.build("NoIndex")
    built(engines, "IVFIndex")
    with pytest.raises(QueryError, match="n_probe"):
        engines.measure("IVFIndex", 10, {"n_probe": 3}, None)
    with pytest.raises(QueryError, match="too few"):
        engines.measure("ExactIndex", 1350, {}, None)
    made.add(directions(1, 16, seed=9))
    with pytest.raises(QueryError, match="not built"):
        engines.measure("IVFIndex", 10, {}, None)
    assert len(engines._current().ids) == 1351


def test_every_kind_is_built_and_measured_with_each_of_its_sliders(engines):
    engines, *_ = engines
    for cls in INDEX_CLASSES:
        about = built(engines, cls.__name__)
        assert about["state"] in ("ready", "current"), about
        for knob in about["knobs"]:
            for value in (knob["low"], knob["value"], knob["high"]):
                assert 0 <= engines.measure(cls.__name__, 5, {knob["name"]: value}, None)["recall"] <= 1


def test_what_the_served_index_tells_does_not_change_with_what_is_hidden(engines):
    """Its exact search compares all vectors, also those that it leaves out then, and its memory is that of all."""
    lab, _, made = engines

    def told():
        measured = lab.told(lab.measure("ExactIndex", 10, {}, None))
        about = [lab.told(each) for each in lab.overview()["engines"]]
        return {name: value for name, value in measured.items() if "milliseconds" not in name}, about

    before, admins = told(), lab.measure("ExactIndex", 10, {}, None)["looked_at"]
    made.add(directions(700, 16, seed=9), [{"private": True}] * 700)
    assert told() == before and before[0]["looked_at"] is None
    assert lab.measure("ExactIndex", 10, {}, None)["looked_at"] > admins, "which an admin may know"
    assert {about["state"]: about["bytes"] for about in before[1]}["current"] is None
    assert lab.told(built(lab, "IVFIndex"))["bytes"] > 0, "of what is built of public images, all is told"


def test_what_an_index_chooses_by_its_size_is_not_told(engines):
    lab = engines[0]
    own = {"kind": "ExactIndex", "knobs": [{"name": "n_probes", "low": 1, "high": 160, "value": 23}], "bytes": 5}
    knob = {"name": "n_probes", "low": 1, "high": 160, "value": 10}
    assert lab.told(own) == {"kind": "ExactIndex", "knobs": [knob], "bytes": None}
    assert lab.told({**own, "kind": "IVFIndex"}) == {**own, "kind": "IVFIndex"}
