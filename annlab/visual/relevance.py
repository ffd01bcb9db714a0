"""From distances to scores: how likely it is that a result is relevant, and from which score on results are shown.

A distance says little by itself: 0.2 may be a twin for one encoder and a stranger for the next. Nor is one limit for
all queries enough, for *something* is nearest to a picture of noise, too. So the score of a result is a product:

    d    its distance from the query
    s    the strangeness of the query, which adds two things up: how far it is from the nearest of some hundred
         *references*, the centres of the clusters of what the encoder usually sees; and how much it *leans* to where
         the encoder puts pictures of nothing, which may be as near to a reference as clothes are

    score = f(d) g(s)       f: how likely an image at this distance is relevant to a query that means something
                            g: how likely a query of this strangeness means something

How f, g and the rest are learned, `calibrating.py` says. All of it belongs to the encoder and not to the catalog, so a
score says nothing of images that the viewer may not see.

A calibration is a file, `relevance.npz`, beside the encoder's model; or, for an encoder that has none, it is learned
from a catalog without any labels (`learn_from_vectors`) and kept among the catalog's settings. It names the encoder's
fingerprint and is refused for any other.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from annlab.visual.wording import Wording

FILE = "relevance.npz"
_LARGEST_FILE = 16 * 2**20  # bytes


class AnotherEncoderError(ValueError):
    """A calibration is that of another encoder."""


@dataclass(frozen=True, eq=False)
class Falling:
    """A falling function as points (m,) that straight lines connect; level before the first and after the last."""

    places: np.ndarray
    values: np.ndarray

    def __call__(self, at: np.ndarray | float) -> np.ndarray:
        result: np.ndarray = np.interp(at, self.places, self.values)
        return result

    def last_with(self, value: float, factor: float = 1.0) -> float:
        """The last place where this function, times a factor, is at least some value; -inf if it never is, inf if it
        always stays so."""
        enough = int(np.count_nonzero(self.values * factor >= value))
        if enough == 0:
            return float("-inf")
        if enough == len(self.values):
            return float("inf")
        place, further = self.places[enough - 1 : enough + 1].tolist()
        high, low = (self.values[enough - 1 : enough + 1] * factor).tolist()
        return float(place + (further - place) * (high - value) / (high - low))


@dataclass(frozen=True, eq=False)
class Curve:
    """f, g, the cut-off and the leaning (1 + dim,), whose first is the weight of the distance: see the head of the
    file."""

    by_distance: Falling
    by_strangeness: Falling
    cutoff: float
    leaning: np.ndarray

    def strangeness(self, vectors: np.ndarray, references: np.ndarray) -> np.ndarray:
        """Of queries (q, dim), given references (r, dim): (q,)."""
        if not len(vectors):
            return np.empty(0)
        unit = directions_of(vectors)
        result: np.ndarray = self.leaning[0] * nearest(unit, references) + unit @ self.leaning[1:]
        return result

    def of(self, distances: np.ndarray, strangeness: float) -> np.ndarray:
        """The scores (n,) of some distances, falling with them."""
        result: np.ndarray = self.by_distance(distances) * self.by_strangeness(strangeness)
        return result

    def reach(self, cutoff: float, strangeness: float) -> float:
        """The largest distance with at least this score; -inf if none has it, inf if all have."""
        return self.by_distance.last_with(cutoff, float(self.by_strangeness(strangeness)))


@dataclass(frozen=True, eq=False)
class Relevance:
    """The calibration of an encoder, for queries by image and, where it knows text, by text. See the head of the file.

    Attributes
    ----------
    fingerprint : str
        Of the encoder.
    references : (r, dim) float32
        Directions of length 1.
    image, text : Curve
        `text` is None where no text was calibrated: then `image` serves.
    learned_from : str
        In words.
    wording : Wording or None
        The words that the encoder was taught, by which texts that mean something are told from others.
    """

    fingerprint: str
    references: np.ndarray
    image: Curve
    text: Curve | None = None
    learned_from: str = ""
    wording: Wording | None = None

    def curve(self, by_text: bool = False) -> Curve:
        """That of queries by text or by image."""
        return self.text if by_text and self.text is not None else self.image

    def strangeness(self, vector: np.ndarray, by_text: bool = False) -> float:
        """That of a query (dim,)."""
        return float(self.curve(by_text).strangeness(vector[None], self._wide)[0])

    @cached_property
    def _wide(self) -> np.ndarray:
        return self.references.astype(np.float64)

    # ---- files

    def to_bytes(self) -> bytes:
        """The content of the file."""
        arrays: dict[str, np.ndarray] = {
            "fingerprint": np.array(self.fingerprint), "learned_from": np.array(self.learned_from),
            "references": self.references.astype(np.float16),
        }  # fmt: skip
        for name, curve in (("image", self.image), ("text", self.text)):
            if curve is not None:
                arrays[f"{name}_cutoff"] = np.array(curve.cutoff)
                arrays[f"{name}_leaning"] = curve.leaning.astype(np.float32)
                for part, falling in (("distance", curve.by_distance), ("strangeness", curve.by_strangeness)):
                    arrays[f"{name}_{part}"] = np.stack([falling.places, falling.values])
        if self.wording is not None:
            arrays["words"] = self.wording.to_bytes()
        file = io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]  # whose stub knows no ** of arrays
        return file.getvalue()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write it beside the encoder in a folder."""
        path = Path(folder) / FILE
        temporary = path.with_name(f".{FILE}.{os.getpid()}.tmp")
        temporary.write_bytes(self.to_bytes())
        os.replace(temporary, path)

    @classmethod
    def from_bytes(cls, content: bytes, fingerprint: str, dim: int, where: str = "a calibration") -> Relevance:
        """Read and check it; a ValueError says what is wrong."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            given, said = str(arrays["fingerprint"]), str(arrays["learned_from"])
            references = arrays["references"].astype(np.float32)
            wide = references.shape[1] if references.ndim == 2 else dim
            image = _curve(arrays, "image", wide)
            text = _curve(arrays, "text", wide) if "text_cutoff" in arrays else None
            wording = Wording.from_bytes(arrays["words"]) if "words" in arrays else None
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{where} is damaged: {error}") from None
        if given != fingerprint:
            raise AnotherEncoderError(f"{where} belongs to the encoder {given}, not to {fingerprint}: learn it anew")
        if references.ndim != 2 or references.shape[1] != dim or not len(references):
            raise ValueError(f"{where} has references of shape {references.shape} for an encoder of dimension {dim}")
        if not np.isfinite(references).all():
            raise ValueError(f"{where} is damaged: its references are not all finite")
        return cls(fingerprint, references, image, text, said, wording)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], fingerprint: str, dim: int) -> Relevance | None:
        """That beside an encoder in a folder; None if there is none."""
        path = Path(folder) / FILE
        if not path.is_file():
            return None
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError(f"{path} has {path.stat().st_size} bytes; at most {_LARGEST_FILE} are accepted")
        return cls.from_bytes(path.read_bytes(), fingerprint, dim, str(path))


def _curve(arrays: dict[str, np.ndarray], name: str, dim: int) -> Curve:
    cutoff = float(arrays[f"{name}_cutoff"])
    alone = np.eye(1, 1 + dim)[0]  # a file of the time before the leaning
    leaning = arrays.get(f"{name}_leaning", alone).astype(np.float64)
    if leaning.shape != (1 + dim,) or not np.isfinite(leaning).all():
        raise ValueError(f"the leaning of {name} queries is not {1 + dim} finite numbers")
    parts: list[Falling] = []
    for part in ("distance", "strangeness"):
        places, values = arrays[f"{name}_{part}"].astype(np.float64)
        if not np.isfinite([cutoff, *places, *values]).all() or not len(places):
            raise ValueError(f"the curve of {name} queries is not one")
        if (np.diff(places) < 0).any() or (np.diff(values) > 0).any() or not 0 <= values[-1] <= values[0] <= 1:
            raise ValueError(f"the curve of {name} queries does not fall from at most 1 to at least 0")
        parts.append(Falling(places, values))
    return Curve(parts[0], parts[1], cutoff, leaning)


def directions_of(vectors: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
    """Vectors (n, dim) as finite numbers, of length 1."""
    wide = np.asarray(vectors, np.float64)
    if wide.ndim != 2 or not np.isfinite(wide).all():
        raise ValueError(f"embeddings are finite numbers of shape (n, dim), not of shape {wide.shape}")
    result: np.ndarray = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-30)
    return result


def nearest(unit: np.ndarray, references: np.ndarray) -> np.ndarray:
    """The distances (1 - cosine) of vectors of length 1 from their nearest reference."""
    result: np.ndarray = 1.0 - (unit @ references.astype(np.float64, copy=False).T).max(axis=1)
    return result
