"""The stages of re-ranking, each by itself and read from a file; what they did is told."""

import datetime
from pathlib import Path

import numpy as np
import pytest

from annlab.visual import interactions, reranking
from annlab.visual.click_rates import MOST_OF_ONE, click_rates, read_click_rates
from annlab.visual.people import add_user
from annlab.visual.ranked import About, Candidate, Ranked
from annlab.visual.reranking import RankingError, rank, read_ranking
from annlab.visual.search import ById, ByUpload, Viewer
from annlab.visual.stages import (
    STAGES,
    CategoryGate,
    Diversity,
    Freshness,
    Hidden,
    NearDuplicates,
    OwnerCap,
    Rules,
    TheQuery,
    Words,
)
from tests.visual.searching import NOON, Made, directions, png


@pytest.fixture
def made(tmp_path):
    with Made(tmp_path) as made:
        yield made


def ranked(made, ids, values=None, *, vectors=None, named=(), clicks=None, visible=None, words=()):
    """Candidates in this order, with falling scores."""
    facts = made.search._facts.now()
    values = np.linspace(0.9, 0.1, len(ids)) if values is None else values
    table = dict(zip(ids, directions(len(ids)) if vectors is None else np.asarray(vectors, np.float32), strict=True))
    about = About(facts, facts.there if visible is None else visible, tuple(named),
                  lambda keys: np.stack([table[key] for key in keys]), NOON.timestamp(), True, clicks,
                  words)  # fmt: skip
    return Ranked(tuple(Candidate(id, id, 1 - v, v, v) for id, v in zip(ids, values, strict=True)), about)


def keys(result):
    return [one.key for one in result.candidates]


def test_hidden_and_the_query_are_dropped_with_the_reason(made):
    ids = made.add(directions(4))
    visible = np.array([True, False, True, True])
    result = TheQuery()(Hidden()(ranked(made, ids, named=[ids[3]], visible=visible)))
    assert keys(result) == [ids[0], ids[2]]
    assert [one.way[-1].split(":")[0] for one in result.dropped] == ["hidden", "query"]


def test_after_a_text_what_is_called_so_comes_first_and_then_what_begins_so(made):
    tags = [("horse racing",), (), ("Catalogue",), ("kissing CAT", "animal"), ("concatenate",), ("cat",)]
    ids = made.add(directions(6), [{"tags": each} for each in tags])
    result = Words()(ranked(made, ids, words=("cat",)))
    assert keys(result) == [ids[n] for n in (3, 5, 2, 0, 1, 4)]
    assert result.candidates[0].way == ("words: 1 of 1 stand in its tags",) and result.candidates[3].way == ()
    assert keys(Words()(ranked(made, ids, words=("racing", "horse"))))[0] == ids[0]
    assert keys(Words()(ranked(made, ids, words=("animal", "cat"))))[:3] == [ids[3], ids[5], ids[2]]
    assert Words()(unchanged := ranked(made, ids)) is unchanged


def test_near_duplicates_go_under_one_and_chains_do_not_become_a_group(made):
    ids = made.add(directions(6))
    angles = np.deg2rad([0, 4, 8, 12, 90, 91])  # each near the next, and not to the one after it
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1)
    result = NearDuplicates(distance=1 - np.cos(np.deg2rad(5)))(ranked(made, ids, vectors=vectors))
    assert keys(result) == [ids[0], ids[2], ids[4]]
    assert [one.folded for one in result.candidates] == [(ids[1],), (ids[3],), (ids[5],)]
    assert "1 near-duplicates" in result.candidates[0].way[-1]


def test_diversity_is_maximal_marginal_relevance(made):
    rng = np.random.default_rng(0)
    ids = made.add(directions(30))
    vectors, values = directions(30, seed=4), np.sort(rng.random(30))[::-1]
    given = ranked(made, ids, values, vectors=vectors)
    for strength in (0.2, 0.7, 1.0):
        left, wanted = list(range(30)), []
        while left:
            closest = [max((vectors[i] @ vectors[j] for j in wanted), default=-1.0) for i in left]
            merit = [(1 - strength) * values[i] - strength * near for i, near in zip(left, closest, strict=True)]
            wanted.append(left.pop(int(np.argmax(merit))))
        assert keys(Diversity(strength)(given)) == [ids[i] for i in wanted]
    assert keys(Diversity(0.0)(given)) == ids
    moved = next(one for one in Diversity(0.7)(given).candidates if one.way)
    assert moved.way[0].startswith("diversity: from place")


def test_freshness_halves_with_age(made):
    days = [400, 30, 0, 400]
    ids = made.add(directions(4), [{"uploaded_at": NOON - datetime.timedelta(days=day)} for day in days])
    result = Freshness(weight=0.5, half_life=30)(ranked(made, ids, [0.5, 0.5, 0.5, 0.6]))
    assert keys(result) == [ids[2], ids[1], ids[3], ids[0]]
    assert [round(one.value, 3) for one in result.candidates] == [0.75, 0.625, 0.6, 0.5]
    assert "30 days" in result.candidates[1].way[0]


def test_owners_are_capped_and_nobody_is_lost(made):
    users = [add_user(made.catalog, username=name) for name in ("a", "b")]
    owners = [users[0]] * 4 + [users[1], None, None, None]
    ids = made.add(directions(8), [{"owner_id": owner} for owner in owners])
    assert keys(OwnerCap(most=2)(ranked(made, ids))) == [*ids[:2], *ids[4:], ids[2], ids[3]]


def test_rules_and_the_category_gate_drop_by_tag(made):
    user = add_user(made.catalog, username="a")
    tags = [("shoe",), ("shoe", "red"), ("hat",), (), ("shoe",), ("advert", "shoe")]
    ids = made.add(directions(6), [{"tags": t, "owner_id": user if i == 4 else None} for i, t in enumerate(tags)])
    given = ranked(made, ids)
    assert keys(Rules(deny_tags=("advert",))(given)) == ids[:5]
    assert keys(Rules(deny_owners=(user,), deny_ids=(ids[0],))(given)) == [*ids[1:4], ids[5]]
    assert keys(Rules(only_tags=("hat", "red"))(given)) == ids[1:3]
    gate = CategoryGate(categories=("shoe", "hat"))
    assert keys(gate(given)) == [ids[0], ids[1], ids[3], ids[4], ids[5]], "the nearest agree on shoe"
    assert keys(CategoryGate(("shoe", "hat"), agreement=1.0)(given)) == ids, "not all of them do"
    assert keys(gate(ranked(made, ids, named=[ids[2]]))) == [ids[2], ids[3]], "the query is a hat"
    assert keys(CategoryGate()(given)) == ids


def test_clicks_count_over_those_expected_at_their_positions():
    """Two images of equal attraction, one always shown first: raw rates prefer it, these ratios do not."""
    rng = np.random.default_rng(0)
    examine = np.array([1.0, 0.5, 0.25])
    liked = {1: 0.3, 2: 0.3, 3: 0.3, 4: 0.6}  # image 4 is better
    counts = {}
    for _ in range(3000):
        first = [1, 2, 3] if rng.random() < 0.9 else [2, 3, 1]
        for position, image in enumerate(first if rng.random() < 0.5 else [*first[:2], 4], 1):
            both = counts.setdefault((9, image, position), np.zeros(2))
            both += [1, rng.random() < examine[position - 1] * liked[image]]
    raw = {i: sum(c[1] for k, c in counts.items() if k[1] == i) / sum(c[0] for k, c in counts.items() if k[1] == i)
           for i in liked}  # fmt: skip
    rates = click_rates(counts)
    assert raw[1] > 2 * raw[3] and raw[1] > 1.5 * raw[4]
    attractions = [rates.ratio(image) for image in (1, 2, 3, 4)]
    assert np.ptp(attractions[:3]) < 0.25 and 1.6 < attractions[3] / np.mean(attractions[:3]) < 2.4, attractions
    assert rates.ratio(77) == 1.0, "nobody was shown it"


def test_few_clicks_move_little_and_a_pair_stands_before_the_image():
    many, few = np.array([1000.0, 100.0]), np.array([1.0, 1.0])
    counts = {(1, 5, 1): many, (1, 6, 1): few, (2, 5, 1): np.array([200.0, 60.0]), (2, 7, 1): np.array([200.0, 10.0])}
    rates = click_rates(counts)
    assert 1.0 < rates.ratio(6) < 1.4
    assert rates.ratio(5, [2]) > 1.5 * rates.ratio(5, [1]) and rates.ratio(5, [3]) == rates.ratio(5)


def test_clicks_of_the_catalog_lift_an_image(tmp_path):
    (tmp_path / "ranking.toml").write_text('[[stage]]\nname = "query"\n[[stage]]\nname = "clicks"\nstrength = 1.0\n')
    with Made(tmp_path, ranking=tmp_path / "ranking.toml") as made:
        ids = made.add(directions(30))
        first = [result.id for result in made.search.search(ById(ids[0]), k=5).results]
        for _ in range(40):
            shown = interactions.log_results(made.catalog, ids[0], first, ranker="r")
            interactions.log_click(made.catalog, shown, first[3])
        assert [result.id for result in made.search.search(ById(ids[0]), k=5).results] == first
        made.search.refresh_clicks()
        lifted = made.search.search(ById(ids[0]), k=5, explain=True).results
        assert lifted[0].id == first[3] and any(step.startswith("clicks: times") for step in lifted[0].way)
        assert read_click_rates(made.catalog).ratio(first[3], [ids[0]]) > 1.5


def test_results_tell_their_way(made):
    vectors = directions(20)
    ids = made.add(np.concatenate([vectors, vectors[3:4] + 1e-4]))
    answer = made.search.search(ById(ids[0]), k=25, explain=True)
    (double,) = [result for result in answer.results if result.folded]
    assert {double.id, *double.folded} == {ids[3], ids[20]}
    assert double.way[0].startswith("found: place") and "near-duplicates" in double.way[-1]
    assert made.search.search(ById(ids[0])).results[0].way is None


def test_the_packaged_file_shows_every_stage_with_its_defaults(tmp_path):
    text = Path(reranking.__file__).with_name("ranking.toml").read_text()
    assert [type(stage) for stage in read_ranking()] == [Hidden, TheQuery, Words, NearDuplicates]
    every = "\n".join(line.removeprefix("# ") for line in text.splitlines() if " = " in line or "[[stage]]" in line)
    (tmp_path / "all.toml").write_text(every)
    stages = read_ranking(tmp_path / "all.toml")
    assert {type(stage) for stage in stages} == set(STAGES.values())
    for stage in stages:
        if not isinstance(stage, Rules | CategoryGate):
            assert stage == type(stage)()


@pytest.mark.parametrize("text", [
    "[[stage]\n", "[[stage]]\nname = 'beauty'", "[[stage]]\nnmae = 'query'", "[[stage]]\nname = 'query'\nx = 1",
    "x = 1", "[[stage]]\nname = 'diversity'\nstrength = 2", "[[stage]]\nname = 'diversity'\nstrength = 'a'",
    "stage = 3",
    "[[stage]]\nname = 'owner-cap'\nmost = 1.5", "[[stage]]\nname = 'owner-cap'\nmost = true", "stage = [1]",
    "[[stage]]\nname = 'rules'\ndeny_ids = ['x']", "[[stage]]\nname = 'freshness'\nhalf_life = nan",
    "[[stage]]\nname = [1]",
    "[[stage]]\nname = 'near-duplicates'\ndistance = inf", "[[stage]]\nname = 'category-gate'\namong = 0", "\xff\x00",
])  # fmt: skip
def test_files_that_make_no_sense_are_refused_with_the_place(tmp_path, text):
    (tmp_path / "ranking.toml").write_text(text, encoding="latin-1")
    with pytest.raises(RankingError, match=r"ranking\.toml"):
        read_ranking(tmp_path / "ranking.toml")


def test_no_stage_at_all_is_the_order_of_the_index(tmp_path):
    (tmp_path / "ranking.toml").write_text("")
    with Made(tmp_path, ranking=tmp_path / "ranking.toml") as made:
        picture = np.random.default_rng(0).integers(1, 255, (4, 4), dtype=np.uint8)
        ids = made.add(made.encoder.encode([picture] * 3))
        results = made.search.search(ByUpload(png(picture)), viewer=Viewer()).results
        assert [result.id for result in results] == ids
        given = ranked(made, ids)
        assert rank([], given) is given


def test_the_clicks_of_one_person_count_as_few(tmp_path):
    with Made(tmp_path) as made:
        ids = made.add(directions(6))
        anna = add_user(made.catalog, username="anna")
        for _ in range(100):
            shown = interactions.log_results(made.catalog, ids[0], ids[1:3], ranker="r", user_id=anna)
            interactions.log_click(made.catalog, shown, ids[2])
        alone = read_click_rates(made.catalog)
        assert 1 < alone.ratio(ids[2]) < 3, "a hundred clicks of hers"
        assert alone.evidence[(ids[2],)][0] == pytest.approx(MOST_OF_ONE)
        for name in range(40):
            user = add_user(made.catalog, username=f"user {name}")
            shown = interactions.log_results(made.catalog, ids[0], ids[1:3], ranker="r", user_id=user)
            interactions.log_click(made.catalog, shown, ids[1])
        together = read_click_rates(made.catalog)
        assert together.ratio(ids[1]) > together.ratio(ids[2]), "forty persons outweigh her"
