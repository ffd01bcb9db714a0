"""``python -m benchmarks SUITE``: the parent starts a fair child process, the child verifies itself and measures.

A suite is a module with `SUBJECT` (the peer whose speed is reported), `SETS` and `QUICK_SETS` (synthetic sets to run
beside the files in --data), ``peers(options)`` (everyone whose BLAS must be verified) and ``run(dataset, options,
budget)``; and perhaps ``finish(runs, options, budget)`` for what is not about one of the sets, unless some are chosen,
``summary(runs)`` for tables to be written beside the runs, and `PEERS` of its own.

``python -m benchmarks durable``, ``exchange``, ``indexing``, ``nonsense``, ``privacy``, ``serve`` and ``sharded`` have
no peers; they are described in the files of these names.

``python -m benchmarks run`` chooses for itself and takes any data (`field/`); ``python -m benchmarks report FOLDER``
writes its page anew; ``python -m benchmarks compare OLD NEW`` holds two commits against each other (`regression.py`);
``python -m benchmarks claims`` measures what is said of trees, hashing and clustering (`claims.py`), and ``python -m
benchmarks recommend`` whether `annlab.recommend` finds the best choice (`recommending.py`).

``python -m benchmarks measured`` measures nothing: it writes the page of figures from the results (`measured.py`); so
does ``python -m benchmarks figures`` with the figures and tables of the documentation (`figures.py`, `choice.py`).
"""

import argparse
import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from annlab.datasets import Dataset
from benchmarks import (
    claims,
    environment,
    exact,
    figures,
    graph_peers,
    graph_promises,
    graphs,
    ivf,
    lsh,
    measured,
    recommending,
    regression,
    report,
    trees,
)
from benchmarks.data import first, load, names
from benchmarks.field import page, running
from benchmarks.harness import Budget, Run
from benchmarks.peers import PEERS, Peer

SUITES: dict[str, ModuleType] = {"exact": exact, "trees": trees, "lsh": lsh, "ivf": ivf, "graphs": graphs}
WITH_EXTRAS = (
    "durable", "encoders", "exchange", "feedback", "indexing", "nonsense", "pinterest", "privacy", "serve",
    "sharded", "taught",
)  # fmt: skip
UNPUBLISHABLE = 3  # exit code


def parser() -> argparse.ArgumentParser:
    """The options that all suites share."""
    result = argparse.ArgumentParser(prog="python -m benchmarks", description="annlab against its peers, fairly")
    result.add_argument("suite", choices=SUITES)
    folder = os.environ.get("ANNLAB_DATA")
    result.add_argument(
        "--data", type=Path, default=Path(folder) if folder else None, help="folder of HDF5 files ($ANNLAB_DATA)"
    )
    result.add_argument("--out", type=Path, help="write the raw results to this JSON file")
    result.add_argument(
        "--sets", nargs="+", default=[], help="beginnings of file names, uniform:ROWSxDIM, clusters:ROWSxDIM"
    )
    result.add_argument(
        "--sizes", nargs="+", type=int, default=[], help="rows to take of each set, several for a sweep over n"
    )
    result.add_argument("--peers", nargs="+", choices={**PEERS, **graph_peers.PEERS}, help="those that take part")
    result.add_argument("--k", nargs="+", type=int, default=[10, 100])
    result.add_argument("--threads", nargs="+", type=int, default=[1], help="thread counts to run annlab with")
    result.add_argument(
        "--part", default="frontier", help=f"of ivf: {', '.join(ivf.PARTS)}; of graphs: {', '.join(graphs.PARTS)}"
    )
    result.add_argument("--built", type=Path, help="of graphs: keep what peers have built in this folder")
    result.add_argument("--trials", nargs="+", choices=graph_promises.TRIALS, help="of graphs --part promises: which")
    result.add_argument("--only-built", action="store_true", help="of graphs: leave out what is not built there yet")
    result.add_argument("--seconds", type=float, default=Budget.seconds, help="time budget of one comparison")
    result.add_argument("--quick", action="store_true", help="a small synthetic set and a second for each comparison")
    return result


def installed(wanted: Sequence[str], peers: Mapping[str, type[Peer]]) -> list[str]:
    """The peers that can take part; says which cannot."""
    present = []
    for name in wanted:
        if importlib.util.find_spec(peers[name].package) is None:
            print(f"left out: {name} is not installed", file=sys.stderr)
        else:
            present.append(name)
    return present


def sized(whole: Dataset, sizes: Sequence[int]) -> list[Dataset]:
    """The set in the sizes asked for, or as it is; says which sizes it does not have."""
    n = len(whole.train)
    for size in sizes:
        if size > n:
            print(f"left out: {size:,} rows of {whole.name}, which has {n:,}", file=sys.stderr)
    return [first(whole, size) for size in sizes if size <= n] if sizes else [whole]


def measure(options: argparse.Namespace) -> int:
    """What the child does: verify, measure every set, print, write. The exit code says whether it may be published."""
    suite = SUITES[options.suite]
    peers = getattr(suite, "PEERS", PEERS)
    wanted = options.peers or list(peers)
    options.peers = installed(wanted, peers)
    environment.prepare(max(options.threads))
    rates = {peer.name: rate for peer in suite.peers(options) if (rate := peer.matrix_product_rate()) is not None}
    setting = environment.describe(rates)
    if len(options.peers) < len(wanted):
        setting["not_installed"] = [name for name in wanted if name not in options.peers]
    print(report.environment_lines(setting), flush=True)
    runs: list[Run] = []
    if options.out:
        report.write(options.out, setting, runs)
    try:
        environment.verify(setting)
    except environment.StrawmanError as error:
        print(f"\n{error}", file=sys.stderr)
        return UNPUBLISHABLE
    summary = getattr(suite, "summary", lambda runs: {})
    budget = Budget(seconds=1.0, batch=200, one=50) if options.quick else Budget(seconds=options.seconds)
    if options.part != "frontier":
        records = suite.run_part(options, budget)
        if options.out:
            report.write_records(options.out, setting, records)
        return 0
    for name in names(options.data, options.sets, suite.QUICK_SETS if options.quick else suite.SETS):
        whole = load(options.data, name)
        for dataset in sized(whole, options.sizes):
            fresh = suite.run(dataset, options, budget)
            print("\n" + report.tables(fresh, suite.SUBJECT), flush=True)
            runs += fresh
            if options.out:
                report.write(options.out, setting, runs, summary(runs))
    if hasattr(suite, "finish") and not options.sets:
        fresh = suite.finish(runs, options, budget)
        print("\n" + report.tables(fresh, suite.SUBJECT), flush=True)
        if options.out:
            report.write(options.out, setting, runs + fresh)
    return 0


def main(arguments: Sequence[str]) -> int:
    """Parent and child share the command line."""
    if arguments and arguments[0] == "measured":
        return measured.main()
    commands = {"run": running.main, "report": page.main, "compare": regression.main, "claims": claims.main,
                "recommend": recommending.main}  # fmt: skip
    if arguments and arguments[0] in commands:
        return commands[arguments[0]](arguments[1:])
    if arguments and arguments[0] == "figures":
        return figures.main()
    if arguments and arguments[0] in WITH_EXTRAS:
        suite: int = importlib.import_module(f"benchmarks.{arguments[0]}").main(arguments[1:])
        return suite
    options = parser().parse_args(arguments)
    return measure(options) if environment.is_child() else environment.run_child(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
