"""Model files that are not to be opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from bad import arrays, images, models
from bad.case import Case, write


def model_files() -> Iterator[Case]:
    """Model files that are not to be opened."""
    model = models.model
    table: dict[str, tuple[Callable[[], bytes], str]] = {
        "an empty model": (lambda: b"", "is empty"),
        "text named .onnx": (lambda: b"hello\n" * 99, "not an ONNX file"),
        "a pickle named .onnx": (arrays.pickled, "not an ONNX file"),
        "an image named .onnx": (lambda: images.saved(images.grey(), "PNG"), "not an ONNX file"),
        "a cut model": (lambda: model()[:9000], "damaged or truncated"),
        "one flipped bit in an exported model": (models.damaged_sealed_model, "is damaged"),
        "a model with weights in ../../../etc/passwd": (lambda: model(models.external), "another file"),
        "a model with operators of a library": (lambda: model(models.custom_operator), "'evil.lib'"),
        "a model without a contract": (lambda: model(models.metadata("segtool", None)), "no segtool contract"),
        "onnxruntime's own format": (lambda: b"\x08\x00\x00\x00ORTM" + bytes(500), "not an ONNX file"),
    }
    for what, (data, words) in table.items():
        yield Case(what, ("info", "bad.onnx"), 1, words, write("bad.onnx", data))
    for command in (("verify", "bad.onnx"), ("predict", "good.png", "--model", "bad.onnx"), ("benchmark", "bad.onnx")):
        what = f"a cut model, {command[0]}"
        yield Case(what, command, 1, "damaged or truncated", write("bad.onnx", lambda: model()[:9000]))
    yield Case(
        "a cut model, evaluate",
        ("evaluate", "bad.onnx", "--data", "good.npz"),
        1,
        "damaged or truncated",
        write("bad.onnx", lambda: model()[:9000]),
    )
    yield Case("a missing model", ("verify", "none.onnx"), 1, "no model at none.onnx")
    yield Case(
        "a run that was not exported where the latest model is wanted",
        ("info",),
        1,
        "no exported model",
        lambda: Path("runs/latest").mkdir(parents=True),
    )
    yield Case("a model whose name is too long", ("info", "n" * 300 + ".onnx"), 1, "n" * 300)
    yield Case("a pipe as a model", ("info", "p.onnx"), 1, "p.onnx", lambda: os.mkfifo("p.onnx"))
    yield Case(
        "an endless device as a model",
        ("verify", "z.onnx"),
        1,
        "z.onnx",
        lambda: Path("z.onnx").symlink_to("/dev/zero"),
    )
    yield Case("a folder that is no run", ("info", "some"), 1, "not a run folder", lambda: Path("some").mkdir())
    yield Case("a model of 2 GiB", ("info", "big.onnx"), 1, "the limit is", _sparse)


def _sparse() -> None:
    Path("big.onnx").touch()
    os.truncate("big.onnx", 2**31)  # takes no room on the disk


def contracts() -> Iterator[Case]:
    """Contracts and golden pairs that are not what they should be."""
    table: dict[str, tuple[Callable[[], bytes], str]] = {
        "a contract nested 100,000 levels deep": (
            lambda: models.model(models.metadata("segtool", "[" * 100_000)),
            "nested more than",
        ),
        "a contract of a later version": (lambda: models.model(models.contract(version=99)), "upgrade segtool"),
        "a contract without classes": (lambda: models.model(models.contract(class_names=None)), "incomplete"),
        "a contract of another size than the graph": (
            lambda: models.model(models.contract(height=99)),
            "export it again",
        ),
        "a contract of 10^12 pixels": (lambda: models.model(models.contract(height=10**6, width=10**6)), "at most"),
        "a colour of 300": (lambda: models.model(models.contract(palette=[[300, 0, 0]] * 3)), "not a colour"),
        "a class name that clears the terminal": (
            lambda: models.model(models.contract(class_names=["\x1b[2J", "b", "c"])),
            "not a class name",
        ),
    }
    for what, (data, words) in table.items():
        yield Case(what, ("info", "bad.onnx"), 1, words, write("bad.onnx", data))
    verify = ("verify", "bad.onnx")
    yield Case(
        "a model without a golden pair", verify, 1, "no golden pair", _bad(models.metadata("segtool.golden", None))
    )
    yield Case(
        "a golden pair that inflates without end", verify, 1, "golden pair", _bad(models.golden(shape=[0, 1, 1]))
    )
    yield Case("a golden pair of another size", verify, 1, "golden pair", _bad(models.golden(shape=[1, 2, 2])))
    yield Case("labels that differ from the golden ones", verify, 4, "FAILED", _bad(models.wrong_labels))


def _bad(change: Callable[..., object]) -> Callable[[], object]:
    return write("bad.onnx", lambda: models.model(change))


def keras_files() -> Iterator[Case]:
    """Trained models that are not to be opened, and run folders."""
    table: dict[str, tuple[Callable[[], bytes], str]] = {
        "a pickle named .keras": (arrays.pickled, "is a pickle"),
        "HDF5 named .keras": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
        "a cut .keras file": (lambda: models.keras_lambda()[:200], "damaged or truncated"),
        "a .keras file with a Lambda layer": (models.keras_lambda, "Lambda"),
        "a .keras file nested 100,000 levels deep": (lambda: models.keras_zip(b"[" * 100_000), "bad.keras"),
        "a .keras file whose configuration inflates to 300 MB": (
            lambda: models.keras_zip(bytes(300_000_000)),
            "bad.keras",
        ),
    }
    for what, (data, words) in table.items():
        yield Case(
            what,
            ("export", "bad.keras", "--data", "good.npz", "--out", "new/model.onnx"),
            1,
            words,
            write("bad.keras", data),
        )
    run = ("export", "run")
    yield Case("a run that is not there", run, 1, "no model at run")
    yield Case(
        "a run.json nested 100,000 levels deep", run, 1, "run.json", write("run/run.json", lambda: b"[" * 100_000)
    )
    yield Case(
        "a run.json without its data",
        run,
        1,
        "does not describe the data",
        write("run/run.json", lambda: b'{"data": 3}'),
    )
