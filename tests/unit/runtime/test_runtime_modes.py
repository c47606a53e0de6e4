"""Every mode of Pillow's and every format that it writes here: the same 8 bits, whole, by rectangles and resized."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from tiny_models import expected_labels, write_model

from segtool.errors import DataError
from segtool.images.image_io import read_image, read_pixels
from segtool.images.pixels import ImagePixels, resize_image
from segtool.runtime.opening import load

RED, GREEN, BLUE = (200, 0, 0), (0, 100, 0), (0, 0, 50)
NATIVE = "<u2" if sys.byteorder == "little" else ">u2"


def of_bytes(mode: str, values: list[object], dtype: str = "u1") -> Image.Image:
    """A row of pixels from their stored values."""
    return Image.frombytes(mode, (len(values), 1), np.array(values, dtype).tobytes())


def with_palette(mode: str, values: list[object], **info: object) -> Image.Image:
    image = of_bytes(mode, values)
    image.putpalette([*RED, *GREEN, *BLUE])
    image.info.update(info)
    return image


def with_info(image: Image.Image, **info: object) -> Image.Image:
    image.info.update(info)
    return image


SIXTEEN = [0, 128, 129, 257, 65406, 65407, 65535]
SIXTEEN_AS_EIGHT = [0, 0, 1, 1, 254, 255, 255]

# Mode, what makes it: the image, and its row in grey or in RGB, worked out by hand.
MODES = {
    "1": (of_bytes("L", [0, 255, 0]).convert("1"), [0, 255, 0]),
    "L": (of_bytes("L", [0, 7, 255]), [0, 7, 255]),
    "L with a transparent grey": (with_info(of_bytes("L", [0, 7, 255]), transparency=7), [0, 0, 255]),
    "LA": (of_bytes("LA", [[200, 255], [200, 0], [200, 51]]), [200, 0, 40]),
    "La": (of_bytes("La", [[200, 255], [0, 0], [40, 51]]), [200, 0, 40]),
    "P": (with_palette("P", [0, 1, 2, 0]), [RED, GREEN, BLUE, RED]),
    "P with a transparent entry": (with_palette("P", [0, 1, 2], transparency=1), [RED, (0, 0, 0), BLUE]),
    "P with alpha of each entry": (
        with_palette("P", [0, 1, 2], transparency=bytes([51, 255, 0])),
        [(40, 0, 0), GREEN, (0, 0, 0)],
    ),
    "PA": (with_palette("PA", [[0, 255], [1, 0], [0, 51]]), [RED, (0, 0, 0), (40, 0, 0)]),
    "RGB": (of_bytes("RGB", [RED, GREEN, BLUE]), [RED, GREEN, BLUE]),
    "RGB with a transparent colour": (
        with_info(of_bytes("RGB", [RED, GREEN, BLUE]), transparency=GREEN),
        [RED, (0, 0, 0), BLUE],
    ),
    "RGBA": (of_bytes("RGBA", [(*RED, 255), (*GREEN, 0), (*RED, 51)]), [RED, (0, 0, 0), (40, 0, 0)]),
    "RGBa": (of_bytes("RGBa", [(*RED, 255), (0, 0, 0, 0), (40, 0, 0, 51)]), [RED, (0, 0, 0), (40, 0, 0)]),
    "RGBX": (of_bytes("RGBX", [(*RED, 0), (*GREEN, 255)]), [RED, GREEN]),
    "CMYK": (of_bytes("CMYK", [(55, 255, 255, 0), (0, 0, 0, 0), (0, 0, 0, 255)]), [RED, (255,) * 3, (0,) * 3]),
    "YCbCr": (of_bytes("YCbCr", [(255, 128, 128), (0, 128, 128), (9, 128, 128)]), [255, 0, 9]),
    "LAB": (of_bytes("LAB", [(255, 0, 0), (0, 0, 0)]), [255, 0]),
    "HSV": (of_bytes("HSV", [(0, 255, 200), (0, 0, 70)]), [RED, (70, 70, 70)]),
    "I": (of_bytes("I", SIXTEEN, "i4"), SIXTEEN_AS_EIGHT),
    "I;16": (of_bytes("I;16", SIXTEEN, "<u2"), SIXTEEN_AS_EIGHT),
    "I;16L": (of_bytes("I;16L", SIXTEEN, "<u2"), SIXTEEN_AS_EIGHT),
    "I;16B": (of_bytes("I;16B", SIXTEEN, ">u2"), SIXTEEN_AS_EIGHT),
    "I;16N": (of_bytes("I;16N", SIXTEEN, NATIVE), SIXTEEN_AS_EIGHT),
    "I;16 with a transparent grey": (
        with_info(of_bytes("I;16", SIXTEEN, "<u2"), transparency=65407),
        [0, 0, 1, 1, 254, 0, 255],
    ),
}


def expected_row(row: list[object], channels: int) -> np.ndarray:
    """The row as uint8 (1, W, C); colour becomes grey by Pillow's integer form of the luma."""
    values = np.array(row)
    colour = np.repeat(values[:, None], 3, axis=1) if values.ndim == 1 else values
    luma = (colour @ np.array([19595, 38470, 7471]) + 0x8000) >> 16
    return (luma[None, :, None] if channels == 1 else colour[None]).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", MODES)
class TestModes:
    def test_values(self, name: str, channels: int) -> None:
        image, row = MODES[name]
        assert image.mode == name.split(" ", maxsplit=1)[0]
        found = ImagePixels(image, channels, name).whole().astype(int)
        # LAB goes through floating point in a colour library.
        np.testing.assert_allclose(found, expected_row(row, channels), rtol=0, atol=1 if name == "LAB" else 0)

    def test_a_rectangle_has_the_values_of_the_whole(self, name: str, channels: int) -> None:
        image = MODES[name][0].resize((9, 7), Image.Resampling.NEAREST)
        image.info = MODES[name][0].info
        pixels = ImagePixels(image, channels, name)
        assert pixels.size == (7, 9)
        part = pixels.read(slice(2, 6), slice(1, 8))
        assert part.dtype == np.uint8
        np.testing.assert_array_equal(part, pixels.whole()[2:6, 1:8])

    @pytest.mark.parametrize("size", [(1, 1), (4, 3), (40, 30)])
    def test_resized_as_the_converted_whole(self, name: str, channels: int, size: tuple[int, int]) -> None:
        pixels = ImagePixels(MODES[name][0], channels, name)
        np.testing.assert_array_equal(pixels.resized(*size), resize_image(pixels.whole(), *size))


def test_every_mode_of_this_pillow_is_in_the_table() -> None:
    modes = {*Image.MODES, "La", "PA", "RGBa", "RGBX", "I;16", "I;16L", "I;16B", "I;16N"}
    assert modes - {image.mode for image, _ in MODES.values()} == {"F"}


def test_many_bands_are_one_image(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (700, 900), dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    expected = np.rint(values / 257).astype(np.uint8)[..., None]
    pixels = read_pixels(tmp_path / "a.png", channels=1)
    np.testing.assert_array_equal(pixels.whole(), expected)
    np.testing.assert_array_equal(pixels.resized(64, 84), resize_image(expected, 64, 84))


SMOOTH = np.linspace(10, 240, 90, dtype=np.uint8).repeat(70).reshape(90, 70).T.copy()
COLOUR = np.dstack([SMOOTH, SMOOTH[::-1], np.full_like(SMOOTH, 90)])
GREY = Image.fromarray(SMOOTH)
RGB = Image.fromarray(COLOUR)
WIDE = Image.fromarray(SMOOTH.astype(np.uint16) * 257)
ALPHA = Image.fromarray(np.dstack([COLOUR, np.where(SMOOTH > 100, 255, 0).astype(np.uint8)]))
OPAQUE = np.where(SMOOTH[..., None] > 100, COLOUR, 0).astype(np.uint8)
TURNED = GREY.transpose(Image.Transpose.ROTATE_180)

# Suffix, image, what Pillow is told, expected pixels (grey or RGB), and how far lossy ones may be off.
FORMATS = {
    "PNG grey": (".png", GREY, {}, SMOOTH, 0),
    "PNG 1 bit": (".png", GREY.point(lambda v: 255 * (v > 99)).convert("1"), {}, (SMOOTH > 99) * 255, 0),
    "PNG 2 bit palette": (".png", GREY.point(lambda v: v // 64).convert("P"), {"bits": 2}, None, 0),
    "PNG 16 bit": (".png", WIDE, {}, SMOOTH, 0),
    "PNG RGBA": (".png", ALPHA, {}, OPAQUE, 0),
    "APNG": (".png", RGB, {"save_all": True, "append_images": [RGB.rotate(180)]}, COLOUR, 0),
    "JPEG grey": (".jpg", GREY, {"quality": 95}, SMOOTH, 3),
    "JPEG RGB": (".jpg", RGB, {"quality": 95}, COLOUR, 8),
    "JPEG CMYK": (".jpg", RGB.convert("CMYK"), {"quality": 95}, COLOUR, 8),
    "JPEG progressive": (".jpg", RGB, {"quality": 95, "progressive": True}, COLOUR, 8),
    "TIFF": (".tif", RGB, {}, COLOUR, 0),
    "TIFF 16 bit": (".tif", WIDE, {}, SMOOTH, 0),
    "TIFF LZW": (".tif", RGB, {"compression": "tiff_lzw"}, COLOUR, 0),
    "TIFF of pages": (".tif", GREY, {"save_all": True, "append_images": [TURNED]}, SMOOTH, 0),
    "TIFF CMYK": (".tif", RGB.convert("CMYK"), {}, COLOUR, 0),
    "TIFF RGBA": (".tif", ALPHA, {}, OPAQUE, 0),
    "WebP lossless": (".webp", RGB, {"lossless": True}, COLOUR, 0),
    "WebP with alpha": (".webp", ALPHA, {"lossless": True, "exact": True}, OPAQUE, 0),
    "WebP animated": (".webp", RGB, {"lossless": True, "save_all": True, "append_images": [TURNED]}, COLOUR, 0),
    "GIF": (".gif", GREY, {}, SMOOTH, 0),
    "GIF animated": (".gif", GREY, {"save_all": True, "append_images": [TURNED]}, SMOOTH, 0),
    "BMP grey": (".bmp", GREY, {}, SMOOTH, 0),
    "BMP RGB": (".bmp", RGB, {}, COLOUR, 0),
    "PPM": (".ppm", RGB, {}, COLOUR, 0),
    "PGM": (".pgm", GREY, {}, SMOOTH, 0),
    "PGM 16 bit": (".pgm", WIDE, {}, SMOOTH, 0),
    "PBM": (".pbm", GREY.point(lambda v: 255 * (v > 99)).convert("1"), {}, (SMOOTH > 99) * 255, 0),
    "TGA": (".tga", RGB, {}, COLOUR, 0),
    "TGA RLE": (".tga", RGB, {"compression": "tga_rle"}, COLOUR, 0),
    "ICO": (".ico", RGB, {"sizes": [(90, 70)]}, COLOUR, 0),
    "JPEG 2000": (".jp2", RGB, {"irreversible": False}, COLOUR, 0),
    "JPEG 2000 16 bit": (".jp2", WIDE, {"irreversible": False}, SMOOTH, 0),
    "AVIF": (".avif", RGB, {"quality": 100, "subsampling": "4:4:4"}, COLOUR, 6),
}
NEEDS = {".webp": "webp", ".jp2": "jpg_2000", ".avif": "avif"}


@pytest.fixture(params=FORMATS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, np.ndarray, int]:
    suffix, image, options, expected, off = FORMATS[request.param]
    feature = NEEDS.get(suffix)
    if feature and not features.check(feature):
        pytest.skip(f"this Pillow has no {feature}")
    if expected is None:  # a palette of its own: the indices are the greys
        expected, image = SMOOTH // 64 * 80, image.copy()
        image.putpalette([value for grey in (0, 80, 160, 240) for value in (grey,) * 3])
    path = tmp_path / f"image{suffix}"
    image.save(path, **options)
    return path, np.asarray(expected, np.uint8), off


@pytest.mark.parametrize("channels", [1, 3])
def test_formats(saved: tuple[Path, np.ndarray, int], channels: int) -> None:
    path, expected, off = saved
    result = read_image(path, channels=channels)
    assert result.shape == (70, 90, channels)
    if channels == 1:
        grey = expected if expected.ndim == 2 else expected @ np.array([0.299, 0.587, 0.114])
        np.testing.assert_allclose(result[..., 0], grey, atol=max(off, 1 if expected.ndim == 3 else 0))
    else:
        colour = expected if expected.ndim == 3 else np.dstack([expected] * 3)
        np.testing.assert_allclose(result.astype(int), colour.astype(int), atol=off)


def test_formats_through_the_model(saved: tuple[Path, np.ndarray, int], tmp_path: Path) -> None:
    """The file is closed when its rectangles are read: nothing may still hang on it."""
    segmenter = load(write_model(tmp_path / "model.onnx"), threads=1)
    for tile in ((64, 84), "never"):
        (with_image,) = segmenter.stream([saved[0]], tile=tile)
        (without,) = segmenter.stream([saved[0]], tile=tile, keep_images=False)
        assert (with_image.error, without.error) == (None, None)
        assert without.image is None
        assert without.labels.shape == (70, 90)
        np.testing.assert_array_equal(without.labels, with_image.labels)
        if tile != "never":
            np.testing.assert_array_equal(without.labels, expected_labels(with_image.image))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_png_of_every_depth_spans_black_to_white(tmp_path: Path, bits: int) -> None:
    top = (1 << bits) - 1
    values = np.array([0, top // 3, top - top // 3, top] * 2)
    packed = int("".join(f"{value:0{bits}b}" for value in values), 2).to_bytes(len(values) * bits // 8, "big")
    path = tmp_path / "grey.png"
    path.write_bytes(png(len(values), bits, 0, packed))
    expected = np.rint(values * (255 / top)).astype(np.uint8)
    np.testing.assert_array_equal(read_image(path, channels=1)[0, :, 0], expected)


def test_sixteen_bit_colour_is_its_upper_byte(tmp_path: Path) -> None:
    values = np.array([0, 255, 256, 257, 32768, 65535], ">u2")
    path = tmp_path / "colour.png"
    path.write_bytes(png(2, 16, 2, values.tobytes()))
    np.testing.assert_array_equal(read_image(path, channels=3).reshape(-1), values >> 8)


def test_a_transparent_grey_of_sixteen_bits_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    path.write_bytes(png(3, 16, 0, np.array([65535, 700, 257], ">u2").tobytes(), transparent=struct.pack(">H", 65535)))
    np.testing.assert_array_equal(read_image(path, channels=1)[0, :, 0], [0, 3, 1])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("tile", [(64, 84), "never"])
def test_every_orientation(tmp_path: Path, orientation: int, suffix: str, tile: object) -> None:
    """The eight ways to hold a camera (EXIF 2.32, tag 274): the label map is that of the upright picture."""
    upright = np.zeros((100, 160), np.uint8)
    upright[:30, :50], upright[70:, :50] = 100, 200
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: np.rot90(upright, 2).T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"held{suffix}"
    Image.fromarray(np.ascontiguousarray(stored)).convert("RGB").save(path, exif=exif, quality=100, lossless=True)
    np.testing.assert_allclose(read_image(path, channels=1)[..., 0].astype(int), upright, atol=3)
    segmenter = load(write_model(tmp_path / "model.onnx"), threads=1)
    (result,) = segmenter.stream([path], tile=tile, keep_images=False)
    assert result.labels.shape == (100, 160)
    np.testing.assert_array_equal(result.labels[[5, 95, 5, 95], [5, 5, 155, 155]], [4, 8, 0, 0])


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3), (63, 85), (64, 84), (65, 83), (4000, 3)])
@pytest.mark.parametrize("tile", ["auto", (64, 84)])
def test_any_size(tmp_path: Path, size: tuple[int, int], tile: object) -> None:
    image = np.full(size, 75, np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    segmenter = load(write_model(tmp_path / "model.onnx"), threads=1)
    (result,) = segmenter.stream([tmp_path / "a.png"], tile=tile, keep_images=False)
    np.testing.assert_array_equal(result.labels, np.full(size, 3))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (of_bytes("F", [0.5, 0.1], "f4"), "floating-point"),
        (of_bytes("I", [0, 65536], "i4"), r"0\.\.65536"),
        (of_bytes("I", [-1, 6], "i4"), r"-1\.\.6"),
    ],
)
def test_pixels_of_no_known_range_are_refused_before_any_is_read(image: Image.Image, words: str) -> None:
    with pytest.raises(DataError, match=rf"photo\.tif.*{words}"):
        ImagePixels(image, 1, "photo.tif")


@pytest.mark.parametrize("size", [(4, 4), (8, 8)])
def test_a_conversion_that_fails_is_one_sentence(size: tuple[int, int]) -> None:
    image = with_info(Image.new("RGB", (8, 8)), transparency=b"no colour")
    with pytest.raises(DataError, match=r"^photo\.tif is damaged or truncated \(.*\); .*\.$"):
        ImagePixels(image, 1, "photo.tif").resized(*size)


def png(width: int, bits: int, kind: int, row: bytes, *, transparent: bytes = b"") -> bytes:
    """A PNG of one row, as its specification has it: Pillow does not write every depth."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, 1, bits, kind, 0, 0, 0)
    parts = [(b"IHDR", header), (b"tRNS", transparent), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts if part[1] or part[0] == b"IEND")
