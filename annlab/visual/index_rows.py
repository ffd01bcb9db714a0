"""The indexes of a catalog: their logs are in its database, and one setting spreads all of them over shards."""

import json
import os
from pathlib import Path
from typing import Any

from sqlalchemy import insert, inspect, select

from annlab.common import validation
from annlab.durable import DurableIndex, log, stored
from annlab.index import Index
from annlab.visual import schema
from annlab.visual.encoder_rows import CatalogError, Encoders

_SHARDING = "sharding"


class Indexes(Encoders):
    """The part of `Catalog` that opens and removes indexes."""

    def index(self, index: Index | None, folder: str | os.PathLike[str], *, name: str | None = None,
              **options: Any) -> DurableIndex:  # fmt: skip
        """A durable index whose log is in this catalog's database, so that rows and vectors commit together: that of
        the current encoder, unless a name says otherwise. Its vectors are in shards where `spread` has said so."""
        name, sharding = name or self.index_name(), self.sharding()
        if sharding is None:
            return DurableIndex(index, folder, database=self.database, name=name, **options)
        from annlab.visual.spread import SpreadIndex

        return SpreadIndex(index, folder, database=self.database, name=name, sharding=sharding)

    def spread(self, n_shards: int, n_replicas: int = 1, *, engine: str = "inline", ack: str = "majority") -> None:
        """Let the vectors of this catalog be in a sharded index (annlab/sharded), from the first one on.

        Raises
        ------
        CatalogError
            It has an index already, which is not one of that kind.
        """
        sharding = {"n_shards": validation.as_integer("n_shards", n_shards, 1),
                    "n_replicas": validation.as_integer("n_replicas", n_replicas, 1),
                    "engine": validation.as_choice("engine", engine, ("inline", "ray")),
                    "ack": validation.as_choice("ack", ack, ("one", "majority", "all"))}  # fmt: skip
        known = self.sharding()
        if known == sharding:
            return
        if known is not None or self.index_names():
            there = "an index of its own" if known is None else f"one in shards ({known})"
            raise CatalogError(f"{self.database.where} has {there} already: shards are chosen before the first image")
        with self.writing() as connection:
            connection.execute(insert(schema.settings), {"name": _SHARDING, "value": json.dumps(sharding)})

    def sharding(self) -> dict[str, Any] | None:
        """What `spread` was told; None where the index is one."""
        mine = schema.settings.c.name == _SHARDING
        with self.database.reading() as connection:
            value = connection.scalar(select(schema.settings.c.value).where(mine))
        return None if value is None else dict(json.loads(value))

    def read_index(self, folder: str | os.PathLike[str], name: str) -> Index:
        """The content of an index at this moment, in memory."""
        if self.sharding() is None:
            return stored.read(folder, database=self.database, name=name)
        with self.index(None, folder, name=name) as index:
            empty = Index.kinds[index.kind](**index.parameters)
            return empty.fit(index.vectors(), index.ids, attributes=index.attributes()) if len(index) else empty

    def remove_index(self, folder: str | os.PathLike[str], name: str) -> None:
        """Delete an index that nobody has open; what a kill leaves of it is removed by the next call."""
        if (sharding := self.sharding()) is not None:
            from annlab.visual.spread import remove_shards

            remove_shards(Path(folder), name, sharding["engine"])
        stored.remove(folder, self.database, name)

    def index_names(self) -> list[str]:
        """The names of all indexes whose logs are in this database."""
        with self.database.reading() as connection:
            if not inspect(connection).has_table(log.indexes.name):
                return []
            return list(connection.scalars(select(log.indexes.c.name).order_by(log.indexes.c.name)))
