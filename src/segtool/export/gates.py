"""The gates of an export: what must hold before a file gets its name. Parity and accuracy here, speed in `speed`.

What a gate measured judges itself; `verdict.judge` refuses, or records that the user waived it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from segtool.contract import ModelContract
from segtool.errors import GateError
from segtool.export.verdict import GateName, Refusal

MAX_DIFFERENCE = 1e-4  # of probabilities, Keras against ONNX (DESIGN, section 8)
MIN_AGREEMENT = 0.9999  # share of pixels with the same label
Images = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Parity:
    """Keras against the exported graph on real images.

    Attributes
    ----------
    max_difference
        Largest absolute difference of two probabilities (of logits: behind a softmax); infinite for outputs of another
        shape.
    label_agreement
        Share of pixels, 0..1, on which the file's labels are the arg-max of Keras's probabilities.
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
            f"Parity gate: the exported graph's probabilities differ from Keras by up to {self.max_difference:.3g} "
            f"(allowed {MAX_DIFFERENCE:g}) and {self.label_agreement:.4%} of the labels agree "
            f"(needed {MIN_AGREEMENT:.2%})",
            "the file was not written, please report this network",
            final=not math.isfinite(self.max_difference),
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
            f"on {self.images} validation images, a drop of {self.drop_points:.2f} points (allowed {self.max_drop:g})",
            "the INT8 file was not written: use the FP32 file, or allow more with --max-drop",
            final=not math.isfinite(self.drop_points),
        )


def compare_parity(
    images: Images,
    *,
    keras: Callable[[Images], Scores],
    probabilities: Callable[[Images], Scores],
    labels: Callable[[Images], Labels],
) -> Parity:
    """Compare Keras with the converted graph, image by image and as one batch.

    Parameters
    ----------
    images
        Real images, uint8 (N, H, W, C), two or more.
    keras, probabilities
        The probabilities, float32 (N, H, W, K), of the network and of the converted graph. Logits are compared behind a
        softmax: how large they are says nothing, and how far apart they are only matters there.
    labels
        The labels (N, H, W) of the very graph that will be published.

    Raises
    ------
    GateError
        There are fewer than two images.
    """
    if len(images) < 2:
        raise GateError(
            f"The parity gate compares batches of 1 and of more, and got {len(images)} images; "
            "give data with at least 2."
        )
    single = min(len(images), 8)
    expected, together = keras(images), probabilities(images)
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


def check_golden(contract: ModelContract, *, expected: Labels, found: Labels) -> None:
    """Refuse a finished file that no longer gives the labels of its own golden pair."""
    if found.dtype != contract.label_dtype or not np.array_equal(expected, found):
        raise GateError(
            "The finished file does not give the labels of its own golden pair; it was not written: please report this."
        )


def _difference(a: Scores, b: Scores) -> float:
    if a.shape != b.shape:
        return float("inf")
    return float(np.abs(a.astype(np.float64) - b).max())


def agreement(a: Labels, b: Labels) -> float:
    """Return the share of pixels, 0..1, with the same label; 0 for maps of different sizes."""
    return float((a == b).mean()) if a.shape == b.shape else 0.0
