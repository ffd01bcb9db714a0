"""The process in which peers are measured: what is set for them, and the refusal of one whose BLAS is slow."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_limits

from benchmarks import environment, report
from benchmarks.peers import Numpy, Peer

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Times mean nothing while BLAS threads wait for each other."""
    with threadpool_limits(1):
        yield


def run_python(arguments: Sequence[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """A Python process in the repository's root."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def fair_settings(features: Sequence[str] = ("avx2", "avx512f")) -> dict[str, Any]:
    """What `settings` returns when all is well."""
    return {
        "variables": environment.fair_variables(features),
        "thread_pools": [{"library": "libopenblas.so", "threads": 1}],
        "faiss_blas_threshold": environment.FAISS_BLAS_THRESHOLD,
        "features": list(features),
    }


def test_the_kernel_follows_the_cpu() -> None:
    assert environment.fair_variables(["avx2", "avx512f"])["OPENBLAS_CORETYPE"] == "SkylakeX"
    assert environment.fair_variables(["avx2"])["OPENBLAS_CORETYPE"] == "Haswell"
    assert "OPENBLAS_CORETYPE" not in environment.fair_variables(["neon"])


def test_the_child_inherits_no_tuning() -> None:
    child = environment.child_environment(
        {"OPENBLAS_L2_SIZE": "99", "OMP_PROC_BIND": "x", "OMP_NUM_THREADS": "8", "HOME": "h"}
    )
    assert child.keys().isdisjoint({"OPENBLAS_L2_SIZE", "OMP_PROC_BIND"})
    assert (child["OMP_NUM_THREADS"], child["HOME"]) == ("1", "h")


def test_a_fair_process_has_no_problems() -> None:
    assert environment.problems({"faiss": 61.0, "numpy": 100.0}, 95.0, fair_settings()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"faiss_blas_threshold": 0}, "distance_compute_blas_threshold is 0"),
        ({"thread_pools": [{"library": "libopenblas.so", "threads": 4}]}, "4 threads"),
        ({"variables": {}}, "OPENBLAS_CORETYPE is None, not SkylakeX"),
        ({"variables": {**environment.fair_variables(["avx512f"]), "OPENBLAS_L2_SIZE": "1"}}, "OPENBLAS_L2_SIZE"),
    ],
)
def test_an_unfair_setting_is_named(change: dict[str, Any], message: str) -> None:
    found = environment.problems({"numpy": 100.0}, 100.0, {**fair_settings(), **change})
    assert any(message in problem for problem in found)


class Strawman(Numpy):
    """A peer whose BLAS has fallen to a slow kernel."""

    name = "strawman"

    def matrix_product_rate(self) -> float:
        return 0.3 * super().matrix_product_rate()


@pytest.mark.parametrize("untouched", [1.0, 1e6])
def test_a_strawman_is_refused(untouched: float) -> None:
    """Beside a faster peer; and when all are equally slow, beside numpy left alone."""
    peers: list[Peer] = [Strawman(), Numpy()] if untouched == 1.0 else [Numpy()]
    rates = {peer.name: peer.matrix_product_rate() or 0.0 for peer in peers}
    found = environment.problems(rates, untouched, fair_settings())
    (problem,) = found
    assert problem.startswith(f"{peers[0].name} multiplies matrices")
    with pytest.raises(environment.StrawmanError, match="nothing is published"):
        environment.verify({"problems": found})


def test_a_crippled_process_refuses_to_publish(tmp_path: Path) -> None:
    """The real thing: OpenBLAS made to use the kernel of a CPU of 2004."""
    if "avx2" not in environment.hardware.cpu_features():
        pytest.skip("needs a CPU that has a faster kernel")
    fair = environment.child_environment(os.environ)
    out = tmp_path / "results.json"
    command = ["-m", "benchmarks", "exact", "--quick", "--peers", "numpy", "--out", str(out)]
    answer = run_python(command, **fair | {"OPENBLAS_CORETYPE": "Prescott"})
    assert answer.returncode == 3, answer.stderr
    assert "slow kernel" in answer.stderr
    assert "us/q" not in answer.stdout
    written = json.loads(out.read_text())
    assert written["environment"]["publishable"] is False
    assert written["runs"] == []


@pytest.mark.slow
def test_the_exact_suite_from_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    command = [
        "-m",
        "benchmarks",
        "exact",
        "--quick",
        "--k",
        "10",
        "--peers",
        "faiss",
        "scikit-learn",
        "numpy",
        "--out",
        str(out),
    ]
    answer = run_python(command, OPENBLAS_L2_SIZE="1024", OPENBLAS_CORETYPE="Prescott", ANNLAB_DATA="")
    assert answer.returncode == 0, answer.stderr
    setting, runs = report.read(out)
    assert setting["publishable"]
    assert setting["problems"] == []
    assert {pool["threads"] for pool in setting["thread_pools"]} == {1}
    assert setting["limits"].keys() == environment.hardware.LIMITS.keys()
    assert {(run.k, run.mode) for run in runs} == {(10, "batch"), (10, "one")}
    assert min(run.recall for run in runs) > 0.999
    assert "numpy" in {run.peer for run in runs}
