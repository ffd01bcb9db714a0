"""A fair process to compare in, checked before anything is compared.

Two things silently cripple the libraries that one likes to beat. faiss's wheel carries an OpenBLAS that does not know
recent processors and falls to a slow kernel; and faiss takes a path without BLAS for some batch sizes. Without a remedy
one "wins" 15 to 40 times, which says nothing. So the command that a person types is only the parent: it starts a child
whose environment is exactly

- ``OPENBLAS_CORETYPE=SkylakeX`` on a CPU with AVX-512, ``Haswell`` on one with AVX2, for the whole comparison;
- no ``OPENBLAS_L2_SIZE`` and no other setting of OpenBLAS, OpenMP or MKL that the shell may carry;
- one thread for OpenMP, OpenBLAS and MKL;

and the child sets ``faiss.cvar.distance_compute_blas_threshold = 20``, pins itself to as many CPUs as the benchmark
uses threads, and then proves that it worked: it records the BLAS kernel that each library loaded and measures the
matrix-product rate that each peer reaches. A peer below `MINIMUM_SHARE` of the best rate on this machine is a strawman,
and `verify` says so: the command then refuses to publish. The best rate includes that of an untouched child (numpy left
alone picks the right kernel by itself), so an environment that slows everyone equally is caught too.
"""

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import hardware

MINIMUM_SHARE = 0.6
CHILD = "ANNLAB_BENCHMARK_CHILD"  # set in the child's environment, so that it does not start another
FAISS_BLAS_THRESHOLD = 20
FAISS_NEVER_BLAS = 1 << 30
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
FOREIGN_PREFIXES = ("OPENBLAS_", "GOTO_", "OMP_", "GOMP_", "KMP_", "MKL_", "BLIS_", "NUMBA_CPU_")
PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "scikit-learn", "faiss-cpu", "scann", "h5py", "threadpoolctl",
            "hnswlib", "rabitqlib", "pyglass-portable", "scalable-vs", "usearch", "ngt")  # fmt: skip


class StrawmanError(RuntimeError):
    """A peer does not run as fast as it can here, so a comparison with it must not be published."""


def fair_variables(features: Iterable[str]) -> dict[str, str]:
    """The variables of the child, for a CPU with these features (LLVM's names)."""
    features = set(features)
    variables = dict.fromkeys(THREAD_VARIABLES, "1")
    if "avx512f" in features:
        variables["OPENBLAS_CORETYPE"] = "SkylakeX"
    elif "avx2" in features:
        variables["OPENBLAS_CORETYPE"] = "Haswell"
    return variables


def without_tuning(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without any variable that changes how a numerical library runs."""
    return {name: value for name, value in environment.items() if not name.startswith(FOREIGN_PREFIXES)}


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment in which every comparison runs."""
    return without_tuning(environment) | fair_variables(hardware.cpu_features()) | {CHILD: "1"}


def is_child() -> bool:
    """Whether this process was started by `run_child`."""
    return os.environ.get(CHILD) == "1"


def run_child(arguments: Sequence[str]) -> int:
    """Run ``python -m benchmarks *arguments`` in a fair process and return its exit code."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, env=child_environment(os.environ), check=False).returncode


def prepare(threads: int) -> None:
    """What only the process itself can set: faiss's switch to BLAS, and the CPUs that it runs on."""
    try:
        import faiss
    except ImportError:
        pass
    else:
        faiss.cvar.distance_compute_blas_threshold = FAISS_BLAS_THRESHOLD
    use_cpus(threads)


_allowed: list[int] = []  # the CPUs that the process was given


def use_cpus(n: int) -> None:
    """Run on `n` of the CPUs that the process was given, with all its threads; may be called again.

    Raises
    ------
    ValueError
        When it was given fewer.
    """
    if not hasattr(os, "sched_setaffinity"):  # Linux alone; elsewhere the scheduler decides
        return
    if not _allowed:
        _allowed.extend(sorted(os.sched_getaffinity(0)))
    if not 1 <= n <= len(_allowed):
        raise ValueError(f"{n} threads are asked for; this process may use {len(_allowed)} CPUs")
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):  # it may have ended
            os.sched_setaffinity(int(thread), _allowed[-n:])  # the last ones: interrupts tend to arrive at the first


def choose_faiss_path(n_queries: int) -> None:
    """Let faiss answer a call of this many queries in the way that is the faster one.

    faiss 1.15 multiplies matrices when queries x dimensions reach its threshold. With 20 it does so for a single query
    too, where OpenBLAS copies the whole database into another layout first: measured, 4 to 7 times slower than its
    plain scan. Up to four queries the plain scan wins. Everything that asks a Flat index a single query needs this, the
    coarse quantizer of an IVF included. Setting it costs a microsecond.
    """
    import faiss

    faiss.cvar.distance_compute_blas_threshold = FAISS_BLAS_THRESHOLD if n_queries > 4 else FAISS_NEVER_BLAS


def untouched_rate() -> float:
    """The matrix-product rate of numpy in a process where nobody chose its kernel, in GFLOP/s."""
    code = "import numpy, benchmarks.hardware as h; print(h.matrix_product_rate(numpy.matmul))"
    environment = without_tuning(os.environ) | dict.fromkeys(THREAD_VARIABLES, "1")
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return float(answer.stdout)


def problems(rates: Mapping[str, float], untouched: float, settings: Mapping[str, Any]) -> list[str]:
    """Why a comparison in this process would not be fair; empty when it is.

    Parameters
    ----------
    rates : mapping
        Matrix-product rate of each peer that uses BLAS, GFLOP/s.
    untouched : float
        The rate of `untouched_rate`.
    settings : mapping
        As `settings` returns them.
    """
    best = max([untouched, *rates.values()])
    found = [
        f"{name} multiplies matrices at {rate:.1f} GFLOP/s, {rate / best:.0%} of the best rate on this machine "
        f"({best:.1f}); at least {MINIMUM_SHARE:.0%} is needed: it fell to a slow kernel"
        for name, rate in rates.items()
        if rate < MINIMUM_SHARE * best
    ]
    if "OPENBLAS_L2_SIZE" in settings["variables"]:
        found.append("OPENBLAS_L2_SIZE is set; unset it")
    for name, wanted in fair_variables(settings["features"]).items():
        actual = settings["variables"].get(name)
        if actual != wanted:
            found.append(f"{name} is {actual}, not {wanted}; run through `python -m benchmarks`")
    found += [
        f"{pool['library']} would use {pool['threads']} threads, not 1"
        for pool in settings["thread_pools"]
        if pool["threads"] != 1
    ]
    threshold = settings["faiss_blas_threshold"]
    if threshold not in (None, FAISS_BLAS_THRESHOLD):
        found.append(f"faiss.cvar.distance_compute_blas_threshold is {threshold}, not {FAISS_BLAS_THRESHOLD}")
    return found


def settings() -> dict[str, Any]:
    """How this process is set up, read from the process and from the libraries that it has loaded."""
    from threadpoolctl import threadpool_info

    faiss = sys.modules.get("faiss")
    return {
        "variables": {n: value for n, value in os.environ.items() if n.startswith((*FOREIGN_PREFIXES, "ANNLAB_SIMD"))},
        "thread_pools": [
            {
                "library": Path(pool["filepath"]).name,
                "version": pool["version"],
                "threads": pool["num_threads"],
                "kernel": pool.get("architecture"),
            }
            for pool in threadpool_info()
        ],
        "faiss_blas_threshold": faiss.cvar.distance_compute_blas_threshold if faiss else None,
        "faiss_compiled_for": faiss.get_compile_options().split() if faiss else None,
        "cpus": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "features": sorted(hardware.cpu_features()),
    }


def versions() -> dict[str, str]:
    """The installed version of everything that takes part."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit that is measured, with "+" when files differ from it; None outside of a git checkout."""
    command = ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
    try:
        answer = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return answer.stdout.strip() or None


def cpu_model() -> str:
    """The CPU's own name, with the microarchitecture that LLVM sees."""
    import llvmlite.binding as llvm

    name = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].split(":", 1)[1].strip() if lines else name
    return f"{name} ({llvm.get_host_cpu_name()})"


def about() -> dict[str, Any]:
    """The block of a result file of suites without peers: machine, load, commit and versions."""
    return {
        "cpu": cpu_model(),
        "cpu_count": os.cpu_count(),
        "commit": commit(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "versions": versions(),
    }


def describe(rates: Mapping[str, float]) -> dict[str, Any]:
    """The environment block of a result file. `rates`: matrix-product rate of each peer that uses BLAS, GFLOP/s."""
    setup, untouched = settings(), untouched_rate()
    reasons = problems(rates, untouched, setup)
    return {
        "publishable": not reasons,
        "problems": reasons,
        **about(),
        "platform": platform.platform(),
        "matrix_product_gflops": {name: round(rate, 1) for name, rate in rates.items()},
        "matrix_product_gflops_untouched": round(untouched, 1),
        "limits": {} if reasons else hardware.measure(),
        **setup,
    }


def verify(environment: Mapping[str, Any]) -> None:
    """Raise StrawmanError when a comparison in this environment must not be published."""
    if environment["problems"]:
        raise StrawmanError("not a fair comparison, nothing is published:\n  " + "\n  ".join(environment["problems"]))
