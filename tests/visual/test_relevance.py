"""Scores: calibrated, falling, refused for another encoder; nonsense finds next to nothing, and classes keep theirs."""

import numpy as np
import pytest

from annlab import ExactIndex
from annlab.datasets.fashion import fashion_mnist
from annlab.encoders.pretrained import load_encoder
from annlab.visual.calibrating import learn_from_vectors, learn_relevance
from annlab.visual.catalog import Catalog
from annlab.visual.emptiness import what_is_missing
from annlab.visual.facts import CatalogFacts
from annlab.visual.nonsense import nonsense_pictures
from annlab.visual.relevance import FILE, Relevance
from annlab.visual.scoring import Scoring, relevance_of
from annlab.visual.search import ById, ByUpload, QueryError, VisualSearch
from annlab.visual.sense import learn_sense
from tests.encoders.helpers import linear_encoder
from tests.visual.drawings import UNKNOWN, on_black
from tests.visual.searching import Made, directions, png


def clusters(n=300, dim=16, kinds=6, seed=0, spread=0.25):
    """(n, dim) directions of some kinds, and the kind of each; the kinds are those of seed 0 whatever the seed."""
    middles, rng = directions(kinds, dim, seed=0), np.random.default_rng(seed)
    labels = rng.integers(0, kinds, n)
    vectors = middles[labels] + spread * rng.normal(size=(n, dim)) / np.sqrt(dim) * 2
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), labels


@pytest.fixture(scope="module")
def learned():
    vectors, labels = clusters()
    return learn_relevance(vectors, labels, "enc", nonsense=directions(100, 16, seed=9))


def test_scores_are_the_shares_of_what_is_relevant(learned):
    images, labels = clusters(seed=5)
    queries, own = clusters(200, seed=6)
    scores = np.stack([learned.image.of(1 - images @ query, learned.strangeness(query)) for query in queries])
    relevant = own[:, None] == labels
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.01)):
        some = (scores >= low) & (scores < high)
        if some.sum() > 200:  # cautious where the query might be nothing
            assert -0.05 < relevant[some].mean() - scores[some].mean() < 0.2
    kept = scores >= learned.image.cutoff
    assert np.mean([kept[i][relevant[i]].mean() for i in range(200)]) > 0.85
    nothing = directions(200, 16, seed=77)
    shown = [learned.image.of(1 - images @ one, learned.strangeness(one)) >= learned.image.cutoff for one in nothing]
    assert np.mean(shown) < 0.02


def test_nonsense_among_the_references_is_told_by_where_it_leans():
    """Nonsense that lies between the images of two kinds, as near to references as images are; half of it unknown."""
    vectors, labels = clusters(600, spread=1.0)
    middle = directions(6, 16, seed=0)[:2].sum(axis=0) + 0.9 * directions(1, 16, seed=3)[0]
    nothing = middle + 0.25 * np.random.default_rng(8).normal(size=(200, 16))
    learned = learn_relevance(vectors, labels, "enc", nonsense=nothing[:100])
    without = learn_relevance(vectors, labels, "enc")

    def shown(by, queries):
        return np.mean([by.image.of(1 - vectors @ one, by.strangeness(one)) >= by.image.cutoff
                        for one in queries / np.linalg.norm(queries, axis=1, keepdims=True)])  # fmt: skip

    assert shown(learned, nothing[100:]) < 0.2 * shown(without, nothing[100:])
    assert shown(learned, clusters(50, seed=4, spread=1.0)[0]) > 0.5 * shown(
        without, clusters(50, seed=4, spread=1.0)[0]
    )
    again = Relevance.from_bytes(learned.to_bytes(), "enc", 16)
    assert np.isclose(again.strangeness(middle), learned.strangeness(middle), rtol=1e-2)
    assert again.strangeness(middle) > again.strangeness(vectors[0])


def test_a_calibration_of_the_time_before_the_leaning_is_read(tmp_path):
    kept = {"fingerprint": np.array("enc"), "learned_from": np.array("long ago"), "references": np.eye(2, 16),
            "image_cutoff": np.array(0.5), "image_distance": np.array([[0.0, 1.0], [0.9, 0.1]]),
            "image_strangeness": np.array([[0.0, 1.0], [1.0, 0.2]])}  # fmt: skip
    np.savez(tmp_path / FILE, **kept)
    found = Relevance.load(tmp_path, "enc", 16)
    assert found.strangeness(np.eye(16)[1]) == 0 and found.strangeness(np.eye(16)[5]) == 1
    for leaning in (np.ones(16), np.full(17, np.nan)):
        np.savez(tmp_path / FILE, **kept, image_leaning=leaning)
        with pytest.raises(ValueError, match="leaning"):
            Relevance.load(tmp_path, "enc", 16)


def test_scores_fall_with_the_distance_and_the_cut_is_where_they_say(learned):
    for metric, distances in (("cosine", np.linspace(0, 2, 500)), ("l2", np.linspace(0, 2, 500)),
                              ("ip", np.linspace(-1, 1, 500))):  # fmt: skip
        for query in (clusters(5)[0][0], directions(3, 16)[1]):
            scoring = Scoring.of(learned, query, False, metric)
            scores = scoring.scores(distances)
            assert (np.diff(scores) <= 0).all() and scores.min() >= 0 and scores.max() <= 1
            for cutoff in (0.0, 0.05, 0.5, 1.0):
                within = distances <= scoring.reach(cutoff)
                assert (within == (scores >= cutoff)).all()
            reach = scoring.reach(0.05)
            assert not np.isfinite(reach) or abs(scoring.scores(np.array([reach]))[0] - 0.05) < 1e-9


def test_a_calibration_is_read_as_it_was_written_and_refused_otherwise(learned, tmp_path):
    learned.save(tmp_path)
    again = Relevance.load(tmp_path, "enc", 16)
    assert again.image.cutoff == learned.image.cutoff and again.text is None
    assert np.allclose(again.references, learned.references, atol=1e-3)
    assert Relevance.load(tmp_path / "elsewhere", "enc", 16) is None
    content = (tmp_path / FILE).read_bytes()
    with pytest.raises(ValueError, match="belongs to the encoder enc"):
        Relevance.load(tmp_path, "other", 16)
    with pytest.raises(ValueError, match="dimension 17"):
        Relevance.load(tmp_path, "enc", 17)
    rng = np.random.default_rng(0)
    for cut in rng.integers(0, len(content), 40).tolist():
        with pytest.raises(ValueError):
            Relevance.from_bytes(content[:cut], "enc", 16)
    for place in rng.integers(0, len(content), 60).tolist():
        wrong = bytearray(content)
        wrong[place] ^= 1 << int(rng.integers(8))
        try:  # a flipped bit is found, or makes no difference that matters
            Relevance.from_bytes(bytes(wrong), "enc", 16)
        except ValueError:
            continue
    bad = {"fingerprint": np.array("enc"), "learned_from": np.array(""), "references": np.zeros((1, 16)),
           "image_cutoff": np.array(0.5), "image_distance": np.array([[0.0, 1.0], [0.1, 0.9]]),
           "image_strangeness": np.zeros((2, 1))}  # fmt: skip
    np.savez(tmp_path / FILE, **bad)
    with pytest.raises(ValueError, match="does not fall"):
        Relevance.load(tmp_path, "enc", 16)


def test_what_cannot_be_learned_from_is_refused():
    vectors, labels = clusters(40)
    for given in ((vectors[:5], labels[:5]), (vectors, labels[:-1]), (vectors, np.zeros(40)), (vectors[0], labels)):
        with pytest.raises(ValueError):
            learn_relevance(*given, "enc")
    with pytest.raises(ValueError):
        learn_from_vectors(vectors[:10], "enc")


def test_texts_have_a_curve_of_their_own():
    vectors, labels = clusters()
    texts = directions(6, 16, seed=0) + 0.8 * directions(1, 16, seed=50)  # a gap between texts and images
    learned = learn_relevance(vectors, labels, "enc", texts=texts, text_labels=np.arange(6))
    assert learned.curve(by_text=True) is learned.text is not None
    again = Relevance.from_bytes(learned.to_bytes(), "enc", 16)
    assert again.text.cutoff == learned.text.cutoff != learned.image.cutoff


def test_a_catalog_without_calibration_learns_one_of_its_public_images(tmp_path):
    with Made(tmp_path) as made:
        assert made.search.relevance is None
        vectors = clusters(200, 5, 4)[0]
        made.add(vectors[:100])
    with Made(tmp_path) as made:
        first = made.search.relevance
        assert first.learned_from == "the neighbourhoods of 100 images"
        made.add(vectors[100:], [{"private": True}] * 100)
    with Made(tmp_path) as made:
        assert made.search.relevance.to_bytes() == first.to_bytes(), "kept, and private images have no part in it"


def test_the_calibration_of_a_packaged_encoder_is_found_wherever_a_copy_of_it_lies(tmp_path):
    encoder = load_encoder("fashion-mnist")
    with Catalog.open(tmp_path / "c.db") as catalog:
        facts = CatalogFacts(catalog).now()
        index = ExactIndex(metric="cosine", dim=encoder.dim)
        for folder in (None, tmp_path):
            assert "packaged" in relevance_of(catalog, index, encoder, facts, folder).learned_from
        learned = learn_from_vectors(directions(60, encoder.dim), encoder.fingerprint)
        learned.save(tmp_path)
        assert relevance_of(catalog, index, encoder, facts, tmp_path).to_bytes() == learned.to_bytes()
        other, _ = linear_encoder(encoder.dim)
        other.name = "fashion-mnist"
        assert relevance_of(catalog, index, other, facts) is None
        with pytest.raises(ValueError, match="belongs to the encoder"):
            relevance_of(catalog, index, other, facts, tmp_path)


def test_nonsense_finds_little_and_a_class_keeps_what_is_relevant(tmp_path):
    """On the packaged images, with the packaged encoder and its calibration."""
    images, labels, _ = fashion_mnist()
    images, labels = images[:4000], labels[:4000]
    encoder = load_encoder("fashion-mnist")
    with Catalog.open(tmp_path / "fashion.db") as catalog:
        catalog.add_encoder(encoder.fingerprint, encoder.name, encoder.dim)
        with catalog.index(ExactIndex(metric="cosine", dim=encoder.dim), tmp_path / "fashion.index") as index:
            ids = catalog.add_images([{}] * len(images))
            catalog.mark_indexed(ids, encoder.fingerprint)
            index.fit(encoder.encode(images), ids)
            search = VisualSearch(catalog, index, encoder)
            kept, label = [], dict(zip(ids, labels.tolist(), strict=True))
            for query in ids[::100]:
                found, cursor = [], None
                while True:
                    answer = search.search(ById(query), k=500, cursor=cursor)
                    found += [id for result in answer.results for id in (result.id, *result.folded)]
                    cursor = answer.cursor
                    if cursor is None:
                        break
                relevant = sum(one == label[query] for one in labels) - 1
                kept.append(sum(label[id] == label[query] for id in found) / relevant)
            assert np.mean(kept) >= 0.9
            rng = np.random.default_rng(3)
            noise = [rng.integers(0, 256, (28, 28), dtype=np.uint8) for _ in range(6)]
            for picture in noise[:3]:
                picture[[0, -1]] = picture[:, [0, -1]] = 0  # else the encoder refuses it, as it does the others
            for picture in (*noise, np.full((28, 28), 20, np.uint8), np.full((28, 28), 128, np.uint8)):
                try:
                    answer = search.search(ByUpload(png(picture)), k=500)
                except QueryError:
                    continue
                assert answer.total < 0.05 * len(images)
            search._embedding.sense = learn_sense(list(images[:100, ..., None]))
            assert np.mean([search.search(ByUpload(png(image))).total > 0 for image in images[-30:]]) >= 0.85
            rng = np.random.default_rng(4)
            shares = [search.search(ByUpload(png(on_black(draw(rng))))).total / len(images) for draw in 2 * UNKNOWN]
            assert np.mean(shares) < 0.02, "drawings of nothing, in grey on black as clothes are"


def test_flat_colours_and_noise_are_recognised_by_their_pixels():
    images, _, _ = fashion_mnist()
    assert sum(what_is_missing(image[..., None]) is not None for image in images[:2000]) <= 4
    rng = np.random.default_rng(0)
    for side, frame in ((28, 0), (28, 3), (64, 10), (600, 0), (40, 1)):
        noise = np.full((side, side, 3), 9, np.uint8)
        inner = side - 2 * frame
        noise[frame : side - frame, frame : side - frame] = rng.integers(0, 256, (inner, inner, 3))
        assert "noise" in what_is_missing(noise)
        assert "flat" in what_is_missing(np.full((side, side, 1), rng.integers(256), np.uint8))
    assert what_is_missing(np.linspace(0, 255, 784).astype(np.uint8).reshape(28, 28, 1)) is None
    assert what_is_missing(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)) is None, "too small to tell"


def test_pictures_of_nothing_are_of_several_kinds():
    pictures = nonsense_pictures(40, 28)
    assert {picture.shape for picture in pictures} == {(28, 28, 3)}
    contrast = np.array([picture.std() for picture in pictures])
    assert contrast.min() < 30 and contrast.max() > 80
    assert all((a == b).all() for a, b in zip(pictures, nonsense_pictures(40, 28), strict=True))


def test_relevance_may_be_given_pair_by_pair_and_texts_have_a_nonsense_of_their_own():
    vectors, labels = clusters()
    pairs = labels[:, None] == labels
    options = {"nonsense": directions(100, 16, seed=9), "texts": vectors[:100]}
    by_labels = learn_relevance(vectors, labels, "enc", **options, text_labels=labels[:100])
    options["text_labels"] = pairs[:100]
    by_pairs = learn_relevance(vectors, pairs, "enc", **options)
    assert by_pairs.to_bytes() == by_labels.to_bytes()
    other = learn_relevance(
        vectors, pairs, "f" * 32, **{**options, "text_labels": pairs[:100]}, text_nonsense=vectors[:50]
    )
    assert other.image.cutoff == by_labels.image.cutoff
    assert other.text.by_strangeness(0.0) < by_labels.text.by_strangeness(0.0)
    evenly = learn_relevance(vectors, pairs, "enc", **options, expected=0.5)
    near = np.linspace(0.1, 0.5, 5)
    assert (evenly.image.by_distance(near) >= by_pairs.image.by_distance(near)).all()
    assert evenly.image.cutoff > by_pairs.image.cutoff  # the same images, of which one expects more
