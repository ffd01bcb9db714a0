"""ShardedIndex: one index over many processes and machines. The head of the package says how."""

import json
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from annlab.common import validation
from annlab.core.attributes import BOOL, INT, STRING, Attribute, as_columns, of_one_kind
from annlab.core.strings import Strings
from annlab.durable.operations import request_digest
from annlab.index import Index
from annlab.sharded import saved
from annlab.sharded.client import Changes, Client
from annlab.sharded.engines import Engine, InlineEngine
from annlab.sharded.journal import SEAL, empty_index, opened
from annlab.sharded.manifest import ACKS, Entry, Manifest, Manifests
from annlab.sharded.origins import part_of
from annlab.sharded.placing import PLACEMENTS, Placing
from annlab.sharded.replica import SNAPSHOT_AFTER, Change
from annlab.sharded.routing import Routes
from annlab.sharded.store import FolderStore, MemoryStore, Store, get_content, put_content


class ShardedIndex(Placing):
    """One index in several shards, each of them in several replicas.

    Parameters
    ----------
    make_index : Index, or function that makes one, optional
        An empty index: of what kind and with which parameters each shard is. Needed to begin a new one.
    n_shards, n_replicas : int
        Of a new one. An existing one knows its own.
    placement : {"hash", "cells"}, optional
        Of a new one: by a hash of the id, so that every search asks every shard; or by cells of k-means, which `fit`
        learns, so that a search asks the shards whose cells can matter.
    engine : {"inline", "ray"}
        Where replicas run: in this process, or as detached actors of Ray, which live on when this process ends.
    path : path, optional
        A folder for the manifest, the logs and the snapshots, which all machines see. Without it all is in memory
        ("inline" only).
    ack : {"one", "majority", "all"}
        How many logs hold a write before it is acknowledged, at least. It also decides what can fail: with "all" any
        one replica can take over as the writer, but all must be there for a write; with "one" the reverse.
    timeout : float
        Seconds that a read or write may take.
    hedge_after : float, optional
        Seconds after which a read asks a second replica too. If not given, what 95 of 100 answers took.
    snapshot_after : int
        Operations after which a replica writes a snapshot and cuts its log.

    Examples
    --------
    >>> import annlab, numpy as np
    >>> from annlab.sharded import ShardedIndex
    >>> vectors = np.random.default_rng(0).random((300, 8), dtype=np.float32)
    >>> index = ShardedIndex(annlab.ExactIndex(), n_shards=3, n_replicas=2).fit(vectors)
    >>> one = annlab.ExactIndex().fit(vectors)
    >>> (index.search(vectors, k=5).ids == one.search(vectors, k=5).ids).all()
    np.True_
    """

    @validation.checks_names
    def __init__(self, make_index: Index | Callable[[], Index] | None = None, n_shards: int = 1, n_replicas: int = 1,
                 *, placement: str | None = None, engine: str = "inline", path: str | os.PathLike[str] | None = None,
                 ack: str = "majority", timeout: float = 10.0, hedge_after: float | None = None,
                 snapshot_after: int = SNAPSHOT_AFTER) -> None:  # fmt: skip
        validation.as_choice("engine", engine, ("inline", "ray"))
        self.timeout = validation.as_number("timeout", timeout, 0.0)
        if engine == "ray" and path is None:
            raise ValueError('engine="ray" needs path=, a folder that all processes see')
        after = validation.as_integer("snapshot_after", snapshot_after, 1)
        hedge_after = None if hedge_after is None else validation.as_number("hedge_after", hedge_after, 0.0)
        self._store: Store = MemoryStore() if path is None else FolderStore(path)
        manifests, folder = Manifests(self._store), None if path is None else Path(path) / "replicas"
        manifest = manifests.current()
        given = make_index if isinstance(make_index, Index) or make_index is None else make_index()
        if manifest is None:
            how = validation.as_choice("placement", placement or "hash", PLACEMENTS)
            manifest = _first(given, n_shards, n_replicas, validation.as_choice("ack", ack, ACKS), how)
            manifests.publish(manifest)
        else:
            _check_agreement(given, placement, manifest)
        self._empty = empty_index(manifest.kind, json.loads(manifest.parameters))
        self._facts, self._write_lock = None, threading.RLock()
        self._engine: Engine
        if engine == "inline":
            self._engine = InlineEngine(self._store, folder, after)
        else:
            from annlab.sharded.ray_engine import RayEngine

            self._engine = RayEngine(Path(os.path.abspath(path or "")), after)
        self._client = Client(self._engine.world, manifests, hedge_after=hedge_after)
        self._routes = Routes(self._client)
        try:
            self._engine.start(manifest)
        except BaseException:
            self._engine.close()
            raise
        # What was acknowledged before this process began, it reads too: a replica answers once it knows what that is.
        for entry in manifest.serving:
            self._client.token[entry.name] = 0

    def close(self) -> None:
        """Let go of it. Nothing needs to be written: everything acknowledged is on the disks already."""
        self._engine.close()

    def stop(self) -> None:
        """End all replicas, also those that would live on, and close this. What they wrote stays where it is."""
        manifest = self._manifest
        self._engine.stop(name for entry in manifest.entries for name in entry.replicas)
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- writing

    @property
    def token(self) -> dict[str, int]:
        """How far this object's writes have come, shard by shard: give it to other readers as `at_least=`."""
        return dict(self._client.token)

    def fit(self, vectors: Any, ids: Any = None, *, attributes: Mapping[str, Any] | None = None, ack: str = "one",
            timeout: float | None = None, **how: Any) -> Self:  # fmt: skip
        """Replace the content, as `Index.fit` does: learn once, from all vectors, and share out rows and what was
        learned. `how` goes to the `fit` of the index. Where rows are placed by cells, these are learned too, and the
        old content is read until the new shards take its place, which begin from files: `ack` says nothing then."""
        whole = empty_index(self.kind, self.parameters | {"dim": self._empty.parameters.get("dim")})
        whole.fit(vectors, ids, attributes=attributes, **how)
        with self._write_lock:
            if self.placement == "cells":
                self._fit_by_cells(whole, self._seconds(timeout))
                return self
            own, op_id = whole.ids, secrets.token_hex(16)

            def changes(manifest: Manifest) -> dict[str, Change]:
                places = manifest.split(own).items()
                return {name: self._fit_to(part_of(whole, own[place]), op_id) for name, place in places}

            self._write(changes, ack, timeout)
        return self

    def add(self, vectors: Any, ids: Any = None, *, attributes: Mapping[str, Any] | None = None,
            on_duplicate: str = "raise", op_id: str | None = None, ack: str = "one",
            timeout: float | None = None) -> np.ndarray:  # fmt: skip
        """Add vectors, as `Index.add` does, and

        op_id : str, optional
            A name of this write, of the caller's choice: the same write under the same name is done once, however often
            it is repeated. It needs `ids`.
        ack : {"one", "majority", "all"}
            How many logs of each shard hold it when this returns; never fewer than the index was made for.
        timeout : float, optional
            Seconds, in place of those of the index.

        Raises
        ------
        ValueError, TypeError
            If anything handed in is unusable; nothing is added then.
        UnacknowledgedError
            Some shards did not acknowledge it in time; the message names them. Repeat it with the same op_id.
        """
        validation.as_choice("on_duplicate", on_duplicate, ("raise", "replace"))
        if ids is None and op_id is not None:
            raise ValueError("add with an op_id needs ids: without them a retry could mean other vectors")
        with self._write_lock:
            known = self._known(anew=True)
            rows = self._rows(vectors)
            numbers = np.arange(known.largest_id + 1, known.largest_id + 1 + len(rows)) if ids is None else (
                validation.as_ids(ids, length=len(rows)))  # fmt: skip
            validation.no_duplicates(numbers)
            columns = self._columns(attributes, len(rows))
            options = {"on_duplicate": on_duplicate}
            self._change("add", numbers, rows, columns, options, op_id, ack, timeout,
                         refuse="present" if on_duplicate == "raise" and ids is not None else None)  # fmt: skip
        return numbers

    def update(self, ids: Any, vectors: Any, *, attributes: Mapping[str, Any] | None = None, op_id: str | None = None,
               ack: str = "one", timeout: float | None = None) -> None:  # fmt: skip
        """Give existing ids new vectors, as `Index.update` does; more as for `add`. KeyError for an id that is not
        there."""
        with self._write_lock:
            self._known(anew=True)
            numbers = validation.as_ids(ids, ordered=True)
            rows = self._rows(vectors)
            numbers = validation.as_ids(numbers, length=len(rows))
            validation.no_duplicates(numbers)
            columns = self._columns(attributes, len(rows))
            self._change("update", numbers, rows, columns, {}, op_id, ack, timeout, refuse="absent")

    def set_attributes(self, attributes: Mapping[str, Any], ids: Any = None, *, op_id: str | None = None,
                       ack: str = "one", timeout: float | None = None) -> None:  # fmt: skip
        """Give vectors other values of some attributes, or new ones, as `Index.set_attributes` does; more as for
        `add`."""
        with self._write_lock:
            self._known(anew=True)
            numbers = self.ids if ids is None else validation.as_ids(ids, ordered=True)
            validation.no_duplicates(numbers)
            columns = self._columns(attributes, len(numbers))
            self._change("attributes", numbers, None, columns, {}, op_id, ack, timeout, refuse="absent")

    def remove(self, ids: Any, missing: str = "raise", *, op_id: str | None = None, ack: str = "one",
               timeout: float | None = None) -> int:  # fmt: skip
        """Remove vectors by id, as `Index.remove` does; more as for `add`. Returns how many there were."""
        validation.as_choice("missing", missing, ("raise", "ignore"))
        numbers = np.unique(validation.as_ids(ids))
        with self._write_lock:
            refuse = "absent" if missing == "raise" else None
            return self._change("remove", numbers, None, {}, {"missing": missing}, op_id, ack, timeout, refuse=refuse)

    def _rows(self, vectors: Any) -> np.ndarray:
        known = self._known()
        dtype = None if known.dtype is None else np.dtype(known.dtype)
        rows = validation.as_vectors(vectors, dim=known.dim, dtype=dtype, metric=self.metric)
        return rows

    def _columns(self, attributes: Mapping[str, Any] | None, n: int) -> dict[str, Attribute]:
        """Attributes of the kinds that the other shards hold, so that no two shards differ in them."""
        columns, known = as_columns(attributes or {}, n), self._known().columns
        for name, new in columns.items():
            if name in known and len(known[name]) and known[name].kind != new.kind:
                columns[name] = of_one_kind(name, _one_value(known[name].kind), new)[1]
        return columns

    def _change(self, kind: str, ids: np.ndarray, rows: np.ndarray | None, columns: Mapping[str, Attribute],
                options: Mapping[str, Any], op_id: str | None, ack: str, timeout: float | None, *,
                refuse: str | None) -> int:  # fmt: skip
        """One write to all shards that it concerns; nothing is done if it is to be refused."""
        validation.as_choice("ack", ack, ACKS)
        if op_id is not None and (not isinstance(op_id, str) or not 0 < len(op_id) <= 255 or "\0" in op_id):
            raise ValueError(f"op_id must be a string of 1 to 255 characters, not {op_id!r}")
        if op_id == SEAL:
            raise ValueError(f"op_id {op_id!r} is the name of an operation of annlab's own: give another one")
        digest = request_digest(kind, ids, rows, columns, options).hex()
        name = op_id or secrets.token_hex(16)
        if kind == "add" and self.placement == "cells" and not self._manifest.cells:
            raise ValueError('placement="cells" learns its cells in fit: fit this index before you add to it')
        if refuse is not None and (self.n_shards > 1 or kind != "add"):
            self._refuse(refuse, ids, op_id)

        until = self._engine.world.now() + self._seconds(timeout)

        async def changes(manifest: Manifest) -> dict[str, Change]:
            own = {}
            for shard, place in (await self._places(manifest, ids, rows, op_id is not None, self._left(until))).items():
                if len(place):
                    values = {column: each[place] for column, each in columns.items()}
                    own_rows = None if rows is None else rows[place]
                    own[shard] = Change(kind, ids[place], own_rows, values, options, name, digest)
            return own

        return self._write(changes, ack, timeout)

    def _refuse(self, what: str, ids: np.ndarray, op_id: str | None) -> None:
        """Raise if ids are present, or absent, before any shard has written; not for a retry."""
        places: dict[str, np.ndarray] = {}

        def by_shard(manifest: Manifest) -> dict[str, tuple[Any, ...]]:
            places.clear()
            places.update(self._may_be_at(manifest, ids))
            return {shard: (op_id, ids[place]) for shard, place in places.items()}

        answers = self._engine.run(self._client.at_writers("known", by_shard, self.timeout))
        if any(done for done, _ in answers.values()):
            return
        found = np.zeros(len(ids), bool)
        for shard, (_, there) in answers.items():
            found[places[shard]] |= there
        wrong = ids[found if what == "present" else ~found]
        if len(wrong) and what == "present":
            raise ValueError(f"id {int(wrong[0])} is already in the index ({len(wrong)} of {len(ids)} are); "
                             'use update, or add(..., on_duplicate="replace")')  # fmt: skip
        if len(wrong):
            raise KeyError(f"id {int(wrong[0])} is not in the index ({len(wrong)} of {len(ids)} are not)")

    def _write(self, changes: Changes, ack: str, timeout: float | None) -> int:
        """Write to several shards at once; the sum of the results."""
        validation.as_choice("ack", ack, ACKS)
        try:
            result: int = self._engine.run(self._client.write_all(changes, ack, self._seconds(timeout)))
        finally:
            self._facts = None
        return result

    # ---- files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the content into a new or empty folder: a file for each shard, named after its content, and then a
        manifest that names these."""
        parts = self._answers("content", ())[0]
        contents = [parts[entry.name] for entry in self._manifest.shards]
        cells = self._manifest.cells and get_content(self._store, self._manifest.cells)
        saved.write(path, saved.Saved(self.kind, json.loads(self._manifest.parameters), contents, cells or b""))

    @classmethod
    def load(cls, path: str | os.PathLike[str], /, **how: Any) -> "ShardedIndex":
        """An index from what `save` wrote; `how` as for the class (engine, path, ack, n_replicas, ...).

        Raises
        ------
        CorruptIndexError
            A file is missing, damaged, truncated, or not the one that belongs there; the message names it.
        """
        kind, parameters, parts, cells = saved.read(path)
        placement = "cells" if cells else "hash"
        index = cls(empty_index(kind, parameters), n_shards=len(parts), placement=placement, **how)
        if cells:
            index._renew_from(parts, cells)
            return index
        op_id = secrets.token_hex(16)
        changes = {entry.name: index._fit_to(opened(part), op_id)
                   for entry, part in zip(index._manifest.shards, parts, strict=True)}  # fmt: skip
        index._write(lambda manifest: changes, "one", None)
        return index

    def _fit_to(self, part: Index, op_id: str) -> Change:
        """The write that gives a shard other content, which is put into the store."""
        options = {"key": put_content(self._store, part.to_bytes()), "hash": part.content_hash()}
        return Change("fit", None, None, {}, options, op_id, "fit")

    def __repr__(self) -> str:
        shards = self._manifest.shards
        return f"<ShardedIndex of {len(shards)} x {len(shards[0].replicas)} {self.kind}: {len(self)} vectors>"


def _first(given: Index | None, n_shards: int, n_replicas: int, ack: str, placement: str) -> Manifest:
    if given is None:
        raise FileNotFoundError("there is no sharded index yet; to begin one, give make_index, an empty Index")
    if len(given):
        raise ValueError(f"make_index holds {len(given)} vectors: give an empty one, and fit the ShardedIndex")
    n = validation.as_integer("n_shards", n_shards, 1)
    m = validation.as_integer("n_replicas", n_replicas, 1)
    shards = tuple(Entry(str(i), tuple(f"{i}-{j}" for j in range(m)), f"{i}-0", 1) for i in range(n))
    parameters = json.dumps(given.parameters, sort_keys=True, allow_nan=False)
    return Manifest(1, type(given).__name__, parameters, ack, shards, placement=placement)


def _check_agreement(given: Index | None, placement: str | None, manifest: Manifest) -> None:
    if placement not in (None, manifest.placement):
        raise ValueError(f"rows are placed by {manifest.placement}, not by {placement}: give that, or None")
    if given is None:
        return
    if type(given).__name__ != manifest.kind:
        raise ValueError(f"shards are {manifest.kind}, not {type(given).__name__}: give that, or None")
    stored, asked = json.loads(manifest.parameters), given.parameters
    for name in sorted(stored.keys() | asked.keys()):
        if stored.get(name) != asked.get(name):
            raise ValueError(f"shards have {name}={stored.get(name)!r}, not {asked.get(name)!r}: give that, or None")


def _one_value(kind: str) -> Attribute:
    """An attribute of one row, to compare kinds with."""
    if kind == STRING:
        return Attribute.of(np.zeros(1, np.int32), None, Strings([""]))
    return Attribute.of(np.zeros(1, {BOOL: np.bool_, INT: np.int64}.get(kind, np.float64)))
