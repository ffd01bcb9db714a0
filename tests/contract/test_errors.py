"""The error matrix: what is unusable is refused at the door, by an exception that names the numbers and the fix."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse

import annlab

GOOD = np.arange(40.0, dtype=np.float32).reshape(10, 4)


def _with(value, row=6):
    bad = GOOD.astype(np.float64)
    bad[row, 2] = value
    return bad


VECTORS = {
    "nan": (_with(np.nan), ValueError, r"finite: row 6 holds nan \(1 of 10"),
    "inf": (_with(-np.inf, 3), ValueError, r"row 3 holds -inf"),
    "overflow": (_with(1e200), ValueError, r"row 6 .*magnitude 1e\+200.*overflow"),
    "float32 overflow": (_with(3e38).astype(np.float32), ValueError, r"row 6 .*3e\+38.*scale the data"),
    "1-d": (GOOD[0], ValueError, r"2-d.*shape \(4,\).*reshape\(1, -1\)"),
    "3-d": (GOOD[None], ValueError, r"2-d.*shape \(1, 10, 4\)"),
    "no dimension": (GOOD[:, :0], ValueError, r"shape \(10, 0\).*at least one dimension"),
    "strings": (np.array([["a", "b"]]), TypeError, "numeric.*<U1"),
    "objects": (np.array([[None, 1]]), TypeError, "numeric.*object"),
    "complex": (GOOD.astype(complex), TypeError, "numeric.*complex128"),
    "dates": (GOOD.astype("datetime64[s]"), TypeError, "numeric.*datetime64"),
    "ragged": ([[1.0, 2.0], [3.0]], ValueError, "same length"),
    "sparse": (sparse.csr_matrix(GOOD), TypeError, "sparse.*toarray"),
    "large integers": (np.array([[2**24 + 1, 0, 0, 0]]), ValueError, "16777217.*float32.*float64"),
    "nothing": (None, TypeError, "numeric"),
}


@pytest.mark.parametrize("name", VECTORS)
def test_bad_vectors_are_refused_and_change_nothing(entry, name):
    bad, error, message = VECTORS[name]
    with pytest.raises(error, match=message):
        entry.make().fit(bad)
    index = entry.make().fit(GOOD)
    with pytest.raises(error):  # a search takes one query as a 1-d array, and converts to the type of the index
        index.add(bad)
    if name != "1-d":
        with pytest.raises(error):
            index.search(bad, 3)
        with pytest.raises(error):
            index.search_radius(bad, 3.0)
    assert len(index) == 10


def _adds(value):
    """Add a row whose attribute has this value."""
    return lambda i: i.add(GOOD[:1], attributes={"owner": [value]})


CALLS = {
    "k of 0": (lambda i: i.search(GOOD, 0), ValueError, "k must be .*1.* is 0"),
    "k of -3": (lambda i: i.search(GOOD, -3), ValueError, "-3"),
    "k of 2.5": (lambda i: i.search(GOOD, 2.5), TypeError, "k must be an integer, not 2.5"),
    "k of True": (lambda i: i.search(GOOD, True), TypeError, "True"),
    "k of None": (lambda i: i.search(GOOD, None), TypeError, "None"),
    "k too large": (lambda i: i.search(GOOD, 2**40), ValueError, str(2**40)),
    "wrong dimension": (lambda i: i.search(GOOD[:, :3], 1), ValueError, "queries has 3 dimensions.*has 4"),
    "transposed": (lambda i: i.add(np.ones((4, 10))), ValueError, "10 dimensions.*has 4; is it transposed"),
    "threads of 0": (lambda i: i.search(GOOD, 1, threads=0), ValueError, "threads must be .*is 0"),
    "threads of 1.5": (lambda i: i.search(GOOD, 1, threads=1.5), TypeError, "1.5"),
    "radius nan": (lambda i: i.search_radius(GOOD, np.nan), ValueError, "radius must be a number, not nan"),
    "radius negative": (lambda i: i.search_radius(GOOD, -0.5), ValueError, r"radius must be at least 0, but is -0\.5"),
    "radii too few": (lambda i: i.search_radius(GOOD, [1.0, 2.0]), ValueError, r"shape \(2,\) for 10 queries"),
    "distance negative": (lambda i: i.search(GOOD, 1, max_distance=-1), ValueError, "max_distance must be at least 0"),
    "radius text": (lambda i: i.search_radius(GOOD, "near"), TypeError, "'near'"),
    "limit of 0": (lambda i: i.search_radius(GOOD, 1.0, limit=0), ValueError, "limit.*is 0"),
    "misspelt parameter": (lambda i: i.search(GOOD, 1, treads=2), TypeError, "no parameter 'treads'"),
    "ids twice": (lambda i: i.add(GOOD[:2], [20, 20]), ValueError, "id 20 is given twice"),
    "ids known": (
        lambda i: i.add(GOOD[:2], [20, 3], attributes={"owner": [1, 2]}),
        ValueError,
        r"id 3 is already.*1 of 2.*replace",
    ),
    "ids too few": (lambda i: i.add(GOOD[:3], [20]), ValueError, "1 ids for 3 vectors"),
    "ids negative": (lambda i: i.add(GOOD[:2], [20, -4]), ValueError, "-4.*non-negative"),
    "ids of floats": (lambda i: i.add(GOOD[:2], [1.0, 2.5]), TypeError, "integers, not float64"),
    "ids of strings": (lambda i: i.add(GOOD[:2], ["a", "b"]), TypeError, "integers, not <U1"),
    "ids of bools": (lambda i: i.add(GOOD[:2], [True, False]), TypeError, "integers, not bool"),
    "ids of bools and numbers": (lambda i: i.add(GOOD[:2], [True, 20]), TypeError, "integers, not bool"),
    "ids beyond int64": (lambda i: i.add(GOOD[:2], [20, 2**63]), ValueError, str(2**63)),
    "ids in a set": (lambda i: i.add(GOOD[:2], {20, 21}), TypeError, "set.*order.*list"),
    "ids to update in a set": (lambda i: i.update({1, 2}, GOOD[:2]), TypeError, "set.*order.*list"),
    "ids 2-d": (lambda i: i.add(GOOD[:2], [[1], [2]]), ValueError, r"1-d.*\(2, 1\)"),
    "ids too large": (lambda i: i.add(GOOD[:1], np.array([2**63], np.uint64)), ValueError, str(2**63)),
    "remove unknown": (lambda i: i.remove([3, 99]), KeyError, r"id 99 .*1 of 2"),
    "update unknown": (lambda i: i.update([99], GOOD[:1]), KeyError, "id 99"),
    "update lengths": (lambda i: i.update([1, 2], GOOD[:1]), ValueError, "2 ids for 1 vectors"),
    "vectors unknown": (lambda i: i.vectors([99]), KeyError, "id 99"),
    "on_duplicate": (lambda i: i.add(GOOD, on_duplicate="replce"), ValueError, "did you mean 'replace'"),
    "missing": (lambda i: i.remove([1], missing="ignor"), ValueError, "did you mean 'ignore'"),
    "mask length": (lambda i: i.search(GOOD, 1, allowed=np.ones(9, bool)), ValueError, r"\(9,\).*10 vectors"),
    "filter of floats": (lambda i: i.search(GOOD, 1, allowed=[1.5]), TypeError, "allowed must be integers"),
    "filters too few": (lambda i: i.search(GOOD, 1, excluded=[[1], [2]]), ValueError, "excluded has 2 entries for 10"),
    "unknown attribute": (
        lambda i: i.search(GOOD, 1, where=annlab.col("ownr") == 1),
        TypeError,
        "did you mean 'owner'",
    ),
    "number as condition": (lambda i: i.search(GOOD, 1, where=annlab.col("owner")), TypeError, "int64, not bool"),
    "where no condition": (lambda i: i.search(GOOD, 1, where="owner"), TypeError, "condition.*'owner'"),
    "attributes missing": (lambda i: i.add(GOOD), ValueError, r"\[.*\] given, but the index has \['owner'.*\]"),
    "attributes short": (lambda i: i.add(GOOD, attributes={"owner": [1]}), ValueError, r"'owner'.*\(1,\) for 10"),
    "attributes of text": (_adds("a"), ValueError, "'owner' holds integers, and 'a'"),
    "attributes of bytes": (_adds(np.array([b"a"])[0]), TypeError, "'owner'.*b'a'"),
    "attributes of dates": (_adds(np.datetime64("2024-01-01")), TypeError, "'owner' holds datetime"),
    "attributes of unsigned numbers": (_adds(np.uint64(2**63)), ValueError, f"'owner' holds {2**63}"),
    "attributes without a name": (lambda i: i.add(GOOD[:1], attributes={3: [1]}), TypeError, "named by a string, not"),
    "condition of another kind": (lambda i: i.select(annlab.col("owner") == "1"), TypeError, "integers; '1' is str"),
    "values of another kind": (lambda i: i.select(annlab.col("owner").isin(["1"])), TypeError, "integers; '1' is str"),
    "compared with None": (lambda i: i.select(annlab.col("owner") == None), TypeError, "is_missing"),  # noqa: E711
    "progress": (lambda i: i.compact(progress=3), TypeError, "progress.*3"),
}


@pytest.mark.parametrize("name", CALLS)
def test_bad_calls_are_refused_and_change_nothing(entry, name):
    call, error, message = CALLS[name]
    index = entry.make().fit(GOOD, attributes={"owner": np.arange(10)})
    with pytest.raises(error, match=message):
        call(index)
    assert index.ids.tolist() == list(range(10))


def test_bad_construction_is_refused_by_name(entry):
    with pytest.raises(ValueError, match="one of 'l2', 'cosine', 'ip', not 'cosin'; did you mean 'cosine'"):
        entry.make("cosin")
    with pytest.raises(TypeError, match="metrc"):
        entry.index_class(metrc="l2")
    with pytest.raises(ValueError, match="dim must be at least 1, but is 0"):
        entry.make(dim=0)
    with pytest.raises(TypeError, match=r"dim must be an integer, not 3\.5"):
        entry.make(dim=3.5)
    for metric in {"l2", "cosine", "ip"} - set(entry.metrics):
        with pytest.raises(ValueError, match=f"does not support metric='{metric}'.*Index"):  # and names one that does
            entry.make(metric)
    for misspelt in [name[:-1] + "q" for name in entry.make().parameters]:
        with pytest.raises(TypeError, match=misspelt):
            entry.index_class(**{misspelt: 1})


def test_an_index_without_content(entry):
    index = entry.make()
    for use in (lambda: index.search(GOOD, 1), lambda: index.vectors(), lambda: index.filter(allowed=[1])):
        with pytest.raises(ValueError, match=r"empty|no content"):
            use()
    with pytest.raises(AttributeError, match="dim="):
        _ = index.dim
    with pytest.raises(KeyError, match="id 3"):
        index.remove([3])
    assert len(index) == 0 and 3 not in index and "empty" in repr(index)
    with pytest.raises(ValueError, match=r"needs .* vector; to begin empty"):
        index.fit(np.empty((0, 4)))


def test_membership_is_exact(entry):
    index = entry.make().fit(GOOD)
    assert 7 in index and np.int32(7) in index and 10 not in index and -1 not in index and 2**70 not in index
    assert 7.5 not in index and "a" not in index


def test_saving_where_nothing_can_be_written_says_so(entry, tmp_path):
    index = entry.make().fit(GOOD)
    with pytest.raises(FileNotFoundError):
        index.save(tmp_path / "missing" / "index.annlab")
    with pytest.raises(IsADirectoryError, match="folder"):
        index.save(tmp_path)
    with pytest.raises(FileNotFoundError):
        annlab.load(tmp_path / "missing.annlab")
    assert os.listdir(tmp_path) == []


def test_a_bad_thread_setting_is_refused_by_name():
    code = "import annlab, numpy; annlab.ExactIndex().fit(numpy.eye(3)).search(numpy.eye(3), 1)"
    environment = {**os.environ, "ANNLAB_THREADS": "many"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode != 0 and "ANNLAB_THREADS must be a whole number of at least 1, not 'many'" in done.stderr
