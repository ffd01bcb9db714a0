"""The LangChain store: the conformance suite of langchain-tests, filters, diversity, and files."""

import inspect
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("langchain_tests")

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests.vectorstores import VectorStoreIntegrationTests

import annlab
from annlab.compat.langchain import AnnlabVectorStore

EMBEDDING = DeterministicFakeEmbedding(size=24)


class Letters(DeterministicFakeEmbedding):
    """Texts of the same letters are near each other."""

    def embed_query(self, text: str) -> list[float]:
        return np.bincount([ord(c) % self.size for c in text], minlength=self.size).astype(float).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


class TestConformance(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> Iterator[VectorStore]:  # type: ignore[override]
        yield AnnlabVectorStore(self.get_embeddings())


for _name, _test in inspect.getmembers(VectorStoreIntegrationTests, inspect.iscoroutinefunction):
    setattr(TestConformance, _name, pytest.mark.asyncio(_test))


@pytest.fixture
def store() -> AnnlabVectorStore:
    found = AnnlabVectorStore(Letters(size=32))
    texts = ["aaaa", "aaab", "aabb", "bbbb", "cccc"]
    found.add_texts(texts, metadatas=[{"n": i, "even": i % 2 == 0} for i in range(5)], ids=list("01234"))
    return found


def test_scores_are_distances_and_relevance_lies_between_0_and_1(store) -> None:
    found = store.similarity_search_with_score("aaaa", k=3)
    assert [document.id for document, _ in found] == ["0", "1", "2"]
    assert found[0][1] == pytest.approx(0, abs=1e-6) and found[0][1] < found[1][1] < found[2][1]
    relevant = store.similarity_search_with_relevance_scores("aaaa", k=5)
    assert all(0 <= score <= 1 for _, score in relevant)


@pytest.mark.parametrize("wanted", [{"even": True}, {"n": [0, 2, 4]}, lambda document: document.metadata["n"] % 2 == 0])
def test_filters_are_fields_or_functions(store, wanted) -> None:
    assert {document.id for document in store.similarity_search("aaaa", k=5, filter=wanted)} == {"0", "2", "4"}
    assert store.similarity_search("aaaa", filter={"nowhere": 1}) == []


def test_diverse_results_are_unlike_each_other(store) -> None:
    assert [d.id for d in store.max_marginal_relevance_search("aaaa", k=2, lambda_mult=1.0)] == ["0", "1"]
    assert [d.id for d in store.max_marginal_relevance_search("aaaa", k=2, lambda_mult=0.1)][1] in ("3", "4")


def test_a_file_holds_everything(store, tmp_path) -> None:
    store.save(tmp_path / "documents.annlab")
    same = AnnlabVectorStore.load(tmp_path / "documents.annlab", Letters(size=32))
    assert same.get_by_ids(list("01234")) == store.get_by_ids(list("01234"))
    assert same.similarity_search("bbbb", k=2) == store.similarity_search("bbbb", k=2)


def test_what_a_caller_changes_is_his_own(store) -> None:
    store.similarity_search("aaaa", k=1)[0].metadata["n"] = 99
    assert store.get_by_ids(["0"])[0].metadata["n"] == 0


def test_a_graph_serves_as_well() -> None:
    texts = [f"{'abcdefgh'[i % 8]}{i}" for i in range(60)]
    store = AnnlabVectorStore.from_texts(texts, EMBEDDING, index=annlab.VamanaIndex(metric="cosine"))
    assert store.similarity_search(texts[7], k=1)[0].page_content == texts[7]
    store.delete()
    assert len(store) == 0 and store.similarity_search("a") == []


def test_what_cannot_be_kept_is_refused_and_nothing_is_added(store) -> None:
    with pytest.raises(TypeError, match="no JSON value"):
        store.add_documents([Document(page_content="x"), Document(page_content="y", metadata={"when": object()})])
    with pytest.raises(ValueError, match="1 ids were given for 2 documents"):
        store.add_documents([Document(page_content="x"), Document(page_content="y")], ids=["1"])
    assert len(store) == 5
    keyed = annlab.KeyedIndex(annlab.ExactIndex()).fit(["a"], np.eye(1, 32), metadata=[{"other": 1}])
    with pytest.raises(ValueError, match="belongs to no document"):
        AnnlabVectorStore(EMBEDDING, keyed)
