"""Random writes to a durable index beside a dictionary that says what it must hold."""

import numpy as np

DIM = 6


def vectors_of(rng, n):
    return rng.standard_normal((n, DIM)).astype(np.float32)


def random_write(index, model, rng, op_id=None):
    """One random write, done to the index and to the dictionary from ids to vectors; what was done."""
    kind = rng.choice(["add", "add", "replace", "update", "remove"])
    present = np.array(sorted(model), np.int64)
    if kind in ("update", "remove") and len(present) < 8:
        kind = "add"
    if kind == "add":
        rows = vectors_of(rng, int(rng.integers(1, 30)))
        ids = index.add(rows, op_id=op_id)
    elif kind == "replace":
        rows = vectors_of(rng, int(rng.integers(1, 10)))
        ids = rng.choice(200, len(rows), replace=False)
        index.add(rows, ids, on_duplicate="replace", op_id=op_id)
    else:
        ids = rng.choice(present, int(rng.integers(1, 8)), replace=False)
        if kind == "remove":
            index.remove(ids, op_id=op_id)
            for id in ids.tolist():
                del model[id]
            return kind
        rows = vectors_of(rng, len(ids))
        index.update(ids, rows, op_id=op_id)
    model.update(zip(ids.tolist(), rows))
    return kind


def assert_holds(index, model):
    """Exactly the entries of the dictionary, to the last bit, and searches that find them."""
    ids = np.array(sorted(model), np.int64)
    np.testing.assert_array_equal(index.ids, ids)
    if len(ids):
        np.testing.assert_array_equal(index.vectors(), np.stack([model[id] for id in ids.tolist()]))
