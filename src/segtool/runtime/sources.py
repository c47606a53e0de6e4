"""One image to predict, a file or an image of a .npy stack: reading and identity."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from PIL import Image

from segtool.array_types import UInt8Array
from segtool.errors import DataError
from segtool.images.decoding import decoding, opened, refuse_too_many
from segtool.images.image_io import to_channels
from segtool.text import counted

ARRAY_SUFFIX = ".npy"

_READ_AT_ONCE = 1 << 23  # bytes
_HEAD_BYTES = 1 << 16
_STACK_FORMATS = (b"GIF8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"RIFF")
# Byte sequences by which a PNG, a JPEG and an AVIF or HEIC file declare several images.
_STACK_MARKS = ((b"\x89PNG", b"acTL"), (b"\xff\xd8", b"MPF\0"), (b"\0\0\0", b"ftyp"))


@dataclass(frozen=True, slots=True)
class Source:
    """One image to predict.

    Attributes
    ----------
    file
        The file, as reached from its argument. A str, because a `Path` for each of very many images uses memory.
    folder
        The folder of that argument; the outputs mirror the folders below it.
    index
        Its index in a .npy stack; None if the file is one image.
    """

    file: str
    folder: str
    index: int | None = None

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.file)

    @property
    def name(self) -> str:
        """Its name in the manifest and in errors: ``a.png``, ``stack.npy[12]``."""
        return self.file if self.index is None else f"{self.file}[{self.index}]"

    @property
    def is_array(self) -> bool:
        """Whether it is read with numpy instead of Pillow."""
        return os.path.splitext(self.file)[1].lower() == ARRAY_SUFFIX  # noqa: PTH122 (very many strings)


@dataclass(frozen=True)
class InputFacts:
    """The identity of an input.

    Attributes
    ----------
    bytes
        Size of the file.
    mtime_ns
        Modification time, in nanoseconds since 1970.
    sha256
        SHA-256 of the bytes of the file; for an image of a stack, of its pixels.
    frames
        Number of images or pages in the file; only the first is read. 1 for an image of a stack.
    largest_value
        The largest value of a 16-bit image, 0..65535; None for others, and before the image is decoded.
    """

    bytes: int
    mtime_ns: int
    sha256: str
    frames: int = 1
    largest_value: int | None = None


def as_source(item: str | Path | Source) -> Source:
    """Return a path as a source; a source is returned unchanged."""
    if isinstance(item, Source):
        return item
    path = Path(item)
    return Source(str(path), str(path.parent))


@contextmanager
def opened_source(source: Source) -> Iterator[tuple[BinaryIO, os.stat_result]]:
    """Yield the bytes of an image file, not of a .npy stack, and its state; a small file is read once, as a whole.

    Raises
    ------
    DataError
        It is missing, empty or cannot be read.
    """
    with opened(source.path) as stream:
        state = os.fstat(stream.fileno())
        yield BytesIO(stream.read()) if state.st_size <= _READ_AT_ONCE else stream, state


def file_facts(stream: BinaryIO, state: os.stat_result, name: str) -> InputFacts:
    """Return the identity of an image file from `opened_source`, in bounded memory; `name` names it in errors."""
    frames = _count_frames(stream, name)
    stream.seek(0)
    digest = hashlib.file_digest(cast("BufferedReader", stream), "sha256").hexdigest()
    stream.seek(0)
    return InputFacts(state.st_size, state.st_mtime_ns, digest, frames)


def input_facts(source: Source) -> InputFacts:
    """Read the identity of an input, in bounded memory.

    Raises
    ------
    DataError
        It is missing or cannot be read.
    """
    if source.index is not None:
        return _image_facts(source)
    with opened_source(source) as (stream, state):
        return file_facts(stream, state, source.file)


def read_array(source: Source, *, channels: int, max_pixels: int) -> UInt8Array:
    """Read an image of a .npy file with at most `max_pixels` pixels; uint8 (H, W, channels).

    Raises
    ------
    DataError
        The file contains no uint8 image, no image of this index, or one with more pixels.
    """
    stored = _stored(source)
    if stored.ndim > 1:
        refuse_too_many(stored.shape[1], stored.shape[0], source.name, max_pixels)
    # A copy, so that the memory map and its pages are released at once.
    return to_channels(np.array(stored), channels, name=source.name)


def images_of(source: Source) -> list[Source]:
    """Return the images of a file: each image of a .npy stack, otherwise the file itself."""
    length = stack_length(source.path) if source.is_array else None
    return [source] if length is None else [replace(source, index=index) for index in range(length)]


def stack_length(path: Path) -> int | None:
    """Return the number of images in a .npy file; None if it is one image, or cannot be read.

    (N, H, W) and (N, H, W, C) are stacks; (H, W) and (H, W, C) with C up to 4 are one image.
    """
    from segtool.images.npy import open_npy  # imported here: image files need neither it nor its decompressors

    try:
        shape = open_npy(path).shape
    except DataError:
        return None  # the error is reported when the file is read, as for all other files
    is_stack = len(shape) == 4 or (len(shape) == 3 and shape[2] > 4)
    return shape[0] if is_stack and shape[0] else None


def _stored(source: Source) -> UInt8Array:
    from segtool.images.npy import open_npy

    array = open_npy(source.path)
    if source.index is None:
        return array
    if source.index >= len(array):
        raise DataError(
            f"{source.path} has {counted(len(array), 'image')}, but image {source.index} was found earlier; do not "
            "change it."
        )
    frame: UInt8Array = array[source.index]
    return frame


def _image_facts(source: Source) -> InputFacts:
    try:
        state = source.path.stat()
    except OSError as error:
        raise DataError(f"{source.path} cannot be read ({error.strerror}); check its name and permissions.") from error
    pixels = np.ascontiguousarray(_stored(source))
    return InputFacts(state.st_size, state.st_mtime_ns, hashlib.sha256(pixels.data).hexdigest())


def _count_frames(stream: BinaryIO, name: str) -> int:
    """Return the number of images in a file; 1 if unknown. Most formats are recognized by their first bytes."""
    head = stream.read(_HEAD_BYTES)
    marked = any(head.startswith(start) and mark in head for start, mark in _STACK_MARKS)
    if not marked and not head.startswith(_STACK_FORMATS):
        return 1
    stream.seek(0)
    with suppress(DataError), decoding(name), Image.open(stream) as image:
        return int(getattr(image, "n_frames", 1))
    return 1
