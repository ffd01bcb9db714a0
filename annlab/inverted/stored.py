"""What a file holds of an inverted file's cells and age; read, it is checked, as kernels rely on every offset."""

import numpy as np

from annlab.distances import Metric
from annlab.inverted.calibration import Calibrations
from annlab.inverted.drift import Age
from annlab.inverted.storage import Cells
from annlab.scan.centroids import Conversion


def arrays_of(conversion: Conversion, centroids: np.ndarray, offsets: np.ndarray, age: Age,
              calibrations: Calibrations) -> dict[str, np.ndarray]:  # fmt: skip
    """The arrays of a file that say where lists begin, how they were made and how they are searched."""
    return {
        "centroids": centroids,
        "list_offsets": offsets,
        "center": conversion.center,
        "numbers": np.array([conversion.scale, *age, calibrations.far], np.float64),
        "calibration": calibrations.to_array(),
    }


def cells_of(arrays: dict[str, np.ndarray], metric: Metric) -> Cells:
    """The cells of stored arrays; raises a ValueError if these do not fit together."""
    center, centroids, offsets = arrays["center"], arrays["centroids"], arrays["list_offsets"]
    n, dim = arrays["vectors"].shape
    if center.shape != (dim,) or center.dtype != np.float64 or not np.isfinite(center).all():
        raise ValueError(f"center {center.dtype} {center.shape} does not fit dimension {dim}")
    if centroids.ndim != 2 or centroids.shape[1] != dim or centroids.dtype != np.float32 or not len(centroids):
        raise ValueError(f"centroids {centroids.dtype} {centroids.shape} do not fit dimension {dim}")
    if not np.abs(centroids).max() < 1e15:
        raise ValueError("centroids are not finite, or too large")
    if offsets.dtype != np.int64 or offsets.shape != (len(centroids) + 1,):
        raise ValueError(f"list_offsets {offsets.dtype} {offsets.shape} for {len(centroids)} lists")
    if offsets[0] != 0 or offsets[-1] != n or (offsets[1:] < offsets[:-1]).any():
        raise ValueError(f"list_offsets do not rise from 0 to {n}")
    conversion = Conversion(metric, center, float(_numbers(arrays)[0]))
    if not conversion.is_sound():
        raise ValueError(f"scale {conversion.scale} is no power of two, or takes the center out of range")
    return Cells(conversion, centroids, offsets)


def age_of(arrays: dict[str, np.ndarray]) -> tuple[Age, float]:
    """When was learned what, and how many lists' worth of rows to see far away."""
    _, n_trained, n_measured, probes, rerank, far = _numbers(arrays).tolist()
    return Age(int(n_trained), int(n_measured), int(probes), rerank), far


def _numbers(arrays: dict[str, np.ndarray]) -> np.ndarray:
    numbers, n_lists = arrays["numbers"], len(arrays["centroids"])
    if numbers.shape == (2,):  # of a version that measured neither age nor what is far away
        numbers = np.array([*numbers, len(arrays["vectors"]), n_lists, 1e6, n_lists], np.float64)
    sound = numbers.shape == (6,) and numbers.dtype == np.float64 and bool(np.isfinite(numbers).all())
    if not sound or numbers[0] <= 0 or (numbers[1:] < 1).any() or (numbers[1:] > 2**62).any():
        raise ValueError(f"scale, age and reach are {numbers}")
    return numbers
