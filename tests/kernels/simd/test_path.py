"""The SIMD path is part of the key of Numba's disk cache: processes of different paths never share machine code.

Every process here has a cache directory of its own choice, so these tests compile: some seconds each.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from annlab.kernels.simd import path
from annlab.kernels.simd.path import REGISTER_BYTES_OF

ROOT = Path(__file__).parents[3]
# What LLVM may use on a path: without these, it would use the machine's widest instructions wherever it likes.
CPUS = {
    "avx512": {},
    "avx2": {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+sse4.2,+popcnt,+bmi,+bmi2,+lzcnt,+f16c",
    },
    "generic": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"},
}
if path.FEATURES.isdisjoint({"sse2"}):  # not an x86: LLVM chooses for itself
    CPUS = {"generic": {}}
NEEDS = {"avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"}, "avx2": {"avx2", "fma"}, "generic": set()}
HAVE = [name for name in CPUS if NEEDS[name] <= path.FEATURES]

# The small program compiles one kernel; the large one searches, and looks at the code of two kernels.
SMALL = """
import json, sys
import numpy as np
import annlab
from annlab.kernels import distance, scoring
from annlab.kernels.scan import batch
from annlab.kernels.simd import path
rng = np.random.default_rng(0)
vectors, queries = (rng.integers(-3, 4, size=(n, 19)).astype(np.float32) for n in (700, 30))
true = np.sqrt(((queries[:, None] - vectors[None]) ** 2).sum(axis=2))
kernels = [distance.all_distances.compiled]
distances = annlab.pairwise(queries, vectors)
report = {"right": bool((distances == true).all())}
"""
LARGE = (
    SMALL
    + """
kernels = [scoring.score.compiled, batch.scan_batch.compiled]
distances, ids = annlab.ExactIndex(precision="float32").fit(vectors).search(queries, 12)
order = np.lexsort((np.broadcast_to(np.arange(700), true.shape), true))[:, :12]
assembly = "".join(text for kernel in kernels for text in kernel.inspect_asm().values())
report = {"right": bool((ids == order).all()), "zmm": "zmm" in assembly, "ymm": "ymm" in assembly}
"""
)
REPORT = """
hits = sum(sum(kernel.stats.cache_hits.values()) for kernel in kernels)
misses = sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels)
report |= {"file": annlab.__file__, "path": path.PATH_NAME, "bits": distances.tobytes().hex(), "hits": hits}
print(json.dumps(report | {"misses": misses}))
"""


def run(program, cache, simd, cwd=ROOT, cpu=False):
    """What a fresh process says."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA_CPU", "ANNLAB_SIMD"))}
    environment |= {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(cwd), "ANNLAB_SIMD": simd}
    environment |= CPUS[simd] if cpu else {}
    done = subprocess.run(
        [sys.executable, "-c", program + REPORT], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("simd", [pytest.param(name, marks=[pytest.mark.slow] * (name != HAVE[0])) for name in HAVE])
def test_processes_with_one_cache_run_their_own_path(simd, cache):
    first = run(LARGE, cache, simd, cpu=True)
    assert first["path"] == simd and first["right"]
    assert first["misses"] == 2, "whatever other paths left in the cache is not for this one"
    if "sse2" in path.FEATURES:
        assert first["zmm"] == (simd == "avx512") and first["ymm"] == (simd != "generic")
    (cache / simd).write_text(first["bits"])
    known = [(cache / name).read_text() for name in REGISTER_BYTES_OF if (cache / name).exists()]
    assert len(set(known)) == 1, "distances are the same to the last bit on every path"


@pytest.mark.skipif(len(HAVE) < 2, reason="this CPU has one path")
def test_the_path_alone_decides(cache, tmp_path):
    """Without NUMBA_CPU_NAME, which is in Numba's own key: the path must be in ours."""
    assert run(SMALL, tmp_path, HAVE[0])["misses"] == 1
    other = run(SMALL, tmp_path, "generic")
    assert other["path"] == "generic" and other["misses"] == 1 and other["right"]
    again = run(SMALL, tmp_path, "generic")
    assert (again["hits"], again["misses"]) == (1, 0), "the second time nothing is compiled"


def test_an_edited_source_never_runs_from_an_old_cache(tmp_path):
    shutil.copytree(ROOT / "annlab", tmp_path / "annlab", ignore=shutil.ignore_patterns("__pycache__", "data"))
    before = run(SMALL, tmp_path / "cache", "generic", cwd=tmp_path)
    assert before["file"].startswith(str(tmp_path)) and before["right"]
    # A file in a folder below; distance.py stays as it is, since Numba would see that.
    source = tmp_path / "annlab" / "kernels" / "simd" / "registers.py"
    stamp = source.stat()
    source.write_text(source.read_text() + "\n# edited\n")
    os.utime(source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    after = run(SMALL, tmp_path / "cache", "generic", cwd=tmp_path)
    assert (after["hits"], after["misses"]) == (0, 1) and after["right"]


def test_an_unknown_path_is_refused():
    environment = {**os.environ, "ANNLAB_SIMD": "avx1024"}
    program = "import annlab; annlab.ExactIndex"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode != 0 and "ANNLAB_SIMD='avx1024' is not a SIMD path: use one of avx512, avx2" in done.stderr


def test_without_a_compiler_it_says_what_it_needs():
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    program = "import annlab; print('imported'); annlab.ExactIndex"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode != 0 and done.stdout == "imported\n"
    assert "RuntimeError: annlab needs Numba's compiler, which NUMBA_DISABLE_JIT turns off" in done.stderr
