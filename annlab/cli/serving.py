"""`annlab serve` and `keys`: a catalog is searched over HTTP and on a page, by whoever has a key."""

import argparse
import ipaddress
import os
from collections.abc import Iterator
from typing import Any

from annlab.cli import options as shared
from annlab.cli.output import answer, say

ACTIONS = {
    "add": "add CATALOG USER makes a key and shows it once",
    "list": "list CATALOG lists them",
    "revoke": "revoke CATALOG DIGITS takes back the one whose hash begins so",
}


def add_to(commands: shared.Commands) -> None:
    """Make these commands known."""
    serve = shared.command(commands, "serve", "search over HTTP, and a page to use it on", _serve)
    shared.add_catalog(serve)
    shared.add_encoder(serve, "that of the catalog")
    options: tuple[tuple[str, str | int | float | None, str, str], ...] = (
        ("--host", "127.0.0.1", "ADDRESS", "to listen on; the default is for this machine alone"),
        ("--port", 8000, "N", "0 takes a free one (default: %(default)s)"),
        ("--uploads", None, "FOLDER", "for pictures that come by upload; default: beside a catalog that is a file, "
         "with the suffix .uploads"),
        ("--ranking", None, "FILE", "stages of re-ranking, a TOML file"),
        ("--most-megabytes", 20.0, "N", "of an upload (default: %(default)g)"),
        ("--explore", 0.0, "SHARE", "of first pages that show one picture from farther behind, so that clicks can "
         "teach; 0.05 is a good beginning (default: %(default)g)"),
        ("--per-second", 100.0, "N", "requests of one person, in the long run (default: %(default)g)"),
    )  # fmt: skip
    for name, value, metavar, help in options:
        serve.add_argument(name, default=value, type=str if value is None else type(value), metavar=metavar, help=help)
    serve.add_argument("--host-name", action="append", default=[], metavar="NAME",
                       help="by which it is called, besides localhost; may be given again; * is any")  # fmt: skip
    serve.add_argument("--keys", action="store_true",
                       help="ask for keys (annlab keys add); always so where other machines are let in")  # fmt: skip
    shared.add_threads(serve)

    keys = shared.command(commands, "keys", "who may use the service", _keys)
    keys.add_argument("action", choices=ACTIONS, help="; ".join(ACTIONS.values()))
    shared.add_catalog(keys, index=False)
    keys.add_argument("operand", nargs="?", metavar="USER|DIGITS")
    keys.add_argument("--role", choices=("reader", "writer", "admin"), default="reader",
                      help="of a new key: a reader searches, a writer adds and judges, an admin sees all")  # fmt: skip
    shared.add_json(keys)


def _serve(options: argparse.Namespace) -> int:
    """Serve a catalog: the page, and the same for programs. Ctrl-C or SIGTERM ends it, after what was begun."""
    from pathlib import Path

    from annlab.visual.search import VisualSearch
    from annlab.visual.service.app import create_app
    from annlab.visual.service.keys import list_keys
    from annlab.visual.service.server import run
    from annlab.visual.service.settings import Settings, uploads_of

    require(options.catalog)
    away = not _is_this_machine(options.host)
    names = ("127.0.0.1", "localhost", "[::1]", *options.host_name)
    if away and not options.host_name:
        raise ValueError(f"--host {options.host} lets other machines in: say --host-name, the name that they will use")
    settings = Settings(
        Path(options.uploads) if options.uploads else uploads_of(options.catalog), keys=options.keys or away,
        hosts=names, most_bytes=int(options.most_megabytes * 2**20), per_second=options.per_second,
        burst=4 * options.per_second, explore=options.explore,
    )  # fmt: skip
    ranking = Path(options.ranking) if options.ranking else None
    with VisualSearch.open(options.catalog, index_folder=options.index_folder, encoder=options.encoder,
                           ranking=ranking, threads=options.threads) as search:  # fmt: skip
        if settings.keys and not list_keys(search.catalog):
            raise ValueError(f"nobody has a key yet: annlab keys add {options.catalog} USER --role admin")

        def ready(port: int) -> None:
            host = f"[{options.host}]" if ":" in options.host else options.host
            print(f"http://{host}:{port}", flush=True)
            say("Ctrl-C ends it.")

        app = create_app(search, settings=settings)
        say("Compiling what is not compiled yet; the first time this takes a while.")
        app.state.service.warm_up()
        run(app, host=options.host, port=options.port,
            header_seconds=settings.header_seconds, ready=ready)  # fmt: skip
    return 0


def require(catalog: str) -> None:
    """Raise unless there is such a catalog."""
    if "://" not in catalog and not os.path.isfile(catalog):
        raise FileNotFoundError(f"there is no catalog {catalog}: annlab index FOLDER --into {catalog} makes one")


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _keys(options: argparse.Namespace) -> int:
    """Make a key for somebody, list the keys there are, or take one back. A key is shown once: the catalog keeps its
    hash alone."""
    from annlab.visual.catalog import Catalog
    from annlab.visual.service.keys import add_key, list_keys, revoke_key

    if (options.action == "list") != (options.operand is None):
        raise ValueError("say `keys add CATALOG USER`, `keys list CATALOG` or `keys revoke CATALOG DIGITS`")
    require(options.catalog)
    with Catalog.open(options.catalog) as catalog:
        if options.action == "add":
            key = add_key(catalog, options.operand, options.role)
            answer(options, {"key": key, "user": options.operand, "role": options.role}, [key])
        elif options.action == "list":
            keys = list_keys(catalog)
            answer(options, {"keys": keys}, _lines(keys))
        else:
            answer(options, {"revoked": revoke_key(catalog, options.operand)}, ["done"])
    return 0


def _lines(keys: list[dict[str, Any]]) -> Iterator[str]:
    for key in keys:
        yield f"{key['key']}  user {key['user']}  {key['role']}  since {key['made']}"
