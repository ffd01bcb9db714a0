"""Files that faiss wrote are read without it; damaged ones are refused by name."""

import struct
from pathlib import Path

import numpy as np
import pytest

from annlab.compat import faiss as door
from annlab.compat import faiss_files

faiss = pytest.importorskip("faiss")

ROWS = np.random.default_rng(0).integers(0, 50, size=(300, 6)).astype(np.float32)
IDS = np.random.default_rng(1).permutation(10_000)[:300].astype(np.int64)


QUANTIZERS: list[object] = []


def made(kind: str):
    """An index of faiss over the rows, and whether it has ids of its own."""
    if kind == "L2":
        index = faiss.IndexFlatL2(6)
    elif kind == "ip":
        index = faiss.IndexFlatIP(6)
    elif kind == "flat with ids":
        index = faiss.IndexIDMap(faiss.IndexFlatL2(6))
    elif kind == "two ways":
        index = faiss.IndexIDMap2(faiss.IndexFlatL2(6))
    else:
        quantizer = faiss.IndexFlatL2(6)
        index = faiss.IndexIVFFlat(quantizer, 6, 7)
        QUANTIZERS.append(quantizer)  # the index points at it and does not own it
        index.train(ROWS)
        index.nprobe = 7
    if kind in ("L2", "ip"):
        index.add(ROWS)
    else:
        index.add_with_ids(ROWS, IDS)
    return index


@pytest.fixture(params=["L2", "ip", "flat with ids", "two ways", "lists"])
def written(request, tmp_path: Path):
    index = made(request.param)
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    return index, tmp_path / "index.faiss"


def test_what_is_read_finds_what_faiss_finds(written) -> None:
    index, path = written
    same = door.read_index(path)
    assert same.ntotal == 300 and same.d == 6 and same.metric_type == index.metric_type
    distances, ids = index.search(ROWS[:40], 5)
    ours, found = same.search(ROWS[:40], 5)
    np.testing.assert_array_equal(ours, distances)  # whole numbers: exact in both
    clear = np.all(np.diff(index.search(ROWS[:40], 6)[0], axis=1) != 0, axis=1)  # no ties, which leave the order open
    np.testing.assert_array_equal(found[clear], ids[clear])


def test_lists_that_are_mostly_empty_are_read(tmp_path: Path) -> None:
    quantizer = faiss.IndexFlatL2(6)
    index = faiss.IndexIVFFlat(quantizer, 6, 64)
    index.train(ROWS)
    index.add(ROWS[:5])
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    held = faiss_files.read(tmp_path / "index.faiss")
    assert held.n_lists == 64 and sorted(held.ids.tolist()) == list(range(5))
    np.testing.assert_array_equal(held.vectors[np.argsort(held.ids)], ROWS[:5])


def test_other_kinds_are_refused_by_name(tmp_path: Path) -> None:
    index = faiss.IndexHNSWFlat(6, 8)
    index.add(ROWS)
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    with pytest.raises(ValueError, match=r"holds a b'IHNf' of faiss; flat indexes and IVFFlat are read"):
        door.read_index(tmp_path / "index.faiss")


def test_every_truncation_is_refused(written, tmp_path: Path) -> None:
    data = written[1].read_bytes()
    for size in [*range(4, 120), *range(120, len(data), 97)]:
        (tmp_path / "part").write_bytes(data[:size])
        with pytest.raises(ValueError, match=r"damaged|claims|read"):
            faiss_files.read(tmp_path / "part")


def test_no_length_is_believed(written, tmp_path: Path) -> None:
    """Any eight bytes of the head as a huge number: an error, or an index as before; never memory, never a crash."""
    data = written[1].read_bytes()
    for at in range(4, min(len(data) - 8, 400)):
        forged = data[:at] + struct.pack("<Q", 2**62) + data[at + 8 :]
        (tmp_path / "forged").write_bytes(forged)
        try:
            held = faiss_files.read(tmp_path / "forged")
        except ValueError:
            continue
        assert held.vectors.shape[0] in (300, 0)


def test_what_follows_the_index_is_refused(written, tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(written[1].read_bytes() + b"x")
    with pytest.raises(ValueError, match="1 bytes follow the index"):
        faiss_files.read(tmp_path / "long")
