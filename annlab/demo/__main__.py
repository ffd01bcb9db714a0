"""The main job on real images: find the images that look like a query, with every index there is, and measure it.

    python -m annlab.demo [--queries 1000] [--out out]

The packaged Fashion-MNIST images are embedded, 9,000 become the gallery and 1,000 are asked for. Every index of the
library, NumPy and scikit-learn find the ten nearest; a table says how often they are the true ten (recall@10), how long
a query takes, what building cost, and how often the images found are of the query's class (P@10: that judges the
embedding). `out/recall-latency.png` draws recall against speed and `out/examples.png` shows queries with their results.
"""

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

import annlab
from annlab import datasets, evaluation
from annlab.demo.row import Row
from annlab.index import Index
from annlab.kinds import INDEX_CLASSES

K = 10
SWEEPS = {"n_probes": (1, 2, 4, 8, 16, 32, 64), "epsilon": (0.1, 0.3, 0.6, 1.0)}
"""Search parameters that trade recall for time, with values to draw the curve; every index has at most one of them."""

Search = Callable[[np.ndarray], np.ndarray]
"""Queries (q, dim) to ids (q, K)."""


HEADER = (
    f"{'':<36}{'recall':>9}{'one query, ms':^25}{'batch':>13}{'build':>9}{'bytes per':>10}{'label':>8}\n"
    f"{'one thread':<36}{'@10':>9}{'p50':>9}{'p95':>8}{'p99':>8}{'queries/s':>13}{'s':>9}{'vector':>10}{'P@10':>8}"
)


def say(text: str) -> None:
    """Tell what is going on."""
    print(text, flush=True)


def one_blas_thread() -> AbstractContextManager[Any]:
    """NumPy and scikit-learn on one thread too, where threadpoolctl can see to that (extra `bench`)."""
    if importlib.util.find_spec("threadpoolctl") is None:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


def embed(images: np.ndarray) -> tuple[np.ndarray, str]:
    """Embeddings of length 1: by the packaged encoder, or the pixels where onnxruntime is missing."""
    if importlib.util.find_spec("annlab.encoders") and importlib.util.find_spec("onnxruntime"):
        from annlab.encoders import load_encoder

        encoder = load_encoder("fashion-mnist")
        return encoder.encode(images), f"the packaged encoder, {encoder.dim} numbers an image"
    pixels = images.reshape(len(images), -1).astype(np.float32)
    return pixels / np.linalg.norm(pixels, axis=1, keepdims=True), "normalised pixels, 784 numbers an image"


def numpy_search(gallery: np.ndarray) -> Search:
    """Brute force as NumPy does it best: one matrix product, then a partial sort."""
    half_norms = np.einsum("ij,ij->i", gallery, gallery) / 2

    def search(queries: np.ndarray) -> np.ndarray:
        ranking = half_norms - queries @ gallery.T
        some = np.argpartition(ranking, K, axis=1)[:, :K]
        order = np.take_along_axis(ranking, some, 1).argsort(axis=1)
        return np.take_along_axis(some, order, 1)

    return search


def scikit_learn_search(gallery: np.ndarray) -> Search:
    """scikit-learn's brute force."""
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=K, algorithm="brute", n_jobs=1).fit(gallery)
    return lambda queries: model.kneighbors(queries, return_distance=False)


def index_search(index: Index, parameters: dict[str, Any]) -> Search:
    """An index of the library, on one thread."""
    return lambda queries: index.search(queries, K, threads=1, **parameters).ids


def searches(gallery: np.ndarray) -> Iterator[tuple[str, str, Search, float, float, float | None]]:
    """Every way of searching: curve, name, search, seconds to build, bytes per vector, value of a swept parameter."""
    for name, make in (("NumPy brute force", numpy_search), ("scikit-learn brute force", scikit_learn_search)):
        started = time.perf_counter()
        search = make(gallery)
        yield name, name, search, time.perf_counter() - started, 4.0 * gallery.shape[1], None
    for index_class in INDEX_CLASSES:
        make_index: Any = index_class
        for variant in index_class.variants:
            make_index(metric="l2", **variant).fit(gallery[:500]).search(gallery[:32], K, threads=1)  # compiles
            started = time.perf_counter()
            index = make_index(metric="l2", **variant).fit(gallery, threads=1)
            seconds, size = time.perf_counter() - started, index.memory()["total"] / len(index)
            name = " ".join([index_class.__name__, *variant.values()])
            yield name, name, index_search(index, {}), seconds, size, None
            for parameter in sorted(set(SWEEPS) & set(index.search_parameters)):
                for value in SWEEPS[parameter]:
                    search = index_search(index, {parameter: value})
                    yield name, f"{name}, {parameter}={value}", search, seconds, size, value


def measure(name: str, search: Search, queries: np.ndarray, recall: Callable[[np.ndarray], float],
            same_class: Callable[[np.ndarray], float], build_seconds: float, size: float,
            n_single: int) -> Row:  # fmt: skip
    """Time one way of searching, and let what it finds (q, K) be judged: by the true neighbours, and by the class."""
    search(queries[:2]), search(queries[:1])  # whatever happens only once happens now
    batch_seconds = np.inf
    for repeat in range(3):  # the first may still compile something
        started = time.perf_counter()
        found = search(queries)
        batch_seconds = min(batch_seconds, time.perf_counter() - started)
        if repeat and batch_seconds > 2:
            break
    milliseconds: list[float] = []
    while len(milliseconds) < n_single and (len(milliseconds) < 20 or sum(milliseconds) < 1500):
        i = len(milliseconds)
        started = time.perf_counter()
        search(queries[i : i + 1])
        milliseconds.append(1e3 * (time.perf_counter() - started))
    precision = same_class(found)
    return Row(name, recall(found), np.array(milliseconds), batch_seconds, build_seconds, size, precision, len(queries))


def run(n_queries: int, out: Path) -> list[Row]:
    """The whole demonstration; returns the table's rows."""
    started = time.perf_counter()
    say("1. Reading the packaged images: 10,000 photographs of clothes, 28 x 28, in ten classes.")
    all_images, all_labels, class_names = datasets.fashion_mnist()
    order = np.random.default_rng(0).permutation(len(all_images))
    query_images, images = all_images[order[:n_queries]], all_images[order[n_queries:]]
    query_labels, labels = all_labels[order[:n_queries]], all_labels[order[n_queries:]]
    say("2. Embedding them: an image becomes a point, and similar images become near points.")
    (gallery, how), (queries, _) = embed(images), embed(query_images)
    say(f"   ... by {how}.")
    say(f"3. The truth: the {K} nearest of {len(gallery):,} for {len(queries):,} queries, by exact search.")
    truth = annlab.ExactIndex(metric="l2").fit(gallery).search(queries, K).ids
    exact = evaluation.true_distances(queries, gallery, truth, "l2")

    def recall(found: np.ndarray) -> float:
        distances = evaluation.true_distances(queries, gallery, found, "l2")
        return float(evaluation.ann_recall(found, distances, exact).mean())

    def same_class(found: np.ndarray) -> float:
        right = (found >= 0) & (labels[np.maximum(found, 0)] == query_labels[:, None])
        return float(np.mean(evaluation.precision(right, K)))

    say("4. Every index, one thread (the first run compiles kernels, later ones find them on disk):\n")
    say(HEADER)
    rows: list[Row] = []
    curves: dict[str, list[Row]] = {}
    with one_blas_thread():
        for curve, name, search, seconds, size, swept in searches(gallery):
            n_single = 200 if swept is None else 50
            n_single = min(n_single, len(queries))
            row = measure(name, search, queries, recall, same_class, seconds, size, n_single)
            curves.setdefault(curve, []).append(row)
            if swept is None:
                rows.append(row)
                say(str(row))
    out.mkdir(parents=True, exist_ok=True)
    say("\n5. Pictures:")
    if importlib.util.find_spec("matplotlib"):
        from annlab.demo import pictures

        pictures.recall_latency(curves, out / "recall-latency.png", f"{len(gallery):,} images, {gallery.shape[1]}-d")
        found = annlab.ExactIndex(metric="l2").fit(gallery).search(queries[:8], K).ids
        pictures.example_sheet(query_images[:8], query_labels[:8], images[found], labels[found], class_names,
                               out / "examples.png")  # fmt: skip
        say(f"   {out / 'recall-latency.png'}   recall against speed: up and to the right is better")
        say(f"   {out / 'examples.png'}   queries, left, and their ten results; dashed: of another class")
    else:
        say('   left out, they need matplotlib: pip install "annlab[bench]"')
    say(f"\nDone in {time.perf_counter() - started:.0f} s. To look at next: what an exact answer costs as data grow,")
    say("  python -m benchmarks exact --sets uniform:200000x128    (against faiss, NumPy and scikit-learn)")
    say("and your own vectors: annlab.ExactIndex().fit(vectors).search(queries, k=10).")
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Command line of the demonstration."""
    parser = argparse.ArgumentParser(prog="python -m annlab.demo", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--queries", type=int, default=1000, help="how many images to ask for (default 1000)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the pictures (default out)")
    options = parser.parse_args(arguments)
    run(options.queries, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
