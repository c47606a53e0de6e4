"""The gates of an export: parity, accuracy and speed, which must hold before a file gets its name.

What a gate measured judges itself; `verdict.judge` refuses, or records that the user waived it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from segtool.array_types import FloatingArray, IntegerArray, UInt8Array
from segtool.benchmark.statistics import Ratio
from segtool.contract import ModelContract
from segtool.errors import GateError
from segtool.export.presets import Preset, is_own
from segtool.export.verdict import GateName, Refusal, is_undecided
from segtool.machine.machine import machine_info
from segtool.text import counted

MAX_DIFFERENCE = 1e-4  # of probabilities, Keras against ONNX (DESIGN, section 8)
MIN_AGREEMENT = 0.9999  # fraction of pixels with the same label
MIN_TRAINED_AGREEMENT = 0.995  # the same, of INT8 and the network that was trained in fake quantization
Verdict = Literal["faster", "no difference", "slower"]


@dataclass(frozen=True)
class Parity:
    """Keras against the exported graph on real images.

    Attributes
    ----------
    max_difference
        Largest absolute difference of two probabilities (of logits: behind a softmax); infinite for outputs of another
        shape.
    label_agreement
        Share of pixels, 0..1, on which the file's labels are the arg-max of the network's scores.
    images
        Number of images, compared in one batch.
    single
        How many of them were compared at batch 1 too.
    """

    gate: ClassVar[GateName] = "parity"
    max_difference: float
    label_agreement: float
    images: int
    single: int

    def refusal(self) -> Refusal | None:
        """Refuse probabilities that differ by more than 1e-4, or labels of which fewer than 99.99 % agree."""
        if self.max_difference <= MAX_DIFFERENCE and self.label_agreement >= MIN_AGREEMENT:
            return None
        return Refusal(
            "Parity gate: the exported graph's probabilities differ from the network's by up to "
            f"{self.max_difference:.3g} (allowed {MAX_DIFFERENCE:g}) and {self.label_agreement:.4%} of the labels "
            f"agree (needed {MIN_AGREEMENT:.2%})",
            "the file was not written, please report this network",
            final=not math.isfinite(self.max_difference),
        )


@dataclass(frozen=True)
class TrainedAgreement:
    """INT8 against the network that was trained in fake quantization, on real images.

    Attributes
    ----------
    label_agreement
        Fraction of pixels, 0..1, with the same label in both.
    images
        Number of images.
    """

    gate: ClassVar[GateName] = "trained"
    label_agreement: float
    images: int

    def refusal(self) -> Refusal | None:
        """Refuse labels of which fewer than 99.5 % agree."""
        if self.label_agreement >= MIN_TRAINED_AGREEMENT:
            return None
        return Refusal(
            f"Trained gate: {self.label_agreement:.4%} of the INT8 labels are those of the network as it was trained, "
            f"in fake quantization (needed {MIN_TRAINED_AGREEMENT:.1%})",
            "the INT8 file was not written: export the run that --qat began with, or use the FP32 file",
        )


@dataclass(frozen=True)
class Accuracy:
    """INT8 against FP32 on the validation split.

    Attributes
    ----------
    float32, int8
        Foreground mean IoU, 0..1.
    drop_points, max_drop
        Their difference, and how large it may be, in points (of 100).
    images
        Number of validation images.
    label_agreement
        Share of pixels, 0..1, with the same label in both, on some of these images; reported, not judged.
    candidates
        INT8 models that were scored on these images, one after the other, until this one held. Above 1 it was chosen by
        them (layers went back to float, or channels came back), so that its drop is optimistic.
    """

    gate: ClassVar[GateName] = "accuracy"
    float32: float
    int8: float
    drop_points: float
    max_drop: float
    images: int
    label_agreement: float
    candidates: int = 1

    def refusal(self) -> Refusal | None:
        """Refuse INT8 that loses more than `max_drop`, or figures that are not numbers."""
        if self.drop_points <= self.max_drop:
            return None
        return Refusal(
            f"Accuracy gate: INT8 has a foreground mean IoU of {self.int8:.2%} against {self.float32:.2%} in FP32 "
            f"on {counted(self.images, 'validation image')}, a drop of {self.drop_points:.2f} points "
            f"(allowed {self.max_drop:g})",
            "the INT8 file was not written: use the FP32 file, or allow more with --max-drop",
            final=not math.isfinite(self.drop_points),
        )


@dataclass(frozen=True)
class Speed:
    """How INT8 compares with FP32 at batch 1 on this machine.

    Attributes
    ----------
    ratio, low, high
        How many times as fast INT8 is, with the 95 % interval.
    verdict
        What the interval says.
    sentence
        The same in words.
    threads, cpu
        Where it was measured.
    target
        Name of the preset: the kind of processor that the file is for.
    on_target
        Whether this machine is one; only then a slower file is refused.
    """

    gate: ClassVar[GateName] = "speed"
    ratio: float
    low: float
    high: float
    verdict: Verdict
    sentence: str
    threads: int
    cpu: str
    target: str
    on_target: bool

    def refusal(self) -> Refusal | None:
        """Refuse what is slower with confidence on the processor that it is for."""
        if self.verdict != "slower" or not self.on_target:
            return None
        return Refusal(
            f"Speed gate: on this machine the INT8 file is {self.sentence} "
            f"(it takes {1 / self.high:.2f} to {1 / self.low:.2f} times as long)",
            "the INT8 file was not written, --waive speed writes it anyway",
        )


def compare_parity(
    images: UInt8Array,
    *,
    network: Callable[[UInt8Array], FloatingArray],
    probabilities: Callable[[UInt8Array], FloatingArray],
    labels: Callable[[UInt8Array], IntegerArray],
) -> Parity:
    """Compare Keras with the converted graph, image by image and as one batch.

    Parameters
    ----------
    images
        Real images, uint8 (N, H, W, C), two or more.
    network, probabilities
        The probabilities, float32 (N, H, W, K), of the network as it came and of the graph made of it. Logits are
        compared behind a softmax: how large they are says nothing, and how far apart they are only matters there.
    labels
        The labels (N, H, W) of the very graph that will be published.

    Raises
    ------
    GateError
        There are fewer than two images.
    """
    if len(images) < 2:
        raise GateError(
            f"The parity gate compares batches of 1 and of more. The data have {counted(len(images), 'image')} for "
            "validation; expected at least 2. Add images, or a val/ folder with 2 or more."
        )
    single = min(len(images), 8)
    expected, together = network(images), probabilities(images)
    alone = np.concatenate([probabilities(image[None]) for image in images[:single]])
    # NumPy's maximum keeps a NaN, on which the gate refuses; Python's would lose it.
    difference = float(np.maximum(_difference(expected, together), _difference(expected[:single], alone)))
    wanted, found = expected.argmax(-1), labels(images)
    found_alone = np.concatenate([labels(image[None]) for image in images[:single]])
    same = min(agreement(wanted, found), agreement(wanted[:single], found_alone))
    return Parity(difference, same, len(images), single)


def compare_accuracy(float32: float, int8: float, *, images: int, max_drop: float, label_agreement: float) -> Accuracy:
    """Put the foreground mean IoU (0..1) of INT8 beside that of FP32, without a judgement.

    Parameters
    ----------
    float32, int8
        Foreground mean IoU on the same validation images.
    images
        Their number.
    max_drop
        Points (of 100) that INT8 may lose.
    label_agreement
        As in `Accuracy`.
    """
    return Accuracy(float32, int8, (float32 - int8) * 100, max_drop, images, label_agreement)


def describe_speed(ratio: Ratio, *, threads: int, preset: Preset) -> Speed:
    """Put the ratio of the FP32 time to the INT8 time in words; its interval decides, not its middle.

    Parameters
    ----------
    ratio
        As from `compare_interleaved`.
    threads
        What both files were opened with.
    preset
        What the INT8 file is for.
    """
    verdict, on_target = _verdict(ratio), is_own(preset)
    words = _faster(ratio) if verdict == "faster" else verdict
    if is_undecided(verdict, ratio.low, ratio.high):
        words = "not decided, the times vary too much"
    if not on_target:
        words += f" (timed on another kind of processor; the file is for {preset.processors})"
    elif verdict == "slower":
        words += ": use the FP32 file"
    cpu = str(machine_info()["cpu"])
    return Speed(ratio.median, ratio.low, ratio.high, verdict, words, threads, cpu, preset.name, on_target)


def check_golden(contract: ModelContract, *, expected: IntegerArray, found: IntegerArray) -> None:
    """Refuse a finished file that no longer gives the labels of its own golden pair."""
    if found.dtype != contract.label_dtype or not np.array_equal(expected, found):
        raise GateError(
            "The finished file does not give the labels of its own golden pair; it was not written: please report this."
        )


def _difference(a: FloatingArray, b: FloatingArray) -> float:
    if a.shape != b.shape:
        return float("inf")
    return float(np.abs(a.astype(np.float64) - b).max())


def agreement(a: IntegerArray, b: IntegerArray) -> float:
    """Return the fraction of pixels, 0..1, with the same label; 0 for maps of different sizes."""
    return float((a == b).mean()) if a.shape == b.shape else 0.0


def _verdict(ratio: Ratio) -> Verdict:
    if ratio.low > 1:
        return "faster"
    return "slower" if ratio.high < 1 else "no difference"


def _faster(ratio: Ratio) -> str:
    digits = 2 if ratio.low < 1.1 else 1
    return f"{ratio.low:.{digits}f}x to {ratio.high:.{digits}f}x faster"
