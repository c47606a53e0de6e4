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
- the head, that is everything behind the last convolution on each path to the output, and those convolutions
  themselves, is in float: it decides the labels and costs little. It reads the shifted map of a batch normalization
  before that is rounded to integers, and 1x1 convolutions in it are matrix products (`passes.scores_by_pixels`).

What was measured and left out (whole file, Zen 4, one thread and two): convolutions on the 2 x 3 map as matrix
products, which two threads can share: 1.018, 0.993; batch normalization's shift in integers: 1.007, 1.019; a table in
place of the first convolution's maximum: 0.989, 0.984, but 99.86 % of the labels and slower on Zen 5; the first
convolution with two taps in place of three, on padded pixels: 1.000, 1.001; TopK or MaxPool in place of ArgMax: 1.02,
1.07; the crop in front of the change of places: 1.002, 1.002.

How strongly channels are equalized is chosen among a few strengths by the labels on calibration images.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from segtool.errors import ExportError
from segtool.export.int8.bias import correct_biases
from segtool.export.int8.equalize import channel_ranges, equalize
from segtool.export.int8.layers import points, quantizable, range_source
from segtool.export.int8.qdq import Integers, insert_qdq, is_pixels
from segtool.export.int8.ranges import calibrate
from segtool.export.int8.running import ReadBatches, label_agreement, run_labels
from segtool.export.passes import INT8_REWRITES, QUANTIZED_REWRITES, log_outcomes, rewrite
from segtool.export.presets import Preset

logger = logging.getLogger(__name__)
STRENGTHS = (0.0, 0.3, 0.5)
_FEW = 64  # images for means, for channel ranges and to compare labels on; ranges are over all of them


@dataclass(frozen=True)
class Quantized:
    """A quantized model and what it was calibrated on.

    Attributes
    ----------
    model
        The INT8 model; input and output as those of the float one.
    images
        Number of calibration images.
    fingerprint
        SHA-256 over the pixels of the calibration images, in order, with their size.
    layers, float_layers
        Names of the convolutions in INT8, and of those that could be and were left in float.
    strength
        How strongly channels were equalized, 0..1.
    agreement
        Share of pixels, 0..1, of calibration images with the float model's label.
    """

    model: onnx.ModelProto
    images: int
    fingerprint: str
    layers: tuple[str, ...]
    float_layers: tuple[str, ...]
    strength: float
    agreement: float


def quantize(
    model: onnx.ModelProto,
    batches: ReadBatches,
    *,
    preset: Preset,
    calibration: str = "min-max",
    keep_float: Collection[str] = (),
    strengths: Sequence[float] = STRENGTHS,
) -> Quantized:
    """Quantize a float model; its calibration images are streamed, a few times, and none is kept.

    Parameters
    ----------
    model
        Float model with input ``image`` uint8 (N, H, W, C), rewritten by `SHARED_REWRITES` for speed.
    batches
        Gives the calibration images, uint8 (n, H, W, C) each, from the training split only, again at every call.
    preset
        The integers to use.
    calibration
        "min-max", "percentile" or "entropy".
    keep_float
        Names of convolutions, as in `layers`, to leave in float.
    strengths
        Of equalization, 0..1, to choose among.

    Raises
    ------
    ExportError
        There are no calibration images, or nothing to quantize.
    """
    images, fingerprint = _count(batches)
    ranges = channel_ranges(model, _few(batches))
    tried: list[tuple[float, float, onnx.ModelProto, tuple[str, ...]]] = []
    for strength in strengths:
        like, outcomes = rewrite(equalize(model, ranges, strength=strength), INT8_REWRITES)
        int8, layers = _in_int8(like, batches, preset, calibration, frozenset(keep_float))
        share = _agreement(model, int8, batches)
        logger.info("equalized with strength %g: %.3f%% of the pixels keep their label", strength, share * 100)
        tried.append((share, strength, int8, layers))
    share, strength, best, layers = max(tried, key=lambda item: item[0])
    final, later = rewrite(best, QUANTIZED_REWRITES)
    log_outcomes((*outcomes, *later))
    return Quantized(final, images, fingerprint, layers, tuple(sorted(keep_float)), strength, share)


def sensitivities(
    model: onnx.ModelProto,
    batches: ReadBatches,
    *,
    preset: Preset,
    calibration: str,
    strength: float,
    layers: Sequence[str],
) -> dict[str, float]:
    """Return for each layer the fraction of calibration pixels, 0..1, whose label changes when it alone is in INT8.

    The most sensitive first. `calibration` is as in `quantize`; ranges are from the few images compared on.
    """
    like, _ = rewrite(equalize(model, channel_ranges(model, _few(batches)), strength=strength), INT8_REWRITES)
    everything = frozenset(layers)
    found = {}
    for name in layers:
        alone, _ = _in_int8(like, lambda: _few(batches), preset, calibration, everything - {name})
        found[name] = 1 - _agreement(model, alone, batches)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _in_int8(
    model: onnx.ModelProto, batches: ReadBatches, preset: Preset, calibration: str, keep_float: frozenset[str]
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Return the calibrated and corrected INT8 model, and the names of the layers that are in INT8."""
    layers, watched = _watched(model, keep_float)
    if not layers:
        raise ExportError(
            "No layer of this network can be quantized (it has no convolution before its last); use the FP32 file."
        )
    ranges = calibrate(model, watched, batches(), method=calibration)
    integers = Integers(preset.signed_activations, 64 if preset.reduce_range else 127)
    int8 = insert_qdq(model, ranges, integers=integers, keep_float=keep_float)
    return correct_biases(model, int8, lambda: _few(batches)), layers


def _watched(model: onnx.ModelProto, keep_float: frozenset[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return the names of the layers to quantize, and of the values whose ranges that takes."""
    work = _shaped(model)
    found = points(work.graph, keep_float=keep_float)
    values = [value for group in found.groups if not is_pixels(group[0]) for value in range_source(group)]
    return tuple(str(node.name) for node in found.convolutions), [str(value.name) for value in values]


def _shaped(model: onnx.ModelProto) -> ir.Model:
    """Return a model for reading with the shapes of its values, which show where the scores of the classes begin."""
    work = ir.from_proto(model)
    ShapeInferencePass(strict_mode=False)(work)
    return work


def layers_of(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return the names of the convolutions that INT8 can compute, in the order of the graph."""
    like, _ = rewrite(model, INT8_REWRITES)
    return tuple(str(node.name) for node in quantizable(_shaped(like).graph))


def _agreement(float32: onnx.ModelProto, int8: onnx.ModelProto, batches: ReadBatches) -> float:
    return label_agreement(run_labels(float32, _few(batches)), run_labels(int8, _few(batches)))


def _few(batches: ReadBatches) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the batches up to the `_FEW`th image, at least one."""
    seen = 0
    for batch in batches():
        yield batch
        seen += len(batch)
        if seen >= _FEW:
            return


def _count(batches: ReadBatches) -> tuple[int, str]:
    """Return the number of calibration images and the SHA-256 of their size and pixels."""
    digest, count = hashlib.sha256(), 0
    for batch in batches():
        if not count:
            digest.update(repr(batch.shape[1:]).encode())
        count += len(batch)
        digest.update(np.ascontiguousarray(batch).tobytes())
    if not count:
        raise ExportError("There are no training images to calibrate INT8 on; give data with a training split.")
    return count, digest.hexdigest()
