"""Open and decode one image file; each failure becomes a DataError with one sentence."""

from __future__ import annotations

import importlib.util
import stat
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from segtool.array_types import IntegerArray, UInt8Array
from segtool.errors import DataError, reason_of
from segtool.machine.memory import available_memory

# The exceptions of Pillow's decoders on damaged bytes: OSError and SyntaxError by design, the others by accident, and
# their warnings if a program turns them into errors.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    IndexError,
    KeyError,
    TypeError,
    Warning,
)
MAX_PIXELS = 178_956_970
"""The default limit in pixels, equal to Pillow's own limit for decompression bombs."""

_TOO_LARGE_ADVICE = "resize or split it, or raise the limit with predict --max-pixels (max_pixels in Python)"
_PILLOW_LIMIT = threading.Lock()
# Pillow reads about forty formats, including EPS, for which it starts Ghostscript. These formats contain only pixels
# and no code. Their suffixes are listed here, because asking Pillow imports all its plugins. The first six come first
# because Pillow preloads them; any other format makes it import all plugins.
_SUFFIXES = {
    "PNG": ".png .apng",
    "JPEG": ".jpg .jpeg .jpe .jfif .mpo",
    "GIF": ".gif",
    "BMP": ".bmp",
    "DIB": ".dib",
    "PPM": ".ppm .pgm .pbm .pnm .pfm",
    "TIFF": ".tif .tiff",
    "WEBP": ".webp",
    "JPEG2000": ".jp2 .j2k .jpc .jpf .jpx .j2c",
    "AVIF": ".avif .avifs",
    "TGA": ".tga .icb .vda .vst",
    "ICO": ".ico",
    "CUR": ".cur",
    "ICNS": ".icns",
    "PCX": ".pcx",
    "SGI": ".sgi .rgb .rgba .bw",
    "SUN": ".ras",
    "PSD": ".psd",
    "QOI": ".qoi",
    "DDS": ".dds",
    "MSP": ".msp",
    "XBM": ".xbm",
    "XPM": ".xpm",
}
IMAGE_SUFFIXES = frozenset(" ".join(_SUFFIXES.values()).split())
"""The suffixes of images in folders, in lower case; a file that is named itself may have any suffix."""
_HAS_AVIF = importlib.util.find_spec("PIL.AvifImagePlugin") is not None  # since Pillow 11.3
FORMATS = tuple(name for name in _SUFFIXES if name != "AVIF" or _HAS_AVIF)
"""The supported formats, by Pillow's names."""
_LARGE = 2**22  # pixels; larger images are checked against the available memory
# Bytes in memory per pixel, by mode: decoded by Pillow, as an array, and as a label. Other modes use the maximum.
_BYTES_A_PIXEL = {"1": 3, "L": 3, "P": 6, "RGB": 8, "YCbCr": 8}
_MOST_BYTES_A_PIXEL = 12
WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Open a file for reading; refuse a missing, empty or unreadable file and a folder with one sentence."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # opening a pipe would block
            raise DataError(f"{path} is a pipe, socket or device; expected an image file.")
        with path.open("rb") as stream:
            if not stream.peek(1):
                raise DataError(f"{path} is empty (0 bytes); expected an image.")
            yield stream
    except FileNotFoundError as error:
        found = "is a broken link" if path.is_symlink() else "does not exist"
        raise DataError(f"{path} {found}; expected an image file.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder; expected an image file.") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it
        raise DataError(f"{path} cannot be read ({reason_of(error)}); check its name and permissions.") from error


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn any exception of a decoder into one sentence."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise DataError(
            f"{name} is not an image in a supported format; expected PNG, JPEG, TIFF, GIF, WebP, BMP, PNM, "
            "JPEG 2000 or AVIF."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{name} is too large ({_one_line(error)}); {_TOO_LARGE_ADVICE}.") from error
    except MemoryError as error:
        raise DataError(f"{name} does not fit in memory; resize or split it.") from error
    except _DECODE_ERRORS as error:
        raise DataError(f"{name} is damaged or truncated ({_one_line(error)}); save or download it again.") from error


def open_checked(stream: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    """Read the header of an image, and refuse it if it has too many pixels.

    Parameters
    ----------
    stream
        The open file.
    name
        Its name in errors.
    max_pixels
        The limit; above `MAX_PIXELS` it replaces Pillow's own limit.
    """
    if max_pixels > MAX_PIXELS:
        with _no_pillow_limit():
            image = Image.open(stream, formats=FORMATS)
    else:
        image = Image.open(stream, formats=FORMATS)
    width, height = image.size
    refuse_too_many(width, height, name, max_pixels)
    if width * height > _LARGE:
        _refuse_beyond_memory(image, name)
    return image


@contextmanager
def _no_pillow_limit() -> Iterator[None]:
    """Disable Pillow's limit while one header is read; a lock protects it, because it is global."""
    with _PILLOW_LIMIT:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _refuse_beyond_memory(image: Image.Image, name: str) -> None:
    """Refuse an image that does not fit in memory: a file of a few kilobytes can contain 10^8 pixels."""
    width, height = image.size
    memory, needed = available_memory(), width * height * _BYTES_A_PIXEL.get(image.mode, _MOST_BYTES_A_PIXEL)
    if memory is not None and needed > memory:
        raise DataError(
            f"{name} has {width} x {height} pixels and needs up to {needed / 1e6:.0f} MB, but {memory / 1e6:.0f} MB "
            "are available; resize or split it, or use fewer --workers."
        )


def refuse_too_many(width: int, height: int, name: str, max_pixels: int) -> None:
    """Refuse an image with more pixels than the limit; only its size is known at this point."""
    if width * height > max_pixels:
        raise DataError(f"{name} has {width} x {height} pixels, but the limit is {max_pixels}; {_TOO_LARGE_ADVICE}.")


def check_pixels(image: Image.Image, channels: int, name: str) -> None:
    """Refuse images that `to_uint8` cannot convert: pixels of unknown range, or channels other than 1 and 3."""
    if channels not in (1, 3):
        raise DataError(f"The number of channels is {channels}; expected 1 (grey) or 3 (RGB).")
    if image.mode == "F":
        raise DataError(f"{name} has floating-point pixels of unknown range; save it as an 8-bit or 16-bit image.")
    if image.mode == "I":
        if _is_32_bit(image):
            raise DataError(f"{name} has 32-bit integer pixels of unknown range; convert it to 8 or 16 bits.")
        lowest, highest = cast("tuple[int, int]", image.getextrema())
        if lowest < 0 or highest > 65535:
            raise DataError(f"{name} has pixel values {lowest}..{highest}; expected 16 bits (0..65535) or less.")


def is_wide(image: Image.Image) -> bool:
    """Return whether pixels have 16 bits, also where Pillow returns the upper 8 of them, as for colour.

    `image` must not be loaded yet.
    """
    tiles = getattr(image, "tile", ())  # exists only before the file is loaded
    raw_mode = tiles[0][3] if tiles else ""
    raw_mode = raw_mode[0] if isinstance(raw_mode, tuple) and raw_mode else raw_mode
    return image.mode in WIDE_MODES or (isinstance(raw_mode, str) and ";16" in raw_mode)


def _is_32_bit(image: Image.Image) -> bool:
    """Return whether an image is a TIFF of 32-bit integers, not 16-bit grey (PGM, signed TIFF) in the same mode."""
    bits_per_sample = 258
    return getattr(image, "tag_v2", {}).get(bits_per_sample) == (32,)


def to_uint8(image: Image.Image, channels: int) -> UInt8Array:
    """Convert a Pillow image of any mode that `check_pixels` passes to uint8 (H, W, channels)."""
    wanted = "L" if channels == 1 else "RGB"
    flat = _narrow(image) if image.mode in WIDE_MODES else _opaque(image)
    # Some modes (LAB, HSV) do not convert to grey directly, so colour is converted to RGB first.
    colored = flat if flat.mode in ("1", "L", "RGB") else flat.convert("RGB")
    array = np.array(colored if colored.mode == wanted else colored.convert(wanted))
    return array.reshape(*array.shape[:2], channels)


def is_plain(image: Image.Image, channels: int) -> bool:
    """Return whether `to_uint8` would return the pixels of the image unchanged."""
    return image.mode == ("L" if channels == 1 else "RGB") and not image.has_transparency_data


def _narrow(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits, 65535 / 257 = 255; the grey value declared transparent becomes black."""
    values = np.array(image).astype(np.int64)
    if isinstance(transparent := image.info.get("transparency"), int):
        values[values == transparent] = 0
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _opaque(image: Image.Image) -> Image.Image:
    """Composite an image with transparency over black; return any other image unchanged."""
    if not image.has_transparency_data:
        return image
    straight = image.convert("LA") if image.mode == "La" else image
    colored = straight.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colored.size, (0, 0, 0, 255)), colored)


def mask_values(image: Image.Image, name: str) -> IntegerArray:
    """Return the stored values of a mask image, upright: (H, W) integers or uint8 (H, W, 3) colours.

    `image` must not be loaded yet; it is rotated in place by its orientation tag.
    """
    step = _grey_step(image)
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode in ("L", "P", "RGB"):
        values = np.array(image)
        return values if step == 1 else values // np.uint8(step)
    if image.mode in WIDE_MODES:
        return np.array(image, dtype=np.int32 if image.mode == "I" else np.uint16)
    if image.mode == "1":
        return np.array(image, dtype=np.uint8)
    if image.mode in ("LA", "PA"):
        return np.array(image.getchannel(0))
    if image.mode in ("RGBA", "RGBX"):
        return np.array(image)[..., :3]
    raise DataError(
        f"{name} has {image.mode} pixels, which cannot be class ids; save it as a palette, grey or RGB PNG."
    )


def _grey_step(image: Image.Image) -> int:
    """Return the factor by which Pillow scales the values of a 2-bit or 4-bit grey PNG (to 0..255) when it loads."""
    tiles = getattr(image, "tile", ())  # exists only before the file is loaded
    raw_mode = tiles[0][3] if tiles else None
    return {"L;2": 85, "L;4": 17}.get(raw_mode, 1) if isinstance(raw_mode, str) else 1


def _one_line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__).rstrip(".")
