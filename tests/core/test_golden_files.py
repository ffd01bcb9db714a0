"""Files that earlier versions wrote are read, and answer as they did."""

import numpy as np
import pytest

import annlab
from tests.golden import make

ANSWERS = np.load(make.FOLDER / "answers.npz")


@pytest.mark.parametrize("mmap", [False, True], ids=["read", "mapped"])
@pytest.mark.parametrize("build, metric, dtype", make.cases())
def test_a_file_of_an_earlier_version_is_read_and_answers_as_it_did(build, metric, dtype, mmap):
    name = f"{build}-{metric}-{dtype}"
    vectors, ids, owners, removed, queries = make.content(dtype)
    index = annlab.load(make.FOLDER / f"{name}.annlab", mmap=mmap)
    living = np.flatnonzero(~np.isin(ids, removed))
    assert sorted(index.ids) == sorted(ids[living])
    np.testing.assert_array_equal(index.vectors(ids[living]), vectors[living])
    found = index.search(queries, k=7)
    expected_ids = ANSWERS[f"{name}-ids"]
    if build.startswith(("exact", "kdtree", "balltree")):
        np.testing.assert_array_equal(found.ids, expected_ids)
        np.testing.assert_array_equal(found.distances, ANSWERS[f"{name}-distances"])
    else:
        assert np.mean([np.isin(a, b).mean() for a, b in zip(expected_ids, found.ids, strict=True)]) >= 0.8
    mine = index.search(queries, k=7, where=annlab.col("owner") == 1)
    assert np.isin(mine.ids[mine.valid], ids[owners == 1]).all() and mine.valid.all()
