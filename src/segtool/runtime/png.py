"""Writing an 8-bit PNG a band of rows at a time, so that a picture is never held whole.

PNG Specification, third edition: https://www.w3.org/TR/png-3/. Each row is stored as its difference from the row above
(filter 2, section 9): one subtraction a band, and on photographs and label maps nearly as small as the choice of a
filter for each row.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

from segtool.runtime.arrays import UInt8Array

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 3: 2}  # grey, RGB
_FILTER_UP = 2


def write_png(stream: BinaryIO, bands: Iterable[UInt8Array], *, height: int, width: int, channels: int) -> None:
    """Write a PNG from consecutive bands of its rows.

    Parameters
    ----------
    stream
        Where it is written.
    bands
        uint8 (n, width, channels), together `height` rows.
    height, width, channels
        Size in pixels; 1 channel (grey) or 3 (RGB).
    """
    stream.write(_SIGNATURE)
    _write_chunk(stream, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPES[channels], 0, 0, 0))
    packer = zlib.compressobj()
    above = np.zeros((1, width * channels), dtype=np.uint8)
    for band in bands:
        rows = band.reshape(len(band), -1)
        _write_chunk(stream, b"IDAT", packer.compress(_filtered(rows, above)))
        above = rows[-1:].copy()
    _write_chunk(stream, b"IDAT", packer.flush())
    _write_chunk(stream, b"IEND", b"")


def _filtered(rows: UInt8Array, above: UInt8Array) -> bytes:
    """Return rows (n, w) as the filter's number and the difference from the row above, modulo 256."""
    filtered = np.empty((len(rows), rows.shape[1] + 1), dtype=np.uint8)
    filtered[:, 0] = _FILTER_UP
    np.subtract(rows[:1], above, out=filtered[:1, 1:])
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered.tobytes()


def _write_chunk(stream: BinaryIO, kind: bytes, data: bytes) -> None:
    stream.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
