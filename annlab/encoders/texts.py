"""Texts into the space of an encoder's images, with NumPy alone.

What `clip.py` trains with torch, this file runs without it: words are hashed into a table of vectors, their mean goes
through two fully connected layers, and the result is divided by its length.

    text --> words and letter triples --> mean of their vectors --> hidden --> embedding, length 1

Words have no fixed vocabulary. A word is hashed whole and as its letter triples, as in fastText (Bojanowski et al.,
2017), so a word that was never trained on ("sneakers"), or is misspelt, still shares most of its pieces with one that
was ("sneaker"). The order of words is ignored.

An encoder's folder keeps this as `texts.npz`: arrays without pickle, the table with 8 bits and a scale per row. It
may come from anywhere, so its sizes are known to be possible before anything is read, and types, shapes and values are
checked. Cost: some 30 microseconds a text.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Texts", "tokenize", "tokens"]

N_BUCKETS = 4096
MAX_CHARACTERS = 2000  # of a text; what follows is not read
FILE_BYTES = 64 << 20
_REMEMBERED = 200  # characters of a text whose tokens are kept: long ones are not captions, and would fill the memory
_DTYPES = {
    "words": "int8", "scales": "float32", "hidden": "float16", "hidden_bias": "float32", "embedding": "float16",
    "embedding_bias": "float32",
}  # fmt: skip


def tokenize(text: str, n_buckets: int = N_BUCKETS) -> NDArray[np.int64]:
    """Token numbers of a text: each word and each letter triple of ``<word>``, hashed to 0..n_buckets-1.

    Lower-case, letters and digits only; the hash is CRC-32, the same on every machine. An empty text is one token.

    Examples
    --------
    >>> len(tokenize("A cat!")), len(np.intersect1d(tokenize("sneaker"), tokenize("sneakers")))
    (6, 6)
    """
    return tokens(text, n_buckets).copy()


def tokens(text: str, n_buckets: int) -> NDArray[np.int64]:
    """As `tokenize`, an array that is shared: captions repeat from epoch to epoch, and each is taken apart once."""
    return _remembered(text, n_buckets) if len(text) <= _REMEMBERED else _taken_apart(text, n_buckets)


@lru_cache(maxsize=10_000)
def _remembered(text: str, n_buckets: int) -> NDArray[np.int64]:
    return _taken_apart(text, n_buckets)


def _taken_apart(text: str, n_buckets: int) -> NDArray[np.int64]:
    pieces: list[str] = []
    for word in re.findall(r"\w+", text.lower()):
        framed = f"<{word}>"
        pieces.append(framed)
        pieces.extend(framed[i : i + 3] for i in range(len(framed) - 2))
    return np.array([zlib.crc32(piece.encode()) % n_buckets for piece in pieces or [""]], dtype=np.int64)


class Texts:
    """The text side of an encoder.

    Parameters
    ----------
    words : ndarray of shape (n_buckets, width)
        A vector for each token number.
    hidden, hidden_bias : ndarrays of shape (width, h) and (h,)
    embedding, embedding_bias : ndarrays of shape (h, dim) and (dim,)

    Attributes
    ----------
    dim : int
        The length of an embedding, that of the images'.
    stored : bytes
        The content of `texts.npz`; what is computed with is what it holds, rounded.

    Raises
    ------
    ValueError
        The shapes do not fit together, or a number is not finite.
    """

    def __init__(
        self,
        words: NDArray[np.float32],
        hidden: NDArray[np.float32],
        hidden_bias: NDArray[np.float32],
        embedding: NDArray[np.float32],
        embedding_bias: NDArray[np.float32],
    ) -> None:
        scales = (np.maximum(np.abs(words).max(axis=1, initial=0.0, keepdims=True), 1e-12) / 127).astype(np.float32)
        arrays = {
            "words": np.rint(words / scales).astype(np.int8), "scales": scales,
            "hidden": hidden.astype(np.float16), "hidden_bias": hidden_bias.astype(np.float32),
            "embedding": embedding.astype(np.float16), "embedding_bias": embedding_bias.astype(np.float32),
        }  # fmt: skip
        self._take(arrays)
        self.stored = _packed(arrays)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what `stored` holds, and check all of it.

        Raises
        ------
        ValueError
            It is damaged, or no text side of an encoder.
        """
        texts = cls.__new__(cls)
        texts._take(_unpacked(content))
        texts.stored = content
        return texts

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Parameters
        ----------
        texts : sequence of str
            Of each, the first 2,000 characters are read.

        Returns
        -------
        ndarray of float32, shape (n, dim)
            Rows of length 1, comparable with the encoder's images.

        Raises
        ------
        ValueError
            A text has neither a letter nor a digit, so there is nothing to embed.
        TypeError
            ``texts`` is a single string, or holds something else than strings.
        """
        if isinstance(texts, str):
            raise TypeError("texts must be a list of strings: pass [text] for a single one")
        means = np.empty((len(texts), self._words.shape[1]), dtype=np.float32)
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"text {row} is of type {type(text).__name__}, not a string")
            read = text[:MAX_CHARACTERS]
            if re.search(r"\w", read) is None:
                raise ValueError(f"text {row}, {read[:40]!r}, has neither a letter nor a digit")
            means[row] = self._words[tokens(read, len(self._words))].mean(axis=0)
        hidden = np.maximum(means @ self._hidden + self._hidden_bias, 0)  # (n, h)
        vectors = hidden @ self._embedding + self._embedding_bias  # (n, dim)
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        if not (np.isfinite(lengths) & (lengths > 0)).all():
            row = int(np.argmin((np.isfinite(lengths) & (lengths > 0))[:, 0]))
            raise ValueError(f"the embedding of text {row}, {texts[row][:40]!r}, is zero or not finite")
        return np.ascontiguousarray(vectors / lengths, dtype=np.float32)

    def _take(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Check what a file holds, and widen it."""
        for name, array in arrays.items():
            if array.dtype != _DTYPES[name] or array.ndim != (1 if name.endswith("_bias") else 2) or not array.size:
                raise ValueError(f"{name} of a text encoder must be {_DTYPES[name]}, not {array.dtype} {array.shape}")
            if not np.isfinite(array.astype(np.float32)).all():
                raise ValueError(f"{name} of a text encoder holds a number that is not finite")
        (buckets, width), (inner, h), (out, dim) = (arrays[name].shape for name in ("words", "hidden", "embedding"))
        shapes = {"scales": (buckets, 1), "hidden_bias": (h,), "embedding_bias": (dim,)}
        wrong = [f"{name} {arrays[name].shape}" for name, shape in shapes.items() if arrays[name].shape != shape]
        if wrong or inner != width or out != h:
            raise ValueError(
                f"the parts of a text encoder do not fit together: words {buckets, width}, hidden {inner, h}, "
                f"embedding {out, dim}" + "".join(f", {each}" for each in wrong)
            )
        wide = {name: array.astype(np.float32) for name, array in arrays.items()}
        self._words = wide["words"] * wide["scales"]
        self._hidden, self._hidden_bias = wide["hidden"], wide["hidden_bias"]
        self._embedding, self._embedding_bias = wide["embedding"], wide["embedding_bias"]
        self.dim = int(dim)


def _packed(arrays: dict[str, NDArray[np.generic]]) -> bytes:
    """An .npz with one fixed date, so that equal arrays are equal bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            part = io.BytesIO()
            np.lib.format.write_array(part, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), part.getvalue())
    return file.getvalue()


def _unpacked(content: bytes) -> dict[str, NDArray[np.generic]]:
    """The arrays of an .npz, none of which is larger than the file: they are stored as they are."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = {entry.filename: entry for entry in archive.infolist()}
            if set(parts) != {f"{name}.npy" for name in _DTYPES} or len(archive.infolist()) != len(parts):
                raise ValueError(f"it holds {sorted(parts)[:8]}")
            if any(e.compress_type != zipfile.ZIP_STORED or e.file_size > len(content) for e in parts.values()):
                raise ValueError("its parts are compressed, or larger than the file")
            return {name: _array(archive.read(f"{name}.npy")) for name in _DTYPES}
    except (zipfile.BadZipFile, ValueError, KeyError, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"not a text encoder: {error}") from error


def _array(part: bytes) -> NDArray[np.generic]:
    """One .npy, read as a view of its bytes: so no header can claim more than there is."""
    file = io.BytesIO(part)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array is of another version of the format .npy")
    try:
        shape, columns_first, dtype = np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # NumPy parses the header as a Python literal: a damaged one raises almost anything
        raise ValueError(f"the header of an array cannot be read: {error}") from error
    if columns_first or dtype.hasobject or len(shape) > 2:
        raise ValueError(f"an array of {dtype}, {len(shape)} axes, is none of a text encoder")
    return np.frombuffer(part, dtype, offset=file.tell()).reshape(shape)
