"""The contract and the kernels' tests on the SIMD paths that this machine would not choose by itself.

Each runs in a process of its own, with a cache of its own, and LLVM is kept from using wider instructions: what passes
here passes on a CPU that has no more. Compiling takes minutes, so this runs with --full only.
"""

import os
import subprocess
import sys

import pytest

from tests.kernels.test_paths import CPUS, HAVE, ROOT

# The trees and the lists of IVF have not yet run their contract on the generic path.
SELECTED = {"avx2": "", "generic": "not KDTree and not BallTree and not IVF"}


@pytest.mark.slow
@pytest.mark.parametrize("simd", [name for name in HAVE if name != "avx512"])
def test_contract_on_path(simd, tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA_CPU", "ANNLAB_SIMD"))}
    environment |= CPUS[simd] | {"ANNLAB_SIMD": simd, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/contract", "tests/kernels",
               "tests/test_certified.py", "--deselect", "tests/kernels/test_paths.py",
               "-k", SELECTED[simd]]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    tail = "\n".join((done.stdout + done.stderr).splitlines()[-60:])
    assert done.returncode == 0, tail
    assert " passed" in tail, tail
