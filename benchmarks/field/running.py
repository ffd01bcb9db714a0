"""The command ``python -m benchmarks run``: what is measured, in which order, and where it is kept.

Everything lies in one folder, and what is there is not measured again, so a run that was stopped goes on:

    OUT/run.json                     the environment and the options
    OUT/SET/set.json                 what the data is like: rows, dimension, copies, how far away the queries are
    OUT/SET/tuned-CONTESTANT.json    all that was tried of a contestant, and what was chosen; `.begun` before that,
                                     so that a library that ends the process is left out when the run goes on
    OUT/SET/kK-MODE.json             the runs; the ids and times of every query are in kK-MODE.npz beside it
    OUT/SET/kK-batch-N.json          batches on N threads, of those that can
    OUT/SET/filters.json, churn.json the further regimes (`filters.py`, `runbook.py`)

Queries that are reported are never those that settings were chosen on. The latter are queries of the set beyond the
first thousand, where it has them; otherwise rows, which are taken out of the set for all.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from annlab.datasets import Dataset
from annlab.evaluation import relative_contrast
from benchmarks import environment, report
from benchmarks.data import bare, elsewhere, first, gap, load, names
from benchmarks.field import filters, page, runbook
from benchmarks.field.contestants import Contestant, contestants, missing
from benchmarks.field.tuning import Tuned, build, tune
from benchmarks.harness import MODES, Budget, Built, Run, compare
from benchmarks.oracle import Oracle
from benchmarks.peers import PEERS

MADE = ("clusters:100000x64", "uniform:100000x32", "elsewhere:100000x128", "copies:100000x64")
QUICK = ("clusters:4000x16",)
REPORTED, TUNING_QUERIES = 1000, 300
ROUNDS = 15  # at most
CERTAIN = 0.9995  # a flat search below this has not understood the data, or the truth is wrong
TYPICAL = 200  # rows drawn at random, to which a neighbour's distance is compared
REGIMES = {"filters": filters.run, "churn": runbook.run}


class WrongTruthError(RuntimeError):
    """A flat search that must find everything does not."""


def parser() -> argparse.ArgumentParser:
    """The options."""
    result = argparse.ArgumentParser(
        prog="python -m benchmarks run", description="every index of annlab and every installed peer, on your data"
    )
    result.add_argument("data", nargs="*", help="HDF5 files of ann-benchmarks, vectors in .npy, .fvecs or .parquet, or "
                        f"made sets such as {MADE[0]}; without any: the files in $ANNLAB_DATA, and four made sets",
    )  # fmt: skip
    result.add_argument("--out", type=Path, default=Path("benchmark-run"), help="folder; a stopped run goes on there")
    result.add_argument("--only", nargs="+", default=[], help="beginnings of the names of those that take part")
    result.add_argument("--rows", type=int, help="take so many rows of larger sets")
    result.add_argument("--k", nargs="+", type=int, default=[10], help="numbers of neighbours")
    result.add_argument("--tuning", type=float, default=60.0, help="seconds for each index and k to be tuned in")
    result.add_argument("--seconds", type=float, default=20.0, help="of interleaved rounds, for each k and mode")
    result.add_argument("--threads", type=int, default=1, help="batches on so many threads too, in wall time")
    result.add_argument("--regimes", nargs="*", choices=REGIMES, default=list(REGIMES), help="beside plain searches")
    result.add_argument("--runbook", type=Path, help="YAML of big-ann-benchmarks: what is added, removed and searched")
    result.add_argument("--quick", action="store_true", help="one small made set, a second for everything")
    return result


def main(arguments: Sequence[str]) -> int:
    """Parent and child share the command line, as in all suites."""
    options = parser().parse_args(arguments)
    if not environment.is_child():
        return environment.run_child(["run", *arguments])
    if options.quick:
        options.tuning, options.seconds = min(options.tuning, 2.0), min(options.seconds, 2.0)
    return measure(options)


def measure(options: argparse.Namespace) -> int:
    """What the child does. The exit code says whether the figures may be published."""
    environment.prepare(1)
    peers = [peer() for name, peer in PEERS.items() if name in ("annlab", "faiss", "scikit-learn", "numpy")]
    setting = environment.describe({p.name: rate for p in peers if (rate := p.matrix_product_rate()) is not None})
    print(report.environment_lines(setting), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    _write(options.out / "run.json", {"environment": setting, "options": _plain(vars(options))})
    try:
        environment.verify(setting)
    except environment.StrawmanError as error:
        print(f"\n{error}", file=sys.stderr)
        return 3
    environment.use_cpus(options.threads)  # refused here, and not after hours
    environment.use_cpus(1)
    for dataset in sets(options):
        print(
            f"\n== {dataset.name}, {dataset.train.shape[0]:,} x {dataset.train.shape[1]}, {dataset.metric}", flush=True
        )
        folder = options.out / "".join(c if c.isalnum() or c in "-." else "-" for c in dataset.name)
        folder.mkdir(exist_ok=True)
        one_set(dataset, folder, options)
        page.write(options.out)
    print(f"\n{options.out / 'report.html'}: open it in a browser")
    return 0


def sets(options: argparse.Namespace) -> list[Dataset]:
    """The data sets, in float32; large ones cut to `--rows`."""
    folder = os.environ.get("ANNLAB_DATA")
    wanted: list[str] = options.data or ([] if not options.quick else list(QUICK))
    files = [name for name in wanted if Path(name).suffix and Path(name).exists()]
    others = [name for name in wanted if name not in files]
    found = [own(Path(name)) for name in files]
    if others or not wanted:
        chosen = names(Path(folder) if folder else None, others, MADE)
        found += [_load(Path(folder) if folder else None, name) for name in chosen]
    return [first(some, options.rows) if options.rows and len(some.train) > options.rows else some for some in found]


def _load(folder: Path | None, name: str) -> Dataset:
    """A made set whose queries come from elsewhere than its rows gets more of them: to choose settings on, too."""
    if not name.startswith("elsewhere:"):
        return load(folder, name)
    n, dim = (int(part) for part in name.partition(":")[2].split("x"))
    return elsewhere(n, dim, name, REPORTED + TUNING_QUERIES)


def own(path: Path) -> Dataset:
    """A file of one's own: HDF5 as it is; of bare vectors, a thousand (at most a tenth) are held out as queries."""
    from annlab import datasets

    if path.suffix in (".hdf5", ".h5"):
        return bare(datasets.load_hdf5(path), path.stem)
    readers = {".npy": datasets.load_npy, ".fvecs": datasets.load_fvecs, ".bvecs": datasets.load_bvecs,
               ".parquet": datasets.load_parquet}  # fmt: skip
    if path.suffix not in readers:
        raise ValueError(f"{path}: a file ending in .hdf5, {', '.join(readers)} is asked for")
    rows = np.asarray(readers[path.suffix](path), np.float32)
    if rows.ndim != 2 or len(rows) < 100:
        raise ValueError(f"{path} has shape {rows.shape}; (rows, dimensions) with at least 100 rows is asked for")
    order = np.random.default_rng(0).permutation(len(rows))
    held_out = min(1000, len(rows) // 10)
    return Dataset(
        path.stem, np.ascontiguousarray(rows[order[held_out:]]), np.ascontiguousarray(rows[order[:held_out]]), "l2"
    )


def one_set(whole: Dataset, folder: Path, options: argparse.Namespace) -> None:
    """Tune everybody, let them take turns, and the further regimes."""
    dataset, tuning = apart(whole)
    taking_part = contestants(dataset, options.only)
    depth = max(options.k)
    oracle = Oracle(dataset.train, dataset.test, dataset.metric, depth)
    tuning_oracle = Oracle(dataset.train, tuning, dataset.metric, depth)
    known = facts(dataset, oracle) | {"not installed": missing(dataset), "failed": [], "commit": commits(folder)}
    tuned: dict[str, Tuned] = {}
    built: dict[str, dict[str, Built]] = {}
    for one in list(taking_part):
        try:
            tuned[one.name], built[one.name] = _tuned(one, dataset, tuning_oracle, folder, options)
        except Exception as error:  # a peer's own exceptions are of any kind
            if one.ours:
                raise
            print(f"left out: {one.name} fails on {dataset.name}: {error!r}", file=sys.stderr)
            known["failed"].append(f"{one.name}: {error!r}")
            taking_part.remove(one)
    _write(folder / "set.json", known)
    for k in options.k:
        for mode, threads in [*((mode, 1) for mode in MODES), *([("batch", options.threads)] * (options.threads > 1))]:
            target = folder / (f"k{k}-{mode}.json" if threads == 1 else f"k{k}-{mode}-{threads}.json")
            if target.exists():
                continue
            entrants = []
            for one in taking_part if threads == 1 else [one for one in taking_part if one.scales]:
                for name, settings in tuned[one.name].settings(k).items():
                    if name not in built[one.name]:  # of an earlier run
                        parameters = next(trial.build for trial in tuned[one.name].chosen if str(trial.build) == name)
                        built[one.name][name] = build(one, parameters, dataset)
                    entrants.append((built[one.name][name], settings))
            budget = Budget(options.seconds, len(dataset.test), len(dataset.test), ROUNDS)
            answers: list[np.ndarray] = []
            with _using(threads, [built for built, _ in entrants]):
                runs = compare(dataset, entrants, k, mode, budget, oracle, answers)
            _certify(runs, taking_part)
            _keep(target, runs, answers, oracle, k)
    for name in options.regimes:
        target = folder / f"{name}.json"
        if not target.exists():
            _write(target, REGIMES[name](dataset, taking_part, tuned, options))


@contextlib.contextmanager
def _using(threads: int, indexes: Sequence[Built]) -> Iterator[None]:
    """So many CPUs for the process, and as many threads for every index; one afterwards."""
    scaling = [built.peer for built in indexes if threads > 1]
    environment.use_cpus(threads)
    for peer in scaling:
        peer.use(threads)
    try:
        yield
    finally:
        for peer in scaling:
            peer.use(1)
        environment.use_cpus(1)


def apart(whole: Dataset) -> tuple[Dataset, np.ndarray]:
    """The set as it is reported, and other queries (t, d) to choose settings on."""
    n = min(TUNING_QUERIES, len(whole.train) // 10)
    if len(whole.test) >= REPORTED + n:
        return Dataset(whole.name, whole.train, whole.test[:REPORTED], whole.metric), whole.test[
            REPORTED : REPORTED + n
        ]
    chosen = np.random.default_rng(1).permutation(len(whole.train))[:n]
    kept = np.setdiff1d(np.arange(len(whole.train)), chosen)
    train, tuning = (np.ascontiguousarray(whole.train[rows]) for rows in (kept, chosen))
    return Dataset(whole.name, train, whole.test[:REPORTED], whole.metric), tuning


def _tuned(one: Contestant, dataset: Dataset, oracle: Oracle, folder: Path,
           options: argparse.Namespace) -> tuple[Tuned, dict[str, Built]]:  # fmt: skip
    """What tuning found, with the indexes; or the file of an earlier run, without."""
    target = folder / f"tuned-{one.name.replace(' ', '-').replace(',', '')}.json"
    if target.exists():
        return Tuned.of(json.loads(target.read_text())), {}
    begun = target.with_suffix(".begun")
    if begun.exists() and not one.ours:
        raise RuntimeError(f"it ended the whole process the last time, or was killed; remove {begun} to try it again")
    begun.touch()
    try:
        found, built = tune(one, dataset, oracle, options.k, options.tuning)
    finally:
        begun.unlink()
    best = max((trial.recall for trial in found.chosen), default=0.0)
    print(f"tuned {one.name}: {len(found.trials)} settings of {found.builds} builds in {found.seconds:.1f} s, "
          f"recall up to {best:.3f}", flush=True)  # fmt: skip
    _write(target, found.record())
    return found, built


def _certify(runs: Sequence[Run], taking_part: Sequence[Contestant]) -> None:
    """Every exact search must have found everything: otherwise the truth, or the adapter, is wrong."""
    exact = {one.name for one in taking_part if one.exact}
    for run in runs:
        if run.peer in exact and run.recall < CERTAIN:
            raise WrongTruthError(
                f"{run.peer} searches everything on {run.dataset} and finds {run.recall:.4f} of the true neighbours: "
                "either the truth is wrong or the adapter; nothing of this set is reported"
            )


def commits(folder: Path) -> str:
    """The commits that a set is measured at: this one, and those of before if an earlier run began with it."""
    begun = folder / "set.json"
    known = json.loads(begun.read_text()).get("commit", "") if begun.exists() else ""
    now = str(environment.commit())
    return known if now in known.split(", ") else f"{known}, {now}".lstrip(", ")


def facts(dataset: Dataset, oracle: Oracle) -> dict[str, Any]:
    """What the data is like, and how hard each query is."""
    rng = np.random.default_rng(2)
    distinct = len(np.unique(dataset.train, axis=0))
    some = np.broadcast_to(rng.integers(len(dataset.train), size=TYPICAL), (len(dataset.test), TYPICAL))
    depth = min(10, oracle.distances.shape[1])
    contrast = relative_contrast(
        np.maximum(oracle.distances, 0), np.maximum(oracle.of(np.ascontiguousarray(some)), 0), depth
    )
    return {
        "name": dataset.name, "rows": len(dataset.train), "dimension": dataset.train.shape[1],
        "metric": dataset.metric, "queries": len(dataset.test), "copies": 1 - distinct / len(dataset.train),
        "gap": gap(dataset, oracle.distances, depth), "contrast": [round(float(c), 4) for c in contrast],
    }  # fmt: skip


def _keep(target: Path, runs: Sequence[Run], answers: Sequence[np.ndarray], oracle: Oracle, k: int) -> None:
    """The raw ids and times first, then the record that says that they are complete."""
    hits = np.stack([oracle.recalls(ids, k) for ids in answers]).astype(np.float32)
    times = {f"times-{i}": np.asarray(run.query_wall, np.float32) for i, run in enumerate(runs) if run.query_wall}
    np.savez_compressed(
        target.with_suffix(".npz"), ids=np.stack([ids.astype(np.int32) for ids in answers]), hits=hits, **times
    )
    for run in runs:
        run.query_wall = []
    _write(target, [asdict(run) for run in runs])


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def _write(path: Path, content: Any) -> None:
    """Whole or not at all."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(content, indent=1))
    os.replace(temporary, path)
