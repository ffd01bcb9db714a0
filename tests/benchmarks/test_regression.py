"""`python -m benchmarks compare`: verdicts of ratios, and one real comparison of the code with itself."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import regression

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("factor", "word"), [(1.0, "level"), (1.02, "level"), (1.2, "slower"), (0.8, "faster")])
def test_a_word_is_said_only_beyond_the_noise(factor: float, word: str) -> None:
    rng = np.random.default_rng(0)
    old = 10 * (1 + 0.05 * rng.standard_normal(40))
    new = factor * 10 * (1 + 0.05 * rng.standard_normal(40))
    assert regression.verdict(old.tolist(), new.tolist())["word"] == word


def test_few_noisy_rounds_prove_nothing() -> None:
    rng = np.random.default_rng(1)
    old, new = (10 * (1 + 0.4 * rng.random(5)) for _ in range(2))
    assert regression.verdict(old.tolist(), (1.1 * new).tolist())["word"] == "level"


def test_what_is_no_checkout_is_refused() -> None:
    with (
        pytest.raises(SystemExit, match="neither a folder with annlab in it nor a commit"),
        regression.checkout("nowhere"),
    ):
        pass


@pytest.mark.slow
def test_the_code_is_level_with_itself_in_what_it_finds(capsys) -> None:
    arguments = [str(ROOT), str(ROOT), "--only", "exact float32", "--rows", "1500", "--rounds", "2", "--pairs", "1"]
    regression.main(arguments)
    assert "the same search" in capsys.readouterr().out
