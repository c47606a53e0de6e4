"""Arrays that are broken or made to hurt their reader."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from segtool.machine.memory import available_memory


class Boom:
    """What a pickle can do: unpickling it would make the file `pwned`."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("pwned",)


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def good_npz(count: int = 6, **changes: Any) -> bytes:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (count, 16, 20), dtype=np.uint8)
    return npz(**({"images": images, "labels": images.astype(np.uint8) // 86} | changes))


def object_npz() -> bytes:
    return npz(images=np.array([Boom()], object), labels=np.zeros((1, 4, 4), np.uint8))


def huge_header(shape: tuple[int, ...]) -> bytes:
    """Return the header of a .npy file that declares an array which is not there."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def npz_of(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def declared_npz(shape: tuple[int, ...]) -> bytes:
    """Return an archive whose images are declared to be of `shape` and hold nothing."""
    return npz_of({"images.npy": huge_header(shape), "labels.npy": huge_header(shape)})


def zip_bomb_npz() -> bytes:
    """Return an archive of two arrays, that each really unpack to twice this machine's free memory."""
    size = 2 * (available_memory() or 10**11) // 10**8 * 10**8
    header = huge_header((size // 10**6, 1000, 1000))
    start, block = (zlib.compressobj(9, zlib.DEFLATED, -15) for _ in range(2))
    first = start.compress(header) + start.flush(zlib.Z_FULL_FLUSH)
    zeros = block.compress(bytes(10**8)) + block.flush(zlib.Z_FULL_FLUSH)
    data = first + zeros * (size // 10**8) + b"\x03\x00"
    return deflated_zip(("images.npy", "labels.npy"), data, len(header) + size)


def deflated_zip(names: tuple[str, ...], data: bytes, size: int) -> bytes:
    """Return a zip file (zip64) whose members all hold `data`, raw deflate of `size` bytes."""
    parts: list[bytes] = []
    directory: list[bytes] = []
    at = 0
    for name in names:
        extra = struct.pack("<HHQQ", 1, 16, size, len(data))
        fixed = struct.pack("<HHHHHIIIHH", 45, 0, 8, 0, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), len(extra))
        places = struct.pack("<HHHII", 0, 0, 0, 0, at)
        directory.append(b"PK\x01\x02\x2d\x00" + fixed + places + name.encode() + extra)
        parts += [b"PK\x03\x04" + fixed + name.encode() + extra, data]
        at += len(parts[-2]) + len(data)
    central = b"".join(directory)
    end = struct.pack("<HHHHIIH", 0, 0, len(names), len(names), len(central), at, 0)
    return b"".join([*parts, central, b"PK\x05\x06", end])


def encrypted_npz() -> bytes:
    data = bytearray(good_npz())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(mark)
        while at >= 0:
            data[at + flags] |= 1
            at = data.find(mark, at + 4)
    return bytes(data)


def pickled() -> bytes:
    return pickle.dumps(Boom())


def good_npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros((2, 16, 20), np.uint8))
    return stream.getvalue()


def object_npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([Boom()], object))
    return stream.getvalue()
