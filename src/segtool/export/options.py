"""What `segtool export` is asked for, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtool.contract import Head, ModelContract, SizePolicy

TESTED_OPSETS = range(13, 19)  # 13 is the first with per-channel QuantizeLinear; tf2onnx 1.17 ends at 18
DEFAULT_OPSET = 18


@dataclass(frozen=True)
class ExportOptions:
    """How to export.

    Attributes
    ----------
    quantize
        Write an INT8 file too.
    data
        Data SPEC; None for the run's own.
    head
        "labels", "logits" or "probabilities".
    size_policy
        What the file's contract says of larger images: "resize" or "tile".
    size
        (height, width) of the input; None, or the network's own.
    max_drop
        Points of foreground mean IoU (of 100) that INT8 may lose.
    opset
        ONNX operator set.
    out
        The FP32 file; None for model.onnx beside the trained model. The INT8 file is named after it.
    overwrite
        Replace files that are there.
    preset
        "auto" (this processor), "vnni", "x86" or "arm".
    calibration
        How the ranges of activations are chosen: "min-max", "percentile" or "entropy".
    calibration_images, parity_images
        How many images to calibrate and to compare on, at most; fewer are compared where they are large.
    """

    quantize: bool = False
    data: str | None = None
    head: Head = "labels"
    size_policy: SizePolicy = "resize"
    size: tuple[int, int] | None = None
    max_drop: float = 0.5
    opset: int = DEFAULT_OPSET
    out: str | Path | None = None
    overwrite: bool = False
    preset: str = "auto"
    calibration: str = "min-max"
    calibration_images: int = 256
    parity_images: int = 64


@dataclass(frozen=True)
class ExportResult:
    """What was written, and what was measured.

    Attributes
    ----------
    float32, int8
        The files; `int8` is None without quantization.
    contract, int8_contract
        Their contracts, with the metrics and the gates' figures.
    warnings
        What the user should know: so far, that INT8 is not faster here.
    """

    float32: Path
    contract: ModelContract
    int8: Path | None = None
    int8_contract: ModelContract | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values, for `export --json`."""
        last = self.int8_contract or self.contract
        return {
            "float32": str(self.float32),
            "int8": None if self.int8 is None else str(self.int8),
            "head": last.head,
            "metrics": dict(last.metrics),
            "gates": dict(last.gates),
            "quantization": dict(last.quantization),
            "versions": dict(last.versions),
            "warnings": list(self.warnings),
        }
