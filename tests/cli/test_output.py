"""What commands say while they work, and what machines read of them."""

import argparse
import json

import numpy as np

from annlab.cli import main, output


def test_progress_tells_the_rate_and_the_time_left(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: now[0])
    line = output.ProgressLine()
    for done in range(0, 1201, 100):  # the first hundred were done by an earlier run
        line("indexing", 100 + done, 1300)
        now[0] += 0.5
    line("indexing", 1300, 1300)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "indexing: 300 / 1,300 images, 200/s, 5 s left"
    assert said[-1] == "indexing: 1,300 / 1,300 images, 200/s" and len(said) == 6
    line("looking", 0, 0)  # nothing to do, nothing to say
    assert not capsys.readouterr().err


def test_an_answer_for_machines_is_one_value(capsys):
    output.answer(argparse.Namespace(json=True), {"name": "café"}, ["for people"])
    assert json.loads(capsys.readouterr().out) == {"name": "café"}


def test_every_command_answers_machines(tmp_path, capsys):
    np.save(tmp_path / "e.npy", np.array([[1, 0], [1, 0.01], [0, 1], [0.01, 1]], np.float32))
    np.save(tmp_path / "labels.npy", np.array([0, 0, 1, 1]))
    command = ["evaluate", str(tmp_path / "e.npy"), "--labels", str(tmp_path / "labels.npy"), "--measures", "map"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"queries": 4, "map": 1.0}
