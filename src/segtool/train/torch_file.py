"""Read the tensors of a PyTorch weight file (.pth) without PyTorch and without running code from it.

`torch.save` writes pickles, and unpickling can call any function. This reader accepts only what a dictionary of tensors
needs; anything else in the file is an error. It reads the format of PyTorch before 1.6: three pickles of constants, the
dictionary, the list of storages, and the numbers of each storage.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from segtool.errors import TrainingError, reason_of
from segtool.models.other_formats import is_torch_archive

_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8"}
_READ_ERRORS = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, MemoryError, OverflowError,
    RuntimeError, pickle.UnpicklingError,
)  # fmt: skip


def is_torch_file(path: Path) -> bool:
    """Return whether the content is that of a PyTorch file, old or new, whatever its name."""
    with path.open("rb") as file:
        if file.read(1) == b"\x80":  # of a pickle of protocol 2 or later
            return True
    try:
        with zipfile.ZipFile(path) as archive:
            return is_torch_archive(archive.namelist())
    except zipfile.BadZipFile:
        return False


# With slots, a pickle cannot add attributes to these objects.
@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: str
    count: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A view of a storage: its first number, shape and strides, all counted in numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the contiguous array; the view must lie within `numbers`."""
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.strides, strict=True))
        if min(self.offset, *self.shape, *self.strides, 0) < 0 or (0 not in self.shape and last >= len(numbers)):
            raise ValueError("a tensor lies outside its storage")
        if math.prod(self.shape) > len(numbers):  # strides of 0 could ask for any amount of memory
            raise ValueError("a tensor has more numbers than its storage")
        steps = [step * numbers.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, steps, writeable=False)
        return np.array(view, order="C")


def read_torch_file(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of a file by name, each with the shape and dtype that it has in PyTorch.

    Raises
    ------
    TrainingError
        The file is damaged, of another format, or holds more than a dictionary of tensors.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pickles of random bytes have wrong escapes
            if file.peek(2)[:2] == b"PK":
                raise ValueError("it is a zip archive, the format of PyTorch 1.6 and later")
            if _load(file) != _MAGIC:
                raise ValueError("it is not in the format of PyTorch before 1.6")
            for _ in ("protocol", "byte order"):
                _load(file)
            tensors = {name: value for name, value in _load(file).items() if isinstance(value, _Tensor)}
            keys = _load(file)
            numbers = _read_storages(file, keys, {one.storage.key: one.storage for one in tensors.values()})
        return {name: tensor.array(numbers[tensor.storage.key]) for name, tensor in tensors.items()}
    except _READ_ERRORS as error:
        raise TrainingError(
            f"{path} cannot be read as a PyTorch weight file ({reason_of(error)}), expected a dictionary of tensors in "
            "the format of PyTorch before 1.6; save the state dictionary with torch.save(..., "
            "_use_new_zipfile_serialization=False), or pass a run or a .keras file."
        ) from error


def _read_storages(file: IO[bytes], keys: list[str], storages: Mapping[str, _Storage]) -> dict[str, npt.NDArray[Any]]:
    """Return the numbers of each storage, which follow in the order of `keys`, each behind its count."""
    found = {}
    for key in keys:
        storage, count = storages[key], int.from_bytes(file.read(8), "little")
        if storage.dtype not in _DTYPES.values():
            raise ValueError(f"storage {key} has numbers of an unknown kind")
        data = file.read(count * np.dtype(storage.dtype).itemsize) if count == storage.count else b""
        found[key] = np.frombuffer(data, storage.dtype)
        if len(found[key]) != storage.count:
            raise ValueError(f"storage {key} is truncated")
    return found


class _Restricted(pickle.Unpickler):
    """An unpickler that knows ordered dictionaries, tensors and storages, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name in the file; raise an error for any name that is not needed."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _Tensor(storage, offset, shape, strides)
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not a tensor")

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage that a tensor refers to: ("storage", dtype, key, place, count, view)."""
        _, dtype, key, _, count, view = pid
        if view is not None:
            raise pickle.UnpicklingError("a storage is a view of another one")
        return _Storage(str(key), dtype, int(count))


def _load(file: IO[bytes]) -> Any:
    """Return the next pickle of a file; refuse memo indices that would make the unpickler allocate gigabytes."""
    start = file.tell()
    for number, (code, argument, _) in enumerate(pickletools.genops(file)):
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= int(argument or 0) <= number:
            raise pickle.UnpicklingError("it has a memo index that torch.save does not write")
    file.seek(start)
    return _Restricted(file).load()
