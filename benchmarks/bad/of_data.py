"""Arrays and folders that are no data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from bad import arrays, images
from bad.case import Case, write


def array_files() -> Iterator[Case]:
    """Arrays that are not a data set."""
    labels = np.zeros((6, 16, 20), np.uint8)
    table: dict[str, tuple[Callable[[], bytes], str]] = {
        "a .npz of Python objects": (arrays.object_npz, "never unpickled"),
        "a pickle named .npz": (arrays.pickled, "never unpickled"),
        "text named .npz": (lambda: b"hello\n" * 99, "cannot be read"),
        "a cut .npz": (lambda: arrays.good_npz()[:900], "cannot be read"),
        "an encrypted .npz": (arrays.encrypted_npz, "encrypted"),
        "an empty .npz": (lambda: b"", "is empty"),
        "a .npz that declares 10^15 bytes and holds none": (
            lambda: arrays.declared_npz((10**9, 1000, 1000)),
            "but holds 0",
        ),
        "a .npz that really unpacks to four times the memory": (arrays.zip_bomb_npz, "this machine has"),
        "a .npz without labels": (lambda: arrays.npz(images=labels), "lacks ['labels']"),
        "images as floats": (lambda: arrays.good_npz(images=labels / 3), "expected uint8"),
        "fewer labels than images": (lambda: arrays.good_npz(labels=labels[:2]), "one label map"),
        "labels of another size": (lambda: arrays.good_npz(labels=labels[:, :8]), "same size"),
        "labels below zero": (lambda: arrays.good_npz(labels=labels.astype(int) - 5), "bad.npz"),
        "labels in floats": (lambda: arrays.good_npz(labels=labels / 3), "expected integer"),
    }
    for what, (data, words) in table.items():
        yield Case(what, ("data", "info", "bad.npz"), 1, words, write("bad.npz", data))
    objects = write("bad.npz", arrays.object_npz)
    for command in (("data", "check", "bad.npz"), ("benchmark", "model.onnx", "--data", "bad.npz", "--runs", "10")):
        yield Case(f"a .npz of Python objects, {' '.join(command[:2])}", command, 1, "never unpickled", objects)
    yield Case(
        "a .npz of Python objects, evaluate", ("evaluate", "model.onnx", "--data", "bad.npz"), 1, "unpickled", objects
    )
    train = ("train", "--data", "bad.npz", "--out", "run")
    yield Case("a .npz of Python objects, train", train, 1, "never unpickled", objects)
    yield Case("a data set that is not there", ("evaluate", "model.onnx", "--data", "none"), 1, "does not exist")
    yield Case("a kind of data that is unknown", ("data", "info", "model.onnx"), 1, ".onnx file")
    yield Case("a number of images that is none", ("data", "info", "m2nist-synthetic:many"), 1, "many")
    yield Case(
        "truth of more classes than the model has",
        ("evaluate", "model.onnx", "--data", "bad.npz"),
        1,
        "classes",
        write("bad.npz", lambda: arrays.good_npz(labels=labels + np.arange(6, dtype=np.uint8)[:, None, None])),
    )
    m2nist = ("data", "info", "m")
    yield Case("M2NIST's arrays as Python objects", m2nist, 1, "never unpickled", _m2nist(arrays.object_npy))
    yield Case("M2NIST's arrays as a pickle", m2nist, 1, "never unpickled", _m2nist(arrays.pickled))
    yield Case("M2NIST's images without labels", m2nist, 1, "segmented.npy", write("m/combined.npy", arrays.good_npy))
    yield Case(
        "a .npy that declares 10^15 bytes", m2nist, 1, "combined.npy", _m2nist(lambda: arrays.huge_header((10**15,)))
    )


def _m2nist(data: Callable[[], bytes]) -> Callable[[], object]:
    def make() -> None:
        for name in ("combined", "segmented"):
            write(f"m/{name}.npy", data)()

    return make


def folders() -> Iterator[Case]:
    """Folders of images and masks that do not fit together."""
    png = images.saved(images.grey(), "PNG")

    def folder(mask: bytes | None = png, description: bytes | None = None) -> Callable[[], object]:
        def make() -> None:
            write("d/images/a.png", lambda: png)()
            Path("d/masks").mkdir()
            if mask is not None:
                write("d/masks/a.png", lambda: mask)()
            if description is not None:
                write("d/dataset.json", lambda: description)()

        return make

    two = images.saved(Image.fromarray((np.indices((16, 20))[0] > 8).astype(np.uint8)), "PNG")
    small = images.saved(images.grey(0, (8, 8)), "PNG")
    yield Case("an image without a mask", ("data", "info", "d"), 1, "no mask", folder(None))
    yield Case("a mask of another size", ("data", "check", "d"), 1, "same size", folder(small))
    yield Case("a mask that is no image", ("data", "check", "d"), 1, "not an image", folder(b"text"))
    yield Case("masks whose values are not described", ("data", "info", "d"), 1, "dataset.json", folder())
    yield Case("a dataset.json that is no JSON", ("data", "info", "d"), 1, "dataset.json", folder(two, b"{"))
    yield Case(
        "a dataset.json nested 100,000 levels deep",
        ("data", "info", "d"),
        1,
        "dataset.json",
        folder(two, b"[" * 100_000),
    )
    yield Case(
        "a dataset.json with NaN as a value",
        ("data", "info", "d"),
        1,
        "dataset.json",
        folder(two, b'{"classes": [{"name": "a", "value": NaN}, "b"]}'),
    )
    yield Case(
        "a dataset.json with a colour of 999",
        ("data", "info", "d"),
        1,
        "colour",
        folder(two, b'{"classes": [{"name": "a", "color": [999, 0, 0]}, {"name": "b", "color": [0, 0, 0]}]}'),
    )
    yield Case("a folder with nothing in it", ("data", "info", "d"), 1, "nothing in it", lambda: Path("d").mkdir())
