"""Static INT8 quantization (QDQ): equalized channels, calibrated ranges, corrected biases.

What is where, and why (fcn8 on M2NIST, one thread of a Zen 5 core, microseconds of onnxruntime's own profile; the
whole graph takes 4500 in stock FP32):

- convolutions: uint8 in and out with int8 weights an output channel, about 900 of FP32's 4100;
- the first one too, on raw pixels, with four of them as channels (`passes.pixels_as_channels`): 38; in float it is
  68, and 61 more to quantize and reorder its output;
- leaky ReLU as integers (a table of 256 entries): 55 on the largest map. Behind a pooling, and before the shift of a
  batch normalization, it is computed in float with that shift: 32 for both on the largest map in place of 38 as
  integers, and one rounding less (99.63 % of the pixels with FP32's label, not 99.55 %);
- what a pooling drops needs no integers, so the range of a pooled map is that behind the pooling;
- the head, that is everything behind the layer that scores the classes on each path to the output, and that layer
  itself, is in float: it decides the labels and costs little. It reads the shifted map of a batch normalization
  before that is rounded to integers, and 1x1 convolutions in it are matrix products (`passes.scores_by_pixels`). A
  convolution of several taps scores few classes in INT8 for labels (`int8.layers.head` has the figures).

What was measured and left out (whole file, Zen 4, one thread and two): convolutions on the 2 x 3 map as matrix
products, which two threads can share: 1.018, 0.993; batch normalization's shift in integers: 1.007, 1.019; a maximum
of two channels of the first convolution in place of its leaky ReLU's table: 1.011, 1.016, with 99.93 % of the labels
in place of 99.86; the first convolution with two taps in place of three, on padded pixels: 1.000, 1.001; TopK or
MaxPool in place of ArgMax: 1.02, 1.07; the crop in front of the change of places: 1.002, 1.002. On EfficientNet-Lite0
with a decoder (384 x 480), layers that take longer in INT8 than in float, left in float: 1.046 with all three of them,
1.013 to 1.027 with one, because the maps around them are converted.

By which method ranges are found, and then how strongly channels are equalized, is chosen by the labels on a few
calibration images, with ranges of these; the ranges of the chosen ones are then those of all images. `calibrate_for`
does what does not depend on the layers that are in INT8, once; `quantize` makes a model of any of them.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from segtool.array_types import AnyArray, UInt8Array
from segtool.errors import ExportError
from segtool.export.int8.bias import channel_means, correct_biases
from segtool.export.int8.equalize import channel_ranges, equalize
from segtool.export.int8.layers import points
from segtool.export.int8.qdq import aligned_ranges, insert_qdq, is_pixels
from segtool.export.int8.ranges import calibrate
from segtool.export.passes import (
    CPU_REWRITES,
    INT8_REWRITES,
    PADDING_REWRITES,
    QUANTIZED_REWRITES,
    log_outcomes,
    rewrite,
    to_ir,
)
from segtool.export.presets import Preset
from segtool.export.running import Batches, label_agreement, run_labels
from segtool.export.stages import Progress, Stages, silent

logger = logging.getLogger(__name__)
STRENGTHS = (0.0, 0.3, 0.5)
AUTOMATIC = ("min-max", "mse")
# Images for means, for channel ranges and to compare labels on; the ranges of values are over all of them. They are
# kept in memory, and so are the maps that are in use at one place of the graph: up to some hundred bytes a pixel.
_FEW, _FEW_PIXELS, _AT_LEAST = 64, 3 << 20, 4
_FEWEST_PIXELS = 1 << 20  # of them, for the sensitivities: those are one run a layer


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A float model with what its calibration found.

    Attributes
    ----------
    model
        Float, equalized, and rewritten for INT8.
    layers
        Names of its convolutions that INT8 can compute, in the order of the graph.
    ranges
        Of each value that may become integer.
    means
        Of each channel of each of the convolutions' outputs, over `few`.
    few
        Some of the calibration images, uint8 (n, H, W, C) each.
    labels
        The float model's on `few`, (n, H, W) each.
    preset
        Which integers to use.
    images
        Number of calibration images.
    fingerprint
        SHA-256 over the pixels of the calibration images, in order, with their size.
    strength
        How strongly channels were equalized, 0..1.
    calibration
        The method of the ranges, one of `CALIBRATIONS` other than "auto", or "trained" (`segtool.export.trained`).
    corrected
        Whether biases are corrected; not those that were trained in INT8.
    """

    model: onnx.ModelProto
    layers: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float]]
    means: Mapping[str, AnyArray]
    few: tuple[UInt8Array, ...]
    labels: tuple[AnyArray, ...]
    preset: Preset
    images: int
    fingerprint: str
    strength: float
    calibration: str
    corrected: bool = True


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantized model and its calibration.

    Attributes
    ----------
    model
        The INT8 model; input and output as those of the float one.
    calibrated
        What it was made of.
    layers, float_layers
        Names of the convolutions in INT8, and of those that could be and were left in float.
    """

    model: onnx.ModelProto
    calibrated: Calibrated
    layers: tuple[str, ...]
    float_layers: tuple[str, ...]


def calibrate_for(
    preset: Preset,
    model: onnx.ModelProto,
    batches: Batches,
    *,
    calibration: str = "auto",
    strengths: Sequence[float] = STRENGTHS,
    stages: Stages = silent,
) -> Calibrated:
    """Equalize a float model and find its ranges; its calibration images are streamed, and few are kept.

    Parameters
    ----------
    preset
        The integers to use.
    model
        Float model with input ``image`` uint8 (N, H, W, C), rewritten by `SHARED_REWRITES` for speed.
    batches
        Gives the calibration images, uint8 (n, H, W, C) each, from the training split only, again at every call.
    calibration
        One of `CALIBRATIONS`; "auto" for that of `AUTOMATIC` which keeps more labels.
    strengths
        Of equalization, 0..1, to choose among.
    stages
        Called with the stage and (done, total) choices.

    Raises
    ------
    ExportError
        There are no calibration images, or nothing to quantize.
    """
    few, images, fingerprint = _looked_at(batches())
    labels = tuple(run_labels(model, iter(few)))
    channels = channel_ranges(model, iter(few))
    strengths = strengths if channels else strengths[:1]  # where no channels can be equalized, all are the same
    rewrites = INT8_REWRITES if preset.signed_activations else (*PADDING_REWRITES, *INT8_REWRITES)
    methods = AUTOMATIC if calibration == "auto" else (calibration,)
    total = len(strengths) + len(methods) - 1
    tried: list[tuple[float, Calibrated]] = []

    def try_out(candidate: Calibrated) -> None:
        share = _agreement(labels, _in_int8(candidate, frozenset()), few) if total > 1 else 1.0
        logger.info(
            "equalized with strength %g, %s ranges: %.3f%% of the pixels keep their label",
            candidate.strength,
            candidate.calibration,
            share * 100,
        )
        tried.append((share, candidate))
        stages("equalization", len(tried), total)

    stages("equalization", 0, total)
    for strength in strengths:
        like, outcomes = rewrite(equalize(model, channels, strength=strength), rewrites)
        layers, watched, outputs = _watched(like)
        means = channel_means(like, outputs, few)
        for method in methods:
            ranges = aligned_ranges(like, calibrate(like, watched, few, method=method))
            try_out(Calibrated(like, layers, ranges, means, few, labels, preset, images, fingerprint, strength, method))
        methods = (_best(tried).calibration,)
    log_outcomes(outcomes)
    best = _best(tried)
    if sum(map(len, few)) == images:
        return best
    ranges = calibrate(best.model, list(best.ranges), batches(), method=best.calibration)
    return replace(best, ranges=aligned_ranges(best.model, ranges))


def _best(tried: Sequence[tuple[float, Calibrated]]) -> Calibrated:
    """Return the first of those that keep the most labels."""
    return max(tried, key=lambda item: item[0])[1]


def quantize(
    calibrated: Calibrated, *, keep_float: Collection[str] = (), progress: Progress | None = None
) -> Quantized:
    """Quantize a calibrated model.

    Parameters
    ----------
    calibrated
        As from `calibrate_for`.
    keep_float
        Names of convolutions, among its layers, to leave in float.
    progress
        Called with (done, total) layers whose bias is corrected.
    """
    kept = frozenset(keep_float)
    final, outcomes = rewrite(_in_int8(calibrated, kept, progress=progress), (*QUANTIZED_REWRITES, *CPU_REWRITES))
    log_outcomes(outcomes)
    layers = tuple(name for name in calibrated.layers if name not in kept)
    return Quantized(final, calibrated, layers, tuple(sorted(kept)))


def sensitivities(calibrated: Calibrated, *, progress: Progress | None = None) -> dict[str, float]:
    """Return for each layer the fraction of pixels, 0..1, whose label changes when it alone is in INT8.

    The most sensitive first. The pixels are of a part of the few calibration images.
    """
    stride = math.ceil(sum(batch[..., 0].size for batch in calibrated.few) / _FEWEST_PIXELS)
    few, labels = calibrated.few[::stride], calibrated.labels[::stride]
    means = channel_means(calibrated.model, list(calibrated.means), few)
    fewer = replace(calibrated, few=few, labels=labels, means=means)
    everything, found = frozenset(calibrated.layers), {}
    for done, name in enumerate(calibrated.layers, start=1):
        found[name] = 1 - _agreement(fewer.labels, _in_int8(fewer, everything - {name}), fewer.few)
        if progress is not None:
            progress(done, len(everything))
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _in_int8(calibrated: Calibrated, kept: frozenset[str], *, progress: Progress | None = None) -> onnx.ModelProto:
    """Return the INT8 model with corrected biases."""
    int8 = insert_qdq(calibrated.model, calibrated.ranges, preset=calibrated.preset, keep_float=kept)
    if not calibrated.corrected:
        return int8
    return correct_biases(int8, calibrated.means, calibrated.few, progress=progress)


def _watched(model: onnx.ModelProto) -> tuple[tuple[str, ...], list[str], list[str]]:
    """Return the names of the layers that INT8 can compute, of the values whose ranges that takes, and of outputs.

    The values are those of any choice of these layers: with fewer of them no other value becomes integer.
    """
    found = points(to_ir(model).graph)
    if not found.layers:
        raise ExportError(
            "No layer of this network can be quantized (it has no convolution before its last); use the FP32 file."
        )
    values = [value for group in found.groups if not is_pixels(group[0]) for value in group]
    return (
        tuple(str(node.name) for node in found.layers),
        [str(value.name) for value in values],
        [str(node.outputs[0].name) for node in found.layers if node.op_type == "Conv"],
    )


def _agreement(labels: Iterable[AnyArray], int8: onnx.ModelProto, batches: Sequence[UInt8Array]) -> float:
    return label_agreement(labels, run_labels(int8, iter(batches)))


def _looked_at(batches: Iterable[UInt8Array]) -> tuple[tuple[UInt8Array, ...], int, str]:
    """Return some of the batches, spread evenly, the number of all images, and the SHA-256 of their size and pixels.

    Every batch is kept until there are too many; then every other one of them goes, and every other one is kept.
    """
    digest, count, stride = hashlib.sha256(), 0, 1
    few: list[UInt8Array] = []
    for index, batch in enumerate(batches):
        if not count:
            digest.update(repr(batch.shape[1:]).encode())
        count += len(batch)
        digest.update(np.ascontiguousarray(batch).tobytes())
        if index % stride == 0:
            few.append(batch)
        while len(few) > 1 and not _are_few(few):
            few, stride = few[::2], stride * 2
    if not count:
        raise ExportError("There are no training images to calibrate INT8 on; give data with a training split.")
    return tuple(few), count, digest.hexdigest()


def _are_few(batches: Sequence[UInt8Array]) -> bool:
    most = max(_AT_LEAST, min(_FEW, _FEW_PIXELS // batches[0][0, ..., 0].size))
    return sum(map(len, batches)) <= most
