"""The page of figures is what the result files give, and every kind of result file gives a table."""

import json
from pathlib import Path

import pytest

from benchmarks import measured
from benchmarks.__main__ import main
from benchmarks.harness import Run

ROOT = Path(__file__).parents[2]
README = ROOT / "benchmarks" / "README.md"


def run(peer: str, microseconds: float, recall: float = 1.0, **changes: object) -> dict[str, object]:
    values = {
        **{
            "dataset": "some:9x2",
            "n": 9000,
            "dim": 2,
            "metric": "l2",
            "threads": 1,
            "build": {},
            "search": {},
            "k": 10,
        },
        **{"mode": "batch", "queries": 10, "build_seconds": 1.0, "build_cpu_seconds": 1.0, "first_build_seconds": 1.0},
        **{"first_call_seconds": 1.0, "bytes_per_vector": 8.0, "wall": [9e-6 * microseconds] * 3},
        **{"peer": peer, "recall": recall, "cpu": [1e-5 * microseconds] * 3},
    }
    return {**values, **changes}


def page(tmp_path: Path, content: object, name: str = "new.json") -> str:
    (tmp_path / name).write_text(json.dumps(content))
    return measured.document(tmp_path)


@pytest.fixture(scope="module")
def whole() -> str:
    return measured.document()


def test_the_page_is_not_stale(whole):
    assert measured.PAGE.read_text() == whole, (
        "docs/measured.md is not what benchmarks/results/*.json give: run `python -m benchmarks measured` and commit it"
    )


def test_the_command_writes_the_page(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measured, "PAGE", tmp_path / "docs" / "measured.md")
    assert main(["measured"]) == 0
    assert (tmp_path / "docs" / "measured.md").read_text() == whole
    assert "result files" in capsys.readouterr().out


def test_every_section_names_its_cpu_and_every_set_has_a_recipe(whole):
    recipes = README.read_text()
    for path in measured.RESULTS.glob("*.json"):
        content = json.loads(path.read_text())
        assert f"`{path.name}`; {content['environment']['cpu']}, " in whole
        for record in content.get("runs", content.get("records", [])):
            name = str(record.get("dataset", "")).split(",")[0]
            kind = name.split(":")[0] if ":" in name else "synthetic-" if name.startswith("synthetic-") else name
            kind = "uniform" if name.startswith("uniform-") else "allowed" if "allowed" in kind else kind
            assert kind in recipes, f"{path.name}: benchmarks/README.md has no recipe for {name}"


def test_few_settings_are_columns_and_recall_below_1_is_shown(tmp_path):
    runs = [
        run("annlab", 2.0),
        run("other", 34.56, 0.9, search={"probes": 3}),
        run("annlab", 1234.0, mode="one", threads=2),
    ]
    text = page(tmp_path, {"environment": {"cpu": "Some CPU", "versions": {"numpy": "9"}}, "runs": runs})
    assert "## new" in text and "`new.json`; Some CPU, numpy 9" in text
    assert "| data set | rows | annlab | other probes=3 |" in text
    assert "| some:9x2 | 9,000 | 2 | 34.6 (0.900) |" in text
    assert "**k = 10, one query**" in text and "| some:9x2 | 9,000 | 1,111 |" in text  # wall time


def test_a_curve_gives_the_fastest_setting_that_reaches_a_recall(tmp_path):
    curve = [run("annlab", 10.0 * step, 0.9 + step / 100, search={"probes": step}) for step in range(10)]
    curve += [run("weak", 1.0, 0.5, search={"probes": step}) for step in range(9)]
    text = page(tmp_path, {"environment": {"cpu": "x"}, "runs": curve})
    assert "| data set | rows | recall at least | annlab |" in text
    for line in ("| 0.90 | 0 |", "| 0.95 | 50 |", "| 0.99 | 90 |"):
        assert line in text
    assert "Below 0.90 with every setting: weak." in text


@pytest.mark.parametrize(
    "content", [{"records": [{"a_b": 0.25, "c": [1, 2.5], "d": {"e": 1}}, {"a_b": None, "f": True}]}]
)
def test_records_are_rows_and_their_names_columns(tmp_path, content):
    text = page(tmp_path, {"environment": {"cpu": "x"}, **content, "note": "a|b"})
    assert "| a b | c | d | f |" in text
    assert "| 0.25 | 1 / 2.5 | e 1 |  |" in text and "|  |  |  | True |" in text and "note: a|b" in text
    text = page(tmp_path, content["records"])
    assert "CPU not recorded" in text and "| 0.25 | 1 / 2.5 |" in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (1.0, "1"), (0.123456, "0.1235"), (12.345, "12.3"), (1234.56, "1,235"), (1.5e-7, "1.5e-07")],
)
def test_numbers_have_three_digits(value, shown):
    assert measured._number(value) == shown


def test_what_may_not_be_published_says_so(tmp_path):
    text = page(tmp_path, {"environment": {"cpu": "x", "publishable": False, "problems": ["slow BLAS"]}, "runs": []})
    assert "NOT PUBLISHABLE: slow BLAS" in text


def test_the_runs_of_the_tests_are_runs():
    Run(**run("annlab", 1.0))
