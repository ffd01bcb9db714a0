"""Training from what people clicked and judged in a catalog."""

import json

import numpy as np
import pytest
from PIL import Image

from annlab.visual.catalog import Catalog, CatalogError
from annlab.visual.interactions import log_click, log_results
from annlab.visual.judging import judge
from annlab.visual.people import add_user
from annlab.visual.teaching import lesson

ROWS = np.arange(30)


@pytest.fixture
def place(tmp_path):
    """Thirty pictures; number 30 is private."""
    rng = np.random.default_rng(0)
    with Catalog.open(tmp_path / "c.db") as catalog:
        catalog.add_encoder("enc", "test", 3)
        rows = []
        for number in range(30):
            path = tmp_path / f"{number}.png"
            Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(path)
            rows.append({"path": str(path), "private": number == 29})
        catalog.mark_indexed(catalog.add_images(rows), "enc")
    return tmp_path / "c.db"


def pairs_of(source, n=4000):
    """How often each pair of different pictures is drawn, and the hard negatives of queries."""
    points = source.sample(n, np.random.default_rng(0), 1)
    different = points.query != points.positive
    pairs, counts = np.unique(np.stack([points.query, points.positive])[:, different], axis=1, return_counts=True)
    return dict(zip(map(tuple, pairs.T.tolist()), (counts / n).tolist())), points


def test_judgements_become_pairs_by_their_grades(place):
    with Catalog.open(place) as catalog:
        for candidate, grade in ((2, 3), (3, 1), (4, 0), (30, 3)):
            judge(catalog, 1, candidate, grade, "me")
        images, source = lesson(catalog, "judgements", "c.db")
    assert len(images) == 29, "all but the private one"
    pairs, points = pairs_of(source(np.arange(29)))
    assert set(pairs) == {(0, 1), (0, 2)} and abs(pairs[0, 1] / pairs[0, 2] - 3) < 0.6
    assert abs(sum(pairs.values()) - 0.5) < 0.03, "the other half is augmentation"
    taught = points.query != points.positive
    assert (points.negatives[taught, 0] == 3).all(), "what was judged as unlike is a hard negative"


def test_clicks_count_by_how_seldom_people_look_there(place):
    with Catalog.open(place) as catalog:
        for number in range(80):
            shown = [2, 3] if number % 2 else [3, 2]
            list_id = log_results(catalog, 1, shown, ranker="r")
            if number < 40:
                log_click(catalog, list_id, shown[0])
            if number < 10:
                log_click(catalog, list_id, shown[1])
        only_second = [log_results(catalog, 5, [6, 7], ranker="r") for _ in range(40)]
        for list_id in only_second[:5]:
            log_click(catalog, list_id, 7)
        for list_id in only_second[:10]:
            log_click(catalog, list_id, 6)
        pairs, _ = pairs_of(lesson(catalog, "clicks", "c.db").source(np.arange(29)))
    assert set(pairs) == {(0, 1), (0, 2), (4, 5), (4, 6)}
    assert abs(pairs[4, 6] / pairs[4, 5] - 2) < 0.5, "half the clicks, where a quarter as many look"


def test_a_thousand_clicks_of_one_person_are_a_few(place):
    with Catalog.open(place) as catalog:
        loud, others = add_user(catalog), [add_user(catalog) for _ in range(5)]
        for number in range(60):
            user = loud if number < 55 else others[number - 55]
            shown = [2, 3] if number % 2 else [3, 2]
            list_id = log_results(catalog, 1, shown, ranker="r", user_id=user)
            log_click(catalog, list_id, 2 if user == loud else 3)
        pairs, _ = pairs_of(lesson(catalog, "clicks", "c.db").source(np.arange(29)))
    assert 0.5 < pairs[0, 1] / pairs[0, 2] < 2


def test_nothing_to_learn_from_is_said(place):
    with Catalog.open(place) as catalog:
        for kind in ("clicks", "judgements"):
            with pytest.raises(CatalogError, match=f"c.db has no {kind} to learn from: of 0 pairs"):
                lesson(catalog, kind, "c.db")
        judge(catalog, 1, 30, 3, "me")
        with pytest.raises(CatalogError, match="of 1 pairs none"):
            lesson(catalog, "judgements", "c.db")


def test_the_command_says_what_makes_no_sense(place, capsys):
    from annlab.cli import main

    out = ["--out", str(place.parent / "e")]
    for given, says in (
        ([], "say what to learn from"),
        (["emoji", "--from-clicks", str(place)], "say what to learn from"),
        (["--from-clicks", str(place), "--positives", "labels"], "leave --positives"),
        (["--from-clicks", str(place.parent / "none.db")], "there is no catalog"),
        (["--from-judgements", str(place)], "has no judgements to learn from"),
    ):
        assert main(["train", *given, *out]) == 1 and says in capsys.readouterr().err


@pytest.mark.encoders
@pytest.mark.slow
def test_the_command_trains_by_what_was_judged(place, capsys):
    pytest.importorskip("torch")
    from annlab.cli import main

    with Catalog.open(place) as catalog:
        for query in range(1, 20):
            judge(catalog, query, query + 1, 3 * (query % 2), "me")
    out = place.parent / "encoder"
    asked = ["train", "--from-judgements", str(place), "--out", str(out), "--size", "16", "--epochs", "1", "--json"]
    asked.append("--from-scratch")
    assert main(asked) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["dim"] == 128 and "29 images" in printed.err and "from judgements" in printed.err
    card = (out / "MODEL_CARD.md").read_text()
    assert "annlab train --from-judgements c.db" in card and '"n_negatives": 1' in card
