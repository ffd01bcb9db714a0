"""`python -m benchmarks recommend`: the sets of a seed, and what counts as a good recommendation."""

import numpy as np

import annlab
from annlab.choosing.measuring import Measured, Recall
from annlab.datasets import Dataset
from benchmarks import recommending
from benchmarks.field.contestants import contestants
from benchmarks.peers import Annlab


def test_a_seed_makes_its_sets_again_and_another_makes_others() -> None:
    sets = list(recommending.drawn(5, 4100))
    assert len(sets) == recommending.SETS
    for one, again in zip(sets, recommending.drawn(5, 4100)):
        assert one.data.name == again.data.name and np.array_equal(one.data.train, again.data.train)
        assert len(one.data.test) == recommending.REPORTED and len(one.tuning) == recommending.TUNING
        assert (one.queries is not None) == one.data.name.startswith("elsewhere")
    assert {one.data.name.partition(",")[0] for one in sets} == set(recommending.KINDS)
    assert [one.data.name for one in recommending.drawn(6, 4100)] != [one.data.name for one in sets]


def test_what_takes_longer_or_finds_less_was_not_recommended_well() -> None:
    good = {"times as long": 1.1, "recall": 0.96}
    assert recommending.well(good)
    assert not recommending.well(good | {"times as long": 1.3})
    assert not recommending.well(good | {"recall": 0.9})


class Thrice(Annlab):
    """Answers every question three times."""

    def search(self, queries, k, **parameters):
        for _ in range(2):
            super().search(queries, k, **parameters)
        return super().search(queries, k, **parameters)


def test_a_poor_recommendation_is_found_out(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    train, queries, tuning = (rng.random((n, 6), dtype="f4") for n in (3000, 40, 40))
    advice = Measured(annlab.ExactIndex, {"metric": "l2"}, Recall(1, 1, 1), 1.0, 1.0, 1)
    monkeypatch.setattr(annlab, "recommend", lambda *given, **named: type("Answer", (), {"best": advice}))
    monkeypatch.setattr(recommending, "contestants", lambda data, only: contestants(data, ["annlab Exact"]))
    monkeypatch.setattr(recommending, "Annlab", Thrice)
    record = recommending.judged(recommending.Drawn(Dataset("made", train, queries, "l2"), None, tuning), 0.5, 0.2)
    assert record["fastest"].startswith("annlab ExactIndex") and record["recall"] == 1.0
    assert 1.5 < record["times as long"] and not recommending.well(record)
