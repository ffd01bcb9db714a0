"""`annlab evaluate`: how good embeddings are at finding their own kind."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annlab.cli import options as shared
from annlab.cli.output import say
from annlab.cli.reading import read_labels, stored_items, stored_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STDOUT = ""  # what `--json` alone stands for
# Not recall@10: where a class has a thousand images it is 0.01 at most, and looks like a failure.
_MEASURES = ("mrr", "hit@10", "precision@10", "r_precision", "map", "ndcg@10")


def add_to(commands: shared.Commands) -> None:
    """Make this command known."""
    evaluate = shared.command(commands, "evaluate", "retrieval metrics of embeddings", _evaluate)
    evaluate.add_argument("embeddings", metavar="FILE.npy", help="embeddings, as annlab encode writes them")
    evaluate.add_argument("--gallery", metavar="OTHER.npy", help="search among these embeddings, which have labels of "
                          "their own beside them; default: among the others that are searched for. FILE.npy itself "
                          "may be named: all of it, beside --held-out")  # fmt: skip
    evaluate.add_argument("--held-out", metavar="ENCODER", help="judge by the images alone that the training of this "
                          "encoder held out (its folder has a list of them)")  # fmt: skip
    evaluate.add_argument("--labels", metavar="FILE.npy", help="labels of the rows; default: those that encode found")
    evaluate.add_argument(
        "--measures",
        nargs="+",
        metavar="NAME",
        default=_MEASURES,
        help=f"default: {' '.join(_MEASURES)}; recall@k, which no class of more than k images can bring to 1, map_r "
        "and others may be named",
    )
    evaluate.add_argument("--json", metavar="FILE", nargs="?", const=_STDOUT,
                          help="print the means as JSON, and nothing else; or write them to FILE, too")  # fmt: skip
    evaluate.add_argument("--overwrite", action="store_true", help="replace the file of --json")


def _evaluate(options: argparse.Namespace) -> int:
    """Search every embedding among all the others, itself excluded; what has its label is relevant. Prints the mean of
    each measure with a 95% bootstrap interval. Images that an encoder learned from flatter it: --held-out."""
    import numpy as np

    from annlab.evaluation import from_embeddings

    path = Path(options.embeddings)
    if options.json:
        _refuse_report(Path(options.json), [path, *([Path(options.labels)] if options.labels else [])], options)
    embeddings, labels, rows = _labelled(path, options.labels, options.held_out)
    if options.gallery:
        gallery, its_labels, its_rows = _labelled(Path(options.gallery), None, None)
        itself = np.full(len(rows), -1)
        if path.samefile(options.gallery):  # an image is no result for itself
            itself = np.where(np.isin(rows, its_rows), np.searchsorted(its_rows, rows), -1)
        result = from_embeddings(embeddings, labels, gallery, its_labels, exclude_self=itself,
                                 measures=options.measures)  # fmt: skip
    else:
        if len(np.unique(labels)) < 2:
            raise ValueError(f"all {len(labels)} labels are the same: there is nothing to tell apart")
        result = from_embeddings(embeddings, labels, embeddings, labels, exclude_self=True, measures=options.measures)
    means = {"queries": len(result), **result.means()}
    print(json.dumps(means) if options.json == _STDOUT else result)
    if options.json:
        from annlab.encoders.outputs import write_json

        Path(options.json).parent.mkdir(parents=True, exist_ok=True)
        write_json(Path(options.json), means, indent=2)
    return 0


def _labelled(
    path: Path, of_labels: str | None, held_out: str | None
) -> "tuple[NDArray[Any], NDArray[Any], NDArray[Any]]":
    """Embeddings, their labels and rows: of all that have a label, and were held out where only those count."""
    import numpy as np

    from annlab.encoders.encoder_folder import held_out_of
    from annlab.encoders.image_sets import read_array

    embeddings = read_array(path)
    if embeddings.ndim != 2 or embeddings.dtype.kind != "f":
        raise ValueError(f"{path} holds {embeddings.dtype} of shape {embeddings.shape}, not (n, dim) floats")
    labels = read_labels(of_labels) if of_labels else stored_labels(path)
    if len(labels) != len(embeddings):
        raise ValueError(f"there are {len(embeddings)} embeddings but {len(labels)} labels")
    labelled = labels != "" if labels.dtype.kind == "U" else np.ones(len(labels), dtype=np.bool_)
    if not labelled.all():
        say(f"left out: {np.count_nonzero(~labelled)} images without a label")
    if held_out is not None:
        names = held_out_of(Path(held_out))
        labelled &= np.array([item in names for item in stored_items(path, len(embeddings))], dtype=np.bool_)
        if labelled.sum() < 2:
            raise ValueError(f"{labelled.sum()} images of {path} are among the {len(names)} that {held_out} held out: "
                             "embed the images that it was trained on")  # fmt: skip
        say(f"{labelled.sum()} images that {held_out} did not learn from")
    return embeddings[labelled], labels[labelled], np.flatnonzero(labelled)


def _refuse_report(report: Path, inputs: Sequence[Path], options: argparse.Namespace) -> None:
    """Raise if the report would replace a file that is there, unless told so; what the command reads stays anyway."""
    from annlab.encoders.embedding_job import outputs_of
    from annlab.encoders.outputs import refuse_existing, refuse_inputs

    refuse_inputs([report], [*inputs, *outputs_of(options.embeddings)], options.embeddings)
    refuse_existing([report], options.overwrite)
