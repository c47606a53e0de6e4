"""Scales that were trained with the weights (`segtool train --qat`): where they begin, how they are used, their gate.

See `segtool.models.quantization` for how the layers of Keras and the values of the graph are matched.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import onnx

from segtool.array_types import UInt8Array
from segtool.export.data import open_data
from segtool.export.heads import with_head
from segtool.export.int8.places import Place, find_places
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.export.options import ExportOptions
from segtool.export.passes import SHARED_REWRITES, rewrite
from segtool.export.presets import preset_for
from segtool.export.quantize import Calibrated, calibrate_for
from segtool.models.network import NetworkShape, contract_of
from segtool.models.quantization import Activation, Quantization
from segtool.models.resolve import Run

logger = logging.getLogger(__name__)
_IMAGES = 2  # that values and layers are matched on


@dataclass(frozen=True)
class Trained:
    """A network that was trained in INT8: keras.Model as in its run folder, and its integers."""

    model: Any
    quantization: Quantization


def begin_quantization(run: Run, model: Any, *, data: str | None = None, preset: str = "auto") -> Quantization:
    """Return the integers that a quantization-aware training begins with: those of an export, not equalized.

    Parameters
    ----------
    run
        The run of the network; its training images calibrate.
    model
        keras.Model: its network, folded (`segtool.train.folding`).
    data
        A data SPEC in place of the run's.
    preset
        The integers to use, one of `PRESET_NAMES`.

    Raises
    ------
    ExportError
        The network cannot be converted, or has INT8 layers that are none of the folded network.
    """
    opened = open_data(run, data)
    _, height, width, channels = model.input_shape
    shape = NetworkShape(str(run.model), height, width, channels, model.output_shape[-1])
    contract = contract_of(shape, data=run.data, split=run.split)
    base, _ = rewrite(with_head(keras_to_onnx(model), "labels"), SHARED_REWRITES)
    count = ExportOptions().images_to_calibrate((height, width))
    chosen = preset_for(preset)
    calibrated = calibrate_for(chosen, base, lambda: opened.calibration(count, contract), strengths=(0.0,))
    kernels, places = find_places(model, calibrated.model, base, _few(calibrated))
    activations = tuple(_beginning(place, calibrated) for place in places if place.layers)
    if inside := [place.values[0] for place in places if not place.layers]:
        logger.info("calibrated, not trained, because they are inside of a layer: %s", ", ".join(inside))
    return Quantization(chosen.name, chosen.largest_weight, kernels, activations)


def trained_calibration(trained: Trained, calibrated: Calibrated, before: onnx.ModelProto) -> Calibrated:
    """Return a calibration with the trained scales in place of its own, and biases that are left as they are.

    Parameters
    ----------
    trained
        The network and its scales.
    calibrated
        Of the same network, not equalized.
    before
        The graph that `calibrated` was made of.
    """
    quantization = trained.quantization
    _, places = find_places(trained.model, calibrated.model, before, _few(calibrated))
    by_layer = {layer: item for item in quantization.activations for layer in item.layers}
    ranges, used = dict(calibrated.ranges), set()
    for place in places:
        given = next((by_layer[layer] for layer in place.layers if layer in by_layer), None)
        if given is not None:
            used.add(given)
            ranges.update(dict.fromkeys(place.values, given.range))
    logger.info("%d of %d trained scales are used", len(used), len(quantization.activations))
    return replace(calibrated, ranges=ranges, calibration="trained", corrected=False)


def _beginning(place: Place, calibrated: Calibrated) -> Activation:
    lows, highs = zip(*(calibrated.ranges[name] for name in place.sources), strict=True)
    return Activation.of_range(place.layers, place.exact, min(lows), max(highs))


def _few(calibrated: Calibrated) -> UInt8Array:
    return calibrated.few[0][:_IMAGES]
