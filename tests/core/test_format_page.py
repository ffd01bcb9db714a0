"""docs/format.md lists the arrays of every kind, as they are written, and says how to read them: done here by NumPy."""

import hashlib
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest

import annlab
from annlab.core import storage
from tests.contract.indexes import ENTRIES

PAGE = Path(__file__).parents[2] / "docs" / "format.md"
KINDS = ("ExactIndex", "KDTreeIndex", "BallTreeIndex", "IVFIndex", "VamanaIndex", "LSHIndex")
NAME = {"attribute.owner": "attribute.NAME", "attribute.part": "attribute.NAME"}


def tables():
    """The arrays of every section: name -> (dtype, axes), axes None for any."""
    found = {}
    for section in PAGE.read_text().split("\n### ")[1:]:
        title, _, text = section.partition("\n")
        rows = re.findall(r"^\| `([\w.]+)` *\| (\w+) *\| (\([^|]*\)|any) *\|", text, re.MULTILINE)
        arrays = {name: (dtype, None if shape == "any" else len(re.findall(r"[^,()]+", shape.strip("() ")))) for
                  name, dtype, shape in rows}  # fmt: skip
        for kind in title.split(", "):
            found[kind] = arrays
    return found


def written(kind, folder):
    """The arrays that the indexes of a kind write, in all their variants: name -> (dtypes, axes)."""
    rng, found = np.random.default_rng(0), {}
    for entry in [entry for entry in ENTRIES if issubclass(entry.index_class, getattr(annlab, kind))]:
        for metric in entry.metrics:
            for dtype, wide in ((np.float32, False), (np.float64, False), (np.float32, kind == "VamanaIndex")):
                vectors = rng.random((769, 6)).astype(dtype)
                if wide:  # so that codes hold few components of many coordinates
                    vectors = vectors @ rng.random((6, 400), dtype=np.float32)
                vectors[7] = vectors[200]  # so that a node of a graph has several rows
                index = entry.make(metric).fit(vectors[69:], attributes={"owner": np.arange(700)})
                index.add(vectors[:69], attributes={"owner": np.arange(69)})
                index.save(folder / "index")
                for name, array in storage.read(folder / "index", False, None)[1].items():
                    dtypes, axes = found.setdefault(NAME.get(name, name), (set(), set()))
                    dtypes.add(array.dtype.name)
                    axes.add(array.ndim)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_lists_what_is_written(kind, tmp_path):
    listed = tables()
    expected = listed["Every index"] | listed[kind]
    found = written(kind, tmp_path)
    assert sorted(found) == sorted(expected), "docs/format.md and the arrays of this kind differ"
    for name, (dtypes, axes) in found.items():
        dtype, n_axes = expected[name]
        assert dtype == "any" or dtypes == ({"float32", "float64"} if dtype == "float" else {dtype}), name
        assert n_axes is None or axes == {n_axes}, name


def test_the_page_says_what_the_manifest_holds(tmp_path):
    ENTRIES[0].make().fit(np.eye(4)).save(tmp_path / "index")
    text = PAGE.read_text().split("## The manifest")[1].split("\n## ")[0]
    fields = re.findall(r"^\| `(\w+)` *\|", text, re.MULTILINE)
    assert sorted(fields) == sorted(storage.read_manifest(tmp_path / "index"))


# ---- read by the page alone


class ByHand:
    """A file, read by NumPy as the page says; `points` are its rows about the center."""

    def __init__(self, path):
        file = path.read_bytes()
        assert file[:8] == b"\x93ANNLAB\n"
        version, _, length = struct.unpack("<IIQ", file[8:24])
        assert version == 1 and hashlib.sha256(file[64 : 64 + length]).digest() == file[24:56]
        self.manifest, self.arrays = json.loads(file[64 : 64 + length]), {}
        first = -(-(64 + length) // 64) * 64
        for name, about in self.manifest["arrays"].items():
            n_bytes = int(np.prod(about["shape"])) * np.dtype(about["dtype"]).itemsize
            raw = file[first + about["offset"] : first + about["offset"] + n_bytes]
            assert hashlib.sha256(raw).hexdigest() == about["sha256"]
            self.arrays[name] = np.frombuffer(raw, about["dtype"]).reshape(about["shape"])

    def __getitem__(self, name):
        return self.arrays[f"structure.{name}"]

    def points(self, scale=1.0):
        rows = self["vectors"].astype(np.float64)
        if self.manifest["parameters"]["metric"] == "cosine":
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return (rows - self["center"][: rows.shape[1]]) * scale


def by_hand(index, folder, n=700, dim=12):
    index.fit(np.random.default_rng(3).random((n, dim), np.float32)).save(folder / "index")
    return ByHand(folder / "index")


def bits_of(words):
    return np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=-1, bitorder="little")


def test_ids_rows_and_attributes_are_read_by_the_page(tmp_path):
    names = np.array(["ash", None, "birch"] * 20, object)
    index = annlab.ExactIndex().fit(np.eye(60), ids=np.arange(60) + 5, attributes={"tree": names})
    index.add(np.ones((2, 60)), ids=[1, 2], attributes={"tree": ["elm", "ash"], "age": [7, 8]})
    index.remove([5, 9])
    index.save(tmp_path / "index")
    file = ByHand(tmp_path / "index")
    arrays, alive = file.arrays, bits_of(file.arrays["alive"])[:62] == 1
    assert np.array_equal(arrays["ids"][alive], [*np.delete(np.arange(60) + 5, [0, 4]), 1, 2])
    np.testing.assert_array_equal(
        np.vstack([file["vectors"], arrays["tail"]]), np.vstack([np.eye(60), np.ones((2, 60))])
    )
    text, ends = arrays["strings.tree"].tobytes(), arrays["string_ends.tree"]
    table = [text[start:end].decode() for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    assert [None if place < 0 else table[place] for place in arrays["attribute.tree"]] == [*names, "elm", "ash"]
    assert (
        arrays["attribute.age"][60:].tolist() == [7, 8] and arrays["missing.age"].tolist() == [True] * 60 + [False] * 2
    )


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_bytes_of_an_exact_index_are_read_by_the_page(metric, tmp_path):
    file = by_hand(annlab.ExactIndex(metric=metric, precision="int8"), tmp_path)
    y = 127 - file["codes"].transpose(0, 2, 1, 3).reshape(-1, 12)[:700].astype(float)
    steps = np.repeat(file["limits"][:, 0], 32)[:700, None]
    scale = file["exact_step"][0] or 2.0 ** -np.frexp(file["extent"][0])[1]
    wrong = file["byte_center"] + y * steps / scale - (file.points() + file["center"])
    assert np.abs(wrong).max() < 0.51 * steps.max() / scale


@pytest.mark.parametrize("index_class", [annlab.KDTreeIndex, annlab.BallTreeIndex])
def test_bounds_of_trees_are_read_by_the_page(index_class, tmp_path):
    file = by_hand(index_class(), tmp_path)
    leaves = [file.points()[start : start + 16] for start in range(0, 700, 16)]
    assert len(file["nodes"]) == 3 + 1  # for 44 leaves, and the root
    for number, rows in enumerate(leaves):
        bounds = file["nodes"][number // 16, :, number % 16]
        if index_class is annlab.KDTreeIndex:
            np.testing.assert_allclose(
                bounds, np.stack([rows.min(axis=0), rows.max(axis=0)], axis=1).ravel(), atol=1e-6
            )
        else:
            farthest = np.linalg.norm(rows - bounds[:-1], axis=1).max()
            assert farthest <= bounds[-1] + 1e-6 and bounds[-1] < 2 * farthest


@pytest.mark.parametrize(("storage", "metric"), [("flat", "l2"), ("sq8", "l2"), ("sq8", "cosine"), ("pq4", "l2")])
def test_lists_and_their_codes_are_read_by_the_page(storage, metric, tmp_path):
    file = by_hand(annlab.IVFIndex(n_lists=5, storage=storage, metric=metric), tmp_path)
    points, offsets, centroids = file.points(file["numbers"][0]), file["list_offsets"], file["centroids"]
    lists = np.repeat(np.arange(5), np.diff(offsets))
    assert np.array_equal(((points[:, None] - centroids) ** 2).sum(axis=2).argmin(axis=1), lists)
    residuals = points - centroids[lists]
    if storage == "flat":
        np.testing.assert_allclose(file["halves"], (residuals**2).sum(axis=1) / 2, rtol=1e-4)
        return
    if storage == "sq8":
        restored = file["steps"][lists, None] * file["widths"] * (file["codes"][:, :12].astype(float) - 128)
    else:
        blocks = np.cumsum([0, *-(-np.diff(offsets) // 16)])
        row = np.arange(700) - offsets[lists]
        group, part = np.divmod(np.arange(6), 8)
        found = file["codes"][blocks[lists] + row // 16][
            np.arange(700)[:, None], group, 16 * (part % 4) + row[:, None] % 16
        ]
        codes = np.where(part < 4, found & 15, found >> 4)
        words = file["codebooks"][np.arange(6), :, codes]  # (rows, parts, width)
        restored = file["lengths"][lists, None] * words.reshape(700, 12)
    left = ((residuals - restored) ** 2).sum(axis=1)
    assert np.median(left) < (0.2 if storage == "pq4" else 1e-3) * np.median((residuals**2).sum(axis=1))
    said = (restored**2).sum(axis=1) / 2 + (0 if file["framed"][0] else (centroids[lists] * restored).sum(axis=1))
    stored = file["terms"][:700] if storage == "pq4" else file["halves"] - left / 2
    np.testing.assert_allclose(stored, said, atol=1e-4)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_nodes_of_a_graph_are_read_by_the_page(metric, tmp_path):
    file = by_hand(annlab.VamanaIndex(storage="sq8", degree=16, metric=metric), tmp_path, n=1100)
    scale, step, _ = file["numbers"]
    restored = step * (file["codes"][:, :12].astype(float) - 128)
    assert np.abs(restored - file.points(scale)).mean() < 0.3 * step
    links, norms = np.split(file["links"], 2, axis=1)
    squares = (restored**2).sum(axis=1)[links]
    np.testing.assert_allclose(norms.view(np.float32)[links >= 0], squares[links >= 0], rtol=1e-4)


@pytest.mark.parametrize("mode", ["scan", "buckets"])
def test_codes_and_buckets_are_read_by_the_page(mode, tmp_path):
    settings = {"n_bits": 128} if mode == "scan" else {"family": "hyperplanes", "n_tables": 9, "n_bits": 6}
    file = by_hand(annlab.LSHIndex(mode=mode, **settings), tmp_path)
    signs = file.points(file["range"][0]) @ file["normals"].T > 0
    if mode == "scan":
        words = file["blocks"].transpose(0, 2, 1).reshape(-1, 2)[:700]
    else:
        words, offsets = file["records"][:, :-1], file["base_offsets"]
        keys = (signs[:, : 9 * 6].reshape(700, 9, 6) * 2 ** np.arange(6)).sum(axis=2)
        for row in range(0, 700, 50):
            for table, key in enumerate(keys[row]):
                start, stop = offsets[table * 64 + key : table * 64 + key + 2]
                assert row in file["base_rows"][start:stop]
    assert (bits_of(words) == signs[:, : bits_of(words).shape[1]]).mean() > 0.9999  # but for products that are nearly 0
