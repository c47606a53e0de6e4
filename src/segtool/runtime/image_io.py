"""Images and masks from files to arrays and back: the one decoder that training and inference share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from segtool.errors import DataError
from segtool.files import atomic_path, refuse_existing
from segtool.runtime.arrays import IntegerArray, UInt8Array
from segtool.runtime.decoding import decoding, mask_values, open_checked, opened, to_uint8

Palette = Sequence[tuple[int, int, int]]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm", ".jp2"})
"""The suffixes that a folder is searched for, in lower case; a file named outright may have any."""

MAX_PIXELS = 178_956_970
"""The largest image that is decoded by default: where Pillow itself calls a file a decompression bomb."""

_UNKNOWN_COLOR = (255, 255, 255)


def read_image(path: str | Path, *, channels: int, max_pixels: int = MAX_PIXELS) -> UInt8Array:
    """Read an image file the way every model of segtool sees it.

    The EXIF orientation is applied. Transparent pixels are composited over black, so that colours hidden
    under them never reach a model. Palettes are looked up, 16-bit grey is scaled to 8 bits by 1/257, rounded
    (65535 becomes 255); colour becomes grey by the luma of ITU-R BT.601. Of an animation or a stack, the
    first frame is read.

    Parameters
    ----------
    path
        The file: PNG, JPEG, TIFF, GIF, WebP, BMP, PNM, JPEG 2000, or AVIF where Pillow has it.
    channels
        1 for grey, 3 for RGB.
    max_pixels
        Images of more pixels are refused before they are decoded.

    Returns
    -------
    numpy.ndarray
        uint8 (H, W, channels), 0..255.

    Raises
    ------
    DataError
        The file is missing, empty, truncated, no image, too large, or of pixels without a known range.
    """
    source = Path(path)
    with opened(source) as stream:
        return decode_image(stream, channels=channels, name=str(source), max_pixels=max_pixels)


def decode_image(stream: BinaryIO, *, channels: int, name: str, max_pixels: int = MAX_PIXELS) -> UInt8Array:
    """Decode an image from an open binary stream as `read_image` does; `name` names it in errors."""
    with decoding(name):
        image = open_checked(stream, name, max_pixels)
        return to_uint8(ImageOps.exif_transpose(image), channels, name)


def read_mask(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> IntegerArray:
    """Read the raw values of a mask: what is stored, not what is shown.

    Returns
    -------
    numpy.ndarray
        (H, W) uint8, uint16 or int32 for a palette (its indices), grey or 1-bit (0 and 1) file; uint8
        (H, W, 3) for a colour file. Alpha is dropped, the EXIF orientation is not applied.

    Raises
    ------
    DataError
        As in `read_image`, or the file's pixels are of a kind that holds no ids (float, CMYK, ...).
    """
    source = Path(path)
    with opened(source) as stream, decoding(str(source)):
        image = open_checked(stream, str(source), max_pixels)
        return mask_values(image, str(source))


def to_channels(image: npt.NDArray[Any], channels: int, *, name: str = "The image") -> UInt8Array:
    """Bring an array to the channels of a model, by the rules of `read_image`.

    Parameters
    ----------
    image
        uint8 (H, W) or (H, W, C) with C of 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGB and alpha).
    channels
        1 for grey, 3 for RGB.
    name
        What the image is called in errors.

    Returns
    -------
    numpy.ndarray
        uint8 (H, W, channels); the input itself, or a view of it, where nothing is to be done.
    """
    if not isinstance(image, np.ndarray):
        raise DataError(
            f"{name} is a {type(image).__name__}; expected a numpy array, segtool.load(...).stream reads files."
        )
    if image.dtype != np.uint8:
        raise DataError(f"{name} is {image.dtype}; expected uint8 pixels 0..255, convert it first.")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 2, 3, 4)) or image.size == 0:
        raise DataError(f"{name} has shape {image.shape}; expected a non-empty (H, W) or (H, W, C), C 1 to 4.")
    plane = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if plane.ndim == 2 and channels == 1:
        return plane[..., np.newaxis]
    if plane.ndim == 3 and plane.shape[2] == channels:
        return plane
    return to_uint8(Image.fromarray(np.ascontiguousarray(plane)), channels, name)


def resize_image(image: UInt8Array, height: int, width: int) -> UInt8Array:
    """Resize uint8 (H, W, C) or (H, W) to height x width, bilinear with anti-aliasing when it shrinks."""
    if image.shape[:2] == (height, width):
        return image
    plane = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    pillow = Image.fromarray(np.ascontiguousarray(plane))
    resized = np.array(pillow.resize((width, height), Image.Resampling.BILINEAR))
    return resized.reshape(height, width, *image.shape[2:])


def resize_labels(labels: IntegerArray, height: int, width: int) -> IntegerArray:
    """Resize a label map (H, W) of any integer dtype to height x width by the nearest pixel centre."""
    if labels.shape == (height, width):
        return labels
    rows = nearest_indices(labels.shape[0], height)
    columns = nearest_indices(labels.shape[1], width)
    return labels[rows[:, np.newaxis], columns]


def nearest_indices(source: int, target: int) -> npt.NDArray[np.intp]:
    """Return, for each of `target` pixels, the source pixel whose area holds its centre: intp (target,)."""
    # (2 i + 1) source / (2 target) in integers: exact where floating point would round across a border.
    centres: npt.NDArray[np.intp] = (2 * np.arange(target, dtype=np.intp) + 1) * source // (2 * target)
    return centres


def write_labels(path: str | Path, labels: IntegerArray, palette: Palette, *, overwrite: bool = False) -> None:
    """Write a label map as a PNG whose pixel value is the class id.

    Parameters
    ----------
    path
        The PNG to write, atomically.
    labels
        (H, W), ids 0..255, or 0..65535 where the palette has more than 256 classes.
    palette
        A colour per class, for viewers; ids beyond it are shown white. Above 256 classes the file is 16-bit
        grey, because a PNG palette ends there.
    overwrite
        Replace a file that is there.

    Raises
    ------
    DataError
        The labels are no map of ids in that range.
    OutputExistsError, OutputWriteError
        As in `segtool.files`.
    """
    target = refuse_existing(path, overwrite=overwrite)
    wide = len(palette) > 256
    limit = 65535 if wide else 255
    if labels.ndim != 2 or labels.size == 0 or int(labels.min()) < 0 or int(labels.max()) > limit:
        raise DataError(f"The labels for {target} have shape {labels.shape}; expected (H, W) of ids 0..{limit}.")
    image = Image.fromarray(np.ascontiguousarray(labels, dtype=np.uint16 if wide else np.uint8))
    if not wide:
        # All 256 entries: with fewer, Pillow would pack the ids in 4 bits and cut off an ignore id of 255.
        image.putpalette(_color_table(palette, 256).tobytes())
    with atomic_path(target) as temporary:
        image.save(temporary, format="PNG")


def write_image(path: str | Path, image: UInt8Array, *, overwrite: bool = False) -> None:
    """Write uint8 (H, W), (H, W, 1) or (H, W, 3) as a PNG, atomically; errors as in `segtool.files`."""
    target = refuse_existing(path, overwrite=overwrite)
    plane = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    with atomic_path(target) as temporary:
        Image.fromarray(np.ascontiguousarray(plane)).save(temporary, format="PNG")


def colorize(labels: IntegerArray, palette: Palette) -> UInt8Array:
    """Return the palette's colour of every label, uint8 (..., 3); ids beyond the palette are white."""
    size = max(len(palette), int(labels.max(initial=0))) + 1
    return _color_table(palette, size)[labels]


def overlay(
    image: UInt8Array,
    labels: IntegerArray,
    palette: Palette,
    *,
    alpha: float = 0.5,
    background_id: int | None = None,
) -> UInt8Array:
    """Blend the colours of a label map over its image.

    Parameters
    ----------
    image
        uint8 (H, W), (H, W, 1) or (H, W, 3).
    labels
        Class ids (H, W).
    palette
        A colour per class.
    alpha
        Share of the label's colour, 0..1.
    background_id
        The class whose pixels keep the image as it is; None for none.

    Returns
    -------
    numpy.ndarray
        uint8 (H, W, 3).
    """
    if image.shape[:2] != labels.shape:
        raise DataError(f"The image is {image.shape[:2]} and its labels are {labels.shape}; expected the same size.")
    base = to_channels(image, 3)
    blended = np.rint(base * (1.0 - alpha) + colorize(labels, palette) * alpha).astype(np.uint8)
    if background_id is None:
        return blended
    return np.where((labels == background_id)[..., np.newaxis], base, blended)


def _color_table(palette: Palette, size: int) -> UInt8Array:
    table = np.full((size, 3), _UNKNOWN_COLOR, dtype=np.uint8)
    table[: len(palette)] = np.asarray(palette, dtype=np.uint8).reshape(-1, 3)[:size]
    return table
