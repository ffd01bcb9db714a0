"""What building a graph must come to, in NumPy: whole numbers, lists, pruning, and a plain walk."""

import heapq

import numpy as np


def whole_of(rows):
    """The whole numbers (n, dim) int64 behind rows in bytes."""
    return rows.codes[:, : rows.dim].astype(np.int64) - 128


def keys_of(whole, u, candidates):
    """Sorted (distance, row) of some candidates of row u."""
    return sorted((int(((whole[u] - whole[v]) ** 2).sum()), int(v)) for v in candidates if v != u)


def pruned(whole, keys, degree, alpha):
    """The textbook rule: a candidate is a link unless an earlier link is alpha times nearer to it than the node is."""
    links = []
    for distance, v in keys:
        gaps = [np.float32(((whole[v] - whole[w]) ** 2).sum()) * np.float32(alpha) for _, w in links]
        if all(gap >= np.float32(distance) for gap in gaps):
            links.append((distance, v))
        if len(links) == degree:
            break
    return links


def filled(links, keys, wanted):
    """The links and the nearest of the other keys, until there are so many."""
    rest = [key for key in keys if key not in links]
    return sorted(links + rest[: max(0, wanted - len(links))])


def joined(whole, own, degree, alpha):
    """Own links (lists of keys) and reverse ones, pruned, filled up with the nearest: rows by (distance, row)."""
    result = []
    for u in range(len(own)):
        back = [(d, s) for s in range(len(own)) for d, v in own[s] if v == u]
        keys = sorted(set(own[u]) | set(back))
        chosen = keys if len(keys) <= degree else filled(pruned(whole, keys, degree, alpha), keys, degree)
        result.append([v for _, v in chosen])
    return result


def walk(vectors, graph, query, k, reach):
    """Best first from the entries, as far as `reach` times the k-th distance (squared): rows, and nodes opened."""
    first = vectors[graph.first_rows]
    seen = set(graph.entries.tolist())
    to_open = [(float(((first[e] - query) ** 2).sum()), int(e)) for e in graph.entries]
    found, opened = sorted(to_open)[:k], 0
    heapq.heapify(to_open)
    while to_open:
        distance, u = heapq.heappop(to_open)
        if len(found) == k and distance > reach * found[-1][0]:
            break
        opened += 1
        fresh = [v for v in graph.links[u].tolist() if v >= 0 and v not in seen]
        seen.update(fresh)
        measured = list(zip(((first[fresh] - query) ** 2).sum(axis=1).tolist(), fresh, strict=True))
        found = sorted(found + measured)[:k]
        for one in measured:
            heapq.heappush(to_open, one)
    return [v for _, v in found], opened


def recall(vectors, graph, queries, k, reach):
    """Share of the distances of the k nearest rows that a walk also finds, with all rows of the nodes it finds."""
    total = 0
    for query in queries:
        nodes, _ = walk(vectors, graph, query, k, reach)
        rows = nodes if graph.offsets is None else [
            r for v in nodes for r in range(graph.offsets[v], graph.offsets[v + 1])
        ]  # fmt: skip
        distances = ((vectors - query) ** 2).sum(axis=1)
        limit = np.sort(distances)[min(k, len(vectors)) - 1]
        total += min(k, int((distances[rows] <= limit).sum()))
    return total / (len(queries) * min(k, len(vectors)))
