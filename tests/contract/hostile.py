"""Damaged and forged index files, and the process that opens them: a crash there is a failed test, not the end of it.

`python -m tests.contract.hostile NUMBER FOLDER` loads every file of the folder in both modes with the NUMBER-th index
of the list, searches what loads and writes to it, and prints one JSON line for each: file, mode, and what came of it.
"""

import contextlib
import copy
import faulthandler
import hashlib
import json
import struct
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np

import annlab
from tests.contract.indexes import ENTRIES

HEADER = struct.Struct("<8sIIQ32s8x")
VALUES = [None, True, -1, 0, 1, 3, 64, 2**31 - 1, 2**31, 2**48, 2**63, -(2**63), 2**70, 1e308, 0.5, "", "x", "float16",
          "int64", "float64", "bool", "ip", "ToyIndex", [], [0], [2**40, 2**40], [-1, 3], {}, {"shape": 3}]  # fmt: skip
_SMALL = 200  # bytes of an array
EXTREMES = {
    "i": [-1, -(2**63), 2**63 - 1, 2**31, 2**31 - 1, 0, 1, 10**6],
    "u": [2**64 - 1, 2**63, 2**31, 0, 1],
    "f": [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e38, 1e308, 1e-45],
    "b": [0, 1],
}


def content(entry, path):
    """A small index with everything in it (sealed rows, tail, tombstones, attributes), saved; the queries to ask."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((260, 6)).astype(np.float32)
    attributes = {"owner": rng.integers(3, size=260), "private": rng.random(260) < 0.5}
    index = entry.make().fit(
        vectors[:200], rng.permutation(400)[:200], attributes={n: a[:200] for n, a in attributes.items()}
    )
    index.add(vectors[200:], np.arange(400, 460), attributes={n: a[200:] for n, a in attributes.items()})
    index.remove(index.ids[::6])
    index.save(path)


def take_apart(data):
    """Manifest and arrays (name -> bytes) of a file."""
    _, _, _, length, _ = HEADER.unpack(data[: HEADER.size])
    manifest = json.loads(data[HEADER.size : HEADER.size + length])
    start = -(-(HEADER.size + length) // 64) * 64
    arrays = {}
    for name, entry in manifest["arrays"].items():
        n_bytes = int(np.prod(entry["shape"])) * np.dtype(entry["dtype"]).itemsize
        arrays[name] = bytearray(data[start + entry["offset"] : start + entry["offset"] + n_bytes])
    return manifest, arrays


def put_together(manifest, arrays, lay_out=False):
    """A file of a forged manifest and arrays, with hashes that are right, and with `lay_out` the offsets too."""
    offset = 0
    for name, entry in manifest.get("arrays", {}).items() if isinstance(manifest.get("arrays"), dict) else ():
        if isinstance(entry, dict) and name in arrays and "sha256" in entry and isinstance(entry["sha256"], str):
            entry["sha256"] = hashlib.sha256(arrays[name]).hexdigest()
        if lay_out:
            entry["offset"], offset = offset, offset + -(-len(arrays[name]) // 64) * 64
    text = json.dumps(manifest).encode()
    data = HEADER.pack(b"\x93ANNLAB\n", 1, 0, len(text), hashlib.sha256(text).digest()) + text
    data += bytes(-len(data) % 64)
    for name in [name for name in manifest.get("arrays", {}) if name in arrays] if lay_out else arrays:
        data += bytes(arrays[name]) + bytes(-len(arrays[name]) % 64)
    return data


def damaged(rng, data):
    """What disks and networks do."""
    data = bytearray(data)
    kind = rng.choice(["bits", "bits", "header", "truncate", "zeros", "noise", "swap", "grow"])
    place = int(rng.integers(len(data)))
    if kind in ("bits", "header"):
        for _ in range(rng.integers(1, 5)):
            place = int(rng.integers(len(data) if kind == "bits" else 2500))
            data[place] ^= 1 << int(rng.integers(8))
    elif kind == "truncate":
        data = data[:place]
    elif kind == "zeros":
        data[place : place + 100] = bytes(len(data[place : place + 100]))
    elif kind == "noise":
        data[place : place + 64] = rng.bytes(len(data[place : place + 64]))
    elif kind == "swap":
        data[place : place + 128] = data[place : place + 128][::-1]
    else:
        data += rng.bytes(int(rng.integers(1, 200)))
    return bytes(data)


def forged(rng, data):
    """What an attacker does: wrong manifests and wrong arrays under right hashes."""
    manifest, arrays = take_apart(data)
    kind = rng.choice(["value", "value", "drop", "offset", "shape", "dtype", "array", "array", "array", "exchange"])
    names = list(manifest["arrays"])
    entry = manifest["arrays"][rng.choice(names)]
    if kind in ("value", "drop"):
        holder = manifest
        key = rng.choice(list(holder))
        while isinstance(holder[key], dict) and holder[key] and rng.random() < 0.8:
            holder, key = holder[key], rng.choice(list(holder[key]))
        if kind == "drop":
            del holder[key]
        else:
            holder[str(key)] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    elif kind == "offset":
        entry["offset"] = int(rng.choice([0, 64, 128, 1024, 2**20, 2**40, 2**62, -64, 1, entry["offset"] + 64]))
    elif kind == "shape":
        axis = int(rng.integers(len(entry["shape"])))
        entry["shape"][axis] = int(
            rng.choice([0, 1, entry["shape"][axis] - 1, entry["shape"][axis] + 1, 2**31, 2**40, -1])
        )
        arrays.clear() if rng.random() < 0.1 else None
    elif kind == "dtype":
        entry["dtype"] = str(
            rng.choice(["float32", "float64", "int64", "uint64", "int32", "uint8", "bool", "object", "U8"])
        )
    elif kind == "array":
        small = [name for name in names if len(arrays[name]) <= _SMALL]  # numbers that say what the large ones mean
        name = rng.choice(small if small and rng.random() < 0.5 else names)
        array = np.frombuffer(bytes(arrays[name]), manifest["arrays"][name]["dtype"]).copy()
        if len(array):
            with contextlib.suppress(OverflowError), np.errstate(all="ignore"):
                some = rng.integers(len(array), size=int(rng.choice([1, 1, 3, len(array)])))
                array[some] = rng.choice(np.array(EXTREMES[array.dtype.kind], object))
        arrays[name] = bytearray(array.tobytes())
    else:
        one, other = rng.choice(names, 2)
        arrays[one], arrays[other] = arrays[other], arrays[one]
    return put_together(manifest, arrays)


def reshaped(rng, data):
    """What a clever attacker does: arrays of other shapes, types and content, and exchanged ones, that fit the file."""
    manifest, raw = take_apart(data)
    entries = manifest["arrays"]
    arrays = {
        name: np.frombuffer(bytes(raw[name]), entry["dtype"]).reshape(entry["shape"]).copy()
        for name, entry in entries.items()
    }
    name, other = (str(name) for name in rng.choice(list(arrays), 2))
    array = arrays[name]
    kind = rng.choice(["exchange", "reshape", "longer", "shorter", "cast", "permute", "content", "content", "fields",
                       "rename", "drop", "extra", "bulk"])  # fmt: skip
    if kind == "exchange":
        arrays[name], arrays[other] = arrays[other], array
    elif kind == "reshape":
        shapes = [(-1,), (1, -1), (-1, 1), array.shape[::-1], (*array.shape, 1), (2, -1), (-1, 2), (1, 1, -1)]
        with contextlib.suppress(ValueError):
            arrays[name] = array.reshape(shapes[rng.integers(len(shapes))])
    elif kind in ("longer", "shorter") and array.ndim:
        axis = int(rng.integers(array.ndim))
        n = array.shape[axis]
        change = [1, 7, 64, n] if kind == "longer" else [-n, 1 - n, -(n // 2), -1]
        wanted = max(0, n + int(rng.choice(change)))
        arrays[name] = np.take(array, np.arange(wanted) % max(n, 1), axis) if n else array
    elif kind == "cast":
        with np.errstate(all="ignore"):
            arrays[name] = array.astype(rng.choice(["f4", "f8", "i1", "u1", "i2", "i4", "u4", "i8", "u8", "?"]))
    elif kind == "permute" and array.size:
        arrays[name] = array[rng.permutation(len(array))]
    elif kind == "content" and array.size:
        _change(rng, array.reshape(-1))
    elif kind == "fields":
        holder = manifest["parameters"] if rng.random() < 0.7 else manifest
        one, two = (str(key) for key in rng.choice([key for key in holder if key != "arrays"], 2))
        holder[one], holder[two] = holder[two], holder[one]
    elif kind == "rename":
        arrays[f"{name}x" if rng.random() < 0.5 else f"attribute.{name}"] = arrays.pop(name)
    elif kind == "drop":
        del arrays[name]
    elif kind == "extra":
        arrays[str(rng.choice(["x", "structure.x", "structure.codes", "structure.codebooks", "structure."]))] = array
    bulk = {name for name, entry in entries.items() if entry["bulk"]}
    if kind == "bulk":  # so that nothing, or everything, is left unverified in a mapped file
        bulk = set() if rng.random() < 0.5 else set(arrays)
    manifest["arrays"] = {
        name: {"dtype": array.dtype.name, "shape": list(array.shape), "offset": 0, "sha256": "", "bulk": name in bulk}
        for name, array in arrays.items()
    }
    return put_together(manifest, {name: bytearray(a.tobytes()) for name, a in arrays.items()}, lay_out=True)


def _change(rng, flat):
    """Change the values of an array in place, by little or by much."""
    some = rng.integers(len(flat), size=int(rng.choice([1, 3, len(flat)])))
    how = rng.integers(4)
    with contextlib.suppress(OverflowError), np.errstate(all="ignore"):
        if how == 0:
            flat[some] = rng.choice(np.array(EXTREMES[flat.dtype.kind], object))
        elif how == 1 and flat.dtype.kind != "b":
            flat[some] += flat.dtype.type(1)
        elif how == 2:
            flat[some] = flat[rng.integers(len(flat), size=len(some))]
        elif flat.dtype.kind != "b":
            flat[...] = flat[::-1].copy() if rng.random() < 0.5 else flat * 2


def ask(index):
    """Search a loaded index in every way; the answers, to be compared."""
    answers = [index.ids.copy()]
    if index.dim > 10000:  # a forged dimension of an index without rows
        return answers
    queries = np.random.default_rng(1).standard_normal((13, index.dim)).astype(np.float32)
    columns = index._state.columns
    where = {"where": annlab.col("owner") == 1} if "owner" in columns else {}
    for options in ({}, {"allowed": np.arange(0, 500, 3)}, where):
        answers += index.search(queries, 5, threads=1, **options)
        answers += index.search(queries[0], 300, threads=1, **options)
        answers += index.search(queries[1], 3, threads=1, **options)
    answers += index.search_radius(queries[:2], 2.0, threads=1)
    return [np.array(answer) for answer in answers]


def write(index, path):
    """Write to a loaded index in every way, search between, and save it."""
    if not 1 <= index.dim <= 1000:
        return
    rng, columns = np.random.default_rng(2), index._state.columns
    vectors = rng.standard_normal((40, index.dim)).astype(np.float32)
    attributes = {name: np.resize(column.array()[:1], 40) for name, column in columns.items()}
    ids = index.add(vectors, 2**40 + np.arange(40), attributes=attributes)
    index.search(vectors[:5], 7, threads=1)
    index.update(ids[:9], vectors[9:18])
    index.remove(ids[::2])
    index.remove(index.ids[::3])
    index.search(vectors[0], 7, threads=1)
    index.save(path)
    index.compact(threads=1)
    ask(index)
    index.fit(vectors, attributes=attributes)


def main(number, folder):
    """Open every file; print what came of it."""
    faulthandler.enable()
    warnings.simplefilter("ignore")
    entry = ENTRIES[number]
    original = ask(annlab.load(folder / "original"))
    for path in sorted(folder.glob("*.bad")):
        for mmap in (False, True):
            print(json.dumps({"file": path.name, "mmap": mmap, "outcome": "began"}), flush=True)
            load = annlab.load if int(path.name[:4]) % 2 else entry.index_class.load
            try:
                index = load(path, mmap=mmap)
                answers = ask(index)
                equal = len(answers) == len(original) and all(map(np.array_equal, answers, original, [True] * 99))
                outcome = "identical" if equal else "answered"
                if "damaged" not in path.name:
                    outcome = written(index, folder / "again", mmap) or outcome
            except annlab.CorruptIndexError as error:
                outcome = "refused" if str(error).startswith(str(path)) else f"does not name the file: {error}"
            except Exception:
                outcome = traceback.format_exc()
            print(json.dumps({"file": path.name, "mmap": mmap, "outcome": outcome}), flush=True)


def written(index, path, mmap):
    """What came of writing to an index, if that is a fault: only values that a mapped load leaves unread may show."""
    try:
        write(index, path)
    except ValueError as error:
        if not (mmap and ("finite" in str(error) or "overflow" in str(error))):
            return "writing: " + traceback.format_exc()
    except Exception:
        return "writing: " + traceback.format_exc()
    return ""


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
