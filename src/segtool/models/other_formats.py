"""Refusals of files of other frameworks and of other kinds, with the lines that make a file that segtool opens."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from segtool.errors import ModelFileError

_EXPECTED = "expected a .keras file such as `segtool train` writes, or an .onnx file"
# Written for the shell; an ONNX file of these is opened like any other.
_FROM_TENSORFLOW = "python -m tf2onnx.convert {option} {path} --opset 18 --output model.onnx"
_FROM_TORCH = (
    'model.eval(); torch.onnx.export(model, torch.zeros(1, 3, HEIGHT, WIDTH), "model.onnx", '
    'input_names=["image"], opset_version=18)'
)


def refuse_other_content(start: bytes, *, source: str) -> None:
    """Refuse content that is no Keras model but has a known way to one.

    Parameters
    ----------
    start
        The first 16 bytes of the file.
    source
        Name of the file, for error messages.
    """
    if start[4:8] == b"TFL3":
        line = _FROM_TENSORFLOW.format(option="--tflite", path=source)
        raise ModelFileError(
            f"{source} is a TensorFlow Lite file, {_EXPECTED}; export the Keras model that it was made from, or "
            f"convert a file in float32: {line}."
        )
    if start[:1] == b"\x80" or start.startswith((b"(", b"c__", b"cos")):
        raise ModelFileError(f"{source} is a pickle, which runs code on opening; {_EXPECTED}. {_torch_line()}")
    if not start:
        raise ModelFileError(f"{source} is empty; {_EXPECTED}.")


def is_torch_archive(names: Iterable[str]) -> bool:
    """Return whether an archive is of PyTorch, by the names of its members."""
    return any(Path(name).name in ("data.pkl", "constants.pkl") for name in names)


def refuse_other_archive(names: Iterable[str], *, source: str) -> None:
    """Refuse an archive of PyTorch, by the names of its members."""
    if is_torch_archive(names):
        raise ModelFileError(
            f"{source} is a PyTorch file, which holds a pickle that runs code on opening; {_EXPECTED}. {_torch_line()}"
        )


def refuse_other_folder(folder: Path) -> None:
    """Refuse a SavedModel folder."""
    if (folder / "saved_model.pb").is_file():
        line = _FROM_TENSORFLOW.format(option="--saved-model", path=folder)
        raise ModelFileError(
            f"{folder} is a SavedModel of TensorFlow, {_EXPECTED}. Save the Keras model itself with "
            f'model.save("model.keras"), or convert the folder: {line}.'
        )


def _torch_line() -> str:
    return f"For a PyTorch model, export ONNX where its code is: {_FROM_TORCH}."
