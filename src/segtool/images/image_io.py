"""Read and write images and masks: the one decoder for training and inference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from segtool.array_types import IntegerArray, UInt8Array
from segtool.errors import DataError
from segtool.files import atomic_path, sha256_of, write_bytes
from segtool.images.decoding import MAX_PIXELS, decoding, is_wide, mask_values, open_checked, opened
from segtool.images.pictures import Palette, color_table
from segtool.images.pixels import ImagePixels
from segtool.images.png import write_id_png

Number = TypeVar("Number", bound=np.number[Any])

_SMALL = 2**22  # pixels


def read_image(path: str | Path, *, channels: int, max_pixels: int = MAX_PIXELS) -> UInt8Array:
    """Read an image file as the input of a model.

    The EXIF orientation is applied. Transparent pixels are composited over black, so that a model never sees hidden
    colours. Palettes are resolved. 16-bit grey is scaled to 8 bits by 1/257, rounded (65535 becomes 255). For 16-bit
    colour, Pillow returns the upper 8 bits. 32-bit and floating-point pixels are refused. Colour becomes grey by the
    luma of ITU-R BT.601. The first frame of an animation or a stack is read.

    Parameters
    ----------
    path
        A file in one of `segtool.images.decoding.FORMATS`: PNG, JPEG, TIFF, GIF, WebP, BMP, ...
    channels
        1 for grey, 3 for RGB.
    max_pixels
        Images with more pixels are refused before they are decoded.

    Returns
    -------
    numpy.ndarray
        uint8 (H, W, channels), 0..255.

    Raises
    ------
    DataError
        The file is missing, empty, truncated, not an image, too large, or has pixels of unknown range.
    """
    return read_pixels(path, channels=channels, max_pixels=max_pixels).whole()


def read_pixels(path: str | Path, *, channels: int, max_pixels: int = MAX_PIXELS) -> ImagePixels:
    """Decode an image file as `read_image` does, and convert only the pixels that are read."""
    source = Path(path)
    with opened(source) as stream:
        return decode_pixels(stream, channels=channels, name=str(source), max_pixels=max_pixels)


def decode_image(stream: BinaryIO, *, channels: int, name: str) -> UInt8Array:
    """Decode an image from an open binary stream as `read_image` does; `name` names it in errors."""
    return decode_pixels(stream, channels=channels, name=name, max_pixels=MAX_PIXELS).whole()


def decode_pixels(
    stream: BinaryIO, *, channels: int, name: str, max_pixels: int, before: Callable[[int], object] | None = None
) -> ImagePixels:
    """Decode an image from an open binary stream as `read_pixels` does.

    `name` names it in errors. `before` is called with the number of its pixels before they are decoded.
    """
    with decoding(name):
        image = open_checked(stream, name, max_pixels)
        if before is not None:
            before(image.width * image.height)
        wide = is_wide(image)
        # Without in_place it copies the image even if it does not rotate it.
        ImageOps.exif_transpose(image, in_place=True)
        return ImagePixels(image, channels, name, wide=wide)


@dataclass(frozen=True, eq=False)
class MaskPixels:
    """The stored content of a mask.

    Attributes
    ----------
    values
        As `read_mask` returns them.
    palette
        The colours of a palette file, uint8 (M, 3) with one row for each index; None for other files.
    alpha
        uint8 (H, W), 255 is opaque; None if the file has no alpha channel.
    """

    values: IntegerArray
    palette: UInt8Array | None
    alpha: UInt8Array | None


def read_mask(path: str | Path) -> IntegerArray:
    """Read the stored values of a mask, not the displayed colours.

    Returns
    -------
    numpy.ndarray
        (H, W) uint8, uint16 or int32 for a palette (its indices), grey or 1-bit (0 and 1) file; uint8
        (H, W, 3) for a colour file. Alpha is dropped. The orientation tag is applied, as for images.

    Raises
    ------
    DataError
        As in `read_image`, or the pixels are of a kind that cannot be ids (float, CMYK, ...).
    """
    return read_mask_pixels(path).values


def read_mask_colors(path: str | Path) -> UInt8Array:
    """Read the colours of a mask, uint8 (H, W, 3), as `read_image` does, but without alpha, as `read_mask` does."""
    source = Path(path)
    with opened(source) as stream, decoding(str(source)):
        image = open_checked(stream, str(source), MAX_PIXELS)
        image.info.pop("transparency", None)  # before the pixels are loaded
        ImageOps.exif_transpose(image, in_place=True)
        opaque = image.convert("RGB") if "A" in image.getbands() else image
        return ImagePixels(opaque, 3, str(source)).whole()


def read_mask_pixels(path: str | Path) -> MaskPixels:
    """Read a mask as `read_mask` does, with its palette and its alpha channel."""
    source = Path(path)
    with opened(source) as stream, decoding(str(source)):
        image = open_checked(stream, str(source), MAX_PIXELS)
        values = mask_values(image, str(source))
        palette = image.getpalette("RGB") if image.mode in ("P", "PA") else None
        return MaskPixels(
            values,
            None if palette is None else np.array(palette, np.uint8).reshape(-1, 3),
            np.array(image.getchannel("A")) if "A" in image.getbands() else None,
        )


def to_channels(image: npt.NDArray[Any], channels: int, *, name: str = "The image") -> UInt8Array:
    """Convert an array to the channels of a model, by the rules of `read_image`.

    Parameters
    ----------
    image
        uint8 (H, W) or (H, W, C) with C of 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGB and alpha).
    channels
        1 for grey, 3 for RGB.
    name
        Name of the image in errors.

    Returns
    -------
    numpy.ndarray
        uint8 (H, W, channels); the input itself, or a view of it, if no conversion is needed.
    """
    if not isinstance(image, np.ndarray):
        raise DataError(
            f"{name} is a {type(image).__name__}; expected a numpy array. Use segtool.load(...).stream for files."
        )
    if image.dtype != np.uint8:
        raise DataError(f"{name} has dtype {image.dtype}; expected uint8 pixels 0..255. Convert it first.")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 2, 3, 4)) or image.size == 0:
        raise DataError(f"{name} has shape {image.shape}; expected a non-empty (H, W) or (H, W, C), C 1 to 4.")
    plane = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if plane.ndim == 2 and channels == 1:
        return plane[..., np.newaxis]
    if plane.ndim == 3 and plane.shape[2] == channels:
        return plane
    return ImagePixels(Image.fromarray(np.ascontiguousarray(plane)), channels, name).whole()


def resize_labels(labels: npt.NDArray[Number], height: int, width: int) -> npt.NDArray[Number]:
    """Resize a label map (H, W), or maps (H, W, K), of any dtype to height x width by the nearest pixel centre."""
    if labels.shape[:2] == (height, width):
        return labels
    rows = nearest_indices(labels.shape[0], height)
    columns = nearest_indices(labels.shape[1], width)
    return labels[rows[:, np.newaxis], columns]


def nearest_indices(source: int, target: int) -> npt.NDArray[np.intp]:
    """Return, for each of `target` pixels, the source pixel whose area contains its centre: intp (target,)."""
    # (2 i + 1) source / (2 target) in integers: exact, while floating point could round across a border.
    centres: npt.NDArray[np.intp] = (2 * np.arange(target, dtype=np.intp) + 1) * source // (2 * target)
    return centres


def write_labels(path: str | Path, labels: IntegerArray, palette: Palette) -> str:
    """Write a label map as a PNG whose pixel value is the class id.

    Parameters
    ----------
    path
        The PNG to write, atomically; an existing file is replaced.
    labels
        (H, W), ids 0..255, or 0..65535 if the palette has more than 256 classes.
    palette
        A colour per class, for viewers; ids beyond it are white. Above 256 classes, the limit of a PNG palette, the
        file is 16-bit grey.

    Returns
    -------
    str
        The SHA-256 of the file, in hexadecimal.

    Raises
    ------
    DataError
        The labels are not a map of ids in this range.
    OutputWriteError
        As in `segtool.files`.
    """
    wide = len(palette) > 256
    limit = 65535 if wide else 255
    if labels.ndim != 2 or labels.size == 0 or not _fits(labels, limit):
        raise DataError(f"The labels for {path} have shape {labels.shape}; expected (H, W) of ids 0..{limit}.")
    # Write all 256 colours, so that an ignore id of 255 has a colour too.
    table = None if wide else _stored_palette(tuple(palette))
    if labels.size > _SMALL:
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            write_id_png(stream, labels, table)
        return sha256_of(path)
    encoded = BytesIO()
    write_id_png(encoded, labels, table)
    write_bytes(path, encoded.getbuffer())
    return sha256(encoded.getbuffer()).hexdigest()


@lru_cache(maxsize=8)
def _stored_palette(palette: tuple[tuple[int, int, int], ...]) -> bytes:
    return color_table(palette, 256).tobytes()


def _fits(labels: IntegerArray, limit: int) -> bool:
    held = np.iinfo(labels.dtype)
    return (held.min >= 0 and held.max <= limit) or (int(labels.min()) >= 0 and int(labels.max()) <= limit)
