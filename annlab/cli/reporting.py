"""`annlab report`: how a catalog is doing, on one page."""

import argparse
from pathlib import Path

from annlab.cli import options as shared
from annlab.cli.output import answer, say


def add_to(commands: shared.Commands) -> None:
    """Make this command known."""
    report = shared.command(commands, "report", "clicks, offline measures, cost: one page", _report)
    shared.add_catalog(report)
    report.add_argument("--out", required=True, metavar="FILE.html", help="where the page goes")
    report.add_argument("--overwrite", action="store_true", help="replace FILE.html")
    report.add_argument("--queries", type=int, default=200, metavar="N",
                        help="searches that are timed (default: %(default)s)")  # fmt: skip
    report.add_argument("--note", default="", help="a sentence at the top of the page")
    shared.add_json(report)


def _report(options: argparse.Namespace) -> int:
    """Write a page that opens without a network: click-through rates by position and day, clicks over expected clicks,
    offline measures from judgements and clicks, what the encoder and what the index loses, coverage, duplicates,
    failures, latency and memory. The index is read as it is stored at this moment, whoever serves it."""
    from annlab.encoders.outputs import refuse_existing, refuse_inputs, write_text
    from annlab.visual.pair import files_of
    from annlab.visual.reporting.numbers import measure
    from annlab.visual.reporting.page import render
    from annlab.visual.search import VisualSearch

    out = Path(options.out)
    refuse_inputs([out], files_of(options.catalog), options.catalog)
    refuse_existing([out], options.overwrite)
    if options.queries < 0:
        raise ValueError(f"--queries is a number of searches, not {options.queries}")
    with VisualSearch.open(options.catalog, index_folder=options.index_folder, alone=False) as search:
        say("measuring; the first search compiles what is not compiled yet")
        numbers = measure(search, queries=options.queries)
        name = options.catalog.rpartition("/")[2] if "://" in options.catalog else Path(options.catalog).name
        page = render(numbers, search, name, note=options.note)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)
    answer(options, {"out": options.out, "bytes": len(page.encode())}, [f"{options.out}: {len(page.encode()):,} bytes"])
    return 0
