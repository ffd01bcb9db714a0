"""Data sets by name: found in a local folder, or downloaded once.

``load("sift-128-euclidean")`` looks for ``sift-128-euclidean.hdf5`` in the folder it is given, in the one that the
environment variable ANNLAB_DATA names, and in the cache ($ANNLAB_CACHE, else ~/.cache/annlab); then it downloads. A
file of your own in one of these folders is found by its name as well.

The publisher states no checksums. So the SHA-256 of a download is recorded beside it (``.sha256``) and compared
whenever the file is loaded: that finds later damage, not a wrong first download, which is trusted as far as HTTPS goes.
A download goes to a temporary file and is renamed when complete: never is there half a file under the real name.
"""

import difflib
import hashlib
import http.client
import os
import re
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import BinaryIO

from annlab.datasets import fashion
from annlab.datasets.dataset import Dataset
from annlab.datasets.formats import load_hdf5

BASE_URL = "https://ann-benchmarks.com"
# Sets of ann-benchmarks of dense vectors with a metric that annlab has.
DOWNLOADABLE = (
    "deep-image-96-angular",
    "fashion-mnist-784-euclidean",
    "gist-960-euclidean",
    "glove-25-angular",
    "glove-50-angular",
    "glove-100-angular",
    "glove-200-angular",
    "mnist-784-euclidean",
    "nytimes-256-angular",
    "sift-128-euclidean",
)
TIMEOUT_SECONDS = 30
CHUNK_BYTES = 1 << 20


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name : str
        "fashion-mnist-test" (packaged, no download), a set of ann-benchmarks such as "sift-128-euclidean", or the name
        without ".hdf5" of a file in one of the folders.
    data_dir : str or path, optional
        Folder to look in first, then $ANNLAB_DATA, then the cache.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If the name is unknown, or the file is damaged or not the one that was downloaded.
    ConnectionError
        If it has to be downloaded and cannot be; the message says what to put where by hand.

    Examples
    --------
    >>> load("fashion-mnist-test")
    Dataset('fashion-mnist-test': 9000 x 784 float32, 1000 queries, l2, labels, images)
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(f"{name!r} is not the name of a data set: letters, digits, '.', '_' and '-' only")
    if name == fashion.NAME:
        return fashion.fashion_mnist_split()
    folders = [
        Path(folder).absolute() for folder in (data_dir, os.environ.get("ANNLAB_DATA"), cache_folder()) if folder
    ]
    path = next((folder / f"{name}.hdf5" for folder in folders if (folder / f"{name}.hdf5").is_file()), None)
    if path is None:
        if name not in DOWNLOADABLE:
            raise ValueError(_unknown(name, folders))
        path = _download(name, folders)
    _verify(path)
    return load_hdf5(path)


def cache_folder() -> Path:
    """Return the folder of downloads: $ANNLAB_CACHE, else ~/.cache/annlab."""
    return Path(os.environ.get("ANNLAB_CACHE") or Path.home() / ".cache" / "annlab")


def _unknown(name: str, folders: list[Path]) -> str:
    """Compose the message for a name that is neither known nor found."""
    found = sorted(path.stem for folder in folders for path in folder.glob("*.hdf5"))
    known = [fashion.NAME, *found, *DOWNLOADABLE]
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    searched = ", ".join(str(folder) for folder in folders)
    return (
        f"no data set {name!r}: there is no {name}.hdf5 in {searched}, and it is none that can be downloaded.{hint} "
        f"Known: {', '.join(dict.fromkeys(known))}"
    )


def _download(name: str, folders: list[Path]) -> Path:
    """Fetch a file into the cache, record its checksum, and return its path."""
    url, path = f"{BASE_URL}/{name}.hdf5", cache_folder() / f"{name}.hdf5"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            checksum = _fetch(url, file)
        # The checksum first: a file under the real name always has one.
        path.with_suffix(".sha256").write_text(f"{checksum}  {path.name}\n")
        os.replace(temporary, path)
    except (OSError, http.client.HTTPException) as error:  # URLError, HTTPError and timeouts are OSErrors
        raise ConnectionError(
            f"could not download {url} ({error}). Either fetch it by other means and put it into "
            f"{' or '.join(str(folder) for folder in folders)}, or use load({fashion.NAME!r}), which is part of annlab "
            f"and needs no download."
        ) from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


def _fetch(url: str, file: BinaryIO) -> str:
    """Copy what the address serves into an open file, with progress on stderr; return its SHA-256."""
    request = urllib.request.Request(url, headers={"User-Agent": "annlab"})
    digest, received, shown = hashlib.sha256(), 0, -1
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        expected = int(response.headers.get("Content-Length") or 0)
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
            received += len(chunk)
            step = 20 * received // expected if expected else received // (50 * CHUNK_BYTES)
            if step > shown:
                shown, of = step, f" of {expected / 1e6:.1f}" if expected else ""
                print(f"{url}: {received / 1e6:.1f}{of} MB", file=sys.stderr, flush=True)
    if expected and received != expected:
        raise OSError(f"it ended after {received} of {expected} bytes")
    return digest.hexdigest()


def _verify(path: Path) -> None:
    """Compare a file with the checksum recorded beside it, if there is one."""
    record = path.with_suffix(".sha256")
    if not record.is_file():
        return
    recorded = record.read_text()[:64]
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != recorded:
        raise ValueError(
            f"{path} has SHA-256 {actual}, but {record.name} beside it records {recorded}: the file was damaged or "
            f"replaced since. Delete both to download it again."
        )
