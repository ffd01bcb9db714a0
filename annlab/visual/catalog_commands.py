"""What `annlab catalog ACTION` does: tables in and out, qrels, a person's own data, and forgetting a person.

Each is a function that returns what the command line prints as JSON. Nothing personal is among it, but for `person`.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from annlab.durable import InUseError
from annlab.encoders.outputs import refuse_inputs
from annlab.visual.catalog import Catalog
from annlab.visual.decisions import decide
from annlab.visual.exchange import export_all, import_all
from annlab.visual.indexing import Indexer
from annlab.visual.judging import export_qrels, import_qrels
from annlab.visual.pair import encoder_of, files_of, folder_of
from annlab.visual.people import forget, own_data


def run(action: str, catalog: str, operands: Sequence[str], *, form: str = "csv", on_conflict: str = "raise",
        index_folder: str | None = None, overwrite: bool = False) -> dict[str, Any]:  # fmt: skip
    """Do one of the actions that `annlab catalog --help` lists.

    Raises
    ------
    ValueError, OSError, RuntimeError
        With what is wrong and what to do; nothing is changed then.
    """
    two = action in ("duplicates", "not-duplicates")
    if len(operands) != 1 + two or (two and not all(operand.isdecimal() for operand in operands)):
        wanted = "the ids of two images" if two else "one folder, file or user"
        raise ValueError(f"catalog {action} takes {wanted} after the catalog, not {' '.join(operands)!r}")
    operand = operands[0]
    if action != "import" and "://" not in catalog and not Path(catalog).is_file():
        raise FileNotFoundError(f"there is no catalog {catalog}: annlab index FOLDER --into {catalog} makes one")
    with Catalog.open(catalog) as opened:
        if action == "export":
            return {"rows": export_all(opened, operand, form, overwrite=overwrite)}
        if action == "import":
            return {"rows": import_all(opened, operand, on_conflict=on_conflict)}
        if action == "export-qrels":
            refuse_inputs([Path(operand)], files_of(catalog), catalog)
            return {"judgements": export_qrels(opened, operand, overwrite=overwrite)}
        if action == "import-qrels":
            return {"judgements": import_qrels(opened, operand)}
        if two:
            return _decided(opened, catalog, index_folder, int(operands[0]), int(operands[1]), action == "duplicates")
        try:
            if action == "person":
                return own_data(opened, operand)
            place = folder_of(opened, catalog, index_folder)
            with ExitStack() as stack:
                indexes = [stack.enter_context(opened.index(None, place, name=name)) for name in opened.index_names()]
                removed = forget(opened, operand, indexes)
        except KeyError as error:
            raise ValueError(f"{catalog}: {error.args[0]}") from None
        return {"images": len(removed), "files": [image.path for image in removed if image.path is not None]}


def _decided(opened: Catalog, catalog: str, index_folder: str | None, one: int, other: int,
             duplicates: bool) -> dict[str, Any]:  # fmt: skip
    """Remember a decision, and look again at what it concerns; where another process has the index, that one does."""
    again = decide(opened, one, other, duplicates=duplicates, judge="command line")
    place = folder_of(opened, catalog, index_folder)
    if again:
        try:
            with opened.index(None, place) as index:
                Indexer(opened, index, encoder_of(opened, place)).run()
        except InUseError:  # its next run does it
            pass
    found = opened.find(ids=[one, other])
    return {"images": [{"id": image.id, "status": image.status, "duplicate_of": image.duplicate_of} for image in found]}
