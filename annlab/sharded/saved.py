"""A sharded index in a folder: a file for each shard, named after its content, and last of all "saved", which names
these. A file that is truncated, exchanged or of another time is refused by its name."""

import hashlib
import json
from typing import Any, NamedTuple

from annlab.core.storage import CorruptIndexError
from annlab.sharded.cells import KIND
from annlab.sharded.store import FolderStore, Store, get_content, put_content

_NAME = "saved"


class Saved(NamedTuple):
    """What was saved: the kind and parameters of the index, the content of each shard, and the file of the cells, empty
    where rows are placed by hash."""

    kind: str
    parameters: dict[str, Any]
    parts: list[bytes]
    cells: bytes = b""


def write(path: Any, saved: Saved) -> None:
    """Write it into a new or empty folder."""
    store: Store = FolderStore(path)
    if store.list(""):
        raise FileExistsError(f"{path} is not empty: save a sharded index into a folder of its own")
    keys = [put_content(store, part) for part in saved.parts]
    cells = put_content(store, saved.cells, KIND) if saved.cells else ""
    fields = {"kind": saved.kind, "parameters": saved.parameters, "shards": keys, "cells": cells}
    body = json.dumps(fields, sort_keys=True)
    described = {"index": body, "sha256": hashlib.sha256(body.encode()).hexdigest()}
    store.put_if_absent(_NAME, json.dumps(described).encode())


def read(path: Any) -> Saved:
    """What a folder holds, all of it checked.

    Raises
    ------
    CorruptIndexError
        A file is missing, or not the one that was written; the message names it.
    """
    store: Store = FolderStore(path)
    content = store.get(_NAME)
    if content is None:
        raise CorruptIndexError(f"{path} holds no sharded index: there is no file {_NAME!r} in it")
    try:
        outer = json.loads(content)
        if hashlib.sha256(outer["index"].encode()).hexdigest() != outer["sha256"]:
            raise ValueError("it does not match its checksum")
        described = json.loads(outer["index"])
        keys, kind, parameters = list(described["shards"]), str(described["kind"]), dict(described["parameters"])
        cells = str(described.get("cells", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptIndexError(f"{path}/{_NAME} is damaged ({error}): restore a copy") from None
    parts = [get_content(store, key) for key in keys]
    return Saved(kind, parameters, parts, get_content(store, cells) if cells else b"")
