"""segtool: train a segmentation network, export it to a verified ONNX file, and run it on small machines.

>>> import segtool
>>> segmenter = segtool.load("model.int8.onnx", threads=1)  # doctest: +SKIP
>>> labels = segmenter(image)  # (H, W) class ids of a uint8 (H, W[, C]) image  # doctest: +SKIP
"""

from __future__ import annotations

from segtool.errors import (
    ContractError,
    DataError,
    ExportError,
    GateError,
    MissingExtraError,
    ModelFileError,
    OutputExistsError,
    OutputWriteError,
    ProviderError,
    SegtoolError,
    TrainingError,
)
from segtool.telemetry import switch_off

TYPE_CHECKING = False  # not from typing, whose import would take most of the time until signals are handled
if TYPE_CHECKING:
    from typing import Any

    from segtool.runtime.opening import load
    from segtool.runtime.segmenter import Segmenter
    from segtool.runtime.stream import Result

__version__ = "0.1.0"

__all__ = [
    "ContractError",
    "DataError",
    "ExportError",
    "GateError",
    "MissingExtraError",
    "ModelFileError",
    "OutputExistsError",
    "OutputWriteError",
    "ProviderError",
    "Result",
    "Segmenter",
    "SegtoolError",
    "TrainingError",
    "__version__",
    "load",
]

switch_off()

# Imported at the first use, so that `import segtool` is fast, also if only the version or an error class is needed.
_LAZY = {
    "Result": "segtool.runtime.stream",
    "Segmenter": "segtool.runtime.segmenter",
    "load": "segtool.runtime.opening",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY and name != "export":
        raise AttributeError(f"module 'segtool' has no attribute {name!r}")
    import importlib

    if name == "export":  # a package that can be called
        return importlib.import_module("segtool.export")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
