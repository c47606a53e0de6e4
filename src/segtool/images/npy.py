"""Open .npy files, memory-mapped and without unpickling."""

from __future__ import annotations

import lzma
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.errors import DataError, first_line

READ_ERRORS = (
    OSError, EOFError, ValueError, KeyError, TypeError, OverflowError, MemoryError, NotImplementedError, SyntaxError,
    RuntimeError, RecursionError, AttributeError, IndexError, struct.error, tokenize.TokenError, zipfile.BadZipFile,
    zlib.error, lzma.LZMAError,
)  # fmt: skip
"""The exceptions of numpy, zipfile and the decompressors on damaged bytes; RuntimeError for an encrypted archive."""


def open_npy(path: Path) -> npt.NDArray[Any]:
    """Return the array of a .npy file, memory-mapped read-only.

    Raises
    ------
    DataError
        The file is missing, damaged, not a .npy file, or contains Python objects.
    """
    require_file(path)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except READ_ERRORS as error:
        raise unreadable(path, "a .npy array", error) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise DataError(f"{path} is an .npz archive, expected a .npy array; rename it to .npz or save it again.")
    return array


def require_file(path: Path) -> None:
    """Refuse a path that is not a file, or an empty file."""
    if not path.is_file():
        raise DataError(f"{path} does not exist or is not a file; check the path.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes); copy or write it again.")


def unreadable(path: Path, expected: str, error: BaseException) -> DataError:
    """Return the error for an exception of numpy, as one sentence."""
    reason = first_line(error)
    if any(word in reason for word in ("allow_pickle", "pickled", "Python objects")):
        reason = "it has another format or contains Python objects, which are never unpickled"
    return DataError(f"{path} cannot be read as {expected} ({reason}); write it again with numpy, or copy it again.")
