"""Data sets in files of arrays, opened without checking their labels and without ever unpickling.

M2NIST is a folder with combined.npy, (N, 64, 84) with values 0..255, and segmented.npy, one-hot (N, 64, 84, 11) or an
id map (N, 64, 84). Both may be int64 (the one-hot file then has 2.4 GB), so they are memory-mapped and converted block
by block. Source: Farhan Ahmad, "M2NIST", Kaggle farhanhubble/multimnistm2nist, CC BY-SA 4.0.

An .npz archive has the arrays ``images`` and ``labels``, and optionally ``class_names``.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from segtool.array_types import AnyArray, IntegerArray, UInt8Array
from segtool.data.arrays import to_integer_labels, to_uint8_images
from segtool.data.metadata import FILE_NAME, Metadata, find_metadata
from segtool.errors import DataError
from segtool.images.npy import READ_ERRORS, open_npy, require_file, unreadable
from segtool.machine.memory import available_memory

IMAGES_FILE = "combined.npy"
LABELS_FILE = "segmented.npy"


@dataclass(frozen=True)
class Arrays:
    """Images and raw labels of a file, and what describes them; both may be memory-mapped."""

    spec: str
    images: UInt8Array  # (N, H, W, C)
    labels: IntegerArray  # (N, H, W), as they lie in the file
    channels: int | None = None  # of labels that were one-hot
    metadata: Metadata | None = None  # the dataset.json beside them
    class_names: tuple[str, ...] | None = None  # names that the file itself gives


def holds_arrays(path: Path) -> bool:
    """Return whether a path is an .npz archive, or a folder with at least one of M2NIST's two files."""
    if path.is_file():
        return path.suffix.lower() == ".npz"
    return (path / IMAGES_FILE).exists() or (path / LABELS_FILE).exists()


def open_arrays(path: Path, *, spec: str) -> Arrays:
    """Open what `holds_arrays`; a dataset.json in the folder, or beside the archive, or its .json describes it.

    `spec` names it in errors. Raise a DataError if a file is missing or damaged, or lacks an array, and for arrays that
    are no images or labels.
    """
    if path.is_dir():
        arrays = {"images": open_npy(path / IMAGES_FILE), "labels": open_npy(path / LABELS_FILE)}
        metadata = find_metadata(path / FILE_NAME)
    else:
        arrays = open_npz(path, ("images", "labels"), ("class_names",))
        metadata = find_metadata(path.with_suffix(".json"), path.parent / FILE_NAME)
    names = _names(arrays.get("class_names"), path)
    images, labels = arrays["images"], arrays["labels"]
    return Arrays(
        spec,
        to_uint8_images(images, source=spec),
        to_integer_labels(labels, source=spec),
        labels.shape[-1] if labels.ndim == 4 and labels.shape[-1] > 1 else None,
        metadata,
        names,
    )


def _names(array: AnyArray | None, path: Path) -> tuple[str, ...] | None:
    if array is None:
        return None
    if array.ndim != 1 or array.dtype.kind != "U":
        raise DataError(
            f"class_names in {path} is {array.dtype} of shape {array.shape}, expected a list of strings; "
            "save it as numpy.array([...], dtype=str)."
        )
    return tuple(str(name) for name in array)


def open_npz(path: Path, keys: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, AnyArray]:
    """Return the arrays `keys` of an .npz file, and those of `optional` that are there.

    Raise a DataError if it is missing, damaged, not an .npz archive, lacks a key, or holds Python objects.
    """
    require_file(path)
    try:
        # Opened here, because numpy leaves the file open where its archive is damaged.
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise DataError(f"{path} is a single .npy array, expected an .npz archive; save images= and labels=.")
            return _read_arrays(archive, path, keys, optional)
    except READ_ERRORS as error:
        raise unreadable(path, "an .npz archive", error) from error


def _read_arrays(archive: Any, path: Path, keys: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, AnyArray]:
    found = list(archive.files)
    if missing := [key for key in keys if key not in found]:
        raise DataError(
            f"{path} has the arrays {found or 'none'} but lacks {missing}; save it with images= and labels=."
        )
    wanted = (*keys, *(key for key in optional if key in found))
    _refuse_bomb(archive.zip, [f"{key}.npy" for key in wanted], path)
    return {key: archive[key] for key in wanted}


def _refuse_bomb(archive: zipfile.ZipFile, members: Sequence[str], path: Path) -> None:
    """Refuse arrays that are not as large as they say, or larger than the memory, before any is unpacked."""
    needed = 0
    for name in (name for name in members if name in archive.NameToInfo):
        with archive.open(name) as stream:
            shape, dtype = _header(stream)
            declared = math.prod(shape) * dtype.itemsize
            stored = archive.getinfo(name).file_size - stream.tell()
        if declared != stored and not dtype.hasobject:
            raise DataError(
                f"{name} in {path} says that it is {dtype} of shape {shape}, {declared:,} bytes, but holds {stored:,}; "
                "write it again with numpy, or copy it again."
            )
        needed += declared
    memory = available_memory()
    if memory is not None and needed > memory:
        raise DataError(
            f"The arrays of {path} unpack to {needed:,} bytes and this machine has {memory:,} left; split them, or "
            "save them as combined.npy and segmented.npy, which are not read into memory."
        )


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and dtype that a .npy member declares."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype
