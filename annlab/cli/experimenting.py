"""`annlab experiment`: which of two rankings people like better."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from annlab.cli import options as shared
from annlab.cli.output import answer, say

if TYPE_CHECKING:
    from annlab.visual.experiments import Arm, Experiment, Standing

ACTIONS = {
    "start": "start CATALOG A B begins one with two rankings, each a file of stages, or the word packaged",
    "status": "status CATALOG tells how it stands, as often as you like",
    "stop": "stop CATALOG ends it",
}


def add_to(commands: shared.Commands) -> None:
    """Make this command known."""
    experiment = shared.command(commands, "experiment", "two rankings, and which one people click more", _experiment)
    experiment.add_argument("action", choices=ACTIONS, help="; ".join(ACTIONS.values()))
    shared.add_catalog(experiment, index=False)
    experiment.add_argument("rankings", nargs="*", metavar="A B", help="of start: files as --ranking takes them")
    experiment.add_argument("--name", help="of start: what to call it; default: the names of the files. Of status: "
                            "which one; default: the latest")  # fmt: skip
    experiment.add_argument("--users", type=int, metavar="N", help="planned, both arms together; default: as many as "
                            "were shown something in the last 28 days")  # fmt: skip
    experiment.add_argument("--weights", type=float, nargs=2, default=(1.0, 1.0), metavar=("A", "B"),
                            help="how many users each arm has, relative to the other (default: 1 1)")  # fmt: skip
    experiment.add_argument("--interleave", action="store_true", help="show both rankings in one list: finds far "
                            "smaller differences, but says only which ranking is better")  # fmt: skip
    experiment.add_argument("--rate", type=float, metavar="SHARE", help="expected share of results that are clicked, "
                            "where nobody has clicked yet")  # fmt: skip
    experiment.add_argument("--showings", type=float, metavar="N", help="expected results a user is shown, likewise")
    experiment.add_argument("--plan", action="store_true", help="of start: say what could be seen, and do not begin")
    shared.add_json(experiment)


def _experiment(options: argparse.Namespace) -> int:
    """Begin an experiment with two rankings, see how it stands, or end it. People with a key are in the same arm every
    time; a running annlab serve takes it up within seconds. Before it begins, the smallest difference that it can show
    is printed."""
    from annlab.cli.serving import require
    from annlab.visual import experiments
    from annlab.visual.catalog import Catalog

    require(options.catalog)
    with Catalog.open(options.catalog) as catalog:
        if options.action == "start":
            if len(options.rankings) != 2:
                raise ValueError("say `experiment start CATALOG A B`: two files of stages, or the word packaged")
            a, b = (_arm(each) for each in options.rankings)
            given = {"users": options.users, "weights": tuple(options.weights), "interleaved": options.interleave,
                     "rate": options.rate, "showings": options.showings}  # fmt: skip
            name = options.name or f"{Path(a.label).stem}-{Path(b.label).stem}"
            planned = experiments.plan(catalog, name, a, b, **given)
            for line in _planned(planned):
                say(line)
            if not options.plan:
                planned = experiments.start(catalog, name, a, b, **given)
            answer(options, {"name": name, "users": planned.users, "smallest": planned.smallest,
                             "started": planned.started or None},
                   [f"{name} {'has begun' if planned.started else 'could begin'}"])  # fmt: skip
            return 0
        if options.rankings:
            raise ValueError(f"{options.action} takes a catalog and nothing else, not {options.rankings[0]}")
        standing = experiments.stop(catalog) if options.action == "stop" else experiments.status(catalog, options.name)
    answer(options, standing.as_dict(), _lines(standing))
    return 0


def _arm(name: str) -> "Arm":
    from annlab.visual.experiments import Arm
    from annlab.visual.reranking import PACKAGED, read_ranking

    place = PACKAGED if name == "packaged" else Path(name)
    read_ranking(place)
    return Arm(name, place.read_text(encoding="utf-8"))


def _planned(planned: "Experiment") -> Iterator[str]:
    yield (f"With {planned.users:,} users the smallest difference that is likely to show (four times in five) is "
           f"{100 * planned.smallest:.2f} percentage points of the click-through rate.")  # fmt: skip
    if planned.interleaved:
        yield "Interleaved lists show far smaller ones, but only which ranking is better."
    yield "Only people with keys take part: without, nobody can be told from anybody else."


def _lines(standing: "Standing") -> Iterator[str]:
    experiment = standing.experiment
    ended = f", ended {experiment.stopped}" if experiment.stopped else ", running"
    yield f"{experiment.name}: A is {experiment.a.label}, B is {experiment.b.label}; begun {experiment.started}{ended}"
    if experiment.interleaved:
        yield f"{standing.users[0]} of {experiment.users} users, both rankings in one list"
    else:
        yield f"{standing.users[0]} users of A and {standing.users[1]} of B, of {experiment.users} planned"
    if standing.split is not None:
        sound = "as planned" if standing.split.sound else "NOT as planned"
        yield f"the split is {sound} (p = {standing.split.p_value:.3g})"
    found, liked = standing.difference, standing.liked
    if found is not None:
        yield (f"click-through rate: A {100 * found.rate_a:.2f}%, B {100 * found.rate_b:.2f}%; B is "
               f"{100 * found.difference:+.2f} points")  # fmt: skip
        yield f"    for one look decided on before: [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"
        yield f"    however often one looks:        [{100 * found.always_low:+.2f}, {100 * found.always_high:+.2f}]"
    if liked is not None:
        yield (f"users with more clicks on A {liked.wins_a}, on B {liked.wins_b}, on neither {liked.ties}; share of B "
               f"{liked.share_b:.3f} [{liked.low:.3f}, {liked.high:.3f}], p = {liked.p_value:.3g}")  # fmt: skip
    yield standing.verdict()
