"""The gates of an export: what must hold before a file gets its name.

Parity and accuracy refuse with a GateError. Speed is measured and reported: a slow INT8 file is a warning, since
the machine that exports is often not the one that runs the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from segtool.contract import ModelContract
from segtool.errors import GateError
from segtool.runtime.latency import Ratio, compare_interleaved
from segtool.runtime.machine import machine_info

MAX_DIFFERENCE = 1e-4  # of probabilities, Keras against ONNX (DESIGN, section 8)
MIN_AGREEMENT = 0.9999  # share of pixels with the same label
Images = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]
Verdict = Literal["faster", "no difference", "slower"]


@dataclass(frozen=True)
class Parity:
    """Keras against the exported graph on real images.

    Attributes
    ----------
    max_difference
        Largest absolute difference of two probabilities.
    label_agreement
        Share of pixels, 0..1, on which the file's labels are the arg-max of Keras's probabilities.
    images
        Number of images, compared in one batch.
    single
        How many of them were compared at batch 1 too.
    """

    max_difference: float
    label_agreement: float
    images: int
    single: int


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
    """

    float32: float
    int8: float
    drop_points: float
    max_drop: float
    images: int
    label_agreement: float


@dataclass(frozen=True)
class Speed:
    """How many times as fast INT8 is as FP32 at batch 1, with its 95 % interval, as words, and where measured."""

    ratio: float
    low: float
    high: float
    verdict: Verdict
    sentence: str
    threads: int
    cpu: str


def check_parity(
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
        The probabilities, float32 (N, H, W, K), of the network and of the converted graph.
    labels
        The labels (N, H, W) of the very graph that will be published.

    Raises
    ------
    GateError
        The probabilities differ by more than 1e-4, or fewer than 99.99 % of the labels agree.
    """
    if len(images) < 2:
        raise GateError(
            f"The parity gate compares batches of 1 and of more, and got {len(images)} images; "
            "give data with at least 2."
        )
    single = min(len(images), 8)
    expected, together = keras(images), probabilities(images)
    alone = np.concatenate([probabilities(image[None]) for image in images[:single]])
    difference = max(_difference(expected, together), _difference(expected[:single], alone))
    wanted, found = expected.argmax(-1), labels(images)
    found_alone = np.concatenate([labels(image[None]) for image in images[:single]])
    same = min(agreement(wanted, found), agreement(wanted[:single], found_alone))
    result = Parity(difference, same, len(images), single)
    # Written so that NaN refuses.
    if not (difference <= MAX_DIFFERENCE and same >= MIN_AGREEMENT):
        raise GateError(
            f"Parity gate: the exported graph's probabilities differ from Keras by up to {difference:.3g} "
            f"(allowed {MAX_DIFFERENCE:g}) "
            f"and {same:.4%} of the labels agree (needed {MIN_AGREEMENT:.2%}); the file was not written."
        )
    return result


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


def judge_accuracy(result: Accuracy) -> None:
    """Refuse an INT8 model that loses too much.

    Raises
    ------
    GateError
        INT8 loses more than `max_drop`, or one of the two is not a number.
    """
    if not result.drop_points <= result.max_drop:
        raise GateError(
            f"Accuracy gate: INT8 has a foreground mean IoU of {result.int8:.2%} against {result.float32:.2%} in FP32 "
            f"on {result.images} validation images, "
            f"a drop of {result.drop_points:.2f} points (allowed {result.max_drop:g}); the INT8 file was not written: "
            "use the FP32 file, or allow more with --max-drop."
        )


def measure_speed(float32: Callable[[], Any], int8: Callable[[], Any], *, threads: int, rounds: int = 60) -> Speed:
    """Time both alternately and return how they compare; `threads` is what both were opened with."""
    return describe_speed(compare_interleaved(float32, int8, rounds=rounds), threads=threads)


def describe_speed(ratio: Ratio, *, threads: int) -> Speed:
    """Put the ratio of the FP32 time to the INT8 time in words; its interval decides, not its middle."""
    if ratio.low > 1:
        digits = 2 if ratio.low < 1.1 else 1
        verdict: Verdict = "faster"
        sentence = f"{ratio.low:.{digits}f}x to {ratio.high:.{digits}f}x faster"
    elif ratio.high < 1:
        verdict, sentence = "slower", "slower: use the FP32 file"
    else:
        verdict, sentence = "no difference", "no difference"
    return Speed(ratio.median, ratio.low, ratio.high, verdict, sentence, threads, str(machine_info()["cpu"]))


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
