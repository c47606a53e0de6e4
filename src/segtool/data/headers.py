"""What the headers of images and masks say: size, orientation, pages, kind of pixels and loss; without decoding."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from segtool.images.decoding import MAX_PIXELS, decoding, is_wide, open_checked, opened

_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_WIDTH, _HEIGHT, _SUBFILE, _ORIENTATION = 256, 257, 254, 274  # tags of TIFF 6.0, the last also of EXIF
_SIDEWAYS = 5
"""Orientations from 5 on turn the image by a quarter, which swaps height and width."""
_PAGED = ("TIFF", "GIF", "WEBP", "PNG")
"""Formats whose pages are samples. The further pictures of a telephone's MPO are previews and depth maps."""
_LOSSY = {"JPEG": "JPEG", "MPO": "JPEG", "AVIF": "AVIF"}
_PNG_SIGNATURE_BYTES = 8
_PNG_METADATA = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")
_HEAD = 4096  # bytes in which the marks below stand, unless a large colour profile comes before them
_JP2_CODING, _JP2_IRREVERSIBLE = b"\xff\x52", 0  # ISO/IEC 15444-1, A.6.1: the byte 13 behind the marker
_JP2_TRANSFORM = 13


@dataclass(frozen=True)
class Header:
    """What the header of an image file says."""

    size: tuple[int, int]  # (height, width) in pixels, upright: after the orientation is applied
    grey: bool
    orientation: int = 1  # of EXIF or TIFF, 1 (as stored) to 8
    pages: int = 1  # pages or frames of the kind of the first, which is read
    alpha: bool = False  # whether the file has an alpha channel
    wide: bool = False  # whether its pixels have 16 bits
    lossy: str = ""  # the name of its format where that changes pixel values, JPEG above all

    @property
    def stored_size(self) -> tuple[int, int]:
        """(height, width) in pixels as stored, before the orientation is applied."""
        return self.size[::-1] if self.orientation >= _SIDEWAYS else self.size


def read_header(path: Path) -> Header:
    """Read what the header of an image file says; raise a DataError if it is missing, empty or no image."""
    with opened(path) as stream, decoding(str(path)):
        head = stream.read(_HEAD)
        stream.seek(0)
        image = open_checked(stream, str(path), MAX_PIXELS)
        orientation = _orientation(image, stream)
        width, height = _stored_size(image)
        return Header(
            size=(width, height) if orientation >= _SIDEWAYS else (height, width),
            grey=image.mode in _GREY_MODES,
            orientation=orientation,
            alpha="A" in image.getbands(),
            wide=is_wide(image),
            lossy=_lossy(image, head),
            pages=_count_pages(image),  # moves to the last page
        )


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Return (width, height) as stored: of a TIFF from its tags, because Pillow swaps a turned one's at opening."""
    tags = getattr(image, "tag_v2", {})
    return int(tags.get(_WIDTH, image.width)), int(tags.get(_HEIGHT, image.height))


def _orientation(image: Image.Image, stream: BinaryIO) -> int:
    # PngImageFile.getexif decodes all pixels first, because metadata may stand behind them.
    late = image.format != "PNG" or _has_late_metadata(stream)
    found = (image.getexif() if late else Image.Image.getexif(image)).get(_ORIENTATION, 1)
    return found if found in range(1, 9) else 1


def _has_late_metadata(stream: BinaryIO) -> bool:
    """Return whether a PNG has chunks behind its pixels that may hold an orientation; leaves the stream as it was."""
    before = stream.tell()
    stream.seek(_PNG_SIGNATURE_BYTES)
    pixels = found = False
    while not found and len(start := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        pixels |= kind == b"IDAT"
        found = pixels and kind in _PNG_METADATA
        stream.seek(length + 4, 1)
    stream.seek(before)
    return found


def _lossy(image: Image.Image, head: bytes) -> str:
    kind = str(image.format)
    if kind in _LOSSY:
        return _LOSSY[kind]
    if kind == "TIFF" and "jpeg" in str(image.info.get("compression")):
        return "TIFF with JPEG inside"
    if kind == "WEBP" and b"VP8L" not in head:
        return "lossy WebP"
    place = head.find(_JP2_CODING) if kind == "JPEG2000" else -1
    return "lossy JPEG 2000" if place >= 0 and head[place + _JP2_TRANSFORM :][:1] == bytes([_JP2_IRREVERSIBLE]) else ""


def _count_pages(image: Image.Image) -> int:
    """Return the number of pages; of a TIFF without those that are previews, masks or smaller copies of a page."""
    frames = int(getattr(image, "n_frames", 1)) if image.format in _PAGED else 1
    if image.format != "TIFF" or frames == 1:
        return frames
    first, count = _stored_size(image), 0
    for frame in range(frames):
        image.seek(frame)
        derived = getattr(image, "tag_v2", {}).get(_SUBFILE, 0) & 0b101
        count += _stored_size(image) == first and not derived
    return max(1, count)
