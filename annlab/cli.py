"""The command `annlab`: from images to embeddings, and the numbers that say how good they are.

    annlab train IMAGES --out my-encoder                        learn an encoder from images
    annlab encode IMAGES --encoder my-encoder --out e.npy       images to embeddings, resumable
    annlab evaluate e.npy                                       MRR, recall, precision, mAP and nDCG
    annlab index FOLDER --into photos.db                        a catalog of images and the index of their vectors
    annlab status photos.db                                     what became of every image
    annlab catalog forget photos.db USER                        take a person out, everywhere

Results go to stdout, progress and complaints to stderr; the exit status is 0, 1 for what went wrong, 2 for a command
that makes no sense, 130 when interrupted. No file is replaced without --overwrite, and nothing that a failed command
leaves is in the way of the corrected one. Everything heavy is imported by the command that needs it, so that
`annlab --help` answers at once.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGES_HELP = (
    "a folder (the folders in it are the classes), a .npy file of uint8 images, fashion-mnist-test (packaged), or "
    "fashion-mnist-train (from the folder that ANNLAB_DATA names, or downloaded)"
)

CATALOG_ACTIONS = {
    "export": "export CATALOG FOLDER writes all tables without what is personal",
    "import": "import CATALOG FOLDER reads tables",
    "export-qrels": "export-qrels CATALOG FILE writes the judgements",
    "import-qrels": "import-qrels CATALOG FILE reads judgements",
    "person": "person CATALOG USER prints all that is held of one person, for that person",
    "forget": "forget CATALOG USER takes a person out of tables, index and log, and lists the files to delete",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            status: int = options.run(options)
    except KeyboardInterrupt:
        print("annlab: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        print(f"annlab: error: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="annlab", description="Nearest-neighbour search and visual search.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    encode = commands.add_parser("encode", help="images to embeddings", description=_encode.__doc__)
    encode.add_argument("images", metavar="IMAGES", help=IMAGES_HELP)
    encode.add_argument(
        "--encoder",
        help="fashion-mnist, efficientnet-lite0 (photographs), efficientnet-lite0-128 (small photographs), or a folder "
        "written by annlab train; default: fashion-mnist for the data set of that name, else efficientnet-lite0 where "
        "its extra is installed",
    )
    encode.add_argument("--out", required=True, metavar="FILE.npy", help="where the embeddings go")
    encode.add_argument(
        "--overwrite", action="store_true", help="replace FILE.npy, and FILE.json and FILE.skipped.txt beside it"
    )
    encode.add_argument("--threads", type=int, default=1, help="threads of the encoder (default: %(default)s)")
    encode.set_defaults(run=_encode)

    train = commands.add_parser("train", help="learn an encoder from images", description=_train.__doc__)
    train.add_argument("images", metavar="IMAGES", help=IMAGES_HELP)
    train.add_argument("--out", required=True, metavar="FOLDER", help="where the encoder goes")
    train.add_argument(
        "--positives",
        choices=("augmentation", "labels"),
        default="augmentation",
        help="what counts as similar: two views of one image (needs no labels), or two images of one class",
    )
    train.add_argument("--labels", metavar="FILE.npy", help="integer labels; default: those of the data set or folder")
    train.add_argument("--size", type=int, help="side to scale images to; default: 32 for files, their own for arrays")
    train.add_argument("--epochs", type=int, help="passes over the images (default: that of the training code)")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--threads", type=int, default=2, help="threads of torch (default: %(default)s)")
    train.add_argument("--overwrite", action="store_true", help="replace the encoder or unfinished training in FOLDER")
    train.set_defaults(run=_train)

    evaluate = commands.add_parser("evaluate", help="retrieval metrics of embeddings", description=_evaluate.__doc__)
    evaluate.add_argument("embeddings", metavar="FILE.npy", help="embeddings, as annlab encode writes them")
    evaluate.add_argument("--labels", metavar="FILE.npy", help="labels of the rows; default: those that encode found")
    evaluate.add_argument(
        "--measures",
        nargs="+",
        metavar="NAME",
        help="for example: mrr recall@10 precision@10 map ndcg@10, which is the default",
    )
    evaluate.add_argument("--json", metavar="FILE", help="write the means there, too")
    evaluate.add_argument("--overwrite", action="store_true", help="replace the file of --json")
    evaluate.set_defaults(run=_evaluate)

    index = commands.add_parser("index", help="bring a catalog up to date with a folder", description=_index.__doc__)
    index.add_argument("folder", metavar="FOLDER", help="images, with sub-folders")
    index.add_argument("--into", required=True, metavar="CATALOG", help="a SQLite file, or an address postgresql://...")
    index.add_argument("--encoder", help="as for annlab encode; default: that of the catalog")
    index.add_argument("--index", default="auto", metavar="KIND", help="for a new catalog: auto, exact, ivf, lsh, ...")
    index.add_argument("--index-folder", metavar="FOLDER", help="default: beside a catalog that is a file")
    index.add_argument("--forget-missing", action="store_true", help="even if not one known image is there any more")
    index.add_argument("--threads", type=int, default=1, help="threads of the encoder (default: %(default)s)")
    index.add_argument("--json", action="store_true", help="print the result as JSON")
    index.set_defaults(run=_index)

    status = commands.add_parser("status", help="what became of every image", description=_status.__doc__)
    status.add_argument("catalog", metavar="CATALOG")
    status.add_argument("--failures", type=int, default=20, metavar="N", help="list so many (default: %(default)s)")
    status.add_argument("--json", action="store_true", help="print the result as JSON")
    status.set_defaults(run=_status)

    catalog = commands.add_parser("catalog", help="tables in and out, and people", description=_catalog.__doc__)
    catalog.add_argument("action", choices=CATALOG_ACTIONS, help="; ".join(CATALOG_ACTIONS.values()))
    catalog.add_argument("catalog", metavar="CATALOG")
    catalog.add_argument("operand", metavar="FOLDER|FILE|USER")
    catalog.add_argument("--format", choices=("csv", "parquet"), default="csv", help="of export (default: %(default)s)")
    catalog.add_argument("--on-conflict", choices=("raise", "replace", "skip"), default="raise",
                         help="of import: what to do about rows whose key is there (default: %(default)s)")  # fmt: skip
    catalog.add_argument("--index-folder", metavar="FOLDER", help="of forget; default: beside a catalog that is a file")
    catalog.add_argument("--overwrite", action="store_true", help="of exports: replace files that are there")
    catalog.set_defaults(run=_catalog)
    return parser


def _encode(options: argparse.Namespace) -> int:
    """Embed images. A run that was stopped goes on when the same command is given again."""
    from annlab.encoders.embedding_job import FASHION_TEST, FASHION_TRAIN, embed_images, open_images, outputs_of
    from annlab.encoders.pretrained import default_name, load_encoder

    images = open_images(options.images)
    name = options.encoder
    if name is None:
        name = "fashion-mnist" if options.images in (FASHION_TEST, FASHION_TRAIN) else default_name()
    _say(f"{len(images)} images from {images.name}; encoder {name}")
    for note in images.notes:
        _say(note)
    encoder = load_encoder(name, options.threads)
    skipped = embed_images(images, encoder, options.out, options.overwrite, _Progress())
    print(f"{options.out}: {len(images) - skipped} x {encoder.dim} float32, encoder {encoder.fingerprint}")
    unread = skipped + len(images.left_out)
    if unread:
        of_all = len(images) + len(images.left_out)
        listed = outputs_of(options.out)[1]
        print(f"{unread} of {of_all} images could not be read; {listed} lists them with the reasons")
    return 0


def _train(options: argparse.Namespace) -> int:
    """Learn an encoder from images, and write it as a folder that annlab encode takes. A run that was stopped goes on
    when the same command is given again."""
    from annlab.encoders.embedding_job import open_images
    from annlab.encoders.train_encoder import train_encoder

    images = open_images(options.images)
    command = f"annlab train {options.images} --out {Path(options.out).name} --positives {options.positives}"
    for name in ("size", "epochs", "seed"):
        if getattr(options, name) is not None:
            command += f" --{name} {getattr(options, name)}"
    encoder = train_encoder(
        images,
        options.out,
        positives=options.positives,
        labels=_read_labels(options.labels) if options.labels else images.labels,
        size=options.size,
        epochs=options.epochs,
        seed=options.seed,
        threads=options.threads,
        command=command,
        say=_say,
        overwrite=options.overwrite,
    )
    print(f"{options.out}: dimension {encoder.dim}, fingerprint {encoder.fingerprint}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    """Search every embedding among all the others, itself excluded; what has its label is relevant. Prints the mean of
    each measure with a 95% bootstrap interval."""
    import numpy as np

    from annlab.encoders.image_sets import read_array
    from annlab.evaluation import from_embeddings

    path = Path(options.embeddings)
    if options.json:
        _refuse_report(Path(options.json), [path, *([Path(options.labels)] if options.labels else [])], options)
    embeddings = read_array(path)
    if embeddings.ndim != 2 or embeddings.dtype.kind != "f":
        raise ValueError(f"{path} holds {embeddings.dtype} of shape {embeddings.shape}, not (n, dim) floats")
    labels = _read_labels(options.labels) if options.labels else _stored_labels(path)
    if len(labels) != len(embeddings):
        raise ValueError(f"there are {len(embeddings)} embeddings but {len(labels)} labels")
    labelled = labels != "" if labels.dtype.kind == "U" else np.ones(len(labels), dtype=np.bool_)
    if not labelled.all():
        _say(f"left out: {np.count_nonzero(~labelled)} images without a label")
        embeddings, labels = embeddings[labelled], labels[labelled]
    if len(np.unique(labels)) < 2:
        raise ValueError(f"all {len(labels)} labels are the same: there is nothing to tell apart")
    measures = {"measures": options.measures} if options.measures else {}
    result = from_embeddings(embeddings, labels, embeddings, labels, exclude_self=True, **measures)
    print(result)
    if options.json:
        from annlab.encoders.outputs import write_json

        Path(options.json).parent.mkdir(parents=True, exist_ok=True)
        write_json(Path(options.json), {"queries": len(result), **result.means()}, indent=2)
    return 0


def _index(options: argparse.Namespace) -> int:
    """Find images that are new, changed, moved or gone, embed what is due, and write catalog and index together. A run
    that was stopped goes on when the same command is given again."""
    from annlab.common.progress import report
    from annlab.visual.commands import index_folder

    result = index_folder(
        options.folder, options.into, encoder=options.encoder, kind=options.index, index_folder=options.index_folder,
        forget_missing=options.forget_missing, threads=options.threads, progress=report, say=_say,
    )  # fmt: skip
    if options.json:
        print(json.dumps(result))
        return 0
    _print_counts(result["catalog"])
    if result["catalog"]["failed"]:
        print(f"annlab status {options.into} lists the failures with their reasons")
    return 0


def _status(options: argparse.Namespace) -> int:
    """Say how many images are indexed, duplicates, failed (with the reasons) and still to do."""
    from annlab.visual.commands import status

    result = status(options.catalog, failures=options.failures)
    if options.json:
        print(json.dumps(result))
        return 0
    _print_counts(result["catalog"])
    for encoder in result["encoders"]:
        print(f"encoder {encoder['name']}, {encoder['fingerprint']}, {encoder['dim']} dimensions: {encoder['role']}")
    for failure in result["failures"]:
        print(f"failed: {failure['path']}: {failure['reason']}")
    more = result["catalog"]["failed"] - len(result["failures"])
    if more > 0:
        print(f"and {more} more: --failures {result['catalog']['failed']} lists all")
    return 0


def _catalog(options: argparse.Namespace) -> int:
    """Tables of a catalog as files, in and out; judgements; one person's own data; forgetting a person. Prints JSON."""
    from annlab.visual.catalog_commands import run

    result = run(options.action, options.catalog, options.operand, form=options.format,
                 on_conflict=options.on_conflict, index_folder=options.index_folder,
                 overwrite=options.overwrite)  # fmt: skip
    print(json.dumps(result, indent=2, ensure_ascii=False, default=str))
    return 0


def _print_counts(counts: dict[str, int]) -> None:
    parts = " + ".join(f"{counts[name]} {name}" for name in ("indexed", "duplicate", "failed", "pending"))
    print(f"{counts['discovered']} discovered = {parts}")


def _refuse_report(report: Path, inputs: Sequence[Path], options: argparse.Namespace) -> None:
    """Raise if the report would replace a file that is there, unless told so; what the command reads stays anyway."""
    from annlab.encoders.embedding_job import outputs_of
    from annlab.encoders.outputs import refuse_existing

    for path in [*inputs, *outputs_of(options.embeddings)]:
        if report.absolute() == path.absolute() or (report.exists() and path.exists() and report.samefile(path)):
            raise FileExistsError(f"--json {report} belongs to {options.embeddings}: name another file for the report")
    refuse_existing([report], options.overwrite)


def _read_labels(path: str) -> NDArray[Any]:
    from annlab.encoders.image_sets import read_array

    labels = read_array(path)
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        raise ValueError(f"{path} holds {labels.dtype} of shape {labels.shape}, not one integer or name per image")
    return labels


def _stored_labels(path: Path) -> NDArray[Any]:
    """The labels beside embeddings, as annlab encode wrote them; "" for a row that has none."""
    import numpy as np

    beside = path.with_suffix(".json")
    described = json.loads(beside.read_text()) if beside.is_file() else None
    labels = described.get("labels") if isinstance(described, dict) else None
    if not isinstance(labels, list):
        raise ValueError(
            f"no labels are known for {path}: give --labels FILE.npy, or encode a folder with one sub-folder per class"
        )
    numbers = all(isinstance(label, int) and not isinstance(label, bool) for label in labels)
    if not numbers and not all(label is None or isinstance(label, str) for label in labels):
        raise ValueError(f"the labels in {beside} must be all integers, or all names: give --labels FILE.npy")
    return np.array(labels if numbers else ["" if label is None else label for label in labels])


class _Progress:
    """A line on stderr about once a second: overwritten in a terminal, one below the other elsewhere."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.first: int | None = None
        self.last = 0.0

    def __call__(self, done: int, total: int, skipped: int) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = done  # what an earlier run did says nothing about this one's speed
        if done < total and now - self.last < 1:
            return
        self.last = now
        rate = (done - self.first) / max(now - self.started, 1e-9)
        left = f", {(total - done) / rate:.0f} s left" if rate > 0 and done < total else ""
        terminal = sys.stderr.isatty()
        line = f"{done} / {total} images, {skipped} skipped{left}"
        ending = "" if terminal and done < total else "\n"
        print(f"\r{line:<70}" if terminal else line, end=ending, file=sys.stderr, flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"annlab: note: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
