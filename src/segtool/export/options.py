"""What `segtool export` is asked for, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from segtool.contract import ModelContract
from segtool.contract_check import Head, SizePolicy
from segtool.export.verdict import MAX_DROP, GateName, Recommendation, recommend, useless, warnings_of

TESTED_OPSETS = range(13, 19)  # 13 is the first with per-channel QuantizeLinear; tf2onnx 1.17 ends at 18
DEFAULT_OPSET = 18
Winograd = Literal["auto", "on", "off"]
WINOGRAD_CHOICES: tuple[Winograd, ...] = get_args(Winograd)
CALIBRATIONS = ("auto", "min-max", "mse")
# On FCN-8 and M2NIST eight images keep as many labels as 64 do (99.9 %); with one or two, tails of the ranges are lost.
MIN_CALIBRATION_IMAGES = 8
DEFAULT_CALIBRATION_IMAGES = 256
PRUNING_IMAGES = 1024
MIN_PRUNING_IMAGES = 32
MOST_PRUNING = 10  # percent of the labels: beyond that it is another network
# Of all calibration images where their number is not given: an export is minutes, not hours.
CALIBRATION_PIXELS = 1 << 24


@dataclass(frozen=True)
class ExportOptions:
    """How to export.

    Attributes
    ----------
    quantize
        Write an INT8 file too.
    data
        Data SPEC; None for the run's own.
    custom
        A Python file that defines the user's own layers, which is run; None for none.
    head
        "labels", "logits" or "probabilities".
    size_policy
        What the file's contract says of larger images: "resize" or "tile"; None for "tile" where the network was
        trained on crops, else "resize".
    size
        (height, width) of the input; None for the network's own, or, where it takes any, that of the data. For another
        than its own a Keras network is rebuilt with its weights.
    input_scale
        How the pixels of a network with float input are scaled: a name or numbers (`network.scaling.read_scale`); None
        to read it from the network, or to measure it on the data.
    output
        The output with the scores of the classes; None for the only one.
    threshold
        Of the probability, 0..1, above which a network that scores one class sees it; None for 0.5.
    max_drop
        Points of foreground mean IoU (of 100) that INT8 may lose.
    opset
        ONNX operator set that a Keras network is converted to; None for the tested one.
    out
        The FP32 file; None for model.onnx beside the trained model, or model.HxW.onnx where a size is given. The
        INT8 file is named after it.
    triton
        A Triton model repository to write the recommended file to; None for none.
    triton_gpu
        Configure it for GPUs: with the FP32 file, and without Winograd's convolutions unless they are "on".
    overwrite
        Replace files that are there.
    winograd
        Winograd's convolutions in the FP32 file: "auto" (where they are timed to be faster here), "on" or "off".
    preset
        "auto" (this processor), "amx", "vnni", "x86" or "arm".
    calibration
        How the ranges of activations are chosen, one of `CALIBRATIONS`; "auto" for "min-max" or "mse", whichever keeps
        more labels of calibration images.
    calibration_images
        How many images (or tiles) to calibrate on, at most; None for 256, fewer where they are large.
    prune
        Percent of the pixels whose label may change when channels are removed from the network that INT8 is made of;
        None to remove none.
    parity_images
        How many images to compare on, at most; fewer where they are large.
    waive
        Gates, of `GATES`, whose refusal becomes a warning that the contract records.
    arguments
        The command line that all this was read from, for the contract; empty for a program.
    """

    quantize: bool = False
    data: str | None = None
    custom: str | Path | None = None
    head: Head = "labels"
    size_policy: SizePolicy | None = None
    size: tuple[int, int] | None = None
    input_scale: str | None = None
    output: str | None = None
    threshold: float | None = None
    max_drop: float = MAX_DROP
    opset: int | None = None
    out: str | Path | None = None
    triton: str | Path | None = None
    triton_gpu: bool = False
    overwrite: bool = False
    winograd: Winograd = "auto"
    preset: str = "auto"
    calibration: str = "auto"
    calibration_images: int | None = None
    prune: float | None = None
    parity_images: int = 64
    waive: tuple[GateName, ...] = ()
    arguments: tuple[str, ...] = ()

    def images_to_prune_on(self, size: tuple[int, int]) -> int:
        """Return how many images of `size` (height, width) pruning fits to and looks at, at most."""
        return min(PRUNING_IMAGES, max(32, CALIBRATION_PIXELS // (size[0] * size[1])))

    def images_to_calibrate(self, size: tuple[int, int]) -> int:
        """Return how many images of `size` (height, width) to calibrate on, at most."""
        few_pixels = max(32, CALIBRATION_PIXELS // (size[0] * size[1]))
        return self.calibration_images or min(DEFAULT_CALIBRATION_IMAGES, few_pixels)


@dataclass(frozen=True)
class ExportResult:
    """What was written, and what was measured.

    Attributes
    ----------
    float32, int8
        The files; `int8` is None without quantization.
    contract, int8_contract
        Their contracts, with the metrics and the gates' figures; here also the times that the files leave out.
    triton
        The folder of the model in a Triton repository; None if none was asked for.
    warned
        Warnings that were logged during the export: a network that was rebuilt for another size, a request
        that nothing could be done about.
    """

    float32: Path
    contract: ModelContract
    int8: Path | None = None
    int8_contract: ModelContract | None = None
    triton: Path | None = None
    warned: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings: the size, requests without effect, waived gates, slow INT8, a useless network."""
        poor = useless(self._last.metrics)
        return (*self.warned, *warnings_of(self._last.gates), *([poor] if poor else []))

    @property
    def recommendation(self) -> Recommendation:
        """Which of the files to deploy, and why."""
        if useless(self._last.metrics):
            return Recommendation(None, "neither yet, because one class everywhere is right as often")
        return recommend(self._last.gates)

    @property
    def deployed(self) -> Path:
        """The recommended file; without a recommendation, the INT8 file if there is one."""
        is_float = self.int8 is None or self.recommendation.file == "float32"
        return self.float32 if is_float or self.int8 is None else self.int8

    @property
    def _last(self) -> ModelContract:
        return self.int8_contract or self.contract

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values, for `export --json`."""
        last = self._last
        return {
            "float32": str(self.float32),
            "int8": None if self.int8 is None else str(self.int8),
            "triton": None if self.triton is None else str(self.triton),
            "size": [last.height, last.width],
            "trained_size": list(last.trained_size) if last.trained_size else None,
            "head": last.head,
            "metrics": dict(last.metrics),
            "gates": dict(last.gates),
            "quantization": dict(last.quantization),
            "versions": dict(last.versions),
            "recommendation": self.recommendation.file,
            "recommendation_reason": self.recommendation.reason,
            "warnings": list(self.warnings),
        }
