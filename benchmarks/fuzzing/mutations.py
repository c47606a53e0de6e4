"""Damage as storage, copies and attackers do it, the same for the same seed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np

Rng = np.random.Generator
_LENGTHS = (0, 1, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def damaged(seed: int, kind: str, number: int, files: Sequence[bytes]) -> bytes:
    """Return case `number` of a kind of file: one of its valid `files` after one to eight changes."""
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), number])
    data = bytearray(files[number % len(files)])
    for _ in range(int(rng.choice((1, 1, 1, 2, 3, 8)))):
        change = _CHANGES[int(rng.integers(len(_CHANGES)))]
        if len(data) > 8:
            change(data, rng, files)
    # A decoder that checks sums would see nothing else: half of the damaged PNGs get right ones.
    return with_png_sums(bytes(data)) if kind == "png" and rng.random() < 0.5 else bytes(data)


def with_png_sums(data: bytes) -> bytes:
    """Return a PNG whose chunks have the checksums of what is in them now, as far as its lengths make sense."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        parts += [data[at:end], struct.pack(">I", zlib.crc32(data[at + 4 : end]))]
        at = end + 4
    return b"".join([*parts, data[at:]])


def _flip_bits(data: bytearray, rng: Rng, _: Sequence[bytes]) -> None:
    for _bit in range(int(rng.choice((1, 1, 2, 16)))):
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))


def _flip_early(data: bytearray, rng: Rng, _: Sequence[bytes]) -> None:
    """Change a byte of the first 128: headers are there."""
    data[int(rng.integers(min(128, len(data))))] = int(rng.integers(256))


def _truncate(data: bytearray, rng: Rng, _: Sequence[bytes]) -> None:
    del data[int(rng.integers(1, len(data))) :]


def _lie_about_length(data: bytearray, rng: Rng, _: Sequence[bytes]) -> None:
    """Write a length where one may stand: big-endian (PNG), little-endian (TIFF, WebP, BMP) or base 128 (ONNX)."""
    value = _LENGTHS[int(rng.integers(len(_LENGTHS)))] ^ int(rng.integers(2))
    forms = (struct.pack(">I", value), struct.pack("<I", value), struct.pack(">H", value & 0xFFFF), _base_128(value))
    form = forms[int(rng.integers(len(forms)))]
    at = int(rng.integers(len(data) - len(form))) if len(data) > len(form) else 0
    data[at : at + len(form)] = form


def _base_128(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _splice(data: bytearray, rng: Rng, files: Sequence[bytes]) -> None:
    """Put the end of another valid file behind the beginning of this one."""
    other = files[int(rng.integers(len(files)))]
    data[int(rng.integers(len(data))) :] = other[int(rng.integers(len(other))) :]


def _block(data: bytearray, rng: Rng) -> slice:
    size = int(rng.choice((1, 4, 16, 64, 512)))
    start = int(rng.integers(max(1, len(data) - size)))
    return slice(start, start + size)


def _repeat(data: bytearray, rng: Rng, _: Sequence[bytes]) -> None:
    block = _block(data, rng)
    data[block.start : block.start] = data[block] * int(rng.choice((1, 2, 50)))


def _swap(data: bytearray, rng: Rng, _: Sequence[bytes]) -> None:
    first, second = _block(data, rng), _block(data, rng)
    data[first], data[second] = data[second], data[first]


def _remove(data: bytearray, rng: Rng, _: Sequence[bytes]) -> None:
    del data[_block(data, rng)]


def _insert_noise(data: bytearray, rng: Rng, _: Sequence[bytes]) -> None:
    at = int(rng.integers(len(data)))
    data[at:at] = rng.bytes(int(rng.choice((1, 4, 64))))


_CHANGES: tuple[Callable[[bytearray, Rng, Sequence[bytes]], None], ...] = (
    _flip_bits, _flip_bits, _flip_early, _truncate, _lie_about_length, _lie_about_length, _splice, _repeat, _swap,
    _remove, _insert_noise,
)  # fmt: skip
