"""What is installed: the content of the wheel, the pins, and what importing annlab drags in."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import annlab

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The files of the wheel, each with its size in it."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.compress_size for entry in archive.infolist()}


@pytest.fixture(scope="module")
def wheel_names(wheel):
    return set(wheel)


def test_the_wheel_holds_the_package_and_nothing_else(wheel_names):
    tops = {name.split("/")[0] for name in wheel_names}
    assert tops == {"annlab", f"annlab-{annlab.__version__}.dist-info"}


def test_the_wheel_holds_every_file_that_the_package_reads(wheel_names):
    in_tree = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "annlab").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "annlab/py.typed" in in_tree
    assert in_tree <= wheel_names


def test_the_wheel_stays_small_and_brings_the_licences_of_its_pictures(wheel):
    pictures = sum(size for name, size in wheel.items() if name.startswith("annlab/data/noto-emoji"))
    models = sum(size for name, size in wheel.items() if name.startswith("annlab/encoders/models/"))
    assert pictures < 5_000_000 and models < 3_000_000 and sum(wheel.values()) < 12_000_000
    licences = {name for name in wheel if "/licenses/" in name}
    texts = ("LICENSE", "annlab/data/LICENSE-noto-emoji.txt", "annlab/data/LICENSE-fashion-mnist.txt")
    assert all(any(name.endswith(text) for name in licences) for text in texts), licences


def test_the_version_is_stated_once():
    assert PROJECT["version"] == annlab.__version__


def test_constraints_pin_every_requirement_that_run_py_installs():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][0-9A-Za-z.!]*)", line) for line in lines]
    assert all(pins), [line for line, pin in zip(lines, pins, strict=True) if not pin]
    pinned = {normalised(pin[1]) for pin in pins}
    assert len(pinned) == len(lines)
    extras = PROJECT["optional-dependencies"]
    wanted = [
        *PROJECT["dependencies"],
        *(each for extra in ("dev", "bench", "encoders", "onnx", "docs", "lab") for each in extras[extra]),
    ]
    assert {normalised(re.match(r"[\w.-]+", requirement)[0]) for requirement in wanted} <= pinned


def test_requirements_have_lower_bounds_only():
    requirements = [
        *PROJECT["dependencies"],
        *(each for extra in PROJECT["optional-dependencies"].values() for each in extra),
    ]
    assert not [requirement for requirement in requirements if re.search(r"[<~!]|==", requirement.split(";")[0])]


@pytest.mark.parametrize("module", ["annlab", "annlab.datasets"])
def test_importing_is_light(module):
    heavy = ["torch", "sklearn", "numba", "h5py", "matplotlib", "PIL", "onnxruntime"]
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def launcher(*arguments):
    command = [sys.executable, str(ROOT / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_launcher_explains_itself():
    helped, wrong = launcher("--help"), launcher("nonsense")
    assert helped.returncode == 0 and all(
        f"python3 run.py {job}" in helped.stdout for job in ("serve", "demo", "notebooks", "lab", "test")
    )
    assert wrong.returncode == 2 and "python3 run.py test" in wrong.stderr


def test_the_launcher_names_the_package_that_a_system_without_venv_lacks(tmp_path):
    """Debian's Python without python3-venv: in a copy of the project, with the module hidden."""
    for name in ("run.py", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    hide = (
        "import runpy, importlib.util as u; find = u.find_spec; u.find_spec = lambda n: n != 'ensurepip' and find(n); "
    )
    run = "import sys; sys.argv = ['run.py', 'test']; runpy.run_path('run.py', run_name='__main__')"
    ended = subprocess.run([sys.executable, "-c", hide + run], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert f"apt-get install python{sys.version_info.major}.{sys.version_info.minor}-venv" in ended.stderr
    assert not (tmp_path / ".venv").exists()
