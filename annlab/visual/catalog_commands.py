"""What `annlab catalog ACTION` does: tables in and out, qrels, a person's own data, and forgetting a person.

Each is a function that returns what the command line prints as JSON. Nothing personal is among it, but for `person`.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from annlab.visual.catalog import Catalog
from annlab.visual.exchange import export_all, import_all
from annlab.visual.judging import export_qrels, import_qrels
from annlab.visual.pair import folder_of
from annlab.visual.people import forget, own_data


def run(action: str, catalog: str, operand: str, *, form: str = "csv", on_conflict: str = "raise",
        index_folder: str | None = None, overwrite: bool = False) -> dict[str, Any]:  # fmt: skip
    """Do one of the actions that `annlab catalog --help` lists.

    Raises
    ------
    ValueError, OSError, RuntimeError
        With what is wrong and what to do; nothing is changed then.
    """
    if action != "import" and "://" not in catalog and not Path(catalog).is_file():
        raise FileNotFoundError(f"there is no catalog {catalog}: annlab index FOLDER --into {catalog} makes one")
    with Catalog.open(catalog) as opened:
        if action == "export":
            return {"rows": export_all(opened, operand, form, overwrite=overwrite)}
        if action == "import":
            return {"rows": import_all(opened, operand, on_conflict=on_conflict)}
        if action == "export-qrels":
            return {"judgements": export_qrels(opened, operand, overwrite=overwrite)}
        if action == "import-qrels":
            return {"judgements": import_qrels(opened, operand)}
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
