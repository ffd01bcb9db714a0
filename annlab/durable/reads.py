"""What a durable index answers as the index inside does. A search reads the reference once; writers exchange it."""

from typing import Any

import numpy as np

from annlab.index import Index


class Reads:
    """The reading half of `DurableIndex`."""

    _index: Index

    def search(self, queries: Any, k: int = 10, **options: Any) -> Any:
        """The k nearest vectors of every query, as `Index.search` returns them."""
        return self._index.search(queries, k, **options)

    def search_radius(self, queries: Any, radius: float, **options: Any) -> Any:
        """All vectors within a distance of every query, as `Index.search_radius` returns them."""
        return self._index.search_radius(queries, radius, **options)

    def filter(self, **conditions: Any) -> Any:
        """A reusable filter for searches, as `Index.filter` makes it."""
        return self._index.filter(**conditions)

    def view(self) -> Index:
        """The index as it is now, for several reads of one moment: what is written later is not in it."""
        return self._index.branch()

    @property
    def ids(self) -> np.ndarray:
        """(n,) int64: all ids, in ascending order."""
        return self._index.ids

    def vectors(self, ids: Any = None) -> np.ndarray:
        """The vectors of some ids, or of `ids`."""
        return self._index.vectors(ids)

    def attributes(self, ids: Any = None) -> dict[str, np.ndarray]:
        """The attributes of some ids, or of `ids`, by name, as `Index.attributes` returns them."""
        return self._index.attributes(ids)

    def select(self, where: Any) -> np.ndarray:
        """The ids of the vectors that fulfil a condition on attributes, as `Index.select` returns them."""
        return self._index.select(where)

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, id: object) -> bool:
        return id in self._index

    @property
    def dim(self) -> int:
        """The dimension of the vectors."""
        return self._index.dim

    @property
    def metric(self) -> str:
        """The name of the metric."""
        return self._index.metric

    @property
    def parameters(self) -> dict[str, Any]:
        """What the index was made with."""
        return self._index.parameters

    @property
    def kind(self) -> str:
        """The name of the class of the index inside."""
        return type(self._index).__name__

    def memory(self) -> dict[str, int]:
        """Bytes by part, as `Index.memory` counts them."""
        return self._index.memory()
