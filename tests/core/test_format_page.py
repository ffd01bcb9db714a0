"""docs/format.md lists the arrays of every kind: their names, types and numbers of axes, as they are written."""

import re
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
