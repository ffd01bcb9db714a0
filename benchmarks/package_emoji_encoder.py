"""Makes the shipped encoder of pictures and texts: ``python -m benchmarks.package_emoji_encoder TRAINED --out FOLDER``.

TRAINED is the folder that `COMMAND` wrote. Its weights are stored in a third of the space; the finished files are
judged on the packaged pictures against raw pixels and an untrained network, and the figures go into the model card;
what is relevant at which distance is learned and kept beside it. FOLDER is ``annlab/encoders/models/emoji``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from annlab.datasets import Emoji, emoji
from annlab.encoders.captions import misspelt
from annlab.encoders.encoder import Domain, Encoder
from annlab.encoders.export import compacted
from annlab.evaluation import from_embeddings
from benchmarks.package_relevance import of_emoji

COMMAND = "annlab train emoji --positives captions --size 32 --epochs 180 --threads 1 --out TRAINED"
DOMAIN = Domain("pictures such as emoji, drawn in colour on white, at 32 x 32 pixels")
MEASURES = ("map", "recall@10", "precision@10")
CARD = """# emoji

Embeds {description}, and English words into the same
space. A thin CNN for images (`annlab/encoders/cnn.py`), hashed words and two layers for texts
(`annlab/encoders/texts.py`), trained together by the code of this repository as in CLIP.

- Embedding: {dim} numbers, length 1; compare by cosine.
- Fingerprint: `{fingerprint}`
- Files: model.onnx, {model:,} bytes; texts.npz, {texts:,} bytes; convolutions are stored with 16 bits, tables and
  matrices with 8 or 16, and all is computed in float32. relevance.npz says at which distance what is relevant.
- Preprocessing: RGB, the middle of the image at 32 x 32, 0..1, z-score.
- Not for photographs: it has seen drawings only. Words: English; their order is ignored.

## Training

- Data: the {n:,} packaged emoji (`annlab.datasets.emoji`), their names, sub-groups and keywords. **Nothing was held
  out**: what follows is how well it knows these pictures, not how well it would know others.
- Seed: 0; 180 epochs of both, 150 of the texts alone. Time: 7.2 CPU-minutes on one thread.
- Commands:

      {command}
      python -m benchmarks.package_emoji_encoder TRAINED --out annlab/encoders/models/emoji

## Texts find pictures

Measured on these files, among all {n:,} pictures. *First* and *in ten*: the share of queries with a right picture
there.

| query | queries | right is | first | in ten |
|---|---|---|---|---|
{text_rows}

## Pictures find pictures

Each picture searched among all the others. An untrained network of the same shape and the raw pixels (64 x 64,
Euclidean) to compare with. Skin tones are told apart, for their names are; so pixels find the same drawing in another
tone more surely than the encoder does.

| relevant | measure | this encoder | untrained | pixels |
|---|---|---|---|---|
{image_rows}

## Licence

MIT, as annlab; the pictures are Noto's (Apache-2.0), see annlab/data/README.md.
"""


def hits(found: np.ndarray, right: Sequence[frozenset[int]]) -> tuple[float, float]:
    """The share of queries with a right picture first, and among the ten found."""
    first = np.mean([row[0] in rows for row, rows in zip(found, right)])
    return float(first), float(np.mean([bool(rows & set(row)) for row, rows in zip(found.tolist(), right)]))


def slipped(name: str, rng: np.random.Generator) -> str:
    """A name with one of its longer words misspelt."""
    words = name.split()
    long = [place for place, word in enumerate(words) if len(word) > 3]
    if long:
        place = long[int(rng.integers(len(long)))]
        words[place] = misspelt(words[place], rng)
    return " ".join(words)


def text_queries(pictures: Emoji) -> dict[tuple[str, str], tuple[list[str], list[frozenset[int]]]]:
    """Kinds of queries: what is typed and which pictures are right."""
    rng = np.random.default_rng(0)
    rows_of: dict[str, set[int]] = {}
    for row, words in enumerate(pictures.keywords):
        for word in words:
            rows_of.setdefault(word, set()).add(row)
    whole = [row for row, name in enumerate(pictures.names) if ":" not in name]
    own = [frozenset([row]) for row in range(len(pictures.names))]
    words = sorted(rows_of)
    pairs = [
        tuple(rng.choice(pictures.keywords[row], 2, replace=False)) for row in whole if len(pictures.keywords[row]) > 1
    ]
    tones = [row for row, name in enumerate(pictures.names) if ":" in name]
    names = [pictures.names[row] for row in whole]
    right = [own[row] for row in whole]
    return {
        ("name", "the picture"): (names, right),
        ("name, one word misspelt", "the picture"): ([slipped(name, rng) for name in names], right),
        ("name and skin tone", "the picture"): ([pictures.names[row] for row in tones], [own[row] for row in tones]),
        ("keyword", "has it"): (words, [frozenset(rows_of[word]) for word in words]),
        ("two keywords together", "has both"): (
            [" ".join(pair) for pair in pairs],
            [frozenset(rows_of[first] & rows_of[second]) for first, second in pairs],
        ),
    }


def untrained(pictures: Emoji) -> np.ndarray:
    """What a network says that has learned nothing."""
    import torch

    from annlab.encoders.cnn import ThinCNN
    from annlab.encoders.preprocess import Resize
    from annlab.encoders.train_captions import CONFIG
    from annlab.encoders.trained import as_nchw, embed, pixel_statistics

    torch.manual_seed(0)
    network = ThinCNN(3, CONFIG.widths, CONFIG.dim, CONFIG.grid, CONFIG.hidden).eval()
    pixels = as_nchw(Resize(32, 32)(pictures.images))
    return embed(network, pixels, *pixel_statistics(pixels))


def image_rows(pictures: Emoji, ours: np.ndarray) -> list[str]:
    """The lines of the second table."""
    subjects = {
        "this encoder": (ours, "cosine"),
        "untrained": (untrained(pictures), "cosine"),
        "pixels": (pictures.images.reshape(len(ours), -1).astype(np.float32), "l2"),
    }
    toned = np.flatnonzero(np.bincount(pictures.drawings)[pictures.drawings] > 1)
    lines = []
    for relevant, labels, queries in (
        ("the same drawing in another skin tone", pictures.drawings, toned),
        ("the same sub-group", pictures.labels, np.arange(len(ours))),
    ):
        means = [
            from_embeddings(
                vectors[queries],
                labels[queries],
                vectors,
                labels,
                metric=metric,
                exclude_self=queries,
                measures=MEASURES,
            ).means()
            for vectors, metric in subjects.values()
        ]
        lines += [f"| {relevant} | {m} | " + " | ".join(f"{mean[m]:.3f}" for mean in means) + " |" for m in MEASURES]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.package_emoji_encoder", description=__doc__)
    parser.add_argument("trained", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    encoder = compacted(Encoder.load(options.trained), name="emoji", domain=DOMAIN)
    assert encoder.texts is not None
    encoder.save(options.out)
    pictures = emoji()
    vectors = encoder.encode(pictures.images)
    rows = []
    for (query, what), (texts, right) in text_queries(pictures).items():
        of_texts = encoder.texts.encode(texts)
        blocks = [of_texts[start : start + 500] @ vectors.T for start in range(0, len(of_texts), 500)]
        found = np.concatenate([np.argsort(-block, axis=1, kind="stable")[:, :10] for block in blocks])
        first, in_ten = hits(found, right)
        rows.append(f"| {query} | {len(texts):,} | {what} | {first:.3f} | {in_ten:.3f} |")
    card = CARD.format(
        description=DOMAIN.description, dim=encoder.dim, fingerprint=encoder.fingerprint, n=len(vectors),
        command=COMMAND,
        model=(options.out / "model.onnx").stat().st_size, texts=(options.out / "texts.npz").stat().st_size,
        text_rows="\n".join(rows), image_rows="\n".join(image_rows(pictures, vectors)),
    )  # fmt: skip
    (options.out / "MODEL_CARD.md").write_text(card)
    of_emoji(encoder).save(options.out)
    print(card)


if __name__ == "__main__":
    main()
