"""IVFIndex built from blocks: the same index as from an array, within its memory, and nothing is lost on errors."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import annlab
from annlab import IVFIndex
from annlab.common.memory import Workspace, as_bytes, is_mapped, joined
from annlab.core import blocks
from annlab.core.heldout import HeldOut
from annlab.datasets import synthetic

STORAGES = ("flat", "sq8", "pq4")
ROOT = Path(__file__).parents[2]


def cut(array: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    return (array[start : start + rows] for start in range(0, len(array), rows))


def same(index: IVFIndex, other: IVFIndex, queries: np.ndarray) -> bool:
    mine, theirs = index.search(queries, k=10), other.search(queries, k=10)
    return np.array_equal(mine.ids, theirs.ids) and np.array_equal(mine.distances, theirs.distances)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(("metric", "dtype"), [("l2", "float32"), ("cosine", "float64"), ("ip", "float32")])
def test_blocks_make_the_same_index_as_an_array(storage: str, metric: str, dtype: str, tmp_path: Path) -> None:
    data = synthetic(5000, 12, 6, 50, seed=0, dtype=dtype)
    expected = IVFIndex(storage=storage, metric=metric).fit(data.train)
    np.save(tmp_path / "vectors.npy", data.train)
    path = tmp_path / "photos.annlab"
    given: list[Any] = [
        (cut(data.train, 700), {}),
        ([data.train[:4000], data.train[4000:]], {"max_memory": "200MB"}),
        (np.load(tmp_path / "vectors.npy", mmap_mode="r"), {"path": path}),
        (np.asfortranarray(data.train), {"max_memory": "200MB"}),
    ]
    for vectors, how in given:
        index = IVFIndex(storage=storage, metric=metric).fit(vectors, **how)
        assert same(index, expected, data.test) and index.calibration == expected.calibration
        assert is_mapped(index._structure.vectors) and index.memory()["mapped"] >= data.train.nbytes
        np.testing.assert_array_equal(index.vectors(), data.train)
    assert path.stat().st_size > data.train.nbytes and len(list(tmp_path.iterdir())) == 2
    loaded = IVFIndex.load(path, mmap=True)
    assert same(loaded, expected, data.test) and loaded.calibration == expected.calibration
    assert same(IVFIndex.load(path), expected, data.test)


def test_ids_and_attributes_come_whole_or_block_by_block() -> None:
    vectors, rng = synthetic(3000, 8, 4, seed=0).train, np.random.default_rng(0)
    ids, owners = rng.permutation(9000)[:3000], rng.integers(5, size=3000)
    for numbers, attributes in ((ids, owners), (cut(ids, 1000), cut(owners, 1000)), (ids.tolist(), cut(owners, 1000))):
        index = IVFIndex().fit(cut(vectors, 1000), numbers, attributes={"owner": attributes})
        np.testing.assert_array_equal(index.ids, np.sort(ids))
        np.testing.assert_array_equal(index.vectors(ids), vectors)
        found = index.search(vectors[7], k=20, where=annlab.col("owner") == 3).ids
        assert np.isin(found, ids[owners == 3]).all()
    assert IVFIndex().fit(cut(vectors, 800)).search(vectors[::300], k=1).ids.ravel().tolist() == [*range(0, 3000, 300)]


def test_writing_goes_on_beside_the_file() -> None:
    data = synthetic(6000, 12, 6, 50, seed=0)
    for storage in STORAGES:
        index, expected = IVFIndex(storage=storage).fit(cut(data.train[:4000], 900)), IVFIndex(storage=storage)
        expected.fit(data.train[:4000])
        for each in (index, expected):
            each.add(data.train[4000:])
            each.remove(np.arange(100, 200))
        assert index._structure.vectors.shape[0] == 6000 and is_mapped(index._structure.vectors)
        assert same(index, expected, data.test)
        for each in (index, expected):
            each.retrain()
        assert len(index) == 5900 and is_mapped(index._structure.vectors) and same(index, expected, data.test)


def test_bad_blocks_are_named_and_nothing_is_lost(tmp_path: Path) -> None:
    vectors = synthetic(4000, 8, 4, seed=0).train
    index = IVFIndex().fit(vectors[:2000])
    before = index.search(vectors[:5], k=3)
    bad = vectors.copy()
    bad[3456, 2] = np.nan

    def failing() -> Iterator[np.ndarray]:
        yield vectors[:100]
        raise RuntimeError("the disk went away")

    cases: list[tuple[Any, type[Exception], str]] = [
        (cut(bad, 450), ValueError, r"block 7 must be finite: row 306 holds nan"),
        ([vectors[:9], np.ones((5, 7))], ValueError, "block 1 has 7 dimensions, but the index has 8"),
        ([vectors[:9], vectors[0]], ValueError, "block 1 must be 2-d"),
        (iter([]), ValueError, "there is none in any block"),
        (iter([["a"]]), TypeError, "block 0 must be numeric"),
        (failing(), RuntimeError, "went away"),
    ]
    for given, kind, message in cases:
        with pytest.raises(kind, match=message):
            index.fit(given, path=tmp_path / "index.annlab")
    with pytest.raises(ValueError, match=r"vectors\[.*\] must be finite|vectors must be finite: row 3456"):
        index.fit(bad, max_memory="1GB")
    for ids, message in ((np.arange(9), "9 ids for 4000"), (iter([np.arange(450)]), "ids end before block 1"),
                         (chain(cut(np.arange(4000), 450), [[9]]), "ids go on"),
                         (np.zeros(4000, int), "id 0 is given twice"),
                         (cut(np.arange(4000), 449), r"ids of block 0 have shape \(449,\) for 450")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            index.fit(cut(vectors, 450), ids)
    with pytest.raises(ValueError, match=r"max_memory is 72 MB.* needs .* MB while it is built"):
        index.fit(cut(vectors, 450), max_memory="72MB")
    with pytest.raises(IsADirectoryError):
        index.fit(cut(vectors, 450), path=tmp_path)
    with pytest.raises(FileNotFoundError):
        index.fit(cut(vectors, 450), path=tmp_path / "nowhere" / "index.annlab")
    assert len(index) == 2000 and np.array_equal(index.search(vectors[:5], k=3).ids, before.ids)
    assert not list(tmp_path.iterdir())


def test_other_indexes_name_the_one_that_takes_blocks() -> None:
    vectors = np.eye(4, dtype=np.float32)
    for make in (annlab.ExactIndex, annlab.KDTreeIndex, annlab.LSHIndex):
        with pytest.raises(TypeError, match=r"iterator .*IVFIndex.fit takes blocks"):
            make().fit(cut(vectors, 2))
    with pytest.raises(TypeError, match="iterator"):
        annlab.ExactIndex().fit(vectors).search(cut(vectors, 2))


def test_blocks_are_told_from_matrices() -> None:
    matrix = np.eye(3)
    assert all(blocks.are_blocks(given) for given in (iter([matrix]), [matrix], (matrix, matrix), {1: 2}.values()))
    assert not any(blocks.are_blocks(given) for given in (matrix, [[1.0, 2.0]], [], [np.ones(2)], "text", 5, None, {}))


def test_sizes_are_read_from_words() -> None:
    assert [as_bytes("x", v) for v in (5, "5", "2KB", "1.5 GB", "3MiB", "1g")] == [
        5,
        5,
        2048,
        3 * 2**29,
        3 * 2**20,
        2**30,
    ]
    for wrong in ("", "GB", "-1GB", "2 XB", 0, -4, None, True, "0"):
        with pytest.raises(ValueError, match="max_memory must be a number of bytes or a string"):
            as_bytes("max_memory", wrong)


def test_a_full_disk_is_an_error_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, start: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    vectors, index = synthetic(2000, 8, 4, seed=0).train, IVFIndex()
    with pytest.raises(OSError, match="No space left"):
        index.fit(cut(vectors, 300), path=tmp_path / "index.annlab")
    assert len(index) == 0 and not list(tmp_path.iterdir())


def test_joined_rows_come_in_the_order_asked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second, order = rng.random((50, 3)), rng.random((20, 3)), rng.permutation(70)
    for workspace in (Workspace(), Workspace.in_files(tmp_path)):
        np.testing.assert_array_equal(joined(first, second, order, workspace), np.concatenate([first, second])[order])


CHILD = """
import sys
import numpy as np
from annlab import IVFIndex
from benchmarks.out_of_core import Clusters, Memory
n, dim, storage, limit = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
data = Clusters(n, dim)
IVFIndex(storage=storage).fit(data.some(20000, 0)).search(data.some(5, 1))  # compiles
blocks = (data.some(1000, i) for i in range(n // 1000))
with Memory() as memory:
    IVFIndex(storage=storage, n_lists=500).fit(blocks, max_memory=limit, threads=2)
print(memory.bytes)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize(("dim", "storage", "limit"), [(100, "pq4", 160), (100, "sq8", 260), (500, "flat", 100)])
def test_building_stays_within_its_memory(dim: int, storage: str, limit: int) -> None:
    n = 100_000_000 // dim  # 400 MB of vectors
    command = [sys.executable, "-c", CHILD, str(n), str(dim), storage, f"{limit}MB"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= limit * 2**20


class Dataset:
    """A matrix that exists in slices only, as in a file; the largest that was asked for is noted."""

    def __init__(self, n, dim):
        self.shape, self.dtype, self.largest = (n, dim), np.dtype(np.float64), 0

    def __getitem__(self, key):
        start, stop, _ = key.indices(self.shape[0])
        self.largest = max(self.largest, stop - start)
        return np.random.default_rng(0).random((stop, 8))[start:].repeat(self.shape[1] // 8, axis=1)


def test_a_dataset_of_slices_keeps_the_limit(tmp_path):
    dataset = Dataset(9000, 256)
    index = annlab.IVFIndex(storage="pq4", seed=1).fit(dataset, max_memory="200MB", path=tmp_path / "index")
    assert dataset.largest == 4096 and index.memory()["mapped"] >= 9000 * 256 * 8
    whole = annlab.IVFIndex(storage="pq4", seed=1).fit(dataset[:9000])
    for one, other in zip(index.search(whole.vectors([3, 4, 5]), 4), whole.search(whole.vectors([3, 4, 5]), 4)):
        np.testing.assert_array_equal(one, other)


def test_calibration_holds_few_candidates_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes that tell little apart need many candidates: those of all queries at once would pass any limit."""
    seen, recall = [], HeldOut.recall

    def watched(self: HeldOut, candidates: np.ndarray, k: int | None = None) -> np.ndarray:
        seen.append(candidates.shape)
        return recall(self, candidates, k)

    monkeypatch.setattr(HeldOut, "recall", watched)
    vectors = np.random.default_rng(0).standard_normal((40_000, 64)).astype(np.float32)
    index = IVFIndex(storage="pq4", n_lists=40, seed=0).fit(vectors)
    assert max(m for _, m in seen) > 5_000 and all(q * m <= max(2**20, 16 * m) for q, m in seen)
    assert index.calibration.n_queries > 16, "all queries count, not those of one block"
