import warnings

import numpy as np
import pytest

import annlab
from annlab import tuning
from annlab.datasets.synthetic import synthetic
from annlab.tuning import recommend, tune

DATA = synthetic(4000, 16, 6, 400, seed=5)


def found_share(index, queries, k):
    true = annlab.ExactIndex(metric=index.metric).fit(DATA.train).search(queries, k).distances[:, -1:]
    return float((index.search(queries, k).distances <= true * (1 + 1e-5)).mean())


@pytest.mark.parametrize("kind", [annlab.IVFIndex, annlab.LSHIndex, annlab.VamanaIndex, annlab.KDTreeIndex])
def test_what_was_tuned_reaches_its_target_on_queries_that_it_has_not_seen(kind):
    found = tune(kind, DATA.train, target_recall=0.9, k=5, seconds=0)
    assert found.kind is kind and found.recall.low <= found.recall.mean <= found.recall.high
    assert found.microseconds > 0 and found.bytes > DATA.train.nbytes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", annlab.RecallWarning)
        index = found.make().fit(DATA.train)
    assert found_share(index, DATA.test, 5) >= 0.88


def test_fixed_parameters_stay_as_given():
    found = tune(annlab.IVFIndex, DATA.train, storage="flat", n_lists=50, seconds=0)
    assert found.parameters["storage"] == "flat" and found.parameters["n_lists"] == 50
    assert str(found).startswith("IVFIndex(metric='l2', storage='flat', n_lists=50")
    found = tune(annlab.LSHIndex, DATA.train, mode="scan", n_bits=200, seconds=0)  # none of the variants that are tried
    assert found.parameters["n_bits"] == 200


def measured(kind: type[annlab.Index], microseconds: float) -> annlab.tuning.Measured:
    share = annlab.tuning.Recall(1.0, 0.99, 1.0)
    return annlab.tuning.Measured(kind, {}, share, microseconds, 0.1, 1000, 1.0)


def test_what_can_miss_must_be_faster_by_a_tenth():
    exact, lists = measured(annlab.ExactIndex, 10.0), measured(annlab.IVFIndex, 9.5)
    assert annlab.tuning._by_cost([lists, exact], 0.0) == [exact, lists]
    quick = measured(annlab.IVFIndex, 8.9)
    assert annlab.tuning._by_cost([exact, quick], 0.0) == [quick, exact]
    assert "takes less than 1.1 times" in annlab.tuning._comparison([exact, lists], [exact, lists], 0.0, None)[0]


def test_of_few_vectors_it_says_what_is_recommended_and_why():
    answer = recommend(DATA.train[:400, :2].copy(), batch=1, seconds=1)
    assert "ExactIndex" in {one.kind.__name__ for one in (answer.best, *answer.others)}
    assert answer.facts.n == 400 and answer.facts.dim == 2 and 1 < answer.facts.intrinsic_dimension < 3.5
    assert "us a query" in str(answer) and str(answer).startswith(str(answer.best))
    assert any("exact" in reason for reason in answer.reasons)
    assert len(answer.make().fit(DATA.train[:400, :2])) == 400


def test_a_recall_of_one_asks_for_exact_kinds_only():
    answer = recommend(DATA.train, target_recall=1.0, seconds=1)
    # Few leaves may be enough for the queries that were asked, and not for others.
    assert not any("max_leaves" in one.parameters for one in (answer.best, *answer.others))
    kinds = {one.kind.__name__ for one in (answer.best, *answer.others)}
    assert "ExactIndex" in kinds and kinds <= {"ExactIndex", "KDTreeIndex", "BallTreeIndex"}
    assert found_share(answer.make().fit(DATA.train), DATA.test, 10) == 1


def test_inner_products_need_no_tree():
    answer = recommend(DATA.train, DATA.test, metric="ip", seconds=1)
    assert any("KDTreeIndex cannot serve" in text for text in answer.left_out)
    assert answer.best.parameters["metric"] == "ip"


def test_memory_limits_the_choice_and_says_what_more_would_buy():
    size = annlab.ExactIndex().fit(DATA.train).memory()["total"]
    answer = recommend(DATA.train, memory=int(1.2 * size), seconds=1)
    assert all(one.bytes <= 1.2 * size for one in (answer.best, *answer.others))
    with pytest.raises(ValueError, match="fits into 1,000 bytes"):
        recommend(DATA.train, memory=1000, seconds=0)


def test_what_is_written_counts():
    answer = recommend(DATA.train, updates=0.5, seconds=0)
    costs = [one.microseconds + 0.5 * one.write_microseconds for one in (answer.best, *answer.others)]
    assert costs == sorted(costs) and answer.best.write_microseconds > 0
    assert any("adding a vector" in reason for reason in answer.reasons)


def test_of_many_vectors_a_sample_is_measured_and_the_rest_left_to_the_index(monkeypatch):
    monkeypatch.setattr(tuning, "_SAMPLE", 2000)
    answer = recommend(DATA.train, seconds=8)
    every = {one.kind.__name__: one for one in (answer.best, *answer.others)}
    assert any("measured on 2,000" in reason for reason in answer.reasons)
    assert 0.8 < every["ExactIndex"].bytes / annlab.ExactIndex().fit(DATA.train).memory()["total"] < 1.2
    assert every["IVFIndex"].parameters["target_recall"] == 0.95 and "n_probes" not in every["IVFIndex"].parameters


def test_facts_name_copies_and_queries_from_elsewhere():
    copied = np.concatenate([DATA.train[:1000], DATA.train[:1000]])
    answer = recommend(copied, DATA.test + 20, seconds=0)
    assert answer.facts.copies == pytest.approx(0.5) and answer.facts.shift > 1.5
    assert any("copies" in reason for reason in answer.reasons)
    assert any("as far from their neighbours" in reason for reason in answer.reasons)


@pytest.mark.parametrize(("arguments", "words"), [
    ({"target_recall": 0}, "target_recall must be above 0"),
    ({"target_recall": 1.5}, "target_recall must be above 0"),
    ({"k": 1500}, "leave nothing to choose at k = 1500"),
    ({"filters": 0.0}, "above 0 and at most 1"),
    ({"filters": 0.0001}, "leaves fewer than k = 10"),
    ({"queries": DATA.test[:3]}, "3 queries say too little"),
    ({"queries": DATA.test[:, :3]}, "16"),
])  # fmt: skip
def test_what_cannot_be_answered_is_refused_by_name(arguments, words):
    with pytest.raises(ValueError, match=words):
        recommend(DATA.train, seconds=0, **arguments)


def test_tune_knows_kinds_by_their_class():
    with pytest.raises(TypeError, match="one of the classes"):
        tune("IVFIndex", DATA.train)
    with pytest.raises(TypeError, match="storag"):
        tune(annlab.IVFIndex, DATA.train, storag="flat")
    with pytest.raises(ValueError, match="no KDTreeIndex"):
        tune(annlab.KDTreeIndex, DATA.train, metric="ip")
