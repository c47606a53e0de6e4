"""Bad images, bad names and outputs in the way, met by `segtool predict`; and options that cannot be meant."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from bad import arrays, images
from bad.case import Case, write


def images_() -> Iterator[Case]:
    """Images of which one is bad; the good one must be done all the same."""
    big = images.grey(1, (160, 200))
    floats = Image.fromarray(np.ones((16, 20), np.float32) / 3)
    table: dict[str, tuple[str, Callable[[], bytes], str]] = {
        "an empty image": ("bad.png", lambda: b"", "is empty"),
        "text named .png": ("bad.png", lambda: b"hello\n" * 99, "not an image"),
        "a cut PNG": ("bad.png", lambda: images.saved(big, "PNG")[:9000], "damaged or truncated"),
        "a cut JPEG": ("bad.jpg", lambda: images.saved(big, "JPEG")[:4000], "damaged or truncated"),
        "a cut TIFF": ("bad.tif", lambda: images.saved(big, "TIFF")[:9000], "damaged or truncated"),
        "a cut WebP": ("bad.webp", lambda: images.saved(big, "WEBP")[:600], "bad.webp"),
        "a GIF without a frame": ("bad.gif", lambda: images.saved(big, "GIF")[:20], "bad.gif"),
        "a BMP that claims more pixels than it has": (
            "bad.bmp",
            lambda: images.saved(big, "BMP")[:22] + b"\x00\x20\x00\x00" + images.saved(big, "BMP")[26:],
            "damaged or truncated",
        ),
        "a PNG with a wrong checksum": ("bad.png", lambda: images.flipped(images.saved(big, "PNG"), 20), "bad.png"),
        "a PNG of 60,000 x 60,000 pixels": ("bad.png", lambda: images.png_with(width=60000, height=60000), "too large"),
        "a PNG of no width": ("bad.png", lambda: images.png_with(width=0), "bad.png"),
        "a PNG whose colour profile inflates to 300 MB": ("bad.png", images.png_profile_bomb, "too large"),
        "a PNG whose text inflates to 300 MB": ("bad.png", images.png_text_bomb, "too large"),
        "a PNG whose international text inflates to 300 MB": (
            "bad.png",
            images.png_international_text_bomb,
            "too large",
        ),
        "a PNG of 200 texts of 1 MB": ("bad.png", images.many_text_chunks, "bad.png"),
        "floating-point pixels": ("bad.tif", lambda: images.saved(floats, "TIFF"), "floating-point"),
        "EPS, which Pillow would give to Ghostscript": (
            "bad.png",
            lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 16\n%%EndComments\nshowpage\n",
            "not an image",
        ),
        "SVG": ("bad.png", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not an image"),
        "a pickle named .png": ("bad.png", arrays.pickled, "not an image"),
        "a .npy of Python objects named .png": ("bad.png", arrays.object_npy, "not an image"),
    }
    for what, (name, data, words) in table.items():
        yield Case(what, ("predict", "good.png", name), 3, words, write(name, data))
    yield Case(
        "a mask in the folder of images that is no image",
        ("predict", "in"),
        1,
        "in/a.png",
        write("in/a.png", lambda: b"x"),
    )


def inputs() -> Iterator[Case]:
    """Names that lead to no image."""
    predict = ("predict", "good.png")
    yield Case("a missing image", (*predict, "none.png"), 3, "none.png does not exist")
    yield Case("a pattern that matches nothing", (*predict, "none*.png"), 3, "matches no file")
    yield Case("an empty folder", (*predict, "empty"), 3, "no image files", lambda: Path("empty").mkdir())
    yield Case("a name of 300 characters", (*predict, "n" * 300 + ".png"), 3, "n" * 90)
    yield Case(
        "a link to itself", (*predict, "loop.png"), 3, "loop.png", lambda: Path("loop.png").symlink_to("loop.png")
    )
    yield Case("a link to nothing", (*predict, "off.png"), 3, "off.png", lambda: Path("off.png").symlink_to("none"))
    yield Case("a pipe as an image", (*predict, "p.png"), 3, "pipe, socket or device", lambda: os.mkfifo("p.png"))
    yield Case(
        "an endless device", (*predict, "z.png"), 3, "pipe, socket or", lambda: Path("z.png").symlink_to("/dev/zero")
    )
    yield Case(
        "a name with a line break and a terminal's escape code",
        (*predict, "a\n\x1b[31mb.png"),
        3,
        "empty",
        write("a\n\x1b[31mb.png", lambda: b""),
    )
    yield Case("a name that is no UTF-8", (*predict, os.fsdecode(b"\xff\xfe.png")), 3, "does not exist")
    yield Case("nothing but a missing image", ("predict", "none.png"), 1, "No image was found")


def outputs() -> Iterator[Case]:
    """Yield outputs that are in the way; what is there must stay."""
    out = ("--out", "out")
    yield Case(
        "an output that is there",
        ("predict", "good.png", *out),
        1,
        "--overwrite",
        write("out/good.png", lambda: b"mine"),
    )
    yield Case(
        "a manifest that is there",
        ("predict", "good.png", *out),
        1,
        "--overwrite",
        write("out/manifest.json", lambda: b"{}"),
    )
    yield Case(
        "a file where the output folder should be",
        ("predict", "good.png", *out),
        1,
        "out",
        write("out", lambda: b"mine"),
    )
    yield Case(
        "an output that would replace its input",
        ("predict", "good.png", "--out", ".", "--overwrite"),
        1,
        "replace an input",
    )
    yield Case(
        "an output folder that is a link to itself",
        ("predict", "good.png", *out),
        1,
        "out",
        lambda: Path("out").symlink_to("out"),
    )
    yield Case("an output folder whose name is too long", ("predict", "good.png", "--out", "n" * 300), 1, "n" * 300)
    yield Case(
        "a table of scores that is there",
        ("evaluate", "model.onnx", "--data", "good.npz", "--per-image", "s.csv"),
        1,
        "--overwrite",
        write("s.csv", lambda: b"mine"),
    )


def usage() -> Iterator[Case]:
    """Options that cannot be meant."""
    predict = ("predict", "good.png")
    yield Case("no image at all", ("predict",), 2, "IMAGES")
    yield Case("an option that does not exist", (*predict, "--fast"), 2, "--fast")
    yield Case("no thread at all", (*predict, "--threads", "0"), 2, "--threads")
    yield Case("a million threads", (*predict, "--threads", "1000000"), 1, "threads")
    yield Case("a million workers", (*predict, "--workers", "1000000"), 1, "workers")
    yield Case("a tile that is no size", (*predict, "--tile", "wide"), 2, "--tile")
    yield Case("a tile that is not the model's size", (*predict, "--tile", "8x8"), 1, "--size")
    yield Case("a provider that does not exist", (*predict, "--provider", "abacus"), 1, "'abacus'")
    yield Case("probabilities of a model that gives labels", (*predict, "--probabilities"), 1, "--head probabilities")
    yield Case("a command that does not exist", ("segment", "good.png"), 2, "segment")
