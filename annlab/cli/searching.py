"""`annlab search`: what in a catalog is like an image, or several, or fits some words."""

import argparse
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from annlab.cli import options as shared
from annlab.cli.output import answer


def add_to(commands: shared.Commands) -> None:
    """Make the command known."""
    search = shared.command(commands, "search", "what in a catalog is like an image", _search)
    shared.add_catalog(search)
    search.add_argument("like", nargs="*", metavar="ID|IMAGE", help="images of the catalog by number, or files; "
                        "several are taken together")  # fmt: skip
    options: tuple[tuple[str, type, str, str], ...] = (
        ("--text", str, "WORDS", "what the results show; tags are searched where the encoder knows no text"),
        ("--crop", str, "L,T,R,B", "only this part of the one image: left, top, right, bottom, in 0..1"),
        ("--owner", int, "USER", "only images of this user, by number"),
        ("--after", str, "DATE", "uploaded then or later: 2026-03-01 or 2026-03-01T12:00, in UTC"),
        ("--before", str, "DATE", "uploaded before"),
        ("--cutoff", float, "SCORE", "only results with at least this score, 0..1; default: the encoder's"),
        ("--cursor", str, "TEXT", "of the page before, for the next one"),
        ("--ranking", str, "FILE", "stages of re-ranking, a TOML file; default: the packaged one"),
    )
    for name, kind, metavar, help in options:
        search.add_argument(name, type=kind, metavar=metavar, help=help)
    search.add_argument("--as", dest="viewer", type=int, metavar="USER", help="find what this user may see; without "
                        "it, everything is found")  # fmt: skip
    search.add_argument("--unlike", action="append", default=[], metavar="ID|IMAGE", help="not like this; may be given "
                        "again")  # fmt: skip
    search.add_argument("--tag", action="append", default=[], metavar="WORD", help="only with it; may be given again")
    search.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="of a search of the "
                        "index, such as n_probes=8; may be given again")  # fmt: skip
    search.add_argument("-k", type=int, default=20, help="results (default: %(default)s)")
    search.add_argument("--order", choices=("relevance", "time"), default="relevance")
    search.add_argument("--exact", action="store_true", help="compare all vectors, whatever the index is")
    search.add_argument("--explain", action="store_true", help="say what each stage of the ranking did to each result")
    shared.add_encoder(search, "that of the catalog")
    shared.add_threads(search)
    shared.add_json(search)


def _search(options: argparse.Namespace) -> int:
    """Find what is like an image of the catalog or a file, like several and unlike others, or fits some words. The best
    come first, each with its distance and how likely it is relevant; what is below the cut-off is left out."""
    from annlab.visual.search import Filters, Viewer, VisualSearch

    viewer = Viewer(role="admin") if options.viewer is None else Viewer(options.viewer)
    filters = Filters(options.owner, tuple(options.tag), _moment("--after", options.after),
                      _moment("--before", options.before))  # fmt: skip
    ranking = None if options.ranking is None else Path(options.ranking)
    query = _query(options)
    with VisualSearch.open(options.catalog, index_folder=options.index_folder, encoder=options.encoder,
                           ranking=ranking, threads=options.threads, alone=False) as search:  # fmt: skip
        found = search.search(query, k=options.k, viewer=viewer, filters=filters, order=options.order,
                              cutoff=options.cutoff, cursor=options.cursor, search=shared.parameters(options.parameter),
                              exact=options.exact, explain=options.explain)  # fmt: skip
        rows = search.catalog.find(ids=[result.id for result in found.results])
    paths = {image.id: image.path for image in rows}
    results = [_described(result, paths.get(result.id)) for result in found.results]
    value = {"results": results, "cursor": found.cursor, "total": found.total, "weaker": found.weaker,
             "cutoff": found.cutoff, "timings": found.timings, "plan": found.plan, "notes": found.notes}  # fmt: skip
    answer(options, value, _lines(value))
    return 0


def _described(result: Any, path: str | None) -> dict[str, Any]:
    image = result.image
    described = {"id": result.id, "distance": result.distance, "score": result.score, "path": path,
                 "owner": image.owner_id, "tags": list(image.tags), "uploaded": image.uploaded_at.isoformat(),
                 "folded": list(result.folded)}  # fmt: skip
    return described if result.way is None else described | {"way": result.way}


def _lines(value: dict[str, Any]) -> Iterator[str]:
    for result in value["results"]:
        more = f", and {len(result['folded'])} near-duplicates" if result["folded"] else ""
        name = result["path"] or "no file"
        yield f"{result['id']:>8}  score {result['score']:.2f}  distance {result['distance']:.4f}  {name}{more}"
        yield from (f"{'':10}{step}" for step in result.get("way", ()))
    yield (f"{len(value['results'])} of {value['total']} within the cut-off at score {value['cutoff']:.2f}; "
           f"{value['timings']['total']:.1f} ms")  # fmt: skip
    yield from value["notes"]
    if value["cursor"]:
        yield f"more with --cursor {value['cursor']}"


def _query(options: argparse.Namespace) -> Any:
    """The query that the options describe."""
    from annlab.visual.search import ByText, Crop, Several

    like: list[Any] = [_image(one) for one in options.like]
    if options.crop is not None:
        if len(like) != 1:
            raise ValueError(f"--crop is of one image, and {len(like)} are named")
        like = [Crop(like[0], _box(options.crop))]
    if options.text is not None:
        like.append(ByText(options.text))
    if not like:
        raise ValueError("what shall the results be like? Name an image, by number or file, or say --text WORDS")
    unlike = tuple(_image(one) for one in options.unlike)
    return like[0] if len(like) == 1 and not unlike else Several(tuple(like), unlike)


def _image(named: str) -> Any:
    """An image by number, or a file: a name of digits alone is a number unless there is such a file."""
    from annlab.visual.search import ById, ByUpload

    path = Path(named)
    if named.isascii() and named.isdecimal() and not path.is_file():
        return ById(int(named))
    return ByUpload(path.read_bytes())


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        left, top, right, bottom = (float(edge) for edge in text.split(","))
    except ValueError:
        raise ValueError(f"--crop is four numbers such as 0.1,0.2,0.6,0.9, not {text!r}") from None
    return left, top, right, bottom


def _moment(option: str, text: str | None) -> datetime.datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{option} is a date such as 2026-03-01 or 2026-03-01T12:00, not {text!r}") from None
    return moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment
