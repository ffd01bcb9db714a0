"""A PostgreSQL server of the tests' own, in a temporary folder, reached through a socket in it.

It refuses to run as root: then it runs as the user `postgres`, whom Debian's package makes.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

_numbers = itertools.count()


def programs():
    """The folder of initdb and pg_ctl, the newest there is; None if there is none."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    found = shutil.which("initdb")
    candidates = [*reversed(folders), *([Path(found).resolve().parent] if found else [])]
    return next((path for path in candidates if (path / "initdb").exists() and (path / "pg_ctl").exists()), None)


@contextlib.contextmanager
def server():
    """The address of a running server, up to the name of a database; skips the test where it is not installed."""
    pytest.importorskip("psycopg", reason='PostgreSQL needs psycopg: pip install "annlab[postgres]"')
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    as_whom = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as place:
        if as_whom:
            try:
                shutil.chown(place, "postgres", "postgres")
            except LookupError:
                pytest.skip("PostgreSQL does not run as root, and there is no user `postgres`")
        data = Path(place) / "data"

        def run(program, *arguments):
            done = subprocess.run([folder / program, *arguments], cwd=place, **as_whom, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
            assert done.returncode == 0, done.stdout

        run(
            "initdb", "--pgdata", str(data), "--username", "tests", "--auth", "trust", "--encoding", "UTF8", "--no-sync"
        )
        options = f"-c listen_addresses='' -c unix_socket_directories={place} -c shared_buffers=16MB -c fsync=off"
        run("pg_ctl", "--pgdata", str(data), "--log", str(Path(place) / "log"), "--options", options, "--wait", "start")
        try:
            yield f"postgresql://tests@/{{}}?host={place}"
        finally:
            run("pg_ctl", "--pgdata", str(data), "--mode", "immediate", "--wait", "stop")


def new_database(address):
    """The address of a fresh database on a server."""
    import psycopg

    name = f"test{os.getpid()}x{next(_numbers)}"
    with psycopg.connect(address.format("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return address.format(name)


@pytest.fixture(scope="session")
def postgres():
    """The address of a server for the whole run."""
    with server() as address:
        yield address
