"""Opening .npy and .npz files, whatever is in them, without ever unpickling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from segtool.data.arrays import AnyArray
from segtool.errors import DataError
from segtool.runtime.npy import READ_ERRORS, open_npy, require_file, unreadable

__all__ = ["open_npy", "open_npz"]


def open_npz(path: Path, keys: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, AnyArray]:
    """Return the arrays `keys` of an .npz file, and those of `optional` that are there.

    Raises
    ------
    DataError
        The file is missing, damaged, not an .npz archive, lacks a key, or holds Python objects.
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
    return {key: archive[key] for key in (*keys, *(key for key in optional if key in found))}
