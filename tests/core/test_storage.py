"""The file format by itself: what is written is read; every damage has its message."""

import hashlib
import json
import os

import numpy as np
import pytest

import annlab
from annlab.core import storage
from annlab.core.storage import CorruptIndexError
from tests.contract.hostile import HEADER, put_together, take_apart

ARRAYS = {
    "a": np.arange(12, dtype=np.float32).reshape(3, 4),
    "empty": np.empty((0, 5), np.int64),
    "bits": np.array([True, False, True]),
    "bytes": np.arange(200, dtype=np.uint8).reshape(10, 20)[:, ::2],
}


@pytest.fixture
def path(tmp_path):
    storage.write(tmp_path / "file", {"kind": "x", "n": 3}, ARRAYS, {"a"})
    return tmp_path / "file"


@pytest.mark.parametrize("mmap", [False, True])
def test_what_was_written_is_read(path, mmap):
    manifest, arrays = storage.read(path, mmap, None)
    assert manifest == {"kind": "x", "n": 3} == {k: v for k, v in storage.read_manifest(path).items() if k != "arrays"}
    assert list(arrays) == list(ARRAYS)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, ARRAYS[name])
        assert array.dtype == ARRAYS[name].dtype and array.shape == ARRAYS[name].shape
        assert array.flags.c_contiguous and array.flags.writeable and array.flags.aligned
        if array.size:
            array[...] = 0  # private: the file stays
    np.testing.assert_array_equal(storage.read(path, mmap, True)[1]["a"], ARRAYS["a"])


def test_arrays_begin_at_multiples_of_64(path):
    data = path.read_bytes()
    length = HEADER.unpack(data[: HEADER.size])[3]
    start = -(-(HEADER.size + length) // 64) * 64
    entries = json.loads(data[HEADER.size : HEADER.size + length])["arrays"]
    for name, entry in entries.items():
        assert entry["offset"] % 64 == 0
        raw = data[start + entry["offset"] :][: ARRAYS[name].nbytes]
        assert raw == ARRAYS[name].tobytes() and hashlib.sha256(raw).hexdigest() == entry["sha256"]
    assert len(data) % 64 == 0


def test_every_flipped_bit_of_an_array_is_found(path):
    data = bytearray(path.read_bytes())
    place = data.find(ARRAYS["a"].tobytes())
    for offset in (0, 17, 47):
        data[place + offset] ^= 4
        path.write_bytes(data)
        for mmap, verify in [(False, None), (False, True), (True, True)]:
            with pytest.raises(CorruptIndexError, match="array 'a' does not match its SHA-256"):
                storage.read(path, mmap, verify)
        storage.read(path, True, None)  # bulk is not verified when it is mapped
        data[place + offset] ^= 4
    place = data.find(ARRAYS["bytes"].tobytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptIndexError, match="array 'bytes'"):
        storage.read(path, True, None)  # everything else is


FORGERIES = {
    "negative offset": (lambda m: m["arrays"]["a"].update(offset=-64), "offset -64 does not fit"),
    "odd offset": (lambda m: m["arrays"]["a"].update(offset=1), "offset 1 does not fit"),
    "far offset": (lambda m: m["arrays"]["a"].update(offset=2**62), "truncated or its manifest is wrong"),
    "large shape": (lambda m: m["arrays"]["a"].update(shape=[2**40, 2**40]), "does not fit"),
    "negative shape": (lambda m: m["arrays"]["a"].update(shape=[-1, 4]), r"shape \[-1, 4\]"),
    "float shape": (lambda m: m["arrays"]["a"].update(shape=[3.0, 4]), r"shape \[3.0, 4\]"),
    "bool shape": (lambda m: m["arrays"]["a"].update(shape=[True, 4]), r"shape \[True, 4\]"),
    "deep shape": (lambda m: m["arrays"]["a"].update(shape=[1] * 40), "shape"),
    "object dtype": (lambda m: m["arrays"]["a"].update(dtype="object"), "unknown dtype 'object'"),
    "dtype list": (lambda m: m["arrays"]["a"].update(dtype=["float32"]), "unknown dtype"),
    "no hash": (lambda m: m["arrays"]["a"].pop("sha256"), "not fully described"),
    "entry is text": (lambda m: m["arrays"].update(a="x"), "not fully described"),
    "no arrays": (lambda m: m.pop("arrays"), "lists no arrays"),
    "arrays are a list": (lambda m: m.update(arrays=[1]), "lists no arrays"),
}


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("name", FORGERIES)
def test_forged_manifests_are_refused(path, name, mmap):
    forge, message = FORGERIES[name]
    manifest, arrays = take_apart(path.read_bytes())
    path.write_bytes(put_together(manifest, arrays))
    storage.read(path, mmap, True)  # the forger's tools work
    forge(manifest)
    path.write_bytes(put_together(manifest, arrays))
    with pytest.raises(CorruptIndexError, match=message):
        storage.read(path, mmap, None)


def test_deeply_nested_json_is_refused(path):
    text = b"[" * 100_000
    path.write_bytes(HEADER.pack(storage.MAGIC, 1, 0, len(text), hashlib.sha256(text).digest()) + text)
    with pytest.raises(CorruptIndexError, match="no JSON"):
        storage.read(path, False, None)


@pytest.mark.parametrize("key", [b'"kind": "x"', b'"dtype": "float32"', b'"a": {'])
def test_a_key_that_is_given_twice_hides_nothing(path, key):
    data = path.read_bytes()
    length = HEADER.unpack(data[: HEADER.size])[3]
    text = data[HEADER.size : HEADER.size + length]
    again = key + b"}, " if key.endswith(b"{") else key + b", "
    text = text.replace(key, again + key, 1)
    path.write_bytes(HEADER.pack(storage.MAGIC, 1, 0, len(text), hashlib.sha256(text).digest()) + text)
    name = key.split(b'"')[1].decode()
    with pytest.raises(CorruptIndexError, match=f"the key '{name}' is given twice"):
        storage.read(path, False, None)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
def test_what_is_no_number_in_json_is_refused(path, number):
    text = b'{"kind": "x", "n": ' + number + b', "arrays": {}}'
    path.write_bytes(HEADER.pack(storage.MAGIC, 1, 0, len(text), hashlib.sha256(text).digest()) + text)
    with pytest.raises(CorruptIndexError, match=f"{number.decode()} is no number"):
        storage.read(path, False, None)


@pytest.mark.parametrize("mmap", [False, True])
def test_arrays_that_overlap_are_refused(path, mmap):
    manifest, arrays = take_apart(path.read_bytes())
    manifest["arrays"]["bytes"]["offset"] = manifest["arrays"]["a"]["offset"]
    path.write_bytes(put_together(manifest, arrays))
    with pytest.raises(CorruptIndexError, match="array 'bytes' begins within another one"):
        storage.read(path, mmap, False)


def test_a_bool_is_true_or_false(path):
    manifest, arrays = take_apart(path.read_bytes())
    arrays["bits"][1] = 2
    path.write_bytes(put_together(manifest, arrays))
    with pytest.raises(CorruptIndexError, match="array 'bits' holds 2"):
        storage.read(path, False, None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_ordinary_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for read in (lambda p: storage.read(p, False, None), storage.read_manifest):
        with pytest.raises(OSError, match="pipe is a named pipe"):
            read(tmp_path / "pipe")
        with pytest.raises(IsADirectoryError):
            read(tmp_path)
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "nothing")


def test_a_file_that_is_replaced_while_it_is_read_is_read_whole(path, monkeypatch):
    check = storage._check_entries

    def replaced_meanwhile(*arguments):
        storage.write(path, {"kind": "y"}, {name: array[::-1] for name, array in ARRAYS.items()}, set())
        return check(*arguments)

    monkeypatch.setattr(storage, "_check_entries", replaced_meanwhile)
    manifest, arrays = storage.read(path, True, True)
    assert manifest["kind"] == "x"
    np.testing.assert_array_equal(arrays["a"], ARRAYS["a"])


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"Out of range|not JSON"):
        storage.write(tmp_path / "file", {"x": float("nan")}, ARRAYS, set())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", ["attribute", "strings", "string_ends"])
def test_a_part_of_an_attribute_that_is_missing_or_renamed_is_named(tmp_path, part):
    file = tmp_path / "index"
    annlab.ExactIndex().fit(np.eye(3), attributes={"brand": ["acme", "other", None]}).save(file)
    manifest, arrays = take_apart(file.read_bytes())
    name, other = f"{part}.brand", "x"
    manifest["arrays"][other], arrays[other] = manifest["arrays"].pop(name), arrays.pop(name)
    file.write_bytes(put_together(manifest, arrays, lay_out=True))
    with pytest.raises(CorruptIndexError, match=rf"attribute 'brand' has \[.*\], but no '{part}'"):
        annlab.load(file)
