"""The contract and the kernels' tests on the SIMD paths that this machine would not choose by itself.

Each runs in a process of its own, with a cache of its own, and LLVM is kept from using wider instructions: what passes
here passes on a CPU that has no more. A machine without AVX-512 runs `wide` in its place: the same lanes, tiles and
buffers, only other instructions. Compiling takes minutes, so this runs with --full only.

What a path can change is in the kernels, so these are judged: their own tests, all of them, with every primitive of
`kernels/simd/` in every type that it is used in; and answers and filters of the contract, against brute force, with one
entry for each set of kernels (`other_path.py` says which, and why). Left out is what no kernel has a part in (the door,
the locks, files, the order of writes), and what repeats in other types and entries the code that was tried already.
Compiling that again is what took most of the time. A fault that only a path has is one of width: of the rows, queries
or bytes behind the last full register. The data that are kept are of all such sizes.
"""

import os
import subprocess
import sys

import pytest

from annlab.kernels.simd.path import PATH_NAME
from tests.contract.other_path import MODULES
from tests.kernels.simd.test_path import CPUS, HAVE, ROOT

OTHERS = [name for name in HAVE if name not in ("avx512", PATH_NAME)]


@pytest.mark.slow
@pytest.mark.parametrize("simd", OTHERS if "avx512" in HAVE else [*OTHERS, "wide"])
def test_the_contract_holds_on_every_simd_path(simd, tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA_CPU", "ANNLAB_SIMD"))}
    environment |= CPUS.get(simd, {}) | {"ANNLAB_SIMD": simd, "NUMBA_CACHE_DIR": str(tmp_path)}
    contract = [f"tests/contract/{name}.py" for name in MODULES]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "tests.contract.other_path",
               *contract, "tests/kernels", "tests/scan/test_int8.py", "--deselect",
               "tests/kernels/simd/test_path.py"]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    tail = "\n".join((done.stdout + done.stderr).splitlines()[-60:])
    assert done.returncode == 0, tail
    assert " passed" in tail, tail
