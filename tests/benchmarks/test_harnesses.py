"""The modules for ann-benchmarks and VIBE: as their runners call them, with every setting of their config.yml."""

import importlib
import itertools
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

yaml = pytest.importorskip("yaml")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BASE = "class BaseANN:\n    def __str__(self):\n        return self.name\n"


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((1500, 12)), rng.standard_normal((20, 12))  # float64, as some of their sets are


def module(name: str, tmp_path: Path, monkeypatch) -> Any:
    """The module as part of a harness whose base class is theirs in what it promises."""
    package = tmp_path / f"harness_{name}" / "algorithms"
    for folder in (package.parent, package, package / "base"):
        folder.mkdir()
        (folder / "__init__.py").write_text("")
    (package / "base" / "module.py").write_text(BASE)
    shutil.copytree(BENCHMARKS / name / "annlab", package / "annlab")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        return importlib.import_module(f"harness_{name}.algorithms.annlab.module")
    finally:
        for known in [known for known in sys.modules if known.startswith(f"harness_{name}")]:
            del sys.modules[known]


def recall(index: Any, data: tuple[np.ndarray, np.ndarray]) -> float:
    """Of the ten nearest, one query at a time and in a batch, which must agree; no id twice, none that pads."""
    train, queries = data
    true = np.argsort(((queries[:, None] - train) ** 2).sum(axis=2), axis=1)[:, :10]
    index.batch_query(queries, 10)
    found = [index.query(query, 10) for query in queries]
    for one, other in zip(found, index.res):
        assert len(set(one)) == len(one) <= 10 and (one >= 0).all() and set(one) == set(other)
    return float(np.mean([len(set(one) & set(right)) / 10 for one, right in zip(found, true)]))


def test_ann_benchmarks_takes_every_setting(tmp_path: Path, monkeypatch, data) -> None:
    code = module("ann_benchmarks", tmp_path, monkeypatch)
    for entry in yaml.safe_load((BENCHMARKS / "ann_benchmarks/annlab/config.yml").read_text())["float"]["any"]:
        for group in entry["run_groups"].values():
            kinds, parameters = group["args"]
            index = getattr(code, entry["constructor"])("euclidean", kinds[0], parameters[0])
            index.fit(data[0])
            assert index.get_memory_usage() > 0
            best = recall(index, data) if "query_args" not in group else 0.0
            for values in itertools.product(*[choices[-1:] for choices in group.get("query_args", [])]):
                index.set_query_arguments(*values) if values else None
                best = max(best, recall(index, data))
            assert best > 0.95 and kinds[0] in str(index)
    with pytest.raises(NotImplementedError, match="jaccard"):
        code.Annlab("jaccard", "ExactIndex", {})


def test_vibe_takes_every_setting(tmp_path: Path, monkeypatch, data) -> None:
    code = module("vibe", tmp_path, monkeypatch)
    for entry in yaml.safe_load((BENCHMARKS / "vibe/annlab/config.yml").read_text())["float"]["any"]:
        group = entry["run_groups"]["base"]
        index = getattr(code, entry["constructor"])("euclidean", *(values[0] for values in group["args"].values()))
        index.fit(data[0])
        index.set_query_arguments(*(values[-1] for values in group["query_args"].values()))  # as the runner does
        assert recall(index, data) > 0.95 and "annlab" in str(index)
