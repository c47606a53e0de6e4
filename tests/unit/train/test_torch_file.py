"""PyTorch weight files of the legacy format: right values, and nothing but a TrainingError for anything else."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segtool.errors import TrainingError
from segtool.train.torch_file import read_torch_file

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
KINDS = {"f4": "FloatStorage", "f8": "DoubleStorage", "f2": "HalfStorage", "i8": "LongStorage"}


class Storage:
    """What a tensor refers to: numbers under a key."""

    def __init__(self, key: str, numbers: np.ndarray, *, count: int | None = None) -> None:
        self.key, self.numbers = key, numbers
        self.count = len(numbers) if count is None else count


class Tensor:
    def __init__(self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.parts = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> Any:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.parts


@pytest.fixture(autouse=True)
def _torch_by_name(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules with the names that a pickle of PyTorch refers to; only the writer below needs them."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in KINDS.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*_: Any) -> None: ...

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    yield


class _Writer(pickle.Pickler):
    def persistent_id(self, item: Any) -> Any:
        if not isinstance(item, Storage):
            return None
        kind = getattr(sys.modules["torch"], KINDS[item.numbers.dtype.str[1:]])
        return ("storage", kind, item.key, "cpu", item.count, None)


def saved(path: Path, state: Any, storages: list[Storage]) -> Path:
    """Write a file as torch.save does with _use_new_zipfile_serialization=False."""
    stream = io.BytesIO()
    for value in (MAGIC, PROTOCOL, {"little_endian": True, "protocol_version": PROTOCOL}, state):
        _Writer(stream, 2).dump(value)
    _Writer(stream, 2).dump([item.key for item in storages])
    for item in storages:
        stream.write(struct.pack("<q", len(item.numbers)) + item.numbers.tobytes())
    path.write_bytes(stream.getvalue())
    return path


def small(path: Path) -> Path:
    storage = Storage("0", np.arange(6, dtype="<f4"))
    return saved(path, OrderedDict(weight=Tensor(storage, 0, (2, 3), (3, 1))), [storage])


def test_strides_offsets_and_shared_storages_give_the_values_of_pytorch(tmp_path: Path) -> None:
    numbers = np.arange(120, dtype="<f4")
    first, second = Storage("7", numbers), Storage("3", np.array([5], "<i8"))
    state = OrderedDict(
        kernel=Tensor(first, 0, (4, 2, 3, 5), (1, 60, 20, 4)),  # channels last: the strides of a permuted tensor
        tail=Tensor(first, 100, (20,), (1,)),
        column=Tensor(first, 3, (5,), (10,)),
        steps=Tensor(second, 0, (), ()),
        empty=Tensor(first, 0, (0, 3), (3, 1)),
        note="not a tensor",
    )
    read = read_torch_file(saved(tmp_path / "a.pth", state, [second, first]))
    index = np.indices((4, 2, 3, 5))
    assert np.array_equal(read["kernel"], index[0] + 60 * index[1] + 20 * index[2] + 4 * index[3])
    assert np.array_equal(read["tail"], numbers[100:])
    assert np.array_equal(read["column"], [3, 13, 23, 33, 43])
    assert read["steps"] == 5
    assert (read["steps"].dtype, read["steps"].shape, read["empty"].shape) == (np.int64, (), (0, 3))
    assert "note" not in read
    assert all(item.flags.c_contiguous and item.flags.writeable for item in read.values())


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_number_keeps_its_dtype(kind: str, tmp_path: Path) -> None:
    storage = Storage("0", np.array([1, 2, 3], f"<{kind}"))
    read = read_torch_file(saved(tmp_path / "a.pth", {"x": Tensor(storage, 1, (2,), (1,))}, [storage]))["x"]
    assert (read.dtype.str, read.tolist()) == (f"<{kind}", [2, 3])


class Call:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("place", ["magic", "state"])
@pytest.mark.parametrize("function", ["system", "eval", "getattr"])
def test_a_pickle_that_calls_a_function_is_refused_and_does_not_run(function: str, place: str, tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    call = {
        "system": Call(os.system, f"touch {trace}"),
        "eval": Call(eval, f"open({str(trace)!r}, 'w')"),
        "getattr": Call(getattr, OrderedDict, "fromkeys"),
    }[function]
    path = tmp_path / "bad.pth"
    if place == "magic":
        path.write_bytes(pickle.dumps(call, 2))
    else:
        saved(path, OrderedDict(weight=call), [])
    with pytest.raises(TrainingError, match="refers to"):
        read_torch_file(path)
    assert not trace.exists()
    pickle.loads(path.read_bytes()) if (place, function) == ("magic", "system") else None  # noqa: S301
    assert trace.exists() == ((place, function) == ("magic", "system")), "the pickle of this test calls nothing"


@pytest.mark.parametrize("lost", [1, 4, 20, 30, 100, 200])
def test_a_truncated_file_is_refused(lost: int, tmp_path: Path) -> None:
    path = small(tmp_path / "a.pth")
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(TrainingError, match=r"a\.pth"):
        read_torch_file(path)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(1, (2, 3), (3, 1)), (0, (7,), (1,)), (-1, (2,), (1,)), (0, (2, 3), (4, 1)), (5, (2,), (-1,)), (6, (), ()),
     (0, (50_000, 50_000), (0, 0)), (0, (-2, 3), (3, 1)), (0, (2, 3), (3,))],
)  # fmt: skip
def test_a_view_outside_its_storage_is_refused(
    offset: int, shape: tuple[int, ...], strides: tuple[int, ...], tmp_path: Path
) -> None:
    storage = Storage("0", np.arange(6, dtype="<f4"))
    path = saved(tmp_path / "a.pth", {"x": Tensor(storage, offset, shape, strides)}, [storage])
    with pytest.raises(TrainingError):
        read_torch_file(path)


def test_a_storage_of_another_length_than_stated_is_refused(tmp_path: Path) -> None:
    storage = Storage("0", np.arange(6, dtype="<f4"), count=5)
    path = saved(tmp_path / "a.pth", {"x": Tensor(storage, 0, (5,), (1,))}, [storage])
    with pytest.raises(TrainingError, match="truncated"):
        read_torch_file(path)


def test_a_memo_index_that_would_take_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(b"\x80\x02K\x01r\xff\xff\xff\x1f.")
    with pytest.raises(TrainingError, match="memo"):
        read_torch_file(path)


def test_a_zip_archive_is_named_with_what_to_do(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    with pytest.raises(TrainingError, match=r"zip archive.*_use_new_zipfile_serialization=False"):
        read_torch_file(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"no pickle", pickle.dumps({"x": 1}, 2)])
def test_another_format_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(TrainingError, match=r"before 1\.6"):
        read_torch_file(tmp_path / "a.pth")
    with pytest.raises(TrainingError):
        read_torch_file(tmp_path / "absent.pth")


def changed(content: bytes, rng: random.Random) -> bytes:
    """Return the content with a few bytes changed, or cut and continued with random bytes."""
    if rng.random() < 0.5:
        return content[: rng.randrange(len(content))] + rng.randbytes(rng.randrange(300))
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged)


def test_random_and_damaged_bytes_give_a_training_error_or_arrays(tmp_path: Path) -> None:
    rng, path = random.Random(0), tmp_path / "a.pth"  # noqa: S311
    whole = small(path).read_bytes()
    refused = 0
    for number in range(1500):
        path.write_bytes(rng.randbytes(rng.randrange(1, 400)) if number % 4 == 0 else changed(whole, rng))
        try:
            read: Mapping[str, Any] = read_torch_file(path)
        except TrainingError:
            refused += 1
            continue
        assert all(type(item) is np.ndarray for item in read.values())
    assert refused > 750
