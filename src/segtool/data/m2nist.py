"""M2NIST in its own layout: a folder with combined.npy and segmented.npy.

``combined.npy`` is (N, 64, 84) with values 0..255, ``segmented.npy`` one-hot (N, 64, 84, 11) or an id map
(N, 64, 84). Both may be int64 (the one-hot file then has 2.4 GB), so they are memory-mapped and converted block by
block. Source: Farhan Ahmad, "M2NIST", Kaggle farhanhubble/multimnistm2nist, CC BY-SA 4.0.
"""

from __future__ import annotations

from pathlib import Path

from segtool.data.array_dataset import ArrayDataset
from segtool.data.array_files import open_npy
from segtool.data.classes import Classes
from segtool.data.metadata import FILE_NAME, find_metadata
from segtool.data.raw_arrays import RawArrays, dataset_from

IMAGES_FILE = "combined.npy"
LABELS_FILE = "segmented.npy"


def is_m2nist(folder: Path) -> bool:
    """Return whether a folder has at least one of the two files of the layout."""
    return (folder / IMAGES_FILE).exists() or (folder / LABELS_FILE).exists()


def load_m2nist(folder: Path, *, spec: str, classes: Classes | None = None) -> ArrayDataset:
    """Load a folder with combined.npy and segmented.npy; a dataset.json in it names classes and splits.

    `classes` are as in `segtool.data.loading.load_dataset`.

    Raises
    ------
    DataError
        A file is missing or damaged, or the two do not fit together.
    """
    return dataset_from(open_m2nist(folder), name=folder.resolve().name, spec=spec, classes=classes)


def open_m2nist(folder: Path) -> RawArrays:
    """Open the files of the layout without checking what is in them."""
    images, labels = open_npy(folder / IMAGES_FILE), open_npy(folder / LABELS_FILE)
    return RawArrays(images, labels, find_metadata(folder / FILE_NAME))
