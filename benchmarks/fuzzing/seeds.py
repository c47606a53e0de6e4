"""The valid files that are damaged: each format in the variants that take other ways through its decoder."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from segtool.runtime.model_file import sealed

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
IMAGE_KINDS = ("png", "jpeg", "tiff", "gif", "webp", "bmp")
MODEL_KINDS = ("onnx", "rewired_onnx", "sealed_onnx")
KINDS = (*IMAGE_KINDS, *MODEL_KINDS)


def valid_files(kind: str) -> list[bytes]:
    """Return the valid files of a kind."""
    if kind in MODEL_KINDS:
        found = [(GOLDEN / name).read_bytes() for name in ("tiny_v1.onnx", "tiny_v1.int8.onnx")]
        return [sealed(data) for data in found] if kind == "sealed_onnx" else found
    return [_saved(image, kind, options) for image, options in _variants(kind)]


def _variants(kind: str) -> list[tuple[Image.Image, dict[str, Any]]]:
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(24), np.arange(30)).astype(np.uint8) * 4
    grey = Image.fromarray(smooth)
    colour = Image.fromarray(rng.integers(0, 256, (24, 30, 3), dtype=np.uint8))
    clear = Image.fromarray(np.dstack([np.asarray(colour), smooth]))
    wide = Image.fromarray(rng.integers(0, 65536, (24, 30)).astype(np.uint16))
    turned = Image.Exif()
    turned[0x0112] = 6
    palette = colour.quantize(16)
    text = PngImagePlugin.PngInfo()
    text.add_text("k", "v" * 200, zip=True)
    text.add_itxt("i", "w" * 200, zip=True)
    table: dict[str, list[tuple[Image.Image, dict[str, Any]]]] = {
        "png": [
            (grey, {}),
            (colour, {"pnginfo": text, "icc_profile": bytes(300), "exif": turned}),
            (clear, {}),
            (wide, {}),
            (palette, {"transparency": 3}),
            (grey.convert("1"), {}),
        ],
        "jpeg": [(grey, {}), (colour, {"exif": turned}), (colour, {"progressive": True}), (colour.convert("CMYK"), {})],
        "tiff": [
            (grey, {}),
            (colour, {"compression": "tiff_lzw"}),
            (colour, {"compression": "tiff_deflate"}),
            (colour, {"compression": "jpeg"}),
            (clear, {"compression": "packbits"}),
            (wide, {}),
            (grey.convert("1"), {"compression": "group4"}),
            (palette, {}),
        ],
        "gif": [(palette, {}), (palette, {"save_all": True, "append_images": [colour, grey]}), (grey, {})],
        "webp": [(colour, {}), (colour, {"lossless": True}), (clear, {}), (grey, {"exif": turned})],
        "bmp": [(grey, {}), (colour, {}), (clear, {}), (palette, {}), (grey.convert("1"), {})],
    }
    return table[kind]


def _saved(image: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()
