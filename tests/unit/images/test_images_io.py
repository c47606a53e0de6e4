"""The image decoder: every kind of pixel, every kind of broken file, and masks as they are stored."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtool.errors import DataError
from segtool.files import sha256_of
from segtool.images import decoding
from segtool.images.decoding import MAX_PIXELS, open_checked
from segtool.images.image_io import (
    decode_image,
    read_image,
    read_mask,
    resize_labels,
    to_channels,
    write_labels,
)
from segtool.images.pictures import colorize, write_color, write_image
from segtool.images.pixels import resize_image

GREY = np.arange(64 * 84, dtype=np.uint16).reshape(64, 84)
GREY8 = (GREY % 256).astype(np.uint8)
COLOUR = np.dstack([GREY8, GREY8[::-1], GREY8[:, ::-1]])


def saved(folder: Path, image: Image.Image, suffix: str = ".png", **options: object) -> Path:
    path = folder / f"image{suffix}"
    image.save(path, **options)
    return path


class TestReadImage:
    def test_grey(self, tmp_path: Path) -> None:
        image = read_image(saved(tmp_path, Image.fromarray(GREY8)), channels=1)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, GREY8[..., None])

    def test_grey_as_colour(self, tmp_path: Path) -> None:
        image = read_image(saved(tmp_path, Image.fromarray(GREY8)), channels=3)
        np.testing.assert_array_equal(image, np.dstack([GREY8] * 3))

    def test_colour(self, tmp_path: Path) -> None:
        path = saved(tmp_path, Image.fromarray(COLOUR))
        np.testing.assert_array_equal(read_image(path, channels=3), COLOUR)
        luma = COLOUR @ np.array([0.299, 0.587, 0.114])
        np.testing.assert_allclose(read_image(path, channels=1)[..., 0], luma, atol=1)

    def test_palette(self, tmp_path: Path) -> None:
        image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8))
        image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
        red, green, blue = (255, 0, 0), (0, 255, 0), (0, 0, 255)
        result = read_image(saved(tmp_path, image), channels=3)
        np.testing.assert_array_equal(result, [[red, green], [blue, green]])

    def test_one_bit(self, tmp_path: Path) -> None:
        bits = (GREY8 > 100).astype(np.uint8) * 255
        path = saved(tmp_path, Image.fromarray(bits).convert("1"))
        np.testing.assert_array_equal(read_image(path, channels=1)[..., 0], bits)

    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_sixteen_bits(self, tmp_path: Path, suffix: str) -> None:
        values = np.array([[0, 128, 129, 257, 65535, 65406, 65407]], np.uint16)
        result = read_image(saved(tmp_path, Image.fromarray(values), suffix), channels=1)
        np.testing.assert_array_equal(result[0, :, 0], [0, 0, 1, 1, 255, 254, 255])

    def test_sixteen_bits_that_pillow_widens(self, tmp_path: Path) -> None:
        path = tmp_path / "image.pgm"
        path.write_bytes(b"P5 3 1 65535\n" + np.array([0, 257, 65535], ">u2").tobytes())
        with Image.open(path) as image:
            assert image.mode == "I"
        np.testing.assert_array_equal(read_image(path, channels=1)[0, :, 0], [0, 1, 255])

    @pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
    @pytest.mark.parametrize("highest", [255, 65535, 70000])
    def test_thirty_two_bits_are_refused(self, tmp_path: Path, compression: str | None, highest: int) -> None:
        values = np.full((4, 4), highest, np.int32)
        path = saved(tmp_path, Image.fromarray(values), ".tif", compression=compression)
        with pytest.raises(DataError, match="32-bit integer pixels of unknown range; convert it to 8 or 16 bits"):
            read_image(path, channels=1)
        np.testing.assert_array_equal(read_mask(path), values)

    @pytest.mark.parametrize("values", [np.full((4, 4), -1, np.int16), np.full((4, 4), 0.5, np.float32)])
    def test_pixels_of_unknown_range_are_refused(self, tmp_path: Path, values: np.ndarray) -> None:
        with pytest.raises(DataError, match=r"16 bits|16-bit"):
            read_image(saved(tmp_path, Image.fromarray(values), ".tif"), channels=1)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_alpha_is_composited_over_black(self, tmp_path: Path, channels: int) -> None:
        rgba = np.array([[[200, 200, 200, 255], [200, 200, 200, 0], [200, 200, 200, 51]]], np.uint8)
        result = read_image(saved(tmp_path, Image.fromarray(rgba)), channels=channels)
        np.testing.assert_array_equal(result[0, :, 0], [200, 0, 40])

    def test_grey_with_alpha(self, tmp_path: Path) -> None:
        image = Image.fromarray(np.array([[[200, 255], [200, 0]]], np.uint8))
        assert image.mode == "LA"
        np.testing.assert_array_equal(read_image(saved(tmp_path, image), channels=1)[0, :, 0], [200, 0])

    def test_palette_with_a_transparent_colour(self, tmp_path: Path) -> None:
        image = Image.fromarray(np.array([[0, 1]], np.uint8))
        image.putpalette([200, 200, 200, 100, 100, 100])
        path = saved(tmp_path, image, transparency=0)
        np.testing.assert_array_equal(read_image(path, channels=1)[0, :, 0], [0, 100])

    @pytest.mark.parametrize("mode", ["CMYK", "LAB", "YCbCr"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_other_colour_spaces(self, tmp_path: Path, mode: str, channels: int) -> None:
        white = {"CMYK": (0, 0, 0, 0), "LAB": (255, 128, 128), "YCbCr": (255, 128, 128)}[mode]
        path = saved(tmp_path, Image.new(mode, (6, 4), white), ".tif")
        result = read_image(path, channels=channels)
        assert result.shape == (4, 6, channels)
        assert result.min() > 245

    @pytest.mark.parametrize(
        ("orientation", "turned"),
        [(1, GREY8), (2, GREY8[:, ::-1]), (3, GREY8[::-1, ::-1]), (6, np.rot90(GREY8, -1)), (8, np.rot90(GREY8))],
    )
    def test_exif_orientation(self, tmp_path: Path, orientation: int, turned: np.ndarray) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = saved(tmp_path, Image.fromarray(GREY8), exif=exif)
        np.testing.assert_array_equal(read_image(path, channels=1)[..., 0], turned)

    def test_the_suffixes_are_those_of_the_formats_that_are_read(self) -> None:
        known = {suffix for suffix, name in Image.registered_extensions().items() if name in decoding.FORMATS}
        # An .mpo is a JPEG with several pictures; .avif is looked for, and then refused, where Pillow cannot read it.
        assert known | {".mpo", ".avif", ".avifs"} == decoding.IMAGE_SUFFIXES

    @pytest.mark.parametrize(
        "suffix", [".avif", ".tga", ".ico", ".mpo", ".jfif", ".j2k", ".sgi", ".pcx", ".dds", ".pbm"]
    )
    def test_formats_that_are_searched_for_are_read(self, tmp_path: Path, suffix: str) -> None:
        if suffix == ".avif" and "AVIF" not in decoding.FORMATS:
            pytest.skip("this Pillow reads no AVIF")
        colour = Image.fromarray(COLOUR[:32, :32])
        path = saved(tmp_path, colour.convert("1") if suffix == ".pbm" else colour, suffix)
        assert read_image(path, channels=3).shape == (32, 32, 3)

    def test_the_first_frame_of_an_animation(self, tmp_path: Path) -> None:
        frames = [Image.new("L", (5, 4), value) for value in (10, 200)]
        path = saved(tmp_path, frames[0], ".gif", save_all=True, append_images=frames[1:])
        assert (read_image(path, channels=1) == 10).all()

    def test_the_suffix_does_not_matter(self, tmp_path: Path) -> None:
        path = saved(tmp_path, Image.fromarray(GREY8))
        renamed = path.rename(tmp_path / "image.dat")
        np.testing.assert_array_equal(read_image(renamed, channels=1)[..., 0], GREY8)

    def test_the_result_can_be_written_to(self, tmp_path: Path) -> None:
        image = read_image(saved(tmp_path, Image.fromarray(GREY8)), channels=1)
        image[0, 0] = 7
        assert image[0, 0] == 7

    def test_two_channels_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"1 \(grey\) or 3"):
            read_image(saved(tmp_path, Image.fromarray(GREY8)), channels=2)


class TestBrokenFiles:
    def refusal(self, path: Path, **options: int) -> str:
        with pytest.raises(DataError) as caught:
            read_image(path, channels=1, **options)
        message = str(caught.value)
        assert str(path) in message
        assert "\n" not in message
        assert message.endswith(".")
        return message

    def test_missing(self, tmp_path: Path) -> None:
        assert "does not exist" in self.refusal(tmp_path / "none.png")

    def test_a_folder(self, tmp_path: Path) -> None:
        assert "is a folder" in self.refusal(tmp_path)

    def test_empty(self, tmp_path: Path) -> None:
        path = tmp_path / "empty.png"
        path.touch()
        assert "empty" in self.refusal(path)

    def test_not_an_image(self, tmp_path: Path) -> None:
        path = tmp_path / "text.png"
        path.write_text("hello")
        assert "not an image" in self.refusal(path)

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".gif", ".webp"])
    def test_truncated(self, tmp_path: Path, suffix: str) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (64, 84), dtype=np.uint8)
        path = saved(tmp_path, Image.fromarray(noise), suffix)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert "damaged or truncated" in self.refusal(path) or suffix == ".webp"

    def test_more_pixels_than_allowed(self, tmp_path: Path) -> None:
        path = saved(tmp_path, Image.fromarray(GREY8))
        assert "84 x 64" in self.refusal(path, max_pixels=64 * 84 - 1)
        read_image(path, channels=1, max_pixels=64 * 84)

    @pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
    def test_the_limit_can_be_raised_past_that_of_pillow_and_pillows_is_back_after_it(self) -> None:
        def header(max_pixels: int) -> Image.Image:
            data = png_header(14_000, 14_000) + png_chunk(b"IDAT", b"")
            return open_checked(io.BytesIO(data), "huge.png", max_pixels)

        limit = Image.MAX_IMAGE_PIXELS
        assert header(14_000**2).size == (14_000, 14_000)
        assert limit == Image.MAX_IMAGE_PIXELS is not None
        with pytest.raises(DataError, match=r"14000 x 14000.*the limit is 195999999.*--max-pixels"):
            header(14_000**2 - 1)
        assert limit == Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = 1000
        try:
            with pytest.raises(Image.DecompressionBombError):  # without a raised limit Pillow's own counts
                header(MAX_PIXELS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit

    def test_a_raised_limit_hides_no_damage(self, tmp_path: Path) -> None:
        path = tmp_path / "text.png"
        path.write_text("hello")
        assert "not an image" in self.refusal(path, max_pixels=2**40)
        assert Image.MAX_IMAGE_PIXELS is not None

    def test_a_decompression_bomb_is_refused_by_its_header(self, tmp_path: Path) -> None:
        path = tmp_path / "bomb.png"
        path.write_bytes(png_header(60_000, 60_000) + png_chunk(b"IDAT", zlib.compress(bytes(1000))))
        message = self.refusal(path)
        assert "too large" in message
        assert "--max-pixels" in message

    def test_random_damage_never_escapes_as_another_error(self) -> None:
        stream = io.BytesIO()
        Image.fromarray(COLOUR).save(stream, "TIFF")
        rng = np.random.default_rng(0)
        refused = 0
        for _ in range(200):
            data = np.frombuffer(stream.getvalue(), np.uint8).copy()
            data[rng.integers(0, len(data) if rng.random() < 0.5 else 16, 3)] = rng.integers(0, 256, 3)
            try:
                decode_image(io.BytesIO(data.tobytes()), channels=3, name="x")
            except DataError:
                refused += 1
        assert refused > 20


class TestMemory:
    def test_an_image_that_does_not_fit_is_refused_before_it_is_decoded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = saved(tmp_path, Image.new("1", (4000, 4000)))
        monkeypatch.setattr(decoding, "available_memory", lambda: 3 * 4000 * 4000)
        assert read_image(path, channels=1).shape == (4000, 4000, 1)
        monkeypatch.setattr(decoding, "available_memory", lambda: 3 * 4000 * 4000 - 1)
        with pytest.raises(DataError, match=r"up to 48 MB, but 48 MB are available"):
            read_image(path, channels=1)
        monkeypatch.setattr(decoding, "available_memory", lambda: None)
        assert read_image(path, channels=1).shape == (4000, 4000, 1)


class TestReadMask:
    def test_palette_indices(self, tmp_path: Path) -> None:
        image = Image.fromarray(GREY8 % 11)
        image.putpalette([7] * 33)
        np.testing.assert_array_equal(read_mask(saved(tmp_path, image)), GREY8 % 11)

    def test_one_bit_is_zero_and_one(self, tmp_path: Path) -> None:
        mask = read_mask(saved(tmp_path, Image.fromarray(GREY8).convert("1", dither=Image.Dither.NONE)))
        np.testing.assert_array_equal(mask, GREY8 >= 128)
        assert mask.dtype == np.uint8

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
    def test_grey_of_every_width(self, tmp_path: Path, dtype: type) -> None:
        values = (GREY % 256).astype(dtype)
        mask = read_mask(saved(tmp_path, Image.fromarray(values), ".tif"))
        np.testing.assert_array_equal(mask, values)
        assert mask.dtype == dtype

    @pytest.mark.parametrize("bits", [2, 4])
    def test_packed_grey_is_not_spread(self, tmp_path: Path, bits: int) -> None:
        path = tmp_path / "packed.png"
        values = GREY8[:8, :8] % (1 << bits)
        path.write_bytes(packed_grey_png(values, bits))
        np.testing.assert_array_equal(read_mask(path), values)

    def test_colour_stays_colour_and_alpha_goes(self, tmp_path: Path) -> None:
        rgba = np.dstack([COLOUR, np.zeros_like(GREY8)])
        np.testing.assert_array_equal(read_mask(saved(tmp_path, Image.fromarray(rgba))), COLOUR)
        np.testing.assert_array_equal(read_mask(saved(tmp_path, Image.fromarray(COLOUR))), COLOUR)

    @pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "RGB"])
    def test_the_orientation_is_applied_as_to_images(self, tmp_path: Path, mode: str) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        image = Image.fromarray(GREY) if mode == "I;16" else Image.fromarray(GREY8).convert(mode)
        upright = read_mask(saved(tmp_path, image))
        np.testing.assert_array_equal(read_mask(saved(tmp_path, image, exif=exif)), np.rot90(upright, -1))

    def test_floats_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="cannot be class ids"):
            read_mask(saved(tmp_path, Image.fromarray(GREY.astype(np.float32)), ".tif"))


class TestResize:
    def test_the_same_size_is_the_same_array(self) -> None:
        assert resize_image(COLOUR, 64, 84) is COLOUR
        assert resize_labels(GREY8, 64, 84) is GREY8

    @pytest.mark.parametrize("shape", [(64, 84), (64, 84, 1), (64, 84, 3)])
    def test_shapes(self, shape: tuple[int, ...]) -> None:
        image = np.full(shape, 9, np.uint8)
        result = resize_image(image, 30, 50)
        assert result.shape == (30, 50, *shape[2:])
        assert (result == 9).all()

    def test_bilinear_values(self) -> None:
        np.testing.assert_array_equal(resize_image(np.array([[0, 100]], np.uint8), 1, 4), [[0, 25, 75, 100]])

    @pytest.mark.parametrize("size", [(3, 5), (128, 168), (1, 1), (64, 84)])
    def test_nearest_is_pillows_nearest(self, size: tuple[int, int]) -> None:
        expected = np.array(Image.fromarray(GREY8).resize(size[::-1], Image.Resampling.NEAREST))
        np.testing.assert_array_equal(resize_labels(GREY8, *size), expected)

    def test_nearest_is_exact_where_a_centre_falls_on_a_border(self) -> None:
        # The centre of pixel 32 of 65 is 32.0 of 64 rows; in floating point it can come out below (in Pillow it does).
        assert resize_labels(GREY[:, :1], 65, 1)[32, 0] == GREY[32, 0]

    def test_labels_keep_their_dtype(self) -> None:
        assert resize_labels(GREY, 10, 10).dtype == np.uint16


class TestWriteLabels:
    PALETTE = ((255, 0, 0), (0, 255, 0), (0, 0, 255))

    def test_pixel_values_are_the_ids_and_the_palette_their_colours(self, tmp_path: Path) -> None:
        labels = np.array([[0, 1, 2], [2, 1, 255]], np.int64)
        write_labels(tmp_path / "mask.png", labels, self.PALETTE)
        np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), labels)
        with Image.open(tmp_path / "mask.png") as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.array(image.convert("RGB"))[0], self.PALETTE)

    def test_above_256_classes_it_is_sixteen_bit_grey(self, tmp_path: Path) -> None:
        labels = GREY[:10, :10] * 3
        write_labels(tmp_path / "mask.png", labels, [(1, 2, 3)] * 300)
        np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), labels)

    def test_a_map_above_four_megapixels_is_written_in_bands_and_its_hash_is_the_files(self, tmp_path: Path) -> None:
        labels = (np.arange(2050 * 2048) % 251).reshape(2050, 2048).astype(np.uint8)
        digest = write_labels(tmp_path / "large.png", labels, self.PALETTE)
        np.testing.assert_array_equal(read_mask(tmp_path / "large.png"), labels)
        assert digest == sha256_of(tmp_path / "large.png")
        assert write_labels(tmp_path / "small.png", labels[:9], self.PALETTE) == sha256_of(tmp_path / "small.png")

    @pytest.mark.parametrize("labels", [np.full((2, 2), 256), np.full((2, 2), -1), np.zeros((2, 2, 3), np.uint8)])
    def test_what_does_not_fit_is_refused_and_nothing_is_written(self, tmp_path: Path, labels: np.ndarray) -> None:
        with pytest.raises(DataError, match=r"ids 0\.\.255"):
            write_labels(tmp_path / "mask.png", labels, self.PALETTE)
        assert list(tmp_path.iterdir()) == []

    def test_write_image(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a.png", COLOUR)
        write_image(tmp_path / "b.png", GREY8[..., None])
        np.testing.assert_array_equal(read_image(tmp_path / "a.png", channels=3), COLOUR)
        np.testing.assert_array_equal(read_image(tmp_path / "b.png", channels=1)[..., 0], GREY8)


class TestPictures:
    PALETTE = ((10, 20, 30), (200, 100, 0))

    def test_colorize(self) -> None:
        labels = np.array([[0, 1, 255]], np.uint8)
        np.testing.assert_array_equal(colorize(labels, self.PALETTE), [[(10, 20, 30), (200, 100, 0), (255, 255, 255)]])

    @pytest.mark.parametrize("size", [(1, 1), (3, 500), (1100, 700)])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_written_by_bands_they_are_the_same(self, tmp_path: Path, size: tuple[int, int], channels: int) -> None:
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (*size, channels), dtype=np.uint8)
        labels = rng.integers(0, 3, size, dtype=np.uint8)
        write_image(tmp_path / "image.png", image)
        write_color(tmp_path / "color.png", labels, self.PALETTE)
        expected = {
            "image": image,
            "color": colorize(labels, self.PALETTE),
        }
        for name, pixels in expected.items():
            found = read_image(tmp_path / f"{name}.png", channels=pixels.shape[2])
            np.testing.assert_array_equal(found, pixels)

    def test_to_channels_leaves_what_fits(self) -> None:
        assert to_channels(COLOUR, 3) is COLOUR
        assert np.shares_memory(to_channels(GREY8, 1), GREY8)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int, bits: int = 8) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))


def packed_grey_png(values: np.ndarray, bits: int) -> bytes:
    """A grey PNG of 2 or 4 bits a pixel, which Pillow reads but does not write."""
    height, width = values.shape
    per_byte = 8 // bits
    groups = values.reshape(height, width // per_byte, per_byte)
    shifts = np.arange(per_byte)[::-1] * bits
    rows = (groups.astype(np.uint16) << shifts).sum(axis=-1).astype(np.uint8)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    return png_header(width, height, bits) + png_chunk(b"IDAT", zlib.compress(data)) + png_chunk(b"IEND", b"")
