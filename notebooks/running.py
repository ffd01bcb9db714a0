"""From a source, `NN_name.py` with `# %%` between its cells, to the executed notebook `NN_name.ipynb` beside it.

The sources are what is edited and reviewed. A notebook holds the same cells, and what they showed when they ran; the
tests compare the cells, and with ``--full`` run them again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

FOLDER = Path(__file__).resolve().parent
SOURCES = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
SECONDS_A_CELL = 300  # at most; a kernel that compiles takes its time


def as_notebook(source: Path) -> Any:
    """The notebook of a source, its cells not yet run; the same bytes every time."""
    notebook = jupytext.read(source, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{source.stem[:2]}-{number:02}"
    notebook.metadata = {
        "jupytext": {"formats": "ipynb,py:percent"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
    }
    return notebook


def execute(source: Path) -> Any:
    """Run all cells of a source in a copy of the folder, and return the notebook with what they showed.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        A cell raised; the message holds the cell and the traceback.
    """
    notebook = as_notebook(source)
    about = dict(notebook.metadata)
    path = os.pathsep.join([str(FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(FOLDER / "teaching.py", folder)
        settings = Config()
        if os.name != "nt":  # sockets in the file system: kernels that start at once cannot take each other's ports
            settings.KernelManager.transport, settings.KernelManager.ip = "ipc", str(Path(folder) / "kernel")
        client = NotebookClient(notebook, config=settings, timeout=SECONDS_A_CELL, record_timing=False,
                                resources={"metadata": {"path": folder}})  # fmt: skip
        client.execute(env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"})
    notebook.metadata = about
    return notebook


def write(notebook: Any, source: Path) -> Path:
    """Write the notebook beside its source."""
    path = source.with_suffix(".ipynb")
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    return path
