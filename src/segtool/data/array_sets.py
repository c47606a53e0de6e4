"""Data sets in files of arrays: M2NIST's own layout, and .npz archives.

M2NIST is a folder with combined.npy, (N, 64, 84) with values 0..255, and segmented.npy, one-hot (N, 64, 84, 11) or an
id map (N, 64, 84). Both may be int64 (the one-hot file then has 2.4 GB), so they are memory-mapped and converted block
by block. Source: Farhan Ahmad, "M2NIST", Kaggle farhanhubble/multimnistm2nist, CC BY-SA 4.0.

An .npz archive has the arrays ``images`` and ``labels``, and optionally ``class_names``.
"""

from __future__ import annotations

from pathlib import Path

from segtool.array_types import AnyArray
from segtool.data.array_dataset import ArrayDataset
from segtool.data.array_files import open_npy, open_npz
from segtool.data.classes import Classes
from segtool.data.metadata import FILE_NAME, find_metadata
from segtool.data.raw_arrays import RawArrays, dataset_from
from segtool.errors import DataError

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


def load_npz(path: Path, *, spec: str, classes: Classes | None = None) -> ArrayDataset:
    """Load an .npz archive; ``<stem>.json`` or ``dataset.json`` beside it describes the classes.

    `classes` are as in `segtool.data.loading.load_dataset`.

    Raises
    ------
    DataError
        The file is missing, damaged or lacks an array, or the arrays do not fit together.
    """
    return dataset_from(open_npz_arrays(path), name=path.stem, spec=spec, classes=classes)


def open_npz_arrays(path: Path) -> RawArrays:
    """Open an archive without checking what is in its arrays."""
    arrays = open_npz(path, ("images", "labels"), ("class_names",))
    metadata = find_metadata(path.with_suffix(".json"), path.parent / FILE_NAME)
    return RawArrays(arrays["images"], arrays["labels"], metadata, _names(arrays.get("class_names"), path))


def _names(array: AnyArray | None, path: Path) -> tuple[str, ...] | None:
    if array is None:
        return None
    if array.ndim != 1 or array.dtype.kind != "U":
        raise DataError(
            f"class_names in {path} is {array.dtype} of shape {array.shape}, expected a list of strings; "
            "save it as numpy.array([...], dtype=str)."
        )
    return tuple(str(name) for name in array)
