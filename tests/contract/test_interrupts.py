"""Ctrl-C: long work ends soon, whatever it is; nothing has changed, and the process can go on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.contract.interrupts import JOBS, QUICK

ROOT = Path(__file__).parents[2]
AFTER = 0.7  # seconds of work before the interrupt comes
SOON = 4.0  # seconds: one is aimed at; a busy machine, or a slow path, may take longer


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in JOBS])
def test_ctrl_c_ends_long_work(name):
    """Compiling cannot be interrupted, so where kernels had still to be compiled, it is tried again with these."""
    wrong = ""
    for _ in range(3):
        wrong = interrupted(name)
        if not wrong:
            return
    pytest.fail(wrong)


def interrupted(name):
    """Interrupt a job; what was wrong with its end, or nothing."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.contract.interrupts", name]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            if child.stdout.readline() != "begun\n":
                return child.stderr.read()[-2000:]
            time.sleep(AFTER)
            child.send_signal(signal.SIGINT)
            asked = time.monotonic()
            outcome = json.loads(child.stdout.readline() or "{}")
            took = time.monotonic() - asked
            out, err = child.stdout.read(), child.stderr.read()  # `communicate` would miss what is buffered already
            child.wait(100)
        finally:
            child.kill()
    if outcome.get("outcome") != "interrupted":
        return f"{name}: {outcome} {err[-2000:]}"
    if took >= SOON:
        return f"{name} went on for {took:.1f} s"
    return "" if child.returncode == 0 and out.endswith("unchanged\n") else f"{name}: {err[-2000:]}"
