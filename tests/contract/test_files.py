"""Files: what is saved is loaded, whole, in every mode; and whatever is done to a file, no crash and no silence."""

import copy
import io
import json
import os
import pickle  # noqa: TID251  an index has to survive it
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

import annlab
from tests.contract import hostile
from tests.contract.checks import same
from tests.contract.indexes import ENTRIES

ROOT = Path(__file__).parents[2]
LOADS = [{}, {"mmap": True}, {"mmap": True, "verify": True}, {"verify": True}]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_saved_index_comes_back_with_the_same_answers(entry, metric, dtype, tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.integers(-2, 3, size=(500, 7)).astype(dtype)
    index = entry.make(metric).fit(vectors[:400], rng.permutation(1000)[:400], attributes={"a": np.arange(400) % 5})
    index.add(vectors[400:], attributes={"a": np.arange(100) % 5})
    index.remove(index.ids[::9])
    path = tmp_path / "one.annlab"
    index.save(path)
    asked = {"k": 9, "where": annlab.col("a") < 3}
    for options in LOADS:
        for load in (entry.index_class.load, annlab.load):
            loaded = load(path, **options)
            assert type(loaded) is entry.index_class and loaded.parameters == index.parameters
            assert (len(loaded), loaded.dim, loaded.metric) == (len(index), 7, metric)
            same((loaded.ids, loaded.vectors()), (index.ids, index.vectors()))
            same(loaded.search(vectors[:30], **asked), index.search(vectors[:30], **asked))
            same(loaded.search_radius(vectors[:5], 1.0), index.search_radius(vectors[:5], 1.0))
    loaded = annlab.load(path, mmap=True)
    before = path.read_bytes()
    loaded.add(vectors[:5], attributes={"a": np.zeros(5)})
    loaded.remove(loaded.ids[:50])
    loaded.compact()
    loaded.fit(vectors, attributes={"a": np.zeros(500)})
    assert path.read_bytes() == before, "a mapped file is never written to"


def test_empty_indexes_and_single_rows_come_back_from_files(entry, tmp_path):
    for index in (entry.make(dim=3), entry.make().fit(np.ones((1, 3)), [7])):
        index.add(np.empty((0, 3)))
        index.save(tmp_path / "index")
        for options in LOADS:
            loaded = annlab.load(tmp_path / "index", **options)
            assert loaded.ids.tolist() == index.ids.tolist() and loaded.dim == 3
            same(loaded.search(np.ones((2, 3)), 2), index.search(np.ones((2, 3)), 2))


def _pickled(index):
    return pickle.loads(pickle.dumps(index))  # noqa: S301  what we made ourselves


def test_copies_pickles_and_files_in_memory(entry, metric, tmp_path):
    rng = np.random.default_rng(2)
    vectors = rng.integers(-2, 3, size=(300, 5)).astype(np.float32)
    index = entry.make(metric).fit(vectors[:250], attributes={"a": np.arange(250) % 3})
    index.add(vectors[250:], attributes={"a": np.arange(50) % 3})
    index.remove([4, 260])
    data = index.to_bytes()
    index.save(tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == data
    with open(tmp_path / "two", "wb") as file:
        index.save(file)
    with open(tmp_path / "two", "rb") as file:
        read = annlab.load(file)
    asked, before = {"k": 9, "where": annlab.col("a") < 2}, index.content_hash()
    expected = index.search(vectors[:20], **asked)
    for other in (
        copy.copy(index),
        copy.deepcopy(index),
        _pickled(index),
        entry.index_class.load(io.BytesIO(data)),
        annlab.load(bytearray(data)),
        read,
    ):
        assert type(other) is entry.index_class and other.parameters == index.parameters
        same(other.search(vectors[:20], **asked), expected)
        other.add(vectors[:3], attributes={"a": [0, 1, 2]})
        other.remove([0])
        assert index.content_hash() == before, "a copy is another index"


def test_a_pickle_of_ours_is_checked_like_a_file(entry):
    index = entry.make().fit(np.eye(40, 6))
    damaged = bytearray(index.to_bytes())
    damaged[len(bytes(damaged).rstrip(b"\0")) - 1] ^= 255  # of the last array, not of the gap behind it
    with pytest.raises(annlab.CorruptIndexError):
        annlab.load(bytes(damaged))
    with pytest.raises(ValueError, match="mmap"):
        annlab.load(index.to_bytes(), mmap=True)
    for what in (io.StringIO("no"), 3):
        with pytest.raises(TypeError, match=r"binary|bytes"):
            annlab.load(what)
        with pytest.raises(TypeError, match="binary"):
            index.save(what)


def test_an_index_that_was_never_filled(entry, tmp_path):
    for more in ({}, {"dim": 5}):
        index = entry.make(**more)
        index.save(tmp_path / "empty")
        for other in (annlab.load(tmp_path / "empty"), annlab.load(tmp_path / "empty", mmap=True),
                      _pickled(index), clone(index)):  # fmt: skip
            assert other.get_params() == index.get_params() and len(other) == 0
            other.add(np.eye(5), ids=range(5))
            assert other.dtype == np.float64 and other.search(np.eye(5)[2], 1).ids.tolist() == [2]


def test_parameters_as_scikit_learn_asks_for_them(entry):
    index = entry.make()
    assert clone(index).get_params() == index.get_params() == clone(index.fit(np.eye(9, 4))).get_params()
    with pytest.raises(ValueError, match="holds 9 vectors"):
        index.set_params(metric="cosine")
    with pytest.raises(TypeError, match="no parameter 'metrc'"):
        index.set_params(metrc="cosine")
    other = clone(index).set_params(metric="cosine", dim=4)
    assert (other.metric, other.dim, other.get_params()["dim"]) == ("cosine", 4, 4)
    if entry.exhaustive.keys() & index.get_params().keys():
        assert index.set_params(**entry.exhaustive).search(np.eye(4), 3).ids.shape == (4, 3)


def test_saving_replaces_atomically(entry, tmp_path, monkeypatch):
    path = tmp_path / "index"
    old = entry.make().fit(np.eye(9, 4))
    old.save(path)
    mapped = annlab.load(path, mmap=True)
    expected = mapped.search(np.eye(4), 3)
    entry.make().fit(-np.eye(5, 4)).save(path)
    same(mapped.search(np.eye(4), 3), expected)  # whoever has the old file mapped keeps it
    assert len(annlab.load(path)) == 5

    def fail(*arguments):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="full"):
        old.save(path)
    assert os.listdir(tmp_path) == ["index"] and len(annlab.load(path)) == 5


def test_files_of_other_kinds(entry, tmp_path):
    path = tmp_path / "x"
    np.save(tmp_path / "array.npy", np.eye(3))
    entry.make().fit(np.eye(3)).save(path)
    with pytest.raises(annlab.CorruptIndexError, match="NumPy array"):
        annlab.load(tmp_path / "array.npy")
    other = next(e for e in ENTRIES if e.index_class is not entry.index_class).index_class
    with pytest.raises(annlab.CorruptIndexError, match=f"holds a {entry.index_class.__name__}, not a {other.__name__}"):
        other.load(path)
    for content, message in [(b"", "0 bytes"), (b"\x93ANNLAB\n", "within its header"), (b"IxFI" + bytes(99), "faiss"),
                             (b"\x93ANNLAB\n\x09\0\0\0" + bytes(99), "version 9.*newer")]:  # fmt: skip
        path.write_bytes(content)
        for options in LOADS:
            with pytest.raises(annlab.CorruptIndexError, match=message):
                entry.index_class.load(path, **options)


def test_damaged_and_forged_files(entry, tmp_path, full):
    """Each is refused, or loads and can be searched and written to: by a full load only if no byte that counts was
    damaged."""
    hostile.content(entry, tmp_path / "original")
    data = (tmp_path / "original").read_bytes()
    rng = np.random.default_rng(None if full else 0)
    n = 900 if full else 120
    for number in range(n):
        make = (hostile.damaged, hostile.forged, hostile.reshaped)[number % 3]
        (tmp_path / f"{number:04}-{make.__name__}.bad").write_bytes(make(rng, data))
    command = [sys.executable, "-m", "tests.contract.hostile", str(ENTRIES.index(entry)), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500 if full else 300)
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"crashed at {reports[-1:]}\n{done.stderr[-3000:]}"
    outcomes = [report for report in reports if report["outcome"] != "began"]
    assert len(outcomes) == 2 * n
    for report in outcomes:
        is_full_load_of_damage = not report["mmap"] and "damaged" in report["file"]
        permitted = ("refused", "identical") if is_full_load_of_damage else ("refused", "identical", "answered")
        assert report["outcome"] in permitted, f"{report['file']} mmap={report['mmap']}:\n{report['outcome']}"
    counts = [sum(r["outcome"] == outcome for r in outcomes) for outcome in ("refused", "identical", "answered")]
    assert min(counts) > 0 and counts[0] > n // 2, f"the mutations are too tame, or too wild: {counts}"


def loads_as(entry, path, message, **options):
    with pytest.raises(annlab.CorruptIndexError, match=message):
        annlab.load(path, **options)
    with pytest.raises(annlab.CorruptIndexError, match=message):
        entry.index_class.load(path, **options)


@pytest.mark.parametrize("mmap", [False, True])
def test_arrays_that_do_not_belong_are_refused_by_name(entry, tmp_path, mmap):
    path = tmp_path / "index"
    hostile.content(entry, path)
    whole = hostile.take_apart(path.read_bytes())
    for old, new, message in [
        ("attribute.owner", "attribute.holder", "names attributes .*owner.*, the arrays are those of .*holder"),
        ("attribute.owner", "structure.owner", "attributes|'structure.owner' is no part"),
        ("attribute.owner", "owner", "attributes|'owner' is no part"),
    ]:
        manifest, arrays = copy.deepcopy(whole)
        manifest["arrays"][new], arrays[new] = manifest["arrays"].pop(old), arrays.pop(old)
        path.write_bytes(hostile.put_together(manifest, arrays, lay_out=True))
        loads_as(entry, path, message, mmap=mmap)
    manifest, arrays = copy.deepcopy(whole)
    manifest["arrays"]["structure.more"], arrays["structure.more"] = dict(manifest["arrays"]["ids"]), arrays["ids"]
    path.write_bytes(hostile.put_together(copy.deepcopy(manifest), arrays, lay_out=True))
    loads_as(entry, path, "'structure.more' is no part", mmap=mmap)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_vectors_that_are_not_finite_are_found_by_a_full_load(entry, tmp_path, value):
    path = tmp_path / "index"
    hostile.content(entry, path)
    whole = hostile.take_apart(path.read_bytes())
    for name in ("tail", "structure.vectors"):
        manifest, arrays = copy.deepcopy(whole)
        vectors = np.frombuffer(arrays[name], np.float32).reshape(-1, 6)
        n_sealed = manifest["arrays"]["structure.vectors"]["shape"][0]
        alive = np.unpackbits(np.frombuffer(arrays["alive"], np.uint8), bitorder="little")
        row = 17 + int(np.argmax(alive[17 + (n_sealed if name == "tail" else 0) :]))  # the dead are not looked at again
        vectors[row, 2] = value
        path.write_bytes(hostile.put_together(manifest, arrays))
        loads_as(entry, path, f"'{name.removeprefix('structure.')}' must be finite, but row {row} ")
        loads_as(entry, path, "must be finite", mmap=True, verify=True)
        mapped = annlab.load(path, mmap=True)  # does not look, and a search may find anything, but ends
        hostile.ask(mapped)
        with pytest.raises(ValueError, match="must be finite"):
            mapped.compact()
