"""Opening .npy and .npz files, whatever is in them, without ever unpickling."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from segtool.array_types import AnyArray
from segtool.errors import DataError
from segtool.images.npy import READ_ERRORS, open_npy, require_file, unreadable
from segtool.machine.memory import available_memory

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
