"""Learn the calibrations of the packaged encoders from the packaged images, and put them beside the models.

python -m benchmarks.package_relevance
"""

from dataclasses import replace

import numpy as np

from annlab.datasets import emoji
from annlab.datasets.fashion import fashion_mnist
from annlab.encoders.captions import nonsense
from annlab.encoders.encoder import Encoder
from annlab.encoders.pretrained import MODELS, load_encoder
from annlab.visual.calibrating import learn_relevance
from annlab.visual.facts import words_of
from annlab.visual.nonsense import drawn_nonsense
from annlab.visual.relevance import Relevance
from annlab.visual.wording import Wording

NONSENSE = 1600


def main() -> None:
    """Write `relevance.npz` of each."""
    for name, learned in (("fashion-mnist", of_fashion(load_encoder("fashion-mnist"))),
                          ("emoji", of_emoji(load_encoder("emoji")))):  # fmt: skip
        learned.save(MODELS / name)
        print(f"{MODELS / name}: {len(learned.to_bytes())} bytes, cut-off {learned.image.cutoff:.3f}")


def of_fashion(encoder: Encoder, rows: slice | np.ndarray = slice(None)) -> Relevance:
    """Pictures of one class are relevant to each other; learned from some rows."""
    images, labels, _ = fashion_mnist()
    images, labels = images[rows], labels[rows]
    drawn = drawn_nonsense(NONSENSE, list(images[:400, ..., None]), dressing=2)
    return learn_relevance(encoder.encode(images), labels, encoder.fingerprint,
                           nonsense=encoder.encode(drawn, check_domain=False),
                           learned_from=f"{len(images)} packaged images and their classes")  # fmt: skip


def of_emoji(encoder: Encoder, rows: slice | np.ndarray = slice(None)) -> Relevance:
    """Pictures that share a third of their phrases are relevant to each other; to a text those that it is true of."""
    assert encoder.texts is not None
    pictures = emoji()
    images, every = pictures.images[rows], pictures.phrases()
    phrases = [every[row] for row in np.arange(len(every))[rows].tolist()]
    words = sorted({phrase for each in phrases for phrase in each})
    place = {word: number for number, word in enumerate(words)}
    said = np.zeros((len(words), len(phrases)), dtype=np.float32)
    for row, each in enumerate(phrases):
        said[[place[phrase] for phrase in each], row] = 1
    shared = said.T @ said
    counts = shared.diagonal()
    alike = shared >= (counts[:, None] + counts - shared) / 3
    drawn = drawn_nonsense(NONSENSE, list(images[::8]), dressing=2)
    learned = learn_relevance(
        encoder.encode(images), alike, encoder.fingerprint, nonsense=encoder.encode(drawn, check_domain=False),
        texts=encoder.texts.encode(words), text_labels=said > 0,
        text_nonsense=encoder.texts.encode(nonsense(NONSENSE, np.random.default_rng(2))),
        expected=0.05, learned_from=f"the phrases of the {len(images)} packaged emoji",
    )  # fmt: skip
    return replace(learned, wording=Wording(word for phrase in words for word in words_of(phrase)))


if __name__ == "__main__":
    main()
