"""An .npz archive with the arrays ``images`` and ``labels``, and optionally ``class_names``."""

from __future__ import annotations

from pathlib import Path

from segtool.array_types import AnyArray
from segtool.data.array_dataset import ArrayDataset
from segtool.data.array_files import open_npz
from segtool.data.classes import Classes
from segtool.data.metadata import FILE_NAME, find_metadata
from segtool.data.raw_arrays import RawArrays, dataset_from
from segtool.errors import DataError


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
