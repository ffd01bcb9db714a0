"""`annlab encode` and `annlab train`: images to embeddings, and to an encoder of one's own."""

import argparse
from pathlib import Path
from typing import Literal

from annlab.cli import options as shared
from annlab.cli.output import ProgressLine, answer, say
from annlab.cli.reading import read_labels


def add_to(commands: shared.Commands) -> None:
    """Make these commands known."""
    encode = shared.command(commands, "encode", "images to embeddings", _encode)
    encode.add_argument("images", metavar="IMAGES", help=shared.IMAGES_HELP)
    shared.add_encoder(encode, "fashion-mnist for the data set of that name, else efficientnet-lite0 where it is "
                       "installed")  # fmt: skip
    encode.add_argument("--out", required=True, metavar="FILE.npy", help="where the embeddings go")
    encode.add_argument(
        "--overwrite", action="store_true", help="replace FILE.npy, and FILE.json and FILE.skipped.txt beside it"
    )
    shared.add_threads(encode)
    shared.add_json(encode)

    train = shared.command(commands, "train", "learn an encoder from images", _train)
    train.add_argument("images", nargs="?", metavar="IMAGES", help=shared.IMAGES_HELP)
    taught = train.add_mutually_exclusive_group()
    taught.add_argument("--from-clicks", metavar="CATALOG", help="learn from the pictures of a catalog, and from what "
                        "people clicked in it, in place of IMAGES")  # fmt: skip
    taught.add_argument("--from-judgements", metavar="CATALOG", help="the same from what people judged")
    train.add_argument("--out", required=True, metavar="FOLDER", help="where the encoder goes")
    train.add_argument(
        "--positives",
        choices=("augmentation", "labels", "captions"),
        default="augmentation",
        help="what counts as similar: two views of one image (needs no labels), two images of one class, or an image "
        "and what is said of it; the last gives an encoder of texts, too, and starts anew when it was stopped",
    )
    train.add_argument("--captions", metavar="FILE.tsv", help="a line for each image: its path in the folder, its "
                       "name, other words for it, with tabs between them; the set emoji has its own")  # fmt: skip
    train.add_argument("--labels", metavar="FILE.npy", help="integer labels; default: those of the data set or folder")
    train.add_argument("--size", type=int, help="side to scale images to; default: 32 for files, their own for arrays")
    train.add_argument("--epochs", type=int, help="passes over the images (default: that of the training code)")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--threads", type=int, default=2, help="threads of torch (default: %(default)s)")
    train.add_argument("--overwrite", action="store_true", help="replace the encoder or unfinished training in FOLDER")
    shared.add_json(train)


def _encode(options: argparse.Namespace) -> int:
    """Embed images. A run that was stopped goes on when the same command is given again."""
    from annlab.encoders.embedding_job import FASHION_TEST, FASHION_TRAIN, embed_images, open_images, outputs_of
    from annlab.encoders.pretrained import default_name, load_encoder

    images = open_images(options.images)
    name = options.encoder
    if name is None:
        name = "fashion-mnist" if options.images in (FASHION_TEST, FASHION_TRAIN) else default_name()
    say(f"{len(images)} images from {images.name}; encoder {name}")
    for note in images.notes:
        say(note)
    encoder = load_encoder(name, options.threads)
    line = ProgressLine()

    def progress(done: int, total: int, skipped: int) -> None:
        line("encoding", done, total, f", {skipped} skipped")

    skipped = embed_images(images, encoder, options.out, options.overwrite, progress)
    unread, of_all = skipped + len(images.left_out), len(images) + len(images.left_out)
    result = {"out": options.out, "rows": len(images) - skipped, "dim": encoder.dim, "fingerprint": encoder.fingerprint,
              "images": of_all, "unread": unread}  # fmt: skip
    lines = [f"{options.out}: {len(images) - skipped} x {encoder.dim} float32, encoder {encoder.fingerprint}"]
    if unread:
        listed = outputs_of(options.out)[1]
        lines.append(f"{unread} of {of_all} images could not be read; {listed} lists them with the reasons")
    answer(options, result, lines)
    return 0


def _train(options: argparse.Namespace) -> int:
    """Learn an encoder from images, and write it as a folder that annlab encode takes. A run that was stopped goes on
    when the same command is given again."""
    from annlab.encoders.image_sets import open_images, with_captions
    from annlab.encoders.train_encoder import train_encoder

    catalog = options.from_clicks or options.from_judgements
    if (catalog is None) == (options.images is None):
        raise ValueError("say what to learn from: IMAGES, --from-clicks CATALOG or --from-judgements CATALOG")
    if catalog is not None:
        return _train_from(options, catalog)
    images = open_images(options.images)
    if options.captions is not None:
        images = with_captions(images, options.captions)
    command = f"annlab train {options.images} --out {Path(options.out).name} --positives {options.positives}"
    for name in ("size", "epochs", "seed"):
        if getattr(options, name) is not None:
            command += f" --{name} {getattr(options, name)}"
    encoder = train_encoder(
        images,
        options.out,
        positives=options.positives,
        labels=read_labels(options.labels) if options.labels else images.labels,
        size=options.size,
        epochs=options.epochs,
        seed=options.seed,
        threads=options.threads,
        command=command,
        say=say,
        overwrite=options.overwrite,
    )
    answer(options, {"out": options.out, "dim": encoder.dim, "fingerprint": encoder.fingerprint},
           [f"{options.out}: dimension {encoder.dim}, fingerprint {encoder.fingerprint}"])  # fmt: skip
    return 0


def _train_from(options: argparse.Namespace, place: str) -> int:
    """Learn from what people clicked or judged in a catalog."""
    from annlab.cli.serving import require
    from annlab.encoders.train_encoder import train_encoder
    from annlab.visual.catalog import Catalog
    from annlab.visual.teaching import lesson

    if options.positives != "augmentation" or options.labels or options.captions:
        raise ValueError("what people clicked or judged says what is similar: leave --positives, --labels and "
                         "--captions out")  # fmt: skip
    require(place)
    kind: Literal["clicks", "judgements"] = "clicks" if options.from_clicks else "judgements"
    name = place.rpartition("/")[2] if "://" in place else Path(place).name
    with Catalog.open(place) as catalog:
        images, pairs = lesson(catalog, kind, name)
    command = f"annlab train --from-{kind} {name} --out {Path(options.out).name} --seed {options.seed}"
    encoder = train_encoder(
        images, options.out, positives=kind, size=options.size, epochs=options.epochs, seed=options.seed,
        threads=options.threads, command=command, say=say, overwrite=options.overwrite, pairs=pairs,
    )  # fmt: skip
    answer(options, {"out": options.out, "dim": encoder.dim, "fingerprint": encoder.fingerprint},
           [f"{options.out}: dimension {encoder.dim}, fingerprint {encoder.fingerprint}",
            f"annlab promote {place} {options.out} compares it with the one that serves"])  # fmt: skip
    return 0
