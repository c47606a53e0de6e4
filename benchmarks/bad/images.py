"""Images that are broken or made to hurt their reader; each function returns what its name says."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"


def grey(seed: int = 0, size: tuple[int, int] = (16, 20)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(*chunks: bytes, width: int = 20, height: int = 16) -> bytes:
    """Return a grey PNG with these chunks between its header and its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(17 * 20)))
    return PNG_START + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def bomb(size: int = 300_000_000) -> bytes:
    """Return `size` zero bytes, compressed to a thousandth."""
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(10**6)) for _ in range(size // 10**6)), packer.flush()])


def png_profile_bomb() -> bytes:
    return png_with(chunk(b"iCCP", b"p\0\0" + bomb()))


def png_text_bomb() -> bytes:
    return png_with(chunk(b"zTXt", b"k\0\0" + bomb()))


def png_international_text_bomb() -> bytes:
    return png_with(chunk(b"iTXt", b"k\0\1\0\0\0" + bomb()))


def many_text_chunks() -> bytes:
    return png_with(*[chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000)))] * 200)


def flipped(data: bytes, at: int | None = None) -> bytes:
    at = len(data) // 2 if at is None else at
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
