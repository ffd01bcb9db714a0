"""Data to search in: real sets by name, files in the field's formats, and synthetic sets of known difficulty.

- ``load(name)``: a set of ann-benchmarks, found in a local folder or downloaded; or ``"fashion-mnist-test"``, which is
  part of this package and needs no download.
- ``load_hdf5``, ``load_fvecs``, ``load_bvecs``, ``load_ivecs``, ``load_npy``, ``load_parquet``: files of your own.
- ``arrow_batches``: columns of Parquet and Arrow files, or of a stream of Arrow batches (DuckDB, Lance), as blocks.
- ``synthetic``, ``uniform_noise``: data whose intrinsic dimension is stated; ``intrinsic_dimension`` estimates that of
  any data.
- ``fashion_mnist``, ``fashion_mnist_split``: packaged images, grey, with labels.
- ``emoji``: packaged pictures, in colour, with names, keywords and groups.

What a set consists of is described by ``Dataset``. True neighbours are part of some files; where they are missing
(``neighbors is None``), an exact index finds them.
"""

from annlab.datasets.arrow import ArrowBatches, arrow_batches
from annlab.datasets.dataset import Dataset
from annlab.datasets.fashion import LabelledImages, fashion_mnist, fashion_mnist_split
from annlab.datasets.formats import load_bvecs, load_fvecs, load_hdf5, load_ivecs, load_npy
from annlab.datasets.noto import Emoji, emoji
from annlab.datasets.parquet import load_parquet
from annlab.datasets.registry import load
from annlab.datasets.synthetic import intrinsic_dimension, synthetic, uniform_noise

__all__ = [
    "ArrowBatches",
    "Dataset",
    "Emoji",
    "LabelledImages",
    "arrow_batches",
    "emoji",
    "fashion_mnist",
    "fashion_mnist_split",
    "intrinsic_dimension",
    "load",
    "load_bvecs",
    "load_fvecs",
    "load_hdf5",
    "load_ivecs",
    "load_npy",
    "load_parquet",
    "synthetic",
    "uniform_noise",
]
