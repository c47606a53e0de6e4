"""Masks in formats that do not keep pixel values, JPEG above all: ids in them are invented and lost in silence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from segtool.errors import DataError
from segtool.images.decoding import MAX_PIXELS, decoding, open_checked, opened
from segtool.text import counted

_ALWAYS = ("JPEG", "MPO", "AVIF")
_HEAD = 4096  # bytes in which the marks below stand, unless a large colour profile comes before them
_JP2_CODING, _JP2_IRREVERSIBLE = b"\xff\x52", 0  # ISO/IEC 15444-1, A.6.1: the byte 13 behind the marker
_JP2_TRANSFORM = 13


def lossy_format(path: Path) -> str | None:
    """Return the name of a file's format where it changes pixel values; None where it keeps them.

    Raises
    ------
    DataError
        The file is missing, empty or no image.
    """
    with opened(path) as stream, decoding(str(path)):
        image = open_checked(stream, str(path), MAX_PIXELS)
        stream.seek(0)
        head = stream.read(_HEAD)
        return _lossy(image, head)


def lossy_masks(masks: Sequence[Path]) -> str | None:
    """Return a sentence on the masks that are in a lossy format; None where none is. Unreadable ones are left out."""
    found: list[tuple[Path, str]] = []
    for mask in masks:
        try:
            name = lossy_format(mask)
        except DataError:
            continue
        if name:
            found.append((mask, name))
    if not found:
        return None
    names = " or ".join(sorted({name for _, name in found}))
    which = f"The mask {found[0][0]} is" if len(found) == 1 else f"{counted(len(found), 'mask')} are"
    first = "" if len(found) == 1 else f"; the first is {found[0][0]}"
    return (
        f"{which} in a lossy format ({names}), which changes pixel values, so that ids are lost and others invented, "
        f"expected PNG; write the masks as PNG from what they were made of, converting these files does not bring the "
        f"ids back{first}."
    )


def _lossy(image: Image.Image, head: bytes) -> str | None:
    kind = str(image.format)
    if kind in _ALWAYS:
        return "JPEG" if kind == "MPO" else kind
    if kind == "TIFF" and "jpeg" in str(image.info.get("compression")):
        return "TIFF with JPEG inside"
    if kind == "WEBP" and b"VP8L" not in head:
        return "lossy WebP"
    if kind == "JPEG2000" and _irreversible(head):
        return "lossy JPEG 2000"
    return None


def _irreversible(head: bytes) -> bool:
    place = head.find(_JP2_CODING)
    return 0 <= place < len(head) - _JP2_TRANSFORM and head[place + _JP2_TRANSFORM] == _JP2_IRREVERSIBLE
