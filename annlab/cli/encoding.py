"""`annlab encode` and `annlab train`: images to embeddings, and to an encoder of one's own."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from annlab.cli import options as shared
from annlab.cli.output import ProgressLine, answer, say
from annlab.cli.reading import read_labels

if TYPE_CHECKING:
    from annlab.encoders.encoder_training import TrainedEncoder

LOSSES = ("nt_xent", "supervised_contrastive", "normalised_softmax", "info_nce", "triplet", "contrastive")


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
    encode.add_argument("--no-domain-check", action="store_true", help="embed also what is unlike the images that "
                        "the encoder was made for; without this an encoder of annlab's stops at such an image, and one "
                        "that somebody trained skips and lists it")  # fmt: skip
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
        "and what is said of it; the last gives an encoder of texts, too",
    )
    train.add_argument("--captions", metavar="FILE.tsv", help="a line for each image: its path in the folder, its "
                       "name, other words for it, with tabs between them; the set emoji has its own")  # fmt: skip
    train.add_argument("--labels", metavar="FILE.npy", help="integer labels; default: those of the data set or folder")
    train.add_argument("--size", type=int, help="side to scale images to; default: 32 for files, their own for arrays")
    start = train.add_mutually_exclusive_group()
    start.add_argument("--start", metavar="ENCODER", help="learn a head for this encoder, in seconds once its "
                       "embeddings are computed; default: efficientnet-lite0 for colour images")  # fmt: skip
    start.add_argument("--from-scratch", action="store_true", help="train a thin CNN in any case")
    train.add_argument("--minutes", type=float, help="stop after so many; the learning rate falls accordingly")
    train.add_argument("--steps", type=int, help="steps (default: ten passes over the images, at least 1,000 steps)")
    train.add_argument("--epochs", type=int, help="passes over the images, in place of these")
    train.add_argument("--batch-size", type=int, metavar="N",
                       help="default: 256, and less where that is more than an eighth of the images")  # fmt: skip
    train.add_argument("--patience", type=int, metavar="STEPS", help="stop after so many steps without a better "
                       "validation (default: half of all)")  # fmt: skip
    train.add_argument("--loss", choices=LOSSES, help="default: supervised_contrastive for labels, else nt_xent")
    train.add_argument("--seed", type=int, default=0)
    shared.add_threads(train, default=2, of="torch")
    train.add_argument("--overwrite", action="store_true", help="replace the encoder or unfinished training in FOLDER")
    shared.add_json(train)


def _encode(options: argparse.Namespace) -> int:
    """Embed images. A run that was stopped goes on when the same command is given again."""
    from annlab.encoders.embedding_job import FASHION_TEST, FASHION_TRAIN, embed_images, open_images, outputs_of
    from annlab.encoders.pretrained import NAMES, default_name, load_encoder

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

    outside: Literal["stop", "skip", "embed"] = "stop" if name in NAMES else "skip"
    skipped = embed_images(images, encoder, options.out, options.overwrite, progress,
                           "embed" if options.no_domain_check else outside)  # fmt: skip
    unread, of_all = skipped + len(images.left_out), len(images) + len(images.left_out)
    result = {"out": options.out, "rows": len(images) - skipped, "dim": encoder.dim, "fingerprint": encoder.fingerprint,
              "images": of_all, "unread": unread}  # fmt: skip
    lines = [f"{options.out}: {len(images) - skipped} x {encoder.dim} float32, encoder {encoder.fingerprint}"]
    if unread:
        listed = outputs_of(options.out)[1]
        unlike = "is not for the encoder" in listed.read_text("utf-8", "replace")
        what = "were skipped" if unlike else "could not be read"
        lines.append(f"{unread} of {of_all} images {what}; {listed} lists them with the reasons")
        if unlike:
            say("WARNING: some are unlike all that the encoder learned from; --no-domain-check embeds them, too")
    answer(options, result, lines)
    return 0


def _train(options: argparse.Namespace) -> int:
    """Learn an encoder from images, and write it as a folder that annlab encode takes. A run that was stopped goes on
    when the same command is given again."""
    from annlab.encoders.encoder_training import train_encoder
    from annlab.encoders.image_sets import open_images, with_captions

    catalog = options.from_clicks or options.from_judgements
    if (catalog is None) == (options.images is None):
        raise ValueError("say what to learn from: IMAGES, --from-clicks CATALOG or --from-judgements CATALOG")
    if catalog is not None:
        return _train_from(options, catalog)
    images = open_images(options.images)
    if options.captions is not None:
        images = with_captions(images, options.captions)
    command = f"annlab train {options.images} --out {Path(options.out).name} --positives {options.positives}"
    labels = read_labels(options.labels) if options.labels else images.labels
    made = train_encoder(images, options.out, positives=options.positives, labels=labels,
                         **_how(options, command))  # fmt: skip
    return _told(options, made)


_SETTINGS = ("epochs", "steps", "minutes", "batch_size", "patience", "loss", "seed")


def _how(options: argparse.Namespace, command: str) -> dict[str, Any]:
    """What of the options is the same for all that can be learned from."""
    from annlab.encoders.training_config import TrainConfig

    chosen = {name: getattr(options, name) for name in _SETTINGS if getattr(options, name) is not None}
    if chosen.get("loss") in ("info_nce", "triplet"):
        chosen["n_negatives"] = 1 if chosen["loss"] == "triplet" else 15
    for name in ("size", "start", *_SETTINGS):
        if getattr(options, name) is not None:
            command += f" --{name.replace('_', '-')} {getattr(options, name)}"
    command += " --from-scratch" if options.from_scratch else ""
    return {
        "size": options.size,
        "config": TrainConfig(**chosen),
        "start": "scratch" if options.from_scratch else options.start,
        "threads": options.threads,
        "command": command,
        "say": say,
        "overwrite": options.overwrite,
    }


def _told(options: argparse.Namespace, made: "TrainedEncoder", *further: str) -> int:
    """Say what came of it, and how it compares with what was there."""
    encoder, judgement = made.encoder, made.judgement
    result = {"out": options.out, "dim": encoder.dim, "fingerprint": encoder.fingerprint, "warnings": made.warnings,
              "compared": None if judgement is None else judgement.table}  # fmt: skip
    lines = [f"{options.out}: dimension {encoder.dim}, fingerprint {encoder.fingerprint}"]
    lines += [*(judgement.lines if judgement else []), *made.warnings, *further]
    answer(options, result, lines)
    return 0


def _train_from(options: argparse.Namespace, place: str) -> int:
    """Learn from what people clicked or judged in a catalog."""
    from annlab.cli.serving import require
    from annlab.encoders.encoder_training import train_encoder
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
    command = f"annlab train --from-{kind} {name} --out {Path(options.out).name}"
    made = train_encoder(images, options.out, positives=kind, source=pairs, **_how(options, command))
    return _told(options, made, f"annlab promote {place} {options.out} compares it with the one that serves")
