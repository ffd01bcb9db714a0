"""The cache of compiled kernels: whatever happens to its files, kernels run, and one warning says what is wrong."""

import errno
import importlib.util
import os
import sys
import warnings

import numba
import numpy as np
import pytest
from numba.core import caching

from annlab.kernels.simd import cache, path

_SOURCE = """
def add(path, values, amount):
    total = 0.0
    for i in range(values.shape[0]):
        values[i] += amount
        total += values[i]
    return total


def twice(path, value):
    return 2 * value
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Run two small kernels as a new process would, with a cache of its own: cache hits, and what was warned of."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "small.py").write_text(_SOURCE)
    spec = importlib.util.spec_from_file_location("small", tmp_path / "small.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "small", module)
    spec.loader.exec_module(module)

    def start():
        monkeypatch.setattr(cache, "_said", set())
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            add, twice = path.entry(module.add), path.entry(module.twice)
            assert add(np.arange(4.0), 1.0) == add(np.arange(4, dtype=np.float32), 1.0) == 10.0 and twice(21) == 42
        hits = sum(sum(kernel.compiled.stats.cache_hits.values()) for kernel in (add, twice))
        return hits, [str(one.message) for one in said]

    return start


def files(tmp_path):
    return sorted(file for file in (tmp_path / "cache").rglob("*") if file.is_file())


def changed(data):
    place = len(data) // 3
    return data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]


DAMAGE = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "a wrong byte": changed,
    "zeros": lambda data: bytes(len(data)),
    "noise": lambda data: np.random.default_rng(0).bytes(len(data)),
    "another pickle": lambda data: b"\x80\x04\x8c\x01x\x94." + data,
    "no module": lambda data: b"cnowhere\nnothing\n.",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_compiled_around_and_replaced(start, tmp_path, kind):
    assert start() == (0, []) and start() == (3, []), "the cache works"
    whole = {file: file.read_bytes() for file in files(tmp_path)}
    assert {file.suffix for file in whole} == {".nbi", ".nbc"} and len(whole) == 5
    for file in whole:
        file.write_bytes(DAMAGE[kind](whole[file]))
    hits, said = start()
    assert hits == 0 and len(said) <= 1 and (kind in ("another pickle", "no module") or "is damaged" in said[0])
    assert start() == (3, []), "the next process finds a sound cache"


def test_machine_code_with_a_wrong_byte_is_not_run(start, tmp_path):
    start()
    for file in files(tmp_path):
        if file.suffix == ".nbc":
            file.write_bytes(changed(file.read_bytes()))
    hits, said = start()
    assert hits == 0 and len(said) == 1 and "is damaged" in said[0]


def test_a_file_of_another_signature_is_not_run(start, tmp_path):
    start()
    one, other = [file for file in files(tmp_path) if file.suffix == ".nbc" and "add" in file.name]
    content = one.read_bytes(), other.read_bytes()
    one.write_bytes(content[1])
    other.write_bytes(content[0])
    hits, said = start()
    assert hits == 1 and len(said) == 1 and "another signature" in said[0]
    assert start() == (3, [])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_full_disk_stops_nothing(start, tmp_path, monkeypatch, number):
    def fails(self, path):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(caching.IndexDataCacheFile, "_open_for_write", fails)
    hits, said = start()
    assert hits == 0 and len(said) == 1 and os.strerror(number) in said[0] and "NUMBA_CACHE_DIR" in said[0]
    assert not [file for file in files(tmp_path) if file.suffix in (".nbc", ".nbi")]


def test_where_no_folder_can_be_written_kernels_run_all_the_same(start, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file in the way")
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [caching.UserProvidedCacheLocator])
    hits, said = start()
    assert hits == 0 and len(said) == 1 and "no place for a cache" in said[0]


def test_an_index_of_other_sources_is_no_damage(tmp_path, monkeypatch):
    class Gone(tuple):
        pass

    Gone.__qualname__ = "Gone"
    monkeypatch.setattr(sys.modules[__name__], "Gone", Gone, raising=False)
    Gone.__module__ = __name__
    former = cache._CheckedFile(str(tmp_path), "kernel", "former sources")
    former.save(("signature", Gone()), b"code")
    monkeypatch.delattr(sys.modules[__name__], "Gone")
    present = cache._CheckedFile(str(tmp_path), "kernel", "present sources")
    assert present.load(("signature", 1)) is None
    present.save(("signature", 1), b"new code")
    assert present.load(("signature", 1)) == b"new code"
