"""The contract and the kernels' tests on the SIMD paths that this machine would not choose by itself.

Each runs in a process of its own, with a cache of its own, and LLVM is kept from using wider instructions: what passes
here passes on a CPU that has no more. A machine without AVX-512 runs `wide` in its place: the same lanes, tiles and
buffers, only other instructions. Compiling takes minutes, so this runs with --full only.
"""

import os
import subprocess
import sys

import pytest

from annlab.kernels.simd.path import PATH_NAME
from tests.kernels.simd.test_path import CPUS, HAVE, ROOT

# What no kernel has a part in is the same on every path: the door (errors, inputs, attributes) and the locks (threads).
# Compiling, which nothing interrupts, takes longer there; recall is that of the algorithms, whose answers are tested.
SAME_EVERYWHERE = ("errors", "inputs", "attributes", "threads", "interrupts", "recall")
LEFT_OUT = [f"--ignore=tests/contract/test_{name}.py" for name in SAME_EVERYWHERE]
OTHERS = [name for name in HAVE if name not in ("avx512", PATH_NAME)]


@pytest.mark.slow
@pytest.mark.parametrize("simd", OTHERS if "avx512" in HAVE else [*OTHERS, "wide"])
def test_contract_on_path(simd, tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA_CPU", "ANNLAB_SIMD"))}
    environment |= CPUS.get(simd, {}) | {"ANNLAB_SIMD": simd, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/contract", "tests/kernels",
               "tests/scan/test_int8.py", "--deselect", "tests/kernels/simd/test_path.py", *LEFT_OUT]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    tail = "\n".join((done.stdout + done.stderr).splitlines()[-60:])
    assert done.returncode == 0, tail
    assert " passed" in tail, tail
