"""``python -m benchmarks pinterest``: the questions of "Visual Search at Pinterest" on the packaged sets, in small.

    python -m benchmarks pinterest [--quick] [--out benchmarks/results/pinterest.json]

- *features*: float vectors, signs of rotated vectors, and pq4 codes (without looking at the vectors again): precision
  at 5 and 10, milliseconds of one query in batches of 50, bytes a vector. Vectors are searched by ExactIndex; signs are
  counted by NumPy, and pq4 codes decoded first, so their times say what such code takes, and not what codes can do.
  Relevant is what has the query's class: of Fashion-MNIST, or the sub-group of an emoji.
- *duplicates*: the emoji with all their tones, and with one picture of each drawing: precision, and how many different
  drawings are among ten.
- *depth*: how many candidates k' of sign codes have to be ranked again by their vectors until precision stays.
- *category gate*: the same with only candidates of the category that most of the ten nearest have.
- *lift*: of each choice in a simulated experiment: users who look at position p with the chance 1 / p, and differ in
  how readily they click; difference of the click-through rates in percent of that of float vectors, with its interval.

Y. Jing, D. Liu, D. Kislyuk, A. Zhai, J. Xu, J. Donahue and S. Tavel, Visual Search at Pinterest, KDD 2015.
"""

import argparse
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from annlab import ExactIndex
from annlab.datasets import emoji, fashion_mnist
from annlab.encoders.pretrained import load_encoder
from annlab.evaluation import compare_arms
from annlab.evaluation.simulation import Users
from annlab.quantizers import ProductQuantizer
from benchmarks import environment, report

K, DEPTHS = 10, (10, 20, 50, 100, 200, 500)
Ranker = Callable[[np.ndarray], np.ndarray]
"""From the rows of queries (q,) to the nearest rows (q, 500), without the query."""


class Labelled(NamedTuple):
    """Vectors (n, dim) of length 1 with a class, a category (coarser), and a number for each drawing."""

    name: str
    vectors: np.ndarray
    classes: np.ndarray
    categories: np.ndarray
    drawings: np.ndarray


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write the records if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks pinterest", description="Pinterest in small")
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--quick", action="store_true", help="fewer queries")
    options = parser.parse_args(arguments)
    n_queries = 100 if options.quick else 1000
    parts: dict[str, list[dict[str, Any]]] = {name: [] for name in (
        "features", "duplicates", "how deep to rank again", "category gate")}  # fmt: skip
    for data in sets():
        queries = np.sort(np.random.default_rng(0).choice(len(data.vectors), n_queries, replace=False))
        ranked = rankings(data, queries, parts["features"])
        parts["how deep to rank again"] += depths(data, queries, ranked)
        parts["category gate"].append(gate(data, queries, ranked))
        if len(np.unique(data.drawings)) < len(data.drawings):
            parts["duplicates"] += duplicates(data, queries, ranked["float"])
    report.show_named_records(parts)
    if options.out:
        report.write_named_records(options.out, environment.about(), parts)
    return 0


def sets() -> list[Labelled]:
    """The packaged sets, by their encoders."""
    clothes = fashion_mnist()
    kinds = np.array([0, 1, 0, 0, 0, 2, 0, 2, 3, 2])  # tops, trousers, shoes, bags
    labels = clothes.labels.astype(np.int64)
    pictures = emoji()
    groups = np.unique(np.array(pictures.groups), return_inverse=True)[1]
    return [
        Labelled("clothes", load_encoder("fashion-mnist").encode(clothes.images), labels, kinds[labels],
                 np.arange(len(labels))),
        Labelled("emoji", _encoded(pictures.images), np.asarray(pictures.labels), groups,
                 np.asarray(pictures.drawings)),
    ]  # fmt: skip


def _encoded(images: np.ndarray) -> np.ndarray:
    encoder = load_encoder("emoji")
    return np.concatenate([encoder.encode(images[start : start + 256]) for start in range(0, len(images), 256)])


def rankings(data: Labelled, queries: np.ndarray, records: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The nearest 500 rows (q, 500) of each query by each feature; a record for each goes to `records`."""
    vectors = data.vectors.astype(np.float32)
    dim, depth = vectors.shape[1], DEPTHS[-1] + 1
    index = ExactIndex(metric="cosine").fit(vectors)
    centre = vectors.mean(axis=0)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(dim, dim)))[0].astype(np.float32)
    signs = np.packbits((vectors - centre) @ rotation > 0, axis=1)
    coder = ProductQuantizer(sub_dim=2, seed=0).fit(vectors)
    codes = coder.encode(vectors)
    decoded = coder.decode(codes).astype(np.float32)

    def by_signs(rows: np.ndarray) -> np.ndarray:
        away = np.bitwise_count(signs[rows][:, None, :] ^ signs[None]).sum(axis=2, dtype=np.int32)
        return np.argsort(away, axis=1, kind="stable")[:, :depth]

    def by_codes(rows: np.ndarray) -> np.ndarray:
        return np.argsort(-(vectors[rows] @ decoded.T), axis=1, kind="stable")[:, :depth]

    features: list[tuple[str, Ranker, float]] = [
        ("float", lambda rows: np.atleast_2d(index.search(vectors[rows], k=depth).ids), 4.0 * dim),
        ("signs", by_signs, dim / 8),
        ("pq4", by_codes, dim / 4),
    ]
    found = {}
    for name, ranker, size in features:
        began = time.perf_counter()
        blocks = [ranker(part) for part in np.array_split(queries, max(1, len(queries) // 50))]
        taken = 1e3 * (time.perf_counter() - began) / len(queries)
        found[name] = _without(np.concatenate(blocks), queries)
        records.append({"set": data.name, "features": name, **_precision(data, queries, found[name]),
                        "ms a query": taken, "bytes a vector": size,
                        **lift(data, queries, found["float"], found[name])})  # fmt: skip
    return found


def depths(data: Labelled, queries: np.ndarray, ranked: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Signs choose k' candidates, vectors rank them."""
    records = []
    for depth in DEPTHS:
        again = _ranked_again(data, queries, ranked["signs"][:, :depth])
        same = np.mean([len(set(a) & set(b)) for a, b in zip(again[:, :K].tolist(), ranked["float"][:, :K].tolist())])
        records.append({"set": data.name, "k'": depth, **_precision(data, queries, again),
                        "of the ten by float vectors": float(same) / K,
                        **lift(data, queries, ranked["float"], again)})  # fmt: skip
    return records


def _ranked_again(data: Labelled, queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    alike = np.einsum("qkd,qd->qk", data.vectors[candidates], data.vectors[queries])
    return np.take_along_axis(candidates, np.argsort(-alike, axis=1, kind="stable"), axis=1)


def gate(data: Labelled, queries: np.ndarray, ranked: dict[str, np.ndarray]) -> dict[str, Any]:
    """Only candidates of the category that at least eight of the ten nearest have; else all of them."""
    shown, closed = [], 0
    for row in ranked["float"]:
        own = data.categories[row]
        names, counts = np.unique(own[:K], return_counts=True)
        if counts.max() >= 8:
            closed += 1
            row = row[own == names[counts.argmax()]]
        shown.append(np.resize(row, K) if len(row) >= K else ranked["float"][len(shown)][:K])
    found = np.array(shown)
    return {"set": data.name, "lists with a gate": closed / len(queries), **_precision(data, queries, found),
            "of another category, before": float((data.categories[ranked["float"][:, :K]]
                                                  != data.categories[queries][:, None]).mean()),
            "after": float((data.categories[found] != data.categories[queries][:, None]).mean()),
            **lift(data, queries, ranked["float"], found)}  # fmt: skip


def duplicates(data: Labelled, queries: np.ndarray, ranked: np.ndarray) -> list[dict[str, Any]]:
    """With all versions of a drawing, and with the first one alone; what shows the query's own drawing is no use."""
    folded = np.full((len(queries), K), -1, np.int64)
    for place, (query, row) in enumerate(zip(queries.tolist(), ranked)):
        _, first = np.unique(data.drawings[row], return_index=True)
        kept = row[np.sort(first)]
        kept = kept[data.drawings[kept] != data.drawings[query]][:K]
        folded[place, : len(kept)] = kept
    records = []
    for name, found in (("all shown", ranked[:, :K]), ("collapsed", folded)):
        different = np.mean([len(set(row)) for row in data.drawings[found].tolist()])
        wanted = _new(data, queries, found)
        records.append({"set": data.name, "duplicates": name, "different drawings among ten": float(different),
                        "relevant and new among ten": float(wanted.sum(axis=1).mean()),
                        **lift(data, queries, ranked, found, _new)})  # fmt: skip
    return records


def _liked(data: Labelled, queries: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Relevance (q, k) as a user sees it: the class is what is wanted, the category interests some."""
    same = data.classes[found] == data.classes[queries][:, None]
    near = data.categories[found] == data.categories[queries][:, None]
    return np.where(same, 1.0, np.where(near, 0.3, 0.0))


def _new(data: Labelled, queries: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The same of somebody who wants other drawings than the query's, and each once."""
    liked = _liked(data, queries, found)
    for place, row in enumerate(data.drawings[found]):
        seen = {int(data.drawings[queries[place]])}
        for position, drawing in enumerate(row.tolist()):
            liked[place, position] *= drawing not in seen
            seen.add(drawing)
    return liked


def _precision(data: Labelled, queries: np.ndarray, found: np.ndarray) -> dict[str, float]:
    same = data.classes[found[:, :K]] == data.classes[queries][:, None]
    return {"P@5": float(same[:, :5].mean()), "P@10": float(same.mean())}


def lift(data: Labelled, queries: np.ndarray, a: np.ndarray, b: np.ndarray, wants: Callable[..., np.ndarray] = _liked,
         n_users: int = 20_000, lists: int = 10) -> dict[str, Any]:  # fmt: skip
    """An experiment of two arms with simulated users, ten lists each; other users in each experiment."""
    if a[:, :K].shape == b[:, :K].shape and (a[:, :K] == b[:, :K]).all():
        return {}  # what is compared with
    rng, users = np.random.default_rng(zlib.crc32(np.ascontiguousarray(b[:, :K]))), Users.falling(K)
    in_b = rng.random(n_users) < 0.5
    liked = [wants(data, queries, found[:, :K]) for found in (a, b)]
    readiness = rng.beta(4, 4, n_users) * 2
    asked = rng.integers(0, len(queries), (n_users, lists))
    wanted = np.where(in_b[:, None, None], liked[1][asked], liked[0][asked]) * readiness[:, None, None]
    clicks = users.clicks(np.clip(wanted, 0, 1).reshape(-1, K), rng).reshape(n_users, -1).sum(axis=1)
    found = compare_arms(clicks, np.full(n_users, lists * K), in_b)
    percent = 100 / found.rate_a
    return {"lift, %": found.difference * percent, "low": found.low * percent, "high": found.high * percent}


def _without(ids: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Rankings (q, m) without the query itself, (q, m - 1)."""
    other = ids != queries[:, None]
    other[other.all(axis=1), -1] = False
    return ids[other].reshape(len(ids), -1)
