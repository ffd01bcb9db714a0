"""What importing costs: nothing is compiled, and nothing heavy is loaded before it is needed."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def loaded_after(code):
    """Which of the heavy modules a fresh process has loaded after some code, and what it printed before."""
    heavy = ["numba", "llvmlite", "sklearn", "scipy", "torch", "matplotlib", "h5py", "PIL"]
    program = f"import json, sys\n{code}\nprint(json.dumps([m for m in {heavy} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_the_package_loads_nothing():
    assert loaded_after("import annlab; dir(annlab); annlab.__version__") == []


def test_an_index_loads_numba_and_compiles_nothing():
    code = """
import gc
from annlab import ExactIndex
from numba.core.dispatcher import Dispatcher
ExactIndex(metric="cosine", dim=4)
dispatchers = [item for item in gc.get_objects() if isinstance(item, Dispatcher)]
ours = [item for item in dispatchers if item.py_func.__module__.startswith("annlab")]
assert len(ours) > 20, len(ours)
compiled = [item.py_func.__name__ for item in ours if item.signatures]
assert not compiled, compiled
"""
    assert set(loaded_after(code)) <= {"numba", "llvmlite", "scipy"}  # numba asks whether scipy is there


def test_every_public_name_exists():
    code = "import annlab\nmissing = [n for n in annlab.__all__ if not hasattr(annlab, n)]\nassert not missing, missing"
    loaded_after(code)


def test_an_unknown_name_is_an_attribute_error():
    loaded_after(
        "import annlab\ntry: annlab.ExactIndx\nexcept AttributeError as e: assert 'ExactIndx' in str(e)\nelse: 1/0"
    )
