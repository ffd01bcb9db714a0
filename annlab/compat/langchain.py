"""A LangChain `VectorStore` over any index of annlab: documents in, documents out.

    texts --embedding--> vectors --> KeyedIndex, whose keys are the documents' ids
                                     and whose metadata are their texts and metadata

So everything is in one file (`save`, `load`), without a pickle: metadata must be JSON values. The documents are in
memory besides, for results and filters. A filter is a dictionary (each field must be equal, or one of a list) or a
function of a document; it is asked of every document, and the search goes among those it lets through.

Needs ``pip install "annlab[langchain]"``. The interface is that of langchain-core, and its conformance suite
(langchain-tests) passes.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from annlab.exact import ExactIndex
from annlab.index import Index
from annlab.keyed import KeyedIndex

Filter = Mapping[str, Any] | Callable[[Document], bool]


class AnnlabVectorStore(VectorStore):
    """Documents, found by the nearness of their embeddings.

    Parameters
    ----------
    embedding : langchain_core.embeddings.Embeddings
        Makes vectors of texts.
    index : Index, KeyedIndex, optional
        An empty index of annlab, or a `KeyedIndex` that this class has filled; an ExactIndex with metric "cosine" if
        left out. For some hundred thousand documents and more, `annlab.VamanaIndex(metric="cosine")` answers sooner.

    Raises
    ------
    ValueError
        The index holds something else than documents.

    Examples
    --------
    >>> from langchain_core.embeddings import DeterministicFakeEmbedding
    >>> store = AnnlabVectorStore(DeterministicFakeEmbedding(size=16))
    >>> store.add_texts(["a cat", "a dog"], metadatas=[{"legs": 4}, {"legs": 4}], ids=["1", "2"])
    ['1', '2']
    >>> store.similarity_search("a dog", k=1)[0].page_content
    'a dog'
    """

    def __init__(self, embedding: Embeddings, index: Index | KeyedIndex | None = None) -> None:
        self._embedding = embedding
        if index is None:
            index = ExactIndex(metric="cosine")
        self.index = index if isinstance(index, KeyedIndex) else KeyedIndex(index)
        keys = self.index.keys
        held = self.index.metadata(keys) if keys else []
        self._documents = {key: _document(key, one) for key, one in zip(keys, held)}

    @property
    def embeddings(self) -> Embeddings:
        """What makes vectors of texts."""
        return self._embedding

    def __len__(self) -> int:
        return len(self._documents)

    # ---- writing

    def add_documents(self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any) -> list[str]:
        """Add documents, or replace those whose id is there; what has no id gets one. Returns the ids.

        Raises
        ------
        ValueError
            There are not as many ids as documents.
        TypeError
            Metadata is no JSON value; nothing is added then.
        """
        if ids is not None and len(ids) != len(documents):
            raise ValueError(f"{len(ids)} ids were given for {len(documents)} documents")
        given: Sequence[str | None] = ids if ids is not None else [document.id for document in documents]
        keys = [key or str(uuid.uuid4()) for key in given]
        latest = dict(zip(keys, documents))  # of one id that is there twice, the last
        held = [_held(document) for document in latest.values()]
        if latest:
            vectors = self._embedding.embed_documents([document.page_content for document in latest.values()])
            self.index.add(list(latest), np.asarray(vectors, np.float32), metadata=held, on_duplicate="replace")
        self._documents.update({key: _document(key, one) for key, one in zip(latest, held)})
        return keys

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Remove documents by id, or all where no ids are given; ids that are not there are passed over."""
        gone = list(self._documents) if ids is None else ids
        self.index.remove(gone, missing="ignore")
        for key in gone:
            self._documents.pop(key, None)
        return True

    # ---- reading

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents of some ids; those that are not there are left out."""
        return [_copy(self._documents[key]) for key in ids if key in self._documents]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The k documents most like a text; `filter=` as described above, further arguments go to the index."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(  # type: ignore[override]
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """The same with distances: smaller is nearer."""
        return self.similarity_search_with_score_by_vector(self._embedding.embed_query(query), k, **kwargs)

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """The k documents nearest to a vector."""
        return [document for document, _ in self.similarity_search_with_score_by_vector(embedding, k, **kwargs)]

    def similarity_search_with_score_by_vector(self, embedding: Sequence[float], k: int = 4, *,
                                               filter: Filter | None = None,
                                               **kwargs: Any) -> list[tuple[Document, float]]:  # fmt: skip
        """The same with distances."""
        allowed = None if filter is None else [key for key, one in self._documents.items() if _passes(one, filter)]
        if not self._documents or allowed == []:
            return []
        found = self.index.search(np.asarray(embedding, np.float32), k, allowed=allowed, **kwargs)
        return [(_copy(self._documents[key]), float(distance)) for distance, key in
                zip(found.distances, found.keys) if key is not None]  # fmt: skip

    def max_marginal_relevance_search(self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5,
                                      **kwargs: Any) -> list[Document]:  # fmt: skip
        """k documents like a text and unlike each other, chosen among the `fetch_k` nearest (`lambda_mult` 1: no
        diversity). Carbonell and Goldstein, SIGIR 1998."""
        vector = self._embedding.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, **kwargs)

    def max_marginal_relevance_search_by_vector(self, embedding: list[float], k: int = 4, fetch_k: int = 20,
                                                lambda_mult: float = 0.5, **kwargs: Any) -> list[Document]:  # fmt: skip
        """The same for a vector."""
        near = self.similarity_search_by_vector(embedding, max(k, fetch_k), **kwargs)
        if not near:
            return []
        vectors = self.index.vectors([str(document.id) for document in near])
        chosen = maximal_marginal_relevance(np.asarray(embedding, np.float32), list(vectors), lambda_mult, k)
        return [near[i] for i in chosen]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """From a distance to 0..1."""
        metric = self.index.index.metric
        if metric == "cosine":
            return lambda distance: 1 - distance / 2
        if metric == "l2":
            return lambda distance: 1 / (1 + distance)
        raise NotImplementedError("an inner product has no bounds, so there is no relevance between 0 and 1 for it")

    @classmethod
    def from_texts(cls, texts: list[str], embedding: Embeddings, metadatas: list[dict[str, Any]] | None = None, *,
                   ids: list[str] | None = None, index: Index | None = None, **kwargs: Any) -> Self:  # fmt: skip
        """A store of these texts."""
        store = cls(embedding, index)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    # ---- files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything but the embedding to one file."""
        self.index.save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], embedding: Embeddings, *, mmap: bool = False) -> Self:
        """Read what `save` wrote; `embedding` must be the one it was filled with."""
        return cls(embedding, KeyedIndex.load(path, mmap=mmap))


def _held(document: Document) -> dict[str, Any]:
    """A document as it is kept in the index."""
    held = {"text": document.page_content, "metadata": document.metadata}
    try:
        checked: dict[str, Any] = json.loads(json.dumps(held, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(f"the metadata {document.metadata!r} is no JSON value: {error}") from None
    return checked


def _document(key: str, held: Any) -> Document:
    if not isinstance(held, dict) or set(held) != {"text", "metadata"}:
        raise ValueError(f"the key {key!r} belongs to no document: this index was filled by something else")
    return Document(id=key, page_content=held["text"], metadata=held["metadata"])


def _copy(document: Document) -> Document:
    """What a caller may change without changing the store."""
    return document.model_copy(deep=True)


def _passes(document: Document, wanted: Filter) -> bool:
    if callable(wanted):
        return bool(wanted(document))
    return all(_equal(document.metadata, name, value) for name, value in wanted.items())


def _equal(metadata: Mapping[str, Any], name: str, value: Any) -> bool:
    """Whether a field is there and equal, or one of several."""
    choices: Iterator[Any] = iter(value) if isinstance(value, (list, tuple, set)) else iter([value])
    return name in metadata and any(metadata[name] == choice for choice in choices)
